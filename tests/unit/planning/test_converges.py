"""plan(apply(plan)) converges and then writes nothing, whatever the specs and however often they change."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_operator.api.objects import Key
from cachefleet_operator.execution import passwords
from cachefleet_operator.planning import actions as act
from cachefleet_operator.planning.plan import STEADY_S
from cachefleet_operator.planning.refusals import RETRY_S
from fleettest.examples import examples
from fleettest.fleetworld import FleetWorld
from fleettest.snapshots import cache, secret
from fleettest.world import World, restarts, settled, told

SIZES = ("1Gi", "2Gi", "10Gi")
STOP = "persistence", "storage"
UNBUILT = {"config": {"cluster-enabled": "yes"}}
MINE = {"mode": "secret", "secretRef": {"name": "mine"}}

spec = st.fixed_dictionaries(
    {},
    optional={
        "image": st.sampled_from(["other.test/server:2", "other.test/server:3"]),
        "memory": st.fixed_dictionaries({"limit": st.sampled_from(["128Mi", "1Gi", "1024Mi"])}),
        "config": st.dictionaries(
            st.sampled_from(["timeout", "maxclients", "databases", "hz", "tcp-backlog"]),
            st.integers(1, 400).map(str), max_size=3,
        ),
        "auth": st.sampled_from([{"mode": "none"}, {"mode": "generated"}]),
        "monitoring": st.fixed_dictionaries({"enabled": st.booleans()}),
        "networkPolicy": st.fixed_dictionaries({"enabled": st.booleans()}),
        "podTemplate": st.fixed_dictionaries({"annotations": st.dictionaries(st.just("a"), st.just("b"))}),
        "services": st.fixed_dictionaries(
            {"primary": st.fixed_dictionaries({"type": st.sampled_from(["ClusterIP", "LoadBalancer"])})}
        ),
        "paused": st.booleans(),
    },
)  # fmt: skip
growth = st.lists(st.sampled_from(range(len(SIZES))), min_size=5, max_size=5).map(sorted)


@examples(30)
@given(
    st.lists(spec, min_size=1, max_size=5), growth, st.lists(st.integers(0, 3), min_size=5, max_size=5),
    st.lists(st.booleans(), min_size=15, max_size=15),
)  # fmt: skip
def test_converges(specs: list[dict[str, Any]], sizes: list[int], patience: list[int], fast: list[bool]) -> None:
    """Specs change after few cycles, in the middle of whatever goes on. Nothing is lost, so the fast lane, which looks
    now and then, makes nothing that was not there before: only a StatefulSet that is being replaced, and what a spec
    that was soon followed by another had taken away. It may say of a new pod what that is."""
    world = World(cache(paused=True))
    looks = iter(fast)
    had: set[Key] = set()
    for wanted, size, cycles in zip(specs, sizes, patience, strict=False):
        world.edit(cache(persistence={"storage": {"size": SIZES[size]}}, **wanted))
        for _ in range(cycles):
            if next(looks):
                gone = had - world.objects.keys()
                assert set(world.survive()) <= {f"apply {key}" for key in gone} | {"patch Pod/orders-0 "}
            world.cycle()
            had |= world.objects.keys()
    world.settle()
    assert not world.survive()
    assert all(sum(isinstance(a, act.DISRUPTIVE) for a in p.actions) <= 1 for p in world.history)
    if not world.cache.spec.paused:
        conditions = {c.type: (c.status, c.reason) for c in world.cache.status.conditions}
        assert conditions["Ready"] == ("True", "Serving")
        assert conditions["Progressing"] == ("False", "UpToDate")
        assert conditions["Degraded"] == ("False", "AsExpected")
        assert conditions["ConfigApplied"] == ("True", "Applied")
        assert world.cache.status.phase == "Running"
        assert world.cache.status.observed_generation == world.cache.metadata.generation


def test_a_new_cache_needs_no_restart() -> None:
    world = World(cache())
    world.settle()
    assert not restarts(world)
    assert world.cache.status.image == "registry.test/cachefleet-server:1.0.0"
    assert world.cache.status.endpoint == "orders-rw.shop.svc.cluster.local:6379"


@pytest.mark.parametrize(
    ("change", "restarted"),
    [
        ({"config": {"timeout": "30"}}, False),
        ({"config": {"databases": "4"}}, True),
        ({"memory": {"evictionPolicy": "allkeys-lru"}}, False),
        ({"memory": {"limit": "2Gi"}}, True),
        ({"image": "other.test/server:2"}, True),
        ({"persistence": {"fsync": "always"}}, False),
        ({"persistence": {"mode": "snapshot"}}, False),
        ({"persistence": {"storage": {"size": "5Gi"}}}, False),
        ({"services": {"primary": {"type": "LoadBalancer"}}}, False),
        ({"auth": {"mode": "none"}}, False),
        ({"podTemplate": {"annotations": {"team": "shop"}}}, True),
        ({"networkPolicy": {"enabled": False}}, False),
    ],
)
def test_what_restarts_and_what_does_not(change: dict[str, Any], restarted: bool) -> None:
    world = settled()
    world.edit(cache(**change))
    world.settle()
    assert told(world), "the change did nothing"
    assert len(restarts(world)) == restarted, restarts(world)


def test_what_somebody_changed_is_put_back() -> None:
    world = settled()
    world.objects[Key("Service", "orders-rw")]["spec"]["type"] = "NodePort"
    del world.objects[Key("ConfigMap", "orders-config")]
    world.servers["orders-0"]["parameters"]["timeout"] = "77"
    world.settle()
    assert sorted(told(world)) == [
        "created ConfigMap/orders-config",
        "put Service/orders-rw back as wanted: spec.type is NodePort, want ClusterIP",
        "set timeout 0 in orders-0",
    ]


def test_a_pod_that_somebody_deleted_comes_back_without_us() -> None:
    world = settled()
    del world.objects[Key("Pod", "orders-0")]
    del world.servers["orders-0"]
    world.settle()
    assert told(world) == ["orders-0 is primary"]


def test_a_newer_operator_restarts_nothing() -> None:
    world = settled()
    world.site = type(world.site)(default_image=world.site.default_image, default_version="9.9.9")
    world.settle()
    assert not told(world)
    lost = world.cache.status.model_copy(update={"default_version": ""})
    world.cache = world.cache.model_copy(update={"status": lost})
    world.settle()
    assert not restarts(world), "a lost status must not move the version either"
    assert world.cache.status.default_version == "1.0.0"


def test_a_mirror_rewrites_the_image_and_a_lost_status_does_not_move_the_version() -> None:
    world = settled()
    statefulset = world.objects[Key("StatefulSet", "orders")]
    statefulset["spec"]["template"]["spec"]["containers"][0]["image"] = "mirror.test/cachefleet-server:1.0.0@sha256:0"
    world.settle()
    assert not told(world)
    world.site = type(world.site)(default_image=world.site.default_image, default_version="9.9.9")
    lost = world.cache.status.model_copy(update={"default_version": ""})
    world.cache = world.cache.model_copy(update={"status": lost})
    world.cycle()
    assert world.cache.status.default_version == "1.0.0"


def test_rotation_of_a_password() -> None:
    world = World(cache(auth={"mode": "secret", "secretRef": {"name": "mine"}}))
    world.objects[Key("Secret", "mine")] = secret("mine", password="first")
    world.settle()
    assert world.servers["orders-0"]["password"] == b"first"
    world.objects[Key("Secret", "mine")] = secret("mine", password="second")
    world.history.clear()
    world.settle()
    assert world.servers["orders-0"]["password"] == b"second"
    assert told(world) == [
        "recorded the new password before a server is told", "changed the password of orders-0",
        "the servers have a new password", "wrote into Secret orders-binding how to connect",
    ]  # fmt: skip


rotations = st.lists(
    st.tuples(
        st.sampled_from(["rotate", "away", "back", "crash", "cycle", "start"]), st.integers(0, 3), st.integers(0, 2)
    )
)


@examples(40)
@given(rotations)
def test_no_order_of_rotations_and_silences_locks_anybody_out(events: list[tuple[str, int, int]]) -> None:
    rotate(World(cache(auth=MINE)), events)


@examples(10)
@given(rotations)
def test_no_order_of_rotations_and_silences_of_several_locks_anybody_out(events: list[tuple[str, int, int]]) -> None:
    rotate(FleetWorld(cache(instances=3, auth=MINE)), events)


def rotate(world: World, events: list[tuple[str, int, int]]) -> None:
    """An event, cycles after it, and which pod it is about. `crash`: the operator dies after so many actions of its
    list; `start`: the pod is made anew, with the file."""
    world.objects[Key("Secret", "mine")] = secret("mine", password="p0")
    pods = [f"orders-{n}" for n in range(world.cache.spec.instances)]
    last = begun(world)
    for serial, (event, count, ordinal) in enumerate(events):
        pod = pods[ordinal % len(pods)]
        if event == "rotate":
            world.objects[Key("Secret", "mine")] = secret("mine", password=f"p{serial + 1}")
        elif event == "start" and pod in world.servers:
            del world.objects[Key("Pod", pod)], world.servers[pod]
        elif event == "away":
            world.silent.add(pod)
        elif event == "back":
            world.silent.discard(pod)
        for _ in range(count):
            world.cycle(dies_after=count - 1 if event == "crash" else None)
            # What a server starts with is another password when all that run have confirmed it, and not before.
            if (now := recorded(world)) != last:
                assert {server["password"] for server in world.servers.values()} == {now}, event
            last = now
        known = passwords.known(world.cache, lambda name: world.objects.get(Key("Secret", name)))
        assert all(server["password"] in known for server in world.servers.values()), event
    world.silent.clear()
    world.cycle()
    begun(world)
    assert world.cache.status.phase == "Running"
    wish = passwords.value(world.objects[Key("Secret", "mine")], "password")
    assert {server["password"] for server in world.servers.values()} == {wish}
    assert recorded(world) == wish


def test_a_rotation_waits_for_each_of_several_that_runs() -> None:
    """Also the next one: what the silent one has must not be forgotten."""
    world = FleetWorld(cache(instances=3, auth=MINE))
    world.objects[Key("Secret", "mine")] = secret("mine", password="first")
    assert begun(world) == b"first"
    world.silent.add("orders-1")
    for wish in ("second", "third"):
        world.objects[Key("Secret", "mine")] = secret("mine", password=wish)
        world.rounds(6)
        found = [server["password"] for _, server in sorted(world.servers.items())]
        assert found == [b"second", b"first", b"second"], wish
        assert recorded(world) == b"first", "what a server starts with till then"
    world.silent.clear()
    assert begun(world) == b"third"
    assert {server["password"] for server in world.servers.values()} == {b"third"}


def begun(world: World) -> bytes | None:
    """All is as it should be; what a server starts with then."""
    if isinstance(world, FleetWorld):
        world.rounds(20)
    else:
        world.settle()
    return recorded(world)


def recorded(world: World) -> bytes | None:
    return passwords.value(world.objects.get(Key("Secret", "orders-server-password")), "password")


def test_both_secrets_deleted_under_a_running_server() -> None:
    """Nobody knows its password any more: clients with the new one are turned away."""
    world = settled()
    world.servers["orders-0"]["password"] = b"of old"
    for name in ("orders-auth", "orders-server-password"):
        del world.objects[Key("Secret", name)]
    world.settle()
    conditions = {c.type: (c.status, c.reason) for c in world.cache.status.conditions}
    assert conditions["Ready"] == ("False", "PasswordLost")
    assert conditions["Degraded"] == ("True", "PasswordLost")
    assert world.cache.status.message.startswith("Pod orders-0 has a password that is in no Secret any more")
    del world.objects[Key("Pod", "orders-0")], world.servers["orders-0"]
    world.settle()
    assert world.cache.status.phase == "Running"


def test_a_larger_maxmemory_waits_for_the_larger_container() -> None:
    world = settled()
    world.edit(cache(memory={"limit": "2Gi"}))
    world.settle()
    assert [r.split(":")[0] for r in told(world)] == [
        "changed ConfigMap/orders-config", "changed StatefulSet/orders", "restarting orders-0", "orders-0 is primary",
    ]  # fmt: skip
    assert int(world.servers["orders-0"]["parameters"]["maxmemory"]) > 1 << 30
    world.history.clear()
    world.edit(cache(memory={"limit": "128Mi"}))
    world.settle()
    assert told(world)[0] == "set maxmemory 71303168 in orders-0"


def test_auth_turned_on_while_it_runs() -> None:
    world = settled(auth={"mode": "none"})
    world.edit(cache())
    world.settle()
    assert told(world) == [
        "made a password in Secret orders-auth",
        'changed ConfigMap/orders-config: data.cachefleet.conf: loses requirepass ""',
        "recorded the new password before a server is told",
        "changed the password of orders-0",
        "the servers have a new password",
        "wrote into Secret orders-binding how to connect",
    ]
    assert world.servers["orders-0"]["password"] == b"generated"


def test_a_refused_parameter_is_not_asked_for_again_until_later() -> None:
    world = settled()

    def refuse(action: act.Action) -> tuple[str, str, str, str] | None:
        if isinstance(action, act.ConfigSet) and "maxclients" in action.parameters:
            return action.pod, "maxclients", action.parameters["maxclients"], "ERR too many for this system"
        return None

    world.refuse = refuse
    world.edit(cache(config={"maxclients": "99999", "timeout": "5"}))
    world.cycle()
    first = world.now
    world.settle()
    asked = [a for p in world.history for a in p.actions if isinstance(a, act.ConfigSet)]
    assert [sorted(a.parameters) for a in asked] == [["maxclients", "timeout"], ["timeout"]]
    applied = next(c for c in world.cache.status.conditions if c.type == "ConfigApplied")
    assert (applied.status, applied.reason) == ("False", "Refused")
    assert "ERR too many for this system" in applied.message
    assert "99999" not in str(world.objects[Key("ConfigMap", "orders-config")]["data"])
    world.history.clear()
    while world.now < first + RETRY_S + 60:
        world.cycle()
    assert len([a for p in world.history for a in p.actions if isinstance(a, act.ConfigSet)]) == 1
    world.refuse = lambda action: None
    world.edit(cache(config={"maxclients": "500", "timeout": "5"}))
    world.settle()
    assert world.servers["orders-0"]["parameters"]["maxclients"] == "500"
    assert not world.cache.status.refusals


def test_a_refused_parameter_reaches_no_file_however_long_the_pod_is_away() -> None:
    """The file that has it stops every start, and then nobody can ever take it."""
    world = settled()

    def refuse(action: act.Action) -> tuple[str, str, str, str] | None:
        if isinstance(action, act.ConfigSet) and "maxclients" in action.parameters:
            return action.pod, "maxclients", action.parameters["maxclients"], "ERR too many for this system"
        return None

    def file() -> str:
        return str(world.objects[Key("ConfigMap", "orders-config")]["data"])

    world.refuse = refuse
    world.edit(cache(config={"maxclients": "99999"}))
    world.settle()
    world.away = True  # a volume that is attached elsewhere
    for _ in range(2 * int(RETRY_S / STEADY_S)):
        world.now += STEADY_S
        world.cycle()
        assert "99999" not in file()
    world.away = False
    world.settle()
    assert "99999" not in file(), "nobody has taken it"
    world.refuse = lambda action: None
    world.now += RETRY_S
    world.settle()
    assert "99999" in file()
    assert world.servers["orders-0"]["parameters"]["maxclients"] == "99999"
    assert not world.cache.status.refusals


@pytest.mark.parametrize("name", ["orders-auth", "orders-server-password"])
def test_a_secret_of_somebody_elses_is_said_and_not_asked_for_in_each_cycle(name: str) -> None:
    world = World(cache())

    def refuse(action: act.Action) -> tuple[str, str, str, str] | None:
        if isinstance(action, act.GenerateSecret | act.CopySecret) and action.object["metadata"]["name"] == name:
            return f"Secret/{name}", "metadata.name", "", f"Secret/{name} is somebody else's"
        return None

    world.refuse, world.foreign = refuse, {Key("Secret", name)}
    world.settle()
    assert Key("StatefulSet", "orders") not in world.objects, "its pods would only hang"
    degraded = next(c for c in world.cache.status.conditions if c.type == "Degraded")
    assert (degraded.reason, degraded.message) == ("ApplyFailed", f"Secret/{name} is somebody else's")
    until, asked = world.now + RETRY_S - 60, len(world.writes)
    while world.now < until:
        assert not world.cycle().actions
    assert len(world.writes) == asked
    world.refuse, world.foreign = (lambda action: None), set()
    world.cycle()
    assert not world.cache.status.refusals, "noticed before RETRY_S have passed"
    world.settle()
    assert world.cache.status.phase == "Running"


@pytest.mark.parametrize("name", ["orders-auth", "orders-server-password"])
def test_a_secret_that_a_quota_refuses_is_said_and_not_asked_for_in_each_cycle(name: str) -> None:
    world, refused_at = World(cache()), []

    def refuse(action: act.Action) -> tuple[str, str, str, str] | None:
        if isinstance(action, act.GenerateSecret | act.CopySecret) and action.object["metadata"]["name"] == name:
            refused_at.append(world.now)
            return f"Secret/{name}", "object", "", "exceeded quota: secrets"
        return None

    world.refuse = refuse
    world.cycle()
    progressing = next(c for c in world.cache.status.conditions if c.type == "Progressing")
    assert (progressing.reason, progressing.message) == ("Creating", "exceeded quota: secrets")
    for _ in range(60):
        world.cycle()
    assert not [key for key in world.objects if key.kind in ("StatefulSet", "Pod")]
    degraded = next(c for c in world.cache.status.conditions if c.type == "Degraded")
    assert (degraded.reason, degraded.message) == ("ApplyFailed", f"Secret/{name}: exceeded quota: secrets")
    assert all(later - earlier >= RETRY_S for earlier, later in pairwise(refused_at)), "asked again in a hot loop"
    world.refuse = lambda action: None
    world.now += RETRY_S
    world.settle()
    assert world.cache.status.phase == "Running"


def test_all_foreign_objects_are_told_and_no_pod_is_made_under_one() -> None:
    world = World(cache())
    theirs = {Key(kind, "orders") for kind in ("ServiceAccount", "NetworkPolicy", "PodDisruptionBudget")}

    def refuse(action: act.Action) -> tuple[str, str, str, str] | None:
        if isinstance(action, act.Apply) and action.key in theirs:
            return str(action.key), "metadata.name", "", f"{action.key} is somebody else's"
        return None

    world.refuse, world.foreign = refuse, set(theirs)
    world.settle()
    assert not [key for key in world.objects if key.kind in ("StatefulSet", "Pod")]
    degraded = next(c for c in world.cache.status.conditions if c.type == "Degraded")
    assert degraded.reason == "ApplyFailed"
    assert all(f"{key} is somebody else's" in degraded.message for key in theirs)
    assert Key("Service", "orders-rw") in world.objects, "what is independent is there"
    theirs.clear()
    world.foreign.clear()
    world.settle()
    assert world.cache.status.phase == "Running"


def test_a_secret_that_is_missing_is_looked_for_less_and_less_often() -> None:
    world = World(cache(auth={"mode": "secret", "secretRef": {"name": "mine"}}))
    pauses = [world.cycle().wake_after_s for _ in range(20)]
    assert pauses[:4] == [2.0] * 4
    assert pauses == sorted(pauses)
    assert pauses[-1] == STEADY_S
    world.objects[Key("Secret", "mine")] = secret("mine", password="at last")
    world.settle()
    assert world.cache.status.phase == "Running"


def test_a_secret_that_is_taken_away_from_a_running_cache_is_looked_for_less_and_less_often() -> None:
    world = World(cache(auth={"mode": "secret", "secretRef": {"name": "mine"}}))
    world.objects[Key("Secret", "mine")] = secret("mine", password="first")
    world.settle()
    del world.objects[Key("Secret", "mine")]
    pauses = [world.cycle().wake_after_s for _ in range(20)]
    assert pauses[0] == 2.0
    assert pauses[-1] == STEADY_S
    assert world.cache.status.conditions[0].reason == "Serving"


def test_storage_that_the_cluster_refuses_to_grow() -> None:
    world = settled()

    def refuse(action: act.Action) -> tuple[str, str, str, str] | None:
        if isinstance(action, act.ResizeClaim):
            return f"PersistentVolumeClaim/{action.claim}", "storage.size", action.size, "forbidden: no expansion"
        return None

    world.refuse = refuse
    world.edit(cache(persistence={"storage": {"size": "5Gi"}}))
    world.cycle()
    world.settle()
    assert world.cache.status.message == "PersistentVolumeClaim/data-orders-0: forbidden: no expansion"
    world.edit(cache(persistence={"storage": {"size": "5Gi"}}, memory={"limit": "2Gi"}))
    world.settle()
    assert len(restarts(world)) == 1, "other changes must still arrive"


def test_growth_keeps_the_pod() -> None:
    world = settled()
    uid = world.objects[Key("Pod", "orders-0")]["metadata"]["uid"]
    world.edit(cache(persistence={"storage": {"size": "5Gi"}}))
    world.settle()
    assert world.objects[Key("Pod", "orders-0")]["metadata"]["uid"] == uid
    template = world.objects[Key("StatefulSet", "orders")]["spec"]["volumeClaimTemplates"][0]
    assert template["spec"]["resources"]["requests"]["storage"] == "5Gi"
    assert [r.split(",")[0] for r in told(world)][:2] == [
        "growing volume data-orders-0 from 1Gi to 5Gi",
        "replacing the StatefulSet",
    ]


def test_a_smaller_volume_that_was_found_grows() -> None:
    """A Cache of the same name left it; the StatefulSet has the right size from the start."""
    world = settled()
    statefulset = world.objects[Key("StatefulSet", "orders")]["metadata"]["uid"]
    claim = world.objects[Key("PersistentVolumeClaim", "data-orders-0")]
    claim["spec"]["resources"]["requests"]["storage"] = "512Mi"
    world.settle()
    claim = world.objects[Key("PersistentVolumeClaim", "data-orders-0")]
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
    assert world.objects[Key("StatefulSet", "orders")]["metadata"]["uid"] == statefulset


def test_a_growth_and_another_change_at_once() -> None:
    """The StatefulSet is not written in the cycle that replaces it."""
    world = settled()
    world.edit(cache(persistence={"storage": {"size": "5Gi"}}))
    world.cycle()
    world.edit(cache(persistence={"storage": {"size": "5Gi"}}, image="other.test/server:2"))
    world.settle()
    assert len(restarts(world)) == 1


@pytest.mark.parametrize("spec", [UNBUILT, {"config": {"port": "1"}}, {"config": {"no-such": "1"}}])
def test_what_is_not_built_is_refused_and_nothing_changes(spec: dict[str, Any]) -> None:
    world = settled()
    world.edit(cache(**spec))
    world.settle()
    assert not told(world)
    conditions = {c.type: (c.status, c.reason) for c in world.cache.status.conditions}
    assert conditions["Degraded"] == ("True", "SpecRefused")
    assert conditions["Ready"] == ("True", "Serving"), "what runs goes on"
    assert world.cache.status.phase == "Refused"
    assert world.cache.status.ready == "1/1", "pods that were refused are not wanted"


@pytest.mark.parametrize("instances", [1, 3])
def test_a_new_cache_that_is_refused_has_none_of_its_pods(instances: int) -> None:
    world = World(cache(instances=instances, **UNBUILT))
    world.settle()
    assert (world.cache.status.ready, world.cache.status.instances) == (f"0/{instances}", 0)
    assert world.cache.status.phase == "Refused"


def test_each_refusal_of_a_spec_is_told_once() -> None:
    world = settled()
    for config in ({"timeot": "1"}, {"timeout": "banana"}):
        world.edit(cache(config=config))
        world.settle()
    (_, _, first), (_, _, second) = (event for event in world.events if event[1] == "SpecRefused")
    assert "timeot" in first
    assert "timeout" in second
