"""The metrics port's sockets: who is listened to, for how long, and who makes room for whom.

Deliberately tiny: no keep-alive, one request a connection, a bounded head, a deadline. There are never more than
CONNECTIONS_MAX connections and one that has just come; the reserve of descriptors counts on it (process.py).

Anybody may connect, and a probe that does not get through ends the pod; nothing tells the kubelet's address from
others. So nobody is refused: a connection that comes when all places are taken closes the oldest one of the address
that holds most. Whoever holds the places loses them, whatever he does with them. A probe sends its request as it
connects: mostly it is there, and answered, when the connection is accepted. One that dawdles keeps its place until
there are CONNECTIONS_MAX newer ones from its own address, or as many other addresses.

Sockets are read and written as they are ready, without asyncio's streams: these accept all that is in the queue at
once, and close some turns of the loop later.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cachefleet_server.metrics.http import Pages

HEAD_BYTES_MAX: Final = 8192
CONNECTION_SECONDS_MAX: Final = 5.0
CONNECTIONS_MAX: Final = 32
ACCEPTS_MAX: Final = 16  # a turn of the loop
ACCEPT_PAUSE_S: Final = 0.1  # after an error, or the socket, which stays readable, would spin
BACKLOG: Final = 511
LISTENERS_MAX: Final = 8  # addresses of a name; without one there are two
DESCRIPTORS: Final = LISTENERS_MAX + CONNECTIONS_MAX + 1
_END: Final = b"\r\n\r\n"
_NO_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class Connection:
    """Reads one head, writes one response. `close` may come at any time, and is final."""

    def __init__(self, port: Port, sock: socket.socket, source: str) -> None:
        self.source = source
        self._port = port
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._head = b""
        self._output = b""
        self._work: asyncio.Task[None] | None = None
        self._deadline = self._loop.call_later(CONNECTION_SECONDS_MAX, self.close)
        self._loop.add_reader(sock.fileno(), self._read)
        port.connections[self] = None
        self._read()

    def _read(self) -> None:
        try:
            received = self._sock.recv(HEAD_BYTES_MAX - len(self._head))
        except BlockingIOError:
            return
        except OSError:
            received = b""
        self._head += received
        head, end, _ = self._head.partition(_END)
        if end:
            self._loop.remove_reader(self._sock.fileno())
            self._respond(head + end)
        elif not received:  # gone, or too long
            self.close()

    def _respond(self, head: bytes) -> None:
        answer = self._port.pages.respond(head)
        if isinstance(answer, bytes):
            self._send(answer)
        else:
            self._work = self._loop.create_task(self._send_later(answer))

    async def _send_later(self, answer: Coroutine[None, None, bytes]) -> None:
        output = await answer
        self._work = None
        self._send(output)

    def _send(self, output: bytes) -> None:
        self._output = output
        self._loop.add_writer(self._sock.fileno(), self._write)
        self._write()

    def _write(self) -> None:
        try:
            self._output = self._output[self._sock.send(self._output) :]
        except BlockingIOError:
            return
        except OSError:
            self._output = b""
        if not self._output:
            self.close()

    def close(self) -> None:
        if self._sock.fileno() < 0:
            return
        self._deadline.cancel()
        if self._work is not None:
            self._work.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        del self._port.connections[self]


class Port:
    """Listening sockets and connections of one port."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages
        self.connections: dict[Connection, None] = {}  # the oldest first
        self._listeners: list[socket.socket] = []

    def open(self, host: str, port: int) -> None:
        """Listens on every address of `host`, or of the machine without one."""
        name = host.encode("utf-8", "surrogateescape")  # a text would go through IDNA, which has errors of its own
        found = socket.getaddrinfo(name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        refusal = OSError(errno.EADDRNOTAVAIL, "no address to listen on")
        try:
            for family, address in dict.fromkeys((family, address) for family, *_, address in found[:LISTENERS_MAX]):
                try:
                    self._listeners.append(_listen(family, address))
                except OSError as error:
                    if error.errno not in _NO_FAMILY:
                        raise
                    refusal = error
            if not self._listeners:
                raise refusal
        except OSError:
            self.close()
            raise
        for listener in self._listeners:
            self._watch(listener)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners = []
        for connection in list(self.connections):
            connection.close()

    def _watch(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listener.fileno(), self._accept_some, listener)

    def _accept_some(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_MAX):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError:
                loop = asyncio.get_running_loop()
                loop.remove_reader(listener.fileno())
                loop.call_later(ACCEPT_PAUSE_S, self._watch, listener)
                return
            sock.setblocking(False)
            if len(self.connections) >= CONNECTIONS_MAX:
                self._make_room()
            Connection(self, sock, address[0])

    def _make_room(self) -> None:
        held = Counter(connection.source for connection in self.connections)
        most = max(held.values())
        next(connection for connection in self.connections if held[connection.source] == most).close()


def _listen(family: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
