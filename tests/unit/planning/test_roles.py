"""Labels of running pods, and those that all that a Cache owns has from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Defaults, Key, Site
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.planning import actions as act
from fleettest.snapshots import SITE, cache, secret
from fleettest.world import World

CONFIGURED: Site = replace(SITE, defaults=Defaults(inherited_labels=("team", "cost")))
CLAIM, SECRETS = "data-orders-0", ("orders-auth", "orders-server-password", "orders-binding")


def of(labels: dict[str, str], **spec: Any) -> Cache:
    return cache(metadata={"labels": labels}, **spec)


def labels(world: World, kind: str, name: str) -> dict[str, str]:
    return dict(world.objects[Key(kind, name)]["metadata"]["labels"])


def test_what_a_cache_owns_has_the_configured_labels_of_it_and_no_others() -> None:
    world = World(of({"team": "shop", "other": "x"}), CONFIGURED)
    world.settle()
    kinds = "Secret", "Service", "StatefulSet", "ConfigMap", "NetworkPolicy", "Pod", "PersistentVolumeClaim"
    assert {key.kind for key in world.objects} >= set(kinds)
    for kind, name in world.objects:
        found = labels(world, kind, name)
        assert found["team"] == "shop", (kind, name)
        assert not {"other", "cost"} & found.keys()
        assert found.get(names.LABEL_CACHE) == "orders" or kind == "PersistentVolumeClaim"


def test_where_nothing_is_configured_nothing_is_inherited() -> None:
    world = World(of({"team": "shop"}))
    world.settle()
    assert not [key for key, obj in world.objects.items() if "team" in obj["metadata"].get("labels", {})]


def test_a_label_that_changes_restarts_nothing() -> None:
    world = World(of({"team": "shop"}), CONFIGURED)
    world.settle()
    before = world.objects[Key("Pod", "orders-0")]["metadata"]["uid"]
    world.edit(of({"team": "pay", "cost": "7"}))
    world.settle()
    assert world.objects[Key("Pod", "orders-0")]["metadata"]["uid"] == before
    found = labels(world, "Pod", "orders-0")
    assert (found["team"], found["cost"], found[names.LABEL_ROLE]) == ("pay", "7", "primary")
    others = ("Service", "orders-rw"), ("PersistentVolumeClaim", CLAIM), *(("Secret", name) for name in SECRETS)
    for kind, name in others:
        assert (labels(world, kind, name)["team"], labels(world, kind, name)["cost"]) == ("pay", "7"), name


def test_a_label_that_a_webhook_refuses_holds_up_no_restart() -> None:
    world = World(of({"team": "shop"}), CONFIGURED)
    world.settle()
    world.refuse = lambda action: (
        (str(action.key), "object", "team", "no labels here") if isinstance(action, act.LabelObject) else None
    )
    before = world.objects[Key("Pod", "orders-0")]["metadata"]["uid"]
    world.edit(of({"team": "pay"}, memory={"limit": "2Gi"}))
    for _ in range(12):
        world.cycle()
    assert world.objects[Key("Pod", "orders-0")]["metadata"]["uid"] != before


def test_a_secret_of_somebody_elses_is_not_labelled() -> None:
    world = World(of({"team": "shop"}, auth={"mode": "secret", "secretRef": {"name": "mine"}}), CONFIGURED)
    world.objects[Key("Secret", "mine")] = secret("mine", password="x")
    world.settle()
    assert "team" not in world.objects[Key("Secret", "mine")]["metadata"].get("labels", {})


def test_labels_that_the_spec_sets_win() -> None:
    own = {"labels": {"team": "own"}}
    world = World(of({"team": "shop"}, podTemplate=own, services={"primary": own}), CONFIGURED)
    world.settle()
    assert labels(world, "Pod", "orders-0")["team"] == labels(world, "Service", "orders-rw")["team"] == "own"
    assert labels(world, "Service", "orders-ro")["team"] == "shop"
