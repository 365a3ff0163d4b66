"""KEYS and SCAN: options and errors against Valkey, and the guarantee under growth, shrinking and concurrent writes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleettest.client import Arg, Connection, Error
from fleettest.instance import Instance, Pool
from fleettest.reference import Pair
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]


def scan_all(client: Connection, *options: Arg) -> list[bytes]:
    cursor: Any = b"0"
    found: list[bytes] = []
    while True:
        cursor, page = client.call("SCAN", cursor, *options)
        found += page
        if cursor == b"0":
            return found


def test_keys(pair: Pair) -> None:
    names = ("a", "b", "ab", "abc", "a*c", "a[c", "\\", "A", "", "key:1", "key:22", "käse")
    pair.run("MSET", *(word for name in names for word in (name, 1)))
    for pattern in (
        "*", "", "a", "a*", "?", "??", "[ab]", "[^a]", "[a-b]*", "a\\*c", "\\\\", "a[[]c", "[", "[a", "[]", "k*:[0-9]",
        "key:[12][^3]", "**", "*a*b*c*", "[z-a]", "a\\", "[\\a]", "?" * 6, "[^]", "A",
    ):  # fmt: skip
        pair.run("KEYS", pattern)
        found = sorted(pair.ours.call("KEYS", pattern))
        assert sorted(scan_all(pair.ours, "MATCH", pattern)) == found
        assert sorted(scan_all(pair.theirs, "MATCH", pattern)) == found
    pair.run("KEYS")
    pair.run("KEYS", "a", "b")


def test_arguments(pair: Pair) -> None:
    """An empty database and a full walk in one page: replies are the same bytes, cursor included."""
    for cursor in (0, "foo", -1, "1.0", 2**64 - 1, 2**64, " 0", "+0", "00", "", "0 ", "-0", "0x0", "\t0", "+", "007"):
        pair.run("SCAN", cursor)
    for options in (
        ("COUNT", 0), ("COUNT", -1), ("COUNT", "x"), ("COUNT",), ("MATCH",), ("TYPE",), ("FOO", "bar"), ("TYPE", "foo"),
        ("TYPE", "foo", "COUNT", 0), ("COUNT", 0, "TYPE", "foo"), ("TYPE", "STRING"), ("TYPE", "hash"),
        ("TYPE", "list"),
        ("TYPE", "set"), ("TYPE", "zset"), ("TYPE", "stream"), ("TYPE", "module"), ("NOVALUES",), ("NOSCORES",),
        ("COUNT", 2**63 - 1), ("COUNT", 2**63), ("MATCH", "a", "MATCH", "*"), ("COUNT", 1, "COUNT", 100),
        ("COUNT", 5, "x"),
        ("match", "*", "count", 10, "type", "string"), ("MATCH", ""), ("TYPE", ""),
    ):  # fmt: skip
        pair.run("SCAN", 0, *options)
        pair.ours.call("SET", "k", "v")
        pair.theirs.call("SET", "k", "v")
        ours, theirs = pair.ours.raw("SCAN", 0, *options), pair.theirs.raw("SCAN", 0, *options)
        assert ours == theirs, options
    pair.run("SCAN")


def test_count_is_how_many_are_looked_at(client: Connection) -> None:
    client.pipeline([("SET", f"k{i}", i) for i in range(10_000)])
    cursor, page = client.call("SCAN", 0, "COUNT", 500)
    assert 500 <= len(page) < 530
    cursor, page = client.call("SCAN", 0, "COUNT", 500, "MATCH", "nothing")
    assert page == []
    assert cursor != b"0", "a call must end after COUNT elements even when none matches"
    assert len(client.call("SCAN", 0)[1]) >= 10
    assert client.call("SCAN", 0, "COUNT", 100_000)[0] == b"0"


def test_expired_keys(pair: Pair) -> None:
    pair.run("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    try:
        for options in ((), ("MATCH", "k*"), ("MATCH", "x"), ("TYPE", "hash"), ("TYPE", "string")):
            pair.run("SET", "k", "v", "PX", 1)
            pair.run("SET", "probe", "v", "PX", 5)
            assert_eventually(lambda: pair.ours.call("EXISTS", "probe") + pair.theirs.call("EXISTS", "probe") == 0)
            for connection in (pair.ours, pair.theirs):
                assert connection.call("SCAN", 0, *options) == [b"0", []]
            pair.run("DBSIZE")  # what passes the filters is deleted, the rest stays
            pair.run("KEYS", "*")
            pair.run("DBSIZE")
            pair.run("DEL", "k")
    finally:
        pair.run("DEBUG", "SET-ACTIVE-EXPIRE", 1)


@pytest.mark.parametrize("direction", ["grow", "shrink", "churn"])
@pytest.mark.parametrize("count", [1, 7, 100])
def test_guarantee_while_the_table_resizes(server: Instance, rng: random.Random, direction: str, count: int) -> None:
    """Keys that are there from the first page to the last are returned, whatever others do in between."""
    with server.connect() as client, server.connect() as writer:
        lasting = {b"stay:%d" % i for i in range(1000)}
        others = [b"go:%d" % i for i in range(30_000 if direction == "shrink" else 1)]
        for chunk in range(0, len(others), 5000):
            client.call("MSET", *(word for key in others[chunk : chunk + 5000] for word in (key, b"")))
        client.call("MSET", *(word for key in lasting for word in (key, b"")))
        found: set[bytes] = set()
        cursor: Any = b"0"
        added = 0
        while True:
            cursor, page = client.call("SCAN", cursor, "COUNT", count)
            found.update(page)
            if cursor == b"0":
                break
            if direction != "shrink" and added < 60_000:
                writer.call("MSET", *(w for i in range(added, added + 400) for w in (b"new:%d" % i, b"")))
                added += 400
            if direction != "grow" and others:
                writer.call("DEL", *(others.pop(rng.randrange(len(others))) for _ in range(min(len(others), 700))))
            if direction == "churn" and added:
                writer.call("DEL", *(b"new:%d" % rng.randrange(added) for _ in range(390)))
        assert lasting <= found, f"missing: {sorted(lasting - found)[:10]}"
        assert all(key.split(b":")[0] in (b"stay", b"go", b"new") for key in found)


def test_walk_of_a_quiet_table_returns_each_once(client: Connection) -> None:
    client.pipeline([("SET", f"k{i}", i) for i in range(5000)])
    assert_eventually(lambda: len(scan_all(client)) == 5000)  # a resize that is still going on may show some twice
    found = scan_all(client, "COUNT", 37)
    assert len(found) == len(set(found)) == 5000


STEP = st.one_of(
    st.tuples(st.just("scan"), st.integers(1, 20)),
    st.tuples(st.just("add"), st.integers(0, 400)),
    st.tuples(st.just("delete"), st.integers(0, 400)),
    st.tuples(st.just("add-many"), st.integers(1, 3)),
    st.tuples(st.just("flush-others"), st.just(0)),
)


@settings(max_examples=60)
@given(lasting=st.integers(0, 60), steps=st.lists(STEP, max_size=40))
def test_scan_with_mutations(servers: Pool, lasting: int, steps: list[tuple[str, int]]) -> None:
    server = servers.get("cachefleet")
    with server.connect() as client:
        stay = {b"stay%d" % i for i in range(lasting)}
        client.pipeline([("SET", key, "") for key in stay])
        live: set[bytes] = set()
        ever = set(stay)
        found: set[bytes] = set()
        cursor: Any = b"0"
        done = False
        for action, n in [*steps, *([("scan", 10)] * 2000)]:
            if action == "scan":
                if not done:
                    cursor, page = client.call("SCAN", cursor, "COUNT", n)
                    found.update(page)
                    done = cursor == b"0"
            elif action == "add":
                live.add(b"x%d" % n)
                client.call("SET", b"x%d" % n, "")
            elif action == "add-many":
                more = [b"y%d" % i for i in range(n * 300)]
                live.update(more)
                client.call("MSET", *(word for key in more for word in (key, "")))
            elif action == "delete":
                live.discard(b"x%d" % n)
                client.call("DEL", b"x%d" % n)
            elif live:
                client.call("DEL", *live)
                live.clear()
            ever |= live
            if done and action == "scan":
                break
        assert done
        assert stay <= found <= ever
        assert client.call("DBSIZE") == len(stay) + len(live)


def test_cursor_of_another_size_is_harmless(client: Connection, rng: random.Random) -> None:
    client.pipeline([("SET", f"k{i}", i) for i in range(300)])
    for _ in range(200):
        reply = client.call("SCAN", rng.randrange(2**64), "COUNT", rng.randrange(1, 50))
        assert not isinstance(reply, Error)
        assert int(reply[0]) < 2**64
