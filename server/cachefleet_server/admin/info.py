"""INFO: sections from the metrics table, plus the ones with a line per command, error or database.

Sections as in Valkey: no argument = the default ones; "all" and "everything" add command statistics; several names may
be given; order is the table's, unknown names are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cachefleet_server.engine import Client, Engine
from cachefleet_server.metrics.table import TABLE
from cachefleet_server.replies import Reply, Verbatim

DEFAULT = (
    "server", "clients", "memory", "persistence", "stats", "replication", "cpu", "modules", "errorstats", "cluster",
    "keyspace",
)  # fmt: skip
ORDER = (
    "server", "clients", "memory", "persistence", "stats", "replication", "cpu", "modules", "commandstats",
    "errorstats", "latencystats", "cluster", "keyspace",
)  # fmt: skip
TITLES = {name: name.capitalize() for name in ORDER} | {"cpu": "CPU"}
BUCKET_US = 1.024


def percentile_us(histogram: Sequence[int], calls: int, percentile: float) -> float:
    """An estimate in microseconds: calls are taken to lie evenly in the bucket that the percentile falls into."""
    wanted = calls * percentile / 100
    total = 0
    for i, count in enumerate(histogram):
        if count and total + count >= wanted:
            high = BUCKET_US * (1 << i)
            low = high / 2 if i else 0.0
            return low + (high - low) * (wanted - total) / count
        total += count
    return 0.0


class Info:
    """`parameter` gives the value of latency-tracking and latency-tracking-info-percentiles."""

    def __init__(self, engine: Engine, sample: Callable[[], dict[str, Any]], parameter: Callable[[str], Any]) -> None:
        self.engine = engine
        self.sample = sample
        self.parameter = parameter

    def command(self, client: Client, argv: list[bytes]) -> Reply:
        """INFO [section ...]"""
        return Verbatim("txt", self.text([word.decode("latin-1").lower() for word in argv[1:]]))

    def text(self, words: Sequence[str] = ()) -> str:
        wanted: set[str] = set()
        for word in words or ("default",):
            if word in ("all", "everything"):
                wanted |= set(ORDER)
            elif word == "default":
                wanted |= set(DEFAULT)
            else:
                wanted.add(word)
        sample = self.sample()
        sections = [self._section(name, sample) for name in ORDER if name in wanted]
        return "\r\n".join(sections)

    def _section(self, name: str, sample: dict[str, Any]) -> str:
        special = getattr(self, f"_{name}", None)
        if special is not None:
            lines = special()
        else:
            lines = [
                line
                for row in TABLE
                if row.section.lower() == name and (row.show is None or row.show(sample))
                for line in _lines(row.field, row.read(sample))
            ]
        return "".join(f"{line}\r\n" for line in [f"# {TITLES[name]}", *lines])

    def _modules(self) -> list[str]:
        return []

    def _commandstats(self) -> list[str]:
        return [
            f"cmdstat_{name}:calls={calls},usec={us},usec_per_call={us / calls if calls else 0:.2f},"
            f"rejected_calls={rejected},failed_calls={failed}"
            for name, calls, us, rejected, failed, _ in self.engine.command_stats()
        ]

    def _errorstats(self) -> list[str]:
        return [f"errorstat_{prefix}:count={n}" for prefix, n in sorted(self.engine.error_stats().items())]

    def _latencystats(self) -> list[str]:
        if not self.parameter("latency-tracking"):
            return []
        percentiles = self.parameter("latency-tracking-info-percentiles")
        lines = []
        for name, _, _, _, _, histogram in self.engine.command_stats():
            calls = sum(histogram)
            if calls:
                values = ",".join(f"p{p:g}={percentile_us(histogram, calls, p):.3f}" for p in percentiles)
                lines.append(f"latency_percentiles_usec_{name}:{values}")
        return lines

    def _keyspace(self) -> list[str]:
        return [
            f"db{db}:keys={n},expires={e},avg_ttl={ttl},keys_with_volatile_items={timed}"
            for db, n, e, ttl, timed in self.engine.keyspace()
        ]


def _lines(field: str, value: Any) -> list[str]:
    """A tuple is as many lines, with a number behind the field's name."""
    if isinstance(value, tuple):
        return [f"{field}{i}:{each}" for i, each in enumerate(value)]
    return [f"{field}:{_show(value)}"]


def _show(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
