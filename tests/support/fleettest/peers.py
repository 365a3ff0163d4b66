"""Connections to an engine of the test's own process: nothing happens but in `tick`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cachefleet_server.admin.client_cmd import ClientCommands
from cachefleet_server.admin.monitor import Monitor
from cachefleet_server.engine import Engine
from cachefleet_server.persistence._testing import plug_bag
from fleettest.client import encode


class Peer:
    """A socket pair: one end is the engine's, the other the test's."""

    def __init__(self, engine: Engine, resp: int = 2) -> None:
        self.engine = engine
        self.socket, theirs = socket.socketpair()
        theirs.setblocking(False)
        self.socket.setblocking(False)
        self.id = engine.add_client(theirs.detach())
        if resp != 2:
            client = engine.client(self.id)
            assert client is not None
            client.resp = resp

    def send(self, *rows: str) -> bytes:
        """Requests, some ticks, and what came of it."""
        self.socket.sendall(b"".join(encode(*row.split(" ")) for row in rows))
        return self.read()

    def read(self) -> bytes:
        for _ in range(3):  # read, resumed, written
            self.engine.tick()
        got = b""
        try:
            while part := self.socket.recv(1 << 20):
                got += part
        except BlockingIOError:
            return got
        return got + b"<closed>"


@contextmanager
def connecting(engine: Engine) -> Iterator[Callable[..., Peer]]:
    """Makes peers; arguments as Peer has them. They are gone at the end."""
    peers: list[Peer] = []

    def make(resp: int = 2) -> Peer:
        peers.append(Peer(engine, resp))
        return peers[-1]

    yield make
    for peer in peers:
        peer.socket.close()


@contextmanager
def bag_engine(*plugs: Callable[[Engine], object]) -> Iterator[Engine]:
    """An engine with bags, CLIENT, MONITOR and what else is plugged in; checked as a whole at its end."""
    engine = Engine()
    for plug in (plug_bag, *plugs):
        plug(engine)
    ClientCommands(engine, 16).register()
    Monitor(engine).register()
    yield engine
    assert engine.check() == []
    engine.close()
