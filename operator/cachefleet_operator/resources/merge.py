"""Strategic merge of a patch into a PodSpec, as `kubectl patch --type strategic` does it.

    maps        merge key by key; null removes the key
    lists       replace, but for those in MERGE_KEYS: these merge element by element, matched by their merge key
    $patch      `replace` in a map: the patch takes its place; in an element of a list: the other elements take the
                list's place. `delete` in an element: the element of that key goes; in a map: it is emptied

One difference: elements that are new come after ours (kubectl puts them first). So our container stays the first, which
`kubectl logs` shows, and new variables can refer to ours.

A patch may be wrong in every way. What cannot be merged (an element without its key, a text for a list) is taken over
as it is: the API server refuses the result in its own words. Neither argument is changed; the result shares parts of
both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DIRECTIVE = "$patch"

# Field of PodSpec or Container -> patchMergeKey of the Kubernetes API's types. Lists that are not here are atomic.
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
}


def strategic_merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """`patch` over `base`."""
    directive = patch.get(DIRECTIVE)
    if directive == "delete":
        return {}
    merged: dict[str, Any] = {} if directive == "replace" else dict(base)
    for name, value in patch.items():
        if name == DIRECTIVE and directive == "replace":
            continue
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge_value(name, merged.get(name), value)
    return merged


def _merge_value(name: str, base: Any, patch: Any) -> Any:
    if isinstance(patch, Mapping):
        return strategic_merge(base if isinstance(base, Mapping) else {}, patch)
    if isinstance(patch, list) and name in MERGE_KEYS:
        return _merge_list(MERGE_KEYS[name], base if isinstance(base, list) else [], patch)
    return patch


def _merge_list(key: str, base: list[Any], patch: list[Any]) -> list[Any]:
    replaces = any(_directive(element) == "replace" for element in patch)
    merged = [] if replaces else list(base)
    for element in patch:
        directive = _directive(element)
        if directive == "replace":
            continue
        at = _position(merged, key, element)
        if directive == "delete":
            merged = [old for old in merged if not _same(old, key, element)]
        elif at is not None:
            merged[at] = strategic_merge(merged[at], element)
        else:
            new = strategic_merge({}, element) if isinstance(element, Mapping) else element
            merged += [new] if new not in merged else []
    return merged


def _directive(element: Any) -> Any:
    return element.get(DIRECTIVE) if isinstance(element, Mapping) else None


def _position(elements: list[Any], key: str, like: Any) -> int | None:
    return next((i for i, element in enumerate(elements) if _same(element, key, like)), None)


def _same(one: Any, key: str, other: Any) -> bool:
    both = isinstance(one, Mapping) and isinstance(other, Mapping) and key in one and key in other
    return both and bool(one[key] == other[key])
