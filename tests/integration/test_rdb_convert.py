"""`cachefleet rdb convert`: real servers load what comes out, and what they could not hold is named."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from fleettest.faults import Faults
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.rdbfile import Builder, parse, string
from fleettest.seeder import Data, Seeder, assert_same, capture, fill
from fleettest.tools import tool

pytestmark = pytest.mark.server

LIBRARY = b"#!lua name=l\nredis.register_function('f', function() return 1 end)"
FAR_MS = 4102444800000
READERS: list[tuple[str, Kind]] = [
    ("redis-7.0", "redis"), ("redis-8", "redis8"), ("valkey-9", "valkey"), ("valkey-8", "valkey"),
    ("cachefleet", "cachefleet"), ("redis-7.0", "valkey"),
]  # fmt: skip


def saved(directory: Path, kind: Kind, rng: random.Random, *commands: tuple[Any, ...]) -> tuple[Path, Data]:
    with Instance(kind, directory=directory) as server, server.connect() as connection:
        fill(connection, Seeder(rng, keys=200))
        for command in commands:
            connection.call(*command)
        data = capture(connection)
        assert connection.call("SAVE") == "OK"
    return directory / "dump.rdb", data


def loaded(directory: Path, kind: Kind) -> Data:
    with Instance(kind, directory=directory) as server, server.connect() as connection:
        return capture(connection)


@pytest.mark.differential
@pytest.mark.parametrize(("to", "reader"), READERS)
@pytest.mark.parametrize("writer", ["cachefleet", "valkey"])
def test_servers_load_it(tmp_path: Path, rng: random.Random, writer: Kind, to: str, reader: Kind) -> None:
    path, data = saved(tmp_path / "in", writer, rng)
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "dump.rdb"
    done = tool("rdb", "convert", path, out, "--to", to)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{out}: {len(data)} keys, ")
    assert tool("rdb", "diff", path, out).stdout == ""
    assert_same(loaded(tmp_path / "out", reader), data)


@pytest.mark.differential
def test_fields_that_expire(tmp_path: Path, rng: random.Random) -> None:
    """Valkey 9 keeps them, Redis 7.0 is refused them, and gets them without when they may be dropped."""
    path, _ = saved(
        tmp_path / "in", "valkey", rng, ("HSET", "timed", "a", "1", "b", "2"),
        ("HPEXPIREAT", "timed", FAR_MS, "FIELDS", 1, "a"),
    )  # fmt: skip
    for place in ("out", "old"):
        (tmp_path / place).mkdir()
    out = tmp_path / "out" / "dump.rdb"
    assert tool("rdb", "convert", path, out, "--to", "valkey-9").returncode == 0
    with Instance("valkey", directory=tmp_path / "out") as server:
        assert server.call("HPEXPIRETIME", "timed", "FIELDS", 2, "a", "b") == [FAR_MS, -1]
    old = tmp_path / "old" / "dump.rdb"
    done = tool("rdb", "convert", path, old, "--to", "redis-7.0")
    assert done.returncode == 3 and not list(old.parent.iterdir())
    assert done.stderr == (
        'cachefleet: redis-7.0 cannot take "timed" of database 0: it has times at which members expire '
        "(--drop expiry)\n"
        "cachefleet: 1 thing would be lost; nothing was written\n"
    )
    assert tool("rdb", "convert", path, old, "--to", "redis-7.0", "--drop", "expiry").returncode == 0
    with Instance("redis", directory=tmp_path / "old") as server:
        assert server.call("HGETALL", "timed") == [b"a", b"1", b"b", b"2"]


def timed(key: bytes, **at: int) -> bytes:
    found = b"\x16" + string(key) + bytes([len(at)])
    for name, ms in at.items():
        found += string(name.encode()) + string(b"v") + ms.to_bytes(8, "little", signed=True)
    return found


def test_members_whose_time_is_over_do_not_come_back(tmp_path: Path) -> None:
    past = int(time.time() * 1000) - 1000
    source, out = tmp_path / "in.rdb", tmp_path / "out.rdb"
    builder = Builder(b"VALKEY080").select(0).raw(timed(b"some", a=past, b=FAR_MS, c=-1)).raw(timed(b"none", a=past))
    source.write_bytes(builder.end())
    assert tool("rdb", "convert", source, out, "--to", "redis-7.2", "--drop", "expiry").returncode == 0
    assert {record.key: record.value for record in parse(out.read_bytes()).records} == {
        b"some": frozenset({(b"b", b"v"), (b"c", b"v")})
    }


@pytest.mark.differential
def test_redis_has_a_form_of_its_own(tmp_path: Path) -> None:
    """Fields that expire, as Redis 7.4 writes them."""
    (tmp_path / "out").mkdir()
    source, out, back = tmp_path / "in.rdb", tmp_path / "out" / "dump.rdb", tmp_path / "back.rdb"
    source.write_bytes(Builder(b"VALKEY080").select(0).raw(timed(b"h", a=FAR_MS, b=-1)).end())
    assert tool("rdb", "convert", source, out, "--to", "redis-8").returncode == 0
    data = out.read_bytes()
    assert data.startswith(b"REDIS0012") and b"\x18" + string(b"h") in data
    with Instance("redis8", directory=out.parent) as server:
        assert server.call("HPEXPIRETIME", "h", "FIELDS", 2, "a", "b") == [FAR_MS, -1]
    assert tool("rdb", "convert", out, back, "--to", "valkey-9").returncode == 0
    assert parse(back.read_bytes()).times() == {0: {b"h": {b"a": FAR_MS}}}


def test_producers_of_a_stream(tmp_path: Path) -> None:
    source, out = tmp_path / "dump.rdb", tmp_path / "out.rdb"
    with Instance(directory=tmp_path) as server:
        server.call("XADD", "s", "IDMP", "p", "i", "*", "f", "v")
        assert server.call("SAVE") == "OK"
    assert tool("rdb", "convert", source, out, "--to", "cachefleet").returncode == 0
    assert tool("rdb", "diff", source, out).returncode == 0
    done = tool("rdb", "convert", source, out, "--to", "valkey-9", "--force")
    assert done.returncode == 3 and '"s" of database 0: it has producers of a stream (--drop producers)' in done.stderr
    done = tool("rdb", "convert", source, out, "--to", "valkey-9", "--force", "--drop", "producers")
    assert done.returncode == 0 and parse(out.read_bytes()).records[0].key == b"s"
    assert tool("rdb", "diff", source, out).stdout.splitlines()[0] == '! 0 stream "s" value'


@pytest.mark.differential
def test_function_libraries(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    source, out = tmp_path / "in.rdb", tmp_path / "out" / "dump.rdb"
    source.write_bytes(Builder().aux(b"ctime", b"5").raw(b"\xf5" + string(LIBRARY)).select(0).key(b"k", b"v").end())
    assert tool("rdb", "convert", source, out, "--to", "redis-7.0").returncode == 0
    facts = json.loads(tool("rdb", "info", "-o", "json", out).stdout)
    assert facts["libraries"] == 1 and facts["aux"]["ctime"] == "5"
    with Instance("redis", directory=tmp_path / "out") as server:
        assert server.call("FCALL", "f", 0) == 1
    ours = tmp_path / "ours.rdb"
    done = tool("rdb", "convert", source, ours, "--to", "cachefleet")
    assert done.returncode == 3 and "--drop functions" in done.stderr
    assert tool("rdb", "convert", source, ours, "--to", "cachefleet", "--drop", "functions").returncode == 0
    assert ours.read_bytes().startswith(b"CFLEET001")


def test_data_of_modules(tmp_path: Path) -> None:
    source, out = tmp_path / "in.rdb", tmp_path / "out.rdb"
    source.write_bytes(Builder().raw(b"\xf7\x81" + bytes(8) + b"\x02\x02\x00").select(0).key(b"k", b"v").end())
    done = tool("rdb", "convert", source, out, "--to", "valkey-9")
    assert done.returncode == 3 and "data of modules: AAAAAAAAA (--drop modules)" in done.stderr
    assert tool("rdb", "convert", source, out, "--to", "valkey-9", "--drop", "modules").returncode == 0


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    source, out = tmp_path / "in.rdb", tmp_path / "out.rdb"
    source.write_bytes(Builder().select(0).key(b"k", b"v").end())
    out.write_bytes(b"mine")
    done = tool("rdb", "convert", source, out, "--to", "redis-7.0")
    assert done.returncode == 3 and "--force" in done.stderr and out.read_bytes() == b"mine"
    whole = source.read_bytes()
    source.write_bytes(whole[:-9])
    done = tool("rdb", "convert", source, out, "--to", "redis-7.0", "--force")
    assert done.returncode == 1 and out.read_bytes() == b"mine"
    source.write_bytes(whole)
    assert tool("rdb", "convert", source, out, "--to", "redis-7.0", "--force").returncode == 0
    assert parse(out.read_bytes()).records[0].key == b"k"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.rdb", "out.rdb"]
    for words in (("convert", source, out), ("convert", source, out, "--to", "memcached")):
        assert tool("rdb", *words).returncode == 2


@pytest.mark.parametrize("rule", ["fail write 1- ENOSPC @*.tmp", "fail fsync 1- EIO @*.tmp"])
def test_a_full_disk_leaves_nothing(tmp_path: Path, rule: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "in.rdb").write_bytes(Builder().select(0).key(b"k", b"v").end())
    faults = Faults(folder, tmp_path)
    faults.set(rule)
    words = (folder / "in.rdb", folder / "out.rdb", "--to", "redis-7.0")
    done = tool("rdb", "convert", *words, env={**os.environ, **faults.env})
    assert done.returncode == 3 and "out.rdb: " in done.stderr
    assert [path.name for path in folder.iterdir()] == ["in.rdb"]
