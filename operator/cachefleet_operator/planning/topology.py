"""Topology: who is the primary, as a record in status.topology. Decided here, stored, and only then acted by.

A record is computed from the one that it replaces and from what was seen, and is stored onto that version of the Cache
(execution/cycle.py): of two who decide at the same time one is too late, and looks again. What acts by it (role labels,
by which Services select) needs it. Who dies in between leaves a record that the next one acts by. What a server says of
its own role decides nothing.

    no record yet               first: as soon as each pod has answered. A Cache that ran without one gets it so, too
    the volume is another one   elected: what the only member had is gone, and what is on that volume is what there is
    more than one pod           failover/ decides, by what managed servers say (managed.py)

With one pod a record is solo: the set is the primary alone, and nobody else must have a change. Who restarts on its
volume is still the same member, and its record stands. `downSince` is no decision, but what is seen of one; it goes
into the status with all else that is seen.

A server that can be told its record has the parameter `managed`, as knowledge.py learns of any other. A single one is
not told, and what only such a server could say (disk, dataSet, from) is left out of its records.
"""

from __future__ import annotations

from typing import Literal

from cachefleet_operator.api import names
from cachefleet_operator.api.v1alpha1 import Member, RecordedPrimary, Topology
from cachefleet_operator.planning.failover.moves import Decide, Move
from cachefleet_operator.planning.moments import stamp
from cachefleet_operator.planning.snapshot import Server, Snapshot


def decide(snapshot: Snapshot, made: Move | None = None) -> Topology | None:
    """The record that is to stand: the very one that does, where there is nothing to decide. `made` is the move of
    managed servers (managed.py)."""
    stands = snapshot.cache.status.topology
    if made is not None:
        return _counted(made.record, stands) if isinstance(made, Decide) else stands
    member = _only_member(snapshot)
    if member is None:
        return stands
    server = snapshot.servers[member.pod]
    if stands is None:
        return _solo(snapshot, member, server, epoch=1, kind="first", reason=f"{member.pod} is the only pod")
    if stands.members == (member,):
        return stands
    reason = f"the volume of {member.pod} is another one than before: what is on it is what there is"
    return _counted(_solo(snapshot, member, server, epoch=stands.epoch + 1, kind="elected", reason=reason), stands)


def _counted(record: Topology, stands: Topology | None) -> Topology:
    """With the last that was planned up to it: `kind` is forgotten with the next record of the tenure, a moment later.
    A first record over one that stands is that of a Cache of one pod that grew."""
    before = stands.handed_over if stands is not None else None
    planned = record.kind == "handover" or (record.kind == "first" and stands is not None)
    return record.model_copy(update={"handed_over": record.epoch if planned else before})


def role(record: Topology | None, pod: str) -> str:
    """What a pod is by the record; empty where that does not speak of it."""
    if record is None or pod not in (member.pod for member in record.members):
        return ""
    return names.ROLE_PRIMARY if pod == record.primary.pod else names.ROLE_REPLICA


def watched(record: Topology | None, snapshot: Snapshot, now: float) -> Topology | None:
    """The record with what is seen of its primary."""
    if record is None:
        return None
    server = snapshot.servers.get(record.primary.pod)
    down = server is None or bool(server.error)
    if record.primary.disk and server is not None:
        down = down or server.managed is None or server.managed.reign != record.tenure
    return record.model_copy(update={"down_since": (record.down_since or stamp(now)) if down else None})


def _only_member(snapshot: Snapshot) -> Member | None:
    """The one pod with its volume, if it answers; None while one of that is not there, or is going."""
    cache = snapshot.cache
    pod = names.pod(cache.metadata.name, 0)
    server = snapshot.servers.get(pod)
    if snapshot.get("Pod", pod) is None or server is None or server.error:
        return None
    if cache.spec.persistence.mode == "none":
        return Member(pod=pod, disk="")
    claim = snapshot.get("PersistentVolumeClaim", names.claim(cache.metadata.name, 0))
    if claim is None or claim["metadata"].get("deletionTimestamp"):
        return None
    return Member(pod=pod, disk="", claim_uid=claim["metadata"].get("uid", ""))


def _solo(
    snapshot: Snapshot, member: Member, server: Server, *, epoch: int, kind: Literal["first", "elected"], reason: str
) -> Topology:
    return Topology(
        epoch=epoch, tenure=epoch, kind=kind, reason=reason, members=(member,), acks=0,
        primary=RecordedPrimary(pod=member.pod, disk=member.disk, run=server.run_id),
        durability=snapshot.cache.spec.durability.mode,
    )  # fmt: skip
