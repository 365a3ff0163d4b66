"""What the platform gives to Caches that say nothing: who says something keeps it, and volumes keep their class."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Defaults, Key, Object
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.planning import storage
from cachefleet_operator.resources.desired import desired
from cachefleet_operator.resources.podspec import pod_template
from fleettest.snapshots import SITE, cache, snapshot
from fleettest.world import World

IMAGE = "registry.test/cachefleet-server:1.0.0"
PLATFORM = Defaults(("registry", "mirror"), "fast", "high", {"cost": "1", "team": "platform"}, fixed_user=False)


def pod(of: Cache, defaults: Defaults = PLATFORM) -> Any:
    return pod_template(of, IMAGE, defaults)


def pod_of(**spec: Any) -> Any:
    return pod(cache(podTemplate={"spec": spec}))["spec"]


def test_pods_get_what_the_platform_says() -> None:
    spec = pod(cache())["spec"]
    assert spec["imagePullSecrets"] == [{"name": "registry"}, {"name": "mirror"}]
    assert spec["priorityClassName"] == "high"


def test_who_says_something_keeps_it() -> None:
    """A list is not added to: a Secret that is not in the namespace would only raise events."""
    assert pod_of(imagePullSecrets=[{"name": "mine"}])["imagePullSecrets"] == [{"name": "mine"}]
    assert pod_of(imagePullSecrets=[]).get("imagePullSecrets", []) == []
    assert pod_of(priorityClassName="low")["priorityClassName"] == "low"
    context = pod_of(securityContext={"runAsUser": 7})["securityContext"]
    assert (context["runAsUser"], context.get("runAsGroup"), context["runAsNonRoot"]) == (7, None, True)
    assert pod_of(securityContext={"$patch": "replace", "runAsUser": 7})["securityContext"]["runAsUser"] == 7
    assert "securityContext" not in pod_of(securityContext=None)


def test_users_can_be_left_to_the_cluster() -> None:
    """What restricted-v2 of OpenShift takes, and Pod Security `restricted`, too."""
    assert pod(cache())["spec"]["securityContext"] == {
        "runAsNonRoot": True, "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    fixed = pod(cache(), Defaults())["spec"]["securityContext"]
    assert (fixed["runAsUser"], fixed["runAsGroup"], fixed["fsGroup"]) == (65532, 65532, 65532)


def test_without_a_platform_templates_are_what_they_were() -> None:
    assert pod(cache(), Defaults()) == pod_template(cache(), IMAGE)


def test_labels_are_on_every_object_and_pod_and_others_win() -> None:
    of = cache(podTemplate={"labels": {"team": "shop"}}, monitoring={"labels": {"team": "watchers"}})
    site = replace(SITE, defaults=PLATFORM, kinds=frozenset({"PodMonitor"}))
    objects = {obj["kind"]: obj for obj in desired(of, site, IMAGE)}
    assert {kind for kind, obj in objects.items() if obj["metadata"]["labels"]["cost"] != "1"} == set()
    assert objects["PodMonitor"]["metadata"]["labels"]["team"] == "watchers"
    assert objects["StatefulSet"]["metadata"]["labels"]["team"] == "platform"
    labels = objects["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert (labels["cost"], labels["team"]) == ("1", "shop")


def test_labels_of_ours_are_not_the_platforms_to_choose() -> None:
    taken = Defaults(labels=dict.fromkeys((*names.labels("orders"), names.LABEL_ROLE), "taken"))
    (made,) = (obj for obj in desired(cache(), replace(SITE, defaults=taken), IMAGE) if obj["kind"] == "StatefulSet")
    assert "taken" not in made["spec"]["template"]["metadata"]["labels"].values()
    assert {made["metadata"]["labels"][name] for name in names.labels("orders")} == set(names.labels("orders").values())
    (plain,) = (obj for obj in desired(cache(), SITE, IMAGE) if obj["kind"] == "StatefulSet")
    assert made["spec"]["selector"] == plain["spec"]["selector"]


# -- the class of volumes


def fitted(of: Cache, *live: Object, defaults: Defaults = PLATFORM) -> Any:
    facts = replace(snapshot(of, *live), site=replace(SITE, defaults=defaults))
    found = storage.fitting(facts, desired(of, facts.site, IMAGE))
    return next(obj for obj in found if obj["kind"] == "StatefulSet")


def classes(statefulset: Object) -> list[str | None]:
    return [t["spec"].get("storageClassName") for t in statefulset["spec"].get("volumeClaimTemplates", ())]


def test_new_volumes_have_the_platforms_class() -> None:
    assert classes(fitted(cache())) == ["fast"]
    assert classes(fitted(cache(), defaults=Defaults())) == [None]
    assert classes(fitted(cache(persistence={"mode": "none"}))) == []


@pytest.mark.parametrize(("before", "after"), [("", "fast"), ("slow", "fast"), ("slow", "")])
def test_volumes_that_live_keep_theirs(before: str, after: str) -> None:
    """A StatefulSet's template cannot change: the API server would refuse every later change of it."""
    live = fitted(cache(), defaults=Defaults(storage_class=before))
    later = fitted(cache(), live, defaults=Defaults(storage_class=after))
    assert later == live
    assert classes(later) == [before or None]
    assert storage.mismatch(snapshot(cache(), live)) == ""


# -- a setting that changes


def settled(defaults: Defaults) -> tuple[World, str]:
    """A running Cache under these, and its pod."""
    world = World(cache(), replace(SITE, defaults=defaults))
    world.settle()
    return world, uid(world)


def uid(world: World) -> str:
    return str(world.objects[Key("Pod", "orders-0")]["metadata"]["uid"])


def test_another_class_changes_nothing_that_lives() -> None:
    world, _ = settled(Defaults(storage_class="slow"))
    world.upgrade(replace(SITE, defaults=Defaults(storage_class="fast")))
    assert not world.cycle().actions


def test_what_changes_the_pod_restarts_it_once() -> None:
    world, before = settled(Defaults())
    world.upgrade(replace(SITE, defaults=Defaults(labels={"cost": "1"})))
    world.settle()
    after = uid(world)
    assert after != before
    assert world.objects[Key("Service", "orders-rw")]["metadata"]["labels"]["cost"] == "1"
    world.settle()
    assert uid(world) == after
