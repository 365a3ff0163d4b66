"""Labels of what a Cache owns and is not written as a whole each time it differs: Secrets, whose data are written when
a password changes, and claims, which their StatefulSet's controller makes. They get the platform's labels and those
that a Cache hands down, as all the others (resources/metadata.labelled); one that the Cache has no more stays.
"""

from __future__ import annotations

from collections.abc import Iterator

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object
from cachefleet_operator.planning.actions import LabelObject
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_operator.planning.step import Step
from cachefleet_operator.resources.metadata import inherited


def step(snapshot: Snapshot) -> Step:
    cache, site = snapshot.cache, snapshot.site
    ours = names.labels(cache.metadata.name)
    given = {**site.defaults.labels, **inherited(cache, site)}
    wanted = {key: value for key, value in given.items() if key not in ours}
    actions = []
    for key, obj in _unwritten(snapshot) if wanted else ():
        live = obj["metadata"].get("labels", {})
        if lacking := {name: value for name, value in wanted.items() if live.get(name) != value}:
            words = ", ".join(f"{name}={value}" for name, value in lacking.items())
            actions.append(LabelObject(f"labelled {key}: {words}", key, obj["metadata"]["uid"], lacking))
    return Step(tuple(actions))


def _unwritten(snapshot: Snapshot) -> Iterator[tuple[Key, Object]]:
    secrets = names.secrets(snapshot.cache.metadata.name)
    for key, obj in sorted(snapshot.objects.items()):
        ours = key.kind == "PersistentVolumeClaim" or (key.kind == "Secret" and key.name in secrets)
        if ours and not obj["metadata"].get("deletionTimestamp"):
            yield key, obj
