"""Caches of more than one pod: what was seen as a View of failover/, and its move as actions.

A server that is managed (parameter `managed`) says of itself what the rules need; one that is not is a pod that does
not answer. Nothing is decided here: failover/decide.py does, and a record is stored before it is told
(execution/cycle.py), in the same cycle where that is possible.

    labels    a pod is the primary by its label when it reigns by the record, and not before (O10). Who was it keeps the
              label till then, unless it is silent: it loses it when others are asked to promise. What follows a
              Service's endpoints takes up one change a second, so one without any would be that for a second, while
              who only refuses writes says so at once. A pod that follows is a replica
    reads     a replica serves them while it hears its primary, whose beats lie in the stream: how old the last one is
              is how old its data are. The primary does where no replica can. In between all stays as it is
"""

from __future__ import annotations

from collections.abc import Iterable

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object
from cachefleet_operator.api.v1alpha1 import Cache, Topology
from cachefleet_operator.planning import pods as pod_facts
from cachefleet_operator.planning.actions import (
    RECORD,
    Action,
    FenceServer,
    PauseServer,
    PrepareServer,
    ResumeServer,
    TellRecord,
)
from cachefleet_operator.planning.failover import moves, suspect
from cachefleet_operator.planning.failover.decide import decide as decide_by
from cachefleet_operator.planning.failover.facts import Prepared, Seat, State, Target, View, Wish, disks
from cachefleet_operator.planning.failover.members import away
from cachefleet_operator.planning.snapshot import Snapshot
from cachefleet_operator.planning.step import Step
from cachefleet_operator.resources import configmap

_RECORDED = frozenset((RECORD,))


def is_managed(snapshot: Snapshot) -> bool:
    return configmap.is_managed(snapshot.cache)


def with_members(cache: Cache) -> Cache:
    """With as many pods as its record needs: one goes when it is no member any more, and not before."""
    stands = cache.status.topology
    if stands is None or not stands.primary.disk:
        return cache
    needed = 1 + max(names.ordinal(member.pod) for member in stands.members)
    instances = max(cache.spec.instances, needed)
    return cache.model_copy(update={"spec": cache.spec.model_copy(update={"instances": instances})})


def is_growing(snapshot: Snapshot) -> bool:
    """Whether its data are a server's that was alone, and has no word for any of this."""
    stands = snapshot.cache.status.topology
    return snapshot.cache.spec.instances > 1 and stands is not None and not stands.primary.disk


def move(snapshot: Snapshot, due: str = "") -> moves.Move | None:
    """None: one pod, which topology.py decides for. `due`: the pod that is the next to be restarted (rollout.py)."""
    return decide_by(view(snapshot, due)) if is_managed(snapshot) else None


def step(snapshot: Snapshot, record: Topology | None, made: moves.Move | None) -> Step:
    """What the move asks for; of a new record, that those who answer are told it as soon as it is stored."""
    if made is None or (record is None and not isinstance(made, moves.Fence)):
        return Step(waiting=made.words if made is not None else "")
    actions: list[Action] = []
    match made:
        case moves.Decide() if record is not None:
            targets = [seat.target for seat in seats(snapshot) if seat.answers and seat.state is not None]
            actions = _tells(snapshot, record, targets, made.words)
        case moves.Tell(servers=servers) if record is not None:
            actions = _tells(snapshot, record, servers, made.words)
        case moves.Fence():
            actions = [
                FenceServer(made.words, to.pod, to.run, to.disk, made.epoch, _claim(snapshot, to.pod) or "")
                for to in made.servers
            ]
        case moves.Prepare():
            wanted, to = Prepared(made.epoch, frozenset(made.members), made.acks), made.server
            actions = [PrepareServer(made.words, to.pod, to.run, to.disk, wanted)]
        case moves.Pause():
            to = made.server
            actions = [PauseServer(made.words, to.pod, to.run, to.disk, made.epoch, made.for_ms, made.heir)]
        case moves.Resume():
            actions = [ResumeServer(made.words, made.server.pod, made.server.run, made.server.disk, made.epoch)]
    return Step(tuple(actions), waiting=made.words if made.reason else "")


def label(snapshot: Snapshot, record: Topology, made: moves.Move, pod: str) -> str | None:
    """The role that a pod should have as its label; None: none. Who is in between keeps what it has."""
    live, state = _live_label(snapshot, pod, names.LABEL_ROLE), _said(snapshot, pod)
    is_led = reigns(snapshot, record)
    if pod == record.primary.pod and is_led:
        return names.ROLE_PRIMARY
    if live == names.ROLE_PRIMARY and not is_led:
        asks = isinstance(made, moves.Fence | moves.Decide)
        seat = next((seat for seat in seats(snapshot) if seat.pod == pod), None)
        return None if asks and suspect.is_silent(seat) else live
    if pod != record.primary.pod and state is not None and state.follows == record.primary.disk and state.link == "up":
        return names.ROLE_REPLICA
    return None if live == names.ROLE_PRIMARY else live


def reigns(snapshot: Snapshot, record: Topology) -> bool:
    """Whether the record's primary answers, and holds its tenure."""
    state = _said(snapshot, record.primary.pod)
    return state is not None and state.disk == record.primary.disk and state.reign == record.tenure


def lacking(snapshot: Snapshot, record: Topology) -> int:
    """How many of the record's set do not have what the primary has, as that says."""
    seen = view(snapshot)
    holder = seen.holder() if seen.record == record and record.primary.disk else None
    return len(away(seen, holder[1])) if holder is not None else 0


def readers(snapshot: Snapshot, record: Topology) -> frozenset[str]:
    """The pods to which the Service for reads leads."""
    wish, since_s = snapshot.cache.spec.services, snapshot.evidence.reign_s
    live = {seat.pod for seat in seats(snapshot) if _live_label(snapshot, seat.pod, names.LABEL_READS)}
    if not reigns(snapshot, record):
        return frozenset(live)
    found = set()
    for seat in seats(snapshot):
        if seat.pod == record.primary.pod or seat.going:
            continue
        if not seat.answers or seat.state is None:
            serves = seat.pod in live and not suspect.is_silent(seat)
        else:
            follows, age_s = seat.state.follows == record.primary.disk, seat.state.beat_s
            in_time = follows and not seat.state.loading and age_s is not None and age_s <= wish.max_lag_seconds
            serves = in_time or (seat.pod in live and since_s <= wish.max_lag_seconds)  # it may not have been told yet
        found |= {seat.pod} if serves else set()
    return frozenset(found or ({record.primary.pod} if wish.without_replicas == "primary" else ()))


def answers(snapshot: Snapshot, pod: str) -> bool:
    """Whether it says of itself what the rules need."""
    return _said(snapshot, pod) is not None


def has_all(snapshot: Snapshot, pod: str) -> bool:
    """Whether it is a member with the disk that it has now, and reigns, or follows who does. A member that was told
    something just now says nothing for a moment: that is no lack, or the lanes would not agree."""
    record = snapshot.cache.status.topology
    state = _said(snapshot, pod)
    if record is None:
        return False
    if state is None:
        return pod not in snapshot.servers and pod in {member.pod for member in record.members}
    leads = state.disk == record.primary.disk and state.reign == record.tenure
    follows = state.follows == record.primary.disk and state.link == "up" and state.marked == record.tenure
    return state.disk in disks(record.members) and (leads or follows)


def has_heirs(snapshot: Snapshot) -> bool:
    """Whether its record names others than the primary, to one of which it can hand over."""
    record = snapshot.cache.status.topology
    return is_managed(snapshot) and record is not None and len(record.members) > 1


def view(snapshot: Snapshot, due: str = "") -> View:
    spec, cache = snapshot.cache.spec, snapshot.cache
    wish = Wish(
        instances=spec.instances, durability=spec.durability.mode, copies=spec.durability.copies,
        when_missing=spec.durability.when_missing, on_disk_loss=spec.durability.on_disk_loss,
        keeps_data=spec.persistence.mode != "none",
    )  # fmt: skip
    token = cache.metadata.annotations.get(names.ANNOTATION_DATA_FROM, "")
    found = seats(snapshot, due)
    successor = cache.metadata.annotations.get(names.ANNOTATION_FAILOVER, "")
    return View(
        cache.status.topology, found, wish, snapshot.evidence, seed=cache.metadata.uid, token=token, successor=successor
    )  # fmt: skip


def seats(snapshot: Snapshot, due: str = "") -> tuple[Seat, ...]:
    """Of the pods that are wanted, and of those that are there beyond them."""
    cache = snapshot.cache
    there = [names.ordinal(pod["metadata"]["name"]) for pod in snapshot.pods()]
    ordinals = sorted({*range(cache.spec.instances), *there})
    return tuple(_seat(snapshot, names.pod(cache.metadata.name, ordinal), ordinal, due) for ordinal in ordinals)


def _seat(snapshot: Snapshot, name: str, ordinal: int, due: str) -> Seat:
    pod, server, said = snapshot.get("Pod", name), snapshot.servers.get(name), _said(snapshot, name)
    return Seat(
        pod=name, ordinal=ordinal, exists=pod is not None, claim_uid=_claim(snapshot, name), state=said,
        answers=said is not None, failures=server.failures if server is not None else 0,
        refuses=server is None or server.refuses, ended=pod is not None and pod_facts.has_ended(pod),
        going=pod is not None and bool(pod["metadata"].get("deletionTimestamp")), due=name == due,
    )  # fmt: skip


def _claim(snapshot: Snapshot, pod: str) -> str | None:
    if snapshot.cache.spec.persistence.mode == "none":
        return ""
    claim = names.claim(snapshot.cache.metadata.name, names.ordinal(pod))
    found: Object | None = snapshot.get("PersistentVolumeClaim", claim)
    return str(found["metadata"].get("uid", "")) if found is not None else None


def _said(snapshot: Snapshot, pod: str) -> State | None:
    """What its server says of itself now; None: it does not answer, or has no word for it."""
    server = snapshot.servers.get(pod)
    return server.managed if server is not None and not server.error else None


def _live_label(snapshot: Snapshot, pod: str, name: str) -> str | None:
    found = snapshot.get("Pod", pod)
    return found["metadata"].get("labels", {}).get(name) if found is not None else None


def _tells(snapshot: Snapshot, record: Topology, targets: Iterable[Target], words: str) -> list[Action]:
    """The primary first: the others need it."""
    order = sorted(targets, key=lambda to: to.pod != record.primary.pod)
    return [
        TellRecord(words, to.pod, to.run, to.disk, record, _claim(snapshot, to.pod) or "", needs=_RECORDED)
        for to in order
    ]
