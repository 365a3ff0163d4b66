"""O1, O6, O8, O9, O11 and the token: who becomes the primary in place of one that is lost, and who does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cachefleet_operator.planning.failover import suspect, times
from cachefleet_operator.planning.failover.decide import decide
from cachefleet_operator.planning.failover.facts import NOWHERE, Point, View, Wish, position
from cachefleet_operator.planning.failover.moves import Decide, Fence, Rest, Tell
from fleettest.views import (
    EPOCH,
    HERE,
    START,
    TENURE,
    fenced,
    promise,
    reigning,
    seat,
    state,
    view,
)
from fleettest.views import record as record_of

ASYNC = Wish(3, "async")
LOST = (None, fenced(1), fenced(2))  # the primary is away, the others were fenced
BEHIND = Point(TENURE, 150)


def asynchronous(**more: Any) -> Any:
    return record_of(acks=1, durability="async", **more)


def lost(*, acks: int = 1, promises: tuple[Any, ...] = (), **more: Any) -> View:
    """Of three servers; by default one confirmation is enough, so two promises are."""
    facts = {"of": record_of(acks=acks), "wish": Wish(3, "replicated", copies=acks), **more}
    return view(*LOST, promises=promises, **facts)


def elected(found: View) -> Any:
    made = decide(found)
    assert isinstance(made, Decide), made
    return made.record


def waits(found: View) -> str:
    made = decide(found)
    assert isinstance(made, Rest), made
    return made.reason


# -- O1


def test_all_members_that_answer_are_asked_for_their_promise_first() -> None:
    made = decide(view(None, state(1, beat_s=5.0), state(2, beat_s=5.0), of=record_of(acks=1)))
    assert isinstance(made, Fence)
    assert (made.epoch, [target.pod for target in made.servers]) == (EPOCH + 1, ["c-1", "c-2"])
    assert made.reason == "Electing"


def test_the_greatest_position_is_elected_and_set_and_acks_stay() -> None:
    found = elected(lost(promises=(promise(1, at=BEHIND), promise(2))))
    assert (found.epoch, found.tenure, found.kind) == (EPOCH + 1, EPOCH + 1, "elected")
    assert (found.primary.pod, found.primary.disk, found.primary.run) == ("c-2", "d2", "r2")
    assert (found.start.tenure, found.start.offset) == HERE
    assert [m.disk for m in found.members] == ["d0", "d1", "d2"]
    assert found.acks == 1


def test_a_later_tenure_is_more_than_any_offset() -> None:
    promises = promise(1, at=Point(TENURE - 1, 9999), marked=TENURE - 1), promise(2, at=Point(TENURE, 1))
    assert elected(lost(promises=promises)).primary.pod == "c-2"


def test_fewer_than_set_less_acks_elect_nobody() -> None:
    found = view(None, None, fenced(2), of=record_of(acks=1), promises=(promise(2),), down_s=60.0)
    assert waits(found) == "WaitingForMember"
    assert elected(lost(acks=2, promises=(promise(1, at=BEHIND), promise(2)))).primary.pod == "c-2"
    alone = view(None, None, fenced(2), of=record_of(acks=2), promises=(promise(2),))
    assert elected(alone).primary.pod == "c-2"


def test_nobody_is_fenced_in_vain() -> None:
    """The primary may be well, and lose its lease by it."""
    assert waits(view(None, None, state(2, beat_s=5.0), of=record_of(acks=1))) == "WaitingForMember"


def test_of_another_epoch_or_process_a_promise_is_none() -> None:
    for other in (promise(2, epoch=EPOCH), promise(2, run="before")):
        made = decide(lost(promises=(promise(1), other)))
        assert isinstance(made, Fence)
        assert [target.pod for target in made.servers] == ["c-2"]


def test_not_closed_before_each_voter_was_silent_for_long() -> None:
    soon = times.LEASE_OVER_S - 0.5
    made = decide(lost(promises=(promise(1, silence_s=soon), promise(2))))
    assert isinstance(made, Rest)
    assert made.reason == "WaitingForLease"
    assert made.again_s == pytest.approx(0.5)
    assert elected(lost(promises=(promise(1, silence_s=times.LEASE_OVER_S), promise(2)))).primary.pod == "c-1"


@pytest.mark.parametrize("how", ["the primary promised", "its process has ended"])
def test_closed_at_once(how: str) -> None:
    just = {"silence_s": 0.1}
    if how == "the primary promised":
        mine = promise(0, at=BEHIND, **just)
        found = view(fenced(0), fenced(1), None, of=record_of(acks=1), promises=(mine, promise(1, **just)))
    else:
        found = lost(promises=(promise(1, **just), promise(2, **just)), dead=frozenset(["r0"]))
    assert elected(found).primary.pod == "c-1"


def test_who_reads_its_data_is_neither_asked_nor_counted() -> None:
    found = view(None, fenced(1), fenced(2, loading=True), of=record_of(acks=1), promises=(promise(1), promise(2)))
    assert waits(found) == "WaitingForMember"
    made = decide(view(fenced(0, loading=True), fenced(1), fenced(2), of=record_of(acks=1)))
    assert isinstance(made, Fence)
    assert [target.pod for target in made.servers] == ["c-1", "c-2"]


def test_who_is_no_member_is_not_elected() -> None:
    found = view(None, fenced(1), fenced(2), of=record_of(0, 1, acks=1), promises=(promise(1, at=BEHIND), promise(2)))
    assert elected(found).primary.pod == "c-1"


def test_a_new_member_without_data_is_elected_by_a_quorum_alone() -> None:
    """Then nothing was ever acknowledged. One that counts without its disk says nothing of that."""
    new = {"at": NOWHERE, "data_set": "", "marked": 0, "keys": 0, "silence_s": None}
    assert elected(lost(promises=(promise(1, **new), promise(2, **new)))).primary.pod == "c-1"
    other = fenced(2, disk="other", run="r9")
    found = view(None, fenced(1), other, of=asynchronous(), wish=ASYNC, promises=(promise(1, **new),),
                 replaced_s={"c-2": 60.0}, down_s=60.0)  # fmt: skip
    assert waits(found) in ("NoCandidate", "WaitingForMember")


# -- async


def test_the_origin_of_a_first_record_that_it_never_took_is_elected() -> None:
    """It was fenced once more before it was told; its data are what the record chose, and have no name yet."""
    of = record_of(0, acks=0, kind="first", durability="async")
    said = [fenced(n, data_set="", marked=0) for n in range(3)]
    made = [promise(n, data_set="", marked=0, at=HERE if n == 0 else NOWHERE, silence_s=None) for n in range(3)]
    found = elected(view(*said, of=of, wish=ASYNC, promises=tuple(made)))
    assert (found.primary.pod, found.primary.disk, found.data_set) == ("c-0", "d0", of.data_set)
    later = record_of(0, acks=0, kind="elected", durability="async")
    assert waits(view(*said, of=later, wish=ASYNC, promises=tuple(made))) == "NoCandidate"
    ended = later.primary.model_copy(update={"run": "r9"})  # before it was told of that one, too
    there = later.model_copy(update={"start": position(HERE), "primary": ended})
    found = elected(view(*said, of=there, wish=ASYNC, promises=tuple(made)))
    assert (found.primary.disk, found.data_set) == ("d0", of.data_set)


def test_the_origin_that_lost_its_end_before_it_was_told_is_what_is_left() -> None:
    """Its disk is another one, and its data have no name yet."""
    of = record_of(0, acks=0, kind="first", durability="async")
    torn = {"disk": "e0", "data_set": ""}
    said = view(fenced(0, **torn), fenced(1, data_set="", at=NOWHERE), of=of, wish=ASYNC, promises=(
        promise(0, **torn), promise(1, data_set="", at=NOWHERE)))  # fmt: skip
    found = elected(said)
    assert (found.primary.disk, [m.disk for m in found.members], found.data_set) == ("e0", ["e0"], of.data_set)


def test_async_one_is_enough_when_closed_after_the_others_were_waited_for() -> None:
    facts: dict[str, Any] = {"of": asynchronous(), "wish": ASYNC, "promises": (promise(2),), "dead": frozenset(["r0"])}
    assert waits(view(None, None, fenced(2), **facts)) == "WaitingForMember"
    late = view(None, None, fenced(2), **facts, down_s=times.OTHERS_S)
    assert elected(late).primary.pod == "c-2"
    open_ = replace(late, evidence=replace(late.evidence, dead=frozenset()))
    assert waits(open_) == "WaitingForMember"
    replicated = replace(late, record=record_of(acks=1))
    assert waits(replicated) == "WaitingForMember"


def test_async_one_without_what_the_tenure_began_with_is_not_enough() -> None:
    facts: dict[str, Any] = {"of": asynchronous(), "wish": ASYNC, "dead": frozenset(["r0"]), "down_s": 60.0}
    before = promise(2, marked=TENURE - 1, at=Point(TENURE - 1, 90))
    assert waits(view(None, None, fenced(2), promises=(before,), **facts)) == "WaitingForMember"
    begins = promise(2, marked=TENURE - 1, at=START)
    assert elected(view(None, None, fenced(2), promises=(begins,), **facts)).primary.pod == "c-2"


# -- O8, O9


def test_three_missed_questions_are_suspicious_and_two_are_not() -> None:
    quiet = state(1, beat_s=5.0), state(2, beat_s=5.0)
    for failures, expected in ((2, Rest), (3, Fence)):
        found = view(seat(0, None, failures=failures), *quiet, of=record_of(acks=1))
        assert isinstance(decide(found), expected)
    refused = seat(0, None, failures=1, refuses=True)
    assert isinstance(decide(view(refused, *quiet, of=record_of(acks=1))), Rest)
    assert isinstance(decide(view(replace(refused, ended=True), *quiet, of=record_of(acks=1))), Fence)


def test_a_member_that_hears_the_primary_speaks_for_it() -> None:
    assert isinstance(decide(view(None, state(1), state(2, beat_s=5.0), of=record_of(acks=1))), Rest)


def test_a_pod_that_is_not_there_is_suspect_and_proves_nothing() -> None:
    assert suspect.is_silent(seat(0, None, failures=0, exists=False))
    soon = promise(1, silence_s=0.1), promise(2, silence_s=0.1)
    gone = seat(0, None, exists=False)
    found = view(gone, fenced(1), fenced(2), of=record_of(acks=1), promises=soon)
    assert waits(found) == "WaitingForLease"


def test_a_primary_that_came_back_fenced_may_be_elected_again() -> None:
    back = fenced(0, run="r9")
    made = decide(view(back, state(1), state(2), of=record_of(acks=1)))
    assert isinstance(made, Fence)
    assert made.servers[0].pod == "c-0"
    promises = promise(0, run="r9", at=Point(TENURE, 300)), promise(1), promise(2)
    found = elected(view(back, fenced(1), fenced(2), of=record_of(acks=1), promises=promises))
    assert (found.primary.pod, found.primary.run, found.kind) == ("c-0", "r9", "elected")


# -- S3: the record that stands makes it the primary


def test_a_record_that_can_still_begin_is_told() -> None:
    begins = record_of(kind="elected", epoch=6, tenure=6)
    found = view(fenced(0, at=START, promise=6), state(1), state(2), of=begins)
    made = decide(found)
    assert isinstance(made, Tell)
    assert [target.pod for target in made.servers] == ["c-0"]
    for other in (fenced(0, at=HERE, promise=6), fenced(0, at=START, run="r9"), fenced(0, at=START, promise=7)):
        assert isinstance(decide(view(other, state(1), state(2), of=begins)), Fence)
    assert isinstance(decide(replace(found, evidence=replace(found.evidence, refused=frozenset(["c-0"])))), Fence)


# -- O11


def recovering(*said: Any, promises: tuple[Any, ...] = (), wish: Wish = ASYNC, **more: Any) -> View:
    facts = {"replaced_s": {"c-0": 60.0, "c-1": 60.0, "c-2": 60.0}, **more}
    return view(*said, of=asynchronous(), wish=wish, promises=promises, **facts)


def test_a_lost_disk_counts_as_silent_but_not_before_its_lease_is_over() -> None:
    other = fenced(1, disk="new", run="r9", data_set="", at=NOWHERE)
    facts = {"promises": (promise(2), promise(1, disk="new", run="r9"))}
    assert elected(recovering(None, other, fenced(2), **facts)).primary.pod == "c-2"
    assert waits(recovering(None, other, fenced(2), **facts, replaced_s={"c-1": 1.0})) == "WaitingForLease"
    person = Wish(3, "replicated", on_disk_loss="wait")
    assert waits(recovering(None, other, fenced(2), **facts, wish=person)) == "WaitingForMember"


def test_when_all_is_lost_the_best_that_is_left_goes_on_alone() -> None:
    said = [fenced(n, disk=f"n{n}", run=f"r{n}") for n in range(3)]
    made = decide(recovering(*said))
    assert isinstance(made, Fence)
    promises = [promise(n, disk=f"n{n}", at=Point(TENURE, 100 + n)) for n in range(3)]
    made = decide(recovering(*said, promises=tuple(promises)))
    assert isinstance(made, Decide)
    assert made.rolled_back
    assert (made.record.primary.disk, made.record.acks) == ("n2", 0)
    assert [m.disk for m in made.record.members] == ["n2"]
    nothing = tuple(replace(one, at=NOWHERE, data_set="") for one in promises)
    assert waits(recovering(*said, promises=nothing)) == "NoCandidate"


# -- the token


def test_a_person_may_stand_in_for_the_quorum_at_that_epoch_alone() -> None:
    facts: dict[str, Any] = {"of": record_of(acks=1), "promises": (promise(2, silence_s=0.1),)}
    found = view(None, None, fenced(2), **facts, token=f"c-2/d2@{EPOCH}")
    made = decide(found)
    assert isinstance(made, Decide)
    assert (made.record.primary.disk, [m.disk for m in made.record.members], made.record.acks) == ("d2", ["d2"], 0)
    for other in (f"c-2/d2@{EPOCH - 1}", f"c-2/d2@{EPOCH + 1}", f"c-2/d1@{EPOCH}", "c-2", ""):
        assert isinstance(decide(replace(found, token=other)), Rest), other
    unasked = replace(found, evidence=replace(found.evidence, promises={}))
    assert isinstance(decide(unasked), Fence), "never without the promise"


def test_a_person_does_not_shorten_the_wait_for_a_lease() -> None:
    soon = promise(1, silence_s=0.1), promise(2, silence_s=0.1)
    assert waits(lost(promises=soon, token=f"c-2/d2@{EPOCH}")) == "WaitingForLease"


def test_a_person_may_want_to_begin_without_data() -> None:
    blank = {"data_set": "", "keys": 0, "at": NOWHERE, "marked": 0}
    promises = promise(1, disk="n1", **blank), promise(2, disk="n2", **blank)
    said = fenced(1, disk="n1", **blank), fenced(2, disk="n2", **blank)
    found = view(None, *said, of=record_of(acks=1), promises=promises, token=f"empty@{EPOCH}")
    made = decide(found)
    assert isinstance(made, Decide)
    assert (made.record.primary.pod, made.record.acks) == ("c-1", 0)
    assert made.record.data_set not in (None, "data")


def test_without_persistence_a_single_pod_begins_anew_by_itself() -> None:
    blank = {"data_set": "", "keys": 0, "at": NOWHERE, "marked": 0}
    facts: dict[str, Any] = {"of": record_of(0, acks=0), "promises": (promise(0, disk="n0", run="r9", **blank),)}
    said = fenced(0, disk="n0", run="r9", **blank)
    made = decide(view(said, wish=Wish(1, "async", keeps_data=False), **facts))
    assert isinstance(made, Decide)
    assert made.record.primary.disk == "n0"
    assert isinstance(decide(view(said, wish=Wish(1, "async"), **facts)), Rest)


def test_a_primary_that_reigns_is_not_replaced_by_a_token() -> None:
    made = decide(view(token=f"c-2/d2@{EPOCH}"))
    assert isinstance(made, Rest)
    assert not made.reason
    assert reigning().reign == TENURE
