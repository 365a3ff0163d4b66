"""Which spec acts: one row a situation, and that a cycle finds it out once."""

from __future__ import annotations

from typing import Any

import pytest

from cachefleet_operator.api import names, validation
from cachefleet_operator.api.objects import Key, Object
from cachefleet_operator.api.v1alpha1 import CacheStatus
from cachefleet_operator.planning import acting as module
from cachefleet_operator.planning.acting import Acting, acting
from cachefleet_operator.resources.accepted import SPEC, accepted
from fleettest.snapshots import cache, record
from fleettest.world import settled

HAD = {"memory": {"limit": "2Gi"}, "config": {"hz": "20"}, "podTemplate": {"spec": {"priorityClassName": "high"}}}
WRONG = {"config": {"timeot": "5"}}
RUNS = CacheStatus(topology=record())


def of(spec: dict[str, Any], kept: str | None, *, begun: bool = True, replicas: int | None = None) -> Acting:
    objects: dict[Key, Object] = {}
    if kept is not None:
        objects[Key("ConfigMap", names.configmap_accepted("orders"))] = {"data": {SPEC: kept}}
    if replicas is not None:
        objects[Key("StatefulSet", "orders")] = {"spec": {"replicas": replicas}}
    return acting(cache(status=RUNS if begun else None, **spec), objects)


def text(**spec: Any) -> str:
    return str(accepted(cache(**spec))["data"][SPEC])


@pytest.mark.parametrize(
    ("asked", "kept", "kind", "last", "lost"),
    [
        ({}, None, "asked", False, False),
        ({}, "{", "asked", False, False),
        ({}, text(**HAD), "asked", True, False),
        (HAD, text(**HAD), "asked", True, False),
        (WRONG, text(**HAD), "accepted", True, False),
        ({"paused": True}, text(**HAD), "accepted", True, False),
        ({"paused": True, **WRONG}, text(**HAD), "accepted", True, False),
        (WRONG, text(**WRONG), "least", False, False),  # this operator refuses more than the one before
        ({"paused": True}, text(**WRONG), "least", False, False),
        ({"paused": True}, text(paused=True), "least", False, False),
        (WRONG, "[]", "least", False, True),
        (WRONG, None, "least", False, True),
    ],
)
def test_which_one_acts(asked: dict[str, Any], kept: str | None, kind: str, last: bool, lost: bool) -> None:
    found = of(asked, kept)
    assert (found.kind, found.last is not None, found.is_lost) == (kind, last, lost)
    assert found.problems == validation.problems(cache(**asked))
    if found.kind == "asked":
        assert found.cache == cache(status=RUNS, **asked)
    if found.kind == "accepted":
        assert found.cache == found.last == cache(status=RUNS, **HAD)


def test_the_least_of_a_spec_has_no_parameters_and_no_overrides() -> None:
    least = of({"paused": True}, text(**{**HAD, **WRONG})).cache.spec
    assert least.memory.limit == "2Gi", "of the accepted one, as far as the CRD can vouch for it"
    assert (dict(least.config), least.pod_template, least.paused) == ({}, cache().spec.pod_template, False)
    assert of({"instances": 3, **WRONG}, None, replicas=2).cache.spec.instances == 2, "as many as there are"


@pytest.mark.parametrize(("begun", "replicas"), [(False, None), (True, None), (False, 1)])
def test_nothing_acts_where_nothing_has_begun(begun: bool, replicas: int | None) -> None:
    found = of(WRONG, None, begun=begun, replicas=replicas)
    assert found.kind == ("least" if begun or replicas else "none")
    assert found.kind == "least" or found.cache.spec == cache(**WRONG).spec


@pytest.mark.parametrize(
    ("spec", "looks"), [({}, 1), ({"paused": True}, 2), (WRONG, 2)], ids=["asked", "paused", "wrong"]
)
def test_a_cycle_looks_at_each_spec_once(monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], looks: int) -> None:
    """At the one asked for, and at the accepted one if it is another."""
    world = settled()
    world.edit(cache(**spec))
    world.settle()
    looked, read = [], []
    problems, kept = validation._problems, module._kept
    monkeypatch.setattr(validation, "_problems", lambda of: looked.append(of) or problems(of))
    monkeypatch.setattr(module, "_kept", lambda *of: read.append(of) or kept(*of))
    world.cycle()
    assert (len(looked), len(read)) == (looks, 1)
    world.survive()
    assert (len(looked), len(read)) == (2 * looks, 2)
