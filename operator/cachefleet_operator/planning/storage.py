"""Volumes: whose they are, and growth without losing data or a pod.

    claims smaller than wanted     ResizeClaim, each (the storage class must allow it; its refusal is remembered)
    all claims asked for           the StatefulSet, whose template cannot change, is deleted with its pods orphaned
    the StatefulSet is gone        objects.py makes it anew with the new size; it adopts the pods by their labels

The pods run on: their revision depends on the pod template alone, which is the same. Nothing shrinks: what the claims
have is what counts, and not what the spec once said, so that a size that was never had (a quota refused it) can be
taken back. A claim that is larger than wanted, or was found and is of another class, is used as it is, and told.

Who has fewer pods than once has claims that nobody mounts. Their data are kept as they are: they grow when a pod comes
back to them (a file system grows where it is mounted), and until then are nothing to wait for or to complain of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object
from cachefleet_operator.api.quantity import as_stored
from cachefleet_operator.api.v1alpha1 import KIND, Refusal
from cachefleet_operator.planning.actions import Delete, OwnClaim, ResizeClaim
from cachefleet_operator.planning.refusals import STORAGE
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_operator.planning.step import NOTHING, Step
from cachefleet_operator.resources.metadata import owner_reference


def fitting(snapshot: Snapshot, wanted: Iterable[Object]) -> tuple[Object, ...]:
    """The wanted objects, the StatefulSet with the volume's size that lives, and the class where the Cache says none:
    everything else of it can still change. A new one has the platform's class."""
    return tuple(_fitting(snapshot, obj) if obj["kind"] == "StatefulSet" else obj for obj in wanted)


def _fitting(snapshot: Snapshot, statefulset: Object) -> Object:
    templates = statefulset["spec"].get("volumeClaimTemplates", ())
    lives = _template(live) if (live := _statefulset(snapshot)) is not None else {}
    size = lives.get("resources", {}).get("requests", {}).get("storage")
    kind = lives.get("storageClassName") if lives else snapshot.site.defaults.storage_class
    more = {"resources": {"requests": {"storage": size}}} if size else {}
    less = {"storageClassName": kind} if kind else {}
    fitted = [{**t, "spec": {**less, **t["spec"], **more}} for t in templates]
    return {**statefulset, "spec": {**statefulset["spec"], **({"volumeClaimTemplates": fitted} if fitted else {})}}


def step(snapshot: Snapshot, refusals: Iterable[Refusal]) -> Step:
    live = _statefulset(snapshot)
    size = snapshot.cache.spec.persistence.storage.size
    if live is None or live["metadata"].get("deletionTimestamp") or not _template_size(live):
        return NOTHING
    refused = {(r.target, r.wish) for r in refusals if r.subject == STORAGE}
    small = [claim for claim in _used(snapshot) if _less(_requested(claim), size)]
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
    larger = any(_less(size, _requested(claim)) for claim in _used(snapshot))
    if larger or as_stored(_template_size(live)) == as_stored(size):
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


def mismatch(snapshot: Snapshot) -> str:
    """How a claim is not what the spec says, and cannot become it; empty = all are, or will be."""
    storage = snapshot.cache.spec.persistence.storage
    if snapshot.cache.spec.persistence.mode == "none":
        return ""
    for claim in _used(snapshot):
        name, kind = claim["metadata"]["name"], claim["spec"].get("storageClassName")
        if _less(storage.size, _requested(claim)):
            return f"volume {name} has {_requested(claim)}, which cannot shrink to storage.size {storage.size}"
        if storage.storage_class_name and kind and kind != storage.storage_class_name:
            return f"volume {name} was found: it is of class {kind}, which cannot become {storage.storage_class_name}"
    return ""


def owners(snapshot: Snapshot) -> Step:
    """Claims go with the Cache where reclaimPolicy says so, and not with the StatefulSet, which may be made anew."""
    cache = snapshot.cache
    wanted = owner_reference(cache) if cache.spec.persistence.storage.reclaim_policy == "Delete" else None
    actions = []
    for claim in _claims(snapshot):
        metadata = claim["metadata"]
        found = tuple(metadata.get("ownerReferences", ()))
        others = tuple(owner for owner in found if owner["kind"] != KIND)
        right = (*others, wanted) if wanted is not None else others
        if not metadata.get("deletionTimestamp") and [o["uid"] for o in found] != [o["uid"] for o in right]:
            words = f"volume {metadata['name']} {'goes with' if wanted is not None else 'outlives'} the Cache"
            actions.append(OwnClaim(words, metadata["name"], metadata.get("resourceVersion", ""), right))
    return Step(tuple(actions))


def going(snapshot: Snapshot) -> str:
    """The claims that somebody deleted, which are there as long as their pods, as "volume a is" or "volumes a, b are";
    empty = none is."""
    found = _deleted(snapshot)
    return _number([claim["metadata"]["name"] for claim in found], "volume {} is", "volumes {} are") if found else ""


def loss(snapshot: Snapshot) -> str:
    """What goes with those claims, and how it can be saved, as a sentence; empty = nothing does."""
    found = _deleted(snapshot)
    if not found:
        return ""
    pods = "its data go with its pod, which is" if len(found) == 1 else "their data go with their pods, which are"
    volumes = [claim["spec"]["volumeName"] for claim in found if claim.get("spec", {}).get("volumeName")]
    saved = _number(volumes, "PersistentVolume {} gets", "PersistentVolumes {} get") if volumes else ""
    retained = f"; they stay if {saved} the reclaim policy Retain before that" if saved else ""
    return f"{going(snapshot)} being deleted: {pods} not restarted{retained}"


def _deleted(snapshot: Snapshot) -> list[Object]:
    return [claim for claim in _claims(snapshot) if claim["metadata"].get("deletionTimestamp")]


def _number(found: Sequence[str], one: str, several: str) -> str:
    """The words for one, or for several, with their names."""
    return (one if len(found) == 1 else several).format(", ".join(found))


def growing(snapshot: Snapshot) -> str:
    """What is still to come of a growth that was asked for, as a sentence; empty = nothing."""
    for claim in _used(snapshot):
        has = claim.get("status", {}).get("capacity", {}).get("storage")
        if has is not None and _less(has, _requested(claim)):
            return f"volume {claim['metadata']['name']} is growing from {has} to {_requested(claim)}"
    return ""


def _less(one: str, other: str) -> bool:
    return as_stored(one) < as_stored(other)


def _statefulset(snapshot: Snapshot) -> Object | None:
    return snapshot.get("StatefulSet", names.statefulset(snapshot.cache.metadata.name))


def _claims(snapshot: Snapshot) -> list[Object]:
    return [obj for key, obj in sorted(snapshot.objects.items()) if key.kind == "PersistentVolumeClaim"]


def _used(snapshot: Snapshot) -> list[Object]:
    """Those of pods that there are, or are to be."""
    live = _statefulset(snapshot)
    pods = max(snapshot.cache.spec.instances, live["spec"].get("replicas", 1) if live is not None else 0)
    return [claim for claim in _claims(snapshot) if names.ordinal(claim["metadata"]["name"]) < pods]


def _template(statefulset: Object) -> Mapping[str, Any]:
    """What it says of new volumes; {} where it has none."""
    templates = statefulset["spec"].get("volumeClaimTemplates", ())
    return next((t["spec"] for t in templates if t["metadata"]["name"] == names.VOLUME_DATA), {})


def _template_size(statefulset: Object) -> str:
    template = _template(statefulset)
    return str(template["resources"]["requests"]["storage"]) if template else ""


def _requested(claim: Object) -> str:
    return str(claim["spec"]["resources"]["requests"]["storage"])
