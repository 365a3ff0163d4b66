"""A TCP proxy between real processes that cuts, holds back and delays; bytes keep their order and are never changed.

    with Proxy(primary.address) as proxy:
        replica = Instance("valkey", options={"replicaof": proxy.address})
        proxy.cut()          every connection ends; new ones are let in
        proxy.hold()         nothing passes, in either direction, until `release`
        proxy.close_door()   new connections are refused, until `open_door`
        proxy.delay_s = 0.1  each piece is that late
        proxy.limit_bytes = 7   a new connection ends after so many bytes from the target

One thread a direction of a connection. What a connection has read when it is held or cut may be lost with it, as in a
network.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Final

PIECE: Final = 65536


class Proxy:
    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.delay_s = 0.0
        self.limit_bytes: int | None = None
        self.connections = 0  # so far
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._passing = threading.Event()
        self._passing.set()
        self._door = True
        self._over = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self.release()
        self._listener.close()
        self.cut()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listener.getsockname()
        return host, port

    def cut(self) -> None:
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def hold(self) -> None:
        self._passing.clear()

    def release(self) -> None:
        self._passing.set()

    def close_door(self) -> None:
        self._door = False

    def open_door(self) -> None:
        self._door = True

    def _accept(self) -> None:
        while not self._over:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._door:
                near.close()
                continue
            try:
                far = socket.create_connection(self.target)
            except OSError:
                near.close()
                continue
            self.connections += 1
            with self._lock:
                self._open |= {near, far}
            both = threading.Barrier(2)
            for source, sink, limit in ((near, far, None), (far, near, self.limit_bytes)):
                threading.Thread(target=self._pump, args=(source, sink, both, limit), daemon=True).start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, both: threading.Barrier, limit: int | None = None
    ) -> None:
        with contextlib.suppress(OSError):
            while (limit is None or limit > 0) and (piece := source.recv(PIECE if limit is None else limit)):
                self._passing.wait()
                if self.delay_s:
                    time.sleep(self.delay_s)
                if limit is not None:
                    limit -= len(piece)
                sink.sendall(piece)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        both.wait()  # neither is closed, and its number given away, while the other direction uses it
        with self._lock:
            self._open.discard(source)
        source.close()
