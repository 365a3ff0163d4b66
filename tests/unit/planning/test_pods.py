"""What ails a pod, in words: one row a way to fail."""

from __future__ import annotations

from typing import Any

import pytest

from cachefleet_operator.planning.moments import seconds, stamp
from cachefleet_operator.planning.pods import is_ready, restarts, trouble, waits_for
from fleettest.snapshots import NOW, pod


def container(**facts: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "server", "restartCount": 3, **facts}]}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return container(state={"waiting": {"reason": reason, "message": message}})


def ended(age_s: float, **facts: Any) -> dict[str, Any]:
    return {"terminated": {"finishedAt": stamp(NOW - age_s), **facts}}


LOST = [{"type": "PodScheduled", "status": "True"}, {"type": "ContainersReady", "status": "True"},
        {"type": "Ready", "status": "False"}]  # fmt: skip


def beside(name: str, **facts: Any) -> dict[str, Any]:
    """A container beside the server, which is well."""
    well = {"name": "server", "ready": True, "started": True, "state": {"running": {}}}
    return {"containerStatuses": [{"name": name, **facts}, well]}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({}, ""),
        (
            {"initContainerStatuses": [{"name": "wait", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
            "cannot pull its image (container wait)",
        ),
        (
            {"initContainerStatuses": [{"name": "wait", "state": ended(5, exitCode=3, reason="Error")}]},
            "exited with code 3: Error (container wait)",
        ),
        ({"initContainerStatuses": [{"name": "wait", "state": ended(5, exitCode=0)}]}, ""),
        (
            beside("logs", state={"waiting": {"reason": "CrashLoopBackOff"}}),
            "crashes at each start (container logs)",
        ),
        (
            {
                "containerStatuses": [
                    {"name": "logs", "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
                    {"name": "server", "state": {"waiting": {"reason": "ImagePullBackOff"}}},
                ]
            },
            "cannot pull its image",
        ),
        ({"conditions": LOST}, "is on node n1, which does not answer"),
        ({"conditions": LOST[:2]}, ""),
        (waiting("ContainerCreating"), ""),
        (waiting("ImagePullBackOff", "no such tag"), "cannot pull its image: no such tag"),
        (waiting("SomethingNew", "oh"), "waits (SomethingNew): oh"),
        (waiting("InvalidImageName"), "has an invalid image name"),
        (
            container(
                state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ended(5, exitCode=1, reason="Error")
            ),
            "crashes at each start: exited with code 1: Error",
        ),
        (
            container(state={"running": {}}, lastState=ended(5, exitCode=137, reason="OOMKilled")),
            "was killed: out of memory (see memory.limit and memory.maxmemoryPercent)",
        ),
        (container(state={"running": {}}, lastState=ended(3600, exitCode=137, reason="OOMKilled")), ""),
        (container(state={"running": {}}, lastState=ended(5, exitCode=0, reason="Completed")), ""),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on disk"}, "failed: Evicted low on disk"),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]},
            "cannot be scheduled: 0/3 nodes are available",
        ),
    ],
)
def test_trouble(status: dict[str, Any], words: str) -> None:
    found = pod(**status)
    found["spec"]["nodeName"] = "n1"
    assert trouble(found, NOW) == words


def test_a_pod_with_a_gate_of_its_own_is_on_no_silent_node() -> None:
    gated = pod(conditions=LOST)
    gated["spec"]["readinessGates"] = [{"conditionType": "lb"}]
    assert trouble(gated, NOW) == ""


@pytest.mark.parametrize(
    ("over_s", "finalizers", "words"),
    [(-10, [], ""), (10, [], ""), (100, [], "node n1 does not answer"), (100, ["x.test/y"], "x.test/y holds it")],
)
def test_a_pod_that_outlives_its_end(over_s: float, finalizers: list[str], words: str) -> None:
    going, ends = pod(), stamp(NOW - over_s)
    going["metadata"] |= {"deletionTimestamp": ends, "finalizers": finalizers}
    going["spec"]["nodeName"] = "n1"
    assert trouble(going, NOW) == (words and f"should be gone since {ends}: {words}")


def test_a_pod_that_shuts_down_is_not_ready() -> None:
    going = pod()
    assert is_ready(going)
    going["metadata"]["deletionTimestamp"] = stamp(NOW)
    assert not is_ready(going)
    assert waits_for(going) == "is shutting down"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"conditions": []}, "waits for a node"),
        (waiting("ContainerCreating"), "is being created"),
        (container(state={"running": {}}), "is starting"),
        (container(state={"running": {}}, started=True), "is not ready: container server"),
        (beside("logs", ready=False, started=True, state={"running": {}}), "is not ready: container logs"),
        ({"initContainerStatuses": [{"name": "wait", "state": {"running": {}}}]}, "waits for its container wait"),
        ({"initContainerStatuses": [{"name": "aid", "started": True, "state": {"running": {}}}]}, "is starting"),
    ],
)
def test_waits_for(status: dict[str, Any], words: str) -> None:
    assert waits_for(pod(ready=False, **status)) == words


def test_restarts() -> None:
    assert restarts(pod()) == 0
    assert restarts(pod(**container())) == 3
    assert restarts({"metadata": {}, "spec": {}}) == 0


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z"])
def test_a_moment_that_is_none(text: str) -> None:
    assert seconds(text) == 0.0


def test_moments_there_and_back() -> None:
    assert stamp(0) == "1970-01-01T00:00:00Z"
    assert seconds(stamp(NOW)) == NOW
    assert seconds("2027-01-15T08:00:00.123456+01:00") == pytest.approx(seconds("2027-01-15T07:00:00Z"), abs=1)
