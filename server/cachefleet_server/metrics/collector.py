"""The Prometheus collector: reads the sample when scraped, keeps nothing.

The engine's hot code only bumps C counters; everything here happens once per scrape, on the event loop's thread.
`collect` yields one family at a time and works it out only then, so that the scrape can be interrupted between two
(http.py). What there is: table.TABLE and table.FAMILIES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from cachefleet_server.engine import Engine
from cachefleet_server.metrics.table import BUCKET_SECONDS, FAMILIES, TABLE, C, H
from cachefleet_server.metrics.table import Metric as Row

LIMITS = ("hard", "soft")
Series = tuple[Sequence[str], float]  # values of the labels, value


class OldCounter(GaugeMetricFamily):
    """A counter whose name does not end in _total, as redis_exporter has some; prometheus_client would append it.
    The text format shows the type (http.py). OpenMetrics has no such counters: there it is a gauge."""


def _family(name: str, series: Iterable[Series]) -> Metric:
    row = FAMILIES[name]
    kind = CounterMetricFamily if row.kind == C else GaugeMetricFamily
    metric = kind(_plain(name), row.help, labels=row.labels)
    for labels, value in series:
        metric.add_metric(labels, value)
    return metric


def _plain(name: str) -> str:
    """prometheus_client appends _total itself."""
    return name.removesuffix("_total")


def _label(name: bytes) -> str:
    """Labels are UTF-8."""
    return name.decode("utf-8", "backslashreplace")


def _kind(row: Row) -> Callable[..., Metric]:
    if not row.is_counter:
        return GaugeMetricFamily
    return CounterMetricFamily if row.series.endswith("_total") else OldCounter


def _histogram(name: str, series: Iterable[tuple[Sequence[str], Sequence[int], float]]) -> Metric:
    """`series`: labels, counts by bucket, and the sum in seconds."""
    row = FAMILIES[name]
    assert row.kind == H
    metric = HistogramMetricFamily(name, row.help, labels=row.labels)
    for labels, counts, seconds in series:
        metric.add_metric(labels, _cumulative(counts), sum_value=seconds)
    return metric


def _cumulative(counts: Sequence[int]) -> list[tuple[str, float]]:
    """As Prometheus wants it; buckets above the largest duration so far are left out."""
    buckets: list[tuple[str, float]] = []
    total, everything = 0, sum(counts)
    for i, count in enumerate(counts):
        if total == everything:
            break
        total += count
        buckets.append((repr(BUCKET_SECONDS * 2**i), total))
    buckets.append(("+Inf", everything))
    return buckets


class EngineCollector(Collector):
    """Yields every series of one engine.

    `sample` is Sampler.sample; `lag` gives the counts and the sum of the event loop's lag; `spikes` LATENCY's latest
    sample of each event: Unix time and milliseconds; `streams` those to tell of, as database and key.
    """

    def __init__(
        self,
        engine: Engine,
        sample: Callable[[], dict[str, Any]],
        lag: Callable[[], tuple[Sequence[int], float]],
        spikes: Callable[[], Mapping[str, tuple[int, int]]],
        streams: Callable[[], Sequence[tuple[int, bytes]]],
    ) -> None:
        self.engine = engine
        self.sample = sample
        self.lag = lag
        self.spikes = spikes
        self.streams = streams

    def collect(self) -> Iterable[Metric]:
        sample = self.sample()
        yield _family("redis_up", [((), 1)])
        yield self._instance(sample)
        for row in TABLE:
            if row.series:
                text = row.help or f"INFO field {row.field}."
                yield _kind(row)(_plain(row.series) if row.is_counter else row.series, text, value=row.number(sample))
        yield from self._databases()
        yield from self._output_limits(sample)
        yield from self._commands()
        yield _family("redis_errors_total", [((prefix,), n) for prefix, n in self.engine.error_stats().items()])
        yield from self._replication(sample)
        yield from self._streams()
        yield from self._event_loop(sample)

    def _instance(self, sample: Mapping[str, Any]) -> Metric:
        facts = {row.field: row for row in TABLE if row.section}
        labels = [str(facts[name].read(sample)) for name in FAMILIES["redis_instance_info"].labels]
        return _family("redis_instance_info", [(labels, 1)])

    def _databases(self) -> Iterable[Metric]:
        found = {db: (keys, expires, ttl_ms) for db, keys, expires, ttl_ms, _ in self.engine.keyspace()}
        found.setdefault(0, (0, 0, 0))
        rows = sorted(found.items())
        yield _family("redis_db_keys", [((f"db{db}",), keys) for db, (keys, _, _) in rows])
        yield _family("redis_db_keys_expiring", [((f"db{db}",), expires) for db, (_, expires, _) in rows])
        yield _family("redis_db_avg_ttl_seconds", [((f"db{db}",), ttl_ms / 1000) for db, (_, _, ttl_ms) in rows])

    def _output_limits(self, sample: Mapping[str, Any]) -> Iterable[Metric]:
        classes = sample["output_limits"].items()
        limits = [((name, limit), n) for name, numbers in classes for limit, n in zip(LIMITS, numbers[:2], strict=True)]
        yield _family("redis_config_client_output_buffer_limit_bytes", limits)
        seconds = [((name, "soft"), numbers[2]) for name, numbers in classes]
        yield _family("redis_config_client_output_buffer_limit_overcome_seconds", seconds)

    def _commands(self) -> Iterable[Metric]:
        rows = self.engine.command_stats()
        yield _family("redis_commands_total", [((name,), calls) for name, calls, *_ in rows])
        yield _family("redis_commands_duration_seconds_total", [((name,), us / 1e6) for name, _, us, *_ in rows])
        yield _family("redis_commands_rejected_calls_total", [((name,), n) for name, _, _, n, _, _ in rows])
        yield _family("redis_commands_failed_calls_total", [((name,), n) for name, _, _, _, n, _ in rows])
        yield _histogram(
            "cachefleet_command_duration_seconds",
            [((name,), counts, us / 1e6) for name, _, us, _, _, counts in rows if any(counts)],
        )

    def _replication(self, sample: Mapping[str, Any]) -> Iterable[Metric]:
        facts = sample.get("replica_facts", ())
        replicas = {(host, str(port), state): (lag, acked) for host, port, state, lag, acked in facts}
        yield _family("redis_connected_slave_offset_bytes", [(labels, n) for labels, (_, n) in replicas.items()])
        yield _family("redis_connected_slave_lag_seconds", [(labels, n) for labels, (n, _) in replicas.items()])
        follows = [(sample["primary_host"], str(sample["primary_port"]))] if "primary_host" in sample else []
        for name, key in (
            ("redis_master_link_up", "primary_link_up"),
            ("redis_master_last_io_seconds_ago", "primary_idle_s"),
            ("redis_master_sync_in_progress", "primary_syncs"),
            ("redis_slave_repl_offset", "replica_offset"),
        ):
            yield _family(name, [(primary, sample[key]) for primary in follows])
        yield _family("redis_slave_info", [((*primary, str(sample["replica_read_only"])), 1) for primary in follows])
        yield _family("redis_slave_priority", [((), sample["replica_priority"]) for _ in follows])

    def _streams(self) -> Iterable[Metric]:
        lengths: list[Series] = []
        rows: list[tuple[Sequence[str], int, int, int | None]] = []
        for db, key in self.streams():
            facts = self.engine.stream_facts(db, key)
            if facts is not None:
                labels = (f"db{db}", _label(key))
                lengths.append((labels, facts[0]))
                rows += [((*labels, _label(name)), n, pending, lag) for name, n, pending, lag in facts[1]]
        yield _family("redis_stream_length", lengths)
        yield _family("redis_stream_group_consumers", [(labels, n) for labels, n, _, _ in rows])
        yield _family("redis_stream_group_messages_pending", [(labels, n) for labels, _, n, _ in rows])
        yield _family("redis_stream_group_lag", [(labels, n) for labels, _, _, n in rows if n is not None])

    def _event_loop(self, sample: Mapping[str, Any]) -> Iterable[Metric]:
        spikes = self.spikes().items()
        yield _family("redis_latency_spike_last", [((event,), at) for event, (at, _) in spikes])
        yield _family("redis_latency_spike_duration_seconds", [((event,), ms / 1000) for event, (_, ms) in spikes])
        ticks = self.engine.tick_histogram()
        yield _histogram("cachefleet_event_loop_tick_seconds", [((), ticks, sample["tick_us"] / 1e6)])
        yield _histogram("cachefleet_event_loop_lag_seconds", [((), *self.lag())])
