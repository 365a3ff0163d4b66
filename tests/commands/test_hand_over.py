"""Clients that wait for each other's pushes: whoever is served goes on with what it has sent, in the same tick."""

from __future__ import annotations

import pytest

from fleettest.client import Connection, encode
from fleettest.instance import Instance

pytestmark = pytest.mark.server

TURNS = 300


def cycles(server: Instance) -> int:
    return int(server.info("stats")["eventloop_cycles"])


def test_two_need_no_tick_for_each_turn(server: Instance) -> None:
    wait, push = [("BLPOP", key, "0") for key in "ab"], [("LPUSH", key, "x") for key in "ab"]
    with server.connect() as one, server.connect() as other:
        one.send(b"".join(encode(*words) for words in (wait[0], push[1]) * TURNS))
        before = cycles(server)
        other.send(b"".join(encode(*words) for words in (push[0], wait[1]) * TURNS))
        assert [other.read() for _ in range(2 * TURNS)] == [1, [b"b", b"x"]] * TURNS
        assert [one.read() for _ in range(2 * TURNS)] == [[b"a", b"x"], 1] * TURNS
        assert cycles(server) - before < TURNS // 4


def test_who_gets_long_replies_waits_for_the_next_tick(server: Instance, client: Connection) -> None:
    """All the same everything is answered, and others are served meanwhile."""
    client.call("SET", "long", "y" * 200_000)
    with server.connect() as one, server.connect() as other:
        one.send(b"".join(encode(*words) for words in (("BLPOP", "a", "0"), ("GET", "long"), ("LPUSH", "b", "x")) * 60))
        other.send(b"".join(encode(*words) for words in (("LPUSH", "a", "x"), ("BLPOP", "b", "0")) * 60))
        assert [other.read() for _ in range(120)] == [1, [b"b", b"x"]] * 60
        assert client.call("PING") == "PONG"
        assert [one.read() for _ in range(180)] == [[b"a", b"x"], b"y" * 200_000, 1] * 60
