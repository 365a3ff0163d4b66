"""The operator's own metrics: what it does is counted, what there is is read when somebody scrapes.

Names begin with cachefleet_operator_; no series carries a Cache's name, so that their number does not grow with the
fleet (each server tells of itself).
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from cachefleet_operator.api.objects import Object
from cachefleet_operator.execution.reconciler import Result
from cachefleet_operator.planning.actions import Action

PREFIX = "cachefleet_operator"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
CONDITIONS = ("Ready", "Progressing", "Degraded", "ConfigApplied")


class Metrics:
    """A Meter (execution/reconciler.py) with a registry of its own."""

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
            f"{PREFIX}_api_requests", "Requests to the API server; code 0: no answer.", ["verb", "kind", "code"],
            registry=r,
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
    ) -> None:
        self._caches, self._leads, self._waiting, self._synced = caches, leads, waiting, synced

    def collect(self) -> Iterator[Metric]:
        statuses = [obj.get("status") or {} for obj in self._caches()]
        yield GaugeMetricFamily(f"{PREFIX}_caches", "Caches that are looked after.", len(statuses))
        conditions = GaugeMetricFamily(
            f"{PREFIX}_cache_conditions", "Caches by condition, status and reason.",
            labels=["condition", "status", "reason"],
        )  # fmt: skip
        for labels, count in sorted(_conditions(statuses).items()):
            conditions.add_metric(labels, count)
        yield conditions
        refusals = sum(len(status.get("refusals") or ()) for status in statuses)
        yield GaugeMetricFamily(f"{PREFIX}_refusals", "Refused changes that stand.", refusals)
        yield GaugeMetricFamily(f"{PREFIX}_leader", "1 = this one acts; the others wait.", int(self._leads()))
        yield GaugeMetricFamily(f"{PREFIX}_synced", "1 = it knows all that there is.", int(self._synced()))
        yield GaugeMetricFamily(f"{PREFIX}_queue_depth", "Reconciles that wait or run.", self._waiting())


def _conditions(statuses: Iterable[Mapping[str, object]]) -> Tally[tuple[str, str, str]]:
    tally: Tally[tuple[str, str, str]] = Tally()
    for status in statuses:
        found = status.get("conditions")
        for condition in found if isinstance(found, list | tuple) else ():
            if condition.get("type") in CONDITIONS:
                tally[condition["type"], condition.get("status", ""), condition.get("reason", "")] += 1
    return tally
