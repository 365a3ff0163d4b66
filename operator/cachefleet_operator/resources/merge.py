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

import json
from collections.abc import Mapping
from typing import Any

DIRECTIVE = "$patch"
_GONE = object()  # in the place of what was deleted

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
    merged: list[Any] = []
    places: dict[tuple[bool, Any], list[int]] = {}  # of what is the same; a spec may have ten thousand elements

    def add(element: Any) -> None:
        places.setdefault(_identity(key, element), []).append(len(merged))
        merged.append(element)

    replaces = any(_directive(element) == "replace" for element in patch)
    for element in () if replaces else base:
        add(element)
    for element in patch:
        directive, identity = _directive(element), _identity(key, element)
        keyed, known = identity[0], places.get(identity)
        if directive == "replace":
            continue
        if directive == "delete":
            for at in places.pop(identity, ()) if keyed else ():
                merged[at] = _GONE
        elif keyed and known:
            merged[known[0]] = strategic_merge(merged[known[0]], element)
        else:
            new = strategic_merge({}, element) if isinstance(element, Mapping) else element
            if _identity(key, new) not in places:
                add(new)
    return [element for element in merged if element is not _GONE]


def _directive(element: Any) -> Any:
    return element.get(DIRECTIVE) if isinstance(element, Mapping) else None


def _identity(key: str, element: Any) -> tuple[bool, Any]:
    """What makes two elements the same: their merge key; all that they are, for those without it."""
    keyed = isinstance(element, Mapping) and element.get(key) is not None
    value = element[key] if keyed else element
    return keyed, value if isinstance(value, str | int) else json.dumps(value, sort_keys=True)
