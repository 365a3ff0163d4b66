"""The metrics port: GET /metrics, /healthz, /readyz on an asyncio server of its own.

Deliberately tiny: no keep-alive, one request a connection, a bounded header, a deadline, a limit of connections. It
runs on the engine's event loop. A scrape is worked out family by family, and lets the engine run after each
SLICE_SECONDS; the numbers of one family belong together, those of two may be some ticks apart.

    /metrics   Prometheus text format (or OpenMetrics when asked for), gzip when accepted
    /healthz   200 while the process serves its loop
    /readyz    200 when data is loaded and writes are possible; else 503 and the reason. As in Kubernetes' API server,
               `?exclude=disk` leaves a check out
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import parse_qs

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

HEADER_BYTES_MAX = 8192
REQUEST_SECONDS_MAX = 5.0
CONNECTIONS_MAX = 64
SLICE_SECONDS = 0.0005
GZIP_LEVEL = 1  # the event loop pays for it
OPENMETRICS_END = b"# EOF\n"
TEXT = {"Content-Type": "text/plain; charset=utf-8"}
REASONS = {
    200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 500: "Internal Server Error",
    503: "Service Unavailable",
}  # fmt: skip


class _Families(Collector):
    """The encoders of prometheus_client take a collector; this one has what it is given."""

    def __init__(self, *families: Metric) -> None:
        self.families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self.families)


class MetricsServer:
    """`failing_checks` returns {check: reason}, empty when the server is ready; `failed` hears of bugs."""

    def __init__(
        self,
        collector: Collector,
        failing_checks: Callable[[], Mapping[str, str]],
        failed: Callable[[Exception], None],
    ) -> None:
        self.collector = collector
        self.failing_checks = failing_checks
        self.failed = failed
        self.server: asyncio.Server | None = None
        self.connections = 0

    async def start(self, host: str | list[str] | None, port: int) -> int:
        """Listens; returns the port (useful when 0 was asked for)."""
        self.server = await asyncio.start_server(self._serve, host, port, limit=HEADER_BYTES_MAX)
        return int(self.server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            if self.connections <= CONNECTIONS_MAX:
                async with asyncio.timeout(REQUEST_SECONDS_MAX):
                    response = await self._respond(await reader.readuntil(b"\r\n\r\n"))
                    if not writer.is_closing():  # else the client is gone, and uvloop would raise
                        writer.write(response)
                        await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # a client that does not finish its request, or goes away, gets nothing
        finally:
            self.connections -= 1
            writer.close()

    async def _respond(self, head: bytes) -> bytes:
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _response(400, b"bad request\n")
        method, path, _ = words
        if method not in ("GET", "HEAD"):
            return _response(405, b"only GET and HEAD\n", {**TEXT, "Allow": "GET, HEAD"})
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        try:
            path, _, query = path.partition("?")
            response = await self._page(path, parse_qs(query), headers)
        except Exception as error:
            self.failed(error)
            response = _response(500, b"internal error; see the log\n")
        return response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else response

    async def _page(self, path: str, query: Mapping[str, list[str]], headers: Mapping[str, str]) -> bytes:
        if path == "/metrics":
            return await self._metrics(headers)
        if path == "/healthz":
            return _response(200, b"ok\n")
        if path == "/readyz":
            excluded = query.get("exclude", [])
            reasons = [reason for check, reason in self.failing_checks().items() if check not in excluded]
            return _response(503, "\n".join(reasons).encode() + b"\n") if reasons else _response(200, b"ok\n")
        return _response(404, b"not found; try /metrics, /healthz or /readyz\n")

    async def _metrics(self, headers: Mapping[str, str]) -> bytes:
        encode, content_type = choose_encoder(headers.get("accept", ""))
        parts = []
        began = time.monotonic()
        for family in self.collector.collect():
            parts.append(encode(_Families(family)).removesuffix(OPENMETRICS_END))
            if time.monotonic() - began > SLICE_SECONDS:
                await asyncio.sleep(0)
                began = time.monotonic()
        if content_type.startswith("application/openmetrics-text"):
            parts.append(OPENMETRICS_END)
        body = b"".join(parts)
        fields = {"Content-Type": content_type}
        if _accepts_gzip(headers.get("accept-encoding", "")):
            body = gzip.compress(body, GZIP_LEVEL)
            fields["Content-Encoding"] = "gzip"
        return _response(200, body, fields)


def _accepts_gzip(accepted: str) -> bool:
    for word in accepted.lower().split(","):
        coding, _, weight = word.replace(" ", "").partition(";q=")
        if coding == "gzip":
            return weight.strip("0.") != "" if weight else True
    return False


def _response(status: int, body: bytes, headers: Mapping[str, str] = TEXT) -> bytes:
    fields = {**headers, "Content-Length": len(body), "Connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} {REASONS[status]}\r\n{head}\r\n".encode() + body
