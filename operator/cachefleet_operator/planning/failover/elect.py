"""O1, O6, O11: who becomes the primary in the place of one that cannot be it any more.

All members that answer are asked for the promise of the next epoch. Then c is elected, if it has the greatest position
of V, members that promised, with |V| >= |S| - A: so V meets every set that ever acknowledged, or lent its lease. And
the record must be closed, so that no lease of its primary is left:

    (a) its primary's member promised, too, or
    (b) its primary's process has ended for certain, or
    (c) each of V sent its last confirmation so long ago that no lease is left of it

Async with (a) or (b): c alone is enough, if it has what this tenure began with; the others are waited for a while,
because they may have more. Set and acks stay as they are (O6): who is missing from them may hold what was acknowledged.

O11: a member whose pod answers with another disk has nothing any more, and counts as one that is silent since then.
Where all of S is so, or empty, the best that is left is elected with a set of its own, and a person is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cachefleet_operator.api.v1alpha1 import Member, RecordedPrimary, Topology
from cachefleet_operator.planning.failover import times
from cachefleet_operator.planning.failover.facts import (
    NOWHERE,
    Promise,
    Seat,
    View,
    disks,
    is_superseded,
    point,
    position,
)
from cachefleet_operator.planning.failover.moves import (
    ELECTING,
    NO_CANDIDATE,
    WAITING_FOR_LEASE,
    WAITING_FOR_MEMBER,
    Decide,
    Fence,
    Move,
    Rest,
)


@dataclass(frozen=True, slots=True)
class Votes:
    """What was promised at the next epoch, by members of the set and by whoever else answers."""

    epoch: int
    promises: Mapping[str, Promise]  # by disk, of all
    lost: frozenset[str]  # members without their disk that count as silent (O11)
    lost_s: float  # since the last of them was seen so


def quorum(record: Topology) -> int:
    """|S| - A: as many meet every set that acknowledged a change, and every one that keeps a lease."""
    return len(record.members) - record.acks


def is_over(view: View, votes: Votes) -> bool:
    """(a) or (b): the process that reigned by this record does not any more."""
    record = view.stands
    return record.primary.disk in votes.promises or record.primary.run in view.evidence.dead


def is_aged(silence_s: float | None) -> bool:
    """(c) for one member: no lease is left of its last confirmation."""
    return silence_s is None or silence_s >= times.LEASE_OVER_S


def has_data(view: View, promise: Promise) -> bool:
    return promise.data_set != "" and promise.data_set == view.stands.data_set


def is_new(promise: Promise) -> bool:
    """It is a member since a record without data, and has confirmed nothing since. Where a whole quorum is so, nothing
    was ever acknowledged."""
    return not promise.data_set and promise.at == NOWHERE


def is_origin(view: View, promise: Promise) -> bool:
    """The record made its data the Cache's, or elects it where they ended, and it has taken neither: they are the same
    data still."""
    record = view.stands
    stands_there = record.kind == "first" or promise.at == point(record.start)
    return promise.disk == record.primary.disk and not promise.data_set and stands_there


def has_tenure(view: View, promise: Promise) -> bool:
    """Whether it has what this tenure began with: its mark, or it stands where that is."""
    return promise.marked >= view.stands.tenure or promise.at == point(view.stands.start)


def staying(record: Topology, promised: frozenset[str]) -> tuple[tuple[Member, ...], int]:
    """O6: set and acks of the record that elects."""
    return record.members, record.acks


def superseded(view: View) -> frozenset[str]:
    """O11: members that count without their disks; none where a person is to be asked first."""
    if not view.wish.may_roll_back:
        return frozenset()
    return frozenset(member.disk for member in view.stands.members if is_superseded(view, member))


def move(view: View) -> Move:
    record = view.stands
    members = disks(record.members)
    votes = _votes(view)
    known = members & votes.promises.keys() | votes.lost
    # Who is reading its data does not know yet where it stands, so its promise would be worth nothing; who has promised
    # what no record leads to gives none.
    asked = [
        (seat, state) for seat, state in view.answering()
        if state.disk not in votes.promises and not state.loading and not view.is_far(state)
    ]  # fmt: skip
    reach = known | {state.disk for _, state in asked if state.disk in members}
    if missing := _short(view, votes, reach):
        return missing
    unasked = [seat for seat, state in asked if state.disk in members or known >= members]
    if unasked:
        words = f"asking {_names(unasked)} to promise epoch {votes.epoch}: {record.primary.pod} does not reign any more"
        targets = sorted((seat.target for seat in unasked), key=lambda t: t.disk != record.primary.disk)
        return Fence(words=words, reason=ELECTING, epoch=votes.epoch, servers=tuple(targets))
    return _elected(view, votes) or _recovered(view, votes) or _waits(view, votes)


def _votes(view: View) -> Votes:
    epoch, lost = view.next_epoch(), superseded(view)
    ages = [view.evidence.replaced_s.get(member.pod, 0.0) for member in view.stands.members if member.disk in lost]
    return Votes(epoch, view.promised(epoch), lost, min(ages, default=0.0))


def _short(view: View, votes: Votes, reach: frozenset[str]) -> Move | None:
    """Nobody is fenced in vain: that alone would stop a primary that nobody can replace."""
    record = view.stands
    if len(reach) >= quorum(record):
        return None
    ends = record.primary.disk in reach or is_over(view, votes)
    if record.durability == "async" and reach and ends and view.evidence.down_s >= times.OTHERS_S:
        return None
    away = [m.pod for m in record.members if m.disk not in reach]
    words = f"{quorum(record)} of {len(record.members)} members must answer: waiting for {', '.join(away)}"
    return Rest(words=words, reason=WAITING_FOR_MEMBER)


def _may_lead(view: View, promise: Promise) -> bool:
    return has_data(view, promise) or is_new(promise) or is_origin(view, promise)


def candidates(view: View, votes: Votes) -> list[tuple[Seat, Promise]]:
    """Members that answer and could be the primary, the best first: the greatest position, then who stays."""
    found = [
        (seat, votes.promises[state.disk]) for seat, state in view.answering()
        if state.disk in disks(view.stands.members) and state.disk in votes.promises and not state.loading
        and _may_lead(view, votes.promises[state.disk])
    ]  # fmt: skip
    return sorted(found, key=lambda pair: (pair[1].at, not pair[0].going, -pair[0].ordinal), reverse=True)


def voters(view: View, votes: Votes, best: Promise, *, aged: bool) -> frozenset[str]:
    """V: members whose position is none above that of `best`; those alone whose lease is over, if `aged`."""
    loading = {state.disk for _, state in view.answering() if state.loading}  # they do not know where they stand yet
    members = disks(view.stands.members)
    found = {
        disk for disk, promise in votes.promises.items()
        if disk in members and disk not in loading and promise.at <= best.at
        and (not aged or is_aged(promise.silence_s))
    }  # fmt: skip
    # Of one that lost its disk nobody knows what it had: only who has the data may count on that.
    lost = votes.lost if has_data(view, best) and (not aged or is_aged(votes.lost_s)) else frozenset()
    return frozenset(found | lost)


def is_enough(view: View, votes: Votes, best: Promise) -> bool:
    record, over = view.stands, is_over(view, votes)
    if len(voters(view, votes, best, aged=not over)) >= quorum(record):
        return True
    alone = record.durability == "async" and over and has_tenure(view, best)
    return alone and view.evidence.down_s >= times.OTHERS_S


def _elected(view: View, votes: Votes) -> Move | None:
    found = candidates(view, votes)
    chosen = next(((seat, promise) for seat, promise in found if is_enough(view, votes, promise)), None)
    if chosen is None:
        return None
    members, acks = staying(view.stands, frozenset(votes.promises))
    seat, promise = chosen
    words = f"{seat.pod} is the primary in place of {view.stands.primary.pod}, which does not reign any more"
    if seat.pod == view.stands.primary.pod:
        words = f"{seat.pod} is the primary again: no member has more than it"
    record = successor(view, seat, promise, epoch=votes.epoch, members=members, acks=acks, words=words)
    return Decide(words=words, reason=ELECTING, record=record)


def _recovered(view: View, votes: Votes) -> Move | None:
    """O11: nobody of the set has anything any more."""
    record = view.stands
    empty = {disk for disk, promise in votes.promises.items() if promise.at == NOWHERE}
    if not view.wish.may_roll_back or not disks(record.members) <= votes.lost | empty:
        return None
    left = [
        (seat, votes.promises[state.disk]) for seat, state in view.answering()
        if state.disk in votes.promises and not state.loading and votes.promises[state.disk].at > NOWHERE
        and (votes.promises[state.disk].data_set or _was_origin(view, seat))
    ]  # fmt: skip
    if not left:
        return None
    same = [pair for pair in left if pair[1].data_set == record.data_set] or left
    seat, promise = max(same, key=lambda pair: (pair[1].at, -pair[0].ordinal))
    words = f"all members have lost their data; what {seat.pod} has is the most that is left"
    made = alone(view, seat, promise, votes.epoch, words)
    made = made.model_copy(update={"data_set": promise.data_set or record.data_set})
    return Decide(words=words, reason=ELECTING, record=made, rolled_back=True)


def _was_origin(view: View, seat: Seat) -> bool:
    """Its data are those that the first record named, and lost their end before that was told: they have no name."""
    return view.stands.kind == "first" and seat.pod == view.stands.primary.pod


def alone(view: View, seat: Seat, promise: Promise, epoch: int, words: str) -> Topology:
    """It is the only member from now on."""
    member = Member(pod=seat.pod, disk=promise.disk, claim_uid=seat.claim_uid or "")
    made = successor(view, seat, promise, epoch=epoch, members=(member,), acks=0, words=words)
    return made.model_copy(update={"data_set": promise.data_set or None})


def successor(
    view: View, seat: Seat, promise: Promise, *, epoch: int, members: tuple[Member, ...], acks: int, words: str,
) -> Topology:  # fmt: skip
    record = view.record  # None: a person decides over none
    return Topology(
        epoch=epoch, tenure=epoch, kind="elected", acks=acks, members=members, reason=words,
        primary=RecordedPrimary(pod=seat.pod, disk=promise.disk, run=promise.run), start=position(promise.at),
        data_set=record.data_set if record is not None else None,
        durability=record.durability if record is not None else view.wish.durability,
    )  # fmt: skip


def _waits(view: View, votes: Votes) -> Move:
    record, found = view.stands, candidates(view, votes)
    if not found:
        words = "of the members that answer none has the data"
        loading = [seat.pod for seat, state in view.answering() if state.loading]
        return Rest(words=f"{words}: {', '.join(loading)} is reading it" if loading else words, reason=NO_CANDIDATE)
    best = found[0][1]
    if len(voters(view, votes, best, aged=False)) >= quorum(record):
        ages = [promise.silence_s for disk, promise in votes.promises.items() if disk in disks(record.members)]
        ages += [votes.lost_s] if votes.lost else []
        left_s = times.LEASE_OVER_S - min((age for age in ages if age is not None), default=0.0)
        words = f"{found[0][0].pod} follows as soon as {record.primary.pod} can have no lease any more"
        return Rest(words=words, reason=WAITING_FOR_LEASE, again_s=max(0.05, left_s))
    away = [m.pod for m in record.members if m.disk not in votes.promises and m.disk not in votes.lost]
    words = f"{quorum(record)} of {len(record.members)} members must answer: waiting for {', '.join(away)}"
    return Rest(words=words, reason=WAITING_FOR_MEMBER)


def _names(seats: list[Seat]) -> str:
    return ", ".join(seat.pod for seat in seats)
