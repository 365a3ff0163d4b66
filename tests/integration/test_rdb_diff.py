"""`cachefleet rdb diff`: files that are the same in other encodings, and each kind of difference."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fleettest.instance import Instance, Option
from fleettest.rdbfile import Builder, string
from fleettest.seeder import Seeder, fill
from fleettest.tools import TOOLS, peak_kb, tool

pytestmark = pytest.mark.server


def rows(*words: str | Path) -> list[dict[str, Any]]:
    done = tool("rdb", "diff", *words, "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (1 if found else 0, "")
    return found


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    one, other = tmp_path / "one.rdb", tmp_path / "other.rdb"
    both = Builder().select(0).key(b"same", b"v").key(b"value", b"1").key(b"time", b"t", expire_ms=5).data
    hash_ = b"\x04" + string(b"type") + b"\x01" + string(b"f") + string(b"v")
    one.write_bytes(Builder(both).key(b"first\xff", b"x").key(b"type", b"v").select(7).key(b"same", b"v").end())
    both = both.replace(string(b"value") + string(b"1"), string(b"value") + string(b"2"))
    both = both.replace((5).to_bytes(8, "little"), (6).to_bytes(8, "little"))
    other.write_bytes(Builder(both).raw(hash_).select(7).key(b"second", b"x").key(b"same", b"v").end())
    return one, other


def test_each_kind(pair: tuple[Path, Path]) -> None:
    never = {"type": "string", "expire_ms": None}
    expected = [
        {"db": 0, "key": "value", "first": never, "second": never, "differs": ["value"]},
        {"db": 0, "key": "time", "first": {**never, "expire_ms": 5}, "second": {**never, "expire_ms": 6},
         "differs": ["expire_ms"]},
        {"db": 0, "key": "type", "first": never, "second": {**never, "type": "hash"}, "differs": ["type"]},
        {"db": 7, "key": "second", "first": None, "second": never, "differs": []},
        {"db": 0, "key": "first\\xff", "escaped": True, "first": never, "second": None, "differs": []},
    ]  # fmt: skip
    assert rows(*pair) == expected
    done = tool("rdb", "diff", *pair)
    assert (done.returncode, done.stdout.splitlines()) == (1, [
        '! 0 string "value" value',
        '! 0 string "time" expire_ms 5 6',
        '! 0 string "type" type string hash',
        '> 7 string "second"',
        '< 0 string "first\\xff"',
        f"1 only in {pair[0]}, 1 only in {pair[1]}, 3 with differences, 2 equal",
    ])  # fmt: skip
    assert [row["key"] for row in rows(*pair, "--db", "7")] == ["second"]
    assert [row["key"] for row in rows(*pair, "--match", "t*")] == ["time", "type"]
    assert rows(pair[0], pair[0]) == []
    assert tool("rdb", "diff", pair[0], pair[0]).stdout == ""


@pytest.mark.differential
def test_encodings_are_no_difference(tmp_path: Path, rng: random.Random) -> None:
    """The same data by another server, in other forms; then each key that changes is named, and no other."""
    small: dict[str, Option] = {
        "list-max-listpack-size": 4, "hash-max-listpack-entries": 2, "zset-max-listpack-entries": 2,
        "set-max-listpack-entries": 2, "set-max-intset-entries": 2, "stream-node-max-entries": 3,
    }  # fmt: skip
    one, other = tmp_path / "one" / "dump.rdb", tmp_path / "other" / "dump.rdb"
    with Instance(directory=one.parent) as server, server.connect() as connection:
        fill(connection, Seeder(rng, keys=200))
        connection.call("XADD", "stream", "1-1", "f", "v")
        connection.call("XGROUP", "CREATE", "stream", "g", "0")
        connection.call("SAVE")
    other.parent.mkdir()
    shutil.copy(one, other)
    with Instance("valkey", directory=other.parent, options=small) as server, server.connect() as connection:
        connection.call("SAVE")
        assert one.read_bytes() != other.read_bytes()
        assert rows(one, other) == []
        connection.call("XGROUP", "CREATE", "stream", "h", "0")
        connection.call("SAVE")
    later = rows(one, other)
    assert [(row["key"], row["differs"]) for row in later] == [("stream", ["value"])]


def test_times_of_members(tmp_path: Path) -> None:
    def file(name: str, ms: int) -> Path:
        path = tmp_path / name
        fields = string(b"f") + string(b"v") + ms.to_bytes(8, "little")
        path.write_bytes(Builder(b"VALKEY080").select(0).raw(b"\x16" + string(b"h") + b"\x01" + fields).end())
        return path

    assert rows(file("a", 5), file("b", 5)) == []
    assert [row["differs"] for row in rows(file("a", 5), file("b", 6))] == [["value"]]


def test_what_cannot_be_compared_is_no_difference(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    broken = tmp_path / "broken.rdb"
    broken.write_bytes(pair[0].read_bytes()[:-20])
    twice = tmp_path / "twice.rdb"
    twice.write_bytes(Builder().select(3).key(b"k", b"1").key(b"k", b"2").end())
    none = tmp_path / "none"
    for words in ((broken, pair[0]), (pair[0], broken), (none, pair[0]), (pair[0], tmp_path), (twice, twice)):
        done = tool("rdb", "diff", *words)
        assert done.returncode == 2 and done.stderr.startswith("cachefleet: "), words
    assert '"k" of database 3 occurs twice' in tool("rdb", "diff", twice, twice).stderr


def test_who_has_seen_enough_knows_that_they_differ(tmp_path: Path) -> None:
    paths = [tmp_path / "one.rdb", tmp_path / "other.rdb"]
    for path in paths:
        raw = b"".join(b"\x00" + string(b"%s:%d" % (path.name.encode(), i)) + b"\x01v" for i in range(20_000))
        path.write_bytes(Builder().select(0).raw(raw).end(checksum=0))
    pipe = subprocess.Popen([*TOOLS, "rdb", "diff", *map(str, paths)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert pipe.stdout is not None and pipe.stderr is not None
    pipe.stdout.readline()
    pipe.stdout.close()
    assert (pipe.wait(60), pipe.stderr.read()) == (1, b"")
    pipe.stderr.close()


@pytest.mark.slow("compares 100 000 keys of 1 KB")
def test_memory_has_a_bound(tmp_path: Path) -> None:
    """A row a key, whatever the values take."""
    path, small = tmp_path / "dump.rdb", tmp_path / "small.rdb"
    value = string(os.urandom(1000))
    with open(path, "wb") as out:
        out.write(Builder().select(0).data)
        for i in range(100_000):
            out.write(b"\x00" + string(b"key:%d" % i) + value)
        out.write(b"\xff" + bytes(8))
    small.write_bytes(Builder().select(0).end())
    peaks = [peak_kb("rdb", "diff", str(file), str(file)) for file in (small, path)]
    assert peaks[1] - peaks[0] < 80_000, peaks  # the pages of one file that are not given back yet, and 2.4 MB
