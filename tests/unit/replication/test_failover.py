"""A handover's decisions: FAILOVER's words, what is refused, when a target is asked; and random schedules."""

from __future__ import annotations

import random

import pytest

from cachefleet_server.errors import CommandError
from cachefleet_server.replication.failover import (
    Aborted,
    Action,
    Address,
    Answered,
    Candidate,
    Event,
    Failover,
    Follow,
    Lead,
    Looked,
    Note,
    Pause,
    Request,
    Requested,
    Resume,
    State,
    parse,
)

pytestmark = pytest.mark.unit

A, B = Address("a", 1), Address("b", 2)
BOTH = (Candidate(A, online=True, acked=5), Candidate(B, online=True, acked=7))


class Played:
    """A failover with a clock that the test sets."""

    def __init__(self) -> None:
        self.failover = Failover()
        self.now = 100.0

    def __call__(self, event: Event) -> list[Action]:
        return [each for each in self.failover.handle(event, self.now) if not isinstance(each, Note)]

    def ask(
        self, words: str = "", candidates: tuple[Candidate, ...] = BOTH, *, following: bool = False
    ) -> list[Action]:
        return self(Requested(parse(words.split()), following, candidates))

    @property
    def state(self) -> State:
        return self.failover.state


@pytest.fixture
def play() -> Played:
    return Played()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", Request()), ("timeout 5", Request(timeout_ms=5)), ("TO h 1", Request(Address("h", 1))),
        ("FORCE to h 1 TIMEOUT 7", Request(Address("h", 1), 7, force=True)), ("force", Request(force=True)),
        ("to to 1", Request(Address("to", 1))), ("to h -1", Request(Address("h", -1))),
    ],
)  # fmt: skip
def test_words(words: str, expected: Request) -> None:
    assert parse(words.split()) == expected


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ("foo", "syntax error"), ("to h", "syntax error"), ("to", "syntax error"), ("timeout", "syntax error"),
        ("timeout 1 timeout 1", "syntax error"), ("to h 1 to h 1", "syntax error"), ("force force", "syntax error"),
        ("abort force", "syntax error"), ("to h x", "value is not an integer or out of range"),
        ("timeout 0", "FAILOVER timeout must be greater than 0"), ("timeout x to", "value is not an integer"),
    ],
)  # fmt: skip
def test_words_that_make_no_sense(words: str, refusal: str) -> None:
    with pytest.raises(CommandError, match=f"^ERR {refusal}"):
        parse(words.split())


@pytest.mark.parametrize(
    ("words", "candidates", "following", "refusal"),
    [
        ("to a 1", (), True, "FAILOVER is not valid when server is a replica."),
        ("force", (), False, "FAILOVER requires connected replicas."),
        ("force timeout 1", BOTH, False, "FAILOVER with force option requires both"),
        ("force to x 1", BOTH, False, "FAILOVER with force option requires both"),
        ("to a 2", BOTH, False, "FAILOVER target HOST and PORT is not a replica."),
        ("to a 1", (Candidate(A, False, 0),), False, "FAILOVER target replica is not online."),
    ],
)
def test_what_is_refused(
    words: str, candidates: tuple[Candidate, ...], following: bool, refusal: str, play: Played
) -> None:
    with pytest.raises(CommandError, match=f"^ERR {refusal}"):
        play.ask(words, candidates, following=following)
    assert not play.failover.active


def test_one_at_a_time_and_none_to_abort(play: Played) -> None:
    with pytest.raises(CommandError, match=r"^ERR No failover in progress\.$"):
        play(Aborted())
    assert play.ask() == [Pause()]
    for words in ("", "force", "to x 1"):
        with pytest.raises(CommandError, match=r"^ERR FAILOVER already in progress\.$"):
            play.ask(words, (), following=True)
    assert play.state is State.WAITING


def test_the_first_that_has_all(play: Played) -> None:
    play.ask()
    offline = Candidate(A, online=False, acked=9)
    assert play(Looked(9, (offline, *BOTH))) == []
    assert play(Looked(7, (offline, *BOTH))) == [Follow(B)]
    assert play.state is State.IN_PROGRESS
    assert play(Looked(7, BOTH)) == []
    assert play(Answered()) == [Resume()]
    assert play.state is State.NONE


def test_the_one_that_was_named(play: Played) -> None:
    play.ask("to a 1")
    assert play(Looked(7, BOTH)) == []
    assert play(Looked(7, BOTH[1:])) == [], "it has gone"
    assert play(Looked(5, BOTH)) == [Follow(A)]


@pytest.mark.parametrize(
    ("words", "expected"), [("timeout 500", [Resume()]), ("to a 1 timeout 500 force", [Follow(A)])]
)
def test_time_is_up(words: str, expected: list[Action], play: Played) -> None:
    play.ask(words)
    play.now += 0.499
    assert play(Looked(9, BOTH)) == []
    play.now += 0.001
    assert play(Looked(9, BOTH)) == expected
    play.now += 1000
    assert play(Looked(9, BOTH)) == [], "the time is for the wait alone"


def test_who_has_all_when_time_is_up_is_asked(play: Played) -> None:
    play.ask("timeout 500")
    play.now += 1
    assert play(Looked(7, BOTH)) == [Follow(B)]


@pytest.mark.parametrize("event", [Answered("-ERR no"), Aborted()])
def test_it_declines_or_is_given_up(event: Event, play: Played) -> None:
    play.ask()
    play(Looked(7, BOTH))
    assert play(event) == [Lead(), Resume()]
    assert not play.failover.active
    assert play(Answered()) == play(Answered("late")) == []
    play.now += 1
    assert play.ask("to a 1") == [Pause()], "nothing is left of the first"
    assert play(Looked(7, BOTH)) == []


def test_aborted_while_it_waits(play: Played) -> None:
    play.ask("timeout 1")
    assert play(Aborted()) == [Resume()]
    play.ask()
    play.now += 10
    assert play(Looked(9, BOTH)) == []
    assert play.state is State.WAITING, "the time of the first is over, this one has none"


def test_random_schedules_pause_and_follow_in_pairs(rng: random.Random) -> None:
    """Whatever happens: paused exactly while it is active, and a primary unless handed over or being so."""
    for _ in range(200):
        play, paused, follows = Played(), False, False
        for _ in range(50):
            play.now += rng.random()
            events: list[Event] = [
                Requested(
                    Request(rng.choice([None, A, B]), rng.choice([0, 1500]), rng.random() < 0.3), follows, BOTH
                ),
                Aborted(), Answered(), Answered("no"), Looked(rng.choice([5, 7, 8, 9]), BOTH),
            ]  # fmt: skip
            event = rng.choice(events)
            try:
                actions = play(event)
            except CommandError:
                continue
            for action in actions:
                match action:
                    case Pause():
                        assert not paused
                        paused = True
                    case Resume():
                        assert paused
                        paused = False
                    case Follow():
                        assert paused and not follows
                        follows = True
                    case Lead():
                        assert paused and follows
                        follows = False
            assert paused is play.failover.active
            assert follows or play.state is not State.IN_PROGRESS
            if follows and not play.failover.active:
                follows = rng.random() < 0.5  # handed over; somebody makes us a primary again
