"""The metrics server without the rest: a scrape leaves room for the event loop, and a bug in it stays in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cachefleet_server.metrics.http import SLICE_SECONDS, MetricsServer, _accepts_gzip

pytestmark = pytest.mark.unit

FAMILIES = 20


class Slow(Collector):
    """Each family takes longer than a slice."""

    def collect(self) -> Iterator[Metric]:
        for i in range(FAMILIES):
            end = time.monotonic() + 2 * SLICE_SECONDS
            while time.monotonic() < end:
                pass
            yield GaugeMetricFamily(f"m{i}", "help", value=i)


class Broken(Collector):
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("m", "help", value=1)
        raise ZeroDivisionError("a bug")


def test_the_loop_runs_between_families() -> None:
    async def scrape() -> tuple[bytes, int]:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counter = asyncio.create_task(count())
        server = MetricsServer(Slow(), lambda: "", print)
        response = await server._metrics({})
        counter.cancel()
        return response, turns

    response, turns = asyncio.run(scrape())
    assert all(f"\nm{i} {i}.0\n".encode() in response for i in range(FAMILIES))
    assert turns >= FAMILIES - 1


def test_a_bug_is_a_500_and_reported() -> None:
    errors: list[Exception] = []
    server = MetricsServer(Broken(), lambda: "", errors.append)
    response = asyncio.run(server._respond(b"GET /metrics HTTP/1.1\r\n\r\n"))
    assert response.startswith(b"HTTP/1.1 500 ")
    assert len(errors) == 1 and isinstance(errors[0], ZeroDivisionError)


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("", False), ("gzip", True), ("GZIP", True), ("deflate, gzip", True), ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("gzip;q=0.5", True), ("gzip;q=1.0, *;q=0.5", True), ("x-gzip", False), ("gzip;q=x", True), ("deflate", False),
    ],
)  # fmt: skip
def test_accept_encoding(accepted: str, expected: bool) -> None:
    assert _accepts_gzip(accepted) is expected
