"""Labels of running pods: their role, as the record says it, whether they serve reads, and what they have from their
Cache (a setting).

None of them is in the pod template, where a change would restart the pods. A label that podTemplate.labels sets is left
to it; one that the Cache has no more goes with the pod's next restart.
"""

from __future__ import annotations

from cachefleet_operator.api import names
from cachefleet_operator.api.v1alpha1 import Topology
from cachefleet_operator.planning import managed, topology
from cachefleet_operator.planning.actions import RECORD, LabelPod
from cachefleet_operator.planning.failover.moves import Move
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_operator.planning.step import Step
from cachefleet_operator.resources.metadata import inherited

_RECORDED = frozenset((RECORD,))


def step(snapshot: Snapshot, record: Topology | None, made: Move | None = None) -> Step:
    """`record` is the one that is to stand; `made` is the move of managed servers, which carry a role when they have
    taken it (managed.py)."""
    cache = snapshot.cache
    own = inherited(cache, snapshot.site)
    wanted = {**own, **cache.spec.pod_template.labels}
    actions = []
    primary = record.primary.pod if record is not None else ""
    reading = _readers(snapshot, record, made)
    for pod in sorted(snapshot.pods(), key=lambda pod: pod["metadata"]["name"] != primary):  # clients wait for that one
        name, uid, live = pod["metadata"]["name"], pod["metadata"]["uid"], pod["metadata"].get("labels", {})
        role: str | None = topology.role(record, name)
        if made is not None and record is not None:
            role = managed.label(snapshot, record, made, name)
        if role is None and names.LABEL_ROLE in live:
            actions.append(LabelPod(f"{name} has no role now", name, uid, {names.LABEL_ROLE: None}))
        elif role and live.get(names.LABEL_ROLE) != role:
            actions.append(LabelPod(f"{name} is {role}", name, uid, {names.LABEL_ROLE: role}, needs=_RECORDED))
        if name in reading and live.get(names.LABEL_READS) != names.READS:
            actions.append(LabelPod(f"{name} serves reads", name, uid, {names.LABEL_READS: names.READS}))
        elif name not in reading and names.LABEL_READS in live:
            actions.append(LabelPod(f"{name} serves no reads now", name, uid, {names.LABEL_READS: None}))
        lacking = {key: wanted[key] for key in own if live.get(key) != wanted[key]}
        if lacking:
            words = ", ".join(f"{key}={value}" for key, value in lacking.items())
            actions.append(LabelPod(f"labelled {name} as its Cache is: {words}", name, uid, lacking))
    return Step(tuple(actions))


def _readers(snapshot: Snapshot, record: Topology | None, made: Move | None) -> frozenset[str]:
    """Of one pod alone nobody asks: its Services lead to it without labels; but they do not while others join it."""
    if record is None or snapshot.cache.spec.instances == 1:
        return frozenset()
    return managed.readers(snapshot, record) if made is not None else frozenset((record.primary.pod,))
