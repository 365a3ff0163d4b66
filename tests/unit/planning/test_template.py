"""An operator with a newer pod template: who restarts for it, and when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import NO_DEFAULTS, Defaults, Key, Site
from cachefleet_operator.resources import podspec
from fleettest.snapshots import SITE, cache
from fleettest.world import World

STATEFULSET = Key("StatefulSet", "orders")


def running(site: Site = SITE, **spec: Any) -> World:
    world = World(cache(**spec), site)
    world.settle()
    assert (world.cache.status.phase, world.cache.status.template_generation) == ("Running", 1)
    return world


def uid(world: World) -> str:
    return str(world.objects[Key("Pod", "orders-0")]["metadata"]["uid"])


def upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second generation, with another grace."""
    first = podspec.GENERATIONS[1]
    second = {**podspec.GENERATIONS, 2: lambda of, image: {**first(of, image), "terminationGracePeriodSeconds": 7}}
    monkeypatch.setattr(podspec, "GENERATIONS", second)
    for module in ("cachefleet_operator.resources.statefulset", "cachefleet_operator.planning.template"):
        monkeypatch.setattr(f"{module}.GENERATIONS", second)


PLATFORM = Defaults(("registry",), "fast", "high", {"cost": "1"}, fixed_user=False)


@pytest.mark.parametrize("defaults", [NO_DEFAULTS, PLATFORM])
def test_an_upgrade_writes_and_restarts_nothing(monkeypatch: pytest.MonkeyPatch, defaults: Defaults) -> None:
    world = running(replace(SITE, defaults=defaults))
    before = uid(world)
    upgrade(monkeypatch)
    assert not world.cycle().actions
    world.edit(cache(services={"primary": {"type": "NodePort"}}))
    world.settle()
    assert (uid(world), world.cache.status.template_generation) == (before, 1)


def test_a_pod_that_restarts_for_another_reason_gets_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    world = running()
    before = uid(world)
    upgrade(monkeypatch)
    world.edit(cache(memory={"limit": "512Mi"}))
    world.settle()
    assert uid(world) != before
    assert world.cache.status.template_generation == 2
    assert world.objects[STATEFULSET]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 7


def test_pods_outlive_their_statefulset_with_the_generation_that_they_have(monkeypatch: pytest.MonkeyPatch) -> None:
    world = running()
    before = uid(world)
    upgrade(monkeypatch)
    del world.objects[STATEFULSET]
    world.settle()
    assert STATEFULSET in world.objects
    assert (uid(world), world.cache.status.template_generation) == (before, 1)


def test_a_new_cache_has_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(monkeypatch)
    world = World(cache())
    world.settle()
    assert world.cache.status.template_generation == 2


@pytest.mark.parametrize("written", ["", "1", "9-abc", "one-abc", "1-abc"])
def test_who_spoils_the_note_gets_the_newest(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    world = running()
    upgrade(monkeypatch)
    live = world.objects[STATEFULSET]
    annotations = {**live["metadata"]["annotations"], names.ANNOTATION_TEMPLATE: written}
    world.objects[STATEFULSET] = {**live, "metadata": {**live["metadata"], "annotations": annotations}}
    world.settle()
    assert (world.cache.status.phase, world.cache.status.template_generation) == ("Running", 2)
