"""The Prometheus collector: reads the sample when scraped, keeps nothing.

The engine's hot code only bumps C counters; everything here happens once per scrape, on the event loop's thread, and
takes well under a millisecond. Series are those of `table.TABLE` plus the labelled families below (per database,
command, error prefix).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from cachefleet_server.engine import Engine
from cachefleet_server.metrics.table import TABLE

BUCKET_SECONDS = 1024e-9  # upper bound of a command histogram's first bucket; each further one doubles


def _counter_name(series: str) -> str:
    """prometheus_client appends _total itself."""
    return series.removesuffix("_total")


class EngineCollector(Collector):
    """Yields every series of one engine. `sample` is Sampler.sample; `info` labels the constant redis_instance_info."""

    def __init__(self, engine: Engine, sample: Callable[[], dict[str, Any]], info: dict[str, str]) -> None:
        self.engine = engine
        self.sample = sample
        self.info = info

    def collect(self) -> Iterable[Metric]:
        sample = self.sample()
        up = GaugeMetricFamily("redis_up", "1: the server answers.", value=1)
        yield up
        instance = GaugeMetricFamily("redis_instance_info", "What this server is.", labels=list(self.info))
        instance.add_metric(list(self.info.values()), 1)
        yield instance
        for row in TABLE:
            if not row.series:
                continue
            text = row.help or f"INFO field {row.field}."
            if row.kind == "counter" and row.series.endswith("_total"):
                yield CounterMetricFamily(_counter_name(row.series), text, value=row.number(sample))
            else:
                yield GaugeMetricFamily(row.series, text, value=row.number(sample))
        yield from self._databases()
        yield from self._commands()
        errors = CounterMetricFamily("redis_errors", "Error replies by prefix.", labels=["err"])
        for prefix, count in self.engine.error_stats().items():
            errors.add_metric([prefix], count)
        yield errors

    def _databases(self) -> Iterable[Metric]:
        keys = GaugeMetricFamily("redis_db_keys", "Keys in the database.", labels=["db"])
        expiring = GaugeMetricFamily("redis_db_keys_expiring", "Keys with a time to live.", labels=["db"])
        ttl = GaugeMetricFamily("redis_db_avg_ttl_seconds", "Average time to live.", labels=["db"])
        found = {db: (n, expires, avg) for db, n, expires, avg in self.engine.keyspace()}
        found.setdefault(0, (0, 0, 0))
        for db, (n, expires, avg_ms) in sorted(found.items()):
            label = [f"db{db}"]
            keys.add_metric(label, n)
            expiring.add_metric(label, expires)
            ttl.add_metric(label, avg_ms / 1000)
        return keys, expiring, ttl

    def _commands(self) -> Iterable[Metric]:
        calls = CounterMetricFamily("redis_commands", "Calls of a command.", labels=["cmd"])
        seconds = CounterMetricFamily("redis_commands_duration_seconds", "Time spent in a command.", labels=["cmd"])
        rejected = CounterMetricFamily("redis_commands_rejected_calls", "Refused before running.", labels=["cmd"])
        failed = CounterMetricFamily("redis_commands_failed_calls", "Failed while running.", labels=["cmd"])
        latency = HistogramMetricFamily(
            "cachefleet_command_duration_seconds", "Execution time of a command.", labels=["cmd"]
        )
        for name, n, microseconds, n_rejected, n_failed, histogram in self.engine.command_stats():
            label = [name]
            calls.add_metric(label, n)
            seconds.add_metric(label, microseconds / 1e6)
            rejected.add_metric(label, n_rejected)
            failed.add_metric(label, n_failed)
            buckets: list[tuple[str, float]] = []
            total = 0
            for i, count in enumerate(histogram):
                total += count
                buckets.append((repr(BUCKET_SECONDS * 2**i), total))
                if total == n:
                    break
            buckets.append(("+Inf", total))
            latency.add_metric(label, buckets, sum_value=microseconds / 1e6)
        return calls, seconds, rejected, failed, latency
