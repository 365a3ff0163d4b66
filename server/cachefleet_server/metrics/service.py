"""Metrics as a part of the server: the sampler behind INFO and /metrics, and the metrics port.

`metrics-port` 0 turns the port off. It listens on `metrics-bind`; there is no authentication, as is usual for a scrape
target: a NetworkPolicy decides who reaches it, and it shows counters only, never values, and no keys but those that
`metrics-streams` names.
"""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from cachefleet_parameters.kinds import OUTPUT_CLASSES_SHOWN
from cachefleet_server.config.config import Config
from cachefleet_server.engine import Engine
from cachefleet_server.errors import StartupError
from cachefleet_server.log import Log
from cachefleet_server.metrics.port import Port
from cachefleet_server.metrics.sample import Sampler, Source
from cachefleet_server.metrics.table import BUCKET_SECONDS, BUCKETS
from cachefleet_server.version import COMPATIBLE_NAME, COMPATIBLE_VERSION, REDIS_VERSION, __version__

RATE_PERIOD_SECONDS = 0.1
_OF_DATABASE = re.compile(r"db([0-9]{1,9})=(.*)", re.DOTALL)
RATE_COUNTERS = ("commands", "net_in", "net_out", "ticks", "tick_us")


class Metrics:
    """`identity` are constant facts; `sources` are the status() of other subsystems."""

    def __init__(
        self,
        engine: Engine,
        config: Config,
        log: Log,
        *,
        identity: Mapping[str, str],
        started: float,
        sources: list[Source],
        spikes: Callable[[], Mapping[str, tuple[int, int]]],
        failing_checks: Callable[[], Mapping[str, str]],
    ) -> None:
        self._engine = engine
        self._config = config
        self._log = log
        self._identity = dict(identity)
        self._failing_checks = failing_checks
        self.sampler = Sampler([engine.stats, self._facts, engine.allocator_stats, *sources], start_time=started)
        self._spikes = spikes
        self._port: Port | None = None
        self._next_rate = 0.0
        self._last_cron = 0.0
        self._lag_counts = [0] * BUCKETS
        self._lag_seconds = 0.0

    def _facts(self) -> dict[str, Any]:
        config = self._config
        return {
            **self._identity,
            "redis_version": REDIS_VERSION,
            "server_name": COMPATIBLE_NAME,
            "valkey_version": COMPATIBLE_VERSION,
            "cachefleet_version": __version__,
            "process_supervised": config.text("supervised"),
            "tcp_port": config.number("port"),
            "hz": config.number("hz"),
            "maxclients": config.number("maxclients"),
            "maxmemory": config.number("maxmemory"),
            "io_threads": config.number("io-threads"),
            "output_limits": dict(zip(OUTPUT_CLASSES_SHOWN, config.value("client-output-buffer-limit"), strict=True)),
            "maxmemory_policy": config.text("maxmemory-policy"),
            "maxmemory_clients": self._engine.get_param("maxmemory_clients"),
            "min_replicas": min(config.number("min-replicas-to-write"), config.number("min-replicas-max-lag")),
            "repl_backlog_size": config.number("repl-backlog-size"),
            "clients_memory": self._engine.clients_memory(),
            "ready": int(not self._failing_checks()),
        }

    def _streams(self) -> list[tuple[int, bytes]]:
        """Those that `metrics-streams` names: "key", or "db3=key" of another database than the first."""
        found: dict[tuple[int, bytes], None] = {}  # each once, or the page would have a series twice
        for word in self._config.value("metrics-streams"):
            match = _OF_DATABASE.fullmatch(word)
            db, key = (int(match[1]), match[2]) if match else (0, word)
            if db < self._config.number("databases"):
                found[db, key.encode("utf-8", "surrogateescape")] = None
        return list(found)

    def _lag(self) -> tuple[list[int], float]:
        return self._lag_counts, self._lag_seconds

    def _scrape_failed(self, error: Exception) -> None:
        self._log.warning(f"Internal error in the metrics port: {''.join(traceback.format_exception(error)).rstrip()}")

    def register(self) -> None: ...

    async def start(self) -> None:
        port = self._config.number("metrics-port")
        if not port:
            return
        # The Prometheus library is 5 MB and a third of all that a start imports.
        from cachefleet_server.metrics.collector import EngineCollector
        from cachefleet_server.metrics.http import Pages

        collector = EngineCollector(self._engine, self.sampler.sample, self._lag, self._spikes, self._streams)
        self._port = Port(Pages(collector, self._failing_checks, self._scrape_failed))
        host = self._config.text("metrics-bind")
        try:
            self._port.open(host, port)
        except OSError as error:
            raise StartupError(f"Can't listen on metrics port {port}: {error.strerror or error}") from None
        self._log.notice(f"Metrics on port {port}: /metrics, /healthz, /readyz")

    def cron(self) -> None:
        now = time.monotonic()
        if self._last_cron:
            lag = max(0.0, now - self._last_cron - 1 / self._config.number("hz"))
            self._lag_counts[min(int(lag / BUCKET_SECONDS).bit_length(), BUCKETS - 1)] += 1
            self._lag_seconds += lag
        self._last_cron = now
        if now >= self._next_rate:
            self._next_rate = now + RATE_PERIOD_SECONDS
            counters = self._engine.counters()
            self.sampler.rates.track(now, {name: counters[name] for name in RATE_COUNTERS})

    async def stop(self) -> None:
        if self._port is not None:
            self._port.close()
