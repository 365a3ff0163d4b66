"""The metrics port's answers: a scrape leaves room for the event loop, strangers may ask what they like."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cachefleet_server.metrics.http import REST, SLICE_SECONDS, Pages, accepts

pytestmark = pytest.mark.unit

FAMILIES = 20


class Slow(Collector):
    """Each family takes longer than a slice."""

    def collect(self) -> Iterator[Metric]:
        for i in range(FAMILIES):
            end = time.thread_time() + 2 * SLICE_SECONDS
            while time.thread_time() < end:
                pass
            yield GaugeMetricFamily(f"m{i}", "help", value=i)


class Preempted(Collector):
    """Another process has the processor meanwhile."""

    waited_s = 0.0

    def collect(self) -> Iterator[Metric]:
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "sum(range(10_000_000))"], check=True)
        self.waited_s = time.monotonic() - began
        yield GaugeMetricFamily("m", "help", value=1)


class Broken(Collector):
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("m", "help", value=1)
        raise ZeroDivisionError("a bug")


class Quick(Collector):
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("m", "help", value=1)


def pages(collector: Collector) -> Pages:
    """No check fails, no bug is expected."""

    def failed(error: Exception) -> None:
        raise error

    return Pages(collector, dict, failed)


async def response(to: Pages, head: bytes) -> bytes:
    answer = to.respond(head)
    return await answer if isinstance(answer, Coroutine) else answer


def test_the_loop_runs_between_families() -> None:
    async def scrape() -> tuple[bytes, int]:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counter = asyncio.create_task(count())
        body = await response(pages(Slow()), b"GET /metrics HTTP/1.1\r\n\r\n")
        counter.cancel()
        return body, turns

    body, turns = asyncio.run(scrape())
    assert all(f"\nm{i} {i}.0\n".encode() in body for i in range(FAMILIES))
    assert turns >= FAMILIES - 1


def test_many_scrapes_leave_the_engine_most_of_its_thread() -> None:
    """One at a time, with a pause between: those that come together take REST + 1 times their work."""

    async def scrape() -> float:
        to = pages(Slow())
        began = time.monotonic()
        await asyncio.gather(*(response(to, b"GET /metrics HTTP/1.1\r\n\r\n") for _ in range(4)))
        return time.monotonic() - began

    work = FAMILIES * 2 * SLICE_SECONDS
    assert asyncio.run(scrape()) > 3 * (REST + 1) * work


def test_what_others_take_of_the_processor_makes_no_pause_longer() -> None:
    """The next scrape would be closed unanswered, if its pause were longer than a connection may take."""

    preempted = Preempted()

    async def scrape() -> float:
        to = pages(preempted)
        await response(to, b"GET /metrics HTTP/1.1\r\n\r\n")
        answered = time.monotonic()
        to.collector = Quick()
        await response(to, b"GET /metrics HTTP/1.1\r\n\r\n")
        return time.monotonic() - answered

    assert asyncio.run(scrape()) < REST * preempted.waited_s


def test_a_bug_is_a_500_and_reported() -> None:
    errors: list[Exception] = []
    broken = Pages(Broken(), dict, errors.append)
    assert asyncio.run(response(broken, b"GET /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 500 ")
    broken.failing_checks = lambda: {"disk": str(1 // 0)}
    assert asyncio.run(response(broken, b"GET /readyz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 500 ")
    assert [type(error) for error in errors] == [ZeroDivisionError] * 2
    assert asyncio.run(response(broken, b"GET /healthz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("", False), ("gzip", True), ("GZIP", True), ("deflate, gzip", True), ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("gzip;q=0.5", True), ("gzip;q=1.0, *;q=0.5", True), ("x-gzip", False), ("gzip;q=x", True), ("deflate", False),
        ("gzip;q=0, gzip", True), ("gzip ; q=0", False),
    ],
)  # fmt: skip
def test_accept_encoding(accepted: str, expected: bool) -> None:
    assert accepts(accepted, "gzip") is expected


# What Prometheus 2.5, 2.55 and 3 send, with the format that each can read.
ASKED = {
    "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1": "text/plain",
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2": "application/openmetrics-text",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;"
    "q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2":
        "application/openmetrics-text",
    "application/openmetrics-text": "application/openmetrics-text",
    "*/*": "text/plain",
    "": "text/plain",
    "text/plain;version=abc": "text/plain",
    "application/openmetrics-text;version=abc;escaping=nosuch": "application/openmetrics-text",
    "text/plain;version=1;version=;q=;=;;": "text/plain",
}  # fmt: skip


@pytest.mark.parametrize("accept", ASKED)
def test_accept(accept: str) -> None:
    head = f"GET /metrics HTTP/1.1\r\nAccept: {accept}\r\n\r\n".encode()
    answer = asyncio.run(response(pages(Quick()), head))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nContent-Type: " + ASKED[accept].encode() + b"; version=" in answer


WORDS = st.sampled_from((
    b"GET", b"HEAD", b" ", b"/metrics", b"/readyz", b"/healthz", b"?", b"exclude=", b"disk", b"%", b"%ff", b"&", b"=",
    b"HTTP/1.1", b"\r\n", b"Accept", b"Accept-Encoding", b":", b"application/openmetrics-text", b"text/plain",
    b";", b",", b"version=", b"escaping=", b"q=", b"1.0.0", b"gzip", b"*/*", b"\xc3\xa9", b"\0",
))  # fmt: skip
NOISE = st.lists(WORDS | st.binary(max_size=3), max_size=30).map(b"".join)


@given(st.sampled_from((b"", b"GET /readyz?", b"GET /metrics HTTP/1.1\r\nAccept: ", b"GET ")), NOISE)
def test_nothing_that_a_stranger_sends_is_a_bug(beginning: bytes, noise: bytes) -> None:
    answer = asyncio.run(response(pages(Quick()), beginning + noise + b"\r\n\r\n"))
    assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 ", b"HTTP/1.1 404 ", b"HTTP/1.1 405 "))
