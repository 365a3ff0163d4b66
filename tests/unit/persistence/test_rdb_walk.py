"""The walk over RDB files: what it says of records, that it leaves nothing behind, and that no file breaks it."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachefleet_server.engine import Engine
from cachefleet_server.errors import DataError
from cachefleet_server.persistence.rdb_walk import RdbWalk, Record
from cachefleet_server.persistence.snapshot import Snapshot
from fleettest.rdbfile import Builder, string
from fleettest.seeder import Seeder, fill

pytestmark = pytest.mark.unit

LIBRARY = b"\xf5" + string(b"#!lua name=l\nreturn 1")


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[Engine]:
    """One for all walks: to end an engine waits for its threads."""
    with contextlib.closing(Engine(databases=16)) as engine:
        ENGINE.append(engine)
        yield engine
        assert engine.execute(b"DBSIZE") == 0 and engine.check() == []


ENGINE: list[Engine] = []


def walked(data: bytes, tmp_path: Path) -> list[Record]:
    path = tmp_path / "dump.rdb"
    path.write_bytes(data)
    with contextlib.closing(RdbWalk(str(path), engine=ENGINE[-1])) as walk:
        return list(walk)


def saved(tmp_path: Path, rng: random.Random, keys: int = 60) -> bytes:
    """A file with every type."""
    path = tmp_path / "saved.rdb"
    with contextlib.closing(Engine(databases=16)) as engine:
        fill(engine, Seeder(rng, keys=keys))
        engine.execute(b"HSET", b"timed", b"f", b"v", b"g", b"w")
        engine.execute(b"HPEXPIRE", b"timed", b"9999999", b"FIELDS", b"1", b"f")
        engine.execute(b"SADD", b"members", b"a", b"b")
        engine.execute(b"SEXPIRE", b"members", b"9999", b"MEMBERS", b"1", b"a")
        snapshot = Snapshot(engine, temp_path=str(tmp_path / "temp"), final_path=str(path))
        snapshot.start()
        assert snapshot.finish().ok
    return path.read_bytes()


def test_records(tmp_path: Path) -> None:
    head = Builder().aux(b"redis-ver", b"7.0.0").select(0).sizes(3).data
    first = Builder(b"").key(b"k", b"v").data
    builder = Builder(head + first).key(b"old", b"1", expire_ms=1000, idle_s=7).select(70_000)
    data = builder.raw(LIBRARY).key(b"", b"x" * 300, frequency=9).end()
    found = walked(data, tmp_path)
    assert [(r.db, r.key, r.type, r.expire_ms, r.idle_s, r.frequency) for r in found] == [
        (0, b"k", "string", None, None, None),
        (0, b"old", "string", 1000, 7, None),
        (70_000, b"", "string", None, None, 9),
    ]
    assert (found[0].offset, found[0].size) == (len(head), len(first))
    for record in found:
        assert data[record.offset] == 0 and data[record.offset + 1 :].startswith(string(record.key))


def test_the_record_can_be_asked(tmp_path: Path) -> None:
    path = tmp_path / "dump.rdb"
    path.write_bytes(Builder().select(3).key(b"a", b"12", expire_ms=1).key(b"b", b"x").end())
    with contextlib.closing(RdbWalk(str(path))) as walk:
        with pytest.raises(ValueError, match="no record"):
            walk.memory()
        next(walk)
        assert (walk.ask(b"GET", b"a"), walk.ask(b"TTL", b"a"), walk.timed) == (b"12", -1, False)
        assert walk.memory() > 0
        next(walk)
        assert (walk.ask(b"GET", b"a"), walk.ask(b"GET", b"b"), walk.ask(b"DBSIZE")) == (None, b"x", 1)
        assert list(walk) == [] and walk.ask(b"DBSIZE") == 0
        assert (walk.functions, walk.keys, walk.checksum != 0, walk.at) == ([], 2, True, walk.total_bytes)
    with pytest.raises(ValueError, match="closed"):
        next(walk)


def test_members_are_shown_whatever_the_clock_says(tmp_path: Path) -> None:
    past = int(time.time() * 1000) - 1000
    fields = b"\x16" + string(b"h") + b"\x02"
    fields += string(b"f") + string(b"v") + past.to_bytes(8, "little")
    fields += string(b"g") + string(b"w") + (2**64 - 1).to_bytes(8, "little")
    path = tmp_path / "dump.rdb"
    path.write_bytes(Builder(b"VALKEY080").select(0).raw(fields).end())
    with contextlib.closing(RdbWalk(str(path))) as walk:
        assert next(walk).type == "hash" and walk.timed
        assert sorted(walk.ask(b"HGETALL", b"h")) == [b"f", b"g", b"v", b"w"]
        assert walk.ask(b"HPEXPIRETIME", b"h", b"FIELDS", b"2", b"f", b"g") == [past, -1]


def test_libraries_and_what_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "dump.rdb"
    path.write_bytes(Builder().raw(LIBRARY).raw(LIBRARY).end())
    with contextlib.closing(RdbWalk(str(path))) as walk:
        assert list(walk) == [] and walk.functions == [b"#!lua name=l\nreturn 1"] * 2
    with pytest.raises(DataError, match="type module"):
        walked(Builder().select(0).raw(b"\x07" + string(b"m")).end(), tmp_path)
    with pytest.raises(DataError, match=r"checksum at byte .*; 1 key before that can be read"):
        walked(Builder().select(0).key(b"k", b"v").end(checksum=12), tmp_path)
    with pytest.raises(DataError, match=r"not an RDB file: it begins with b'hello'$"):
        walked(b"hello", tmp_path)
    with pytest.raises(DataError, match="is empty"):
        walked(b"", tmp_path)
    with pytest.raises(OSError, match="No such file"):
        RdbWalk(str(tmp_path / "none"))
    with pytest.raises(DataError, match="no regular file"):
        RdbWalk("/dev/zero")


def test_cut_at_each_byte(tmp_path: Path) -> None:
    data = Builder().aux(b"a", b"b").select(1).key(b"k", b"v", expire_ms=5).raw(LIBRARY).key(b"l", b"12").end()
    assert len(walked(data, tmp_path)) == 2
    for size in range(len(data)):
        with pytest.raises(DataError):
            walked(data[:size], tmp_path)


def test_damage_is_refused_or_harmless(tmp_path: Path, rng: random.Random) -> None:
    """Wherever bytes are other than written, the walk ends with words or comes to the end."""
    data = saved(tmp_path, rng)
    whole = walked(data, tmp_path)
    assert {record.type for record in whole} == {"string", "list", "hash", "set", "zset", "stream"}
    ended = 0
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            broken[rng.randrange(len(data))] = rng.randrange(256)
        try:
            walked(bytes(broken), tmp_path)
        except DataError:
            ended += 1
    assert ended > 280
    for _ in range(60):
        with pytest.raises(DataError):
            walked(data[: rng.randrange(len(data))], tmp_path)
