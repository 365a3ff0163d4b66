"""What the operator tells of each Cache's conditions: the alerts know by it whose Cache it is, and since when."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from cachefleet_operator.api.objects import Object
from cachefleet_operator.metrics import Fleet
from cachefleet_operator.planning.moments import stamp

BORN, SINCE = 1_900_000_000, 1_900_000_700


def cache(name: str, conditions: Any, namespace: str = "shop") -> Object:
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": stamp(BORN)}
    return {"metadata": metadata, "status": {"conditions": conditions}}


def condition(kind: str, status: str, reason: str, since: str = stamp(SINCE)) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": since}


def series(*caches: Object) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(Fleet(lambda: caches, lambda: True, lambda: 0, lambda: True))
    (family,) = (f for f in registry.collect() if f.name == "cachefleet_operator_cache_condition_since_seconds")
    names = ("namespace", "cache", "condition", "status", "reason")
    return {tuple(s.labels[name] for name in names): s.value for s in family.samples}


def test_each_condition_of_each_cache_is_told() -> None:
    ready, wrong = condition("Ready", "True", "Serving"), condition("Degraded", "True", "PodFailing")
    assert series(cache("orders", [ready, wrong]), cache("orders", [ready], "billing")) == {
        ("shop", "orders", "Ready", "True", "Serving"): SINCE,
        ("shop", "orders", "Degraded", "True", "PodFailing"): SINCE,
        ("billing", "orders", "Ready", "True", "Serving"): SINCE,
    }
    assert series() == {}


def test_a_cache_without_a_status_is_not_known_to_be_ready() -> None:
    """Since it began: so nobody waits for it in silence."""
    expected = {("shop", "orders", "Ready", "Unknown", "NoStatus"): BORN}
    assert series(cache("orders", None)) == expected
    assert series(cache("orders", [])) == expected
    assert series({"metadata": cache("orders", None)["metadata"]}) == expected


def test_a_time_that_cannot_be_read_is_the_caches_own() -> None:
    """And not 1970, which every alert would take for very long."""
    for since in ("yesterday", ""):
        found = series(cache("orders", [condition("Ready", "False", "NotServing", since)]))
        assert found == {("shop", "orders", "Ready", "False", "NotServing"): BORN}


def test_what_others_wrote_is_passed_over_and_nothing_is_told_twice() -> None:
    """Prometheus would refuse all of it."""
    ready = condition("Ready", "True", "Serving")
    assert list(series(cache("orders", [ready, ready, condition("Odd", "True", "Odd")]))) == [
        ("shop", "orders", "Ready", "True", "Serving")
    ]
