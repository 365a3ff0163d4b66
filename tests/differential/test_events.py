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
from fleettest.wait import assert_eventually

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
        self.servers = (ours, theirs)
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


@pytest.mark.parametrize(
    "letters", ["", "K", "E", "A", "KE", *(f"KE{letter}" for letter in "g$lshzxetmdn"), "Kx", "Eg$"]
)
def test_only_the_classes_that_are_asked_for(listened: Listened, letters: str) -> None:
    with listened.servers[0].configured(notify_keyspace_events=letters), listened.servers[1].configured(
        notify_keyspace_events=letters
    ):
        for row in (
            "SET s v", "APPEND s x", "GET none", "RPUSH l a b", "LPOP l", "SADD u a b", "SREM u a", "HSET h f v g w",
            "HDEL h f", "ZADD z 1 a 2 b", "ZREM z a", "EXPIRE s 1000", "PEXPIRE s 0", "GET s", "DEL l",
            "RENAME u u2", "COPY z z2", "MOVE h 1", "PFADD p a", "SETBIT b 1 1", "GEOADD g 1 1 x", "HSET f f v",
            "HPEXPIRE f 0 FIELDS 1 f", "DEBUG SET-ACTIVE-EXPIRE 0", "SET e v PX 1",
        ):  # fmt: skip
            listened.run(*row.split(" "))
        let_pass(listened, 1)
        for row in ("GET e", "DEBUG SET-ACTIVE-EXPIRE 1", "FLUSHALL"):
            listened.run(*row.split(" "))


def until_both(listened: Listened, count: int) -> list[Any]:
    """Events that come of themselves: as many of each server, and then they are the same."""
    found: list[list[Any]] = [[], []]

    def all_came() -> bool:
        for listener, events in zip(listened.listeners, found, strict=True):
            events += heard(listener)
        return all(len(events) >= count for events in found)

    assert_eventually(all_came)
    assert found[0] == found[1]
    return found[0]


def test_keys_that_expire_by_themselves(listened: Listened) -> None:
    for key in ("a", "b" * 2000, "c"):
        listened.run("SET", key, "v", "PX", "30")
        key_events = until_both(listened, 2)
        assert key_events == [
            (b"__keyspace@0__:" + key.encode(), b"expired"), (b"__keyevent@0__:expired", key.encode())]  # fmt: skip


def test_fields_that_expire_by_themselves(listened: Listened) -> None:
    listened.run("HSET", "h", "f", "v", "g", "w")
    listened.run("HPEXPIRE", "h", "30", "FIELDS", "1", "f")
    assert until_both(listened, 2)[0][1] == b"hexpired"
    listened.run("HPEXPIRE", "h", "30", "FIELDS", "1", "g")
    assert [event for _, event in until_both(listened, 4)][::2] == [b"hexpired", b"del"]


def test_expired_keys_that_somebody_meets(listened: Listened) -> None:
    listened.run("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    try:
        for row in ("GET k", "SET k v", "APPEND k v", "DEL k", "RENAME k l", "EXPIRE k 100", "LPUSH k v", "EXISTS k"):
            listened.run("SET", "k", "v", "PX", "20")
            let_pass(listened, 20)
            listened.run(*row.split(" "))
            listened.run("DEL", "k", "l")
    finally:
        listened.run("DEBUG", "SET-ACTIVE-EXPIRE", "1")


def let_pass(listened: Listened, ms: int) -> None:
    """Time of both servers' clocks, without touching a key."""
    for connection in (listened.ours, listened.theirs):
        begin = clock_ms(connection)
        assert_eventually(lambda c=connection, b=begin: clock_ms(c) > b + ms)  # type: ignore[misc]


def clock_ms(connection: Connection) -> int:
    seconds, micros = connection.call("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def test_who_waits_is_served_with_the_events_of_it(listened: Listened) -> None:
    with Pair(*listened.servers) as waiting:
        for wait, give in (
            ("BLPOP l 0", "RPUSH l a"), ("BLPOP l 0", "RPUSH l a b"), ("BLMOVE l m LEFT RIGHT 0", "LPUSH l a"),
            ("BZPOPMIN z 0", "ZADD z 1 a"), ("BZMPOP 0 1 z MAX COUNT 2", "ZADD z 1 a 2 b 3 c"),
            ("BLMPOP 0 1 l RIGHT COUNT 3", "MULTI; RPUSH l a; RPUSH l b; EXEC"), ("BRPOP l 0", "RENAME other l"),
        ):  # fmt: skip
            listened.run("DEL", "l", "m", "z")
            listened.run("RPUSH", "other", "x")
            for connection in (waiting.ours, waiting.theirs):
                connection.send_command(*wait.split(" "))
            for server in listened.servers:
                assert_eventually(lambda s=server: s.info("clients")["blocked_clients"] == "1")  # type: ignore[misc]
            listened.pipeline([row.split(" ") for row in give.split("; ")])
            assert waiting.ours.read() == waiting.theirs.read()


def test_transactions_and_other_databases(listened: Listened) -> None:
    for row in ("MULTI", "SET a 1", "INCR a", "SELECT 3", "SET a 1", "EXEC", "SELECT 0", "SWAPDB 0 3", "GET a", "MULTI",
                "GET none", "DEL a", "EXEC", "FLUSHDB", "SELECT 9", "SET x y", "FLUSHALL", "SELECT 0"):  # fmt: skip
        listened.run(*row.split(" "))


def test_evicted_keys(fresh: Pool) -> None:
    """Which keys go is each server's choice: that each of them is told, once, is not."""
    for kind in ("cachefleet", "valkey"):
        server = fresh.get(kind)
        with server.connect(resp=3) as listener, server.connect() as c:
            listener.send_command("PSUBSCRIBE", "__keyevent@0__:*")
            listener.read()
            c.call("CONFIG", "SET", "notify-keyspace-events", "Ee", "maxmemory-policy", "allkeys-random")
            c.call("CONFIG", "SET", "maxmemory", int(server.info("memory")["used_memory"]) + 1_000_000)
            keys = 3000
            c.pipeline([("SET", f"key:{n}", "x" * 1000) for n in range(keys)])
            told = heard(listener)
            gone = keys - c.call("DBSIZE")
            assert gone > 500
            assert {channel for channel, _ in told} == {b"__keyevent@0__:evicted"}
            assert len(told) == gone == len({key for _, key in told})
