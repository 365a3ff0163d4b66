"""Our server with a metrics port, and strangers who hold as many of its connections as they can."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from fleettest.instance import Instance, Option, free_port


class Scraped(Instance):
    """A server with a metrics port."""

    def __init__(self, options: Mapping[str, Option] | None = None, **arguments: Any) -> None:
        self.metrics_port = free_port()
        own: dict[str, Option] = {
            "metrics-port": self.metrics_port,
            "metrics-bind": "127.0.0.1",
            "enable-debug-command": "yes",
        }
        super().__init__("cachefleet", options={**own, **(options or {})}, **arguments)

    def get(
        self, path: str, method: str = "GET", timeout_s: float = 20, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=timeout_s)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def samples(self) -> list[Sample]:
        status, _, body = self.get("/metrics")
        assert status == 200
        return [sample for family in text_string_to_metric_families(body.decode()) for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        found = [s.value for s in self.samples() if s.name == name and labels.items() <= s.labels.items()]
        assert len(found) == 1, (name, labels, found)
        return float(found[0])


class Strangers:
    """Keeps `count` connections to a port that send `request` and then neither read nor write: whichever is closed
    is opened again, as long as the block lasts. They come from `source`; `opened` counts them.

    Who does not read never hears that an answer has an end, as the end stands behind what fills his window. So where
    none is closed for QUIET_S, the oldest ones are given up."""

    QUIET_S = 0.05

    def __init__(
        self, port: int, request: bytes, *, count: int, source: str = "127.0.0.1", pause_s: float = 0.0
    ) -> None:
        self.opened = 0
        self._address = ("127.0.0.1", port)
        self._request = request
        self._count = count
        self._source = source
        self._pause_s = pause_s
        self._ends = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Strangers:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends = True
        self._thread.join()

    def _run(self) -> None:
        with select.epoll() as epoll:
            held: dict[int, socket.socket] = {}
            while not self._ends:
                while len(held) < self._count and not self._ends:
                    sock = self._open()
                    held[sock.fileno()] = sock
                    epoll.register(sock, select.EPOLLRDHUP)
                    time.sleep(self._pause_s)
                closed = [descriptor for descriptor, _ in epoll.poll(self.QUIET_S)]
                for descriptor in closed or list(held)[: self._count // 8]:
                    held.pop(descriptor).close()
            for sock in held.values():
                sock.close()

    def _open(self) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the kernel's least
        sock.bind((self._source, 0))
        with contextlib.suppress(OSError):
            sock.connect(self._address)
            self.opened += 1
            sock.sendall(self._request)
        return sock
