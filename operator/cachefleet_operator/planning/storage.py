"""Growth of volumes without losing data or a pod.

    claims smaller than wanted     ResizeClaim, each (the storage class must allow it; its refusal is remembered)
    all claims asked for           the StatefulSet, whose template cannot change, is deleted with its pods orphaned
    the StatefulSet is gone        objects.py makes it anew with the new size; it adopts the pods by their labels

The pods run on: their revision depends on the pod template alone, which is the same. Shrinking never comes here, the
API server refuses it; a StatefulSet with more than is wanted (an old one, restored) is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object
from cachefleet_operator.api.quantity import parse
from cachefleet_operator.api.v1alpha1 import Refusal
from cachefleet_operator.planning.actions import Delete, ResizeClaim
from cachefleet_operator.planning.refusals import STORAGE
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_operator.planning.step import NOTHING, Step


def fitting(snapshot: Snapshot, wanted: Iterable[Object]) -> tuple[Object, ...]:
    """The wanted objects, the StatefulSet with the volume size that lives: everything else of it can still change."""
    live = _statefulset(snapshot)
    size = _template_size(live) if live is not None else ""
    return tuple(_with_size(obj, size) if size and obj["kind"] == "StatefulSet" else obj for obj in wanted)


def _with_size(statefulset: Object, size: str) -> Object:
    templates = [
        {**t, "spec": {**t["spec"], "resources": {"requests": {"storage": size}}}}
        for t in statefulset["spec"].get("volumeClaimTemplates", ())
    ]
    return {**statefulset, "spec": {**statefulset["spec"], "volumeClaimTemplates": templates}}


def step(snapshot: Snapshot, refusals: Iterable[Refusal]) -> Step:
    live = _statefulset(snapshot)
    size = snapshot.cache.spec.persistence.storage.size
    if live is None or live["metadata"].get("deletionTimestamp") or not _template_size(live):
        return NOTHING
    refused = {(r.target, r.wish) for r in refusals if r.subject == STORAGE}
    small = [claim for claim in _claims(snapshot) if parse(_requested(claim)) < parse(size)]
    if small:
        actions = tuple(
            ResizeClaim(
                f"growing volume {claim['metadata']['name']} from {_requested(claim)} to {size}",
                claim["metadata"]["name"],
                size,
            )
            for claim in small
            if (f"PersistentVolumeClaim/{claim['metadata']['name']}", size) not in refused
        )
        return Step(actions, "ResizingStorage") if actions else NOTHING
    if parse(_template_size(live)) >= parse(size):
        return NOTHING
    return Step(
        (
            Delete(
                f"replacing the StatefulSet, whose volume template cannot change, for {size} of "
                "storage; its pods run on",
                Key("StatefulSet", live["metadata"]["name"]),
                live["metadata"].get("uid", ""),
                orphan=True,
            ),
        ),
        "ResizingStorage",
    )


def growing(snapshot: Snapshot) -> str:
    """What is still to come of a growth that was asked for, as a sentence; empty = nothing."""
    for claim in _claims(snapshot):
        has = claim.get("status", {}).get("capacity", {}).get("storage")
        if has is not None and parse(has) < parse(_requested(claim)):
            return f"volume {claim['metadata']['name']} is growing from {has} to {_requested(claim)}"
    return ""


def _statefulset(snapshot: Snapshot) -> Object | None:
    return snapshot.get("StatefulSet", names.statefulset(snapshot.cache.metadata.name))


def _claims(snapshot: Snapshot) -> list[Object]:
    return [obj for key, obj in sorted(snapshot.objects.items()) if key.kind == "PersistentVolumeClaim"]


def _template_size(statefulset: Object) -> str:
    for template in statefulset["spec"].get("volumeClaimTemplates", ()):
        if template["metadata"]["name"] == names.VOLUME_DATA:
            return str(template["spec"]["resources"]["requests"]["storage"])
    return ""


def _requested(claim: Object) -> str:
    return str(claim["spec"]["resources"]["requests"]["storage"])
