"""Which lists are sets, and what tells their elements apart: the listMapKeys of the Kubernetes API's types, one table.

`merge` and `diff` read lists by it, and any list that is not here is one value. The first of the keys leads: it is the
patchMergeKey, by which a strategic merge finds the element that a patch speaks of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

# Field -> keys of its elements; of several, the first whose leading key they have.
LIST_KEYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "containers": (("name",),),
    "initContainers": (("name",),),
    "ephemeralContainers": (("name",),),
    "volumes": (("name",),),
    "env": (("name",),),
    "imagePullSecrets": (("name",),),
    "resourceClaims": (("name",),),
    "schedulingGates": (("name",),),
    "claims": (("name",),),
    "hostAliases": (("ip",),),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "volumeMounts": (("mountPath",),),
    "volumeDevices": (("devicePath",),),
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
    "ownerReferences": (("uid",),),
}
KEY_DEFAULTS = {"protocol": "TCP"}

Identity = tuple[Any, ...]


def keys_of(field: str, elements: Iterable[Any]) -> tuple[str, ...]:
    """The keys by which the elements are matched; () for a list that is one value."""
    for keys in LIST_KEYS.get(field, ()):
        if all(isinstance(element, Mapping) and element.get(keys[0]) is not None for element in elements):
            return keys
    return ()


def identity(keys: Iterable[str], element: Mapping[str, Any]) -> Identity:
    """What tells an element apart from others; hashable, whatever somebody wrote there."""
    found = ((element.get(key), KEY_DEFAULTS.get(key)) for key in keys)
    return tuple(_hashable(default if value is None else value) for value, default in found)


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int) else json.dumps(value, sort_keys=True)
