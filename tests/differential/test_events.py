"""Keyspace events beside the real Valkey: whatever is done to keys, the same events in the same order and number.

A listener on each server hears everything. Random commands of all types are the same as of the comparison of replies;
events that have their own causes (expiry, eviction, fields whose time is over) are below it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fleettest.client import Arg, Connection, Push
from fleettest.grammar import Command
from fleettest.instance import Instance, Pool
from fleettest.reference import Mismatch, Pair, mismatch, show

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lockstep import Lockstep

pytestmark = [pytest.mark.server, pytest.mark.differential]

EVERYTHING = "KEAnm"
COMMANDS_EACH = 30_000


def heard(listener: Connection) -> list[Any]:
    """What came since; a ping of its own ends it."""
    listener.pushes.clear()
    assert listener.call("PING") == "PONG"
    return [tuple(push[2:]) for push in listener.pushes]


class Listened(Pair):
    """A pair whose servers' events are compared after each pipeline."""

    def __init__(self, ours: Instance, theirs: Instance, *, resp: int = 2) -> None:
        super().__init__(ours, theirs, resp=resp)
        self.listeners = [server.connect(resp=3) for server in (ours, theirs)]
        for listener in self.listeners:
            listener.send_command("PSUBSCRIBE", "__key*__:*")
            assert isinstance(listener.read(), Push)

    def close(self) -> None:
        super().close()
        for listener in self.listeners:
            listener.close()

    def pipeline(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:  # type: ignore[override]
        values = super().pipeline(commands)
        ours, theirs = (heard(listener) for listener in self.listeners)
        if ours != theirs:
            at = next(i for i in range(len(theirs) + 1) if ours[i : i + 1] != theirs[i : i + 1])
            lines = "\n".join(f"    {show(command)}" for command in commands)
            raise mismatch(commands[-1], (
                f"events differ from the {at + 1}th on:\n  reference: {theirs[at : at + 6]}\n  ours:      "
                f"{ours[at : at + 6]}\n  after:\n{lines}"))  # fmt: skip
        return values


class Events(Lockstep):
    """Each command by itself, so that a difference has one cause."""

    def play(self, steps: list[tuple[int, Command]]) -> None:
        self.revive()
        with Pair(self.ours, self.theirs) as cleaner:
            cleaner.flush()
            assert cleaner.run("DEBUG", "SET-ACTIVE-EXPIRE", "0") == "OK"
            assert cleaner.run("CONFIG", "SET", "notify-keyspace-events", EVERYTHING) == "OK"
        with Listened(self.ours, self.theirs, resp=self.resp) as first, Pair(self.ours, self.theirs) as second:
            for connection, command in steps:
                if connection:
                    second.run(*command)
                else:
                    first.run(*command)


@pytest.fixture
def listened(servers: Pool) -> Iterator[Listened]:
    ours, theirs = servers.get("cachefleet"), servers.get("valkey")
    with ours.configured(notify_keyspace_events=EVERYTHING), theirs.configured(notify_keyspace_events=EVERYTHING):
        with Listened(ours, theirs) as pair:
            yield pair


@pytest.mark.timeout(300)
def test_random_commands(fresh: Pool, seed: int) -> None:
    events = Events(fresh.get("cachefleet"), fresh.get("valkey"), seed=seed, resp=2)
    events.run(COMMANDS_EACH)


def test_it_notices_a_missing_event(listened: Listened) -> None:
    listened.listeners[0].call("PUBLISH", "__keyspace@0__:k", "set")
    with pytest.raises(Mismatch, match="events differ from the 1th on"):
        listened.run("PING")
