"""O2 to O7: what is decided while a primary reigns, and the first record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cachefleet_operator.planning.failover import times
from cachefleet_operator.planning.failover.decide import WELL, decide
from cachefleet_operator.planning.failover.facts import (
    EPOCHS_AHEAD,
    NOWHERE,
    Confirmed,
    Point,
    Prepared,
    Target,
    Vain,
    View,
    Wish,
)
from cachefleet_operator.planning.failover.moves import (
    Decide,
    Fence,
    Pause,
    Prepare,
    Rest,
    Resume,
    Tell,
)
from cachefleet_server.managed import machine
from fleettest.views import (
    DATA,
    EPOCH,
    HERE,
    TENURE,
    fenced,
    promise,
    reigning,
    seat,
    state,
    view,
    without_record,
)
from fleettest.views import record as record_of

BOTH = ["d0", "d1"]
PRIMARY = Target("c-0", "d0", "r0")
BEHIND = Point(TENURE, 150)


def decided(found: View) -> Any:
    made = decide(found)
    assert isinstance(made, Decide), made
    return made.record


def members(record: Any) -> tuple[list[str], int]:
    return [member.disk for member in record.members], record.acks


def test_both_sides_count_with_the_same_lease() -> None:
    """An operator that counts a shorter one elects while the old primary still writes."""
    assert times.LEASE_S == machine.LEASE_S


def test_a_fleet_that_is_well_is_left_alone() -> None:
    made = decide(view())
    assert isinstance(made, Rest)
    assert (made.reason, made.words) == ("", "")


def test_who_has_not_heard_of_the_record_is_told_the_primary_first() -> None:
    old = {"epoch": EPOCH - 1, "promise": EPOCH - 1}
    made = decide(view(reigning(**old), state(1), state(2, **old)))
    assert isinstance(made, Tell)
    assert [target.pod for target in made.servers] == ["c-0", "c-2"]
    refused = view(reigning(), state(1), state(2, **old), refused=frozenset(["c-2"]))
    assert isinstance(decide(refused), Rest), "and not again and again"


def test_who_lost_the_link_is_told_again_where_the_primary_is() -> None:
    for lost, expected in (({"link": "down", "beat_s": 9.0}, Tell), ({"link": "down", "beat_s": 0.5}, Rest)):
        found = view(reigning(), state(1), state(2, **lost))
        assert isinstance(decide(found), expected)
        told = replace(found, evidence=replace(found.evidence, told_s={"c-2": 1.0}))
        assert isinstance(decide(told), Rest), "not every time"


@pytest.mark.parametrize(("age_s", "joins"), [(None, True), (0.1, True), (2.4, True), (2.5, False), (60.0, False)])
def test_who_is_back_joins_when_it_confirms_again(age_s: float | None, joins: bool) -> None:
    """By what it said before it went it would leave at once."""
    confirmed = {"d1": Confirmed(HERE, 0.1), **({"d2": Confirmed(HERE, age_s)} if age_s is not None else {})}
    primary, of = reigning(confirmed=confirmed), record_of(0, 1, acks=1, durability="async")
    made = decide(view(primary, state(1), state(2), of=of, wish=Wish(3)))
    assert isinstance(made, Decide) == joins
    assert joins or made == Rest(words="", again_s=times.LOOK_S)


# -- O2


def leaving(primary: Any = None, *others: Any, **more: Any) -> View:
    found = others or (state(1), state(2))
    return view(seat(0, primary or reigning(), going=True), *found, **more)


def test_a_primary_that_leaves_holds_its_writes_and_is_fenced_when_the_other_is_level() -> None:
    made = decide(leaving())
    assert isinstance(made, Pause)
    assert (made.server, made.epoch, made.for_ms) == (PRIMARY, EPOCH, 800)
    paused = frozenset(["d0"])
    behind = reigning(confirmed={"d1": Confirmed(BEHIND, 0.1)})
    assert isinstance(decide(leaving(behind, paused=paused)), Rest), "not yet"
    made = decide(leaving(paused=paused))
    assert isinstance(made, Fence)
    assert [target.pod for target in made.servers] == ["c-0", "c-1"]
    assert made.epoch == EPOCH + 1


def test_a_pause_that_leads_nowhere_is_ended() -> None:
    nobody = reigning(confirmed={})
    made = decide(leaving(nobody, state(1, link="down", beat_s=9.0), None, paused=frozenset(["d0"])))
    assert isinstance(made, Resume)


@pytest.mark.parametrize(
    ("vain", "heir"),
    [
        ({}, "d1"), ({"d1": Vain(1, 4.9)}, "d2"), ({"d1": Vain(1, 5.0)}, "d1"), ({"d1": Vain(2, 9.9)}, "d2"),
        ({"d1": Vain(1, 4.9), "d2": Vain(1, 4.9)}, ""), ({"d1": Vain(9, 29.9), "d2": Vain(9, 29.9)}, ""),
        ({"d1": Vain(9, 30.0), "d2": Vain(9, 29.9)}, "d1"),
    ],
)  # fmt: skip
def test_writes_are_not_held_again_at_once_for_who_did_not_come_level(vain: dict[str, Vain], heir: str) -> None:
    behind = reigning(confirmed={"d1": Confirmed(BEHIND, 0.1), "d2": Confirmed(BEHIND, 0.1)})
    made = decide(view(seat(0, behind, due=True), state(1), state(2), vain=vain))
    assert (made.heir if isinstance(made, Pause) else "") == heir
    assert heir or (isinstance(made, Rest) and made.again_s == times.LOOK_S), "it is tried again without any news"
    going = decide(leaving(behind, vain=vain))
    assert isinstance(going, Pause) and going.heir == "d1", "its time is short"
    paused = decide(view(seat(0, reigning(), due=True), state(1), state(2), vain=vain, paused=frozenset(["d0"])))
    assert isinstance(paused, Fence), "who has come level is it, whomever it was for"


def test_it_hands_over_to_one_that_stays_and_that_confirms() -> None:
    late = {"d1": Confirmed(HERE, 5.0), "d2": Confirmed(HERE, 0.1)}
    made = decide(leaving(reigning(confirmed=late), paused=frozenset(["d0"])))
    assert isinstance(made, Fence)
    assert made.servers[1].pod == "c-2"
    both = leaving(None, seat(1, state(1), going=True), state(2), paused=frozenset(["d0"]))
    made = decide(both)
    assert isinstance(made, Fence)
    assert made.servers[1].pod == "c-2"


def test_a_pod_that_is_not_wished_any_more_hands_over() -> None:
    found = view(state(0, follows="d2"), state(1, follows="d2"), reigning(2), of=record_of(primary=2),
                 wish=Wish(2, "replicated"))  # fmt: skip
    made = decide(found)
    assert isinstance(made, Pause)
    assert made.server.pod == "c-2"


@pytest.mark.parametrize(
    ("token", "heir"),
    [
        ("any@5", "c-1"), ("c-2@5", "c-2"), ("c-1@5", "c-1"), ("c-0@5", ""), ("c-7@5", ""), ("any@4", ""),
        ("any@6", ""), ("any", ""), ("@5", ""), ("c-2@", ""), ("c-2@5@5", ""), ("", ""),
    ],
)  # fmt: skip
def test_a_person_has_another_take_over_once(token: str, heir: str) -> None:
    made = decide(view(successor=token))
    assert (made.heir if isinstance(made, Pause) else "") == (f"d{heir[-1]}" if heir else "")
    made = decide(view(successor=token, paused=frozenset(["d0"])))
    assert [target.pod for target in made.servers] == ["c-0", heir] if heir and isinstance(made, Fence) else not heir
    lagging = reigning(confirmed={"d1": Confirmed(HERE, 9.0), "d2": Confirmed(HERE, 9.0)})
    assert not isinstance(decide(view(lagging, state(1), state(2), successor=token)), Pause | Fence), "not in sync"


def test_who_is_the_next_to_be_restarted_is_done_without_or_hands_over() -> None:
    """Three in async, one acknowledgement: the set of two is prepared first. Two: the primary goes on alone."""
    wish, of = Wish(3), record_of(acks=1, durability="async")
    made = decide(view(reigning(), state(1), seat(2, state(2), due=True), wish=wish, of=of))
    assert isinstance(made, Prepare)
    assert set(made.members) == {"d0", "d1"}
    two = decided(view(reigning(), seat(1, state(1), due=True), wish=Wish(2), of=record_of(0, 1, durability="async")))
    assert ([m.pod for m in two.members], two.acks) == (["c-0"], 0)
    kept = decide(view(reigning(), state(1), seat(2, state(2), due=True)))
    assert isinstance(kept, Rest), "replicated, two copies: a write waits for it rather than being on one alone"
    assert isinstance(decide(view(seat(0, reigning(), due=True), state(1), state(2))), Pause)


def handed(*promises: Any) -> View:
    return view(seat(0, fenced(0), going=True), fenced(1), fenced(2), promises=promises)


def test_the_handover_begins_where_the_primary_ended() -> None:
    found = decided(handed(promise(0, reign=TENURE), promise(1)))
    assert (found.kind, found.primary.pod, found.epoch) == ("handover", "c-1", EPOCH + 1)
    assert (found.start.tenure, found.start.offset) == HERE
    assert members(found) == (["d0", "d1", "d2"], 2)


def test_who_was_just_fenced_is_waited_for_and_the_one_that_leaves_not_elected_again() -> None:
    """What a server was told makes what is known of it void: for a moment it answers nothing."""
    promises = promise(0, reign=TENURE), promise(1), promise(2)
    void = [seat(n, None, failures=0) for n in (1, 2)]
    made = decide(view(seat(0, fenced(0), going=True), *void, promises=promises))
    assert isinstance(made, Rest)
    assert "c-1" in made.words
    one_is_back = view(seat(0, fenced(0), going=True), void[0], fenced(2), promises=promises)
    assert (decided(one_is_back).kind, decided(one_is_back).primary.pod) == ("handover", "c-2")
    both_silent = view(seat(0, fenced(0), going=True), None, None, promises=promises, down_s=60.0)
    assert decided(both_silent).primary.pod == "c-0", "it is not waited for who will not answer"


def test_who_was_named_is_waited_for_a_moment_though_another_has_promised() -> None:
    promises, void = (promise(0, reign=TENURE), promise(2)), seat(1, None, failures=0)
    for late in (fenced(1), void):
        named = view(fenced(0), late, fenced(2), promises=promises, successor="c-1@5", down_s=0.1)
        made = decide(named)
        assert isinstance(made, Rest) if late is void else (isinstance(made, Fence) and made.servers[0].pod == "c-1")
        for other in (
            {"down_s": times.NAMED_S}, {"successor": "any@5"}, {"successor": "c-1@4"}, {"successor": "c-7@5"},
        ):  # fmt: skip
            words = {"successor": "c-1@5", "down_s": 0.1, **other}
            assert decided(view(fenced(0), late, fenced(2), promises=promises, **words)).primary.pod == "c-2"
    for never in (None, seat(1, state(1), going=True)):
        assert decided(view(fenced(0), never, fenced(2), promises=promises, successor="c-1@5", down_s=0.1)).epoch == 6
    has = view(fenced(0), void, fenced(2), promises=(*promises, promise(1)), successor="c-1@5", down_s=0.1)
    assert isinstance(decide(has), Rest), "it has promised, and is not known just now"
    for named in ("c-1", "c-2"):
        all_have = (*promises, promise(1))
        level = view(fenced(0), fenced(1), fenced(2), promises=all_have, successor=f"{named}@5", down_s=0.1)
        assert decided(level).primary.pod == named


def test_not_level_or_not_from_who_held_the_tenure_it_is_an_election() -> None:
    behind = handed(promise(0, reign=TENURE), promise(1, at=BEHIND), promise(2, at=BEHIND))
    assert (decided(behind).kind, decided(behind).primary.pod) == ("elected", "c-0")
    restarted = handed(promise(0, reign=0), promise(1), promise(2))
    assert decided(restarted).kind == "elected"


# -- O3


CONTINUE = Wish(2, "replicated", when_missing="continue")


def test_alone_the_primary_goes_on_if_it_may() -> None:
    gone = reigning(confirmed={"d1": Confirmed(HERE, 3.0)})
    found = decided(view(gone, None, wish=CONTINUE))
    assert (found.kind, found.epoch, found.tenure) == ("continued", EPOCH + 1, TENURE)
    assert members(found) == (["d0"], 0)
    assert isinstance(decide(view(gone, None, wish=Wish(2, "replicated"))), Rest), "it is to refuse writes"


def test_nobody_is_dropped_who_confirms_or_has_only_just_been_asked_to() -> None:
    confirming = reigning(confirmed={"d1": Confirmed(HERE, 0.1)})
    assert isinstance(decide(view(confirming, None, wish=CONTINUE)), Rest)
    fresh = view(reigning(confirmed={}), state(1), wish=CONTINUE, reign_s=0.5)
    assert isinstance(decide(fresh), Rest)
    late = replace(fresh, evidence=replace(fresh.evidence, reign_s=5.0))
    assert members(decided(late)) == (["d0"], 0)
    silent = replace(late, seats=(replace(late.seats[0], failures=1), *late.seats[1:]))
    assert isinstance(decide(silent), Rest), "it has not answered since: perhaps it is the one that is away"


def test_the_record_is_never_loosened_for_a_primary_that_does_not_reign() -> None:
    made = decide(view(None, None, wish=CONTINUE))
    assert isinstance(made, Rest)
    assert made.reason == "WaitingForMember"


def test_a_member_less_for_a_confirmation_less() -> None:
    two = Wish(3, "replicated", copies=2, when_missing="continue")
    said = reigning(confirmed={"d1": Confirmed(HERE, 0.1), "d2": Confirmed(HERE, 9.0)})
    assert members(decided(view(said, state(1), None, wish=two))) == (["d0", "d1"], 1)


def test_one_in_sync_joins() -> None:
    found = view(of=record_of(0, 1, acks=1), wish=Wish(3, "replicated"))
    assert members(decided(found)) == (["d0", "d1", "d2"], 1)
    for lacks in (
        {"link": "down"}, {"follows": "d1"}, {"loading": True}, {"marked": TENURE - 1, "at": Point(TENURE - 1, 200)},
        {"data_set": "other"},
    ):  # fmt: skip
        third = state(2, **{"beat_s": 0.5, **lacks})
        made = decide(view(reigning(), state(1), third, of=record_of(0, 1, acks=1), wish=Wish(3, "replicated")))
        assert not isinstance(made, Decide), lacks


# -- O4


def test_out_of_solo_only_with_what_the_primary_agreed_to() -> None:
    found = view(reigning(), state(1), of=record_of(0, acks=0), wish=CONTINUE)
    made = decide(found)
    assert isinstance(made, Prepare)
    assert (made.server, made.epoch, list(made.members), made.acks) == (PRIMARY, EPOCH, BOTH, 1)
    ok = Prepared(EPOCH, frozenset(BOTH), 1)
    agreed = replace(found, evidence=replace(found.evidence, agreed=ok, agreed_by=PRIMARY))
    assert members(decided(agreed)) == (BOTH, 1)
    for other, by in (
        (ok._replace(epoch=EPOCH - 1), PRIMARY), (ok._replace(acks=0), PRIMARY), (ok, PRIMARY._replace(run="r9")),
        (Prepared(EPOCH, frozenset(["d0", "d2"]), 1), PRIMARY),
    ):  # fmt: skip
        changed = replace(found, evidence=replace(found.evidence, agreed=other, agreed_by=by))
        assert isinstance(decide(changed), Prepare)


def test_a_member_is_removed_only_with_what_the_primary_agreed_to() -> None:
    said = reigning(confirmed={"d1": Confirmed(HERE, 0.1), "d2": Confirmed(HERE, 9.0)})
    made = decide(view(said, state(1), None, of=record_of(acks=1), wish=Wish(3, "replicated")))
    assert isinstance(made, Prepare)
    assert (list(made.members), made.acks) == (BOTH, 1)


def test_a_lost_disk_is_replaced_by_the_new_one_of_its_pod() -> None:
    said = reigning(confirmed={"d1": Confirmed(HERE, 9.0)})
    made = decide(view(said, state(1, disk="n1"), wish=Wish(2, "replicated")))
    assert isinstance(made, Prepare)
    assert sorted(made.members) == ["d0", "n1"]
    syncing = view(said, state(1, disk="n1", loading=True), wish=Wish(2, "replicated"))
    assert isinstance(decide(syncing), Rest), "not before it has all"


def test_the_next_to_be_restarted_is_needed_with_the_disk_that_it_has_now() -> None:
    """Two copies are promised, and its old disk confirms nothing any more: nobody would be restarted, nor write."""
    said = reigning(confirmed={"d1": Confirmed(HERE, 0.1), "e2": Confirmed(HERE, 0.1)})
    found = view(said, state(1), state(2, disk="e2"), wish=Wish(3, "replicated", copies=2))
    due = replace(found, seats=(*found.seats[:2], replace(found.seats[2], due=True)))
    for made in (decide(found), decide(due)):
        assert isinstance(made, Prepare)
        assert sorted(made.members) == ["d0", "d1", "e2"]


def test_what_is_prepared_is_gone_through_with_while_it_can_be_had() -> None:
    waits = reigning(prepared=Prepared(EPOCH, frozenset(BOTH), 1))
    found = view(waits, state(1), state(2), of=record_of(0, acks=0), wish=Wish(3, "replicated", copies=2))
    made = decide(found)
    assert isinstance(made, Prepare)
    assert sorted(made.members) == BOTH


# -- O5


def test_a_promise_above_the_record_needs_a_new_epoch() -> None:
    found = decided(view(reigning(), state(1, promise=EPOCH + 1), state(2)))
    assert (found.epoch, found.tenure, found.kind) == (EPOCH + 1, TENURE, "continued")
    assert members(found) == (["d0", "d1", "d2"], 2)
    assert decided(view(reigning(), state(1, promise=EPOCH + 3), state(2))).epoch == EPOCH + 3


def test_who_promised_what_nobody_else_would_is_left_out() -> None:
    """Anybody with the password can have a new server promise the last epoch that there is."""
    far = EPOCH + EPOCHS_AHEAD + 1
    assert not isinstance(decide(view(reigning(), state(1, promise=far), state(2))), Decide)
    assert view(reigning(), state(1, promise=far), state(2, promise=EPOCH + 2)).next_epoch() == EPOCH + 2
    assert decided(view(reigning(), state(1, promise=far - 1), state(2))).epoch == far - 1
    voted = promise(1), promise(2)
    elected = decided(view(fenced(0, promise=far), fenced(1), fenced(2), promises=voted, down_s=60.0))
    assert elected.primary.pod in ("c-1", "c-2"), "who promised too much is asked for nothing"
    person = view(None, fenced(1), fenced(2, promise=far), token="c-1/d1@5", promises=(promise(1),), down_s=60.0)
    assert not isinstance(decide(person), Fence)


def test_a_preparation_that_nobody_wants_any_more_ends_with_a_new_epoch() -> None:
    waits = reigning(prepared=Prepared(EPOCH, frozenset(["d0", "d2"]), 1), confirmed={"d1": Confirmed(HERE, 0.1)})
    found = view(waits, state(1), None, of=record_of(0, 1, acks=1), wish=Wish(3, "replicated"))
    assert members(decided(found)) == (BOTH, 1)
    assert isinstance(decide(replace(found, seats=(seat(0, reigning()), *found.seats[1:]))), Rest)


# -- O7


def blank(ordinal: int) -> Any:
    return fenced(ordinal, data_set="", keys=0, promise=0, at=NOWHERE, marked=0)


def first(*said: Any, promises: tuple[Any, ...] = (), wish: Wish | None = None, **more: Any) -> View:
    return without_record(view(*said, promises=promises, wish=wish or Wish(3, "replicated"), **more))


def begun(ordinal: int, **more: Any) -> Any:
    return promise(ordinal, **{"epoch": 1, "data_set": "", "keys": 0, "at": NOWHERE, "marked": 0, **more})


def test_the_first_record_comes_when_all_were_seen_and_promised() -> None:
    made = decide(first(blank(0), blank(1), None))
    assert isinstance(made, Rest)
    assert "c-2" in made.words
    made = decide(first(blank(0), blank(1), blank(2)))
    assert isinstance(made, Fence)
    assert made.epoch == 1
    said = [replace(blank(n), promise=1) for n in range(3)]
    found = decided(first(*said, promises=(begun(0), begun(1), begun(2))))
    assert (found.epoch, found.tenure, found.kind, found.primary.pod) == (1, 1, "first", "c-0")
    assert members(found) == (["d0", "d1", "d2"], 1)
    assert found.data_set
    assert (found.start.tenure, found.start.offset) == NOWHERE


def test_two_who_ask_at_the_same_time_ask_for_one_epoch() -> None:
    """The second lane finds one that has promised to the first, and others that were not asked yet."""
    said = replace(blank(0), promise=1), blank(1), blank(2)
    made = decide(first(*said, promises=(begun(0),)))
    assert isinstance(made, Fence)
    assert (made.epoch, [target.pod for target in made.servers]) == (1, ["c-1", "c-2"])
    other = decide(first(*said))
    assert isinstance(other, Fence)
    assert other.epoch == 2, "whom it promised to is not known: another operator"


def test_a_pod_without_a_volume_that_it_could_come_back_with_counts_as_seen() -> None:
    said = replace(blank(0), promise=1)
    never = replace(seat(1, None, exists=False), claim_uid=None)
    found = first(said, never, promises=(begun(0),), wish=Wish(2, "async"))
    assert members(decided(found)) == (["d0"], 0)
    held = replace(seat(1, None, exists=False), claim_uid="v1")
    assert isinstance(decide(first(said, held, promises=(begun(0),), wish=Wish(2, "async"))), Rest)


def test_a_lost_status_goes_on_above_all_promises_from_the_best_position() -> None:
    said = reigning(promise=7), state(1, promise=7), state(2, promise=6)
    made = decide(first(*said))
    assert isinstance(made, Fence)
    assert made.epoch == 8
    promises = promise(0, epoch=8), promise(1, epoch=8), promise(2, epoch=8, at=BEHIND)
    found = decided(first(*(fenced(n, promise=8) for n in range(3)), promises=promises))
    assert (found.epoch, found.primary.pod, found.data_set) == (8, "c-0", DATA)
    assert members(found) == (BOTH, 1), "who has less joins when it is in sync"


def test_two_data_sets_are_for_a_person_to_decide() -> None:
    said = fenced(0, promise=8), fenced(1, promise=8, data_set="other")
    facts: dict[str, Any] = {"promises": (promise(0, epoch=8), promise(1, epoch=8, data_set="other"))}
    made = decide(first(*said, **facts, wish=Wish(2, "async")))
    assert isinstance(made, Rest)
    assert made.reason == "DataConflict"
    found = decided(first(*said, **facts, wish=Wish(2, "async"), token="c-1/d1@0"))
    assert (found.primary.disk, found.data_set) == ("d1", "other")


def test_a_cache_that_grows_from_one_pod_keeps_that_ones_data() -> None:
    alone = record_of(0, acks=0, epoch=4, tenure=4, durability="async")
    alone = alone.model_copy(update={"primary": alone.primary.model_copy(update={"disk": ""})})
    said = [replace(blank(n), promise=5) for n in range(2)]
    promises = begun(0, epoch=5), begun(1, epoch=5, keys=9)
    found = view(*said, of=alone, wish=Wish(2, "async"), promises=promises)
    made = decide(found)
    assert isinstance(made, Rest)
    assert made.reason == "DataConflict", "the other pod has data of its own"
    mine = replace(found, evidence=replace(found.evidence, promises={
        "d0": begun(0, epoch=5, keys=9), "d1": begun(1, epoch=5)}))  # fmt: skip
    record = decided(mine)
    assert (record.epoch, record.primary.pod) == (5, "c-0")


def test_keys_without_a_data_set_are_data() -> None:
    """Of a server that was not managed before. A promise may not say how many there are."""
    said = replace(blank(0), promise=1), replace(blank(1), promise=1, keys=9)
    found = decided(first(*said, promises=(begun(0), begun(1)), wish=Wish(2, "async")))
    assert (found.primary.pod, members(found)) == ("c-1", (["d1"], 0))


@pytest.mark.parametrize("copies", [1, 2])
def test_writes_wait_for_the_copies_that_were_promised(copies: int) -> None:
    said = [replace(blank(n), promise=1) for n in range(3)]
    found = decided(first(*said, promises=(begun(0), begun(1), begun(2)), wish=Wish(3, "replicated", copies=copies)))
    assert found.acks == copies


@pytest.mark.parametrize("age_s", [times.LEASE_S, 60.0])
def test_it_is_said_who_is_missed_where_the_set_must_stay(age_s: float) -> None:
    """Both of two whose copies were promised, or either: no write is acknowledged, so the primary is not well."""
    gone, there = Confirmed(HERE, age_s), Confirmed(HERE, 0.1)
    both = {"d1": gone, "d2": gone}
    one = Wish(3, "replicated", copies=1)
    made = decide(view(reigning(confirmed=both), None, None, of=record_of(acks=1), wish=one))
    assert (made.words, made.reason) == ("c-0 takes no writes before c-1 and c-2 confirm them", "WaitingForMember")
    made = decide(view(reigning(confirmed={"d1": gone, "d2": there}), None, state(2)))
    assert (made.words, made.reason) == ("c-0 takes no writes before c-1 confirm them", "WaitingForMember")
    assert not decide(view(reigning(confirmed={"d1": there, "d2": there}), None, state(2))).reason


# -- when nobody needs to look


def test_a_calm_view_stays_well_whatever_moves_without_being_news() -> None:
    """Positions, keys, and ages below those that a prober tells of."""
    found = view(reigning(), state(1), state(2))
    assert decide(found) == WELL
    at = Point(TENURE, 10**9)
    said = reigning(at=at, keys=7, confirmed={"d1": Confirmed(HERE, 0.5), "d2": Confirmed(NOWHERE, 0.0)})
    assert decide(view(said, state(1, beat_s=1.9, keys=1), state(2, at=NOWHERE))) == WELL
    assert decide(view(said, state(1), state(2), reign_s=0.0)) == WELL


@pytest.mark.parametrize(
    "found",
    [
        view(reigning(), state(1, link="down", beat_s=0.5), state(2)),
        view(reigning(), state(1, beat_s=2.5), state(2)),
        view(reigning(confirmed={"d1": Confirmed(HERE, 0.1)}), state(1), state(2)),
        view(reigning(), state(1), seat(2, state(2), failures=1)),
        view(seat(0, reigning(), failures=1), state(1), state(2)),
        view(reigning(), state(1), state(2), wish=Wish(4)),
        view(reigning(), state(1), of=record_of(0, 1), wish=Wish(3)),
        view(reigning(), state(1), state(2), token="orders-0/d0@1"),
    ],
)
def test_otherwise_it_is_looked_again_soon(found: View) -> None:
    made = decide(found)
    assert not isinstance(made, Rest) or made.again_s == times.LOOK_S
