"""A Cache of three pods: whatever happens to the one that takes writes, another one does, and what was acknowledged is
there. One Cache for most: each test leaves it whole, and what it changes of its spec stays. The times are those that
docs/operator.md promises; that a change of the primary was a planned one is told by its records."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from signal import SIGKILL, SIGSTOP
from typing import Any, NamedTuple

import faults
import pytest
from node import Node

from cachefleet_operator.api import names
from cachefleet_operator.planning.failover import times
from fleettest.client import Error
from fleettest.kube import WRITES, Kube, Request
from fleettest.stage import SYSTEM, Deployed, Stage, new_stage
from fleettest.traffic import AWAY
from fleettest.trio import INSTANCES, Seen, Trio

pytestmark = [pytest.mark.kube, pytest.mark.cluster]

DELETED_S, DIED_S, NODE_S = 5.0, 15.0, 40.0  # until another one takes writes
SCHEDULED_S = 0.5  # what a busy machine may add to a server's own clock
REPLICATED = {"mode": "replicated", "copies": 1, "whenMissing": "refuse"}
LOOKS = 4  # of the operator at a Cache of which nothing is to be said
Object = dict[str, Any]


@pytest.fixture(scope="module")
def trio(kube: Kube, operator: Deployed) -> Iterator[Trio]:
    with new_stage(kube) as stage:
        stage.apply(instances=INSTANCES)
        found = Trio(stage)
        found.whole()
        stage.fill()
        yield found


@pytest.fixture
def sure(trio: Trio) -> Iterator[Trio]:
    """The same Cache while it acknowledges nothing that it could lose."""
    trio.change(durability=REPLICATED)
    trio.whole()
    yield trio
    trio.change(durability=None)


def test_three_pods_become_one_cache(trio: Trio) -> None:
    record = trio.whole()
    assert (record["acks"], len(record["set"])) == (1, INSTANCES)
    row = trio.stage.kube.kubectl("get", "cache", "orders", "-n", trio.stage.namespace)
    assert "3/3" in row and record["primary"]["pod"] in row, row
    budget = trio.stage.kube.get("poddisruptionbudget", "orders", trio.stage.namespace)
    assert budget["status"]["disruptionsAllowed"] == 1


def test_while_nothing_happens_nothing_is_written_to_the_api(trio: Trio, operator: Deployed) -> None:
    """Also while clients write: how far replicas are is no news."""
    trio.whole()
    kube, pods = trio.stage.kube, operator.ready()

    def looked() -> float:
        return sum(operator.metric(pod, "reconcile_total") for pod in pods)

    def looks(number: int) -> None:
        """What is said of a Cache has it looked at; by itself that is done every half minute."""
        before = looked()
        kube.kubectl("annotate", "--overwrite", "cache", "orders", "-n", trio.stage.namespace, f"look={number}")
        kube.wait_for(lambda: looked() > before)

    with trio.writer() as writer:
        writer.goes_on()
        mark = kube.audit.mark()
        for number in range(LOOKS):
            looks(number)
        writer.goes_on()

    def written(since: int) -> list[Request]:
        every = kube.audit.requests(since, user=f":{SYSTEM}:", verbs=WRITES)
        return [request for request in every if request.namespace == trio.stage.namespace]

    assert written(0), "the log names the operator otherwise"
    assert not written(mark)


# -- what happens to the primary: each says when, and is over at the end of its block


def _deleted(trio: Trio, pod: Object, seen: Seen) -> AbstractContextManager[None]:
    seen.now()
    trio.stage.kube.delete("pod", pod["metadata"]["name"], trio.stage.namespace, "--wait=false")
    return contextlib.nullcontext()


def _killed(trio: Trio, pod: Object, seen: Seen) -> AbstractContextManager[None]:
    seen.now()
    trio.signal(pod["metadata"]["name"], SIGKILL)
    return contextlib.nullcontext()


def _emptied(trio: Trio, pod: Object, seen: Seen) -> AbstractContextManager[None]:
    """While nothing of it runs."""
    seen.now()
    faults.signal_container(pod, names.CONTAINER, SIGSTOP)
    faults.empty(pod, names.CONTAINER, names.MOUNTS[names.VOLUME_DATA])
    faults.signal_container(pod, names.CONTAINER, SIGKILL)
    return contextlib.nullcontext()


def _starved(trio: Trio, pod: Object, seen: Seen) -> AbstractContextManager[None]:
    seen.now()
    trio.stage.starve(pod["status"]["podIP"])
    return contextlib.nullcontext()


def _hangs(trio: Trio, pod: Object, seen: Seen) -> AbstractContextManager[None]:
    seen.now()
    return trio.stopped(pod["metadata"]["name"])


@contextlib.contextmanager
def _cut_off(trio: Trio, pod: Object, seen: Seen) -> Iterator[None]:
    with faults.cut_off(pod, names.CONTAINER):
        seen.now()
        yield


@contextlib.contextmanager
def _without_power(trio: Trio, pod: Object, seen: Seen) -> Iterator[None]:
    node = _node(pod)
    faults.kill_node(node)
    try:
        seen.now()
        yield
    finally:
        faults.start_node(node)


@contextlib.contextmanager
def _without_cable(trio: Trio, pod: Object, seen: Seen) -> Iterator[None]:
    with faults.partitioned(_node(pod)):
        seen.now()
        yield


def _node(pod: Object) -> Node:
    return faults.nodes()[pod["spec"]["nodeName"]]


class Fault(NamedTuple):
    what: str
    strike: Callable[[Trio, Object, Seen], AbstractContextManager[None]]
    limit_s: float  # until another one takes writes
    may_return: bool = False  # who was the primary may be it again


DELETED = Fault("its pod is deleted", _deleted, DELETED_S)
KILLED = Fault("kill -9", _killed, DIED_S, may_return=True)
EMPTIED = Fault("it lost its disk", _emptied, DIED_S)
STARVED = Fault("it was killed for its memory", _starved, DIED_S, may_return=True)
HANGS = Fault("a hang", _hangs, DIED_S)
CUT_OFF = Fault("a partition", _cut_off, DIED_S)
POWER = Fault("its node lost power", _without_power, NODE_S)
CABLE = Fault("its node lost its cable", _without_cable, NODE_S)


def _survives(trio: Trio, fault: Fault, *, may_lose_s: float = 0.0) -> Seen:
    """With clients on both sides: one of them is within the primary's own network."""
    trio.whole()
    if fault in (POWER, CABLE):
        trio.move_to_a_node_of_its_own()
    primary = trio.primary()
    pod = trio.pod(primary)
    with trio.watched(trio.writer(trio.connect_inside(pod)), may_lose_s=may_lose_s) as seen:
        with fault.strike(trio, pod, seen):
            seen.replaced(f"a new primary after {fault.what}", fault.limit_s)
            seen.writer.goes_on()
            assert fault.may_return or trio.primary() != primary
    (inside,) = seen.beside
    took_s = max(one.at for one in inside.acked if one.run == inside.acked[0].run) - seen.since
    print(f"who was the primary took writes for {took_s:.2f} s (promised: {times.LEASE_S} s at most)")
    assert took_s < times.LEASE_S + SCHEDULED_S, "it went on without being heard"
    trio.stage.check(trio.stage.client())
    return seen


def test_the_primary_is_deleted(trio: Trio) -> None:
    seen = _survives(trio, DELETED)
    seen.was_planned()
    seen.refused()


def test_the_primarys_process_is_killed(trio: Trio) -> None:
    _survives(trio, KILLED)


def test_all_processes_are_killed_at_once(trio: Trio) -> None:
    """They come back with their data, and nobody takes writes before somebody has said who it is."""
    trio.whole()
    with trio.watched() as seen:
        seen.now()
        for pod in (trio.primary(), *trio.replicas()):
            trio.signal(pod, SIGKILL)
        seen.replaced("a primary after all were killed", DIED_S)
    trio.stage.check(trio.stage.client())


@pytest.mark.exhaustive
def test_all_pods_are_deleted_at_once(trio: Trio) -> None:
    """Nobody is there to hand over to. Who was alone at last goes on with its tenure, by itself."""
    trio.whole()
    old = _pods(trio)
    with trio.watched() as seen:
        seen.now()
        trio.stage.kube.kubectl("delete", "pod", *old, "-n", trio.stage.namespace, "--wait=false")
        trio.stage.wait(lambda: not old.items() & (pods := _pods(trio)).items() and len(pods) == INSTANCES, "new pods")
    seen.time("writes after all pods were deleted", seen.writer.gap_s(seen.since), NODE_S)
    trio.stage.check(trio.stage.client())


def test_the_primary_hangs(trio: Trio) -> None:
    """And wakes up, and takes nothing any more, for those who are still connected with it."""
    _survives(trio, HANGS, may_lose_s=times.LEASE_S)


def test_the_primary_is_cut_off(trio: Trio) -> None:
    _survives(trio, CUT_OFF, may_lose_s=times.LEASE_S)


def test_the_primarys_node_is_drained(trio: Trio, operator: Deployed) -> None:
    """Of its pods that one goes: a budget lets one go at a time, and its volume is on that node."""
    trio.whole()
    primary = trio.primary()
    node, kube = trio.pod(primary)["spec"]["nodeName"], trio.stage.kube
    only = f"--pod-selector={names.LABEL_CACHE}=orders,{names.LABEL_ROLE}={names.ROLE_PRIMARY}"
    with trio.watched() as seen:
        seen.now()
        try:
            kube.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", only, "--timeout=110s")
            seen.replaced("a new primary after a drain", DELETED_S)
            assert trio.primary() != primary
        finally:
            kube.kubectl("uncordon", node)
    seen.was_planned()
    seen.refused()
    trio.stage.check(trio.stage.client())


def test_a_primary_that_comes_back_empty_is_not_followed(trio: Trio) -> None:
    """It gets the data of the others, under another name of its disk."""
    old = trio.whole()["primary"]
    _survives(trio, EMPTIED, may_lose_s=times.LEASE_S)
    disks = {member["pod"]: member["disk"] for member in trio.record()["set"]}
    assert disks[old["pod"]] != old["disk"]


def test_the_primary_runs_out_of_memory(trio: Trio) -> None:
    primary = trio.primary()
    _survives(trio, STARVED)
    trio.stage.wait(lambda: "out of memory" in _message(trio, primary), f"it is said of {primary}")


def _message(trio: Trio, pod: str) -> str:
    """What the status says of it."""
    pods = trio.stage.find_status(trio.name).get("pods", ())
    return next((str(one.get("message", "")) for one in pods if one["name"] == pod), "")


@pytest.mark.parametrize(
    "fault", [pytest.param(POWER, id="power"), pytest.param(CABLE, id="cable", marks=pytest.mark.exhaustive)]
)
def test_the_primarys_node_is_lost(trio: Trio, operator: Deployed, fault: Fault) -> None:
    """Perhaps with the operator that leads: then another one has to notice that first."""
    _survives(trio, fault, may_lose_s=times.LEASE_S)
    operator.ready()


# -- what was acknowledged is at two of three


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(CUT_OFF, id="cut off"),  # where async loses what clients inside were told
        pytest.param(POWER, id="power"),
        pytest.param(HANGS, id="hang", marks=pytest.mark.exhaustive),
        pytest.param(KILLED, id="kill -9", marks=pytest.mark.exhaustive),
        pytest.param(EMPTIED, id="empty", marks=pytest.mark.exhaustive),
        pytest.param(DELETED, id="deleted", marks=pytest.mark.exhaustive),
    ],
)
def test_nothing_that_was_acknowledged_is_lost(sure: Trio, operator: Deployed, fault: Fault) -> None:
    """Not even what only the one knows that was replaced, and those who are still connected with it."""
    _survives(sure, fault)
    operator.ready()


def test_writes_stop_below_the_copies(sure: Trio) -> None:
    """Both replicas hang: the primary stays, and acknowledges nothing; what waits is confirmed when they go on."""
    sure.whole()
    with sure.watched() as seen:
        with sure.stopped(*sure.replicas()):
            since = seen.now()
            before = seen.writer.refusals["READONLY"]
            sure.stage.wait(lambda: seen.writer.refusals["READONLY"] > before, "writes are refused")
            sure.stage.told("PrimaryHealthy", "WaitingForMember")
            until = time.monotonic()
        seen.writer.goes_on()
    assert not [one for one in seen.writer.acked if since < one.sent < until]
    seen.stayed()
    sure.stage.check(sure.stage.client())


# -- rollouts


def _pods(trio: Trio) -> dict[str, str]:
    """Names and uids of those that are not going."""
    found = trio.stage.kube.list("pod", trio.stage.namespace, f"{names.LABEL_CACHE}={trio.name}")
    every = [pod["metadata"] for pod in found]
    return {one["name"]: one["uid"] for one in every if "deletionTimestamp" not in one}


def _others(trio: Trio, old: dict[str, str]) -> int:
    """How many of the old pods are gone, or going."""
    return len(old.items() - _pods(trio).items())


@pytest.mark.exhaustive
def test_a_change_that_restarts_all_pods(trio: Trio) -> None:
    """One after the other, each when the one before has all data again, and the primary last."""
    trio.whole()
    old = _pods(trio)
    with trio.watched() as seen:
        seen.now()
        trio.change(config={"databases": "4"})
        trio.stage.wait(lambda: _others(trio, old) == INSTANCES, "all pods are other ones")
    seen.was_planned()
    seen.refused()
    assert trio.stage.parameter(trio.stage.client(), "databases") == "4"
    trio.stage.check(trio.stage.client())


@pytest.mark.exhaustive
@pytest.mark.parametrize("nth", [1, INSTANCES])
def test_the_operator_is_killed_in_a_rollout_of_three(trio: Trio, operator: Deployed, nth: int) -> None:
    """As the `nth` pod goes. The next one goes on with it, and hands over as the first would have."""
    trio.whole()
    old = _pods(trio)
    with trio.watched() as seen:
        seen.now()
        trio.change(config={"databases": str(8 + nth)})
        trio.stage.wait(lambda: _others(trio, old) == nth, f"{nth} pods go")
        operator.kill()
        trio.stage.wait(lambda: _others(trio, old) == INSTANCES, "all pods are other ones")
    operator.ready()
    seen.was_planned()
    seen.refused()
    trio.stage.check(trio.stage.client())


@pytest.mark.exhaustive
def test_a_wrong_image_and_its_cure(trio: Trio) -> None:
    """It costs one replica, and no write."""
    trio.whole()
    old = _pods(trio)
    with trio.watched() as seen:
        seen.now()
        trio.change(image="cachefleet/server:none")
        trio.stage.wait(lambda: any("cannot pull" in _message(trio, pod) for pod in old), "the image is missed")
        trio.stage.told("Degraded", "PodFailing")
        seen.writer.goes_on()
        assert _others(trio, old) == 1
        trio.change(image=None)
    assert _others(trio, old) == 1
    seen.stayed()
    seen.refused()
    trio.stage.check(trio.stage.client())


# -- without an operator


def test_the_primary_dies_while_no_operator_runs(trio: Trio, operator: Deployed) -> None:
    """It is started again, and takes nothing before somebody has said who it is."""
    trio.whole()
    primary = trio.primary()
    with trio.watched() as seen:
        process = seen.writer.acked[-1].run
        with operator.away():
            seen.now()
            trio.signal(primary, SIGKILL)
            trio.stage.wait(lambda: _refusal(trio, primary).startswith("READONLY"), f"{primary} refuses writes")
            assert {one.run for one in seen.writer.acked} == {process}
        back_s = time.monotonic() - seen.since
        served_s = seen.writer.next_tenure(seen.since)
        seen.time("a primary after operators are ready", served_s - back_s, DIED_S)
    trio.stage.check(trio.stage.client())


def _refusal(trio: Trio, pod: str) -> str:
    """What its server says to a write; empty while it says nothing, or takes it."""
    try:
        with trio.connect_to(trio.pod(pod)) as connection:
            said = connection.call("RPUSH", "refused", 1)
    except AWAY:
        return ""
    return said if isinstance(said, Error) else ""


def test_it_grows_and_shrinks(stage: Stage) -> None:
    """Also when the one that takes writes is one that goes."""
    stage.apply()
    stage.settled()
    stage.fill()
    grown = Trio(stage)
    _scale(stage, INSTANCES)
    grown.whole()
    stage.check(stage.client())
    while grown.primary() == "orders-0":
        stage.kube.delete("pod", "orders-0", stage.namespace)
        grown.whole()
    with grown.watched(instances=1) as seen:
        seen.now()
        _scale(stage, 1)
    seen.was_planned()
    seen.refused()
    stage.check(stage.client())


def _scale(stage: Stage, instances: int) -> None:
    stage.kube.kubectl("scale", "cache/orders", "-n", stage.namespace, f"--replicas={instances}")
