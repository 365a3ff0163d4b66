"""A primary's decisions: tables of what may be resumed, the order of snapshots, times; and random schedules."""

from __future__ import annotations

import random

import pytest

from cachefleet_server.replication.primary import (
    Action,
    Asked,
    Begin,
    CloseBacklog,
    Disconnect,
    Free,
    Gone,
    History,
    Limits,
    Loading,
    Newline,
    Passed,
    Ping,
    Primary,
    Resume,
    Sent,
    Wait,
    resumable,
)

pytestmark = pytest.mark.unit

OURS, EARLIER, FOREIGN = "a" * 40, "b" * 40, "c" * 40
HISTORY = History(OURS, EARLIER, earlier_end=150, start=100, stop=200)
LIMITS = Limits(timeout=60, ping_period=10, backlog_ttl=3600)


def full(primary: Primary, replica: int, now: float = 0) -> list[Action]:
    return primary.handle(Asked(replica, "?", -2, HISTORY), now)


def passed(*silent: tuple[int, float], backlog: bool = True, limits: Limits = LIMITS) -> Passed:
    return Passed(limits, silent, backlog)


@pytest.mark.parametrize(
    ("history", "following", "expected"),
    [
        (OURS, 99, False), (OURS, 100, True), (OURS, 200, True), (OURS, 201, False), (OURS.upper(), 150, True),
        (EARLIER, 99, False), (EARLIER, 100, True), (EARLIER, 150, True), (EARLIER, 151, False),
        (FOREIGN, 150, False), ("?", -2, False), ("", 150, False),
    ],
)  # fmt: skip
def test_what_can_be_resumed(history: str, following: int, expected: bool) -> None:
    asked = Asked(1, history, following, HISTORY)
    assert resumable(asked) is expected
    action = Resume(1, following) if expected else Wait(1, partial_failed=history != "?")
    assert Primary().handle(asked, 0) == [action]


def test_without_a_backlog_nothing_can() -> None:
    assert not resumable(Asked(1, "", 0, History("", "", 0, 0, 0)))
    assert not resumable(Asked(1, EARLIER, 0, History("", EARLIER, 100, 0, 0)))


def test_nothing_that_is_not_there_yet_counts_of_the_earlier_history() -> None:
    """Its end may lie ahead of a journal that was cut."""
    history = History(OURS, EARLIER, earlier_end=300, start=100, stop=200)
    assert not resumable(Asked(1, EARLIER, 250, history))


def test_one_snapshot_at_a_time_in_the_order_of_coming() -> None:
    primary = Primary()
    for replica in (3, 1, 2):
        full(primary, replica)
    assert primary.handle(Free(frozenset((1, 2))), 0) == [Begin(1)], "3 has not been sent its newlines"
    assert primary.handle(Free(frozenset((2, 3))), 0) == []
    assert primary.handle(Sent(1, ok=True), 0) == [Loading(1)]
    assert primary.handle(Free(frozenset((2, 3))), 0) == [Begin(3)]
    (action,) = primary.handle(Sent(3, ok=False), 0)
    assert isinstance(action, Disconnect)
    assert primary.handle(Gone(3), 0) == []
    assert primary.handle(Free(frozenset((2,))), 0) == [Begin(2)]


def test_who_goes_while_it_waits_or_is_sent_a_snapshot() -> None:
    primary = Primary()
    full(primary, 1)
    full(primary, 2)
    primary.handle(Free(frozenset((1, 2))), 0)
    primary.handle(Gone(1), 0)
    primary.handle(Gone(2), 0)
    assert primary.handle(Free(frozenset((2,))), 0) == []
    assert primary.handle(Sent(1, ok=False), 0) == []
    full(primary, 4)
    assert primary.handle(Free(frozenset((4,))), 0) == [Begin(4)]


def test_newlines_each_second_to_those_that_wait() -> None:
    primary = Primary()
    full(primary, 1, now=100)
    full(primary, 2, now=100)
    assert primary.handle(passed(), 101) == [Newline(1), Newline(2)]
    assert primary.handle(passed(), 101.5) == []
    primary.handle(Free(frozenset((1,))), 101.5)
    assert primary.handle(passed(), 102) == [Newline(2)]


def test_pings_only_while_there_are_replicas() -> None:
    primary = Primary()
    assert primary.handle(passed(), 50) == []
    primary.handle(Asked(1, OURS, 150, HISTORY), 100)
    assert primary.handle(passed((1, 0)), 109) == []
    assert primary.handle(passed((1, 0)), 110) == [Ping()]
    assert primary.handle(passed((1, 0)), 111) == []
    primary.handle(Gone(1), 112)
    assert primary.handle(passed(), 130) == []


def test_who_is_silent_for_too_long_is_disconnected() -> None:
    primary = Primary()
    for replica in (1, 2):
        primary.handle(Asked(replica, OURS, 150, HISTORY), 100)
    (action,) = primary.handle(passed((1, 60.0), (2, 60.5)), 101)
    assert action == Disconnect(2, "it has said nothing for 60 seconds (repl-timeout)")


@pytest.mark.parametrize("ttl", [0, 3600])
def test_the_backlog_outlives_the_last_replica(ttl: float) -> None:
    primary = Primary()
    limits = Limits(backlog_ttl=ttl)
    primary.handle(Asked(1, OURS, 150, HISTORY), 0)
    primary.handle(Gone(1), 100)
    assert primary.handle(passed(limits=limits), 3700) == []
    late = primary.handle(passed(limits=limits), 3701)
    assert late == ([CloseBacklog()] if ttl else [])
    assert primary.handle(passed(limits=limits, backlog=False), 9999) == []


def test_who_comes_back_in_time_keeps_it() -> None:
    primary = Primary()
    primary.handle(Asked(1, OURS, 150, HISTORY), 0)
    primary.handle(Gone(1), 100)
    primary.handle(Asked(2, OURS, 150, HISTORY), 3000)
    assert CloseBacklog() not in primary.handle(passed((2, 0)), 5000)


def test_random_schedules(rng: random.Random) -> None:
    """At most one snapshot at a time, of one that waits; and with time everybody that stays has its own."""
    for _ in range(200):
        primary, now = Primary(), 0.0
        waiting: set[int] = set()
        sending: int | None = None
        alive: set[int] = set()
        served: set[int] = set()
        for replica in range(rng.randrange(1, 40)):
            now += rng.random()
            alive.add(replica)
            if rng.random() < 0.3:
                assert primary.handle(Asked(replica, OURS, 150, HISTORY), now) == [Resume(replica, 150)]
                served.add(replica)
            else:
                full(primary, replica, now)
                waiting.add(replica)
            if rng.random() < 0.3:
                gone = rng.choice(sorted(alive))
                primary.handle(Gone(gone), now)
                alive.discard(gone)
                waiting.discard(gone)
            if sending is not None and rng.random() < 0.5:
                expected = [Loading(sending)] if sending in alive else []
                assert primary.handle(Sent(sending, ok=True), now) == expected
                served.add(sending)
                sending = None
            actions = primary.handle(Free(frozenset(waiting)), now)
            if sending is not None or not waiting:
                assert actions == []
            else:
                assert actions == [Begin(min(waiting))]
                sending = min(waiting)
                waiting.discard(sending)
        while waiting or sending is not None:
            if sending is not None:
                primary.handle(Sent(sending, ok=True), now)
                served.add(sending)
                sending = None
            for action in primary.handle(Free(frozenset(waiting)), now):
                assert isinstance(action, Begin)
                sending = action.replica
                waiting.discard(sending)
        assert alive <= served
