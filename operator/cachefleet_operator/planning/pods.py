"""What Kubernetes says of a pod, in words: ready or not, and what ails it. Pure readers of one Pod object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object, server_container
from cachefleet_operator.planning.moments import seconds

RECENT_S = 600.0  # how long a past death is worth a word
GOING_S = 30.0  # what a kubelet that is alive may need after a pod's time to end is over

# Reasons of a container that waits -> what it means. Others are shown as they are.
_WAITING = {
    "CrashLoopBackOff": "crashes at each start",
    "ErrImagePull": "cannot pull its image",
    "ImagePullBackOff": "cannot pull its image",
    "InvalidImageName": "has an invalid image name",
    "CreateContainerConfigError": "cannot be configured",
    "CreateContainerError": "cannot be created",
    "RunContainerError": "cannot be started",
}
_ORDINARY = frozenset(("ContainerCreating", "PodInitializing"))
_STATUSES = ("initContainerStatuses", "containerStatuses")


def condition(pod: Object, kind: str) -> Mapping[str, Any]:
    for found in pod.get("status", {}).get("conditions", ()):
        if found["type"] == kind:
            return dict(found)
    return {}


def is_ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True" and not pod["metadata"].get("deletionTimestamp")


def restarts(pod: Object) -> int:
    return int(_container(pod).get("restartCount", 0))


def memory_limit(pod: Object) -> str:
    """Memory limit of the server's container, a quantity; empty = none is known."""
    return str(server_container(pod).get("resources", {}).get("limits", {}).get("memory", ""))


def image_digest(pod: Object) -> str:
    """Of the image that its server runs, as the runtime has it; empty = it says none."""
    return str(_container(pod).get("imageID", "")).rpartition("@")[2]


def trouble(pod: Object, now: float) -> str:
    """What is wrong with it; empty = nothing that we can see."""
    status = pod.get("status", {})
    if status.get("phase") == "Failed":
        return f"failed: {status.get('reason', '')} {status.get('message', '')}".rstrip(": ")
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"cannot be scheduled: {scheduled.get('message', scheduled.get('reason', ''))}"
    if words := _silent_node(pod, now):
        return words
    for name, container in _containers(pod):
        if words := _container_trouble(container, now):
            return words if name == names.CONTAINER else f"{words} (container {name})"
    return ""


def unmade(found: Mapping[str, str]) -> str:
    """Of pods that cannot be made and why, the first; empty = there are none."""
    first = min(found, key=names.ordinal, default="")
    return f"pod {first} cannot be made: {found[first]}" if first else ""


def waits_for(pod: Object) -> str:
    """What a pod that is not ready and has no trouble is doing."""
    if pod["metadata"].get("deletionTimestamp"):
        return "is shutting down"
    if not condition(pod, "PodScheduled"):
        return "waits for a node"
    inits = pod.get("status", {}).get("initContainerStatuses", ())
    if pending := next((container["name"] for container in inits if not _is_done(container)), ""):
        return f"waits for its container {pending}"
    if not is_running(pod):
        return "is being created"
    if not has_started(pod):
        return "is starting"
    lacking = [container["name"] for container in pod["status"]["containerStatuses"] if not container.get("ready")]
    return f"is not ready: container {', '.join(lacking)}" if lacking else "is not ready"


def is_running(pod: Object) -> bool:
    """Whether the server's process exists, as far as its kubelet has said."""
    return "running" in _container(pod).get("state", {})


def has_ended(pod: Object) -> bool:
    """Whether its kubelet says that the server's process has ended, and that no other one runs."""
    state = _container(pod).get("state", {})
    last = _container(pod).get("lastState", {})
    return "running" not in state and ("terminated" in state or "terminated" in last)


def has_started(pod: Object) -> bool:
    """Whether the server's startup probe has succeeded since its last start: from then on it answers, or hangs."""
    return bool(_container(pod).get("started"))


def _silent_node(pod: Object, now: float) -> str:
    """Whether its node's kubelet says nothing any more. Its last words stand: the containers are ready, while the
    control plane has taken the pod's readiness away; and a pod that is deleted outlives its time."""
    node = pod.get("spec", {}).get("nodeName", "")
    ends = pod["metadata"].get("deletionTimestamp")
    if ends and now - seconds(ends) > GOING_S:
        held = pod["metadata"].get("finalizers")
        return f"should be gone since {ends}: {f'{held[0]} holds it' if held else f'node {node} does not answer'}"
    readiness, containers = condition(pod, "Ready"), condition(pod, "ContainersReady")
    gates = pod.get("spec", {}).get("readinessGates")
    if readiness.get("status", "True") != "True" and containers.get("status") == "True" and not gates and not ends:
        return f"is on node {node}, which does not answer"
    return ""


def _container_trouble(container: Mapping[str, Any], now: float) -> str:
    waiting = container.get("state", {}).get("waiting", {})
    last = _death(container, now)
    if waiting.get("reason") and waiting["reason"] not in _ORDINARY:
        words = _WAITING.get(waiting["reason"], f"waits ({waiting['reason']})")
        detail = last or waiting.get("message", "")
        return f"{words}: {detail}" if detail else str(words)
    return last


def _containers(pod: Object) -> list[tuple[str, Mapping[str, Any]]]:
    """All of a pod by name, the server first: its trouble is the cause of the others'."""
    status = pod.get("status", {})
    found = [(c["name"], dict(c)) for kind in _STATUSES for c in status.get(kind, ())]
    return sorted(found, key=lambda named: named[0] != names.CONTAINER)


def _is_done(container: Mapping[str, Any]) -> bool:
    """An init container that ended well; or a sidecar among them (restartPolicy Always) that has started."""
    ended = container.get("state", {}).get("terminated")
    return bool(container.get("started")) or (ended is not None and ended.get("exitCode") == 0)


def _container(pod: Object) -> Mapping[str, Any]:
    for found in pod.get("status", {}).get("containerStatuses", ()):
        if found["name"] == names.CONTAINER:
            return dict(found)
    return {}


def _death(container: Mapping[str, Any], now: float) -> str:
    """How the server last ended, if that was against its will and lately."""
    ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated") or {}
    code = ended.get("exitCode", 0)
    if not ended or code == 0 or now - seconds(ended.get("finishedAt") or "") > RECENT_S:
        return ""
    if ended.get("reason") == "OOMKilled":
        return "was killed: out of memory (see memory.limit and memory.maxmemoryPercent)"
    return f"exited with code {code}: {ended.get('message') or ended.get('reason', '')}".rstrip(": ")
