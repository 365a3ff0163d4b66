"""Single decisions at their borders: who is written, asked, remembered, and when it is looked again."""

from __future__ import annotations

from typing import Any

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object, key_of
from cachefleet_operator.api.v1alpha1 import Cache, Refusal
from cachefleet_operator.planning import auth, config, objects, storage
from cachefleet_operator.planning.actions import OwnClaim, ResizeClaim
from cachefleet_operator.planning.knowledge import knowledge
from cachefleet_operator.planning.moments import stamp
from cachefleet_operator.planning.plan import CONVERGING_S, STEADY_S, plan
from cachefleet_operator.planning.pods import RECENT_S, trouble
from cachefleet_operator.planning.refusals import NAME, OBJECT, REFUSALS_MAX, RETRY_S, is_due, remember
from cachefleet_operator.planning.step import NOTHING
from cachefleet_operator.resources.statefulset import statefulset as build_statefulset
from fleettest.snapshots import NOW, cache, pod, server, snapshot
from fleettest.world import World


def refusal(target: str, subject: str = OBJECT, wish: str = "w", message: str = "no", at: float = NOW) -> Refusal:
    return Refusal(target=target, subject=subject, wish=wish, message=message, at=stamp(at))


def statefulset(size: str = "1Gi", **metadata: Any) -> Object:
    claims = [{"metadata": {"name": names.VOLUME_DATA}, "spec": {"resources": {"requests": {"storage": size}}}}]
    spec = {"volumeClaimTemplates": claims if size else []}
    return {"kind": "StatefulSet", "metadata": {"name": "orders", "uid": "u", **metadata}, "spec": spec}


def claim(requested: str, has: str, ordinal: int = 0) -> Object:
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": names.claim("orders", ordinal)},
        "spec": {"resources": {"requests": {"storage": requested}}},
        "status": {"capacity": {"storage": has}},
    }


# ---- storage


@pytest.mark.parametrize("live", [statefulset(deletionTimestamp=stamp(NOW)), statefulset("")])
def test_volumes_of_a_statefulset_that_goes_or_has_none_do_not_grow(live: Object) -> None:
    wanted = cache(persistence={"storage": {"size": "5Gi"}})
    assert storage.step(snapshot(wanted, live, claim("1Gi", "1Gi")), ()) == NOTHING
    assert storage.step(snapshot(wanted, statefulset(), claim("1Gi", "1Gi")), ()) != NOTHING


@pytest.mark.parametrize("left", [claim("1Gi", "1Gi", 2), claim("5Gi", "1Gi", 2), claim("9Gi", "9Gi", 2)])
def test_claims_of_removed_ordinals_are_left(left: Object) -> None:
    """Nobody mounts them, so that they would never have grown, and what they have too much is nobody's trouble."""
    wanted = cache(persistence={"storage": {"size": "5Gi"}})
    there = snapshot(wanted, statefulset("5Gi"), claim("5Gi", "5Gi"), left)
    assert (storage.step(there, ()), storage.growing(there), storage.mismatch(there)) == (NOTHING, "", "")


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_pod_that_comes_back_to_its_claim_has_it_grown(replicas: int) -> None:
    """Asked for, or there still, as it is a member: both are pods that mount it."""
    wanted = cache(instances=4 - replicas, persistence={"storage": {"size": "5Gi"}})
    live = statefulset("5Gi")
    live["spec"]["replicas"] = replicas
    found = storage.step(snapshot(wanted, live, claim("5Gi", "5Gi"), claim("1Gi", "1Gi", 2)), ())
    assert [action.claim for action in found.actions if isinstance(action, ResizeClaim)] == ["data-orders-2"]
    larger = snapshot(wanted, live, claim("5Gi", "5Gi"), claim("9Gi", "9Gi", 2))
    assert storage.mismatch(larger) == "volume data-orders-2 has 9Gi, which cannot shrink to storage.size 5Gi"


def kept(size: str = "1Gi", kind: str = "fast", **metadata: Any) -> Object:
    found = claim(size, size)
    spec = {**found["spec"], "storageClassName": kind}
    return {**found, "metadata": {**found["metadata"], "resourceVersion": "7", **metadata}, "spec": spec}


@pytest.mark.parametrize(
    ("storage_spec", "found", "words"),
    [
        ({}, [kept()], ""),
        ({"size": "2Gi"}, [kept("1Gi")], ""),
        ({"size": "1Gi"}, [kept("20Gi")], "volume data-orders-0 has 20Gi, which cannot shrink to storage.size 1Gi"),
        ({"size": "0.0001"}, [kept("1m")], ""),
        ({"storageClassName": "fast"}, [kept()], ""),
        ({"storageClassName": "slow"}, [kept()],
         "volume data-orders-0 was found: it is of class fast, which cannot become slow"),
        ({"storageClassName": "slow"}, [], ""),
    ],
)  # fmt: skip
def test_what_a_volume_is_and_cannot_become(storage_spec: dict[str, Any], found: list[Object], words: str) -> None:
    made = plan(snapshot(cache(persistence={"storage": storage_spec}), *found, pod(), servers=[server()]), NOW)
    degraded = next(c for c in made.status.conditions if c.type == "Degraded")
    assert (degraded.reason, degraded.message) == (("StorageRefused", words) if words else ("AsExpected", ""))


@pytest.mark.parametrize(
    ("template", "claims", "replaced"),
    [
        ("20Ti", [], True),  # a quota refused the claim: nothing has that size
        ("20Ti", [claim("20Gi", "20Gi")], True),
        ("20Ti", [claim("20Ti", "20Ti")], False),
        ("20Gi", [claim("20Gi", "20Gi")], False),
    ],
)
def test_a_size_that_was_never_had_can_be_taken_back(template: str, claims: list[Object], replaced: bool) -> None:
    wanted = cache(persistence={"storage": {"size": "20Gi"}})
    step = storage.step(snapshot(wanted, statefulset(template), *claims), ())
    assert [type(a).__name__ for a in step.actions] == ["Delete"] * replaced


OURS = {"apiVersion": "cachefleet.io/v1alpha1", "kind": "Cache", "name": "orders", "uid": "u-1"}
THEIRS = {"apiVersion": "x.test/v1", "kind": "Backup", "name": "b", "uid": "u-9"}


@pytest.mark.parametrize(
    ("policy", "owners", "then"),
    [
        ("Retain", [], None),
        ("Retain", [THEIRS], None),
        ("Retain", [OURS, THEIRS], [THEIRS]),
        ("Delete", [], [OURS]),
        ("Delete", [THEIRS], [THEIRS, OURS]),
        ("Delete", [{**OURS, "uid": "an older one's"}], [OURS]),
        ("Delete", [OURS], None),
    ],
)
def test_volumes_go_with_the_cache_or_outlive_it(policy: str, owners: list[Any], then: list[Any] | None) -> None:
    """Never with the StatefulSet: who deletes that would lose the data of a Cache that goes on."""
    wanted = cache(persistence={"storage": {"reclaimPolicy": policy}})
    assert retention(wanted) == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    actions = storage.owners(snapshot(wanted, kept(ownerReferences=owners))).actions
    assert [(a.version, list(a.owners)) for a in actions if isinstance(a, OwnClaim)] == ([("7", then)] if then else [])
    assert not storage.owners(snapshot(wanted, kept(ownerReferences=owners, deletionTimestamp=stamp(NOW)))).actions


def retention(of: Cache) -> Any:
    return build_statefulset(of, "i:1")["spec"]["persistentVolumeClaimRetentionPolicy"]


@pytest.mark.parametrize(
    ("volumes", "words"),
    [
        ({}, ""),
        (
            {"data-orders-1": "pvc-1"},
            "volume data-orders-1 is being deleted: its data go with its pod, which is not restarted; they stay if "
            "PersistentVolume pvc-1 gets the reclaim policy Retain before that",
        ),
        (
            {"data-orders-0": "pvc-0", "data-orders-1": "", "data-orders-2": "pvc-2"},
            "volumes data-orders-0, data-orders-1, data-orders-2 are being deleted: their data go with their pods, "
            "which are not restarted; they stay if PersistentVolumes pvc-0, pvc-2 get the reclaim policy Retain before "
            "that",
        ),
        (
            {"data-orders-0": "", "data-orders-1": ""},
            "volumes data-orders-0, data-orders-1 are being deleted: their data go with their pods, which are not "
            "restarted",
        ),
    ],
)
def test_all_volumes_that_somebody_deleted_are_told(volumes: dict[str, str], words: str) -> None:
    claims = [
        {"kind": "PersistentVolumeClaim", "metadata": {"name": name, "deletionTimestamp": stamp(NOW)},
         "spec": {"volumeName": volume}}
        for name, volume in volumes.items()
    ]  # fmt: skip
    kept_one = {"kind": "PersistentVolumeClaim", "metadata": {"name": "data-orders-9"}, "spec": {"volumeName": "pvc-9"}}
    assert storage.loss(snapshot(cache(instances=3), *claims, kept_one)) == words
    assert words.startswith(storage.going(snapshot(cache(instances=3), *claims, kept_one)))


def test_a_deleted_volume_keeps_its_pod_and_is_told() -> None:
    world = World(cache())
    world.settle()
    world.objects[Key("PersistentVolumeClaim", "data-orders-0")]["metadata"]["deletionTimestamp"] = stamp(NOW)
    uid = world.objects[Key("Pod", "orders-0")]["metadata"]["uid"]
    world.edit(cache(memory={"limit": "2Gi"}))
    for _ in range(10):
        world.cycle()
    assert world.objects[Key("Pod", "orders-0")]["metadata"]["uid"] == uid
    degraded = next(c for c in world.cache.status.conditions if c.type == "Degraded")
    assert (degraded.status, degraded.reason) == ("True", "VolumeDeleted")
    assert world.cache.status.message.startswith("Volume data-orders-0 is being deleted")
    world.objects[Key("PersistentVolumeClaim", "data-orders-0")]["spec"]["volumeName"] = "pvc-7"
    world.cycle()
    assert "if PersistentVolume pvc-7 gets the reclaim policy Retain" in world.cache.status.message
    del world.objects[Key("PersistentVolumeClaim", "data-orders-0")]["metadata"]["deletionTimestamp"]
    world.settle()
    assert world.objects[Key("Pod", "orders-0")]["metadata"]["uid"] != uid


# ---- objects


def service(applied: str, **ports: int) -> Object:
    metadata = {"name": "orders-rw", "annotations": {names.ANNOTATION_APPLIED: applied}}
    return {"kind": "Service", "metadata": metadata, "spec": dict(ports)}


@pytest.mark.parametrize(
    ("refused", "written"),
    [
        (refusal("Service/orders-rw", wish="hash"), False),
        (refusal("Service/orders-rw", wish="an older hash"), True),
        (refusal("Service/orders-rw", "timeout", wish="hash"), True),
        (refusal("Service/orders-ro", wish="hash"), True),
        (refusal("Service/orders-rw", NAME, wish=""), False),
        (refusal("Service/orders-ro", NAME, wish=""), True),
    ],
)
def test_an_object_that_was_refused_is_not_asked_for_again(refused: Refusal, written: bool) -> None:
    step = objects.step(snapshot(cache()), [service("hash")], [refused])
    assert [action.reason for action in step.actions] == ["created Service/orders-rw"] * written
    assert step.progress == ("Creating" if written else "")


@pytest.mark.parametrize("subject", [NAME, OBJECT])
@pytest.mark.parametrize("kind", sorted(objects.NEEDED))
def test_no_pod_is_made_without_what_it_needs(kind: str, subject: str) -> None:
    refused, wanted = refusal(f"{kind}/orders", subject, wish=""), statefulset()
    step = objects.step(snapshot(cache()), [wanted], [refused])
    assert (step.actions, step.waiting) == ((), f"no pod is made without {kind}/orders")
    there = {"kind": kind, "metadata": {"name": "orders"}}
    assert objects.step(snapshot(cache(), there), [wanted], [refused]).actions, "an older one of ours is there"
    running = objects.step(snapshot(cache(), {**wanted, "spec": {}}), [wanted], [refused])
    assert [a.reason.split(":")[0] for a in running.actions] == ["put StatefulSet/orders back as wanted"]


@pytest.mark.parametrize(("count", "more"), [(3, ""), (4, " and 1 more"), (9, " and 6 more")])
def test_some_of_many_differences_are_said(count: int, more: str) -> None:
    ports = {f"port{i}": 1 for i in range(count)}
    wanted, live = service("hash", **ports), service("hash", **dict.fromkeys(ports, 2))
    (action,) = objects.step(snapshot(cache(), live), [wanted], ()).actions
    shown = "; ".join(f"spec.port{i} is 2, want 1" for i in range(3))
    assert action.reason == f"put {key_of(wanted)} back as wanted: {shown}{more}"


# ---- parameters


@pytest.mark.parametrize("away", [{"error": "timed out"}, {"loading": True}])
def test_a_server_that_is_away_is_not_told_parameters(away: dict[str, Any]) -> None:
    behind = {"parameters": {"timeout": "0"}}
    wanted = cache(config={"timeout": "5"})
    answering, silent = (snapshot(wanted, servers=[server(**behind, **more)]) for more in ({}, away))
    assert config.step(answering, wanted, knowledge(answering), ()) != NOTHING
    assert config.step(silent, wanted, knowledge(silent), ()) == NOTHING


@pytest.mark.parametrize(
    ("target", "wish", "parameters", "still"),
    [
        ("orders-0", "5", {"timeout": "0"}, True),
        ("orders-0", "5", {"timeout": "5"}, False),  # somebody has taken it since
        ("orders-0", "6", {"timeout": "0"}, False),  # the spec says something else by now
        ("orders-1", "5", {"timeout": "0"}, False),  # there is no such pod any more
    ],
)
def test_a_refused_parameter_is_remembered_while_it_is_wanted_and_not_had(
    target: str, wish: str, parameters: dict[str, str], still: bool
) -> None:
    seen = snapshot(cache(config={"timeout": "5"}), pod(), servers=[server(parameters=parameters)])
    assert config.is_refused_still(seen, refusal(target, "timeout", wish), knowledge(seen)) is still


def test_a_maxmemory_that_just_fits_the_container_is_set() -> None:
    world = World(cache())
    world.settle()
    wanted = world.servers["orders-0"]["parameters"]["maxmemory"]
    world.servers["orders-0"]["parameters"]["maxmemory"] = "1"
    world.settle()
    assert world.servers["orders-0"]["parameters"]["maxmemory"] == wanted


# ---- passwords


@pytest.mark.parametrize(
    ("spec", "source"),
    [
        ({"mode": "none"}, None),
        ({"mode": "generated"}, ("orders-auth", "password")),
        ({"mode": "generated", "secretRef": {"name": "mine", "key": "k"}}, ("orders-auth", "password")),
        ({"mode": "secret", "secretRef": {"name": "mine", "key": "k"}}, ("mine", "k")),
        ({"mode": "secret"}, ("orders-auth", "password")),
    ],
)
def test_where_the_password_comes_from(spec: dict[str, Any], source: tuple[str, str] | None) -> None:
    assert auth.source(cache(auth=spec)) == source


def test_only_a_refusal_of_our_own_secrets_stands_in_the_way() -> None:
    ours = refusal("Secret/orders-auth", message="somebody else's")
    others = [refusal("Service/orders-rw"), refusal("Secret/orders-auth", "timeout")]
    assert auth.refused(cache(), [*others, ours]) == "somebody else's"
    assert auth.refused(cache(), others) == ""


# ---- refusals


def test_a_refusal_takes_the_place_of_the_one_before() -> None:
    status = cache().status
    for target, message in (("a", "first"), ("b", "other"), ("a", "second")):
        status = remember(status, target=target, subject=OBJECT, wish="w", message=message, now=NOW)
    assert [(r.target, r.message) for r in status.refusals] == [("b", "other"), ("a", "second")]


def test_the_newest_refusals_are_remembered() -> None:
    status = cache().status
    for i in range(REFUSALS_MAX + 5):
        status = remember(status, target=str(i), subject=OBJECT, wish="w", message="no", now=NOW)
    assert [r.target for r in status.refusals] == [str(i) for i in range(5, REFUSALS_MAX + 5)]


def test_a_refusal_holds_for_a_while() -> None:
    assert not is_due(refusal("a"), NOW + RETRY_S - 1)
    assert is_due(refusal("a"), NOW + RETRY_S)


def test_no_refused_parameter_is_forgotten_for_others() -> None:
    status = remember(cache().status, target="orders-0", subject="hz", wish="1", message="no", now=NOW)
    for i in range(REFUSALS_MAX + 5):
        status = remember(status, target=f"Service/{i}", subject=OBJECT, wish="w", message="no", now=NOW)
    assert status.refusals[0].subject == "hz"
    assert len(status.refusals) == REFUSALS_MAX + 1


# ---- when it is looked again


def test_a_volume_that_grows_is_looked_at_often() -> None:
    world = World(cache())
    world.settle()
    assert world.cycle().wake_after_s == STEADY_S
    world.objects[Key("PersistentVolumeClaim", "data-orders-0")]["status"] = {"capacity": {"storage": "1Mi"}}
    made = world.cycle()
    assert not [a.reason for a in made.actions]
    assert made.wake_after_s == CONVERGING_S


def test_a_death_is_news_for_a_while() -> None:
    def died(age_s: float) -> Object:
        end = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": stamp(NOW - age_s)}}
        return pod(containerStatuses=[{"name": "server", "state": {"running": {}}, "lastState": end}])

    assert trouble(died(RECENT_S), NOW) == "exited with code 1: Error"
    assert trouble(died(RECENT_S + 1), NOW) == ""
