"""O4: a record that asks something else of the primary than before: a member removed or replaced, more confirmations,
not alone any more.

    PREPARE    the primary obeys the new set beside the old one, and says OK when all that it ever acknowledged is
               confirmed by the new one
    Decide     the record with that set
    Tell       as any record

The record first, or the server first, alone is wrong: a change would be acknowledged by the one, and looked for in the
other. A primary prepares one set an epoch; another one is wanted by then: bump.py.
"""

from __future__ import annotations

from cachefleet_operator.api.v1alpha1 import Member
from cachefleet_operator.planning.failover import loosen, members
from cachefleet_operator.planning.failover.facts import Prepared, Seat, State, View, disks
from cachefleet_operator.planning.failover.moves import Move, Prepare


def pending(view: View, state: State) -> tuple[tuple[Member, ...], int] | None:
    """What the primary has prepared, if it can still be had: then it is gone through with, whatever else is wished."""
    prepared, record = state.prepared, view.stands
    if prepared is None or prepared.epoch != record.epoch:
        return None
    seats = {said.disk: members.member_of(seat) for seat, said in view.answering()}
    known = {**seats, **{member.disk: member for member in record.members}}
    found = tuple(known[disk] for disk in sorted(prepared.members) if disk in known)
    others = [member for member in found if member.disk != record.primary.disk]
    usable = all(members.is_wished(view, one) and not members.is_away(view, state, one) for one in others)
    return (found, prepared.acks) if usable and len(found) == len(prepared.members) else None


def is_agreed(view: View, seat: Seat, wanted: Prepared) -> bool:
    """Whether the process that reigns said OK to exactly this."""
    return view.evidence.agreed == wanted and view.evidence.agreed_by == seat.target


def move(view: View, seat: Seat, state: State, wished: tuple[Member, ...], acks: int) -> Move | None:
    """None: it must wait for disks to come back."""
    wanted = Prepared(view.stands.epoch, disks(wished), acks)
    pods = " and ".join(member.pod for member in wished if member.pod != seat.pod)
    if not loosen.is_safe(view, wished, acks):
        return None
    if is_agreed(view, seat, wanted):
        words = f"{seat.pod} goes on with {acks} of {len(wished) - 1}: all that it acknowledged is at {pods}"
        return loosen.continued(view, state, wished, acks, words)
    return Prepare(
        words=f"all that {seat.pod} acknowledged is to be at {pods}", epoch=view.stands.epoch,
        server=seat.target, members=tuple(member.disk for member in wished), acks=acks,
    )  # fmt: skip
