"""Records of a walk in other dialects: as files, and as payloads that RESTORE takes."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachefleet_server.engine import Engine
from cachefleet_server.persistence.rdb_encode import RdbFile, dialect_of, payload
from cachefleet_server.persistence.rdb_load import RdbLoader
from cachefleet_server.persistence.rdb_walk import RdbWalk
from cachefleet_server.persistence.snapshot import (
    DIALECT_OWN,
    DIALECT_REDIS,
    DIALECT_REDIS70,
    DIALECT_VALKEY,
    Snapshot,
)
from fleettest.rdbfile import Builder, parse
from fleettest.seeder import Seeder, assert_same, capture, fill, of_file

pytestmark = pytest.mark.unit

MAGIC = {DIALECT_REDIS70: b"REDIS0010", DIALECT_REDIS: b"REDIS0011", DIALECT_VALKEY: b"VALKEY080",
         DIALECT_OWN: b"CFLEET001"}  # fmt: skip
VERSIONS = {DIALECT_REDIS70: 10, DIALECT_REDIS: 11, DIALECT_VALKEY: 80, DIALECT_OWN: 0xCF01}


@pytest.fixture
def engine() -> Iterator[Engine]:
    with contextlib.closing(Engine(databases=16)) as engine:
        yield engine
        assert engine.check() == []


def save(engine: Engine, path: Path) -> None:
    snapshot = Snapshot(engine, temp_path=f"{path}.temp", final_path=str(path))
    snapshot.start()
    assert snapshot.finish().ok


def load(path: Path) -> Engine:
    engine = Engine(databases=16)
    with contextlib.closing(RdbLoader(engine, str(path))) as loader:
        while loader.step(10_000):
            pass
    return engine


def converted(path: Path, out: Path, dialect: int) -> bytes:
    with contextlib.closing(Engine(databases=1)) as own, contextlib.closing(RdbWalk(str(path), engine=own)) as walk:
        with contextlib.closing(RdbFile(own, str(out), dialect, MAGIC[dialect], [(b"a", b"b")])) as file:
            for record in walk:
                file.put(walk, record)
            file.finish()
        assert file.size == out.stat().st_size and file.keys == walk.keys
    return out.read_bytes()


@pytest.mark.parametrize("dialect", MAGIC)
def test_files(engine: Engine, tmp_path: Path, rng: random.Random, dialect: int) -> None:
    """Whatever the dialect: our loader, and a reader of its own, find the same data in it."""
    fill(engine, Seeder(rng, keys=150))
    save(engine, tmp_path / "in.rdb")
    data = converted(tmp_path / "in.rdb", tmp_path / "out.rdb", dialect)
    assert data.startswith(MAGIC[dialect])
    file = parse(data)
    assert file.checksum and file.compressed and file.aux == {b"a": b"b"}
    assert_same(of_file(file), capture(engine))
    with contextlib.closing(load(tmp_path / "out.rdb")) as again:
        assert again.digest() == engine.digest()
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("dialect", MAGIC)
def test_payloads(engine: Engine, tmp_path: Path, rng: random.Random, dialect: int) -> None:
    fill(engine, Seeder(rng, keys=80))
    save(engine, tmp_path / "in.rdb")
    path = str(tmp_path / "in.rdb")
    with contextlib.closing(Engine(databases=16)) as other, contextlib.closing(RdbWalk(path)) as walk:
        for record in walk:
            data = payload(walk, dialect, VERSIONS[dialect])
            assert int.from_bytes(data[-10:-8], "little") == VERSIONS[dialect]
            ttl = (b"%d" % (record.expire_ms or 0), data, b"ABSTTL")
            assert other.execute(b"RESTORE", record.key, *ttl, db=record.db) == "OK"
            assert other.value_digest(record.db, record.key) == engine.value_digest(record.db, record.key)


def test_attributes_stay(tmp_path: Path) -> None:
    source = Builder().select(0).key(b"k", b"v", expire_ms=5, idle_s=7).key(b"f", b"1", frequency=200)
    (tmp_path / "in.rdb").write_bytes(source.select(70_000).key(b"", b"x" * 100).end())
    file = parse(converted(tmp_path / "in.rdb", tmp_path / "out.rdb", DIALECT_REDIS70))
    assert [(r.db, r.key, r.expire_ms, r.idle_s, r.frequency) for r in file.records] == [
        (0, b"k", 5, 7, None), (0, b"f", None, None, 200), (70_000, b"", None, None, None),
    ]  # fmt: skip


def test_what_a_value_needs(engine: Engine, tmp_path: Path) -> None:
    engine.execute(b"SET", b"a", b"1")
    engine.execute(b"HSET", b"h", b"f", b"v")
    engine.execute(b"HPEXPIRE", b"h", b"9999999", b"FIELDS", b"1", b"f")
    engine.execute(b"SADD", b"s", b"m")
    engine.execute(b"SEXPIRE", b"s", b"9999", b"MEMBERS", b"1", b"m")
    save(engine, tmp_path / "in.rdb")
    with contextlib.closing(RdbWalk(str(tmp_path / "in.rdb"))) as walk:
        needs = {record.key: dialect_of(walk) for record in walk}
        with pytest.raises(ValueError, match="no record"):
            dialect_of(walk)
    assert needs == {b"a": DIALECT_REDIS70, b"h": DIALECT_VALKEY, b"s": DIALECT_OWN}


def test_a_record_that_was_changed(engine: Engine, tmp_path: Path) -> None:
    """Commands may put another entry in its place, or none."""
    engine.execute(b"HSET", b"h", *(b"%d" % i for i in range(2000)))
    engine.execute(b"SET", b"s", b"x")
    save(engine, tmp_path / "in.rdb")
    with contextlib.closing(RdbWalk(str(tmp_path / "in.rdb"))) as walk:
        for record in walk:
            if record.key == b"s":
                walk.ask(b"APPEND", b"s", b"y" * 5000)
                assert b"y" in payload(walk, DIALECT_REDIS70, 10) and walk.memory() > 1000
            else:
                walk.ask(b"DEL", b"h")
                with pytest.raises(ValueError, match="no record"):
                    payload(walk, DIALECT_REDIS70, 10)
        assert walk.ask(b"DBSIZE") == 0


def test_nothing_is_left_of_one_that_is_given_up(engine: Engine, tmp_path: Path) -> None:
    file = RdbFile(engine, str(tmp_path / "out.rdb"), DIALECT_REDIS70, MAGIC[DIALECT_REDIS70], [])
    assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
    file.close()
    file.close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError):
        RdbFile(engine, str(tmp_path / "none" / "out.rdb"), DIALECT_REDIS70, MAGIC[DIALECT_REDIS70], [])
