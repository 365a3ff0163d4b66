"""Connections over a transport that moves a few bytes a call, reads ahead, and waits crosswise.

The engine ticks only when its epoll descriptor says so, as under uvloop: a wake-up that is missing stops a test, and
one too many is counted.
"""

from __future__ import annotations

import random
import select
import socket
import time
from collections.abc import Iterator

import pytest

from cachefleet_server._testing_transport import Scrambled
from cachefleet_server.engine import Engine
from fleettest.client import encode
from fleettest.scrambled import Peer
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.unit

STUCK_S = 20.0


class World:
    """An engine, its scrambled clients, and what drives both."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.engine = Engine()
        self.scrambled = Scrambled(self.engine)
        self.peers: list[Peer] = []
        self.ids: list[int] = []
        self._poll = select.poll()
        self._poll.register(self.engine.epoll_fd, select.POLLIN)

    def connect(self, *, room: int | None = None) -> Peer:
        ours, theirs = socket.socketpair()
        if room is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
        ours.setblocking(False)
        self.ids.append(self.engine.add_client(ours.detach(), unix=True))
        self.scrambled.plug(self.ids[-1], self.rng.getrandbits(32))
        self.peers.append(Peer(theirs, self.rng))
        return self.peers[-1]

    def tick(self) -> bool:
        """One, if the engine asks for it."""
        if not self._poll.poll(0):
            return False
        self.engine.tick()
        return True

    def run(self, *expected: tuple[Peer, bytes]) -> None:
        """Until each peer has just these bytes."""
        deadline = time.process_time() + STUCK_S
        while any(peer.received != bytes_ for peer, bytes_ in expected):
            moved = [peer.pump() for peer in self.peers]
            if not self.tick() and not any(moved):
                for peer, bytes_ in expected:
                    assert peer.received == bytes_, "nothing moves any more"
            assert time.process_time() < deadline, "it moves, but does not get there"

    def settle(self) -> None:
        while any(peer.pump() for peer in self.peers) or self.tick():
            pass

    def close(self) -> None:
        self.engine.close()
        for peer in self.peers:
            peer.sock.close()


@pytest.fixture
def world(rng: random.Random) -> Iterator[World]:
    world = World(rng)
    yield world
    world.close()
    totals = world.scrambled.totals()
    assert totals["other_bytes"] == 0, "a write was not repeated with the same bytes"
    assert totals["closed"] == totals["sessions"] == len(world.peers), "a session was not ended"


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def test_a_pipeline(world: World) -> None:
    peer = world.connect()
    expected = b""
    for i in range(300):
        value = world.rng.randbytes(world.rng.choice((0, 3, 40)))
        peer.send(encode("SET", f"k{i}", value) + encode("GET", f"k{i}"))
        expected += b"+OK\r\n" + bulk(value)
    world.run((peer, expected))
    totals = world.scrambled.totals()
    assert totals["reads_at_writable"] > 0
    assert totals["writes_at_readable"] > 0
    assert totals["unread"] > 0
    assert totals["answered"] > 0
    assert peer.answered == peer.asked


def test_several_clients_and_a_transaction(world: World) -> None:
    peers = [world.connect() for _ in range(5)]
    expected = []
    for i, peer in enumerate(peers):
        peer.send(encode("MULTI") + encode("SET", f"t{i}", "x" * 100) + encode("GET", f"t{i}") + encode("EXEC"))
        expected.append((peer, b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n" + bulk(b"x" * 100)))
    world.run(*expected)


def test_large_values_by_reference_and_in_pieces(world: World) -> None:
    """A large argument is read into memory of its own, and its replies are written by writev."""
    value = world.rng.randbytes(40_000)
    peer = world.connect(room=4096)
    peer.send(encode("SET", "big", value) + encode("GET", "big") * 2 + encode("GETRANGE", "big", "1", "30000"))
    world.run((peer, b"+OK\r\n" + bulk(value) * 2 + bulk(value[1:30_001])))


def test_quit_sends_its_reply_first(world: World) -> None:
    value = b"v" * 20_000
    peer = world.connect(room=4096)
    peer.send(encode("SET", "k", value) + encode("GET", "k") + encode("QUIT") + encode("SET", "k", "unheard") * 30)
    world.run((peer, b"+OK\r\n" + bulk(value) + b"+OK\r\n"))
    world.settle()
    assert peer.closed
    assert world.engine.client_count == 0
    assert world.engine.execute(b"GET", b"k") == value


def test_a_kill_in_the_middle_of_a_reply(world: World) -> None:
    peer, other = world.connect(room=4096), world.connect()
    peer.send(encode("SET", "k", "v" * 30_000) + encode("GET", "k"))
    while len(peer.received) < 1000:
        peer.pump()
        world.tick()
    client = world.engine.client(world.ids[0])
    assert client is not None
    client.close()
    world.settle()
    assert peer.closed
    assert len(peer.received) < 30_000
    other.send(encode("STRLEN", "k"))
    world.run((other, b":30000\r\n"))


def test_a_peer_that_goes(world: World) -> None:
    peer, other = world.connect(room=4096), world.connect()
    peer.send(encode("SET", "k", "v" * 30_000) + encode("GET", "k"))
    while len(peer.received) < 1000:
        peer.pump()
        world.tick()
    peer.sock.close()
    peer.closed = True
    other.send(encode("STRLEN", "k"))
    world.run((other, b":30000\r\n"))
    world.settle()
    assert world.engine.client_count == 1


def test_a_protocol_error_is_replied(world: World) -> None:
    peer = world.connect()
    peer.send(b"*1\r\n$x\r\n")
    world.run((peer, b"-ERR Protocol error: invalid bulk length\r\n"))
    world.settle()
    assert peer.closed


def test_a_read_that_cannot_go_on_causes_no_ticks(world: World) -> None:
    """Its input is there and its socket full: epoll must report neither."""
    world.scrambled.mute()
    peer = world.connect(room=4096)
    peer.send(encode("SET", "k", "v" * 100_000) + encode("GET", "k") * 3)
    while peer.pump(read=False) or world.tick():
        peer.pump(read=len(peer.received) < 5000)  # then no more: the socket fills
    world.scrambled.stick(True)
    before = world.scrambled.totals()["reads_at_writable"]
    peer.send(encode("STRLEN", "k"))
    deadline = time.process_time() + 1
    while peer.pump(read=False) or world.tick():
        assert time.process_time() < deadline, "it ticks for nothing"
    assert world.scrambled.totals()["reads_at_writable"] == before + 1
    world.scrambled.stick(False)
    world.run((peer, b"+OK\r\n" + bulk(b"v" * 100_000) * 3 + b":100000\r\n"))


def test_a_handshake_that_does_not_get_on_is_ended_by_the_idle_timeout(world: World) -> None:
    world.connect()  # and it never answers
    world.engine.set_param("timeout", 1)
    while world.tick():
        pass
    assert_eventually(lambda: world.engine.cron() is None and not world.engine.client_count)
