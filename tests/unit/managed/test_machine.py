"""A managed server's decisions: each rule S1 to S9 by itself, with what happens without it."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest

from cachefleet_server.managed import actions as a
from cachefleet_server.managed import events as e
from cachefleet_server.managed.machine import (
    AUDIENCE_S,
    BEAT_S,
    FENCED,
    LEASE_S,
    PAUSE_MS_MAX,
    PRIMARY,
    REPLICA,
    Machine,
)
from cachefleet_server.managed.state import (
    ASYNC,
    CONTINUED,
    ELECTED,
    FIRST,
    HANDOVER,
    REPLICATED,
    STARTS_MAX,
    Greeting,
    Position,
    Prepared,
    Quorum,
    Record,
    Start,
    Stored,
    tenure_at,
)

pytestmark = pytest.mark.unit

RUN, DATA = "run", "d" * 40
P, B, C, STRANGER = "p" * 40, "b" * 40, "c" * 40, "x" * 40
KEPT = Stored(P, boot="boot", data_set=DATA, promise=3, starts=(Start(1, 0), Start(3, 50)), offset=100, kept=True)
END = 120
POSITION = Position(3, END)


def started(stored: Stored | None = KEPT, *, end: int = END, now: float = 0.0, **facts: Any) -> Machine:
    names = itertools.count(1)
    machine = Machine(stored, run=RUN, draw=lambda: f"new{next(names)}")
    happened = {"torn": False, "kept": True, "synced": False, "boot": "boot"} | facts
    machine.handle(e.Started(end, **happened), now)
    return machine


def record(epoch: int = 4, **fields: Any) -> Record:
    usual = {
        "tenure": epoch, "kind": ELECTED, "primary": P, "run": RUN, "quorum": Quorum(frozenset((P, B, C)), 1),
        "start": POSITION, "data_set": DATA, "durability": ASYNC, "address": ("10.0.0.1", 6379),
    }  # fmt: skip
    return Record(epoch, **(usual | fields))


def tell(machine: Machine, told: Record, now: float = 0.0, end: int = END, claim: str = "") -> list[a.Action]:
    return machine.handle(e.Told(machine.stored.disk, told, claim, end), now)


def primary(now: float = 0.0, **fields: Any) -> Machine:
    machine = started(now=now)
    assert a.Done() in tell(machine, record(**fields), now)
    machine.handle(e.Said(END + 30), now)
    return machine


def replica(**fields: Any) -> Machine:
    machine = started(replace(KEPT, disk=B))
    tell(machine, record(**fields))
    machine.handle(e.Greeted(Greeting(4, P, DATA, (*KEPT.starts, Start(4, END)))), 0)
    machine.handle(e.Joined(END), 0)
    return machine


def refused(actions: list[a.Action]) -> str:
    return next((action.word for action in actions if isinstance(action, a.Refuse)), "")


def facts(actions: list[a.Action]) -> a.Facts:
    return next(action for action in actions if isinstance(action, a.Facts))


def places(actions: list[a.Action], *kinds: type[a.Action]) -> list[int]:
    return [next(i for i, action in enumerate(actions) if isinstance(action, kind)) for kind in kinds]


# ---- S1


def test_a_start_is_fenced() -> None:
    machine = started()
    assert machine.role == FENCED
    assert not machine.may_write(0)
    assert machine.handle(e.Heard(3, END), 1) == [], "nothing is confirmed"
    assert machine.handle(e.Confirmed(B, END), 1) == []


def test_a_record_for_an_earlier_run_does_not_open_it() -> None:
    """It was the primary of this record, and may have prepared something since."""
    machine = started()
    assert refused(tell(machine, record(3, run="earlier", start=Position(1, 50)))) == "WRONGRUN"
    assert machine.role == FENCED


# ---- S2


def test_what_is_older_than_the_promise_is_refused() -> None:
    machine = started()
    assert refused(tell(machine, record(2))) == "STALE"
    assert refused(machine.handle(e.Fence(P, 2, "", END), 0)) == "STALE"
    assert refused(machine.handle(e.Prepare(P, 2, Quorum(frozenset((P, B)), 1), END), 0)) == "STALE"
    assert machine.role == FENCED


@pytest.mark.parametrize(
    "told", [record(5), record(5, primary=B), record(5, run="other"), record(5, kind=CONTINUED, tenure=4)]
)
def test_a_promise_is_stored_before_anything_else(told: Record) -> None:
    actions = tell(started(), told)
    assert isinstance(actions[0], a.Store)
    assert actions[0].stored.promise == 5


def test_fence_stores_stops_and_cuts() -> None:
    machine = primary()
    actions = machine.handle(e.Fence(P, 5, "", END + 40), 1.0)
    store, stand, cut, reply = places(actions, a.Store, a.Stand, a.CutClients, a.Facts)
    assert store < stand < cut < reply
    assert not machine.may_write(1.0)
    assert facts(actions) == a.Facts(P, RUN, Position(4, END + 40), 4, 1.0, DATA)
    again = machine.handle(e.Fence(P, 5, "", END + 40), 2.0)
    assert facts(again).reign == 4, "the first reply may have been lost"
    assert facts(machine.handle(e.Fence(P, 6, "", END + 40), 2.0)).reign == 0


def test_fence_of_an_epoch_that_has_a_record_is_stale() -> None:
    machine = primary()
    assert refused(machine.handle(e.Fence(P, 4, "", END), 1.0)) == "STALE"
    assert machine.role == PRIMARY


def test_a_replica_is_fenced_without_cutting_who_reads() -> None:
    machine = replica()
    actions = machine.handle(e.Fence(B, 5, "", END), 1.0)
    assert a.Stand() in actions
    assert a.CutClients() not in actions
    assert machine.role == FENCED


def test_a_newer_record_ends_a_reign() -> None:
    machine = primary()
    actions = tell(machine, record(5, primary=B))
    assert actions[1:] == [a.Stand(), a.CutClients(), a.Follow("10.0.0.1", 6379), a.Done()]


def test_a_newer_epoch_of_the_primary_counts() -> None:
    machine = replica()
    actions = machine.handle(e.Heard(6, END + 30), 1.0)
    assert [type(action) for action in actions] == [a.Store, a.Confirm]
    assert machine.stored.promise == 6


# ---- S3


def test_taking_over() -> None:
    machine = started()
    actions = tell(machine, record())
    assert actions == [a.Store(machine.stored), a.Lead(4), a.Beat(4), a.Done()]
    assert machine.stored.starts[-1] == Start(4, END)
    assert machine.position(END) == POSITION, "the mark is not there yet"
    assert machine.position(END + 1) == Position(4, END + 1)
    assert tell(machine, record(), end=END + 40) == [a.Done()], "told again"


@pytest.mark.parametrize(
    ("told", "word"),
    [
        (record(run="other"), "WRONGRUN"), (record(start=Position(3, END - 1)), "WRONGPOSITION"),
        (record(start=Position(2, END)), "WRONGPOSITION"), (record(kind=CONTINUED, tenure=3), "NOTREIGNING"),
        (record(kind=HANDOVER, tenure=3), "ERR"), (record(data_set="e" * 40), "DATASET"),
    ],
)  # fmt: skip
def test_a_record_that_is_for_another_run_position_or_tenure(told: Record, word: str) -> None:
    machine = started()
    assert refused(tell(machine, told)) == word
    assert machine.role == FENCED


def test_going_on() -> None:
    machine = primary()
    wider = Quorum(frozenset((P, B)), 1)
    actions = tell(machine, record(5, kind=CONTINUED, tenure=4, quorum=wider), end=END + 30)
    assert actions == [a.Store(machine.stored), a.Beat(5), a.Done()]
    assert machine.reign is not None
    assert (machine.reign.tenure, machine.epoch, machine.reign.quorum) == (4, 5, wider)
    assert refused(tell(machine, record(6, kind=CONTINUED, tenure=3), end=END + 30)) == "NOTREIGNING"
    assert machine.role == FENCED


def test_first_record_without_data() -> None:
    machine = started(None, end=0)
    told = record(1, kind=FIRST, primary=machine.stored.disk, start=Position(0, 0))
    assert a.Lead(1) in tell(machine, told, end=0)
    assert machine.stored.data_set == DATA


# ---- S4


def test_a_lease_counts_from_the_sending_of_a_beat() -> None:
    machine = primary()
    assert not machine.may_write(0), "nobody has confirmed"
    assert machine.handle(e.Confirmed(B, END + 29), 1.0) == [], "not all of the beat"
    assert machine.handle(e.Confirmed(B, END + 30), 2.0) == [a.Lease(LEASE_S)], "it was sent at 0"
    assert machine.may_write(LEASE_S - 0.01)
    assert not machine.may_write(LEASE_S)


def test_a_late_confirmation_renews_nothing() -> None:
    machine = primary()
    machine.handle(e.Said(END + 60), 3.0)
    assert machine.handle(e.Confirmed(B, END + 30), 3.1) == []
    assert not machine.may_write(3.1)
    assert machine.handle(e.Confirmed(B, END + 60), 3.2) == [a.Lease(3.0 + LEASE_S)]


def test_the_lease_of_two() -> None:
    machine = primary(quorum=Quorum(frozenset((P, B, C)), 2))
    machine.handle(e.Confirmed(B, END + 30), 1.0)
    assert not machine.may_write(1.0)
    machine.handle(e.Said(END + 60), 1.0)
    machine.handle(e.Confirmed(C, END + 60), 1.1)
    assert machine.may_write(1.1)
    assert not machine.may_write(LEASE_S), "the older of the two counts"


@pytest.mark.parametrize("who", [STRANGER, P])
def test_a_lease_comes_from_members_only(who: str) -> None:
    machine = primary()
    machine.handle(e.Confirmed(who, END + 30), 0.1)
    assert not machine.may_write(0.1)


def test_solo_needs_nobody() -> None:
    machine = primary(quorum=Quorum(frozenset((P,)), 0))
    assert machine.may_write(1e9)


def test_beats() -> None:
    machine = primary()
    assert machine.handle(e.Passed(), 1.0) == [a.Beat(4)]
    assert machine.handle(e.Passed(), 1.0 + BEAT_S / 2) == []
    assert machine.handle(e.Passed(), 1.01 + BEAT_S) == [a.Beat(4)]
    solo = primary(quorum=Quorum(frozenset((P,)), 0))
    assert solo.handle(e.Passed(), 1.0) == [], "nobody listens"
    solo.handle(e.Hello(3, B), 1.0)
    assert solo.handle(e.Passed(), 1.1) == [a.Beat(4)], "who may be made a member shall have a lease by then"
    assert solo.handle(e.Passed(), 1.0 + AUDIENCE_S) == []
    assert started().handle(e.Passed(), 1.0) == []


# ---- S5


def test_what_is_safe() -> None:
    machine = primary(quorum=Quorum(frozenset((P, B, C)), 2))
    assert machine.safe(200) == 0
    machine.handle(e.Confirmed(B, 180), 1.0)
    machine.handle(e.Confirmed(STRANGER, 200), 1.0)
    assert machine.safe(200) == 0, "members only"
    machine.handle(e.Confirmed(C, 150), 1.0)
    assert machine.safe(200) == 150
    machine.handle(e.Confirmed(C, 140), 1.0)
    assert machine.safe(200) == 150, "what was confirmed stays so"


def test_replies_wait_for_copies() -> None:
    machine = started()
    told = tell(machine, record(durability=REPLICATED, quorum=Quorum(frozenset((P, B, C)), 2)))
    assert told[-1] == a.Copied(0)
    assert a.Beat(4, promptly=True) in told, "replicas shall confirm each tick"
    machine.handle(e.Confirmed(B, 180), 1.0)
    assert machine.handle(e.Confirmed(C, 150), 1.0) == [a.Copied(150)]
    assert machine.handle(e.Confirmed(C, 170), 9.0) == [a.Copied(170)], "which needs no lease"
    three = Quorum(frozenset((P, B, C)), 1)
    fewer = tell(machine, record(5, kind=CONTINUED, tenure=4, durability=REPLICATED, quorum=three), 9.0)
    assert fewer[-1] == a.Copied(180)
    solo = Quorum(frozenset((P,)), 0)
    alone = tell(machine, record(6, kind=CONTINUED, tenure=4, durability=REPLICATED, quorum=solo), 9.0)
    assert alone[-1] == a.Copied(None)


def test_replies_wait_for_the_prepared_set_too() -> None:
    machine = primary(durability=REPLICATED, quorum=Quorum(frozenset((P, C)), 1))
    machine.handle(e.Confirmed(C, 200), 0.1)
    assert prepare(machine)[-1] == a.Copied(0)
    assert machine.handle(e.Confirmed(B, 210), 1.0)[-1] == a.Copied(200)


def test_who_waits_for_copies_is_cut_before_nothing_is_waited_for() -> None:
    machine = primary(durability=REPLICATED)
    actions = machine.handle(e.Fence(P, 5, "", 200), 1.0)
    assert places(actions, a.CutClients, a.Copied) == sorted(places(actions, a.CutClients, a.Copied))
    assert actions[-1] == a.Copied(None)


def test_what_was_not_done_is_said_again() -> None:
    machine = primary(durability=REPLICATED)
    machine.handle(e.Fence(P, 5, "", 200), 1.0)
    assert a.Copied(None) in machine.handle(e.StoreFailed(), 1.0)


def test_a_replica_confirms_ticks_while_its_primary_wants_it() -> None:
    machine = replica()
    assert a.ConfirmTicks(True, from_file=True) in machine.handle(e.Heard(4, END + 30, promptly=True), 1.0)
    assert machine.handle(e.Heard(4, END + 60, promptly=True), 1.2) == [a.Confirm()]
    assert a.ConfirmTicks(True, from_file=False) in machine.handle(e.Kept(kept=False, synced=False), 1.2)
    assert a.ConfirmTicks(False, from_file=False) in machine.handle(e.Heard(4, END + 90), 1.4)
    machine.handle(e.Heard(4, END + 120, promptly=True), 1.6)
    assert machine.handle(e.Unlinked(), 1.6) == [a.ConfirmTicks(False, from_file=False)]


@pytest.mark.parametrize("event", [e.Fence(B, 9, "", END + 30), e.Heard(3, END + 60, promptly=True)])
def test_no_tick_is_confirmed_to_an_older_epoch(event: e.Event) -> None:
    """Also while the connection still has to be closed."""
    machine = replica()
    machine.handle(e.Heard(4, END + 30, promptly=True), 1.0)
    assert a.ConfirmTicks(False, from_file=True) in machine.handle(event, 1.0)


# ---- S6


WIDER = Quorum(frozenset((P, B)), 1)


def prepare(machine: Machine, quorum: Quorum = WIDER, epoch: int = 4, end: int = 200) -> list[a.Action]:
    return machine.handle(e.Prepare(P, epoch, quorum, end), 1.0)


def test_prepare_waits_for_all_that_was_written() -> None:
    machine = primary(quorum=Quorum(frozenset((P,)), 0))
    actions = prepare(machine)
    assert actions == [a.Store(machine.stored), a.Done("WAITING"), a.Lease(-math.inf)]
    assert machine.stored.prepared == Prepared(4, WIDER)
    machine.handle(e.Confirmed(B, 199), 1.0)
    assert prepare(machine, end=300) == [a.Done("WAITING")]
    machine.handle(e.Confirmed(B, 200), 1.0)
    assert prepare(machine, end=300) == [a.Done("OK")]


def test_what_is_prepared_is_obeyed() -> None:
    machine = primary(quorum=Quorum(frozenset((P, C)), 1))
    machine.handle(e.Confirmed(C, 200), 0.1)
    assert machine.may_write(1.0)
    prepare(machine)
    assert not machine.may_write(1.0), "lease"
    assert machine.safe(200) == 0, "acknowledgements"
    machine.handle(e.Confirmed(B, 170), 1.0)
    assert machine.may_write(1.0)
    assert machine.safe(200) == 170


def test_one_is_prepared_an_epoch() -> None:
    machine = primary()
    prepare(machine)
    assert refused(prepare(machine, Quorum(frozenset((P, C)), 1))) == "BUSY"
    tell(machine, record(5, kind=CONTINUED, tenure=4), end=200)
    assert machine.stored.prepared is None
    assert refused(prepare(machine)) == "STALE"
    assert refused(prepare(machine, Quorum(frozenset((P, C)), 1), epoch=5)) == ""


def test_prepare_is_for_the_primary_of_this_epoch() -> None:
    assert refused(prepare(started(), epoch=3)) == "NOTREIGNING"
    assert refused(prepare(primary(), epoch=5)) == "NOTREIGNING"
    assert refused(prepare(primary(), Quorum(frozenset((B, C)), 1))) == "ERR", "without itself"


# ---- S7


def test_following() -> None:
    machine = started(replace(KEPT, disk=B))
    told = tell(machine, record())
    assert told == [a.Store(machine.stored), a.CutClients(), a.Follow("10.0.0.1", 6379), a.Done()], "they seek it"
    assert tell(machine, record()) == [a.Done()], "told again"
    moved = tell(machine, record(address=("10.0.0.2", 6379)))
    assert moved == [a.Stand(), a.Follow("10.0.0.2", 6379), a.Done()], "they read"
    greeting = Greeting(4, P, DATA, (*KEPT.starts, Start(4, END)))
    assert machine.handle(e.Greeted(greeting), 0) == [a.Accept()]
    assert machine.handle(e.Joined(END), 0) == [a.Store(machine.stored), a.Confirm()]
    assert machine.position(END) == POSITION, "not of the new tenure before its mark is applied"
    assert machine.handle(e.Heard(4, END + 30), 1.0) == [a.Confirm()]
    assert machine.position(END + 30) == Position(4, END + 30)
    assert machine.role == REPLICA


@pytest.mark.parametrize("greeting", [Greeting(3, P, DATA, ()), Greeting(4, C, DATA, ()), Greeting(4, P, "e" * 40, ())])
def test_who_is_not_followed(greeting: Greeting) -> None:
    """An older epoch, another disk, other data."""
    machine = started(replace(KEPT, disk=B))
    tell(machine, record())
    (action,) = machine.handle(e.Greeted(greeting), 0)
    assert isinstance(action, a.Drop)
    assert machine.handle(e.Heard(4, END), 0) == [], "nothing is confirmed"


def test_a_record_that_the_primary_has_not_got_ends_the_link() -> None:
    machine = replica()
    actions = tell(machine, record(5, kind=CONTINUED, tenure=4))
    assert actions == [a.Store(machine.stored), a.Stand(), a.Follow("10.0.0.1", 6379), a.Done()]
    assert machine.handle(e.Heard(4, END + 30), 0) == []
    machine.handle(e.Greeted(Greeting(5, P, DATA, ())), 0)
    assert tell(machine, record(5, kind=CONTINUED, tenure=4)) == [a.Done()], "it has it now"


def test_beats_of_an_older_epoch() -> None:
    machine = replica()
    machine.handle(e.Greeted(Greeting(6, P, DATA, ())), 0)
    (action,) = machine.handle(e.Heard(4, END + 30), 0)
    assert isinstance(action, a.Drop)


def test_greeting() -> None:
    machine = primary()
    (greet,) = machine.handle(e.Hello(3, B), 0)
    assert greet == a.Greet(Greeting(4, P, DATA, (*KEPT.starts, Start(4, END))))
    assert refused(machine.handle(e.Hello(5, B), 0)) == "STALE"
    assert machine.role == PRIMARY, "a FENCE that came to nothing is no reason to step down"
    assert refused(machine.handle(e.Hello(3, P), 0)) == "WRONGDISK"
    assert refused(started().handle(e.Hello(3, B), 0)) == "NOTREIGNING"


def test_the_tenure_of_a_position() -> None:
    starts = (Start(1, 0), Start(3, 50))
    assert [tenure_at(starts, end) for end in (0, 1, 50, 51)] == [0, 1, 1, 3]
    assert Position(3, 10) > Position(1, 90)


def test_starts_are_bounded() -> None:
    machine = started(replace(KEPT, starts=tuple(Start(n, n) for n in range(1, STARTS_MAX + 1))))
    tell(machine, record(STARTS_MAX + 1, start=Position(STARTS_MAX, END)))
    assert len(machine.stored.starts) == STARTS_MAX
    assert machine.stored.starts[-1] == Start(STARTS_MAX + 1, END)


# ---- S8

SOLO = replace(KEPT, solo_epoch=3)


def test_solo_opens_itself() -> None:
    machine = Machine(SOLO, run=RUN, draw=lambda: "new")
    actions = machine.handle(e.Started(END, torn=False, kept=True, synced=False, boot="boot"), 0)
    assert actions == [a.Store(machine.stored), a.Lead(3), a.Beat(3, promptly=True), a.Lease(math.inf)]
    assert (machine.reign and machine.reign.tenure, machine.epoch) == (3, 3)
    assert prepare(machine, epoch=3)[-1] == a.Copied(0), "whatever its durability is, which is not told again"


def test_a_mark_that_was_not_written_is_written() -> None:
    machine = started(replace(SOLO, starts=(Start(1, 0), Start(3, END))))
    assert machine.stored.starts == (Start(1, 0), Start(3, END))
    assert machine.role == PRIMARY


@pytest.mark.parametrize(
    "kept", [replace(SOLO, promise=4), replace(SOLO, prepared=Prepared(3, WIDER)), replace(SOLO, solo_epoch=0)]
)
def test_who_may_have_been_replaced_does_not(kept: Stored) -> None:
    assert started(kept).role == FENCED


def test_leaving_solo_ends_that() -> None:
    machine = primary(quorum=Quorum(frozenset((P,)), 0))
    assert machine.stored.solo_epoch == 4
    tell(machine, record(5, kind=CONTINUED, tenure=4), end=200)
    assert machine.stored.solo_epoch == 0


# ---- S9


@pytest.mark.parametrize(
    ("happened", "kept"),
    [
        ({}, True), ({"torn": True}, False), ({"boot": "another"}, False), ({"boot": "another", "synced": True}, False),
        ({"end": 99}, False), ({"end": 100}, True), ({"kept": False}, True),
    ],
)  # fmt: skip
def test_a_disk_keeps_its_id_only_with_proof(happened: dict[str, Any], kept: bool) -> None:
    machine = started(**happened)
    assert (machine.stored.disk == P) is kept, "how it is from now on proves nothing about what was"
    assert machine.stored.promise == 3, "it is never wrong to keep a promise"
    (age,) = {machine.state(5.0, END)["confirmed-age-ms"]}
    assert age == (5000 if kept else ""), "a restarted server may have confirmed until now"


def test_what_is_kept_now_is_the_next_start_s_proof() -> None:
    def disk_after(stored: Stored, boot: str = "boot") -> str:
        return started(stored, boot=boot).stored.disk

    assert disk_after(replace(KEPT, kept=False)) == "new1"
    assert disk_after(replace(KEPT, synced=True), boot="another") == P
    machine = started(synced=True)
    assert (machine.stored.kept, machine.stored.synced) == (True, True)
    assert machine.handle(e.Kept(kept=True, synced=False), 1.0) == [a.Store(machine.stored)]
    assert disk_after(machine.stored) == P
    assert disk_after(machine.stored, boot="another") == "new1"
    machine.handle(e.Kept(kept=False, synced=False), 1.0)
    machine.handle(e.Kept(kept=True, synced=True), 1.0)
    assert disk_after(machine.stored) == "new1", "there was a time when nothing was kept"


def test_who_lost_something_does_not_open_itself() -> None:
    assert started(SOLO, torn=True).role == FENCED


def test_without_data_there_is_no_data_set() -> None:
    assert started(end=0).stored.data_set == ""
    assert started(None, end=0).stored.data_set == ""


def test_another_claim_is_another_disk() -> None:
    machine = started(replace(KEPT, claim="uid"))
    actions = tell(machine, record(), claim="other")
    assert refused(actions) == "WRONGDISK"
    assert isinstance(actions[0], a.Store)
    assert (machine.stored.disk, machine.stored.claim, machine.role) == ("new1", "other", FENCED)


def test_the_first_claim_is_stored() -> None:
    machine = started()
    machine.handle(e.Fence(P, 4, "uid", END), 0)
    assert machine.stored.claim == "uid"


@pytest.mark.parametrize("event", [e.Told(B, record(), "", END), e.Fence(B, 9, "", END), e.Pause(B, 4, 800)])
def test_a_command_for_another_disk(event: e.Event) -> None:
    machine = started()
    assert refused(machine.handle(event, 0)) == "WRONGDISK"
    assert machine.stored.promise == 3


# ---- the rest


def test_pauses() -> None:
    machine = primary()
    assert machine.handle(e.Pause(P, 4, 800), 1.0) == [a.Hold(800), a.Beat(4), a.Done()]
    assert machine.handle(e.Passed(), 1.7) == [], "no beats, or nobody could be seen to have all there is"
    assert machine.handle(e.Passed(), 1.9) == [a.Beat(4)]
    assert machine.handle(e.Pause(P, 4, 10**9), 1.0) == [a.Hold(PAUSE_MS_MAX), a.Beat(4), a.Done()]
    assert machine.handle(e.Passed(), 3.0) == [a.Beat(4)], "a lease must not run out for want of beats"
    assert machine.handle(e.Resume(P, 4), 1.0) == [a.LetGo(), a.Done()]
    assert refused(started().handle(e.Pause(P, 3, 800), 1.0)) == "NOTREIGNING"


def test_a_store_that_failed_is_tried_again() -> None:
    machine = primary()
    machine.handle(e.Fence(P, 5, "", END + 30), 1.0)
    fenced = [a.Stand(), a.CutClients(), a.Lease(-math.inf), a.Copied(None)]
    assert machine.handle(e.StoreFailed(), 1.0) == fenced, "nothing behind the store was done"
    actions = machine.handle(e.Fence(P, 5, "", END + 30), 1.0)
    assert isinstance(actions[0], a.Store)
    failing = primary(quorum=Quorum(frozenset((P,)), 0))
    assert failing.handle(e.StoreFailed(), 1.0) == fenced


def test_state() -> None:
    machine = primary()
    machine.handle(e.Confirmed(B, END + 30), 1.0)
    prepare(machine)
    state = machine.state(2.0, 200)
    assert state == {
        "disk": P, "run": RUN, "boot": "boot", "claim": "", "data-set": DATA, "promise": 4, "epoch": 4,
        "role": "primary", "reign": 4, "solo-epoch": 0, "prepared": f"4 1 {B},{P}", "tenure": 4, "offset": 200,
        "marked": 4, "confirmed-age-ms": 2000, "primary": "", "lease": "held", "confirmations": f"{B}=4:150:2000",
    }  # fmt: skip
    assert machine.state(LEASE_S, 200)["lease"] == "lost"
    assert replica().state(0, END)["primary"] == P


def test_confirmations_sent_by_others() -> None:
    machine = replica()
    machine.handle(e.Acked(7.0), 8.0)
    assert facts(machine.handle(e.Fence(B, 5, "", END), 9.0)).confirmed_age == 2.0
