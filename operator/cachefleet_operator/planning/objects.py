"""Objects: what is wanted is written where it is missing, where our wish changed, or where somebody changed our fields.

Kinds that are switched off are deleted. An object that the API refused, or whose name is taken, is left alone while
that refusal stands. No pods are made without what they need: under somebody else's ServiceAccount, with another's
configuration, or open to everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object, key_of
from cachefleet_operator.api.v1alpha1 import Refusal
from cachefleet_operator.planning import auth
from cachefleet_operator.planning.actions import Action, Apply, Delete
from cachefleet_operator.planning.refusals import NAME, OBJECT, WHOLE, key_of_target
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_operator.planning.step import NOTHING, Step
from cachefleet_operator.resources.desired import OPTIONAL_KINDS
from cachefleet_operator.resources.diff import drift

DRIFT_SHOWN_MAX = 3
HASHES = (names.ANNOTATION_APPLIED, names.ANNOTATION_TEMPLATE)  # which say nothing to people
NEEDED = frozenset(("ServiceAccount", "ConfigMap", "NetworkPolicy"))  # before the first pod


def applied_hash(obj: Object) -> str:
    return str(obj["metadata"].get("annotations", {}).get(names.ANNOTATION_APPLIED, ""))


def step(
    snapshot: Snapshot, wanted: Sequence[Object], refusals: Iterable[Refusal], setting: frozenset[str] = frozenset()
) -> Step:
    """Writes. `wanted` are stamped; `setting` are the servers that are to take parameters just now."""
    refused = [r for r in refusals if r.subject in WHOLE]
    unwritten = {(key_of_target(r), r.wish) for r in refused if r.subject == OBJECT}
    taken = {key_of_target(r) for r in refused if r.subject == NAME}
    lacking = next((r for r in refused if _is_needed(snapshot, key_of_target(r))), None)
    actions: list[Action] = []
    for obj in wanted:
        key = key_of(obj)
        too_early = lacking is not None and key.kind == "StatefulSet" and key not in snapshot.objects
        if (key, applied_hash(obj)) not in unwritten and key not in taken and not too_early:
            needs = setting if key.kind == "ConfigMap" else _needs(snapshot, key, wanted)
            actions += _write(obj, snapshot.objects.get(key), needs)
    creating = any(isinstance(a, Apply) and a.create for a in actions)
    waiting = f"no pod is made without {lacking.target}" if lacking is not None else ""
    progress = "Creating" if creating else "Updating" if actions else ""
    return Step(tuple(actions), progress, waiting, patient=bool(waiting))


def lost(snapshot: Snapshot, wanted: Sequence[Object]) -> tuple[Object, ...]:
    """Those of the wanted that a Cache must not be without: what is missing, and Services that somebody changed since
    they were written."""
    return tuple(obj for obj in wanted if _is_lost(obj, snapshot.objects.get(key_of(obj))))


def _is_lost(obj: Object, live: Object | None) -> bool:
    return live is None or (obj["kind"] == "Service" and applied_hash(live) == applied_hash(obj))


def possible(
    snapshot: Snapshot, wanted: Sequence[Object], had: Sequence[Object], refusals: Iterable[Refusal]
) -> tuple[Object, ...]:
    """The wanted; of what is missing, and refused as it is wanted, the one that was had before."""
    refused = {(r.target, r.wish) for r in refusals if r.subject == OBJECT}
    before = {key_of(obj): obj for obj in had}

    lost = [
        (key := key_of(obj)) not in snapshot.objects and (str(key), applied_hash(obj)) in refused for obj in wanted
    ]
    return tuple(before.get(key_of(obj), obj) if is_lost else obj for obj, is_lost in zip(wanted, lost, strict=True))


def _needs(snapshot: Snapshot, key: Key, wanted: Sequence[Object]) -> frozenset[str]:
    """What must have been written before: whatever pods need, for a StatefulSet; for one that is there its file alone,
    whose hash is in the template."""
    if key.kind != "StatefulSet":
        return frozenset()
    kinds = NEEDED if key not in snapshot.objects else frozenset(("ConfigMap",))
    found = frozenset(str(key_of(obj)) for obj in wanted if obj["kind"] in kinds)
    return found if key in snapshot.objects else found | auth.made(snapshot.cache)


def _is_needed(snapshot: Snapshot, key: Key) -> bool:
    """Whether pods must not be made while this one cannot be had; one that is there was only not changed."""
    name = snapshot.cache.metadata.name
    ours_alone = names.configmap_accepted(name), names.configmap_parameters(name)
    return key.kind in NEEDED and key not in snapshot.objects and key.name not in ours_alone


def _write(obj: Object, live: Object | None, needs: frozenset[str]) -> list[Action]:
    key = key_of(obj)
    if live is None:
        return [Apply(f"created {key}", obj, create=True, needs=needs)]
    if live["metadata"].get("deletionTimestamp"):
        return []  # It comes again when it is gone.
    differences = drift(obj, live)
    if applied_hash(live) != applied_hash(obj):
        return [Apply(f"changed {key}{_list(differences)}", obj, needs=needs)]
    if differences:
        return [Apply(f"put {key} back as wanted{_list(differences)}", obj, needs=needs)]
    return []


def unwanted(snapshot: Snapshot, wanted: Sequence[Object]) -> Step:
    """Kinds that are switched off."""
    keys = {key_of(obj) for obj in wanted}
    actions = tuple(
        Delete(f"deleted {key}: the spec does not want it any more", key, obj["metadata"].get("uid", ""))
        for key, obj in sorted(snapshot.objects.items())
        if key.kind in OPTIONAL_KINDS and key not in keys and not obj["metadata"].get("deletionTimestamp")
    )
    return Step(actions, "Updating") if actions else NOTHING


def _list(differences: tuple[str, ...]) -> str:
    own = [d for d in differences if not any(hashed in d for hashed in HASHES)]
    if not own:
        return ""
    more = f" and {len(own) - DRIFT_SHOWN_MAX} more" if len(own) > DRIFT_SHOWN_MAX else ""
    return ": " + "; ".join(own[:DRIFT_SHOWN_MAX]) + more
