"""A pod's specification as a local process: its command line, its environment, its files, and its status in words.

Everything here is a pure reading of a Pod (and of the Secrets and ConfigMaps that it names); kubelet.py does what
it says. Where Kubernetes would mount a volume, the container finds it in a folder of the pod, by the variables of
api/names.py: these get local values, all others keep the template's.
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
from cachefleet_operator.api.objects import Object
from cachefleet_operator.execution.local.podspec import (
    ConfigError,
    Container,
    NamedSource,
    PodSpec,
    Projection,
    SecretSource,
    ValueFrom,
    Volume,
)
from cachefleet_operator.planning.moments import stamp

Source = NamedSource | SecretSource
Lookup = Callable[[str, str], Object | None]  # (kind, name) of the pod's namespace
SERVER = "cachefleet-server"
# What a process gets of our own environment. Not all of it: CACHEFLEET_REQUIREPASS would be a password of its own.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_PRELOAD", "LD_LIBRARY_PATH", "MALLOC_CONF")
WORD_MAX, WORD_SHOWN = 128 << 10, 40  # the kernel's MAX_ARG_STRLEN; what of it is in words of ours
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


def left_out(spec: PodSpec) -> list[str]:
    """Parts of the pod that a local process cannot have."""
    others = [c.name for c in (*spec.containers, *spec.init_containers) if c.name != names.CONTAINER]
    volumes = [volume.name for volume in spec.volumes if volume.name not in names.MOUNTS]
    return [*(f"container {name}" for name in others), *(f"volume {name}" for name in volumes)]


# -- the command line


def arguments(server: Container, environment: Mapping[str, str]) -> list[str]:
    """Command and arguments with $(NAME) expanded, as the kubelet does: $$ is a dollar, unknown names stay."""
    expanded = [expand(word, environment) for word in (*(server.command or (SERVER,)), *server.args)]
    return [executable(expanded[0]), *expanded[1:]]


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Raises ConfigError before it becomes longer than a process may be given: each variable may double the last."""
    left = WORD_MAX - len(text)

    def value(match: re.Match[str]) -> str:
        nonlocal left
        found = "$" if match[1] is None else environment.get(match[1], match[0])
        left -= len(found)
        return found if left >= 0 else ""

    expanded = _REFERENCE.sub(value, text)
    if left < 0:
        raise ConfigError(f"{text[:WORD_SHOWN]!r} expands to more than {WORD_MAX} characters")
    return expanded


def executable(name: str) -> str:
    """Path of a program: beside this Python (the virtual environment), else by PATH."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=f"{beside}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if found is None:
        raise ConfigError(f"there is no {name} in {beside}: pip install 'cachefleet[local]'")
    return found


# -- the environment


def environment(pod: Object, server: Container, local: Mapping[str, str], lookup: Lookup) -> dict[str, str]:
    """Variables of the server's container. `local` wins over the template's values."""
    values = {name: os.environ[name] for name in INHERITED if name in os.environ}
    for variable in server.env:
        if variable.name in local:
            values[variable.name] = local[variable.name]
        elif variable.value_from is None:
            values[variable.name] = expand(variable.value, values)
        elif (value := _value_from(pod, variable.name, variable.value_from, lookup)) is not None:
            values[variable.name] = value
    return {**values, **local}


def _value_from(pod: Object, name: str, source: ValueFrom, lookup: Lookup) -> str | None:
    if source.field_ref is not None:
        return _plain(name, _pod_field(pod, source.field_ref.field_path))
    for reference, kind in ((source.secret_key_ref, "Secret"), (source.config_map_key_ref, "ConfigMap")):
        if reference is not None:
            content = contents(lookup(kind, reference.name))
            if content is not None and reference.key in content:
                return _plain(name, content[reference.key].decode("utf-8", "surrogateescape"))
            if reference.optional:
                return None
            raise ConfigError(f"couldn't find key {reference.key} in {kind} {reference.name}")
    others = ", ".join(source.model_extra or ()) or "valueFrom without a source"
    raise ConfigError(f"env {name}: {others} does not exist without Kubernetes")


def _plain(name: str, value: str) -> str:
    if "\0" in value:
        raise ConfigError(f"env {name}: its value has a NUL, which no process can be given")
    return value


def _pod_field(pod: Object, path: str) -> str:
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path):
        return str(pod["metadata"].get(match[1], {}).get(match[2], ""))
    found: Any = pod
    for part in path.split("."):
        found = found.get(part, "") if isinstance(found, Mapping) else ""
    return str(found)


# -- volumes


def files(spec: PodSpec, lookup: Lookup) -> dict[str, dict[str, bytes]]:
    """Content of the volumes that are made of ConfigMaps and Secrets: volume -> relative path -> bytes."""
    found = {}
    for volume in spec.volumes:
        content: dict[str, bytes] = {}
        for kind, source in (sources := list(_sources(volume))):
            content |= _projected(kind, source, lookup)
        if sources:
            found[volume.name] = content
    return found


def _sources(volume: Volume) -> Iterator[tuple[str, Source]]:
    parts: list[Volume | Projection] = [volume, *(volume.projected.sources if volume.projected is not None else ())]
    for part in parts:
        if part.config_map is not None:
            yield "ConfigMap", part.config_map
        if part.secret is not None:
            yield "Secret", part.secret


def _projected(kind: str, source: Source, lookup: Lookup) -> dict[str, bytes]:
    content = contents(lookup(kind, source.name))
    if content is None:
        if source.optional:
            return {}
        raise ConfigError(f"{kind.lower()} {source.name!r} not found")
    if not source.items:
        return content
    missing = [item.key for item in source.items if item.key not in content]
    if missing and not source.optional:
        raise ConfigError(f"{kind.lower()} {source.name!r} has no key {missing[0]!r}")
    return {item.path: content[item.key] for item in source.items if item.key in content}


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


def status(pod: Object, image: str, life: Life, now: float) -> dict[str, Any]:
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
    process = f"process://{life.pid}"
    known: Mapping[str, Any] = next(iter(pod.get("status", {}).get("containerStatuses", ())), {})
    started = ready or (running and known.get("containerID") == process and bool(known.get("started")))
    own = {
        "name": names.CONTAINER, "ready": ready, "started": started, "restartCount": life.restarts, "state": state,
        "lastState": {"terminated": life.last} if life.last else {}, "image": image,
        "imageID": "", **({"containerID": process} if running else {}),
    }  # fmt: skip
    return {
        "phase": "Running" if running or life.restarts or life.last else "Pending",
        "podIP": "127.0.0.1", "hostIP": "127.0.0.1", "conditions": conditions, "containerStatuses": [own],
    }  # fmt: skip
