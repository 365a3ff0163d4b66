"""The tools' words and options. Each tool is a function of its options that returns an exit code."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from cachefleet_server.tools import aof, aof_truncate, export, link, rdb, rdb_convert, rdb_diff, sending
from cachefleet_server.tools.dialects import LOSSES, NAMES
from cachefleet_server.tools.outcome import Exit

Group: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

CODES: Final = "Exit codes: 0 fine; 1 something is wrong with the file, or differs; 2 usage; 3 it could not be done."


def run(words: Sequence[str]) -> Exit:
    options = _parser().parse_args(words)
    tool: Callable[[argparse.Namespace], Exit] = options.tool
    return tool(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cachefleet", allow_abbrev=False)
    groups = parser.add_subparsers(metavar="rdb|aof|export|import", required=True)
    _add_rdb_more(_add_rdb(groups))
    _add_aof(groups)
    _add_servers(groups)
    return parser


def _group(groups: Group, name: str, words: str) -> Group:
    parser = groups.add_parser(name, description=words, epilog=CODES, allow_abbrev=False)
    return parser.add_subparsers(metavar="COMMAND", required=True)


def _tool(
    group: Group, name: str, words: str, tool: Callable[[argparse.Namespace], Exit]
) -> argparse.ArgumentParser:
    parser = group.add_parser(name, help=words, description=words, epilog=CODES, allow_abbrev=False)
    parser.set_defaults(tool=tool)
    return parser


def _add_rdb(groups: Group) -> Group:
    group = _group(groups, "rdb", "RDB files of Redis, Valkey and Cachefleet, also such as are larger than memory.")

    info = _tool(group, "info", "What a file holds: databases, types, sizes, who wrote it.", rdb.info)
    info.add_argument("file")
    _output(info)

    verify = _tool(group, "verify", "Reads every value and the checksum: would the file load?", rdb.verify)
    verify.add_argument("file", nargs="+")

    as_json = _tool(group, "json", "One line of JSON a key.", rdb.as_json)
    as_json.add_argument("file")
    _filter(as_json)
    as_json.add_argument("--keys", action="store_true", help="without the values")

    largest = _tool(group, "largest", "The largest keys.", rdb.largest)
    largest.add_argument("file")
    _filter(largest)
    largest.add_argument("--by", choices=rdb.MEASURES, default="memory", help="memory: bytes in a server (default); "
                         "size: bytes in the file; elements")  # fmt: skip
    largest.add_argument("-n", type=_positive, default=20, metavar="COUNT", help="how many (20)")
    _output(largest)

    histogram = _tool(group, "histogram", "Keys and memory by prefix.", rdb.histogram)
    histogram.add_argument("file")
    _filter(histogram)
    histogram.add_argument("--separator", default=":", help='what a prefix ends with (":")')
    histogram.add_argument("--depth", type=_positive, default=1, help="how many of them a prefix has at most (1)")
    histogram.add_argument("-n", type=_positive, default=50, metavar="COUNT", help="how many prefixes (50)")
    _output(histogram)
    return group


def _add_rdb_more(group: Group) -> None:
    diff = _tool(group, "diff", "Keys that only one of two files has, or that differ. Exit codes: 0 none; 1 there are "
                 "some; 2 the files could not be compared.", rdb_diff.diff)  # fmt: skip
    diff.add_argument("first")
    diff.add_argument("second")
    diff.add_argument("--db", type=int, action="append", help="only this database; may be repeated")
    diff.add_argument("--match", metavar="PATTERN", help="only keys that match, as with KEYS")
    diff.set_defaults(type=None)
    _output(diff)
    diff.add_argument("--json", dest="output", action="store_const", const="json", help="the same as -o json")

    convert = _tool(group, "convert", "Writes a file as another server reads it.", rdb_convert.convert)
    convert.add_argument("file")
    convert.add_argument("out")
    convert.add_argument("--to", required=True, choices=NAMES, help="whose file it becomes")
    _drop(convert)
    convert.add_argument("-f", "--force", action="store_true", help="write over a file that exists")


def _add_aof(groups: Group) -> None:
    group = _group(groups, "aof", "Append only files: a server's folder, its appendonlydir, a manifest, or one file.")

    check = _tool(group, "check", "Would the files load? Runs nothing, unless --load says so.", aof.check)
    check.add_argument("path")
    check.add_argument("--load", action="store_true", help="run the commands, too, which takes the memory of the data")
    check.add_argument("--databases", type=_positive, default=16, help="of --load (16)")

    repair = _tool(group, "repair", "Cuts the files at the first fault, after asking, and keeps what was cut off.",
                   aof.repair)  # fmt: skip
    repair.add_argument("path")
    _yes(repair)

    truncate = _tool(group, "truncate", "Takes the files back to a time, by the times that they say, after asking, and "
                     "keeps what was cut off.", aof_truncate.truncate)  # fmt: skip
    truncate.add_argument("path")
    truncate.add_argument("--until", type=aof_truncate.a_time, required=True, metavar="TIME",
                          help="the last second that is kept: unix time, or 2026-11-30T12:00:00+01:00 (UTC without a "
                          "zone)")  # fmt: skip
    truncate.add_argument("--dry-run", action="store_true", help="only say what would be cut")
    truncate.add_argument("--to", metavar="FOLDER", help="leave the files, and write to a new folder")
    _yes(truncate)

    replay = _tool(group, "replay", "Runs the files on a server that runs.", sending.send)
    _sending(replay)


def _add_servers(groups: Group) -> None:
    exported = _tool(groups, "export", "A running server's data as an RDB file.", export.export)
    _server(exported)
    exported.add_argument("file")
    exported.add_argument("-f", "--force", action="store_true", help="write over a file that exists")

    imported = _tool(groups, "import", "An RDB file, or append only files, to a server that runs.", sending.send)
    _sending(imported)
    imported.add_argument("--from", dest="start", type=int, default=0, metavar="BYTE",
                          help="of a snapshot: go on at this key")  # fmt: skip


def _sending(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path")
    _server(parser)
    parser.add_argument("--replace", action="store_true", help="write over keys that exist, and run commands on a "
                        "server with keys")  # fmt: skip
    parser.add_argument("--keep-going", action="store_true", help="go on behind what the server refuses")
    parser.set_defaults(start=0)
    _drop(parser)


def _server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", type=link.address, help="host, host:port, [::1]:port, or a socket's path")
    parser.add_argument("--user", help="to log in as")
    parser.add_argument("--password-file", metavar="FILE", help=f"with the password; else {link.PASSWORD_VARIABLE}")


def _drop(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--drop", action="append", default=[], choices=tuple(LOSSES), metavar="WHAT",
                        help="leave out what the server cannot hold: " + ", ".join(
                            f"{name} ({words})" for name, words in LOSSES.items()) + "; may be repeated")  # fmt: skip


def _yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def _output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="table (default) or json")


def _filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--db", type=int, action="append", help="only this database; may be repeated")
    parser.add_argument("--match", metavar="PATTERN", help="only keys that match, as with KEYS")
    parser.add_argument("--type", action="append", help="only this type, as TYPE names it; may be repeated")


def _positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise ValueError
    return number
