"""Commands on keys of any type and on whole databases, against the real Valkey: replies must be the same bytes."""

from __future__ import annotations

import time

import pytest

from fleettest.client import Connection, Error
from fleettest.instance import Instance, Pool
from fleettest.reference import Pair
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

BIG = "x" * 5000


def test_del_unlink_exists_touch(pair: Pair) -> None:
    for name in ("DEL", "UNLINK"):
        pair.run("MSET", "a", 1, "b", "two", "c", BIG)
        assert pair.run("EXISTS", "a", "a", "nokey", "b", "c") == 4
        assert pair.run("TOUCH", "a", "a", "nokey") == 2
        assert pair.run(name, "a", "nokey", "c", "a") == 2
        assert pair.run("EXISTS", "a", "b", "c") == 1
        assert pair.run("DBSIZE") == 1
        for command in (name, "EXISTS", "TOUCH"):
            assert isinstance(pair.run(command), Error)


def test_binary_and_empty_names(pair: Pair) -> None:
    for key in (b"", b"\x00\xff\r\n", b"k" * 300, b"{tag}"):
        pair.run("SET", key, "v")
        pair.run("RENAME", key, key + b"2")
        pair.run("EXISTS", key, key + b"2")
        pair.run("COPY", key + b"2", key)
        pair.run("OBJECT", "ENCODING", key)
        pair.run("KEYS", "*")
        pair.run("DEL", key, key + b"2")


def test_type(pair: Pair) -> None:
    pair.run("SET", "s", "v")
    assert pair.run("TYPE", "s") == "string"
    assert pair.run("TYPE", "nokey") == "none"
    pair.run("TYPE")
    pair.run("TYPE", "a", "b")


def test_rename(pair: Pair) -> None:
    pair.run("RENAME", "nokey", "x")
    pair.run("RENAME", "nokey", "nokey")
    pair.run("RENAMENX", "nokey", "x")
    pair.run("SET", "a", 1, "PX", 10_000_000)
    pair.run("SET", "b", BIG)
    assert pair.run("RENAME", "a", "a") == "OK"
    assert pair.run("RENAMENX", "a", "a") == 0
    assert pair.run("RENAMENX", "a", "b") == 0
    assert pair.run("RENAME", "a", "b") == "OK"
    assert pair.run("GET", "b") == b"1"
    assert pair.run("TTL", "b") == 10_000
    assert pair.run("EXISTS", "a") == 0
    pair.run("SET", "c", "plain")
    pair.run("RENAME", "c", "b")
    assert pair.run("TTL", "b") == -1  # the target's time to live goes with its value
    assert pair.run("RENAMENX", "b", "free") == 1
    for encoded in (12345, "short", BIG, "x" * 44, "x" * 45):
        pair.run("SET", "k", encoded)
        pair.run("RENAME", "k", "k" * 200)
        pair.run("OBJECT", "ENCODING", "k" * 200)
        pair.run("GET", "k" * 200)


def test_copy(pair: Pair) -> None:
    pair.run("SET", "a", "v", "EX", 1000)
    for words in (
        ("nokey", "nokey"), ("nokey", "x"), ("a", "a"), ("a", "a", "DB", 0), ("a", "a", "DB", 1), ("a", "a", "DB", 1),
        ("a", "a", "DB", 1, "REPLACE"), ("a", "b"), ("a", "b"), ("a", "b", "REPLACE", "REPLACE"), ("a", "b", "DB"),
        ("a", "b", "DB", "x"), ("a", "b", "DB", 99), ("a", "b", "DB", -1), ("a", "b", "db", 1, "DB", 0),
        ("a", "b", "DB", 4294967296), ("a", "b", "DB", "99999999999999999999"), ("a", "b", "FOO"), ("a",),
        ("a", "b", "REPLACE", "DB"), ("a", "b", "DB", 0, "FOO"),
    ):  # fmt: skip
        pair.run("COPY", *words)
    assert pair.run("TTL", "b") == 1000
    pair.run("APPEND", "raw", "1")
    for value, key in ((12, "int"), ("str", "emb"), (BIG, "big")):
        pair.run("SET", key, value)
    for key in ("raw", "int", "emb", "big"):
        assert pair.run("COPY", key, "copy", "REPLACE") == 1
        pair.run("OBJECT", "ENCODING", "copy")
        pair.run("APPEND", key, "more")  # the copy is a copy
        pair.run("GET", "copy")


def test_move(pair: Pair) -> None:
    pair.run("SET", "a", "v", "EX", 1000)
    for words in (
        ("nokey", 1), ("a", 0), ("a", "x"), ("a", 16), ("a", -1), ("a", 4294967296), ("a",), ("a", 1), ("a", 1)
    ):  # fmt: skip
        pair.run("MOVE", *words)
    pair.run("SET", "a", "other")
    assert pair.run("MOVE", "a", 1) == 0
    pair.run("SELECT", 1)
    assert pair.run("TTL", "a") == 1000
    assert pair.run("MOVE", "a", 2) == 1
    pair.run("SELECT", 0)


def test_object(pair: Pair) -> None:
    pair.run("SET", "k", "v")
    for sub in ("ENCODING", "FREQ", "IDLETIME", "REFCOUNT"):
        for words in ((), ("k",), ("nokey",), ("k", "k")):
            pair.run("OBJECT", sub, *words)
    for words in ((), ("FOO",), ("FOO", "k"), ("HELP", "k")):
        pair.run("OBJECT", *words)
    with pair.instances[0].configured(maxmemory_policy="allkeys-lfu"):
        with pair.instances[1].configured(maxmemory_policy="allkeys-lfu"):
            pair.run("SET", "fresh", "v")
            for key in ("fresh", "nokey"):
                pair.run("OBJECT", "IDLETIME", key)
                pair.run("OBJECT", "FREQ", key)


def test_object_help_lists_every_subcommand(client: Connection) -> None:
    lines = client.call("OBJECT", "HELP")
    assert [line for line in lines if line == line.upper() or line.endswith("<key>")] == [
        "ENCODING <key>", "FREQ <key>", "IDLETIME <key>", "REFCOUNT <key>", "HELP",
    ]  # fmt: skip


def test_object_idletime_and_no_touch(client: Connection) -> None:
    client.call("SET", "k", "v")
    assert_eventually(lambda: client.call("OBJECT", "IDLETIME", "k") >= 1)
    client.call("EXISTS", "k")
    client.call("TYPE", "k")
    client.call("TTL", "k")
    assert client.call("OBJECT", "IDLETIME", "k") >= 1, "these must not count as use"
    client.call("CLIENT", "NO-TOUCH", "ON")
    client.call("GET", "k")
    assert client.call("OBJECT", "IDLETIME", "k") >= 1
    client.call("TOUCH", "k")
    assert client.call("OBJECT", "IDLETIME", "k") == 0
    client.call("CLIENT", "NO-TOUCH", "OFF")
    assert_eventually(lambda: client.call("OBJECT", "IDLETIME", "k") >= 1)
    client.call("GET", "k")
    assert client.call("OBJECT", "IDLETIME", "k") == 0


def test_flush(pair: Pair) -> None:
    for name in ("FLUSHDB", "FLUSHALL"):
        for words in ((), ("ASYNC",), ("sync",), ("FOO",), ("ASYNC", "SYNC")):
            pair.run("SELECT", 1)
            pair.run("MSET", "a", 1, "b", 2)
            pair.run("SELECT", 0)
            pair.run("MSET", "a", 1, "b", 2)
            pair.run(name, *words)
            pair.run("DBSIZE")
            pair.run("EXISTS", "a", "b")
            pair.run("SELECT", 1)
            pair.run("DBSIZE")
            pair.run("SELECT", 0)


def test_swapdb(pair: Pair) -> None:
    for words in (
        (0,), (0, "x"), ("x", 0), ("x", "x"), (0, 16), (16, 0), (-1, 0), (0, 0), (4294967296, 0), (0, "9" * 30)
    ):  # fmt: skip
        pair.run("SWAPDB", *words)
    pair.run("SET", "a", 0, "EX", 100)
    pair.run("SELECT", 1)
    pair.run("SET", "b", 1)
    assert pair.run("SWAPDB", 0, 1) == "OK"
    assert pair.run("KEYS", "*") == [b"a"]
    assert pair.run("TTL", "a") == 100
    pair.run("SELECT", 0)
    assert pair.run("KEYS", "*") == [b"b"]


def test_randomkey(pair: Pair) -> None:
    assert pair.run("RANDOMKEY") is None
    pair.run("SET", "only", 1)
    assert pair.run("RANDOMKEY") == b"only"
    pair.run("RANDOMKEY", "x")


def test_randomkey_is_fair_and_skips_expired_keys(client: Connection) -> None:
    client.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    try:
        client.pipeline([("SET", f"k{i}", i) for i in range(20)])
        client.pipeline([("SET", f"gone{i}", i, "PX", 1) for i in range(200)])
        assert_eventually(lambda: client.call("EXISTS", "gone0") == 0)
        seen = [key.decode() for key in client.pipeline([("RANDOMKEY",)] * 2000)]
        assert set(seen) == {f"k{i}" for i in range(20)}
        counts = [seen.count(key) for key in set(seen)]
        assert max(counts) < 5 * min(counts), sorted(counts)
    finally:
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)


def test_time(client: Connection) -> None:
    before = time.time()
    seconds, micros = client.call("TIME")
    assert before - 1 <= int(seconds) + int(micros) / 1e6 <= time.time() + 1
    assert 0 <= int(micros) < 1_000_000


@pytest.mark.parametrize("command", ["WAIT", "WAITAOF"])
def test_wait_arguments(pair: Pair, command: str) -> None:
    first: tuple[tuple[str | int, ...], ...] = ((),) if command == "WAIT" else ((0,), (1,), (2,), (-1,), ("x",))
    for local in first:
        for words in (
            (0, 0), ("x", 0), (0, "x"), (0, -1), (-1, 0), (1, 10), (9999999999999, 1), (0, 9223372036854775807),
            (1, 9223372036854775807), (), (0,), (0, 0, 0),
        ):  # fmt: skip
            pair.run(command, *local, *words)


def test_wait_in_a_transaction_does_not_block(pair: Pair) -> None:
    pair.run("MULTI")
    pair.run("WAIT", 1, 0)
    pair.run("WAITAOF", 0, 1, 0)
    pair.run("WAITAOF", 1, 0, 0)
    pair.run("EXEC")


def test_wait_times_out_and_goes_on_with_what_was_pipelined(client: Connection) -> None:
    client.call("SET", "k", "v")
    start = time.monotonic()
    assert client.pipeline([("WAIT", 1, 150), ("GET", "k"), ("WAITAOF", 0, 1, 20), ("PING",)]) == [
        0, b"v", [0, 0], "PONG",
    ]  # fmt: skip
    assert time.monotonic() - start >= 0.16


def test_short_timeouts_do_not_wait_for_cron(servers: Pool) -> None:
    with servers.get("cachefleet", hz=1).connect() as client:
        client.call("SET", "k", "v")
        start = time.monotonic()
        for _ in range(20):
            client.call("WAIT", 1, 5)
        took = time.monotonic() - start
    assert 0.08 <= took < 10, "cron at 1 Hz alone would take 20 seconds"


def test_waitaof_waits_for_the_fsync(servers: Pool) -> None:
    server: Instance = servers.get("cachefleet", appendonly="yes", appendfsync="everysec")
    with server.connect() as client:
        for i in range(3):
            client.call("SET", "k", i)
            assert client.call("WAITAOF", 1, 0, 10_000) == [1, 0]
            assert client.call("WAITAOF", 0, 0, 0) == [1, 0]
        start = time.monotonic()
        assert client.call("WAITAOF", 1, 1, 100) == [1, 0]  # no replica: only the time ends it
        assert time.monotonic() - start >= 0.09  # deadlines count whole milliseconds of a cached clock
