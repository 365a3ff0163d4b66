"""Rollout: which pod is replaced and when, and what it waits for instead."""

from __future__ import annotations

from typing import Any

import pytest

from cachefleet_operator.api.objects import Object
from cachefleet_operator.api.v1alpha1 import CacheStatus
from cachefleet_operator.planning import rollout
from cachefleet_operator.planning.actions import RestartPod
from cachefleet_operator.planning.snapshot import Server, Snapshot
from fleettest.snapshots import cache, pod, record, server, snapshot

OLD, NEW = "r1", "r2"
CRASHED = [{"name": "server", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]


def statefulset(**status: Any) -> Object:
    return {
        "kind": "StatefulSet",
        "metadata": {"name": "orders", "generation": 2},
        "spec": {"template": {"spec": pod()["spec"]}},
        "status": {"observedGeneration": 2, "updateRevision": NEW, **status},
    }


def leaving(found: dict[str, Any]) -> Object:
    return {**found, "metadata": {**found["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}


@pytest.mark.parametrize(
    ("objects", "servers", "restarted", "waiting"),
    [
        pytest.param([], [], "", "", id="no statefulset"),
        pytest.param([statefulset(), pod(revision=NEW)], [server()], "", "", id="nothing to do"),
        pytest.param([statefulset(), pod(revision=OLD)], [server()], "orders-0", "", id="old"),
        pytest.param([statefulset(), pod(revision=OLD)], [], "orders-0", "", id="old and silent"),
        pytest.param(
            [statefulset(observedGeneration=1), pod(revision=OLD)], [server()],
            "", "the StatefulSet's controller has not seen its newest version yet", id="its controller is behind",
        ),
        pytest.param(
            [statefulset(), leaving(pod(revision=OLD))], [], "", "pod orders-0 is shutting down", id="going"
        ),
        pytest.param(
            [statefulset(), pod(0, revision=OLD), pod(1, revision=NEW, ready=False)], [],
            "", "waiting for pod orders-1 to be ready", id="another is on its way",
        ),
        pytest.param(
            [statefulset(), pod(0, revision=OLD), pod(1, revision=OLD)], [server(), server("orders-1", role="slave")],
            "orders-1", "", id="the primary is the last",
        ),
        pytest.param(
            [statefulset(), pod(revision=OLD, ready=False)], [server(loading=True)],
            "", "orders-0 restarts after it has read its data: the pod template changed", id="loading",
        ),
        pytest.param(
            [statefulset(), pod(revision=OLD, ready=False, containerStatuses=CRASHED)], [server(loading=True)],
            "orders-0", "", id="crashing while it loads",
        ),
    ],
)  # fmt: skip
def test_who_is_replaced(objects: list[Object], servers: list[Server], restarted: str, waiting: str) -> None:
    step = rollout.step(snapshot(cache(), *objects, servers=servers))
    assert [a.pod for a in step.actions if isinstance(a, RestartPod)] == ([restarted] if restarted else [])
    assert step.waiting == waiting
    assert bool(step.progress) == bool(restarted or waiting)


def test_of_several_pods_one_goes_at_a_time_and_the_primary_last() -> None:
    pods = {f"orders-{n}": pod(n, revision=OLD) for n in range(4)}
    servers = [server(name) for name in pods]  # what they say of their role is not asked
    fleet = cache(status=CacheStatus(topology=record("orders-2", "orders-0", "orders-1", "orders-3")))
    gone = []

    def acts() -> list[str]:
        found = plan_of(snapshot(fleet, statefulset(), *pods.values(), servers=servers))
        assert len(found) <= 1, "more than one at a time"
        return found

    while found := acts():
        (name,) = found
        gone.append(name)
        ordinal = int(name[-1])
        for stage in (leaving(pods[name]), pod(ordinal, revision=NEW, ready=False)):
            pods[name] = dict(stage)
            assert not acts(), "another goes before this one is back"
        pods[name] = pod(ordinal, revision=NEW)
    assert gone == ["orders-3", "orders-1", "orders-0", "orders-2"]


def plan_of(seen: Snapshot) -> list[str]:
    step = rollout.step(seen)
    assert all(isinstance(action, RestartPod) for action in step.actions)
    return [action.pod for action in step.actions if isinstance(action, RestartPod)]
