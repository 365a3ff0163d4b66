"""PING, ECHO, SELECT, QUIT, RESET against the real Valkey."""

from __future__ import annotations

import pytest

from fleettest.client import encode
from fleettest.instance import Instance
from fleettest.reference import Pair

pytestmark = [pytest.mark.server, pytest.mark.differential]

COMMANDS = [
    ("PING",), ("ping", "hello"), ("PING", ""), ("PING", "a", "b"), ("ECHO",), ("ECHO", "a"), ("ECHO", ""),
    ("ECHO", b"\x00\r\n\xff"), ("ECHO", "a", "b"), ("ECHO", b"x" * 100_000), ("PING", b"y" * 100_000), ("SELECT",),
    ("SELECT", "1"), ("SELECT", "15"), ("SELECT", "16"), ("SELECT", "-1"), ("SELECT", "abc"), ("SELECT", ""),
    ("SELECT", "1.0"), ("SELECT", "2147483647"), ("SELECT", "2147483648"), ("SELECT", "-2147483648"),
    ("SELECT", "-2147483649"), ("SELECT", "4294967296"), ("SELECT", "99999999999999999999"), ("SELECT", "0", "1"),
    ("SELECT", "0"), ("QUITX",), ("RESET", "x"),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_reply(pair: Pair, command: tuple[str | bytes, ...]) -> None:
    pair.run(*command)


def test_all_in_a_pipeline(pair: Pair) -> None:
    pair.pipeline(COMMANDS)


def test_databases_are_apart(pair: Pair) -> None:
    pair.flush()
    for db in (0, 1, 15):
        pair.run("SELECT", db)
        pair.run("SET", "k", f"in {db}")
    for db in (15, 1, 0, 2):
        pair.run("SELECT", db)
        pair.run("GET", "k")
        pair.run("DBSIZE")


@pytest.mark.parametrize("arguments", [(), ("a",), ("a", "b")])
def test_quit_closes_after_its_reply(pair: Pair, arguments: tuple[str, ...]) -> None:
    data = encode("PING") + encode("QUIT", *arguments) + encode("PING")
    assert pair.raw(data, 2) == [b"+PONG\r\n", b"+OK\r\n"]
    assert pair.ours.closed_by_server()
    assert pair.theirs.closed_by_server()


def test_reset(pair: Pair) -> None:
    pair.flush()
    for command in (
        ("SELECT", 3), ("CLIENT", "SETNAME", "someone"), ("CLIENT", "NO-EVICT", "on"), ("CLIENT", "NO-TOUCH", "on"),
        ("WATCH", "k"), ("MULTI",), ("SET", "k", "v"), ("RESET",), ("EXEC",), ("CLIENT", "GETNAME"), ("GET", "nokey"),
        ("DBSIZE",), ("SET", "k", "in 0"), ("SELECT", 3), ("GET", "k"),
    ):  # fmt: skip
        pair.run(*command)


def test_reset_ends_a_watch(pair: Pair) -> None:
    pair.flush()
    for command in (("WATCH", "k"), ("RESET",), ("SET", "k", "v"), ("MULTI",), ("PING",), ("EXEC",)):
        pair.run(*command)


def test_reset_asks_for_the_password_again() -> None:
    options = {"requirepass": "secret"}
    with Instance("cachefleet", options=options) as ours, Instance("valkey", options=options) as theirs:
        with Pair(ours, theirs) as pair:
            for command in (
                ("PING",), ("RESET",), ("AUTH", "wrong"), ("AUTH", "secret"), ("PING",), ("SELECT", 2), ("RESET",),
                ("PING",), ("SELECT", 2), ("QUIT",),
            ):  # fmt: skip
                pair.run(*command)


def test_reset_brings_replies_back(pair: Pair) -> None:
    pair.raw(encode("CLIENT", "REPLY", "OFF") + encode("PING") + encode("RESET") + encode("PING"), 2)
