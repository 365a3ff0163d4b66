"""What Kubernetes says of a pod, in words: ready or not, and what ails it. Pure readers of one Pod object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object, server_container
from cachefleet_operator.planning.moments import seconds

RECENT_S = 600.0  # how long a past death is worth a word

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


def trouble(pod: Object, now: float) -> str:
    """What is wrong with it; empty = nothing that we can see."""
    status = pod.get("status", {})
    if status.get("phase") == "Failed":
        return f"failed: {status.get('reason', '')} {status.get('message', '')}".rstrip(": ")
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"cannot be scheduled: {scheduled.get('message', scheduled.get('reason', ''))}"
    container = _container(pod)
    waiting = container.get("state", {}).get("waiting", {})
    last = _death(container, now)
    if waiting.get("reason") and waiting["reason"] not in _ORDINARY:
        words = _WAITING.get(waiting["reason"], f"waits ({waiting['reason']})")
        detail = last or waiting.get("message", "")
        return f"{words}: {detail}" if detail else str(words)
    return last


def waits_for(pod: Object) -> str:
    """What a pod that is not ready and has no trouble is doing."""
    if pod["metadata"].get("deletionTimestamp"):
        return "is shutting down"
    if not condition(pod, "PodScheduled"):
        return "waits for a node"
    if "running" not in _container(pod).get("state", {}):
        return "is being created"
    return "is starting"


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
