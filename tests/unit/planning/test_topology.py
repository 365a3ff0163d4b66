"""The record of who is the primary: when it is decided, that it is stored before anybody acts by it, and what a cycle
does that comes too late, dies, or cannot store it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key
from cachefleet_operator.api.v1alpha1 import Cache, CacheStatus, Topology
from cachefleet_operator.planning import roles, topology
from cachefleet_operator.planning.actions import RECORD, LabelPod
from cachefleet_operator.planning.failover.moves import Decide
from cachefleet_operator.planning.moments import stamp
from cachefleet_operator.planning.plan import survive
from fleettest.snapshots import NOW, cache, pod, record, server, snapshot
from fleettest.world import World, settled

POD, CLAIM = Key("Pod", "orders-0"), Key("PersistentVolumeClaim", "data-orders-0")
STATUS, LABEL = "patch Cache/orders status", "patch Pod/orders-0 "


def stands(world: World) -> Topology:
    found = world.cache.status.topology
    assert found is not None
    return found


def role(world: World) -> str:
    return str(world.objects[POD]["metadata"]["labels"].get(names.LABEL_ROLE, ""))


def unlabel(world: World) -> None:
    world.objects[POD]["metadata"]["labels"].pop(names.LABEL_ROLE, None)


def without_record(world: World) -> None:
    """As an operator left it that kept none."""
    world.cache = world.cache.model_copy(update={"status": world.cache.status.model_copy(update={"topology": None})})


def another_volume(world: World) -> None:
    world.objects[CLAIM]["metadata"]["uid"] = "another"


# -- what is decided


def test_the_first_record_is_solo() -> None:
    world = settled()
    found = stands(world)
    assert (found.epoch, found.tenure, found.kind, found.acks, found.durability) == (1, 1, "first", 0, "async")
    assert (found.primary.pod, found.primary.run) == ("orders-0", world.servers["orders-0"]["run"])
    (member,) = found.members
    assert (member.pod, member.claim_uid) == ("orders-0", world.objects[CLAIM]["metadata"]["uid"])
    assert (found.start, found.data_set, found.down_since) == (None, None, None)
    assert (world.cache.status.primary, role(world)) == ("orders-0", names.ROLE_PRIMARY)
    assert set(found.wire()) == {"epoch", "tenure", "kind", "primary", "set", "acks", "durability", "reason"}
    assert found.wire()["set"] == [{"pod": "orders-0", "disk": "", "claimUID": member.claim_uid}]


VOLUME = {"kind": "PersistentVolumeClaim", "metadata": {"name": "data-orders-0", "uid": "v1"}}
GOING = {**VOLUME, "metadata": {**VOLUME["metadata"], "deletionTimestamp": stamp(NOW)}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("objects", "servers"),
    [
        pytest.param([VOLUME], [], id="no pod"),
        pytest.param([VOLUME, pod()], [], id="no server yet"),
        pytest.param([VOLUME, pod()], [server(error="timed out")], id="a silent server"),
        pytest.param([pod()], [server()], id="a volume that is not known yet"),
        pytest.param([GOING, pod()], [server()], id="a volume that is going"),
    ],
)
def test_nothing_is_decided_before_everybody_was_seen(objects: list[Any], servers: list[Any]) -> None:
    assert topology.decide(snapshot(cache(), *objects, servers=servers)) is None
    before = record()
    of = cache(status=CacheStatus(topology=before))
    assert topology.decide(snapshot(of, *objects, servers=servers)) is before, "nor is anything taken back"


def test_without_persistence_there_is_no_volume_to_wait_for() -> None:
    found = topology.decide(snapshot(cache(persistence={"mode": "none"}), pod(), servers=[server()]))
    assert found is not None
    assert found.members == record().members


@pytest.mark.parametrize("says", ["slave", "master", ""])
def test_what_a_server_says_of_its_role_decides_nothing(says: str) -> None:
    world = settled()
    before = stands(world)
    world.servers["orders-0"]["role"] = says or "sentinel"
    world.settle()
    assert (stands(world), role(world)) == (before, names.ROLE_PRIMARY)
    ready = world.cache.status.conditions[0]
    if says == "slave":
        assert (ready.reason, ready.message) == ("NotServing", "orders-0 is to take writes, and follows another server")
        assert world.cache.status.phase == "Waiting"
    else:
        assert ready.reason == "Serving"


def test_who_restarts_on_its_volume_is_the_same_member() -> None:
    world = settled()
    before = stands(world)
    del world.objects[POD], world.servers["orders-0"]
    world.settle()
    assert world.servers["orders-0"]["run"] != before.primary.run
    assert stands(world) == before
    assert role(world) == names.ROLE_PRIMARY


def test_another_volume_is_another_record() -> None:
    world = settled()
    before = stands(world)
    another_volume(world)
    world.settle()
    found = stands(world)
    assert (found.epoch, found.tenure, found.kind) == (before.epoch + 1, before.epoch + 1, "elected")
    assert [member.claim_uid for member in found.members] == ["another"]
    assert [note for type, word, note in world.events if word == "PrimaryChanged"] == [found.reason]


def test_since_when_the_primary_does_not_answer_is_told_and_taken_back() -> None:
    world = settled()
    before = stands(world)
    world.away = True
    world.cycle()
    down = world.now
    world.settle()
    found = stands(world)
    assert found.down_since is not None
    assert found.down_since <= stamp(down)
    assert found.model_copy(update={"down_since": None}) == before, "that is no decision"
    world.away = False
    world.settle()
    assert stands(world) == before
    assert "downSince" not in world.cache.wire()["status"]["topology"]


@pytest.mark.parametrize("spec", [{"paused": True}, {"config": {"timeot": "5"}}], ids=["paused", "refused"])
def test_a_spec_that_is_not_followed_keeps_nobody_from_deciding(spec: dict[str, Any]) -> None:
    world = settled()
    without_record(world)
    world.edit(cache(**spec))
    world.settle()
    assert stands(world).epoch == 1


@pytest.mark.parametrize(
    ("before", "kind", "after"),
    [
        (None, "first", None), (None, "elected", None), (None, "continued", None), (None, "handover", 6),
        (None, "grown", 6), (4, "grown", 6), (4, "elected", 4), (4, "continued", 4), (4, "handover", 6),
    ],
)  # fmt: skip
def test_the_last_handover_is_remembered_whatever_comes_after(before: int | None, kind: str, after: int | None) -> None:
    stood = None if kind == "first" else record(epoch=5, tenure=4, kind="continued", handed_over=before)
    seen, kind = snapshot(cache(instances=2, status=CacheStatus(topology=stood))), kind.replace("grown", "first")
    found = topology.decide(seen, Decide(words="", record=record(epoch=6, tenure=6, kind=kind)))
    assert found is not None
    assert (found.epoch, found.handed_over) == (6, after)


def test_another_volume_forgets_no_handover() -> None:
    world = settled()
    status = world.cache.status.model_copy(update={"topology": stands(world).model_copy(update={"handed_over": 1})})
    world.cache = world.cache.model_copy(update={"status": status})
    another_volume(world)
    world.settle()
    assert (stands(world).kind, stands(world).handed_over) == ("elected", 1)


def test_a_cache_that_goes_or_was_never_accepted_keeps_what_it_has() -> None:
    before = record()
    for of in (cache(metadata={"deletionTimestamp": stamp(NOW)}), cache(config={"timeot": "5"})):
        world = World(of.model_copy(update={"status": CacheStatus(topology=before)}))
        world.cycle()
        assert stands(world).model_copy(update={"down_since": None}) == before


def test_roles_are_those_of_the_record() -> None:
    """Whatever the servers say; and who is not in it has none."""
    of = cache(status=CacheStatus(topology=record("orders-1", "orders-0")))
    made = roles_of(of, server("orders-0"), server("orders-1", role="slave"), server("orders-2"))
    assert made == {"orders-0": names.ROLE_REPLICA, "orders-1": names.ROLE_PRIMARY}


def roles_of(of: Cache, *servers: Any) -> dict[str, str]:
    seen = snapshot(of, *(pod(n) for n in range(len(servers))), servers=servers)
    actions = roles.step(seen, of.status.topology).actions
    return {a.pod: a.labels[names.LABEL_ROLE] for a in actions if isinstance(a, LabelPod)}


# -- decide, record, then act


def test_the_record_is_stored_before_anything_that_needs_it() -> None:
    world = World(cache())
    while LABEL not in world.writes:
        world.writes.clear()
        world.cycle()
    assert world.writes.index(STATUS) < world.writes.index(LABEL)
    first = world.history[-1]
    assert first.record is not None
    assert [a for a in first.actions if isinstance(a, LabelPod)], "in one cycle"


def test_an_old_cache_gets_a_record_and_nothing_else() -> None:
    world = settled()
    without_record(world)
    before = deepcopy(world.objects)
    world.writes.clear()
    world.cycle()
    assert set(world.writes) == {STATUS}
    assert world.objects == before
    assert stands(world).kind == "first"


def test_in_steady_state_no_lane_writes_a_record() -> None:
    world = settled()
    world.writes.clear()
    for _ in range(3):
        assert not world.survive()
        world.cycle()
    assert not world.writes


def test_who_comes_too_late_acts_on_nothing_that_needs_the_record() -> None:
    """What needs none of it is done; then it looks again."""
    world = settled()
    another_volume(world)
    unlabel(world)
    del world.objects[Key("Service", "orders-rw")]
    world.meanwhile = lambda: world.edit(cache())
    world.writes.clear()
    world.cycle()
    assert world.writes == [STATUS, "apply Service/orders-rw"]
    assert world.failures == ["Cache/orders has been changed"]
    assert (stands(world).epoch, role(world)) == (1, "")
    world.meanwhile = lambda: None
    world.cycle()
    assert (stands(world).epoch, role(world)) == (2, names.ROLE_PRIMARY)


def test_of_two_who_decide_one_record_is_stored() -> None:
    world = settled()
    another_volume(world)
    theirs = topology.decide(world.snapshot())
    assert theirs is not None

    def decides() -> None:
        world.meanwhile = lambda: None
        world.write_status(world.cache.wire()["metadata"], {"topology": {**theirs.wire(), "reason": "theirs"}})

    world.meanwhile = decides
    world.cycle()
    assert world.failures == ["Cache/orders has been changed"]
    world.settle()
    assert (stands(world).epoch, stands(world).reason) == (2, "theirs")


def test_the_next_operator_acts_by_the_record_of_one_that_died() -> None:
    world = settled()
    another_volume(world)
    unlabel(world)
    world.cycle(dies_after=0)
    assert (stands(world).epoch, role(world)) == (2, "")
    world.writes.clear()
    world.settle()
    assert (stands(world).epoch, role(world)) == (2, names.ROLE_PRIMARY)


def test_a_record_that_is_not_kept_stops_only_what_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CRD is older than the operator: the API server drops a field that it does not know."""
    world = settled()
    another_volume(world)
    unlabel(world)
    del world.objects[Key("Service", "orders-rw")]
    write = world.write_status
    pruned = lambda seen, status: write(seen, {k: v for k, v in status.items() if k != "topology"})  # noqa: E731
    monkeypatch.setattr(world, "write_status", pruned)
    world.cycle()
    assert Key("Service", "orders-rw") in world.objects
    assert role(world) == ""
    assert world.failures == ["the API server did not keep status.topology: its CRD is older than the operator"]
    assert stands(world).epoch == 1


def test_the_fast_lane_replaces_a_record_and_leaves_the_first_to_who_asks_the_servers() -> None:
    world = settled()
    another_volume(world)
    unlabel(world)
    made = survive(world.snapshot(), world.now)
    assert made.record is not None
    assert (made.record.epoch, made.status.topology) == (2, made.record)
    assert [action.needs for action in made.actions] == [{RECORD}]
    without_record(world)
    made = survive(world.snapshot(), world.now)
    assert (made.record, made.status.topology, made.actions) == (None, None, ())
