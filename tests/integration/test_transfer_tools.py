"""`cachefleet export`, `import` and `aof replay` between files and servers of each kind."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleettest.aoffile import as_aof, make_folder
from fleettest.client import Connection
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.rdbfile import Builder, parse, string
from fleettest.seeder import Seeder, assert_same, capture, fill, run
from fleettest.tools import tool

pytestmark = pytest.mark.server

KINDS: list[Kind] = ["cachefleet", "valkey", "redis"]
FAR_MS = 4102444800000


def address(server: Instance) -> str:
    return f"127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def ours() -> Iterator[Instance]:
    with Instance(options={"enable-debug-command": "yes"}) as server:
        yield server


@pytest.fixture
def empty(ours: Instance) -> Instance:
    ours.call("FLUSHALL")
    return ours


@pytest.mark.differential
@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_from_server_to_server(tmp_path: Path, rng: random.Random, source: Kind, target: Kind) -> None:
    path = tmp_path / "export.rdb"
    with Instance(source) as server, server.connect() as connection:
        fill(connection, Seeder(rng, keys=200))
        data = capture(connection)
        done = tool("export", address(server), path)
        assert (done.returncode, done.stderr) == (0, "")
        assert f" of {address(server)}" in done.stdout
        assert tool("rdb", "verify", path).returncode == 0
        assert server.call("PING") == "PONG"
    with Instance(target) as server, server.connect() as connection:
        done = tool("import", path, address(server))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{len(data)} keys to {address(server)}\n"
        assert_same(capture(connection), data)
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.differential
@pytest.mark.parametrize("target", KINDS)
def test_replay(tmp_path: Path, rng: random.Random, target: Kind) -> None:
    """A base, then commands, transactions among them."""
    folder = tmp_path / "data"
    options = {"appendonly": "yes", "aof-timestamp-enabled": "yes", "save": ""}
    with Instance("redis", directory=folder, options=options) as server, server.connect() as connection:
        seeder = Seeder(rng, keys=100)
        fill(connection, seeder)
        connection.call("BGREWRITEAOF")
        run(connection, seeder.mutate(300))
        data = capture(connection)
    with Instance(target) as server, server.connect() as connection:
        done = tool("aof", "replay", folder, address(server))
        assert (done.returncode, done.stderr) == (0, "")
        assert_same(capture(connection), data)


@pytest.mark.parametrize("target", KINDS)
def test_a_trim_of_a_stream_goes_as_servers_take_it_from_clients(tmp_path: Path, target: Kind) -> None:
    """Redis writes the LIMIT of what it made exact."""
    folder = tmp_path / "data"
    options = {"appendonly": "yes", "save": "", "stream-node-max-entries": "2"}
    with Instance("redis", directory=folder, options=options) as server, server.connect() as connection:
        for number in range(9):
            connection.call("XADD", "s", "MAXLEN", "~", 3, "LIMIT", 2, f"{number + 1}-0", "LIMIT", "MAXLEN")
        connection.call("XADD", "t", "NOMKSTREAM", "MINID", "~", "5-0", "LIMIT", 0, "1-0", "a", "b")
        connection.call("XTRIM", "s", "MINID", "~", "5", "LIMIT", 1)
        data = connection.call("XRANGE", "s", "-", "+")
    with Instance(target) as server, server.connect() as connection:
        done = tool("aof", "replay", folder, address(server))
        assert (done.returncode, done.stderr) == (0, "")
        assert connection.call("XRANGE", "s", "-", "+") == data


def test_keys_keep_what_they_have(tmp_path: Path, empty: Instance) -> None:
    path = tmp_path / "dump.rdb"
    builder = Builder().select(0).key(b"far", b"v", expire_ms=FAR_MS, idle_s=70).key(b"gone", b"v", expire_ms=0)
    path.write_bytes(builder.key(b"often", b"v", frequency=200).select(3).key(b"\xff\r\n", b"\0" * 100).end())
    assert tool("import", path, address(empty)).returncode == 0
    with empty.connect() as connection:
        assert connection.call("PEXPIRETIME", "far") == FAR_MS and connection.call("OBJECT", "IDLETIME", "far") >= 70
        assert connection.call("EXISTS", "gone") == 0
        connection.call("SELECT", 3)
        assert connection.call("GET", b"\xff\r\n") == b"\0" * 100


def test_keys_that_exist(tmp_path: Path, empty: Instance) -> None:
    """The first one ends it, and says where; from there one can go on."""
    path = tmp_path / "dump.rdb"
    builder = Builder().select(0)
    at = {}
    for i in range(5):
        at[i] = len(builder.data)
        builder.key(b"key:%d" % i, b"new")
    path.write_bytes(builder.end())
    empty.call("SET", "key:2", "old")
    done = tool("import", path, address(empty))
    assert done.returncode == 3
    first, last = done.stderr.splitlines()
    where = f'"key:2" of database 0, at byte {at[2]} of {path}'
    assert first == f"cachefleet: {where}: BUSYKEY Target key name already exists."
    assert "the server refused 1 command; the last one that it confirmed before is " in last
    assert empty.call("GET", "key:2") == b"old"
    empty.call("FLUSHALL")
    assert tool("import", path, address(empty), "--from", str(at[2])).stdout == f"3 keys to {address(empty)}\n"
    assert sorted(empty.call("KEYS", "*")) == [b"key:2", b"key:3", b"key:4"]
    empty.call("SET", "key:2", "old")
    done = tool("import", path, address(empty), "--keep-going")
    assert done.returncode == 3 and "the server refused 3 commands" in done.stderr
    assert (empty.call("DBSIZE"), empty.call("GET", "key:2")) == (5, b"old")
    assert tool("import", path, address(empty), "--replace").returncode == 0
    assert empty.call("GET", "key:2") == b"new"


def test_commands_are_for_an_empty_server(tmp_path: Path, empty: Instance) -> None:
    make_folder(tmp_path, as_aof("SELECT 3", "INCR n"))
    empty.call("SET", "k", "v")
    done = tool("aof", "replay", tmp_path, address(empty))
    assert done.returncode == 3 and f"{address(empty)} has keys" in done.stderr
    done = tool("import", tmp_path, address(empty), "--replace")
    assert (done.returncode, done.stdout) == (0, f"2 commands to {address(empty)}\n")
    with empty.connect() as connection:
        connection.call("SELECT", 3)
        assert connection.call("GET", "n") == b"1"
    assert tool("import", tmp_path, address(empty), "--replace", "--from", "5").returncode == 2


@pytest.mark.parametrize("transaction", [False, True])
def test_a_command_that_is_refused(tmp_path: Path, empty: Instance, transaction: bool) -> None:
    """By its name and its place among notes; in a transaction it is EXEC that says so."""
    rows = as_aof("SELECT 0", *(f"SET key:{i} {i}" for i in range(20_000))) + b"#TS:5\r\n"
    bad = as_aof("MULTI", "LPUSH key:1 x") if transaction else as_aof("LPUSH key:1 x")
    at = len(rows + as_aof("MULTI", "LPUSH key:1 x") if transaction else rows)
    data = rows + bad + (as_aof("EXEC") if transaction else b"") + as_aof("SET last 1")
    files = make_folder(tmp_path, data)
    done = tool("aof", "replay", tmp_path, address(empty))
    name = "EXEC" if transaction else "LPUSH"
    assert done.returncode == 3
    assert f'cachefleet: "{name}" at byte {at} of {files.incremental}: WRONGTYPE' in done.stderr
    assert (empty.call("GET", "key:19999"), empty.call("LLEN", "nokey")) == (b"19999", 0)


def test_what_a_file_ends_in(tmp_path: Path, empty: Instance) -> None:
    """All that is whole is sent, and heard of, before it is told."""
    single = tmp_path / "single.aof"
    rdb = Builder().select(0).key(b"k", b"v").end()
    single.write_bytes(rdb + as_aof("SELECT 0", "SET a 1") + b"*1\r\n$")
    done = tool("aof", "replay", single, address(empty))
    assert done.returncode == 1 and "ends in the middle" in done.stderr
    assert sorted(empty.call("KEYS", "*")) == [b"a", b"k"]
    empty.call("FLUSHALL")
    single.write_bytes(rdb[:-12])
    done = tool("import", single, address(empty))
    assert done.returncode == 1 and "ends within the record" in done.stderr


@pytest.mark.differential
def test_what_a_server_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "dump.rdb"
    fields = string(b"f") + string(b"v") + FAR_MS.to_bytes(8, "little")
    builder = Builder(b"VALKEY080").select(0).key(b"a", b"1").raw(b"\x16" + string(b"h") + b"\x01" + fields)
    path.write_bytes(builder.key(b"z", b"1").end())
    with Instance("redis") as server:
        done = tool("import", path, address(server))
        assert done.returncode == 3 and 'redis-7.0 cannot take "h" of database 0' in done.stderr
        assert "(--drop expiry)" in done.stderr and server.call("KEYS", "*") == [b"a"]
        assert tool("import", path, address(server), "--replace", "--drop", "expiry").returncode == 0
        assert (server.call("DBSIZE"), server.call("HGETALL", "h")) == (3, [b"f", b"v"])
    newer: list[Kind] = ["valkey", "redis8", "cachefleet"]
    for kind in newer:
        with Instance(kind) as server:
            assert tool("import", path, address(server)).returncode == 0
            assert server.call("HPEXPIRETIME", "h", "FIELDS", 1, "f") == [FAR_MS]
            again = tmp_path / f"{kind}.rdb"
            assert tool("export", address(server), again).returncode == 0
            assert tool("rdb", "diff", path, again).stdout == ""


@pytest.mark.differential
def test_members_that_expire_between_ours(tmp_path: Path, empty: Instance) -> None:
    """What only we have comes over whole, also where a file has a form of our own."""
    path = tmp_path / "export.rdb"
    empty.call("SADD", "s", "a", "b")
    empty.call("SPEXPIREAT", "s", str(FAR_MS), "MEMBERS", 1, "a")
    before = empty.call("DEBUG", "DIGEST")
    assert tool("export", address(empty), path).returncode == 0
    assert path.read_bytes().startswith(b"CFLEET001")
    empty.call("FLUSHALL")
    assert tool("import", path, address(empty)).returncode == 0
    assert empty.call("DEBUG", "DIGEST") == before and empty.call("SPEXPIRETIME", "s", "MEMBERS", 1, "a") == [FAR_MS]


@pytest.mark.differential
def test_function_libraries(tmp_path: Path, empty: Instance) -> None:
    library = b"#!lua name=l\nredis.register_function('f', function() return 1 end)"
    path = tmp_path / "dump.rdb"
    path.write_bytes(Builder().raw(b"\xf5" + string(library)).select(0).key(b"k", b"v").end())
    with Instance("redis") as server:
        assert tool("import", path, address(server)).returncode == 0
        assert server.call("FCALL", "f", 0) == 1
        done = tool("import", path, address(server))
        assert done.returncode == 3 and "function library 1: ERR" in done.stderr
    done = tool("import", path, address(empty))
    assert done.returncode == 3 and "--drop functions" in done.stderr and empty.call("DBSIZE") == 0
    assert tool("import", path, address(empty), "--drop", "functions").returncode == 0


@pytest.mark.parametrize("kind", KINDS)
def test_logins(tmp_path: Path, kind: Kind) -> None:
    """From a file or the environment; the word is in no command line."""
    word, path = tmp_path / "word", tmp_path / "dump.rdb"
    word.write_text("secret\n")
    with Instance(kind, options={"requirepass": "secret"}) as server:
        with Connection(("127.0.0.1", server.port)) as connection:
            assert connection.call("AUTH", "secret") == "OK"
            connection.call("SET", "k", "v")
        done = tool("export", address(server), path)
        assert done.returncode == 3 and "NOAUTH" in done.stderr and not path.exists()
        assert tool("export", address(server), path, "--password-file", word).returncode == 0
        env = {**os.environ, "REDISCLI_AUTH": "secret"}
        assert tool("import", path, address(server), "--replace", "--user", "default", env=env).returncode == 0
        done = tool("import", path, address(server), env={**env, "REDISCLI_AUTH": "wrong"})
        assert done.returncode == 3 and "refuses AUTH: WRONGPASS" in done.stderr
    assert tool("export", address(server), tmp_path / "new.rdb", "--user", "ann").returncode == 2


def test_exports_that_fail(tmp_path: Path, empty: Instance) -> None:
    path = tmp_path / "dump.rdb"
    path.write_bytes(b"mine")
    done = tool("export", address(empty), path)
    assert done.returncode == 3 and "--force" in done.stderr and path.read_bytes() == b"mine"
    done = tool("export", "127.0.0.1:1", path, "--force")
    assert done.returncode == 3 and "127.0.0.1:1: Connection refused" in done.stderr
    assert tool("export", address(empty), tmp_path / "none" / "x.rdb").returncode == 3
    assert tool("export", "127.0.0.1:x", path).returncode == 2
    empty.call("SET", "k", "v")
    assert tool("export", address(empty), path, "--force").returncode == 0
    assert [record.key for record in parse(path.read_bytes()).records] == [b"k"]
    assert [file.name for file in tmp_path.iterdir()] == ["dump.rdb"]


def test_a_socket(tmp_path: Path) -> None:
    place = tmp_path / "socket"
    with Instance(options={"unixsocket": str(place)}) as server:
        server.call("SET", "k", "v")
        assert tool("export", place, tmp_path / "dump.rdb").returncode == 0
        assert tool("import", tmp_path / "dump.rdb", place, "--replace").stdout == f"1 key to {place}\n"


def test_going_on_where_it_ended(tmp_path: Path) -> None:
    """What it confirmed last is said, so one can go on there."""
    path = tmp_path / "dump.rdb"
    builder = Builder().select(0)
    builder.raw(b"".join(b"\x00" + string(b"key:%d" % i) + string(os.urandom(20_000)) for i in range(3000)))
    path.write_bytes(builder.end(checksum=0))
    with Instance(options={"maxmemory": "8mb", "maxmemory-policy": "noeviction"}) as server:
        done = tool("import", path, address(server))
        assert done.returncode == 3 and "OOM command not allowed" in done.stderr
        words = done.stderr.splitlines()[-1].partition("the last one that it confirmed before is ")[2]
        at = int(words.partition("at byte ")[2].split()[0])
        kept: Any = server.call("DBSIZE")
        server.call("CONFIG", "SET", "maxmemory", "0")
        assert tool("import", path, address(server), "--replace", "--from", str(at)).returncode == 0
        assert kept < 3000 and server.call("DBSIZE") == 3000
