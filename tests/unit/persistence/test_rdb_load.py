"""The loader: what it reads, what it refuses and with which words, and that no damaged file gets by or breaks it."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachefleet_server.engine import POLICIES, Engine
from cachefleet_server.errors import DataError
from cachefleet_server.persistence.rdb_load import RdbLoader
from cachefleet_server.persistence.snapshot import Snapshot
from fleettest.rdbfile import Builder, dump, length, string

pytestmark = pytest.mark.unit

NOW_MS = int(time.time() * 1000)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(databases=4)
    yield engine
    engine.close()


def load(engine: Engine, data: bytes, tmp_path: Path, **options: bool) -> RdbLoader:
    path = tmp_path / "dump.rdb"
    path.write_bytes(data)
    loader = RdbLoader(engine, str(path), **options)
    try:
        while loader.step(0):
            pass
    finally:
        loader.close()
        loader.close()
    return loader


def refused(engine: Engine, data: bytes, tmp_path: Path, **options: bool) -> str:
    with pytest.raises(DataError) as caught:
        load(engine, data, tmp_path, **options)
    return str(caught.value)


def get(engine: Engine, key: bytes, db: int = 0) -> bytes | None:
    value = engine.execute(b"GET", key, db=db)
    assert value is None or isinstance(value, bytes)
    return value


@pytest.mark.parametrize("magic", [*(b"REDIS%04d" % n for n in range(1, 16)), b"VALKEY080"])
def test_versions(engine: Engine, tmp_path: Path, magic: bytes) -> None:
    data = Builder(magic).select(1).key(b"k", b"v").end()
    if magic < b"REDIS0005":
        data = data[:-8]  # these had no checksum
    loader = load(engine, data, tmp_path)
    assert get(engine, b"k", 1) == b"v"
    assert (loader.keys, loader.done_bytes) == (1, len(data))
    assert loader.total_bytes == loader.end_offset == len(data)
    assert loader.valkey == magic.startswith(b"VALKEY")


@pytest.mark.parametrize("magic", [b"REDIS0000", b"REDIS0016", b"REDIS0080", b"VALKEY011", b"VALKEY081"])
def test_unknown_versions(engine: Engine, tmp_path: Path, magic: bytes) -> None:
    assert "RDB version" in refused(engine, Builder(magic).end(), tmp_path)


@pytest.mark.parametrize(
    "data", [b"R", b"REDIS", b"MEDIS0010\xff", b"REDIS001x\xff", b"*3\r\n$3\r\nSET\r\n", bytes(100)]
)
def test_not_rdb(engine: Engine, tmp_path: Path, data: bytes) -> None:
    assert "is not an RDB file" in refused(engine, data, tmp_path)


def test_empty_and_missing(engine: Engine, tmp_path: Path) -> None:
    assert "is empty" in refused(engine, b"", tmp_path)
    with pytest.raises(FileNotFoundError):
        RdbLoader(engine, str(tmp_path / "missing"))


def test_string_forms(engine: Engine, tmp_path: Path) -> None:
    file = Builder()
    numbers = [0, 1, -1, 127, -128, 128, 32767, -32768, 32768, 2**31 - 1, -(2**31)]
    for n in numbers:
        size = 0 if -128 <= n < 128 else 1 if -(2**15) <= n < 2**15 else 2
        form = bytes([0xC0 | size]) + n.to_bytes(1 << size, "little", signed=True)
        file.raw(b"\x00" + string(b"n%d" % n) + form)
        file.raw(b"\x00" + form + string(b"number as a key"))
    # 300 times "a": a literal, then one reference per 264 bytes at most.
    packed = b"\x00a" + b"\xe0" + bytes([264 - 9]) + b"\x00" + b"\xe0" + bytes([35 - 9]) + b"\x00"
    file.raw(b"\x00" + string(b"lzf") + b"\xc3" + length(len(packed)) + length(300) + packed)
    file.key(b"", b"").key(b"long", b"x" * 100_000).key(b"k" * 300, b"text")
    file.raw(b"\x00" + b"\x81" + struct.pack(">Q", 4) + b"wide" + string(b"64-bit length"))
    load(engine, file.end(), tmp_path)
    for n in numbers:
        assert get(engine, b"n%d" % n) == str(n).encode()
        assert engine.execute(b"OBJECT", b"ENCODING", b"n%d" % n) == b"int"
        assert get(engine, str(n).encode()) == b"number as a key"
    assert get(engine, b"lzf") == b"a" * 300
    assert get(engine, b"") == b""
    assert get(engine, b"long") == b"x" * 100_000
    assert get(engine, b"k" * 300) == b"text"
    assert get(engine, b"wide") == b"64-bit length"


def test_opcodes(engine: Engine, tmp_path: Path) -> None:
    later = NOW_MS + 10_000_000  # whole suites run between the import and this
    module = (
        b"\xf7"
        + length(0x8000_0000_0000_0000)
        + b"".join(
            [b"\x02\x05", b"\x01\x07", b"\x03" + bytes(4), b"\x04" + bytes(8), b"\x05" + string(b"text"), b"\x00"]
        )
    )
    data = (
        Builder(b"REDIS0012")
        .aux(b"redis-ver", b"7.0.15")
        .raw(module)
        .select(2)
        .sizes(2, 1)
        .raw(b"\xf4" + length(1) + length(2) + length(3))
        .key(b"a", b"1", expire_ms=later)
        .raw(b"\xfd" + struct.pack("<i", later // 1000))
        .key(b"b", b"2")
        .aux(b"mvcc-tstamp", b"12")  # KeyDB puts them between keys
        .select(0)
        .key(b"c", b"3")
        .end()
    )
    loader = load(engine, data, tmp_path)
    assert engine.execute(b"PEXPIRETIME", b"a", db=2) == later
    assert engine.execute(b"PEXPIRETIME", b"b", db=2) == later // 1000 * 1000
    assert engine.execute(b"PEXPIRETIME", b"c") == -1
    assert loader.aux == {"redis-ver": b"7.0.15", "mvcc-tstamp": b"12"}
    assert loader.skipped_modules == ["gAAAAAAAA"]


def test_age(engine: Engine, tmp_path: Path) -> None:
    data = Builder().key(b"idle", b"1", idle_s=500).key(b"busy", b"2", frequency=77).key(b"both", b"3").end()
    load(engine, data, tmp_path)
    assert 500 <= engine.execute(b"OBJECT", b"IDLETIME", b"idle") <= 510
    engine.execute(b"FLUSHALL")
    engine.set_param("maxmemory_policy", POLICIES["allkeys-lfu"])
    load(engine, data, tmp_path)
    assert engine.execute(b"OBJECT", b"FREQ", b"busy") == 77
    assert engine.execute(b"OBJECT", b"FREQ", b"idle") == 5


def test_expired(engine: Engine, tmp_path: Path) -> None:
    data = Builder().key(b"old", b"1", expire_ms=NOW_MS - 1000).key(b"older", b"2", expire_ms=-5).key(b"k", b"v").end()
    loader = load(engine, data, tmp_path)
    assert (loader.keys, loader.keys_expired) == (1, 2)
    assert engine.execute(b"DBSIZE") == 1
    engine.execute(b"FLUSHALL")
    loader = load(engine, data, tmp_path, skip_expired=False)
    assert (loader.keys, loader.keys_expired) == (3, 0)
    assert engine.execute(b"DBSIZE") == 3
    assert get(engine, b"old") is None
    stats = engine.stats()
    assert (stats["load_keys"], stats["load_keys_expired"]) == (4, 2)


def test_duplicate_keys(engine: Engine, tmp_path: Path) -> None:
    data = Builder().key(b"k", b"1").key(b"k", b"2").end()
    assert "occurs twice" in refused(engine, data, tmp_path)
    engine.execute(b"FLUSHALL")
    load(engine, data, tmp_path, replace=True)
    assert get(engine, b"k") == b"2"
    assert "byte 9 occurs twice" in refused(engine, Builder().key(b"k", b"3").end(), tmp_path)


@pytest.mark.parametrize(
    ("magic", "body", "words"),
    [
        (b"REDIS0010", b"\x1a\x01s\x01\x01f", "type stream in database 0 (byte 9): type stream is not supported"),
        (b"REDIS0010", b"\x12\x01l\x01\x02\x07" + bytes(7), "corrupt listpack of a list at byte"),
        (b"REDIS0011", b"\x1b\x01s", "type stream is not supported"),
        (b"REDIS0011", b"\x15\x01s\x01\x01f", "a stream's block without an id at byte"),
        (b"REDIS0010", b"\x14\x01s\x01a", "corrupt listpack of a set at byte"),
        (b"REDIS0010", b"\x11\x01z\x01a", "corrupt listpack of a sorted set at byte"),
        (b"REDIS0010", b"\x07\x01m\x01a", "type module is not supported"),
        (b"VALKEY080", b"\x19\x01h\x01", "type 25 is not supported"),
        (b"REDIS0012", b"\x16\x01h\x01", "type hash with field expiry is not supported"),
        (b"REDIS0010", b"\xf5\x05#!lua", "function libraries (byte 9)"),
        (b"REDIS0010", b"\xfe\x10", "Start with --databases 17"),
        (b"REDIS0010", b"\xf0", "unknown record type 240 at byte 9"),
        (b"VALKEY080", b"\xf4", "unknown record type 244 at byte 9"),
        (b"VALKEY080", b"\xf3", "unknown record type 243 at byte 9"),
        (b"REDIS0010", b"\x08\x01k\x01v", "unknown record type 8 at byte 9"),
        (b"REDIS0010", b"\x00\x85", "invalid length code at byte 10"),
        (b"REDIS0010", b"\x00\x01k\xc4", "invalid string encoding at byte 13"),
        (b"REDIS0010", b"\x00\x01k\xc3\x02\x40\xff\x00a", "corrupt compressed string"),
        (b"REDIS0010", b"\x00\x01k\xc3\x02\x05\x20a", "corrupt compressed string at byte"),
        (b"REDIS0010", b"\x00\x01k\x81" + b"\xff" * 8, "it ends within the record at byte 9: the file was cut short"),
        (b"REDIS0010", b"\x00\x01k\x81\x7f" + b"\xff" * 7, "the file was cut short"),
        (b"REDIS0010", b"\xf7\x01\x09", "unknown record type"),
    ],
)
def test_refused(engine: Engine, tmp_path: Path, magic: bytes, body: bytes, words: str) -> None:
    assert words in refused(engine, Builder(magic).raw(body).end(), tmp_path)


def test_checksum(engine: Engine, tmp_path: Path) -> None:
    data = Builder().key(b"k", b"v").end(checksum=12345)
    assert "its checksum at byte" in refused(engine, data, tmp_path)
    engine.execute(b"FLUSHALL")
    load(engine, data, tmp_path, checksum=False)
    engine.execute(b"FLUSHALL")
    load(engine, Builder().key(b"k", b"v").end(checksum=0), tmp_path)


def test_commands_may_follow(engine: Engine, tmp_path: Path) -> None:
    """An AOF with an RDB preamble."""
    data = Builder().aux(b"aof-base", b"1").key(b"k", b"v").end()
    loader = load(engine, data + b"*1\r\n$4\r\nPING\r\n", tmp_path)
    assert loader.end_offset == len(data)


def test_hostile_sizes(engine: Engine, tmp_path: Path) -> None:
    """A file may promise anything; memory follows its length."""
    before = engine.stats()["used_memory"]
    file = Builder()
    for db in (0, 1, 2, 3, 0, 1):
        file.select(db).sizes(1 << 40, 1 << 40)
    load(engine, file.key(b"k", b"v").end(), tmp_path)
    assert engine.stats()["used_memory"] - before < 100_000


def test_many_keys_in_slices(engine: Engine, tmp_path: Path) -> None:
    file = Builder()
    parts = [b"\x00" + string(b"key:%d" % i) + string(b"value:%d" % i) for i in range(30_000)]
    data = file.select(3).sizes(30_000).raw(b"".join(parts)).end()
    path = tmp_path / "dump.rdb"
    path.write_bytes(data)
    loader = RdbLoader(engine, str(path))
    steps = 1
    while loader.step(1):
        steps += 1
        assert engine.stats()["load_done_bytes"] == loader.done_bytes
    loader.close()
    assert steps > 10
    assert engine.execute(b"DBSIZE", db=3) == 30_000
    assert get(engine, b"key:12345", 3) == b"value:12345"
    with pytest.raises(ValueError, match="closed"):
        loader.step(1)


def test_every_truncation_is_noticed(engine: Engine, tmp_path: Path) -> None:
    data = sample(engine, tmp_path)
    for n in range(len(data)):
        engine.execute(b"FLUSHALL")
        assert str(tmp_path) in refused(engine, data[:n], tmp_path)


def test_every_flipped_byte_is_noticed(engine: Engine, tmp_path: Path, rng: random.Random) -> None:
    """The checksum, if nothing before it."""
    data = sample(engine, tmp_path)
    for at in range(len(data)):
        engine.execute(b"FLUSHALL")
        broken = bytearray(data)
        broken[at] ^= rng.randrange(1, 256)
        if broken[-8:] == bytes(8):
            continue
        refused(engine, bytes(broken), tmp_path)


def test_no_memory_is_lost(engine: Engine, tmp_path: Path) -> None:
    data = sample(engine, tmp_path)
    engine.execute(b"FLUSHALL", b"SYNC")
    sizes = []
    for _ in range(3):
        for n in range(0, len(data), 3):
            refused(engine, data[:n], tmp_path)
            engine.execute(b"FLUSHALL", b"SYNC")
        sizes.append(engine.stats()["used_memory"])
    assert abs(sizes[2] - sizes[0]) < 512, sizes  # allocators round up differently now and then


def sample(engine: Engine, tmp_path: Path) -> bytes:
    """A file that the server itself wrote, with one of everything."""
    engine.execute(b"MSET", b"a", b"1", b"b", b"-70000", b"c", b"text", b"d", b"ab" * 200, b"e", b"")
    engine.execute(b"SET", b"f", b"expires", b"PX", b"1000000", db=2)
    engine.set_param("maxmemory_policy", POLICIES["allkeys-lru"])
    snapshot = Snapshot(engine, temp_path=str(tmp_path / "sample"), aux=[("redis-ver", "7.0.0")])
    snapshot.start()
    assert snapshot.finish().ok
    return (tmp_path / "sample").read_bytes()


def test_dump_and_restore_agree_with_the_file_format(engine: Engine) -> None:
    for value in (b"", b"text", b"12345", b"1234567890123", b"ab" * 500, bytes(5000)):
        engine.execute(b"SET", b"k", value)
        payload = engine.execute(b"DUMP", b"k")
        assert payload == dump(payload[:-10], 10)
        assert engine.execute(b"RESTORE", b"copy", b"0", payload, b"REPLACE") == "OK"
        assert get(engine, b"copy") == value
        assert engine.execute(b"OBJECT", b"ENCODING", b"copy") == engine.execute(b"OBJECT", b"ENCODING", b"k")
