"""Caches of more than one pod, from probe to label: the whole plan and the cycle over the server's own machines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cachefleet_operator.api import conditions, names, validation
from cachefleet_operator.api.names import ANNOTATION_DATA_FROM as DATA_FROM
from cachefleet_operator.api.objects import Key
from cachefleet_operator.planning.actions import PauseServer
from cachefleet_operator.planning.failover import handover
from cachefleet_operator.planning.moments import stamp
from fleettest.fleetworld import FleetWorld
from fleettest.snapshots import cache


def started(instances: int = 3, **spec: Any) -> FleetWorld:
    world = FleetWorld(cache(instances=instances, **spec))
    world.rounds()
    return world


def stands(world: FleetWorld) -> Any:
    found = world.cache.status.topology
    assert found is not None
    return found


def labels(world: FleetWorld) -> dict[str, str]:
    pods = {key.name: obj for key, obj in world.objects.items() if key.kind == "Pod"}
    return {name: pod["metadata"]["labels"].get(names.LABEL_ROLE, "") for name, pod in sorted(pods.items())}


def said(world: FleetWorld, kind: str) -> tuple[str, str]:
    found = next(c for c in world.cache.status.conditions if c.type == kind)
    return found.status, found.reason


def reading(world: FleetWorld) -> list[str]:
    pods = {key.name: obj for key, obj in world.objects.items() if key.kind == "Pod"}
    return [name for name, pod in sorted(pods.items()) if names.LABEL_READS in pod["metadata"]["labels"]]


def writers(world: FleetWorld) -> list[str]:
    return [f"orders-{s.name}" for s in world.fleet.servers if s.machine.may_write(world.now)]


def test_the_first_primary_and_its_replicas() -> None:
    world = started()
    found = stands(world)
    assert (found.kind, found.primary.pod, found.acks) == ("first", "orders-0", 1)
    assert [m.pod for m in found.members] == ["orders-0", "orders-1", "orders-2"]
    assert all(m.claim_uid == world.objects[Key("PersistentVolumeClaim", f"data-{m.pod}")]["metadata"]["uid"]
               for m in found.members)  # fmt: skip
    assert labels(world) == {"orders-0": "primary", "orders-1": "replica", "orders-2": "replica"}
    assert writers(world) == ["orders-0"]
    assert reading(world) == ["orders-1", "orders-2"]
    assert said(world, conditions.PRIMARY_HEALTHY) == ("True", "Reigning")
    assert said(world, conditions.REPLICATION_HEALTHY) == ("True", "InSync")
    selector = world.objects[Key("Service", "orders-rw")]["spec"]["selector"]
    assert selector[names.LABEL_ROLE] == "primary"


def test_in_steady_state_nothing_is_written_or_told() -> None:
    world = started()
    world.writes.clear()
    world.rounds(4)
    assert not world.survive()
    assert not world.writes


def test_under_writes_nothing_is_written_or_told_either() -> None:
    """What moves with each change is in the status, as it was when something else was said."""
    world = started()
    primary, before = world.machine("orders-0"), {pod.name: pod.offset for pod in world.cache.status.pods}
    assert [pod.link for pod in world.cache.status.pods] == ["", "up", "up"]
    world.writes.clear()
    for _ in range(10):
        for _ in range(5):
            primary.write()
        world.rounds(1)
    assert not world.writes
    world.edit(cache(instances=3, config={"timeout": "5"}))
    world.rounds(4)
    assert all(pod.offset >= before[pod.name] + 50 for pod in world.cache.status.pods)


def test_a_primary_that_ends_is_replaced_and_comes_back_as_a_replica() -> None:
    world = started()
    world.end("orders-0")
    world.flow(3.0)
    world.events.clear()
    world.rounds()
    found = stands(world)
    assert found.primary.pod == "orders-1"
    assert labels(world) | {"orders-0": ""} == {"orders-0": "", "orders-1": "primary", "orders-2": "replica"}
    assert labels(world)["orders-0"] != "primary"
    assert writers(world) == ["orders-1"]
    assert said(world, conditions.READY) == ("True", "Serving")
    assert [word for _, word, _ in world.events if word == "PrimaryChanged"] == ["PrimaryChanged"]
    assert said(world, conditions.PRIMARY_HEALTHY) == ("True", "Reigning")
    assert said(world, conditions.REPLICATION_HEALTHY) == ("False", "Degraded")
    world.back("orders-0")
    for _ in range(12):
        world.rounds(1)
        assert said(world, conditions.READY) == ("True", "Serving"), "who comes back is not the one that serves"
    assert labels(world) == {"orders-0": "replica", "orders-1": "primary", "orders-2": "replica"}
    assert len(stands(world).members) == 3
    assert said(world, conditions.REPLICATION_HEALTHY) == ("True", "InSync")


def test_writes_that_wait_in_vain_for_their_copies_are_said() -> None:
    world = started(durability={"mode": "replicated", "copies": 1, "whenMissing": "refuse"})
    before = stands(world)
    for pod in ("orders-1", "orders-2"):
        world.end(pod)
    world.flow(3.0)
    world.rounds()
    assert stands(world).members == before.members and not writers(world)
    assert said(world, conditions.PRIMARY_HEALTHY) == ("False", "WaitingForMember")
    assert said(world, conditions.READY) == ("False", "NotServing")
    assert said(world, conditions.REPLICATION_HEALTHY) == ("False", "Degraded")
    world.back("orders-2")
    world.rounds()
    assert writers(world) == ["orders-0"] and stands(world).tenure == before.tenure
    assert said(world, conditions.PRIMARY_HEALTHY) == ("True", "Reigning")
    assert said(world, conditions.READY) == ("True", "Serving")
    assert said(world, conditions.REPLICATION_HEALTHY) == ("False", "Degraded")


def test_who_keeps_writes_waiting_is_restarted_by_a_spec_that_may_be_its_cure() -> None:
    sure = {"mode": "replicated", "copies": 1, "whenMissing": "refuse"}
    world = started(2, durability=sure)
    world.apart.add("orders-1")  # it is ready, and confirms nothing
    world.flow(4.0)
    world.rounds()
    assert said(world, conditions.PRIMARY_HEALTHY) == ("False", "WaitingForMember")
    before = world.objects[Key("Pod", "orders-1")]["metadata"]["uid"]
    world.edit(cache(instances=2, durability=sure, memory={"limit": "2Gi"}))
    world.rounds()
    assert world.objects[Key("Pod", "orders-1")]["metadata"]["uid"] != before


@pytest.mark.parametrize("lost", [False, True], ids=["accepted", "copy lost"])
@pytest.mark.parametrize("halted", ["paused", "refused", "refused by now"])
def test_a_primary_is_replaced_under_a_spec_that_is_not_followed(
    monkeypatch: pytest.MonkeyPatch, halted: str, lost: bool
) -> None:
    taken: dict[str, Any] = {"podTemplate": {"spec": {"priorityClassName": "high"}}}
    world = started(**taken)
    before = stands(world)
    wrong: dict[str, Any] = {"paused": True} if halted == "paused" else {}
    if halted == "refused":
        wrong = {"config": {"timeot": "5"}}
    elif halted == "refused by now":
        monkeypatch.setitem(validation.POD_DENIED, "priorityClassName", "is refused by now")
    world.edit(cache(instances=3, **taken, **wrong))
    if lost:
        del world.objects[Key("ConfigMap", "orders-accepted")]
    world.end("orders-0")
    world.flow(3.0)
    world.rounds()
    assert stands(world).epoch > before.epoch
    assert stands(world).primary.pod != "orders-0"
    assert writers(world) == [stands(world).primary.pod]
    assert labels(world)[stands(world).primary.pod] == "primary"


def test_the_label_goes_when_the_others_are_fenced_and_comes_with_the_reign() -> None:
    world = started()
    world.end("orders-0")
    world.flow(3.0)
    world.cycle()
    assert stands(world).primary.pod == "orders-0"
    assert "orders-0" not in [pod for pod, role in labels(world).items() if role == "primary"]
    seen = []
    for _ in range(12):
        world.rounds(1)
        routed = [pod for pod, role in labels(world).items() if role == "primary"]
        for pod in routed:
            assert world.machine(pod).machine.reign is not None
        seen += routed
    assert set(seen) == {"orders-1"}


def test_a_pod_that_is_deleted_hands_over() -> None:
    world = started()
    world.objects[Key("Pod", "orders-0")]["metadata"]["deletionTimestamp"] = stamp(world.now)
    world.events.clear()
    for _ in range(8):
        world.rounds(1, between_s=0.1)
        # A Service without an endpoint would be one for a second, longer than it takes till the next one is there.
        assert "primary" in labels(world).values()
        assert labels(world)["orders-1"] in ("replica", "primary")
    found = stands(world)
    assert (found.kind, found.primary.pod) in {("handover", "orders-1"), ("continued", "orders-1")}
    assert any(type == "Normal" and word == "PrimaryChanged" for type, word, _ in world.events)
    assert labels(world)["orders-1"] == "primary"


def test_two_pods_the_one_that_is_left_goes_on_alone_and_is_joined_again() -> None:
    world = started(2)
    world.end("orders-1")
    world.flow(3.0)
    world.rounds()
    assert ([m.pod for m in stands(world).members], stands(world).acks) == (["orders-0"], 0)
    assert writers(world) == ["orders-0"]
    assert said(world, conditions.REPLICATION_HEALTHY) == ("False", "Solo")
    world.back("orders-1")
    world.rounds()
    assert (len(stands(world).members), stands(world).acks) == (2, 1)


def topology_events(world: FleetWorld) -> list[tuple[str, str, str]]:
    words = ("PrimaryChanged", "MembersChanged", "DataRolledBack")
    return [event for event in world.events if event[1] in words]


def test_who_leaves_the_set_and_who_joins_is_told_once() -> None:
    """By whichever lane stores the record."""
    world = started()
    world.events.clear()
    world.apart.add("orders-2")
    for _ in range(20):
        world.rounds(1)
        world.survive()
    without = stands(world)
    assert [member.pod for member in without.members] == ["orders-0", "orders-1"]
    assert topology_events(world) == [("Normal", "MembersChanged", without.reason)]
    world.apart.clear()
    for _ in range(20):
        world.survive()
        world.rounds(1)
    assert len(stands(world).members) == 3
    assert topology_events(world)[1:] == [("Normal", "MembersChanged", stands(world).reason)]


def test_data_that_a_person_gives_up_are_told_once() -> None:
    world = started(durability={"mode": "replicated"})
    kept = next(member for member in stands(world).members if member.pod == "orders-2")
    for pod in ("orders-0", "orders-1"):
        world.end(pod)
    world.flow(5.0)
    world.rounds(4)
    assert said(world, conditions.PRIMARY_HEALTHY) == ("False", "WaitingForMember")
    world.events.clear()
    token = f"{kept.pod}/{kept.disk}@{stands(world).epoch}"
    spec = cache(instances=3, durability={"mode": "replicated"}, metadata={"annotations": {DATA_FROM: token}})
    world.edit(spec)
    for _ in range(8):
        world.survive()
        world.rounds(1)
    assert stands(world).primary.pod == "orders-2"
    (found,) = topology_events(world)
    assert found[:2] == ("Warning", "DataRolledBack")


CANNOT = "Pod orders-2 cannot be made: create Pod orders-2 in StatefulSet orders failed error: exceeded quota"


def test_a_new_cache_says_which_of_its_pods_cannot_be_made() -> None:
    world = FleetWorld(cache(instances=3))
    world.unmade["orders-2"] = "exceeded quota"
    world.rounds()
    assert world.cache.status.topology is None, "it waits for all of them"
    assert (world.cache.status.phase, world.cache.status.message) == ("Degraded", CANNOT)
    assert said(world, conditions.DEGRADED) == ("True", "PodFailing")
    assert said(world, conditions.PROGRESSING) == ("True", "Waiting")
    world.unmade.clear()
    world.rounds()
    assert writers(world) == ["orders-0"]
    assert (world.cache.status.phase, said(world, conditions.DEGRADED)[1]) == ("Running", "AsExpected")


def test_a_pod_that_is_not_made_again_is_said_while_the_others_serve() -> None:
    world = started()
    assert world.events_read == 0, "a start reads no events"
    world.unmade["orders-2"] = "exceeded quota"
    world.end("orders-2")
    del world.objects[Key("Pod", "orders-2")], world.servers["orders-2"]
    world.rounds(1)
    assert world.events_read == 0, "it has only just gone"
    world.rounds(3)
    assert (world.cache.status.phase, world.cache.status.message) == ("Degraded", CANNOT)
    assert said(world, conditions.DEGRADED) == ("True", "PodFailing")
    assert said(world, conditions.PROGRESSING)[1] == "Waiting"
    assert said(world, conditions.READY) == ("True", "Serving")
    world.unmade.clear()
    world.ended.clear()
    world.controllers()
    world.rounds()
    assert (world.cache.status.phase, said(world, conditions.DEGRADED)[1]) == ("Running", "AsExpected")
    assert len(stands(world).members) == 3


@pytest.mark.parametrize("dies_after", range(6))
def test_an_operator_that_dies_anywhere_leaves_the_rest_to_the_next(dies_after: int) -> None:
    world = started()
    world.end("orders-0")
    world.flow(3.0)
    for _ in range(4):
        world.cycle(dies_after=dies_after)
        world.now -= world.history[-1].wake_after_s
        world.witnesses.forget(world.cache.key)
        world.flow(0.3)
    world.rounds(16)
    assert writers(world) == [stands(world).primary.pod]
    assert labels(world)[stands(world).primary.pod] == "primary"


def test_writes_are_seldom_held_for_a_handover_that_comes_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollout whose heir never comes level: two heirs, and each is tried again after some seconds."""
    world = started()
    monkeypatch.setattr(handover, "is_caught_up", lambda view, state, heir: False)
    world.edit(cache(instances=3, podTemplate={"annotations": {"a": "b"}}))
    held = []
    for _ in range(80):
        world.history.clear()
        world.rounds(1)
        held += [world.now for plan in world.history for action in plan.actions if isinstance(action, PauseServer)]
    assert 2 <= len(held) <= 6, held
    monkeypatch.undo()
    world.rounds(80)
    assert stands(world).primary.pod != "orders-0"


def test_who_is_told_too_late_changes_nothing() -> None:
    """Another operator stored its record first: ours is not told to anybody."""
    world = started()
    world.end("orders-0")
    world.flow(3.0)
    world.meanwhile = lambda: world.edit(world.cache)
    world.rounds(3)
    assert stands(world).kind == "first"
    assert all(server.machine.reign is None for server in world.fleet.servers[1:])
    world.meanwhile = lambda: None
    world.rounds()
    assert stands(world).primary.pod == "orders-1"


def uids(world: FleetWorld) -> dict[str, str]:
    return {key.name: obj["metadata"]["uid"] for key, obj in world.objects.items() if key.kind == "Pod"}


def test_pods_are_replaced_one_after_the_other_and_nobody_goes_before_the_last_one_is_a_member_again() -> None:
    world = started()
    before = uids(world)
    world.apart.add("orders-2")
    world.edit(cache(instances=3, podTemplate={"annotations": {"a": "b"}}))
    world.rounds(40)
    assert {name for name, uid in uids(world).items() if before[name] != uid} == {"orders-2"}
    progressing = next(c for c in world.cache.status.conditions if c.type == conditions.PROGRESSING)
    assert progressing.message == "waiting for orders-2 to have what the primary has"
    world.apart.clear()
    world.rounds(40)
    assert {name for name, uid in uids(world).items() if before[name] != uid} == set(before)
    assert world.events_read == 0, "who comes in good time is not asked for"
    assert len(stands(world).members) == 3
    assert writers(world) == [stands(world).primary.pod]


@pytest.mark.parametrize("instances", [2, 3])
def test_a_pod_goes_when_the_others_do_without_it(instances: int) -> None:
    """A replica has left the set, a primary has handed over; so a rollout refuses no write but in the handover."""
    world = started(instances)
    world.edit(cache(instances=instances, podTemplate={"annotations": {"a": "b"}}))
    kinds, silent = [], 0
    restarted: list[str] = []
    for _ in range(80):
        before, record = uids(world), stands(world)
        world.rounds(1, between_s=0.1)
        for name in (name for name, uid in uids(world).items() if before[name] != uid):
            restarted.append(name)
            assert name not in {member.pod for member in record.members}, f"{name} is needed still"
        kinds += [stands(world).kind] if stands(world).epoch != record.epoch else []
        silent += not writers(world)
    assert restarted == [f"orders-{n}" for n in range(instances - 1, -1, -1)], "the first primary is the last"
    assert kinds.count("handover") == 1
    assert "elected" not in kinds
    assert silent <= 4, "tenths of a second"
    assert len(stands(world).members) == instances
    assert said(world, conditions.READY)[0] == "True"


@pytest.mark.parametrize("instances", [2, 3])
def test_a_rollout_is_said_until_the_last_pod_is_back(instances: int) -> None:
    """Whatever else is done in between: who waits for it must not be told that all is as the spec says."""
    world = started(instances)
    first = uids(world)
    world.edit(cache(instances=instances, podTemplate={"annotations": {"a": "b"}}))
    heard: list[str] = []
    for _ in range(80):
        world.rounds(1, between_s=0.1)
        found = next(c for c in world.cache.status.conditions if c.type == conditions.PROGRESSING)
        if found.status == "False":
            break
        heard += [] if heard[-1:] == [found.message] else [found.message]
        assert (found.reason, world.cache.status.phase) in (("Updating",) * 2, ("Restarting",) * 2), found.message
    assert world.cache.status.phase == "Running"
    assert not set(first.values()) & set(uids(world).values())
    assert len(stands(world).members) == instances
    said_in_turn = [words.partition(":")[0] for words in heard]
    last = [words for words in said_in_turn if "orders-0" in words or "orders-1" in words]
    assert last[-9:] == [
        "orders-1 is the next to restart", "restarting orders-1", "waiting for orders-1 to have what the primary has",
        "orders-0 hands over before it restarts", "orders-0 hands over to orders-1", "orders-1 is the primary",
        "orders-0 is the next to restart", "restarting orders-0", "waiting for orders-0 to have what the primary has",
    ]  # fmt: skip


@pytest.mark.parametrize("why", ["", "exceeded quota"], ids=["soon", "cannot be made"])
def test_who_has_not_been_made_again_is_waited_for_if_he_can_be(why: str) -> None:
    world = started()
    world.unmade["orders-2"] = why
    world.end("orders-2")
    del world.objects[Key("Pod", "orders-2")], world.servers["orders-2"]
    before = uids(world)
    world.edit(cache(instances=3, podTemplate={"annotations": {"a": "b"}}))
    world.rounds(40)
    after = uids(world)
    assert [after[name] == before[name] for name in ("orders-0", "orders-1")] == [not why, not why]
    assert len(writers(world)) == 1


def set_ready(world: FleetWorld) -> None:
    """As a kubelet does by what servers say: who is fenced is not."""
    pods = {key.name: obj for key, obj in world.objects.items() if key.kind == "Pod"}
    for name, pod in pods.items():
        server = world.machine(name)
        ready = name not in world.silent and (server.machine.reign is not None or server.link is not None)
        pod["status"]["conditions"] = [{"type": "Ready", "status": str(ready)}]
        pod["status"]["containerStatuses"][0]["ready"] = ready


def cured(world: FleetWorld, rounds: int) -> None:
    """No server says anything until its pod is made anew by the next spec: all are, and one is the primary."""
    before = uids(world)
    world.silent = set(before)
    set_ready(world)
    world.edit(cache(instances=3, podTemplate={"annotations": {"a": "b"}}))
    for _ in range(rounds):
        world.rounds(1)
        world.silent = {name for name, uid in uids(world).items() if uid == before[name]}
        set_ready(world)
    assert not world.silent
    assert writers(world) == [stands(world).primary.pod]


def test_what_a_wrong_spec_broke_from_the_beginning_its_cure_replaces() -> None:
    """The first that is made anew is fenced, and not ready, till the others are seen."""
    world = FleetWorld(cache(instances=3))
    world.silent = {"orders-0", "orders-1", "orders-2"}
    world.rounds(2)
    cured(world, 30)


def test_what_broke_all_when_they_had_data_a_new_spec_replaces() -> None:
    cured(started(), 80)


def test_one_that_grows_serves_until_there_is_room_for_all() -> None:
    world = FleetWorld(cache(instances=1))
    world.rounds()
    before = uids(world)
    world.silent = {"orders-2"}
    world.edit(cache(instances=3))
    world.rounds(20)
    assert uids(world).items() >= before.items()
    assert "orders-2" in world.cache.status.message
    world.silent.clear()
    world.rounds(40)
    assert not uids(world).items() >= before.items()
    assert len(stands(world).members) == 3


def test_a_crd_that_is_older_than_the_operator_takes_no_record_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server drops the one field that it does not know, and keeps the rest: so do we."""
    world = started()
    write = world.write_status

    def pruned(seen: Any, status: Any) -> Any:
        topology = {k: v for k, v in status.get("topology", {}).items() if k != "handedOver"}
        return write(seen, {**status, "topology": topology} if "topology" in status else status)

    monkeypatch.setattr(world, "write_status", pruned)
    world.edit(cache(instances=3, podTemplate={"annotations": {"a": "b"}}))
    before, epochs = uids(world), [stands(world).epoch]
    for _ in range(120):
        world.rounds(1, between_s=0.1)
        epochs.append(stands(world).epoch)
    assert epochs == sorted(epochs)
    assert not set(before.values()) & set(uids(world).values())
    assert any("its CRD is older" in words for words in world.failures)
    assert len(writers(world)) == 1


def test_what_an_older_crd_drops_is_not_written_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = FleetWorld(cache(instances=3))
    write = world.write_status

    def pruned(seen: Any, status: Any) -> Any:
        new = "link", "lagSeconds", "offset"
        pods = [{k: v for k, v in pod.items() if k not in new} for pod in status.get("pods") or ()]
        return write(seen, {**status, "pods": pods} if "pods" in status else status)

    monkeypatch.setattr(world, "write_status", pruned)
    world.rounds(30)
    world.writes.clear()
    world.rounds(30)
    assert not world.writes


def test_no_pod_that_serves_is_restarted_while_there_is_no_primary() -> None:
    world = started(3, durability={"mode": "async"})
    for name in ("orders-0", "orders-1"):
        world.end(name)
    world.edit(cache(instances=3, podTemplate={"annotations": {"a": "b"}}))
    before = uids(world)
    world.rounds(4)
    assert uids(world)["orders-2"] == before["orders-2"]


def test_reads_go_to_replicas_that_are_in_time_or_to_the_primary() -> None:
    world = started(3, services={"maxLagSeconds": 5})
    assert reading(world) == ["orders-1", "orders-2"]
    selector = world.objects[Key("Service", "orders-ro")]["spec"]["selector"]
    assert selector[names.LABEL_READS] == names.READS
    world.apart.add("orders-2")
    world.rounds(10, between_s=0.3)
    assert reading(world) == ["orders-1", "orders-2"], "what it has is not so old yet"
    world.rounds(20, between_s=0.3)
    assert reading(world) == ["orders-1"]
    world.apart.clear()
    world.rounds(4)
    assert reading(world) == ["orders-1", "orders-2"]


def test_where_reads_go_without_replicas() -> None:
    for word, expected in (("primary", ["orders-0"]), ("none", [])):
        world = started(2, services={"withoutReplicas": word})
        assert reading(world) == ["orders-1"]
        world.end("orders-1")
        world.flow(3.0)
        world.rounds()
        assert reading(world) == expected
        world.back("orders-1")
        world.rounds(16)
        assert reading(world) == ["orders-1"]


def test_in_a_failover_reads_go_on() -> None:
    world = started(3)
    world.end("orders-0")
    world.flow(3.0)
    seen = set()
    for _ in range(30):
        world.rounds(1, between_s=0.1)
        seen.add(tuple(reading(world)))
    assert stands(world).primary.pod == "orders-1"
    assert seen == {("orders-1", "orders-2"), ("orders-2",)}
    world.back("orders-0")
    world.rounds()
    assert reading(world) == ["orders-0", "orders-2"]


def test_of_two_data_sets_a_person_chooses_and_the_other_one_is_kept() -> None:
    """Who has it takes no part, and joins when its volume is another one."""
    world = started()
    pods = ("orders-0", "orders-1", "orders-2")
    for pod in pods:
        world.end(pod)
    loser, had = world.machine("orders-2"), world.machine("orders-2").log
    assert loser.stored is not None
    loser.stored = replace(loser.stored, data_set="x" * 40, disk="y" * 40)
    world.cache = world.cache.model_copy(update={"status": world.cache.status.model_copy(update={"topology": None})})
    for pod in pods:
        world.back(pod)
    world.rounds()
    assert said(world, conditions.PRIMARY_HEALTHY) == ("False", "DataConflict")
    assert not writers(world)
    metadata = world.cache.metadata
    chosen = {names.ANNOTATION_DATA_FROM: f"orders-0/{world.machine('orders-0').machine.stored.disk}@0"}
    found = metadata.model_copy(update={"annotations": {**metadata.annotations, **chosen}})
    world.cache = world.cache.model_copy(update={"metadata": found})
    world.rounds(20)
    assert writers(world) == ["orders-0"]
    assert [member.pod for member in stands(world).members] == ["orders-0", "orders-1"]
    assert said(world, conditions.REPLICATION_HEALTHY) == ("False", "Degraded")
    assert (loser.machine.role, loser.machine.stored.data_set, loser.log) == ("fenced", "x" * 40, had)
    world.end("orders-2")
    loser.stored, loser.log = None, ()
    world.back("orders-2")
    world.rounds(30)
    assert [member.pod for member in stands(world).members] == list(pods)
    assert said(world, conditions.REPLICATION_HEALTHY) == ("True", "InSync")
