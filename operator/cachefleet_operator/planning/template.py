"""Which generation of the pod template a Cache has: an operator with a newer one restarts nothing.

The StatefulSet carries the generation that it was built with, and a hash of what was built. As long as the builder of
that generation still gives the same, nothing but the operator has changed, and the pods keep it. When the spec changes
the template, the pods restart anyway, and come back with the newest. What somebody else changed in the live template is
put back by the same builder, and nothing restarts.
"""

from __future__ import annotations

from cachefleet_operator.api import names
from cachefleet_operator.api.known import Known
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_operator.resources.podspec import GENERATIONS, pod_template
from cachefleet_operator.resources.statefulset import template_hash


def generation(snapshot: Snapshot, cache: Cache, image: str, known: Known) -> int:
    """`cache` is the one that is built: without what was refused; `known` is what its servers know."""
    newest = max(GENERATIONS)
    live = snapshot.get("StatefulSet", names.statefulset(cache.metadata.name))
    if live is None:  # deleted, by hand or so that volumes grow: its pods may be there
        before = snapshot.cache.status.template_generation
        return before if before in GENERATIONS and snapshot.pods() else newest
    annotations = live["metadata"].get("annotations", {})
    number, _, built = str(annotations.get(names.ANNOTATION_TEMPLATE, "")).partition("-")
    had = int(number) if number.isdecimal() else newest
    if had not in GENERATIONS:
        return newest
    same = template_hash(pod_template(cache, image, snapshot.site.defaults, had, known)) == built
    return had if same else newest
