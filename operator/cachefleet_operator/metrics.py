"""The operator's own metrics: what it does is counted, what there is is read when somebody scrapes.

Names begin with cachefleet_operator_. Of a Cache it tells what its server cannot tell, because there may be none: the
conditions, one series each, and what the record says: who is the primary, and since which record. The label `namespace`
is the Cache's, and `pod` its primary's (the chart's monitor has honorLabels). Without a record there is none of these.

Failovers are changes of the tenure, less those that were planned: hand-overs, and growth from one pod to several, the
last of which the record remembers. They are no counter: a counter of the operator's own begins anew with its process,
and a node that ends may have had both, the operator and a primary.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from cachefleet_operator.api.conditions import FLEET_TYPES, READY, TYPES
from cachefleet_operator.api.objects import Object
from cachefleet_operator.execution.cycle import Result
from cachefleet_operator.planning.actions import Action
from cachefleet_operator.planning.moments import seconds
from cachefleet_operator.planning.snapshot import Server

PREFIX = "cachefleet_operator"
NO_STATUS = "NoStatus"  # the reason of a Cache that has none
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """A Meter (execution/cycle.py) with a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        r = self.registry
        self._reconciles = Counter(f"{PREFIX}_reconcile", "Reconciles by how they ended.", ["result"], registry=r)
        self._duration = Histogram(
            f"{PREFIX}_reconcile_duration_seconds", "Time that a reconcile took.", buckets=SECONDS, registry=r
        )
        self._actions = Counter(f"{PREFIX}_actions", "Actions done, by type.", ["action"], registry=r)
        self._requests = Counter(
            f"{PREFIX}_api_requests", "Requests to the API server, watches apart; code 0: no answer.",
            ["verb", "kind", "code"], registry=r,
        )  # fmt: skip

    def reconciled(self, result: Result, duration_s: float) -> None:
        self._reconciles.labels(result).inc()
        self._duration.observe(duration_s)

    def acted(self, action: Action) -> None:
        self._actions.labels(type(action).__name__).inc()

    def requested(self, verb: str, kind: str, code: int) -> None:
        self._requests.labels(verb, kind, str(code)).inc()


class Fleet(Collector):
    """What there is now. `caches` are the objects as the API has them."""

    def __init__(
        self,
        caches: Callable[[], Iterable[Object]],
        leads: Callable[[], bool],
        waiting: Callable[[], int],
        synced: Callable[[], bool],
        servers: Callable[[], Iterable[Server]] = tuple,
    ) -> None:
        self._caches, self._leads, self._waiting, self._synced = caches, leads, waiting, synced
        self._servers = servers

    def collect(self) -> Iterator[Metric]:
        caches = list(self._caches())
        yield GaugeMetricFamily(f"{PREFIX}_caches", "Caches that are looked after.", len(caches))
        conditions = GaugeMetricFamily(
            f"{PREFIX}_cache_condition_since_seconds", "Unix time since when a Cache's condition has had this status.",
            labels=["namespace", "cache", "condition", "status", "reason"],
        )  # fmt: skip
        for cache in caches:
            for condition, status, reason, since in _conditions(cache):
                conditions.add_metric([*_whose(cache), condition, status, reason], since)
        yield conditions
        yield from _records(caches)
        refusals = sum(len((cache.get("status") or {}).get("refusals") or ()) for cache in caches)
        yield GaugeMetricFamily(f"{PREFIX}_refusals", "Refused changes that stand.", refusals)
        servers = GaugeMetricFamily(f"{PREFIX}_servers", "Servers that are asked all the time.", labels=["state"])
        known = list(self._servers())
        silent = sum(bool(server.error) for server in known)
        servers.add_metric(["answers"], len(known) - silent)
        servers.add_metric(["silent"], silent)
        yield servers
        now = time.time()
        ages = [now - server.seen_at for server in known if server.seen_at and not server.error]
        yield GaugeMetricFamily(
            f"{PREFIX}_server_facts_age_seconds", "How long ago the servers that answer were all heard.",
            max(ages, default=0.0),
        )  # fmt: skip
        yield GaugeMetricFamily(f"{PREFIX}_leader", "1 = this one acts; the others wait.", int(self._leads()))
        yield GaugeMetricFamily(f"{PREFIX}_synced", "1 = it knows all that there is.", int(self._synced()))
        yield GaugeMetricFamily(f"{PREFIX}_queue_depth", "Reconciles that wait or run.", self._waiting())


def _whose(cache: Object) -> tuple[str, str]:
    return cache["metadata"]["namespace"], cache["metadata"]["name"]


def _records(caches: Iterable[Object]) -> Iterator[Metric]:
    primaries = GaugeMetricFamily(
        f"{PREFIX}_cache_primary", "1: this pod is the Cache's primary, by its record.",
        labels=["namespace", "cache", "pod"],
    )  # fmt: skip
    tenures = GaugeMetricFamily(
        f"{PREFIX}_cache_tenure", "Number of the record that made the Cache's primary the primary.",
        labels=["namespace", "cache"],
    )  # fmt: skip
    handovers = GaugeMetricFamily(
        f"{PREFIX}_cache_last_handover", "Number of the last record by which a primary handed over, or a Cache of one "
        "pod became one of several; 0: none has.", labels=["namespace", "cache"],
    )  # fmt: skip
    for cache in caches:
        match cache.get("status"):
            case {"topology": {"primary": {"pod": str(pod)}, "tenure": int(tenure), **more}}:
                primaries.add_metric([*_whose(cache), pod], 1)
                tenures.add_metric(_whose(cache), tenure)
                last = more.get("handedOver")
                handovers.add_metric(_whose(cache), last if isinstance(last, int) else 0)
    yield primaries
    yield tenures
    yield handovers


def _conditions(cache: Object) -> Iterator[tuple[str, str, str, float]]:
    """(type, status, reason, since when). A Cache of which nobody could write a status is not known to be ready."""
    found = (cache.get("status") or {}).get("conditions")
    by_type = {c.get("type"): c for c in found} if isinstance(found, list | tuple) else {}
    begin = seconds(cache["metadata"].get("creationTimestamp", ""))
    if READY not in by_type:
        yield READY, "Unknown", NO_STATUS, begin
    for name in (*TYPES, *FLEET_TYPES):
        if (c := by_type.get(name)) is not None:
            yield name, c.get("status", ""), c.get("reason", ""), seconds(c.get("lastTransitionTime", "")) or begin
