"""O2: the primary gives its place to a member that has all that it has, while both are there.

    PAUSE      the primary holds its writes, so that the other can come level
    FENCE      the primary, then the other: from now on neither goes on, whatever becomes of us
    Decide     `handover`, from exactly the position at which the primary stopped

PAUSE alone is not enough: the primary resumes at its deadline, while the record is on its way. If the other is not
level after the FENCE, that is an election (elect.py), which knows by its promises who has most. Whoever dies in between
leaves the next one an election at once, since the primary has promised. But who was just fenced may not have been asked
since: to elect by what the others say would give the place back to the one that leaves.

An heir that has not come level while writes were held (its disk is slow, or the network between them) is not waited for
again at once, or they would be held nearly all the time for as long as the hand-over is wanted. A pod that is being
deleted tries all the same: its time is short, and what it does not hand over is an election.

A primary hands over when its pod is to leave, or when a person says so, by the annotation cachefleet.io/failover on the
Cache: `<pod>@<epoch>`, or `any@<epoch>`, over the record of that epoch alone. Who is not in sync is not made primary by
it; and without anybody to hand over to nothing happens. Who was named is waited for no longer than NAMED_S when the
primary has promised.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cachefleet_operator.planning.failover import suspect, times
from cachefleet_operator.planning.failover.elect import successor
from cachefleet_operator.planning.failover.facts import Promise, Seat, State, View, disks
from cachefleet_operator.planning.failover.moves import ELECTING, Decide, Fence, Move, Pause, Rest, Resume

ANY = "any"
_TOKEN = re.compile(r"(?P<pod>[^@\s]+)@(?P<epoch>[0-9]{1,18})")


def is_to_leave(view: View, seat: Seat) -> bool:
    return seat.going or seat.due or seat.ordinal >= view.wish.instances


def asked_for(view: View) -> str:
    """The pod that a person wants to be the primary, or ANY other; empty: nobody, or under another record."""
    found = _TOKEN.fullmatch(view.successor)
    return found["pod"] if found is not None and int(found["epoch"]) == view.stands.epoch else ""


def begin(view: View, seat: Seat, state: State) -> Move | None:
    """While the primary reigns."""
    record, paused, wanted = view.stands, state.disk in view.evidence.paused, asked_for(view)
    leaves = is_to_leave(view, seat)
    heirs = _heirs(view, state) if leaves or wanted else []
    if wanted != ANY and not leaves:
        heirs = [heir for heir in heirs if heir.pod == wanted]
    heirs.sort(key=lambda heir: heir.pod != wanted)
    if not heirs:
        words = f"{seat.pod} takes writes again: nobody is there to hand over to"
        return Resume(words=words, epoch=record.epoch, server=seat.target) if paused else None
    heir = heirs[0]
    words = f"{seat.pod} hands over to {heir.pod}"
    if is_caught_up(view, state, heir):
        servers = (seat.target, heir.target)
        return Fence(words=words, reason=ELECTING, epoch=view.next_epoch(), servers=servers)
    if paused:
        return None  # It resumes by itself; until then its next answer may say otherwise.
    worth = next((heir for heir in heirs if seat.going or not is_in_vain(view, heir)), None)
    if worth is None:
        return None
    words = f"{seat.pod} hands over to {worth.pod}"
    return Pause(words=words, epoch=record.epoch, server=seat.target, for_ms=times.PAUSE_MS, heir=worth.target.disk)


def is_caught_up(view: View, state: State, heir: Seat) -> bool:
    """The primary holds its writes, and says that the other has confirmed all there is."""
    return state.disk in view.evidence.paused and state.confirmed[heir.target.disk].at >= state.at


def is_in_vain(view: View, heir: Seat) -> bool:
    """Whether writes were held for it a while ago, and for nothing."""
    vain = view.evidence.vain.get(heir.target.disk)
    if vain is None:
        return False
    wait_s = times.PAUSE_AGAIN_S * 2.0 ** min(vain.times - 1, 8)
    return vain.age_s < min(wait_s, times.PAUSE_AGAIN_S_MAX)


def is_level(held: Promise, other: Promise) -> bool:
    return other.at == held.at


def finish(view: View) -> Move | None:
    """When the primary has promised: it held its tenure until then, so that is where the tenure ends."""
    record, epoch = view.stands, view.next_epoch()
    promises = view.promised(epoch)
    held = promises.get(record.primary.disk)
    if held is None or held.reign != record.tenure:
        return None
    if asks := _asks_whom_a_person_named(view, promises):
        return asks
    expected = ""
    for seat in sorted(view.seats, key=lambda seat: (seat.pod != asked_for(view), seat.ordinal)):
        promise = promises.get(_disk(view, seat))
        if promise is None or promise.disk == held.disk or is_to_leave(view, seat) or not is_level(held, promise):
            continue
        if not seat.answers or seat.state is None:
            expected = expected or ("" if suspect.is_silent(seat) else seat.pod)
        elif seat.state.disk == promise.disk and not seat.state.loading:
            words = f"{seat.pod} is the primary: {record.primary.pod} handed over to it"
            made = successor(
                view, seat, promise, epoch=epoch, members=record.members, acks=record.acks, words=words
            )  # fmt: skip
            return Decide(words=words, reason=ELECTING, record=made.model_copy(update={"kind": "handover"}))
    words = f"{record.primary.pod} handed over to {expected}, which is about to answer"
    return Rest(words=words, reason=ELECTING) if expected else None


def _asks_whom_a_person_named(view: View, promises: Mapping[str, Promise]) -> Move | None:
    """For a moment: another one that is level, and promised sooner, is not who was asked for."""
    seat = view.seat(asked_for(view))
    left_s = times.NAMED_S - view.evidence.down_s
    if seat is None or left_s <= 0 or suspect.is_silent(seat) or is_to_leave(view, seat):
        return None
    disk = _disk(view, seat)
    if not disk:
        return None
    words = f"{view.stands.primary.pod} hands over to {seat.pod}, as a person asked"
    if not seat.answers or seat.state is None:
        return Rest(words=words, reason=ELECTING, again_s=left_s)
    if disk in promises or seat.state.disk != disk:
        return None
    return Fence(words=words, reason=ELECTING, epoch=view.next_epoch(), servers=(seat.target,))


def _disk(view: View, seat: Seat) -> str:
    """The one by which its pod is a member; "": it is none."""
    return next((member.disk for member in view.stands.members if member.pod == seat.pod), "")


def _heirs(view: View, state: State) -> list[Seat]:
    """Members that could take over, the one that lacks least first."""
    members = disks(view.stands.members) - {state.disk}
    found = [
        (said.at, seat) for seat, other in view.answering()
        if other.disk in members and not is_to_leave(view, seat) and not other.loading
        and (said := state.confirmed.get(other.disk)) is not None and said.age_s < times.LEASE_S
        and said.at.tenure == state.at.tenure and state.at.offset - said.at.offset <= times.LEVEL_BYTES
    ]  # fmt: skip
    return [seat for _, seat in sorted(found, key=lambda pair: (pair[0], -pair[1].ordinal), reverse=True)]
