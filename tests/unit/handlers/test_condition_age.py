"""The age of conditions, by which alerts know one that lasts from many that come and go."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from cachefleet_operator.metrics import Fleet
from cachefleet_operator.planning.moments import stamp

NOW = 1_900_000_000
LABELS = {"condition": "Ready", "status": "False", "reason": "NotServing"}


def cache(since: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "False", "reason": "NotServing", "lastTransitionTime": since}
    return {"status": {"conditions": [condition]}}


def age(*caches: dict[str, Any]) -> float | None:
    registry = CollectorRegistry()
    registry.register(Fleet(lambda: caches, lambda: True, lambda: 0, lambda: True, clock=lambda: float(NOW)))
    return registry.get_sample_value("cachefleet_operator_cache_condition_age_seconds", LABELS)


def test_it_is_that_of_the_oldest() -> None:
    assert age(cache(stamp(NOW - 30)), cache(stamp(NOW - 700)), cache(stamp(NOW - 5))) == 700
    assert age() is None


def test_what_cannot_be_read_is_young() -> None:
    assert age(cache("yesterday")) == 0
    assert age(cache("")) == 0
    assert age(cache("yesterday"), cache(stamp(NOW - 40))) == 40


def test_a_clock_that_is_behind_makes_no_negative_age() -> None:
    assert age(cache(stamp(NOW + 60))) == 0
