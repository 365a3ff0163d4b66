"""Strategic merge of a patch into a PodSpec, as `kubectl patch --type strategic` does it.

    maps        merge key by key; null removes the key
    lists       replace, but for those in listkeys.py: these merge element by element, matched by their keys
    $patch      `replace` in a map: the patch takes its place; in an element of a list: the other elements take the
                list's place. `delete` in an element: the element of that key goes; in a map: it is emptied

Two differences. Elements that are new come after ours (kubectl puts them first). So our container stays the first,
which `kubectl logs` shows, and new variables can refer to ours. And elements of a patch are matched with ours alone, by
all their keys before the first: kubectl makes one of two that share the first (the ports 53/TCP and 53/UDP).

A patch may be wrong in every way. What cannot be merged (an element without its key, a text for a list) is taken over
as it is: the API server refuses the result in its own words. Neither argument is changed; the result shares parts of
both.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from cachefleet_operator.resources.listkeys import LIST_KEYS, Identity, identity, keys_of

DIRECTIVE = "$patch"

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
    if isinstance(patch, list) and name in LIST_KEYS:
        return _merge_list(name, base if isinstance(base, list) else [], patch)
    return patch


def _merge_list(name: str, base: list[Any], patch: list[Any]) -> list[Any]:
    """Elements of the patch find those of the base and never each other: none that it adds is lost."""
    deleted = {_leading(name, element) for element in patch if _directive(element) == "delete"} - {None}
    replaced = any(_directive(element) == "replace" for element in patch)
    merged = [] if replaced else [element for element in base if _leading(name, element) not in deleted]
    changes = [element for element in patch if _directive(element) not in ("delete", "replace")]
    added = [strategic_merge({}, element) if isinstance(element, Mapping) else element for element in changes]
    places = _places(name, merged, added)
    for index, element in enumerate(changes):
        at = places.get(index)
        if at is None:
            merged.append(added[index])
        elif isinstance(element, Mapping):
            merged[at] = strategic_merge(merged[at], element)
    return merged


def _places(name: str, base: list[Any], changes: list[Any]) -> dict[int, int]:
    """Change -> the element of the base that it speaks of: the one with all its keys, else the next with the first."""
    found: dict[int, int] = {}
    for tell in (_whole, _leading):
        free: dict[Any, deque[int]] = {}  # a spec may have ten thousand elements
        taken = set(found.values())
        for at, element in enumerate(base):
            if at not in taken:
                free.setdefault(tell(name, element), deque()).append(at)
        for index, element in enumerate(changes):
            what = tell(name, element)
            if index not in found and what is not None and free.get(what):
                found[index] = free[what].popleft()
    return found


def _whole(name: str, element: Any) -> Any:
    """What tells an element apart; all that it is, if it has no key."""
    keys = keys_of(name, [element])
    return identity(keys, element) if keys else json.dumps(element, sort_keys=True)


def _leading(name: str, element: Any) -> Identity | None:
    keys = keys_of(name, [element])[:1]
    return identity(keys, element) if keys else None


def _directive(element: Any) -> Any:
    return element.get(DIRECTIVE) if isinstance(element, Mapping) else None
