"""O7: the first record of a Cache, or the first after its status was lost.

All pods must have been seen; one that is not there counts as seen if there is no volume that it could come back with.
All of them promise an epoch above all that anybody promised, so that nobody acts by a record that nobody knows any
more. Then:

    nobody has data        a new data set, and all are members
    one data set           the best position; members are those that stand there, too
    two data sets          a person decides (token.py)

A Cache that ran with one pod, whose server had no word for any of this, has a record without disks: its pod is the one
that has the data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from cachefleet_operator.api.v1alpha1 import Member, RecordedPrimary, Topology
from cachefleet_operator.planning.failover.facts import Promise, Seat, View, position
from cachefleet_operator.planning.failover.moves import (
    DATA_CONFLICT,
    ELECTING,
    NO_CANDIDATE,
    Decide,
    Fence,
    Move,
    Rest,
)

DATA_SET_CHARACTERS = 40
Pair = tuple[Seat, Promise]


def is_first(view: View) -> bool:
    return view.record is None or not view.record.primary.disk


def unseen(view: View) -> list[str]:
    """Pods that may have data that nobody knows of."""
    found = []
    for seat in view.seats:
        if not seat.exists and not seat.claim_uid:
            continue
        if not seat.answers or seat.state is None or seat.state.loading:
            found.append(seat.pod)
    return found


def epoch(view: View) -> int:
    """Above all promises; the highest of them if those that gave it gave it to us. Others may not have been asked yet:
    a second lane that asks at the same time must not outbid the first."""
    floor = view.record.epoch + 1 if view.record is not None else 1
    top = max((state.promise for _, state in view.answering()), default=0)
    ours = all(state.disk in view.promised(top) for _, state in view.answering() if state.promise == top)
    return top if ours and top >= floor else max(floor, top + 1)


def is_blank(promise: Promise) -> bool:
    return not promise.data_set and not promise.keys


def pairs_of(view: View, promises: Mapping[str, Promise]) -> list[Pair]:
    """Who answers, and what it promised; how many keys it has is in its state, if not in that."""
    found = [(seat, state, promises[state.disk]) for seat, state in view.answering() if state.disk in promises]
    return [(seat, replace(one, keys=one.keys or state.keys)) for seat, state, one in found if not state.loading]


def move(view: View) -> Move:
    if missing := unseen(view) or ([] if view.seats else ["a pod"]):
        words = f"the primary is chosen when all pods were seen: waiting for {', '.join(missing)}"
        return Rest(words=words, reason=NO_CANDIDATE)
    promises = view.promised(epoch(view))
    unasked = [seat for seat, state in view.answering() if state.disk not in promises]
    if unasked:
        words = "asking all servers what they have"
        return Fence(words=words, reason=ELECTING, epoch=epoch(view), servers=tuple(seat.target for seat in unasked))
    pairs = pairs_of(view, promises)
    return _chosen(view, pairs) if pairs else Rest(words="there is no pod yet", reason=NO_CANDIDATE)


def _chosen(view: View, pairs: list[Pair]) -> Move:
    having = [pair for pair in pairs if not is_blank(pair[1])]
    if view.record is not None:
        recorded = [pair for pair in pairs if pair[0].pod == view.record.primary.pod]
        if not recorded:
            return Rest(words=f"waiting for {view.record.primary.pod}, which has the data", reason=NO_CANDIDATE)
        if [pair for pair in having if pair not in recorded]:
            return _conflict(pairs)
        return _begun(view, recorded[0], recorded, pairs)
    if len({promise.data_set or promise.disk for _, promise in having}) > 1:
        return _conflict(having)
    best = max(having or pairs, key=lambda pair: (pair[1].at, not pair[0].going, -pair[0].ordinal))
    level = [pair for pair in (having or pairs) if pair[1].at == best[1].at]
    return _begun(view, best, level, pairs)


def _begun(view: View, best: Pair, level: list[Pair], everybody: list[Pair]) -> Move:
    wanted = min(view.wish.acks, view.wish.instances - 1)
    members = level
    if len(level) <= wanted and not view.wish.may_loosen:
        members = everybody
        if len(members) <= wanted:
            return Rest(words=f"{wanted + 1} pods must be there before a change is taken", reason=NO_CANDIDATE)
    seat, promise = best
    words = f"{seat.pod} is the first primary" if is_blank(promise) else f"{seat.pod} is the primary: it has the data"
    made = Topology(
        epoch=promise.epoch, tenure=promise.epoch, kind="first", reason=words,
        primary=RecordedPrimary(pod=seat.pod, disk=promise.disk, run=promise.run), start=position(promise.at),
        members=tuple(Member(pod=s.pod, disk=p.disk, claim_uid=s.claim_uid or "") for s, p in members),
        acks=min(wanted, len(members) - 1), durability=view.wish.durability,
        data_set=promise.data_set or new_data_set(view, everybody),
    )  # fmt: skip
    return Decide(words=words, reason=ELECTING, record=made)


def new_data_set(view: View, pairs: list[Pair]) -> str:
    """As unlike all others as the runs that begin it, which servers draw."""
    text = "/".join([view.seed, *sorted(promise.run for _, promise in pairs)])
    return hashlib.sha256(text.encode()).hexdigest()[:DATA_SET_CHARACTERS]


def _conflict(pairs: list[Pair]) -> Move:
    found = [f"{seat.pod}/{promise.disk}" for seat, promise in pairs if not is_blank(promise)]
    words = f"data that are not of one origin: {', '.join(found)}; a person must say which is to live"
    return Rest(words=words, reason=DATA_CONFLICT)
