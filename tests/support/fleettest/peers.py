"""Connections to an engine of the test's own process: nothing happens but in `tick`."""

from __future__ import annotations

import socket

from cachefleet_server.engine import Engine
from fleettest.client import encode


class Peer:
    """A socket pair: one end is the engine's, the other the test's."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.socket, theirs = socket.socketpair()
        theirs.setblocking(False)
        self.socket.setblocking(False)
        self.id = engine.add_client(theirs.detach())

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
