"""What no schema can say about a Cache, in words: `problems(cache)` is empty for a spec that can be had. Pure.

A Cache with problems goes on with the spec that it had (planning/acting.py), and its conditions say them; nothing
that a spec asks for is ignored. Each problem is one sentence that begins with its field. The API server has checked
types, limits and the CEL rules before; the rest is here: parameters of the server, overrides of the pod, sums of
resources, and what is not built.

A spec may be wrong in as many ways as fit into an object, and there is one thread for all Caches: after PROBLEMS_MAX it
has been read far enough, sentences are short, and nothing here costs more than the spec is long.

The tables name what a patch of the pods must not touch; whatever they do not name is the user's to decide, and the API
server's to refuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from posixpath import normpath
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.parameters import OPERATOR, PARAMETERS, Parameter, canonical, find
from cachefleet_operator.api.quantity import parse
from cachefleet_operator.api.spelling import did_you_mean
from cachefleet_operator.api.v1alpha1 import GROUP, Cache, CacheSpec

PROBLEMS_MAX, GUESSES_MAX = 20, 5
SENTENCE_CHARACTERS_MAX, PATH_CHARACTERS_MAX, NAME_CHARACTERS_MAX = 300, 200, 100
DEPTH_MAX = 32  # of a pod spec; real ones have about 12
VALUES_MAX = 20_000  # in all that is free-form; real ones have some hundred
QUANTITY_MAX = 2**63 - 1

_OURS = "belongs to the operator"
_PROBES = "is the operator's: a slow disk must not kill a server that loads"

# Fields of podTemplate.spec, and of its container `server`, that stay as they are -> why, or what to use.
POD_DENIED: dict[str, str] = {
    "hostNetwork": "is refused: a cache shares no namespace with its node",
    "hostPID": "is refused: a cache shares no namespace with its node",
    "hostIPC": "is refused: a cache shares no namespace with its node",
    "shareProcessNamespace": "is refused: sidecars could read the server's memory",
    "restartPolicy": "is always Always in a StatefulSet",
    "activeDeadlineSeconds": "is refused: a cache has no end",
    "hostname": "is the StatefulSet's to give",
    "subdomain": "is the StatefulSet's to give",
    "ephemeralContainers": "cannot be in a template; use kubectl debug",
    "$patch": "would remove what is the operator's",
}
SERVER_DENIED: dict[str, str] = {
    "image": "is set by spec.image or spec.version",
    "resources": "is set by spec.memory.limit and spec.resources",
    "command": _OURS,
    "args": f"{_OURS}; parameters of the server are in spec.config",
    "workingDir": _OURS,
    "ports": _OURS,
    "livenessProbe": _PROBES,
    "readinessProbe": _PROBES,
    "startupProbe": _PROBES,
    "lifecycle": "is the operator's: a pod saves before it stops",
}
ENVIRONMENT_OURS = ("SERVER_", "CACHEFLEET_")  # the pod's contract with its arguments; secrets of the server


def problems(cache: Cache) -> tuple[str, ...]:
    """One sentence for what in the spec cannot be done, for at most PROBLEMS_MAX such things."""
    found = [_cut(words, SENTENCE_CHARACTERS_MAX) for words in islice(_problems(cache), PROBLEMS_MAX + 1)]
    if len(found) > PROBLEMS_MAX:
        found[-1] = f"spec: has more problems than these {PROBLEMS_MAX}"
    return tuple(found)


def _problems(cache: Cache) -> Iterator[str]:
    spec = cache.spec
    yield from _fields(cache)
    yield from _parameters(spec.config)
    yield from _quantities(spec)
    yield from _metadata(cache)
    yield from _free_form(spec)
    yield from _pod_spec(spec.pod_template.spec)


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 3]}..."


def _fields(cache: Cache) -> Iterator[str]:
    ref, name = cache.spec.auth.secret_ref, cache.metadata.name
    if ref is not None and ref.name in names.secrets(name):
        # The wish would be what the servers have, or what we make and delete.
        yield f"spec.auth.secretRef.name: {ref.name} {_OURS}; name a Secret of your own"


# -- spec.config


def _parameters(config: Mapping[str, str]) -> Iterator[str]:
    seen: dict[str, str] = {}  # parameter -> the name that set it
    guesses = 0
    for given, value in config.items():
        parameter = find(given)
        where = f"spec.config.{_cut(given, NAME_CHARACTERS_MAX)}"
        if parameter is None:
            guesses += 1
            guess = did_you_mean(given, (p.name for p in PARAMETERS)) if guesses <= GUESSES_MAX else ""
            yield f"{where}: unknown parameter{guess}"
        elif parameter.name in seen:
            yield f"{where}: sets the same parameter as {seen[parameter.name]}"
        else:
            seen[parameter.name] = given
            if complaint := _complaint(parameter, value):
                yield f"{where}: {complaint}"


def _complaint(parameter: Parameter, value: str) -> str:
    if parameter.owner == OPERATOR:
        return _OURS
    if parameter.owner:
        return f"is set by {parameter.owner}"
    if parameter.unbuilt:
        return f"{parameter.unbuilt} is not built yet"
    try:
        canonical(parameter.name, value)
    except ValueError as error:
        return str(error)
    return ""


# -- memory, storage, resources


def _quantities(spec: CacheSpec) -> Iterator[str]:
    limits, requests = spec.resources.limits, spec.resources.requests
    sizes = {"spec.memory.limit": spec.memory.limit, "spec.persistence.storage.size": spec.persistence.storage.size}
    amounts = {
        **{f"spec.resources.requests.{name}": amount for name, amount in requests.items()},
        **{f"spec.resources.limits.{name}": amount for name, amount in limits.items()},
    }
    for field, text in {**sizes, **amounts}.items():
        value = parse(text)
        if value < 0 or (field in sizes and value == 0):
            yield f"{field}: must be positive"
        elif value > QUANTITY_MAX:
            yield f"{field}: is out of range"
    for name, limit in {**limits, "memory": spec.memory.limit}.items():
        if name in requests and parse(requests[name]) > parse(limit):
            source = "spec.memory.limit" if name == "memory" else f"spec.resources.limits.{name}"
            yield f"spec.resources.requests.{name}: {requests[name]} is more than {source}, {limit}"


# -- labels and annotations


def _metadata(cache: Cache) -> Iterator[str]:
    spec = cache.spec
    ours = {*names.labels(cache.metadata.name), names.LABEL_ROLE, names.LABEL_READS}
    for field, keys in {
        "spec.podTemplate.labels": spec.pod_template.labels,
        "spec.podTemplate.annotations": spec.pod_template.annotations,
        "spec.services.primary.labels": spec.services.primary.labels,
        "spec.services.primary.annotations": spec.services.primary.annotations,
        "spec.services.replicas.labels": spec.services.replicas.labels,
        "spec.services.replicas.annotations": spec.services.replicas.annotations,
        "spec.monitoring.labels": spec.monitoring.labels,
    }.items():
        for key in keys:
            if key in ours or key.startswith(f"{GROUP}/"):
                yield f"{field}: {key} {_OURS}"


# -- overrides of the pod


def _free_form(spec: CacheSpec) -> Iterator[str]:
    """What must hold at any depth, the depth itself, and how much it is: whoever walks through it has an end."""
    todo: list[tuple[str, Any, int]] = [("spec.podTemplate.spec", spec.pod_template.spec, 0)]
    todo += [(f"spec.networkPolicy.clients[{i}]", peer, 0) for i, peer in enumerate(spec.network_policy.clients)]
    left = VALUES_MAX
    while todo:
        path, value, depth = todo.pop()
        left -= 1
        if depth > DEPTH_MAX:
            yield f"{path}: is nested more than {DEPTH_MAX} deep"
            return
        if left < 0:
            yield f"spec: podTemplate.spec and networkPolicy.clients have more than {VALUES_MAX} values"
            return
        if isinstance(value, list):
            todo += [(f"{path}[{index}]", item, depth + 1) for index, item in enumerate(value)]
        elif isinstance(value, Mapping):
            for key, item in value.items():
                place = _cut(f"{path}.{_cut(str(key), NAME_CHARACTERS_MAX)}", PATH_CHARACTERS_MAX)
                if str(key).startswith("$") and key != "$patch":
                    yield f"{place}: of the directives of strategic merge only $patch is supported"
                todo.append((place, item, depth + 1))


def _pod_spec(pod: Mapping[str, Any]) -> Iterator[str]:
    path = "spec.podTemplate.spec"
    for name, words in POD_DENIED.items():
        if name in pod:
            yield f"{path}.{name}: {words}"
    for field in ("containers", "initContainers", "volumes"):
        yield from _malformed(pod, field, "name", path)
        for place, item in _items(pod, field, "name", path):
            if not names.is_label(item["name"]):
                yield f"{place}.name: {names.LABEL_WORDS}"
    for place, container in _items(pod, "containers", "name", path):
        if container["name"] == names.CONTAINER:
            yield from _server(container, place)
    for place, container in _items(pod, "initContainers", "name", path):
        if container["name"] == names.CONTAINER:
            yield f"{place}: the name {names.CONTAINER} {_OURS}"
    for place, volume in _items(pod, "volumes", "name", path):
        if volume["name"] in names.MOUNTS:
            yield f"{place}: the name {volume['name']} {_OURS}"


def _server(container: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, words in SERVER_DENIED.items():
        if name in container:
            yield f"{path}.{name}: {words}"
    yield from _malformed(container, "env", "name", path)
    for place, variable in _items(container, "env", "name", path):
        if variable["name"].startswith(ENVIRONMENT_OURS):
            yield f"{place}: {variable['name']} {_OURS}"
    yield from _malformed(container, "volumeMounts", "mountPath", path)
    for place, mount in _items(container, "volumeMounts", "mountPath", path):
        for own in names.MOUNTS.values():
            if _overlap(own, mount["mountPath"]):
                yield f"{place}: {mount['mountPath']} would hide {own}, which {_OURS}"


def _malformed(parent: Mapping[str, Any], field: str, key: str, path: str) -> Iterator[str]:
    """What cannot be merged, or would remove items of ours: no list, an item without its key, a directive."""
    items = parent.get(field, [])
    if not isinstance(items, list):
        yield f"{path}.{field}: must be a list"
        return
    for index, item in enumerate(items):
        if not _has(item, key):
            yield f"{path}.{field}[{index}]: must be an object with a {key}"
        elif "$patch" in item:
            yield f"{path}.{field}[{index}].$patch: {POD_DENIED['$patch']}"


def _items(parent: Mapping[str, Any], field: str, key: str, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Places and items of such a list, those that can be merged."""
    items = parent.get(field)
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if _has(item, key):
            yield f"{path}.{field}[{index}]", item


def _has(item: Any, key: str) -> bool:
    return isinstance(item, Mapping) and isinstance(item.get(key), str) and bool(item[key])


def _overlap(one: str, other: str) -> bool:
    """Whether one path is the other or lies below it."""
    first, second = ([part for part in normpath(path).split("/") if part] for path in (one, other))
    shared = min(len(first), len(second))
    return first[:shared] == second[:shared]
