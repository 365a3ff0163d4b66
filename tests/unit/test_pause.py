"""Pauses of an engine whose cron never runs: ticks alone hold requests and let them go, each purpose for itself."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from cachefleet_server.core._testing import Pauses
from cachefleet_server.engine import Engine
from fleettest.peers import Peer, connecting
from fleettest.wait import assert_eventually

if TYPE_CHECKING:
    from cachefleet_server.engine import PausePurpose

pytestmark = pytest.mark.unit

LONG_MS = 3_600_000
PURPOSES: tuple[PausePurpose, ...] = ("client", "shutdown", "failover")
NOTHING, WRITES, ALL = 0, 1, 2


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture
def peers(engine: Engine) -> Iterator[tuple[Peer, Peer]]:
    with connecting(engine) as make:
        yield make(), make()


@pytest.mark.parametrize("purpose", PURPOSES)
def test_what_a_pause_held_goes_with_the_next_tick(
    engine: Engine, peers: tuple[Peer, Peer], purpose: PausePurpose
) -> None:
    peer = peers[0]
    engine.pause(purpose, LONG_MS, everything=True)
    assert peer.send("PING", "PING", "PING") == b"", "answered during the pause"
    engine.unpause(purpose)
    assert peer.read() == b"+PONG\r\n" * 3


@pytest.mark.parametrize(("weaker", "stronger"), list(itertools.permutations(PURPOSES, 2)))
def test_each_purpose_for_itself(
    engine: Engine, peers: tuple[Peer, Peer], weaker: PausePurpose, stronger: PausePurpose
) -> None:
    writer, reader = peers
    engine.pause(weaker, LONG_MS, everything=False)
    engine.pause(stronger, LONG_MS, everything=True)
    assert writer.send("SET k v") == reader.send("GET k") == b""
    engine.unpause(stronger)
    assert reader.read() == b"$-1\r\n"
    assert writer.read() == b"", "the other pause goes on"
    assert engine.stats()["blocked_clients"] == 1
    engine.unpause(weaker)
    assert writer.read() == b"+OK\r\n"


def test_the_stronger_one_ends_first(engine: Engine, peers: tuple[Peer, Peer]) -> None:
    """At its own time: what only it held does not wait for the other one."""
    writer, reader = peers
    engine.pause("client", LONG_MS, everything=False)
    engine.pause("shutdown", 50, everything=True)
    writer.socket.sendall(b"SET k v\r\n")
    reader.socket.sendall(b"GET k\r\n")
    assert_eventually(lambda: reader.read() == b"$-1\r\n")
    assert writer.read() == b""


def test_the_wait_is_no_part_of_a_commands_time(engine: Engine, peers: tuple[Peer, Peer]) -> None:
    peer = peers[0]
    engine.pause("client", 100, everything=True)
    peer.socket.sendall(b"ECHO x\r\n")
    assert_eventually(lambda: peer.read() == b"$1\r\nx\r\n")
    took_us = {name: us for name, _, us, *_ in engine.command_stats()}
    assert took_us["echo"] < 50_000


def test_against_a_model(rng: random.Random) -> None:
    pauses = Pauses()
    model = [(0, NOTHING)] * len(PURPOSES)  # end, strength
    now = 1
    strength = 0
    for _ in range(5000):
        which = rng.randrange(len(PURPOSES))
        action = rng.random()
        if action < 0.4:
            until, wanted = now + rng.choice([0, 1, 2, 10, 100]), rng.choice([WRITES, ALL])
            pauses.begin(which, until, wanted)
            model = [(end, s) if end > now else (0, NOTHING) for end, s in model]
            model[which] = max(model[which][0], until), max(model[which][1], wanted)
        elif action < 0.5:
            pauses.end(which)
            model[which] = 0, NOTHING
        else:
            now += rng.choice([1, 1, 3, 20])
            pauses.now = now
        active = [(s, end) for end, s in model if end > now]
        before, strength = strength, max((s for s, _ in active), default=NOTHING)
        assert pauses.strength == strength
        assert pauses.take_eased() == (strength < before)
        if active:
            end, s = model[pauses.purpose]
            assert (s, end) == max(active)
