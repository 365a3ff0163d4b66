"""Rollout: pods that do not run what their StatefulSet says are replaced, one at a time, those that do not serve first,
the primary last.

A pod goes only when nothing else is being changed, no other pod is on its way, and its server is not busy reading its
data for the first time (a restart would begin that anew); one that crashes is replaced at once, because the new spec
may be the cure. None goes while somebody has a volume deleted: it lives as long as its pod, and can be saved till then.

A managed pod is announced to failover/ before it goes (`due`): a replica leaves the set, so that no write waits for it;
a primary hands over, and is a replica then. One that went must be a member again before the next one goes; but

    growing    where a Cache of one pod grows, the new ones wait for that one, which is not managed yet. It serves until
               all of them are there, so that nobody waits for a pod that there is no room for
    stuck      where nobody reigns, and an old one says nothing, those that went wait for it: it goes before that
    unmade     one that cannot be made is waited for by nobody

While anything else is being done nobody goes, and it is said all the same who is the next (`announced`): a rollout goes
on until the last pod is back.
"""

from __future__ import annotations

from cachefleet_operator.api import names
from cachefleet_operator.api.conditions import PROGRESSING
from cachefleet_operator.api.objects import Object
from cachefleet_operator.planning import managed, storage, topology
from cachefleet_operator.planning.actions import RestartPod
from cachefleet_operator.planning.failover.moves import WAITING_FOR_MEMBER, Move, Rest
from cachefleet_operator.planning.pods import is_ready, restarts
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_operator.planning.step import NOTHING, Step
from cachefleet_operator.resources.diff import is_behind, outdated, why

STUCK_S = 10.0  # nobody reigns: more than a failover takes


def due(snapshot: Snapshot) -> str:
    """The managed pod whose turn it is, if it is. Before it goes its primary learns to do without it, or hands over."""
    found = _turn(snapshot)
    return "" if isinstance(found, Step) or not managed.is_managed(snapshot) else str(found["metadata"]["name"])


def step(snapshot: Snapshot, made: Move | None = None) -> Step:
    """At most one RestartPod. `made`: what failover does now; it has nothing to do any more where it could do it."""
    pod = _turn(snapshot)
    if isinstance(pod, Step):
        return pod
    name, reason = _named(snapshot, pod)
    waits = isinstance(made, Rest) and bool(made.words) and not managed.is_growing(snapshot)  # that waits for this pod
    record = snapshot.cache.status.topology
    reigns = record is not None and managed.reigns(snapshot, record)  # and is short of copies: this may be the cure
    if waits and is_ready(pod) and not (reigns and made is not None and made.reason == WAITING_FOR_MEMBER):
        return Step((), "Waiting", f"{name} restarts when there is a primary: {reason}")
    if _hands_over(snapshot, pod):
        return announced(snapshot)
    server = snapshot.servers.get(name)
    if server is not None and server.loading and not restarts(pod):
        return Step((), "Waiting", f"{name} restarts after it has read its data: {reason}")
    return Step((RestartPod(f"restarting {name}: {reason}", name, pod["metadata"]["uid"]),), "Restarting")


def announced(snapshot: Snapshot) -> Step:
    """The same in words alone: who goes next, and what for."""
    pod = _turn(snapshot)
    if isinstance(pod, Step):
        return pod
    name, reason = _named(snapshot, pod)
    how = "hands over before it restarts" if _hands_over(snapshot, pod) else "is the next to restart"
    return Step((), "Restarting", f"{name} {how}: {reason}")


def _turn(snapshot: Snapshot) -> Object | Step:
    """The pod that is to be restarted next, or why there is none."""
    statefulset = snapshot.get("StatefulSet", names.statefulset(snapshot.cache.metadata.name))
    if statefulset is None:
        return NOTHING
    if is_behind(statefulset):
        return Step((), "Updating", "the StatefulSet's controller has not seen its newest version yet")
    pods = snapshot.pods()
    old = [pod for pod in pods if outdated(statefulset, pod)]
    if not old:
        return _last(snapshot, statefulset)
    if volumes := storage.going(snapshot):
        return Step((), "Waiting", f"no pod is restarted while {volumes} being deleted: data would go with it")
    if going := [pod for pod in pods if pod["metadata"].get("deletionTimestamp")]:
        return Step((), "Restarting", f"pod {going[0]['metadata']['name']} is shutting down")
    if stuck := [pod for pod in old if _is_stuck(snapshot, pod)]:
        return max(stuck, key=lambda pod: _turns(snapshot, pod))
    if words := _lacking(snapshot, statefulset, old):
        return Step((), "Restarting", f"waiting for {words}")
    return max(old, key=lambda pod: _turns(snapshot, pod))


def _is_stuck(snapshot: Snapshot, pod: Object) -> bool:
    """Nobody reigns, and its server says nothing: those that were restarted before wait for it, and it for the new
    spec. A failover has its time before that."""
    record, server = snapshot.cache.status.topology, snapshot.servers.get(pod["metadata"]["name"])
    if not managed.is_managed(snapshot) or is_ready(pod) or (server is not None and not server.error):
        return False
    reigns = record is not None and (managed.reigns(snapshot, record) or snapshot.evidence.down_s < STUCK_S)
    return not reigns and not managed.is_growing(snapshot)


def _last(snapshot: Snapshot, statefulset: Object) -> Step:
    """No pod is an old one any more; but whoever was restarted last may not be back."""
    said = next((c for c in snapshot.cache.status.conditions if c.type == PROGRESSING), None)
    began = said is not None and said.reason == "Restarting" and managed.is_managed(snapshot)
    words = _lacking(snapshot, statefulset, []) if began else ""
    return Step((), "Restarting", f"waiting for {words}") if words else NOTHING


def _lacking(snapshot: Snapshot, statefulset: Object, old: list[Object]) -> str:
    """What one of those that are not old is without; empty: they are as they should be."""
    fresh = [pod for pod in snapshot.pods() if pod not in old]
    there = {pod["metadata"]["name"] for pod in snapshot.pods()}
    wanted = [names.pod(snapshot.cache.metadata.name, n) for n in range(statefulset["spec"].get("replicas", 1))]
    if managed.is_growing(snapshot):  # they are ready when the one that has the data has restarted
        silent = [name for name in wanted if name not in map(_name, old) and not managed.answers(snapshot, name)]
        return f"pod {silent[0]} to answer" if silent and any(map(is_ready, old)) else ""
    # What cannot be made waits for the new spec, perhaps, or for the room that others leave.
    if missing := [name for name in wanted if name not in there and name not in snapshot.unmade]:
        return f"pod {missing[0]} to be made"
    if unready := [pod for pod in fresh if not is_ready(pod)]:
        return f"pod {unready[0]['metadata']['name']} to be ready"
    copies = [pod["metadata"]["name"] for pod in fresh] if managed.is_managed(snapshot) else []
    lacking = [name for name in copies if not managed.has_all(snapshot, name)]  # ready is not in sync
    return f"{lacking[0]} to have what the primary has" if lacking else ""


def _turns(snapshot: Snapshot, pod: Object) -> tuple[bool, bool, int]:
    return not is_ready(pod), not _is_primary(snapshot, pod), names.ordinal(pod["metadata"]["name"])


def _name(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def _named(snapshot: Snapshot, pod: Object) -> tuple[str, str]:
    """Its name, and what it is to be restarted for."""
    statefulset = snapshot.get("StatefulSet", names.statefulset(snapshot.cache.metadata.name))
    assert statefulset is not None
    return pod["metadata"]["name"], why(statefulset["spec"]["template"], pod)


def _hands_over(snapshot: Snapshot, pod: Object) -> bool:
    return _is_primary(snapshot, pod) and managed.has_heirs(snapshot) and is_ready(pod)


def _is_primary(snapshot: Snapshot, pod: Object) -> bool:
    return topology.role(snapshot.cache.status.topology, pod["metadata"]["name"]) == names.ROLE_PRIMARY
