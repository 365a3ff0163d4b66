"""What keeps a Cache alive goes on under a spec that is refused, paused, or cannot be had."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from cachefleet_operator.api import validation
from cachefleet_operator.api.objects import Key
from cachefleet_operator.planning import actions as act
from cachefleet_operator.planning.objects import applied_hash
from cachefleet_operator.planning.refusals import RETRY_S
from fleettest.snapshots import cache
from fleettest.world import World, restarts, settled, told

NODE_PORTS = {"primary": {"type": "NodePort"}, "replicas": {"type": "NodePort"}}
HALTED = {
    "refused": ({"config": {"timeot": "5"}}, "Degraded", "SpecRefused"),
    "refused with another Secret": (
        {"config": {"timeot": "5"}, "auth": {"mode": "secret", "secretRef": {"name": "mine"}}},
        "Degraded", "SpecRefused",
    ),
    "paused": ({"paused": True}, "Progressing", "Paused"),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "condition", "reason"), HALTED.values(), ids=HALTED.keys())
def test_what_is_lost_comes_back_under_a_spec_that_is_not_followed(
    spec: dict[str, Any], condition: str, reason: str
) -> None:
    world = settled(services=NODE_PORTS)
    shaped = ("Service", "StatefulSet")
    before = {key: deepcopy(obj["spec"]) for key, obj in world.objects.items() if key.kind in shaped}
    world.edit(cache(memory={"limit": "2Gi"}, **spec))
    for kind, name in (
        ("Service", "orders-rw"), ("Service", "orders-pods"), ("Secret", "orders-auth"), ("Pod", "orders-0"),
        ("Secret", "orders-server-password"), ("Secret", "orders-binding"), ("StatefulSet", "orders"),
        ("ConfigMap", "orders-config"),
    ):  # fmt: skip
        del world.objects[Key(kind, name)]
    world.servers.clear()
    world.objects[Key("Service", "orders-ro")]["spec"]["selector"] = {"app": "theirs"}
    world.settle()
    assert {key: world.objects[key]["spec"] for key in before} == before, "as it was accepted"
    secrets = {Key("Secret", "orders-auth"), Key("Secret", "orders-binding")}
    assert {*secrets, Key("Pod", "orders-0")} <= world.objects.keys()
    assert not restarts(world)
    told_now = next(c for c in world.cache.status.conditions if c.type == condition)
    assert told_now.reason == reason
    ready = next(c for c in world.cache.status.conditions if c.type == "Ready")
    assert ready.reason == "Serving"
    pod = world.objects[Key("Pod", "orders-0")]
    world.edit(cache(services=NODE_PORTS))
    world.settle()
    assert world.objects[Key("Pod", "orders-0")] == pod, "it runs what was accepted"


def test_a_refused_spec_changes_nothing_that_is_there() -> None:
    world = settled()
    world.edit(cache(config={"timeot": "5", "hz": "20"}, memory={"limit": "2Gi"}, services=NODE_PORTS))
    world.servers["orders-0"]["parameters"]["hz"] = "30"  # by hand, to try something
    world.settle()
    assert not told(world)


@pytest.mark.parametrize("kept", ["", "{", "[]", '{"memory": 7}', '{"config": {"timeot": "1"}}', "[" * 100_000])
def test_an_accepted_spec_that_cannot_be_read_makes_no_pod(kept: str) -> None:
    """What the CRD has checked keeps alive what is there; of parameters and pods nobody can vouch for anything."""
    world = settled()
    world.objects[Key("ConfigMap", "orders-accepted")]["data"]["spec.json"] = kept
    world.edit(cache(config={"timeot": "5"}))
    unmade = Key("StatefulSet", "orders"), Key("ConfigMap", "orders-config")
    for key in (*unmade, Key("Service", "orders-rw")):
        del world.objects[key]
    assert world.survive() == ["apply Service/orders-rw"]
    world.settle()
    assert not any(key in world.objects for key in unmade)
    world.edit(cache())
    world.settle()
    assert all(key in world.objects for key in unmade)
    assert '"limit": "256Mi"' in world.objects[Key("ConfigMap", "orders-accepted")]["data"]["spec.json"]


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "copy lost"])
@pytest.mark.parametrize("asked", ["the same", "paused", "another wrong one"])
def test_an_operator_that_refuses_more_keeps_alive_what_the_one_before_took(
    monkeypatch: pytest.MonkeyPatch, asked: str, lost: bool
) -> None:
    taken: dict[str, Any] = {"podTemplate": {"spec": {"priorityClassName": "high"}}, "config": {"hz": "20"}}
    world = settled(**taken)
    monkeypatch.setitem(validation.POD_DENIED, "priorityClassName", "is refused by now")
    before = deepcopy(world.objects[Key("StatefulSet", "orders")])
    more: dict[str, Any] = {"paused": True} if asked == "paused" else {"config": {"timeot": "5"}}
    world.edit(cache(**{**taken, **(more if asked != "the same" else {})}))
    if lost:
        del world.objects[Key("ConfigMap", "orders-accepted")]
    for key in (Key("Service", "orders-rw"), Key("Service", "orders-pods")):
        del world.objects[key]
        assert world.survive() == [f"apply {key}"]
    del world.objects[Key("Service", "orders-ro")], world.objects[Key("Secret", "orders-auth")]
    world.settle()
    assert Key("Service", "orders-ro") in world.objects
    assert lost or Key("Secret", "orders-auth") in world.objects
    assert world.objects[Key("StatefulSet", "orders")] == before
    assert not restarts(world)


def test_without_a_copy_passwords_and_pods_stay_as_they_are() -> None:
    """How many pods and which password are asked for was never accepted."""
    world = settled(instances=1)
    del world.objects[Key("ConfigMap", "orders-accepted")]
    secrets = {key: deepcopy(obj) for key, obj in world.objects.items() if key.kind == "Secret"}
    world.edit(cache(paused=True, auth={"mode": "none"}, instances=3))
    world.settle()
    assert {key: obj for key, obj in world.objects.items() if key.kind == "Secret"} == secrets
    assert world.objects[Key("StatefulSet", "orders")]["spec"]["replicas"] == 1
    assert not told(world)


def test_a_wrong_spec_that_has_never_been_had_makes_nothing() -> None:
    world = World(cache(config={"timeot": "5"}))
    world.settle()
    assert not told(world) and not world.survive()


def test_a_spec_is_accepted_when_it_is_had_whole() -> None:
    world = settled()

    def kept() -> str:
        return str(world.objects[Key("ConfigMap", "orders-accepted")]["data"]["spec.json"])

    def refuse(action: act.Action) -> tuple[str, str, str, str] | None:
        if isinstance(action, act.Apply) and action.key.kind == "StatefulSet":
            return str(action.key), "object", applied_hash(action.object), "no such priority class"
        return None

    first, world.refuse = kept(), refuse
    world.edit(cache(podTemplate={"spec": {"priorityClassName": "none"}}, services=NODE_PORTS))
    world.settle()
    assert world.objects[Key("Service", "orders-rw")]["spec"]["type"] == "NodePort"
    assert kept() == first
    world.refuse = lambda action: None
    world.now += RETRY_S
    world.settle()
    assert '"priorityClassName": "none"' in kept()


def test_what_is_lost_while_its_new_form_is_refused_comes_back_in_the_old_one() -> None:
    world = settled()

    def refuse(action: act.Action) -> tuple[str, str, str, str] | None:
        if isinstance(action, act.Apply) and "priorityClassName" in str(action.object):
            return str(action.key), "object", applied_hash(action.object), "no such priority class"
        return None

    before, world.refuse = deepcopy(world.objects[Key("StatefulSet", "orders")]["spec"]), refuse
    world.edit(cache(podTemplate={"spec": {"priorityClassName": "none"}}))
    world.settle()
    del world.objects[Key("StatefulSet", "orders")], world.objects[Key("Pod", "orders-0")]
    world.servers.clear()
    world.settle()
    assert world.objects[Key("StatefulSet", "orders")]["spec"] == before
    degraded = next(c for c in world.cache.status.conditions if c.type == "Degraded")
    assert (degraded.reason, degraded.message) == ("ApplyFailed", "StatefulSet/orders: no such priority class")
    assert world.cache.status.conditions[0].reason == "Serving"
    world.refuse = lambda action: None
    world.now += RETRY_S
    world.settle()
    assert "priorityClassName" in str(world.objects[Key("StatefulSet", "orders")]["spec"])
    assert len(restarts(world)) == 1


def test_an_object_that_is_refused_keeps_no_later_one_from_being_written_in_the_same_cycle() -> None:
    world = settled()

    def refuse(action: act.Action) -> tuple[str, str, str, str] | None:
        if isinstance(action, act.Apply) and action.key == Key("Service", "orders-rw"):
            return str(action.key), "object", applied_hash(action.object), "not so many node ports"
        return None

    world.refuse = refuse
    world.edit(cache(services=NODE_PORTS))
    world.cycle()
    assert world.objects[Key("Service", "orders-rw")]["spec"]["type"] == "ClusterIP"
    assert world.objects[Key("Service", "orders-ro")]["spec"]["type"] == "NodePort"


def test_paused_changes_nothing_and_says_so() -> None:
    world = settled()
    world.edit(cache(paused=True, memory={"limit": "2Gi"}, config={"hz": "20"}))
    world.settle()
    assert not told(world)
    assert world.cache.status.phase == "Paused"
    applied = next(c for c in world.cache.status.conditions if c.type == "ConfigApplied")
    assert applied.reason == "Pending", "it speaks of the spec that is asked for"


# -- the fast lane


@pytest.mark.parametrize("spec", [{}, *(spec for spec, *_ in HALTED.values())], ids=["followed", *HALTED])
def test_the_fast_lane_makes_what_is_lost_as_it_was_and_nothing_else(spec: dict[str, Any]) -> None:
    world = settled()
    world.edit(cache(**spec))
    assert not world.survive()
    others = ("Secret", "Pod", "PersistentVolumeClaim")
    records = Key("ConfigMap", "orders-accepted"), Key("ConfigMap", "orders-parameters")
    lost = [key for key in world.objects if key.kind not in others and key not in records]
    assert {key.kind for key in lost} >= {"Service", "ConfigMap", "StatefulSet", "ServiceAccount", "NetworkPolicy"}
    for key in lost:
        before = {name: part for name, part in world.objects.pop(key).items() if name not in ("metadata", "status")}
        assert world.survive() == [f"apply {key}"]
        assert {name: world.objects[key][name] for name in before} == before
    assert not world.survive()


def test_the_fast_lane_puts_back_a_service_and_tells_no_server_anything() -> None:
    world = settled()
    world.objects[Key("Service", "orders-rw")]["spec"]["selector"] = {"app": "theirs"}
    world.objects[Key("Secret", "orders-auth")]["data"] = {}
    world.servers["orders-0"]["parameters"]["hz"] = "30"
    assert world.survive() == ["apply Service/orders-rw"]
    assert "theirs" not in str(world.objects[Key("Service", "orders-rw")]["spec"])


def test_the_fast_lane_makes_a_secret_again_that_is_gone_and_changes_no_password() -> None:
    world = settled()
    users, servers, binding = (Key("Secret", f"orders-{name}") for name in ("auth", "server-password", "binding"))
    had = {key: world.objects[key]["data"] for key in (users, servers, binding)}
    for key in (servers, binding):
        del world.objects[key]
    assert set(world.survive()) == {f"apply {servers}", f"apply {binding}"} or world.survive() == [f"apply {binding}"]
    assert {key: world.objects[key]["data"] for key in had} == had
    world.edit(cache(auth={"mode": "none"}))
    del world.objects[users]
    assert world.survive() == [], "it is not wanted any more"
    assert world.objects[servers]["data"] == had[servers], "a password is changed by the plan alone"


def test_the_fast_lane_makes_nothing_of_a_spec_that_was_never_had_whole() -> None:
    def refuse(action: act.Action) -> tuple[str, str, str, str] | None:
        if isinstance(action, act.Apply) and action.key == Key("Service", "orders-ro"):
            return str(action.key), "object", applied_hash(action.object), "not so many Services"
        return None

    world = World(cache())
    world.refuse = refuse
    world.settle()
    for key in (Key("Secret", "orders-binding"), Key("Service", "orders-rw")):
        del world.objects[key]
    assert world.survive() == []


def test_the_fast_lane_leaves_what_depends_on_the_servers_to_the_plan_while_nobody_has_said_what_they_know() -> None:
    world = settled()
    made = Key("ConfigMap", "orders-config"), Key("StatefulSet", "orders")
    for key in (*made, Key("ConfigMap", "orders-parameters"), Key("Service", "orders-rw")):
        del world.objects[key]
    world.away = True
    assert world.survive() == ["apply Service/orders-rw"]
    world.away = False
    world.settle()
    assert all(key in world.objects for key in made)


def test_the_fast_lane_leaves_what_is_being_made_or_taken_away_to_the_plan() -> None:
    new = World(cache())
    assert not new.survive(), "nothing was accepted yet"
    world = settled()
    world.edit(cache(networkPolicy={"enabled": False}))
    del world.objects[Key("NetworkPolicy", "orders")]
    assert not world.survive(), "it is not wanted any more"
    world.settle()
    world.edit(cache(networkPolicy={"enabled": True}))
    assert not world.survive(), "it is new"
    world.cycle()
    assert Key("NetworkPolicy", "orders") in world.objects
    world.edit(cache(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}))
    del world.objects[Key("Service", "orders-rw")]
    assert not world.survive(), "it goes with its Cache"
    assert not world.cycle().actions, "so it does for the plan"


def test_the_fast_lane_makes_again_what_a_spec_took_away_that_was_not_accepted_yet() -> None:
    world = settled()
    world.edit(cache(networkPolicy={"enabled": False}))
    world.cycle()
    assert Key("NetworkPolicy", "orders") not in world.objects
    world.edit(cache())
    assert world.survive() == ["apply NetworkPolicy/orders"]
    world.settle()
    assert told(world) == ["deleted NetworkPolicy/orders: the spec does not want it any more"]


def test_the_fast_lane_asks_not_again_for_what_was_refused() -> None:
    world = settled()
    del world.objects[Key("Service", "orders-rw")]
    world.refuse = lambda action: (action.subject, "object", applied_hash(action.object), "a quota") \
        if isinstance(action, act.Apply) else None  # fmt: skip
    world.survive()
    assert [refusal.target for refusal in world.cache.status.refusals] == ["Service/orders-rw"]
    world.refuse = lambda action: None
    assert not world.survive()
    world.now += RETRY_S + 1
    assert world.survive() == ["apply Service/orders-rw"]
