"""The feed with replicas at the other end of socket pairs: who gets which bytes, and what the backlog keeps."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest

from cachefleet_server.command_spec import row
from cachefleet_server.engine import Client, Engine
from cachefleet_server.replication.feed import (
    LOADING,
    ONLINE,
    READS_ALL,
    READS_REDIS,
    SYNCING,
    WAITING,
    Feed,
)
from cachefleet_server.replies import OK, Reply
from fleettest.client import encode

pytestmark = pytest.mark.unit

SIZE = 1 << 20


class World:
    """An engine with a feed, replicas that read whatever comes, and all that was journalled since `open`."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.feed = Feed(self.engine)
        self.gone: list[tuple[int, str]] = []
        self.feed.on_gone = lambda id, reason: self.gone.append((id, reason))
        spec = row("replconf", -1, "admin", "", "", "server 3.0.0 O(1)", "For tests.", "")
        self.engine.register(spec, self._replconf)
        self.feed.take_confirmations()
        self.sockets: dict[int, socket.socket] = {}

    def _replconf(self, client: Client, argv: list[bytes]) -> Reply:
        return OK

    def connect(self, *, room: int | None = None) -> int:
        ours, theirs = socket.socketpair()
        if room is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
        ours.setblocking(False)
        theirs.setblocking(False)
        id = self.engine.add_client(ours.detach(), unix=True)
        self.sockets[id] = theirs
        return id

    def online(self, *, room: int | None = None, readable: int = READS_ALL) -> int:
        id = self.connect(room=room)
        self.feed.resume(id, readable, b"", self.feed.stop)
        return id

    def tick(self, times: int = 3) -> None:
        for _ in range(times):
            self.engine.tick()

    def received(self, id: int) -> bytes:
        got = b""
        while True:
            self.tick()
            try:
                piece = self.sockets[id].recv(1 << 20)
            except BlockingIOError:
                return got
            if not piece:
                return got
            got += piece

    def say(self, id: int, *words: bytes | int) -> None:
        self.sockets[id].send(encode(*words))
        self.tick()

    def states(self) -> dict[int, int]:
        return {r.id: r.state for r in self.feed.replicas()}

    def close(self) -> None:
        self.feed.close()
        for sock in self.sockets.values():
            sock.close()
        assert self.engine.check() == []
        self.engine.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def test_a_replica_gets_what_comes_after_it(world: World) -> None:
    world.feed.open(SIZE)
    world.engine.execute(b"SET", b"a", b"1")
    one = world.online()
    world.engine.execute(b"SET", b"b", b"2")
    assert world.received(one) == encode("SET", "b", "2")
    world.engine.execute(b"INCR", b"b", db=3)
    assert world.received(one) == encode("SELECT", "3") + encode("INCR", "b")
    assert world.feed.end == world.feed.stop


def test_each_offset_of_the_backlog_can_be_resumed_from(world: World) -> None:
    world.feed.open(SIZE)
    start = world.feed.start
    for i in range(20):
        world.engine.execute(b"SET", b"key:%d" % i, b"x" * (i * 700))
    whole = world.connect()
    world.feed.resume(whole, READS_ALL, b"+CONTINUE\r\n", start)
    stream = world.received(whole).removeprefix(b"+CONTINUE\r\n")
    assert stream.startswith(encode("SELECT", "0") + encode("SET", "key:0", ""))
    assert len(stream) == world.feed.stop - start
    for offset in range(start, world.feed.stop, 997):
        id = world.connect()
        world.feed.resume(id, READS_ALL, b"", offset)
        assert world.received(id) == stream[offset - start :]
    for wrong in (world.feed.stop + 1, start - 1):
        with pytest.raises((ValueError, OverflowError)):
            world.feed.resume(world.connect(), READS_ALL, b"", wrong)


@pytest.mark.parametrize("size", [16384, 100_000, 1 << 20])
def test_the_backlog_keeps_its_size_and_little_more(world: World, size: int, rng: random.Random) -> None:
    world.feed.open(size)
    written = 0
    while written < 4 * size:
        value = rng.randbytes(rng.choice((10, 1000, 30_000)))
        world.engine.execute(b"SET", b"k", value)
        written += len(value)
        kept = world.feed.stop - world.feed.start
        assert kept <= size + max(16384, size // 16)
    assert kept >= size
    assert world.feed.excess <= max(16384, size // 16)
    world.feed.resize(16384)
    assert world.feed.stop - world.feed.start <= 2 * max(16384, size // 16) + 16384


def test_a_slow_replica_holds_blocks_that_do_not_count(world: World) -> None:
    world.feed.open(16384)
    slow = world.online(room=4096)
    for i in range(40):
        world.engine.execute(b"SET", b"k", b"%d" % i * 10_000)
    world.tick()
    assert world.feed.excess > 200_000
    assert world.feed.memory < 1_500_000, "one copy, however many there are"
    stream = world.received(slow)
    assert stream.endswith(encode("SET", "k", b"39" * 10_000))
    world.engine.execute(b"SET", b"k", b"")
    world.tick()
    assert world.feed.excess <= 16384, "it has caught up"


def test_replicas_share_the_blocks(world: World) -> None:
    world.feed.open(1 << 20)
    slow = [world.online(room=4096) for _ in range(10)]
    before = world.engine.stats()["used_memory"]
    for _ in range(9):
        world.engine.execute(b"SET", b"k", b"x" * 100_000)
    world.tick()
    grown = world.engine.stats()["used_memory"] - before
    assert grown < 1_500_000
    for id in slow:
        assert world.received(id).endswith(b"x\r\n")


def test_the_way_of_a_full_synchronisation(world: World) -> None:
    world.feed.open(SIZE)
    id = world.connect()
    world.feed.add(id, READS_ALL, snapshot_only=False)
    world.engine.execute(b"SET", b"a", b"1")
    assert world.states() == {id: WAITING}
    world.feed.newline(id)
    assert world.received(id) == b"\n", "and nothing of the stream"
    offset = world.feed.begin(id)
    assert offset == world.feed.end
    world.engine.execute(b"SET", b"b", b"2")
    world.say(id, b"REPLCONF", b"ACK", 0)
    assert world.states() == {id: SYNCING}
    world.feed.sent(id)
    world.engine.execute(b"SET", b"c", b"3")
    assert world.received(id) == b"", "it still looks for the end of the snapshot"
    assert world.states() == {id: LOADING}
    world.say(id, b"\n")
    assert world.states() == {id: LOADING}
    world.say(id, b"REPLCONF", b"ACK", offset)
    assert world.states() == {id: ONLINE}
    stream = encode("SELECT", "0") + encode("SET", "b", "2") + encode("SET", "c", "3")
    assert world.received(id) == stream
    world.say(id, b"REPLCONF", b"ACK", offset + len(stream))
    (replica,) = world.feed.replicas()
    assert replica.acked == world.feed.end
    world.say(id, b"REPLCONF", b"ACK", 1 << 50)
    assert world.feed.replicas()[0].acked == world.feed.end, "nobody has more than there is"


def test_who_wants_the_snapshot_alone_gets_no_stream(world: World) -> None:
    world.feed.open(SIZE)
    id = world.connect()
    world.feed.add(id, READS_ALL, snapshot_only=True)
    world.feed.begin(id)
    world.feed.sent(id)
    world.engine.execute(b"SET", b"a", b"1")
    world.say(id, b"REPLCONF", b"ACK", 0)
    assert world.received(id) == b""
    assert world.states() == {id: LOADING}


def test_a_replica_gets_no_replies_and_touches_no_keys(world: World) -> None:
    world.feed.open(SIZE)
    id = world.online()
    for words in ((b"PING",), (b"SET", b"a", b"1"), (b"GET", b"a"), (b"REPLCONF", b"ACK"), (b"RESET",), (b"\n",)):
        world.say(id, *words)
    assert world.received(id) == b""
    assert world.engine.execute(b"EXISTS", b"a") == 0
    assert world.states() == {id: ONLINE}


def test_one_who_cannot_read_the_data_is_disconnected_before_it_gets_the_command(world: World) -> None:
    world.feed.open(SIZE)
    old, new = world.online(readable=READS_REDIS), world.online()
    world.engine.execute(b"HSET", b"h", b"f", b"v")
    assert world.received(old) == world.received(new) != b""
    world.engine.execute(b"HPEXPIRE", b"h", b"100000", b"FIELDS", b"1", b"f")
    assert b"HPEXPIREAT" in world.received(new)
    assert world.received(old) == b""
    assert world.gone == [(old, "the data hold what it cannot read: members that expire, or producers of streams")]
    assert world.states() == {new: ONLINE}
    assert world.feed.needed > READS_REDIS


def test_one_that_holds_too_much_is_disconnected(world: World) -> None:
    world.engine.set_param("output_limit_hard.1", 300_000)
    world.feed.open(16384)
    slow = world.online(room=4096)
    syncing = world.connect()
    world.feed.add(syncing, READS_ALL, snapshot_only=False)
    world.feed.begin(syncing)
    quick = world.online()
    for _ in range(6):
        world.engine.execute(b"SET", b"k", b"x" * 100_000)
        world.received(quick)
    assert sorted(world.gone) == [(slow, ""), (syncing, "")]
    assert world.states() == {quick: ONLINE}
    world.engine.execute(b"SET", b"k", b"")
    world.received(quick)
    assert world.feed.excess <= 16384


def test_the_limit_is_never_below_the_backlog(world: World) -> None:
    world.engine.set_param("output_limit_hard.1", 1000)
    world.feed.open(500_000)
    slow = world.online(room=4096)
    for _ in range(4):
        world.engine.execute(b"SET", b"k", b"x" * 100_000)
    world.tick()
    assert world.states() == {slow: ONLINE}


def test_closed_and_opened_again_is_another_history(world: World) -> None:
    world.feed.open(SIZE)
    first = world.feed.id
    id = world.online()
    world.engine.execute(b"SET", b"a", b"1")
    world.feed.close()
    world.tick()
    assert world.gone == [(id, "")]
    assert world.feed.memory == 0
    assert world.feed.id == ""
    world.engine.execute(b"SET", b"a", b"2")
    world.feed.open(SIZE)
    assert world.feed.id not in ("", first)
    assert world.feed.start == world.feed.stop


def test_an_engine_that_closes_first() -> None:
    """With the backlog open, and output pending."""
    world = World()
    world.feed.open(SIZE)
    id = world.online()
    world.engine.execute(b"SET", b"a", b"1")
    world.engine.close()
    assert world.gone == [(id, "")]
    world.sockets[id].close()
    del world.feed


def test_waits_end_with_confirmations(world: World) -> None:
    world.feed.open(SIZE)
    replica, client = world.online(), world.connect()
    world.say(client, b"SET", b"a", b"1")
    world.say(client, b"WAIT", 1, 0)
    assert world.received(client) == b"+OK\r\n"
    stream = world.received(replica)
    asked = encode("REPLCONF", "GETACK", "*")
    assert stream.endswith(encode("SET", "a", "1") + asked)
    end = world.feed.end
    world.say(replica, b"REPLCONF", b"ACK", end - len(asked) - 1)
    assert world.received(client) == b""
    world.say(replica, b"REPLCONF", b"ACK", end - len(asked))
    assert world.received(client) == b":1\r\n"
    world.say(client, b"WAITAOF", 0, 1, 0)
    assert world.received(replica) == asked
    world.say(replica, b"REPLCONF", b"ACK", end)
    assert world.received(client) == b""
    world.say(replica, b"REPLCONF", b"ACK", end, b"FACK", end)
    assert world.received(client) == b"*2\r\n:0\r\n:1\r\n"
    world.say(client, b"WAIT", 2, 10)
    world.sockets[replica].close()
