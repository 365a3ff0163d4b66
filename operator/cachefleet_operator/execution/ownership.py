"""Whose an object is.

It is ours if this Cache is its controller, or nobody is and it carries our labels (left by a Cache that was deleted
with its objects orphaned). What is somebody else's is neither shown to the planner nor overwritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object, key_of
from cachefleet_operator.api.v1alpha1 import KIND, Cache
from cachefleet_operator.execution.errors import ExecutionError, Refused
from cachefleet_operator.planning.refusals import NAME

MADE_BY_OTHERS = frozenset(("Pod", "PersistentVolumeClaim"))  # kinds that controllers make of our StatefulSet


def is_ours(obj: Object, cache: Cache) -> bool:
    """By its controller; without one, by our labels: more than the watches select by, for users may set those, too."""
    owner = _controller(obj)
    if owner is not None:
        return bool(owner["uid"] == cache.metadata.uid)
    labels = obj["metadata"].get("labels", {})
    ours = {names.LABEL_CACHE: cache.metadata.name, names.LABEL_MANAGED_BY: names.FIELD_MANAGER}
    return all(labels.get(name) == value for name, value in ours.items())


def is_shown(obj: Object, cache: Cache) -> bool:
    """Whether the planner sees it: anybody can put our labels on anything."""
    name, kind, owner = cache.metadata.name, obj["kind"], _controller(obj)
    if kind in MADE_BY_OTHERS:
        stem = names.pod(name, 0) if kind == "Pod" else names.claim(name, 0)
        ordinal = obj["metadata"]["name"].removeprefix(stem.removesuffix("0"))
        return ordinal.isdecimal() and (owner is None or owner["kind"] == "StatefulSet")
    return is_ours(obj, cache)


def must_be_ours(live: Object, cache: Cache) -> None:
    """Raises Refused where an object that we want to write is somebody else's."""
    if is_ours(live, cache):
        return
    key, owner = key_of(live), _controller(live) or {}
    if live["metadata"].get("deletionTimestamp") or (owner.get("kind"), owner.get("name")) == (KIND, cache.key[1]):
        raise ExecutionError(f"{key} of an earlier Cache is still being deleted")
    whose = f"belongs to {owner['kind']} {owner['name']}" if owner else "does not belong to this Cache"
    raise Refused(f"{key} exists and {whose}", target=str(key), subject=NAME, wish="")


def _controller(obj: Object) -> Mapping[str, Any] | None:
    return next((owner for owner in obj["metadata"].get("ownerReferences", ()) if owner.get("controller")), None)
