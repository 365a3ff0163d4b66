"""What the metrics port answers: one request in, one response out. The sockets are port.py's.

    /metrics   Prometheus text format (or OpenMetrics when asked for), gzip when accepted
    /healthz   200 while the process serves its loop
    /readyz    200 when data is loaded and writes are possible; else 503 and the reason. As in Kubernetes' API server,
               `?exclude=disk` leaves a check out

Everything is answered at once but a scrape. That is worked out family by family, and lets the engine run after each
SLICE_SECONDS; the numbers of one family belong together, those of two may be some ticks apart. There is one scrape at
a time, and a pause of REST times its work before the next: however many ask, the engine keeps most of its thread. Its
work is the thread's time: on a busy machine a pause by the clock would be longer than a connection may take.

A request comes from strangers, so no library reads it but `parse_qs`: prometheus_client's own choice of a format
raises at a version that it cannot read.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from urllib.parse import parse_qs

from prometheus_client import exposition
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from cachefleet_server.metrics.collector import OldCounter

SLICE_SECONDS = 0.0005
REST = 4
GZIP_LEVEL = 1  # the event loop pays for it
OPENMETRICS_END = b"# EOF\n"
TEXT = {"Content-Type": "text/plain; charset=utf-8"}
PLAIN_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
NOT_WANTED = re.compile(r"q=0[.0]*|version=0\..*")
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


class Pages:
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
        self._scraping = asyncio.Lock()
        self._rested = 0.0  # when the next scrape may begin

    def respond(self, head: bytes) -> bytes | Coroutine[None, None, bytes]:
        """The response to a request with this head; of a scrape, what will make it."""
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _response(400, b"bad request\n")
        method, target, _ = words
        if method not in ("GET", "HEAD"):
            return _response(405, b"only GET and HEAD\n", {**TEXT, "Allow": "GET, HEAD"})
        path, _, query = target.partition("?")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if path == "/metrics":
            return self._scrape(method, headers)
        try:
            return _for(method, self._probe(path, query))
        except Exception as error:
            return _for(method, self._bug(error))

    def _bug(self, error: Exception) -> bytes:
        self.failed(error)
        return _response(500, b"internal error; see the log\n")

    def _probe(self, path: str, query: str) -> bytes:
        if path == "/healthz":
            return _response(200, b"ok\n")
        if path == "/readyz":
            excluded = parse_qs(query).get("exclude", [])
            reasons = [reason for check, reason in self.failing_checks().items() if check not in excluded]
            return _response(503, "\n".join(reasons).encode() + b"\n") if reasons else _response(200, b"ok\n")
        return _response(404, b"not found; try /metrics, /healthz or /readyz\n")

    async def _scrape(self, method: str, headers: Mapping[str, str]) -> bytes:
        async with self._scraping:
            try:
                await asyncio.sleep(self._rested - time.monotonic())
                return _for(method, await self._metrics(headers))
            except Exception as error:
                return _for(method, self._bug(error))

    async def _metrics(self, headers: Mapping[str, str]) -> bytes:
        is_open = accepts(headers.get("accept", ""), "application/openmetrics-text")
        encode = openmetrics.generate_latest if is_open else _text
        parts = []
        spent, began = 0.0, time.thread_time()
        for family in self.collector.collect():
            parts.append(encode(_Families(family)).removesuffix(OPENMETRICS_END))
            if time.thread_time() - began > SLICE_SECONDS:
                spent += time.thread_time() - began
                await asyncio.sleep(0)
                began = time.thread_time()
        body = b"".join(parts) + (OPENMETRICS_END if is_open else b"")
        fields = {"Content-Type": OPENMETRICS_TYPE if is_open else PLAIN_TYPE}
        if accepts(headers.get("accept-encoding", ""), "gzip"):
            body = gzip.compress(body, GZIP_LEVEL)
            fields["Content-Encoding"] = "gzip"
        self._rested = time.monotonic() + REST * (spent + time.thread_time() - began)
        return _response(200, body, fields)


def _text(families: _Families) -> bytes:
    text = exposition.generate_latest(families)
    for family in families.families:
        if isinstance(family, OldCounter):
            text = text.replace(
                b"# TYPE %b gauge\n" % family.name.encode(), b"# TYPE %b counter\n" % family.name.encode()
            )
    return text


def accepts(header: str, wanted: str) -> bool:
    """Whether a header Accept or Accept-Encoding names `wanted`, and not with the weight 0 or a version before 1."""
    for item in header.lower().split(","):
        name, *parameters = item.replace(" ", "").split(";")
        if name == wanted and not any(NOT_WANTED.fullmatch(parameter) for parameter in parameters):
            return True
    return False


def _for(method: str, response: bytes) -> bytes:
    return response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else response


def _response(status: int, body: bytes, headers: Mapping[str, str] = TEXT) -> bytes:
    fields = {**headers, "Content-Length": len(body), "Connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} {REASONS[status]}\r\n{head}\r\n".encode() + body
