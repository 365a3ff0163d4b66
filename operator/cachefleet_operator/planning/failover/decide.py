"""decide(view) -> one move. The order of the rules, and nothing else; each has a file of its own, which says why.

    no record               first (O7)
    the primary reigns      tell the record to who has another; bump (O5); hand over (O2) if it is to leave;
                            if it answered just now, loosen (O3) or tighten (O4) towards the set that should be (O6);
                            tell who lost the link; where the set must stay and too few confirm, say so
    it can begin to         tell it the record (S3)
    it promised to a heir   the handover's record (O2)
    it answers otherwise, or is suspect (O9)
                            elect (O1, O11); where that waits, what a person said (§10)

Every move is right whoever makes it, and however late: what counts of it is the record, which replaces the one that it
was decided over, or nothing.
"""

from __future__ import annotations

from math import inf

from cachefleet_operator.planning.failover import (
    bump,
    calm,
    elect,
    first,
    handover,
    loosen,
    members,
    suspect,
    tighten,
    times,
    token,
)
from cachefleet_operator.planning.failover.facts import Seat, State, View, point
from cachefleet_operator.planning.failover.moves import WAITING_FOR_LEASE, WAITING_FOR_MEMBER, Move, Rest, Tell

WELL = Rest(words="", again_s=inf)
BUSY = Rest(words="", again_s=times.LOOK_S)  # there is nothing to be done yet


def decide(view: View) -> Move:
    if first.is_first(view):
        found = first.move(view)
        return _or_a_word(view, found)
    holder = view.holder()
    if holder is not None:
        return _reigning(view, *holder)
    primary = view.primary()
    if primary is not None and can_begin(view, *primary):
        return _tell(view, [primary[0]])
    if made := handover.finish(view):
        return made
    if primary is not None or _answers(view) or suspect.primary(view):
        return _or_a_word(view, elect.move(view))
    return Rest(words=f"{view.stands.primary.pod} does not answer")


def _or_a_word(view: View, found: Move) -> Move:
    """What a person said stands in for members that are missing, not for time."""
    waits = isinstance(found, Rest) and found.reason != WAITING_FOR_LEASE
    return (token.move(view) or found) if waits else found


def can_begin(view: View, seat: Seat, state: State) -> bool:
    """Whether the record makes it the primary when it hears of it: its disk, run and position are those recorded."""
    record = view.stands
    if record.kind == "continued" or state.promise > record.epoch or _is_refused(view, seat):
        return False
    return not state.loading and state.run == record.primary.run and state.at == point(record.start)


def _answers(view: View) -> bool:
    """The pod of the primary answers, as another member: what the record's had is gone."""
    seat = view.seat(view.stands.primary.pod)
    return seat is not None and seat.answers and seat.state is not None


def _reigning(view: View, seat: Seat, state: State) -> Move:
    if untold := [other for other, said in view.answering() if _is_untold(view, said, other)]:
        return _tell(view, untold)
    if found := bump.ahead(view, seat, state):
        return found
    if found := handover.begin(view, seat, state):
        return found
    if seat.failures:  # What it said is old: its members may be there by now, and it away (O3).
        return BUSY
    wanted, acks = members.wished(view, state)
    wanted, acks = tighten.pending(view, state) or (wanted, acks)
    if found := bump.abandoned(view, seat, state, wanted, acks):
        return found
    if not members.is_as_wished(view, wanted, acks):
        found = loosen.move(view, seat, state, wanted, acks) or tighten.move(view, seat, state, wanted, acks)
        if found is not None:
            return found
    lost = [other for other, said in view.answering() if other is not seat and _has_lost_it(view, other, said)]
    if lost:
        return _tell(view, lost)
    if missing := members.missing(view, state):
        words = f"{seat.pod} takes no writes before {' and '.join(missing)} confirm them"
        return Rest(words=words, reason=WAITING_FOR_MEMBER, again_s=times.LOOK_S)
    return WELL if calm.is_calm(view, seat, state) else BUSY


def _is_untold(view: View, said: State, seat: Seat) -> bool:
    record = view.stands
    if said.promise > record.epoch or said.loading or _is_refused(view, seat):
        return False
    return said.epoch < record.epoch


def _has_lost_it(view: View, seat: Seat, said: State) -> bool:
    """It knows the record, and does not reach the primary; perhaps that has another address now."""
    if said.loading or said.promise > view.stands.epoch or _is_refused(view, seat):
        return False
    if view.evidence.told_s.get(seat.pod, times.RETELL_S) < times.RETELL_S:
        return False
    for_s = view.evidence.reign_s if said.beat_s is None else said.beat_s
    return said.follows != view.stands.primary.disk or (said.link != "up" and for_s >= times.JOIN_S)


def _is_refused(view: View, seat: Seat) -> bool:
    return seat.pod in view.evidence.refused


def _tell(view: View, seats: list[Seat]) -> Tell:
    record = view.stands
    first_of_all = sorted(seats, key=lambda seat: (seat.pod != record.primary.pod, seat.ordinal))
    names = ", ".join(seat.pod for seat in first_of_all)
    words = f"telling {names} that {record.primary.pod} is the primary (epoch {record.epoch})"
    return Tell(words=words, servers=tuple(seat.target for seat in first_of_all))
