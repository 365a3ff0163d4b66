"""Health and metrics: what is wrong is said with a 503, and what is shown can be read by Prometheus."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from cachefleet_operator.handlers import http
from cachefleet_operator.metrics import Fleet, Metrics
from cachefleet_operator.planning.actions import LabelPod
from cachefleet_operator.planning.snapshot import Server

pytestmark = pytest.mark.asyncio

CACHES = [
    {"metadata": {"namespace": "shop", "name": name}, **more}
    for name, more in {"a": {"status": {"refusals": [{}, {}]}}, "b": {"status": None}, "c": {}}.items()
]


async def ask(metrics: Metrics, path: str, alive: str = "", ready: str = "") -> tuple[int, str]:
    runner = await http.serve(http.application(metrics.registry, lambda: alive, lambda: ready), "127.0.0.1", 0)
    try:
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{runner.addresses[0][1]}{path}") as reply:
            return reply.status, await reply.text()
    finally:
        await runner.cleanup()


async def test_health() -> None:
    metrics = Metrics()
    assert await ask(metrics, "/healthz", ready="not yet") == (200, "ok\n")
    assert await ask(metrics, "/healthz", alive="stuck") == (503, "stuck\n")
    assert await ask(metrics, "/readyz", ready="not yet") == (503, "not yet\n")
    assert await ask(metrics, "/readyz") == (200, "ok\n")
    assert (await ask(metrics, "/"))[0] == 404


async def test_probes_get_through() -> None:
    """Whoever holds connections and says nothing, or half a request, loses the oldest to those that come."""
    server = await http.serve(http.application(Metrics().registry, str, str), "127.0.0.1", 0)
    port = server.addresses[0][1]
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2 * http.CONNECTIONS_MAX)]
    for _, writer in silent[::2]:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost:")
    try:
        for reader, _ in silent[: http.CONNECTIONS_MAX]:
            assert await asyncio.wait_for(reader.read(), 10) == b""
        async with ClientSession() as session:
            for path in ("healthz", "readyz", "metrics"):
                async with session.get(f"http://127.0.0.1:{port}/{path}") as reply:
                    assert reply.status == 200
        assert not silent[-1][0].at_eof()
    finally:
        for _, writer in silent:
            writer.close()
        await server.cleanup()


async def test_metrics() -> None:
    metrics = Metrics()
    heard = time.time()
    servers = [Server("a", seen_at=heard - 70), Server("b", seen_at=heard), Server("c", "no answer", seen_at=9)]
    metrics.registry.register(Fleet(lambda: CACHES, lambda: True, lambda: 3, lambda: False, lambda: servers))
    metrics.reconciled("acted", 0.2)
    metrics.acted(LabelPod("r", "p", "uid", {}))
    metrics.requested("apply", "Service", 200)
    _, text = await ask(metrics, "/metrics")
    found = {
        (s.name.removeprefix("cachefleet_operator_"), *s.labels.values()): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }
    assert 70 <= found["server_facts_age_seconds",] < 1000, "of those that answer the one that was heard longest ago"
    expected = {
        ("reconcile_total", "acted"): 1,
        ("reconcile_duration_seconds_count",): 1,
        ("actions_total", "LabelPod"): 1,
        ("api_requests_total", "apply", "Service", "200"): 1,
        ("caches",): 3,
        ("refusals",): 2,
        ("leader",): 1,
        ("synced",): 0,
        ("queue_depth",): 3,
        ("servers", "answers"): 2,
        ("servers", "silent"): 1,
    }
    # Labels come sorted by name in the text; compare as sets of words.
    as_sets = {(key[0], frozenset(key[1:])): value for key, value in found.items()}
    assert {k: as_sets.get((k[0], frozenset(k[1:]))) for k in expected} == expected
    assert ("process_resident_memory_bytes",) in found
