"""SLOWLOG and COMMANDLOG beside the real Valkey: what is logged, how it is cut, what is kept secret."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from fleettest.client import Arg, Connection
from fleettest.instance import Instance, Pool
from fleettest.reference import Pair

pytestmark = [pytest.mark.server, pytest.mark.differential]

KINDS = ("slow", "large-request", "large-reply")
EVERYTHING = {
    "slowlog-log-slower-than": 0, "commandlog-request-larger-than": 0, "commandlog-reply-larger-than": 0,
    "slowlog-max-len": 1000, "commandlog-large-request-max-len": 1000, "commandlog-large-reply-max-len": 1000,
}  # fmt: skip


@pytest.fixture
def logging(servers: Pool) -> Iterator[Pair]:
    """Both servers log every command; the logs are empty."""
    instances = servers.get("cachefleet", **EVERYTHING), servers.get("valkey", **EVERYTHING)
    with Pair(*instances) as pair:
        for kind in KINDS:
            pair.run("COMMANDLOG", "RESET", kind)
        yield pair


def entries(connection: Connection, kind: str) -> list[list[Any]]:
    """Oldest first, without those about the logs and the test's own clean-up."""
    found = connection.call("COMMANDLOG", "GET", "-1", kind)
    return [e for e in reversed(found) if e[3][0].upper() not in (b"COMMANDLOG", b"SLOWLOG", b"FLUSHALL")]


ERRORS = """
SLOWLOG|SLOWLOG FOO|SLOWLOG HELP|SLOWLOG GET x|SLOWLOG GET -2|SLOWLOG GET 1 2|SLOWLOG GET 0|SLOWLOG LEN x
SLOWLOG RESET x|SLOWLOG RESET|COMMANDLOG|COMMANDLOG FOO|COMMANDLOG HELP|COMMANDLOG GET|COMMANDLOG GET 10
COMMANDLOG GET 10 foo|COMMANDLOG GET x slow|COMMANDLOG GET x foo|COMMANDLOG GET -2 slow|COMMANDLOG GET 0 SLOW
COMMANDLOG LEN|COMMANDLOG LEN foo|COMMANDLOG RESET|COMMANDLOG RESET foo|COMMANDLOG RESET Large-Reply
COMMANDLOG GET 1 2 3
""".replace("\n", "|").strip("|").split("|")


def test_replies_and_errors(pair: Pair) -> None:
    for line in ERRORS:
        pair.run(*line.split())


COMMANDS: list[tuple[Arg, ...]] = [
    ("SET", "k", "v"),
    ("SET", "k", "v" * 128),
    ("SET", "k", "v" * 129),
    ("SET", b"\x00\xff", b"\r\n" * 500),
    ("MSET", *[f"k{i}" for i in range(31)]),
    ("MSET", *[f"k{i}" for i in range(30)]),
    ("MSET", *[f"k{i}" for i in range(32)]),
    ("MGET", *[str(i) for i in range(100)]),
    ("GET", "k"),
    ("GET",),
    ("NOSUCH", "x"),
    ("PING", "x" * 200),
    ("CLIENT", "ID"),
    ("CONFIG", "GET", "maxmemory"),
    ("AUTH", "secret"),
    ("AUTH", "user", "secret"),
    ("HELLO", "2", "AUTH", "default", "secret", "SETNAME", "me"),
    ("HELLO", "2", "SETNAME", "me"),
    ("CONFIG", "SET", "masterauth", "secret"),
    ("CONFIG", "SET", "maxmemory", "0", "PRIMARYAUTH", "secret", "hz", "10"),
    ("CONFIG", "SET", "masterauth", ""),
    ("CONFIG", "SET", "requirepass", ""),
    ("MULTI",),
    ("SET", "a", "b"),
    ("GET", "a"),
    ("EXEC",),
    ("DEBUG", "SLEEP", "0"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_entries(logging: Pair, kind: str) -> None:
    logging.ours.pipeline(COMMANDS)
    logging.theirs.pipeline(COMMANDS)
    ours, theirs = entries(logging.ours, kind), entries(logging.theirs, kind)
    assert ours
    assert [e[3] for e in ours] == [e[3] for e in theirs], "arguments"
    assert [e[5] for e in ours] == [e[5] for e in theirs], "client names"
    assert b"secret" not in repr(ours).encode()
    assert all(a[0] < b[0] for a, b in pairwise(ours)), "ids grow"
    assert all(e[4] == ours[0][4] and e[4].startswith(b"127.0.0.1:") for e in ours)
    if kind != "slow":
        # The replies to CLIENT ID and HELLO are different texts. For commands inside EXEC (here those of key "a"),
        # Valkey counts EXEC's own request and all of its reply so far.
        apart = ((b"CLIENT", b"ID"), (b"HELLO", b"2"), (b"SET", b"a"), (b"GET", b"a"))
        sizes = [[e[2] for e in logged if tuple(e[3][:2]) not in apart] for logged in (ours, theirs)]
        assert sizes[0] == sizes[1]


def test_inline_requests_are_measured_as_resp(logging: Pair) -> None:
    """Valkey measures the line; ours what the request is as RESP, since it keeps no other form."""
    logging.ours.send(b"SET k 123\r\n")
    assert logging.ours.read() == "OK"
    logged = entries(logging.ours, "large-request")[-1]
    assert logged[2] == len(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\n123\r\n")


@pytest.mark.parametrize("kind", ["large-request", "large-reply"])
def test_thresholds_are_inclusive_and_minus_one_is_off(pair: Pair, kind: str) -> None:
    parameter = "commandlog-request-larger-than" if kind == "large-request" else "commandlog-reply-larger-than"
    pair.run("SET", "big", "x" * 200)
    exact = {"large-request": len(b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n"), "large-reply": len(b"$200\r\n\r\n") + 200}[kind]
    try:
        for threshold, expected in ((exact, 1), (exact + 1, 0), (-1, 0)):
            pair.run("CONFIG", "SET", parameter, threshold)
            pair.run("COMMANDLOG", "RESET", kind)
            pair.run("GET", "big")
            pair.run("CONFIG", "SET", parameter, -1)
            for connection in (pair.ours, pair.theirs):
                logged = [e for e in entries(connection, kind) if e[3][0] == b"GET"]
                assert len(logged) == expected, (threshold, connection is pair.ours)
    finally:
        pair.run("CONFIG", "SET", parameter, 1 << 20)


def test_the_length_is_bounded_and_zero_stops_the_log(logging: Pair) -> None:
    for connection in (logging.ours, logging.theirs):
        connection.call("CONFIG", "SET", "slowlog-max-len", 5)
        connection.pipeline([("SET", "k", str(i)) for i in range(20)])
        assert connection.call("SLOWLOG", "LEN") == 5
        newest = connection.call("SLOWLOG", "GET", 2)
        assert [e[3][0] for e in newest] == [b"SLOWLOG", b"SET"]
        assert connection.call("COMMANDLOG", "LEN", "large-request") > 20
        connection.call("CONFIG", "SET", "slowlog-max-len", 0)
        connection.pipeline([("SET", "k", str(i)) for i in range(20)])
        length = connection.call("SLOWLOG", "LEN")
        connection.call("CONFIG", "SET", "slowlog-max-len", 1000)
        assert length == 5, "what is logged stays"


def test_slowlog_get_shows_ten_by_default(logging: Pair) -> None:
    for connection in (logging.ours, logging.theirs):
        connection.pipeline([("SET", "k", str(i)) for i in range(20)])
        assert len(connection.call("SLOWLOG", "GET")) == 10
        assert len(connection.call("SLOWLOG", "GET", -1)) > 20


def test_only_slow_commands_are_logged(client: Connection, server: Instance) -> None:
    with server.configured(slowlog_log_slower_than=50_000):
        client.call("SLOWLOG", "RESET")
        client.call("GET", "x")
        client.call("DEBUG", "SLEEP", "0.06")
        logged = client.call("SLOWLOG", "GET", -1)  # where the machine stops for a while, others, too
        assert [e[3] for e in logged if e[3][0] == b"DEBUG"] == [[b"DEBUG", b"SLEEP", b"0.06"]]
        assert all(e[2] >= 50_000 + 10_000 * (e[3][0] == b"DEBUG") for e in logged)
    with server.configured(slowlog_log_slower_than=-1):
        before = client.call("SLOWLOG", "LEN")
        client.call("DEBUG", "SLEEP", "0.01")
        assert client.call("SLOWLOG", "LEN") == before


def test_latency_monitoring_does_not_lower_the_threshold(client: Connection, server: Instance) -> None:
    """Both share one comparison on the hot path, with the lower threshold."""
    with server.configured(slowlog_log_slower_than=10_000_000, latency_monitor_threshold=1):
        client.call("SLOWLOG", "RESET")
        client.call("DEBUG", "SLEEP", "0.01")
        assert client.call("SLOWLOG", "LEN") == 0
    client.call("LATENCY", "RESET")
