"""`cachefleet rdb info|verify|json|largest|histogram`: what one file holds, in one walk over it.

Whatever ends a walk early (damage, a type that this version cannot read) is said with its place, after what was found
up to there.
"""

from __future__ import annotations

import argparse
import heapq
import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

from cachefleet_server.errors import DataError
from cachefleet_server.persistence.rdb_walk import RdbWalk, Record
from cachefleet_server.tools import text, values
from cachefleet_server.tools.outcome import Exit, complain, of_error
from cachefleet_server.tools.walking import walking

MEASURES: Final = ("memory", "size", "elements")
PREFIXES_MAX: Final = 100_000  # counted by themselves; keys with more of them come under OTHERS
OTHERS: Final = "(others)"
SHOWN_MAX: Final = 120  # characters of a key in a table
SERVERS: Final = ("cachefleet", "valkey", "redis")  # whose version a file has; ours write Redis', too


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


# ---- verify ----------------------------------------------------------------------------------------


def verify(options: argparse.Namespace) -> Exit:
    worst = Exit.OK
    for path in options.file:
        try:
            with walking(path) as it:
                keys = sum(1 for _ in it.records())
            _print(f"{path}: fine, {text.count(keys, 'key')}, {'right' if it.walk.checksum else 'no'} checksum")
        except DataError as error:
            complain(str(error))
            worst = max(worst, Exit.FOUND)
        except OSError as error:
            if error.filename is None:  # of standard output
                raise
            complain(of_error(error))
            worst = max(worst, Exit.FAILED)
    return worst


# ---- info ------------------------------------------------------------------------------------------


class _Group:
    """Keys, and bytes in the file and in a server."""

    def __init__(self) -> None:
        self.keys = self.expire = self.past = self.size = self.memory = 0

    def add(self, record: Record, memory: int, now_ms: int) -> None:
        self.keys += 1
        self.size += record.size
        self.memory += memory
        if record.expire_ms is not None:
            self.expire += 1
            self.past += record.expire_ms < now_ms

    def facts(self) -> dict[str, int]:
        return {
            "keys": self.keys, "expire": self.expire, "expired": self.past, "size": self.size, "memory": self.memory
        }  # fmt: skip


def info(options: argparse.Namespace) -> Exit:
    now_ms = int(time.time() * 1000)
    databases: dict[int, _Group] = {}
    types: dict[str, _Group] = {}
    with walking(options.file) as it:
        walk = it.walk
        for record in it.records():
            memory = walk.memory()
            databases.setdefault(record.db, _Group()).add(record, memory, now_ms)
            types.setdefault(record.type, _Group()).add(record, memory, now_ms)
        facts = {
            "file": walk.path,
            "size": walk.total_bytes,
            "format": {"version": walk.version, "dialect": _dialect(walk)},
            "aux": {name: text.escaped(value) for name, value in walk.aux.items()},
            "checksum": None if it.broken is not None else bool(walk.checksum),
            "libraries": len(walk.functions),
            "modules": walk.skipped_modules,
            "databases": {str(db): group.facts() for db, group in sorted(databases.items())},
            "types": {name: group.facts() for name, group in sorted(types.items())},
        }
        _print(text.as_json(facts, indent=2) if options.output == "json" else _info_text(facts))
    return Exit.OK


def _dialect(walk: RdbWalk) -> str:
    if walk.version > 0xFF:
        return "cachefleet"
    return "valkey" if walk.valkey else "redis"


def _info_text(facts: dict[str, Any]) -> str:
    aux = facts["aux"]
    writer = next((f"{name} {aux[f'{name}-ver']}" for name in SERVERS if f"{name}-ver" in aux), "unknown")
    written = aux.get("ctime", "")
    when = ""
    if written.isascii() and written.isdigit() and len(written) < 12:
        when = datetime.fromtimestamp(int(written), UTC).strftime(", %Y-%m-%d %H:%M:%S UTC")
    checked = {None: "not reached", True: "right", False: "none"}[facts["checksum"]]
    lines = [
        f"file        {facts['file']}, {text.size(facts['size'])}",
        f"format      {facts['format']['dialect']}, version {facts['format']['version'] & 0xFF}",
        f"written by  {writer}{when}",
        f"checksum    {checked}",
    ]
    lines += [f"libraries   {facts['libraries']}"] if facts["libraries"] else []
    lines += [f"modules     {', '.join(facts['modules'])} (data of theirs)"] if facts["modules"] else []
    lines += [f"aux         {name}={value}" for name, value in aux.items()]
    heads = ("keys", "expire", "expired", "in the file", "in memory")
    for title in ("databases", "types"):
        rows = [
            (f"{group['keys']}", f"{group['expire']}", f"{group['expired']}", text.size(group["size"]),
             text.size(group["memory"]), name)
            for name, group in facts[title].items()
        ]  # fmt: skip
        lines += ["", text.table(rows, (*heads, title[:-1]))]
    return "\n".join(lines)


# ---- json, largest, histogram ------------------------------------------------------------------------


def as_json(options: argparse.Namespace) -> Exit:
    with walking(options.file) as it:
        for record in it.chosen(options):
            _print(text.as_json(values.as_object(it.walk, record, values=not options.keys)))
    return Exit.OK


def largest(options: argparse.Namespace) -> Exit:
    """A heap of as many as are shown."""
    found: list[tuple[int, int, Record]] = []
    with walking(options.file) as it:
        for number, record in enumerate(it.chosen(options)):
            item = (_measure(it.walk, record, options.by), -number, record)
            if len(found) < options.n:
                heapq.heappush(found, item)
            elif item > found[0]:
                heapq.heapreplace(found, item)
        found.sort(reverse=True)
        if options.output == "json":
            for n, _, record in found:
                row = {**text.named("key", record.key), "db": record.db, "type": record.type, options.by: n}
                _print(text.as_json(row))
        else:
            show = str if options.by == "elements" else text.size
            rows = [(show(n), f"{record.db}", record.type, _short(record.key)) for n, _, record in found]
            _print(text.table(rows, (options.by, "db", "type", "key")))
    return Exit.OK


def _measure(walk: RdbWalk, record: Record, by: str) -> int:
    if by == "memory":
        return walk.memory()
    return record.size if by == "size" else values.elements(walk, record)


def _short(key: bytes) -> str:
    whole = text.quoted(key)
    return whole if len(whole) <= SHOWN_MAX else f"{whole[:SHOWN_MAX]}... ({text.count(len(key), 'byte')})"


def histogram(options: argparse.Namespace) -> Exit:
    separator = options.separator.encode("utf-8", "surrogateescape")
    groups: dict[bytes | None, _Group] = {}
    now_ms = int(time.time() * 1000)
    with walking(options.file) as it:
        for record in it.chosen(options):
            prefix: bytes | None = _prefix(record.key, separator, options.depth)
            if prefix not in groups and len(groups) >= PREFIXES_MAX:
                prefix = None
            groups.setdefault(prefix, _Group()).add(record, it.walk.memory(), now_ms)
        _print_histogram(groups, options)
    return Exit.OK


def _prefix(key: bytes, separator: bytes, depth: int) -> bytes:
    """Up to the last separator that counts; b"" of a key without one."""
    at = 0
    for _ in range(depth):
        found = key.find(separator, at)
        if found < 0:
            break
        at = found + len(separator)
    return key[:at]


def _print_histogram(groups: dict[bytes | None, _Group], options: argparse.Namespace) -> None:
    total = sum(group.memory for group in groups.values()) or 1
    ordered = sorted(groups.items(), key=lambda item: (-item[1].memory, item[0] or b""))
    shown, rest = ordered[: options.n], ordered[options.n :]
    if options.output == "json":
        for prefix, group in shown:
            name = {"prefix": None} if prefix is None else text.named("prefix", prefix)
            _print(text.as_json({**name, **group.facts()}))
        return
    rows = [
        (f"{group.keys}", text.size(group.memory), f"{100 * group.memory / total:.1f} %", text.size(group.size),
         OTHERS if prefix is None else _short(prefix))
        for prefix, group in shown
    ]  # fmt: skip
    _print(text.table(rows, ("keys", "in memory", "share", "in the file", "prefix")))
    if rest:
        _print(f"... and {text.count(len(rest), 'prefix', 'prefixes')} more")
