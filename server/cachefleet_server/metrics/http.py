"""The metrics port: GET /metrics, /healthz, /readyz on an asyncio server of its own.

Deliberately tiny: no keep-alive, one request a connection, a bounded header, a deadline. It runs on the engine's event
loop, between ticks, so a scrape sees consistent numbers and needs no lock.

    /metrics   Prometheus text format (or OpenMetrics when asked for)
    /healthz   200 while the process serves its loop
    /readyz    200 when data is loaded and writes are possible; else 503 and the reason
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

HEADER_BYTES_MAX = 8192
REQUEST_SECONDS_MAX = 5.0
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class MetricsServer:
    """`not_ready` returns "" when the server is ready, else the reason."""

    def __init__(self, collectors: list[Collector], not_ready: Callable[[], str]) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        for collector in collectors:
            self.registry.register(collector)
        self.not_ready = not_ready
        self.server: asyncio.Server | None = None

    async def start(self, host: str | list[str] | None, port: int) -> int:
        """Listens; returns the port (useful when 0 was asked for)."""
        self.server = await asyncio.start_server(self._serve, host, port, limit=HEADER_BYTES_MAX)
        return int(self.server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._respond(head))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # a client that does not finish its request, or goes away, gets nothing
        finally:
            writer.close()

    def _respond(self, head: bytes) -> bytes:
        lines = head.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ")
        if len(parts) != 3:
            return _response(400, "bad request\n")
        method, path, _ = parts
        if method not in ("GET", "HEAD"):
            return _response(405, "only GET\n")
        accept = next((x.partition(":")[2].strip() for x in lines[1:] if x.lower().startswith("accept:")), "")
        response = self._page(path.partition("?")[0], accept)
        return response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else response

    def _page(self, path: str, accept: str) -> bytes:
        if path == "/metrics":
            encode, content_type = choose_encoder(accept)
            return _response(200, encode(self.registry), content_type)
        if path == "/healthz":
            return _response(200, "ok\n")
        if path == "/readyz":
            reason = self.not_ready()
            return _response(503, reason + "\n") if reason else _response(200, "ok\n")
        return _response(404, "not found; try /metrics, /healthz or /readyz\n")


def _response(status: int, body: str | bytes, content_type: str = "text/plain; charset=utf-8") -> bytes:
    data = body.encode() if isinstance(body, str) else body
    head = (
        f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + data
