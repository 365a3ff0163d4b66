"""MONITOR and LOLWUT: the feed beside the real Valkey, line by line without times and ports."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from cachefleet_server.admin.lolwut import SHIPS_MAX, WIDTH_MAX
from fleettest.client import Arg, Connection, Error, Verbatim
from fleettest.instance import Instance
from fleettest.reference import Pair
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

LINE = re.compile(r"\d{10,}\.\d{6} \[(\d+) 127\.0\.0\.1:\d+\] (.*)")
END = "the end of the test"


def feed(monitor: Connection) -> list[tuple[str, str]]:
    """Database and words of each line until END was sent."""
    lines: list[tuple[str, str]] = []
    while True:
        match = LINE.fullmatch(monitor.read())
        assert match is not None
        lines.append((match[1], match[2]))
        if END in match[2]:
            return lines


@pytest.fixture
def monitors(pair: Pair) -> Iterator[tuple[Connection, Connection]]:
    ours, theirs = (instance.connect() for instance in pair.instances)
    with ours, theirs:
        assert ours.call("MONITOR") == theirs.call("MONITOR") == "OK"
        yield ours, theirs


SCRIPT: list[tuple[Arg, ...]] = [
    ("SET", "a", "b"), ("sEt", b"\x00\x07\x08\t\n\r\"\\'\xff\x7f", b"\xc3\xa9"), ("GET",), ("NOSUCH", "x"),
    ("SET", "", ""),
    ("AUTH", "secret"), ("AUTH", "user", "secret"), ("HELLO", "2", "AUTH", "default", "secret", "SETNAME", "x"),
    ("CONFIG", "SET", "requirepass", ""), ("CONFIG", "GET", "maxmemory"), ("ACL", "WHOAMI"), ("ACL", "LIST"),
    ("CLIENT", "ID"), ("CLIENT", "LIST"), ("INFO", "nosuch"), ("COMMAND", "COUNT"), ("DEBUG", "SLEEP", "0"),
    ("SLOWLOG", "LEN"), ("LATENCY", "LATEST"), ("MEMORY", "USAGE", "a"), ("OBJECT", "FREQ", "a"), ("LASTSAVE",),
    ("MULTI",), ("SET", "a", "b"), ("NOSUCH",), ("EXEC",), ("MULTI",), ("SET", "c", "d"), ("PING",), ("EXEC",),
    ("MULTI",), ("GET", "a"), ("DISCARD",), ("EXEC",), ("WATCH", "a"), ("UNWATCH",), ("SELECT", "3"), ("GET", "a"),
    ("SELECT", "99"), ("SWAPDB", "0", "1"), ("SWAPDB", "0", "1"), ("WAIT", "0", "0"), ("RESET",), ("GET", "a"),
    ("SAVE",), ("PING", END),
]  # fmt: skip


def test_the_feed_is_valkeys(pair: Pair, monitors: tuple[Connection, Connection]) -> None:
    for connection in (pair.ours, pair.theirs):
        connection.pipeline(SCRIPT)
    ours, theirs = map(feed, monitors)
    assert ours == theirs
    assert not [words for _, words in ours if "secret" in words]


def test_a_monitor_may_not_use_keys(pair: Pair, monitors: tuple[Connection, Connection]) -> None:
    ours, theirs = monitors
    for command in ("GET a", "SET a b", "DEL a", "EXISTS a"):
        for connection in monitors:
            connection.send_command(*command.split())
        assert ours.read() == theirs.read() == Error("ERR Replica can't interact with the keyspace")
    for connection in monitors:
        connection.send_command("MONITOR")
        connection.send_command("PING")
    told = [[c.read(), re.sub(r"^\d.*\]", "", c.read())] for c in monitors]
    assert told == [["PONG", ' "PING"']] * 2, "a second MONITOR has no reply; a monitor sees itself"


def test_reset_ends_it(pair: Pair, monitors: tuple[Connection, Connection]) -> None:
    for connection in monitors:
        connection.send_command("RESET")
        assert connection.read() == "RESET"
        connection.send_command("GET", "nosuch")
        assert connection.read() is None
    pair.run("PING")
    for connection in monitors:
        connection.send_command("PING")
        assert connection.read() == "PONG", "nothing was fed in between"


def test_is_refused_inside_multi(pair: Pair) -> None:
    pair.run("MULTI")
    pair.run("MONITOR", "x")
    pair.run("DISCARD")
    pair.run("MONITOR", "x")


def test_several_monitors_and_one_that_never_reads(server: Instance) -> None:
    """The one that reads sees all; the other is closed when its output limit is reached, and nobody else suffers."""
    with server.configured(client_output_buffer_limit="normal 1000000 0 0"):
        with server.connect() as reader, server.connect() as deaf, server.connect() as worker:
            assert reader.call("MONITOR") == "OK"
            deaf.sock.settimeout(10)
            assert deaf.call("MONITOR") == "OK"
            sent = 0

            def closed() -> bool:
                nonlocal sent
                worker.pipeline([("SET", "k", "v" * 10_000)] * 100)
                sent += 100
                for _ in range(100):
                    assert '"SET" "k" "vvv' in reader.read()
                return int(server.info("stats")["client_output_buffer_limit_disconnections"]) > 0

            assert_eventually(closed)
            assert sent >= 100
    server.call("CONFIG", "RESETSTAT")


@pytest.mark.parametrize(
    "words", ["LOLWUT", "LOLWUT VERSION 5", "LOLWUT 30", "LOLWUT 30 2", "LOLWUT VERSION 9 30 2", "LOLWUT 99999 99999"]
)
def test_lolwut_is_a_picture_with_the_version(client3: Connection, words: str) -> None:
    art = client3.call(*words.split())
    assert isinstance(art, Verbatim) and art.decode().splitlines()[-1].startswith("A fleet at anchor. Cachefleet ver. ")
    assert max(map(len, art.decode().splitlines())) <= WIDTH_MAX and SHIPS_MAX < 100
    assert client3.call(*words.split()) != art, "a new one each time"


@pytest.mark.parametrize("words", ["LOLWUT x", "LOLWUT VERSION x", "LOLWUT 30 x", "LOLWUT VERSION"])
def test_lolwut_refuses_what_is_no_number(client3: Connection, words: str) -> None:
    assert isinstance(client3.call(*words.split()), Error)
