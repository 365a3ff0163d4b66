"""O6: who should be in the set, and how many of it must confirm, as things are now.

    joins       a pod in sync with the primary; in the place of its old disk, if that is a member
    goes        a pod that is not wished any more; a member that is away, as soon as that is certain (with three members
                and one confirmation, losing the primary needs both others: one that is away must not stay for long)
                it goes before it is away, if that is known: a pod that is being deleted, or is the next to be restarted
    stays       who is away, where fewer members would break the promised copies

A primary that is not wished any more is not alone before it has handed over: who could take over must be a member.

It only says what should be; how the record gets there is O3 (loosen.py) or O4 (tighten.py).
"""

from __future__ import annotations

from cachefleet_operator.api.v1alpha1 import Member
from cachefleet_operator.planning.failover import handover, suspect, times
from cachefleet_operator.planning.failover.facts import Seat, State, View, disks, is_superseded


def is_in_sync(view: View, state: State, other: State) -> bool:
    """It follows the primary, has applied the mark of its tenure, and is not far behind."""
    record = view.stands
    return (
        other.follows == record.primary.disk and other.link == "up" and not other.loading
        and other.marked == record.tenure and other.at.tenure == record.tenure
        and state.at.offset - other.at.offset <= times.LEVEL_BYTES and other.data_set == (record.data_set or "")
    )  # fmt: skip


def is_away(view: View, state: State, member: Member) -> bool:
    """`state` is the primary's. Who confirms to it is there, whatever we see of it."""
    seat, said = view.seat(member.pod), state.confirmed.get(member.disk)
    gone = is_superseded(view, member) or suspect.is_silent(seat)
    if said is None:
        return gone or view.evidence.reign_s >= times.JOIN_S
    return said.age_s >= (times.QUIET_S if gone else times.LEASE_S)


def away(view: View, state: State) -> list[str]:
    """Pods of members that do not confirm. They stay in the set where it must not become smaller."""
    others = [member for member in view.stands.members if member.disk != state.disk]
    return [member.pod for member in others if is_away(view, state, member)]


def missing(view: View, state: State) -> list[str]:
    """Those of them without whom no write is acknowledged; none while enough others confirm."""
    found = away(view, state)
    return found if len(view.stands.members) - 1 - len(found) < view.stands.acks else []


def wished(view: View, state: State) -> tuple[tuple[Member, ...], int]:
    """The set that should be, in the order of pods, and its acks. `state` is that of the primary, which reigns."""
    record, wish = view.stands, view.wish
    joining = {seat.pod: member_of(seat) for seat, other in view.answering() if _may_join(view, state, seat, other)}
    kept: list[Member] = []
    gone: list[Member] = []
    for member in record.members:
        if member.disk == record.primary.disk:
            kept.append(member)
        elif member.pod not in joining and is_wished(view, member):
            leaves = _leaves(view, member.pod) or is_away(view, state, member)
            (gone if leaves else kept).append(member)
    found = [*kept, *joining.values()]
    acks = min(wish.acks, max(wish.instances, 2 if _leaves(view, record.primary.pod) else 1) - 1)
    if wish.may_loosen:
        acks = min(acks, len(found) - 1)
    elif len(found) <= acks:  # Nobody leaves then; and a set that is smaller grows with those that come.
        found += _with_their_disks(view, state, gone)
        acks = min(acks, len(found) - 1)
    if acks == 0:
        found = [member for member in found if member.disk == record.primary.disk]
    order = {seat.pod: seat.ordinal for seat in view.seats}
    return tuple(sorted(found, key=lambda member: order.get(member.pod, len(order)))), acks


def is_as_wished(view: View, members: tuple[Member, ...], acks: int) -> bool:
    record = view.stands
    same = disks(members) == disks(record.members) and acks == record.acks
    return same and record.durability == view.wish.durability


def _may_join(view: View, state: State, seat: Seat, other: State) -> bool:
    if other.disk in disks(view.stands.members) or handover.is_to_leave(view, seat):
        return False
    # Who is back and has not confirmed yet would be away by its last word, and leave again with the next look. Who has
    # never confirmed joins: a primary that needs nobody soon beats for nobody, and who hears no beat confirms nothing.
    said = state.confirmed.get(other.disk)
    return is_in_sync(view, state, other) and (said is None or said.age_s < times.LEASE_S)


def _with_their_disks(view: View, state: State, away: list[Member]) -> list[Member]:
    """A pod that is to leave stays in the set where it is needed: with the disk that it has by now. What it had before
    confirms nothing any more, and it is not restarted as long as that is waited for."""
    back = {seat.pod: member_of(seat) for seat, other in view.answering() if is_in_sync(view, state, other)}
    return [back.get(member.pod, member) for member in away]


def _leaves(view: View, pod: str) -> bool:
    seat = view.seat(pod)
    return seat is not None and handover.is_to_leave(view, seat)


def is_wished(view: View, member: Member) -> bool:
    seat = view.seat(member.pod)
    return seat is None or seat.ordinal < view.wish.instances


def member_of(seat: Seat) -> Member:
    return Member(pod=seat.pod, disk=seat.target.disk, claim_uid=seat.claim_uid or "")
