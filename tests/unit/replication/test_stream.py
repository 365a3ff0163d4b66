"""A primary's stream at the other end of a socket pair: what is executed, journalled, confirmed, and what ends it."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from cachefleet_server.command_spec import row
from cachefleet_server.engine import Client, Engine
from cachefleet_server.replication.feed import READS_ALL, Feed
from cachefleet_server.replication.stream import Position, Stream
from cachefleet_server.replies import OK, Error, Reply
from fleettest.client import encode

pytestmark = pytest.mark.unit

ID, OTHER = "0123456789" * 4, "f" * 40


class World:
    """A replica: an engine that follows, with a backlog, from offset 100 of a history on."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.feed = Feed(self.engine)
        spec = row("replconf", -1, "admin", "", "", "server 3.0.0 O(1)", "For tests.", "")
        self.engine.register(spec, self._replconf)
        self.feed.take_confirmations()
        spec = row("shutdown", -1, "admin", "", "", "server 1.0.0 O(1)", "For tests.", "")
        self.engine.register(spec, self._replconf)
        self.stream = Stream(self.engine)
        self.lost: list[tuple[str, bool]] = []
        self.stream.on_lost = lambda why, failed: self.lost.append((why, failed))
        self.stream.set(read_only=True, serve_stale=True)
        self.stream.begin()
        self.feed.open(1 << 20)
        self.stream.become(ID, 100, 0)
        self.primary = self.connect()

    def _replconf(self, client: Client, argv: list[bytes]) -> Reply:
        return OK

    def connect(self, early: bytes = b"") -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.stream.connect(ours.detach(), early)
        return theirs

    def tick(self, times: int = 3) -> None:
        for _ in range(times):
            self.engine.tick()

    def say(self, data: bytes) -> None:
        while data:
            data = data[self.primary.send(data) :]
            self.tick()

    def heard(self) -> bytes:
        self.tick()
        try:
            return self.primary.recv(1 << 20)
        except BlockingIOError:
            return b""

    def backlog(self) -> bytes:
        """What a replica of our own gets."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        id = self.engine.add_client(ours.detach(), unix=True)
        self.feed.resume(id, READS_ALL, b"", self.feed.start)
        got = b""
        while True:
            self.tick()
            try:
                got += theirs.recv(1 << 20)
            except BlockingIOError:
                break
        self.feed.disconnect(id)
        self.tick()
        theirs.close()
        return got

    def get(self, key: bytes, db: int = 0) -> Any:
        return self.engine.execute(b"GET", key, db=db)

    def close(self) -> None:
        self.stream.on_lost = None
        self.stream.disconnect()
        self.tick()
        self.primary.close()
        self.feed.close()
        assert self.engine.check() == []
        self.engine.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def test_what_is_executed_is_journalled_as_it_came(world: World) -> None:
    said = (
        encode("SELECT", 3) + encode("SET", "a", "1") + encode("PING") + encode("MULTI") + encode("INCR", "a")
        + encode("EXEC") + encode("DEL", "none") + encode("REPLCONF", "GETACK", "*")
        + encode("SET", "big", b"x" * 200_000)
    )  # fmt: skip
    world.say(said)
    assert world.get(b"a", 3) == b"2"
    assert world.stream.offset == world.stream.read_offset == 100 + len(said)
    assert world.backlog() == said
    assert (world.feed.id, world.feed.start, world.stream.db) == (ID, 100, 3)
    assert world.stream.position == Position(ID, 100 + len(said))


def test_pieces_of_any_size(world: World, rng: random.Random) -> None:
    said = b""
    for i in range(60):
        value = "v" * rng.choice((0, 10, 40_000))
        commands = [encode("SET", f"k{i}", value), encode("RPUSH", "l", *["e"] * rng.randrange(1, 50))]
        if i % 3 == 0:
            commands = [encode("MULTI"), *commands, encode("EXEC")]
        said += b"".join(commands)
    at = 0
    while at < len(said):
        step = rng.choice((1, 7, 100, 5000, 60_000))
        world.say(said[at : at + step])
        at += step
        assert world.stream.read_offset == 100 + min(at, len(said))
        assert world.stream.offset <= world.stream.read_offset
        assert said.startswith(world.backlog()[: len(said)])
    assert world.backlog() == said


def test_half_a_transaction_is_nothing(world: World) -> None:
    before = encode("SET", "a", "1")
    half = encode("MULTI") + encode("SET", "a", "2") + encode("SELECT", 5) + encode("SET", "b", "2")
    world.say(before + half)
    assert world.get(b"a") == b"1"
    assert world.stream.offset == 100 + len(before)
    assert world.stream.read_offset == 100 + len(before) + len(half)
    world.primary.close()
    world.tick()
    assert world.lost == [("the connection is gone", False)]
    assert world.stream.position == Position(ID, 100 + len(before))
    world.primary = world.connect(half + encode("EXEC"))
    world.tick()
    assert (world.get(b"a"), world.get(b"b", 5)) == (b"2", b"2")
    assert world.backlog() == before + half + encode("EXEC")
    world.primary.close()
    world.tick()
    world.primary = world.connect()
    world.say(encode("SET", "c", "3"))
    assert world.get(b"c", 5) == b"3", "a new connection goes on in the database of the last one"


def test_confirmations(world: World) -> None:
    world.say(encode("SET", "a", "1"))
    assert world.heard() == b"", "nothing is answered"
    at = world.stream.offset
    world.stream.acknowledge()
    assert world.heard() == encode("REPLCONF", "ACK", at)
    world.say(encode("REPLCONF", "GETACK", "*") + encode("PING"))
    assert world.heard() == encode("REPLCONF", "ACK", at), "what came before it"
    world.say(encode("REPLCONF", "GETACK", "*"))
    assert world.heard() == encode("REPLCONF", "ACK", at + 37 + 14)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (encode("NONSENSE", "x"), "its command failed here: ERR unknown command 'NONSENSE'"),
        (encode("SELECT", 99), "its command failed here: select: ERR DB index is out of range"),
        (encode("MULTI") + encode("LPUSH", "a", "x") + encode("EXEC"), "its command failed here: lpush: WRONGTYPE"),
        (encode("SET", "a"), "its command failed here: set: ERR wrong number of arguments"),
        (encode("SHUTDOWN"), "its command failed here: shutdown: ERR a primary does not send this command"),
        (b"\r\n", "its stream is damaged: a request that is no array"),
        (b"PING\r\n", "its stream is damaged: a request that is no array"),
        (b"*0\r\n", "its stream is damaged: an empty request"),
        (b"*1\r\n$99999999999999999999\r\n", "its stream is damaged: invalid bulk length"),
        (b"*1\r\n:1\r\n", "its stream is damaged: expected '$', got ':'"),
        (b"\0" * 100, "its stream is damaged: a request that is no array"),
    ],
)
def test_what_cannot_be_executed_ends_the_stream(said: bytes, why: str, world: World) -> None:
    before = encode("SET", "a", "1")
    world.say(before + said + encode("SET", "a", "2"))
    ((told, failed),) = world.lost
    assert told.startswith(why)
    assert failed
    assert not world.stream.connected
    assert world.get(b"a") == b"1"
    assert world.backlog() == before
    assert world.stream.position == Position(ID, 100 + len(before))


def test_a_huge_promise_takes_no_memory(world: World) -> None:
    before = world.engine.stats()["used_memory"]
    world.say(b"*2\r\n$1000000000000\r\n" + b"x" * 1000)
    assert world.engine.stats()["used_memory"] < before + (4 << 20)
    assert world.stream.connected


def test_keys_of_others_are_hidden_and_stay(world: World) -> None:
    world.say(encode("SET", "k", "v", "PXAT", 1) + encode("SET", "stays", "v"))
    assert world.get(b"k") is None
    assert world.engine.execute(b"EXISTS", b"k") == 0
    assert world.engine.execute(b"DBSIZE") == 2
    world.engine.cron()
    world.say(encode("APPEND", "k", "w"))
    assert world.engine.execute(b"DBSIZE") == 2
    assert world.backlog().endswith(encode("APPEND", "k", "w"))
    world.say(encode("PERSIST", "k"))
    assert world.get(b"k") == b"vw", "the primary had not seen its end"


def test_who_may_write(world: World) -> None:
    refused = world.engine.execute(b"SET", b"a", b"1")
    assert isinstance(refused, Error)
    assert refused.startswith("READONLY ")
    world.stream.set(read_only=False, serve_stale=True)
    offset = world.stream.offset
    assert world.engine.execute(b"SET", b"a", b"1") == "OK"
    assert world.stream.offset == offset
    world.stream.set(read_only=True, serve_stale=False)
    assert world.get(b"a") == b"1"
    world.stream.disconnect()
    stale = world.get(b"a")
    assert isinstance(stale, Error)
    assert stale.startswith("MASTERDOWN ")


def test_a_history_goes_on_under_another_id(world: World) -> None:
    world.say(encode("SET", "a", "1"))
    end = world.stream.offset
    world.stream.turn(OTHER)
    assert (world.feed.id, world.feed.earlier_id, world.feed.earlier_end) == (OTHER, ID, end)
    assert world.stream.position == Position(ID, end), "everybody knows that one"
    world.say(encode("SET", "a", "2"))
    assert world.stream.position == Position(OTHER, world.stream.offset)


def test_a_promotion(world: World) -> None:
    world.say(encode("SELECT", 3) + encode("SET", "a", "1"))
    end = world.stream.offset
    world.stream.end()
    world.tick()
    assert world.lost == []
    assert not world.engine.following
    assert world.engine.execute(b"SET", b"mine", b"1", db=3) == "OK"
    assert world.backlog().endswith(encode("SET", "a", "1") + encode("SELECT", "3") + encode("SET", "mine", "1"))
    assert (world.feed.earlier_id, world.feed.earlier_end) == (ID, end)
    assert world.feed.id not in (ID, OTHER)
    position = world.stream.position
    assert position is not None
    assert position.id == world.feed.id
    world.stream.begin()
    assert world.stream.position == position


def test_connections_change_their_roles_at_once(world: World) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(5)
    world.engine.add_client(ours.detach(), unix=True)
    with theirs:
        for follows in (True, False, True):
            theirs.sendall(encode("SET", "x", "1"))
            world.tick()
            reply = theirs.recv(1000)
            assert reply.startswith(b"-READONLY" if follows else b"+OK")
            if follows:
                world.stream.end()
            else:
                world.stream.begin()
