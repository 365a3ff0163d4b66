"""The operator's own metrics: what it does is counted, what there is is read when somebody scrapes.

Names begin with cachefleet_operator_; no series carries a Cache's name, so that their number does not grow with the
fleet (each server tells of itself).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from cachefleet_operator.api.conditions import TYPES
from cachefleet_operator.api.objects import Object
from cachefleet_operator.execution.reconciler import Result
from cachefleet_operator.planning.actions import Action
from cachefleet_operator.planning.moments import seconds

PREFIX = "cachefleet_operator"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


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
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._caches, self._leads, self._waiting, self._synced = caches, leads, waiting, synced
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        statuses = [obj.get("status") or {} for obj in self._caches()]
        yield GaugeMetricFamily(f"{PREFIX}_caches", "Caches that are looked after.", len(statuses))
        yield from self._conditions(statuses)
        refusals = sum(len(status.get("refusals") or ()) for status in statuses)
        yield GaugeMetricFamily(f"{PREFIX}_refusals", "Refused changes that stand.", refusals)
        yield GaugeMetricFamily(f"{PREFIX}_leader", "1 = this one acts; the others wait.", int(self._leads()))
        yield GaugeMetricFamily(f"{PREFIX}_synced", "1 = it knows all that there is.", int(self._synced()))
        yield GaugeMetricFamily(f"{PREFIX}_queue_depth", "Reconciles that wait or run.", self._waiting())

    def _conditions(self, statuses: Iterable[Mapping[str, object]]) -> Iterator[Metric]:
        labels, now = ["condition", "status", "reason"], self._clock()
        counts = GaugeMetricFamily(
            f"{PREFIX}_cache_conditions", "Caches by condition, status and reason.", labels=labels
        )
        ages = GaugeMetricFamily(
            f"{PREFIX}_cache_condition_age_seconds", "How long the one of them that has the status longest has had it.",
            labels=labels,
        )  # fmt: skip
        for values, since in sorted(_conditions(statuses).items()):
            counts.add_metric(values, len(since))
            ages.add_metric(values, max(0.0, now - min((at for at in since if at), default=now)))
        return iter((counts, ages))


def _conditions(statuses: Iterable[Mapping[str, object]]) -> dict[tuple[str, str, str], list[float]]:
    """(type, status, reason) -> since when each Cache that says so has had the status."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for status in statuses:
        conditions = status.get("conditions")
        for condition in conditions if isinstance(conditions, list | tuple) else ():
            if condition.get("type") in TYPES:
                key = (condition["type"], condition.get("status", ""), condition.get("reason", ""))
                found.setdefault(key, []).append(seconds(condition.get("lastTransitionTime", "")))
    return found
