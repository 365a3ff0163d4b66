"""JSON merge patches (RFC 7386): null takes a field away, maps are merged, everything else is replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(old: Any, patch: Any) -> Any:
    """`old` after the patch."""
    if not isinstance(patch, Mapping):
        return patch
    found = dict(old) if isinstance(old, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


def between(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The patch that makes `new` of `old`; what `new` lacks goes."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := between(before, value):
                patch[name] = inner
        elif name not in old or before != value:
            patch[name] = value
    return patch
