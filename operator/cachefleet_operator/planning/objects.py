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
from cachefleet_operator.planning.step import Step
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
    """Writes and deletions. `wanted` are stamped; `setting` are the servers that are to take parameters just now."""
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
    actions += _remove(snapshot, {key_of(obj) for obj in wanted})
    creating = any(isinstance(a, Apply) and a.create for a in actions)
    waiting = f"no pod is made without {lacking.target}" if lacking is not None else ""
    progress = "Creating" if creating else "Updating" if actions else ""
    return Step(tuple(actions), progress, waiting, patient=bool(waiting))


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
    return key.kind in NEEDED and key not in snapshot.objects


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


def _remove(snapshot: Snapshot, wanted: set[Key]) -> list[Action]:
    return [
        Delete(f"deleted {key}: the spec does not want it any more", key, obj["metadata"].get("uid", ""))
        for key, obj in sorted(snapshot.objects.items())
        if key.kind in OPTIONAL_KINDS and key not in wanted and not obj["metadata"].get("deletionTimestamp")
    ]


def _list(differences: tuple[str, ...]) -> str:
    own = [d for d in differences if not any(hashed in d for hashed in HASHES)]
    if not own:
        return ""
    more = f" and {len(own) - DRIFT_SHOWN_MAX} more" if len(own) > DRIFT_SHOWN_MAX else ""
    return ": " + "; ".join(own[:DRIFT_SHOWN_MAX]) + more
