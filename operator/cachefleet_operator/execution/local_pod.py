"""A pod's specification as a local process: its command line, its environment, its files, and its status in words.

Everything here is a pure reading of a Pod object (and of the Secrets and ConfigMaps that it names); local_kubelet.py
does what it says. Where Kubernetes would mount a volume, the container finds it in a folder of the pod, by the
variables of api/names.py: these get local values, all others keep the template's.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object, server_container
from cachefleet_operator.planning.moments import stamp

Lookup = Callable[[str, str], Object | None]  # (kind, name) of the pod's namespace
SERVER = "cachefleet-server"
# What a process gets of our own environment. Not all of it: CACHEFLEET_REQUIREPASS would be a password of its own.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_PRELOAD", "LD_LIBRARY_PATH", "MALLOC_CONF")
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


class ConfigError(Exception):
    """The container cannot be made: something that the pod names is missing, or does not exist on one machine."""


def container(pod: Object) -> Mapping[str, Any]:
    if found := server_container(pod):
        return found
    raise ConfigError(f"the pod has no container {names.CONTAINER}")


def left_out(pod: Object) -> list[str]:
    """Parts of the pod that a local process cannot have."""
    others = [c["name"] for c in pod["spec"].get("containers", ()) if c["name"] != names.CONTAINER]
    others += [c["name"] for c in pod["spec"].get("initContainers", ())]
    known = (names.VOLUME_DATA, names.VOLUME_CONFIG, names.VOLUME_AUTH)
    volumes = [v["name"] for v in pod["spec"].get("volumes", ()) if v["name"] not in known]
    return [*(f"container {name}" for name in others), *(f"volume {name}" for name in volumes)]


# -- the command line


def arguments(pod: Object, environment: Mapping[str, str]) -> list[str]:
    """Command and arguments with $(NAME) expanded, as the kubelet does: $$ is a dollar, unknown names stay."""
    own = container(pod)
    words = [*(own.get("command") or [SERVER]), *own.get("args", ())]
    expanded = [expand(str(word), environment) for word in words]
    return [executable(expanded[0]), *expanded[1:]]


def expand(text: str, environment: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        return "$" if match[1] is None else environment.get(match[1], match[0])

    return _REFERENCE.sub(value, text)


def executable(name: str) -> str:
    """Path of a program: beside this Python (the virtual environment), else by PATH."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=f"{beside}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if found is None:
        raise ConfigError(f"there is no {name} in {beside}: pip install 'cachefleet[local]'")
    return found


# -- the environment


def environment(pod: Object, local: Mapping[str, str], lookup: Lookup) -> dict[str, str]:
    """Variables of the server's container. `local` wins over the template's values."""
    values = {name: os.environ[name] for name in INHERITED if name in os.environ}
    for entry in container(pod).get("env", ()):
        name = entry["name"]
        if name in local:
            values[name] = local[name]
        elif "valueFrom" in entry:
            value = _value_from(pod, name, entry["valueFrom"], lookup)
            if value is not None:
                values[name] = value
        else:
            values[name] = expand(str(entry.get("value", "")), values)
    return {**values, **local}


def _value_from(pod: Object, name: str, source: Mapping[str, Any], lookup: Lookup) -> str | None:
    if "fieldRef" in source:
        return _pod_field(pod, source["fieldRef"]["fieldPath"])
    for word, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
        if word in source:
            reference = source[word]
            content = contents(lookup(kind, reference["name"]))
            if content is not None and reference["key"] in content:
                return content[reference["key"]].decode("utf-8", "surrogateescape")
            if reference.get("optional"):
                return None
            raise ConfigError(f"couldn't find key {reference['key']} in {kind} {reference['name']}")
    raise ConfigError(f"env {name}: {', '.join(source)} does not exist without Kubernetes")


def _pod_field(pod: Object, path: str) -> str:
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path):
        return str(pod["metadata"].get(match[1], {}).get(match[2], ""))
    found: Any = pod
    for part in path.split("."):
        found = found.get(part, "") if isinstance(found, Mapping) else ""
    return str(found)


# -- volumes


def files(pod: Object, lookup: Lookup) -> dict[str, dict[str, bytes]]:
    """Content of the volumes that are made of ConfigMaps and Secrets: volume -> relative path -> bytes."""
    found = {}
    for volume in pod["spec"].get("volumes", ()):
        sources = list(_sources(volume))
        if sources:
            content: dict[str, bytes] = {}
            for kind, name, source in sources:
                content |= _projected(kind, name, source, lookup)
            found[volume["name"]] = content
    return found


def _sources(volume: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for part in (volume, *volume.get("projected", {}).get("sources", ())):
        if "configMap" in part:
            yield "ConfigMap", part["configMap"]["name"], part["configMap"]
        if "secret" in part:  # a projected source says `name`, a volume of its own `secretName`
            yield "Secret", part["secret"].get("secretName") or part["secret"]["name"], part["secret"]


def _projected(kind: str, name: str, source: Mapping[str, Any], lookup: Lookup) -> dict[str, bytes]:
    content = contents(lookup(kind, name))
    if content is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f"{kind.lower()} {name!r} not found")
    if "items" not in source:
        return content
    missing = [i["key"] for i in source["items"] if i["key"] not in content]
    if missing and not source.get("optional"):
        raise ConfigError(f"{kind.lower()} {name!r} has no key {missing[0]!r}")
    return {i["path"]: content[i["key"]] for i in source["items"] if i["key"] in content}


def contents(found: Object | None) -> dict[str, bytes] | None:
    """What a ConfigMap or Secret holds; None for one that does not exist."""
    if found is None:
        return None
    if found["kind"] == "Secret":
        return {key: b64decode(text) for key, text in found.get("data", {}).items()}
    binary = {key: b64decode(text) for key, text in found.get("binaryData", {}).items()}
    return {**{key: str(text).encode() for key, text in found.get("data", {}).items()}, **binary}


# -- the status


@dataclass(frozen=True, slots=True)
class Life:
    """What the kubelet knows of the server's container."""

    started_at: float = 0.0  # of the present process; 0 = none
    pid: int = 0
    unready: str = "the container is being created"  # why it is not ready; empty = it is
    waiting: tuple[str, str] = ("ContainerCreating", "")  # reason and message, while no process runs
    restarts: int = 0
    last: Mapping[str, Any] = field(default_factory=dict)  # how the process before ended: state.terminated


def terminated(code: int, started_at: float, now: float, words: str) -> dict[str, Any]:
    """state.terminated of a process that ended. `words` is its last line of log, as with FallbackToLogsOnError; who was
    killed had no last words."""
    message = "" if code == 0 else "killed" if code == 128 + signal.SIGKILL else words
    return {
        "exitCode": code, "reason": "Completed" if code == 0 else "Error", "message": message,
        "startedAt": stamp(started_at), "finishedAt": stamp(now), **({"signal": code - 128} if code > 128 else {}),
    }  # fmt: skip


def status(pod: Object, life: Life, now: float) -> dict[str, Any]:
    """The status of the pod; times of conditions that did not change are kept."""
    before = {c["type"]: c for c in pod.get("status", {}).get("conditions", ())}
    running = life.started_at > 0
    ready = running and not life.unready
    conditions = []
    for kind, true in (("PodScheduled", True), ("Initialized", True), ("ContainersReady", ready), ("Ready", ready)):
        old = before.get(kind, {})
        word = "True" if true else "False"
        since = old["lastTransitionTime"] if old.get("status") == word else stamp(now)
        why = {} if true else {"reason": "ContainersNotReady", "message": life.unready}
        conditions.append({"type": kind, "status": word, "lastTransitionTime": since, **why})
    if running:
        state: dict[str, Any] = {"running": {"startedAt": stamp(life.started_at)}}
    else:
        state = {"waiting": {"reason": life.waiting[0], "message": life.waiting[1]}}
    own = {
        "name": names.CONTAINER, "ready": ready, "started": running, "restartCount": life.restarts, "state": state,
        "lastState": {"terminated": life.last} if life.last else {}, "image": container(pod).get("image", ""),
        "imageID": "", **({"containerID": f"process://{life.pid}"} if running else {}),
    }  # fmt: skip
    return {
        "phase": "Running" if running or life.restarts or life.last else "Pending",
        "podIP": "127.0.0.1", "hostIP": "127.0.0.1", "conditions": conditions, "containerStatuses": [own],
    }  # fmt: skip
