"""What the operator tells of each Cache, its conditions and its primary: the alerts know by it whose Cache it is."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from cachefleet_operator.api.conditions import FLEET_TYPES, REASONS, TYPES
from cachefleet_operator.api.objects import Object
from cachefleet_operator.metrics import Fleet
from cachefleet_operator.planning.moments import stamp
from fleettest import snapshots
from fleettest.fleetworld import FleetWorld

BORN, SINCE = 1_900_000_000, 1_900_000_700


def cache(name: str, conditions: Any, namespace: str = "shop") -> Object:
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": stamp(BORN)}
    return {"metadata": metadata, "status": {"conditions": conditions}}


def condition(kind: str, status: str, reason: str, since: str = stamp(SINCE)) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": since}


def record(pod: str, tenure: int) -> Object:
    return {"epoch": tenure + 1, "tenure": tenure, "primary": {"pod": pod, "disk": "d", "run": "r"}}


def told(name: str, *caches: Object) -> dict[tuple[str, ...], float]:
    """The series of a family by the values of their labels."""
    registry = CollectorRegistry()
    registry.register(Fleet(lambda: caches, lambda: True, lambda: 0, lambda: True))
    (family,) = (f for f in registry.collect() if f.name == f"cachefleet_operator_{name}")
    found = [(tuple(s.labels.values()), s.value) for s in family.samples]
    assert len(dict(found)) == len(found), "Prometheus would refuse all of it"
    return dict(found)


def series(*caches: Object) -> dict[tuple[str, ...], float]:
    return told("cache_condition_since_seconds", *caches)


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
    ready = condition("Ready", "True", "Serving")
    assert list(series(cache("orders", [ready, ready, condition("Odd", "True", "Odd")]))) == [
        ("shop", "orders", "Ready", "True", "Serving")
    ]


def test_every_condition_that_there_is_is_told() -> None:
    kinds = dict.fromkeys(r.condition for r in REASONS)
    found = series(cache("orders", [condition(kind, "False", "Odd") for kind in kinds]))
    assert [condition for _, _, condition, *_ in found] == [*TYPES, *FLEET_TYPES]
    assert set(kinds) == {*TYPES, *FLEET_TYPES}


# -- who is the primary, and since which record


def stored(world: FleetWorld) -> Object:
    """As the API has it."""
    status = world.cache.status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"metadata": {"namespace": "shop", "name": "orders"}, "status": status}


def test_the_primary_is_told_and_only_one() -> None:
    world = FleetWorld(snapshots.cache(instances=3))
    world.rounds()
    assert told("cache_primary", stored(world)) == {("shop", "orders", "orders-0"): 1}
    first = told("cache_tenure", stored(world))
    assert first == {("shop", "orders"): 1}
    world.end("orders-0")
    world.rounds(count=20)
    ((whose, primary),) = ((labels[:2], labels[2]) for labels in told("cache_primary", stored(world)))
    assert whose == ("shop", "orders") and primary in ("orders-1", "orders-2")
    again = told("cache_tenure", stored(world))
    assert again.keys() == first.keys() and again != first
    world.back("orders-0")
    world.rounds(count=20)
    assert told("cache_tenure", stored(world)) == again, "who comes back and follows changes no primary"
    assert told("cache_last_handover", stored(world)) == {("shop", "orders"): 0}, "none of this was planned"


def test_a_handover_is_told_apart_and_remembered_while_the_primary_goes_on() -> None:
    world = FleetWorld(snapshots.cache(instances=3))
    world.rounds()
    world.edit(snapshots.cache(instances=3, podTemplate={"annotations": {"a": "b"}}))
    world.rounds(count=80, between_s=0.1)
    record = world.cache.status.topology
    assert record is not None and record.kind == "continued" and record.primary.pod != "orders-0"
    ((whose, tenure),) = told("cache_tenure", stored(world)).items()
    assert told("cache_last_handover", stored(world)) == {whose: tenure}, "a rollout's"
    world.end(record.primary.pod)
    world.rounds(count=20)
    assert told("cache_last_handover", stored(world)) == {whose: tenure}, "as before"
    assert told("cache_tenure", stored(world))[whose] > tenure


def test_growth_is_no_failover() -> None:
    """The tenure is another one, as the pod that was alone is the first of several; and none of it was a failure."""
    world = FleetWorld(snapshots.cache(instances=1))
    world.rounds()
    whose = ("shop", "orders")
    seen = {(told("cache_tenure", stored(world))[whose], told("cache_last_handover", stored(world))[whose])}
    assert seen == {(1, 0)}
    world.edit(snapshots.cache(instances=3))
    for _ in range(40):
        world.rounds(1)
        seen.add((told("cache_tenure", stored(world))[whose], told("cache_last_handover", stored(world))[whose]))
    record = world.cache.status.topology
    assert record is not None and len(record.members) == 3
    assert len(seen) > 1 and all(tenure == planned for tenure, planned in seen - {(1, 0)})


def test_without_a_record_there_is_no_primary_and_a_cache_that_is_gone_leaves_nothing() -> None:
    one: Object = {**cache("orders", []), "status": {"topology": record("orders-1", 7)}}
    other: Object = {**cache("orders", [], "billing"), "status": {"topology": record("orders-0", 3)}}
    new = cache("carts", [])
    primaries = {("shop", "orders", "orders-1"): 1, ("billing", "orders", "orders-0"): 1}
    assert told("cache_primary", one, other, new) == primaries
    assert told("cache_tenure", one, other, new) == {("shop", "orders"): 7, ("billing", "orders"): 3}
    for name in ("cache_primary", "cache_tenure", "cache_last_handover"):
        assert [labels[:2] for labels in told(name, one, new)] == [("shop", "orders")]
        assert told(name) == told(name, new, {"metadata": new["metadata"]}) == {}


ODD: tuple[Object, ...] = ({}, {"tenure": 2}, {"primary": None, "tenure": 2}, {"primary": {"pod": "a"}, "tenure": "2"})


@pytest.mark.parametrize("odd", ODD)
def test_a_record_that_cannot_be_read_takes_nobody_elses_series(odd: Object) -> None:
    one, broken = ({**cache(name, []), "status": {"topology": found}} for name, found in
                   (("orders", record("orders-1", 7)), ("carts", odd)))  # fmt: skip
    for name in ("cache_primary", "cache_tenure", "cache_last_handover"):
        assert [labels[:2] for labels in told(name, broken, one)] == [("shop", "orders")]
