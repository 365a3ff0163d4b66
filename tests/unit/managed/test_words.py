"""The family CACHEFLEET on the wire, both ways."""

from __future__ import annotations

import pytest

from cachefleet_server.errors import CommandError
from cachefleet_server.managed import actions as a
from cachefleet_server.managed import events as e
from cachefleet_server.managed import words
from cachefleet_server.managed.state import Greeting, Position, Quorum, Record, Start

pytestmark = pytest.mark.unit

A, B = "a" * 40, "b" * 40
RECORD = (
    f"{A} epoch 5 tenure 4 kind continued primary {A} run {B} set {A},{B} acks 1 from 3:120 data-set dd"
    " durability async address 10.0.0.1 6379"
)


def parse(text: str, how: words.Parse = words.record) -> e.Event:
    return words.event(how, [b"CACHEFLEET", b"X", *text.encode().split()], 7)


def test_record() -> None:
    expected = Record(
        5, 4, "continued", A, B, Quorum(frozenset((A, B)), 1), Position(3, 120), "dd", "async", ("10.0.0.1", 6379)
    )
    assert parse(RECORD) == e.Told(A, expected, "", 7)
    assert parse(f"{RECORD} claim u-1") == e.Told(A, expected, "u-1", 7)
    head, *pairs = RECORD.replace("10.0.0.1 6379", "").rsplit(" address", 1)[0].split(" ")
    swapped = [word for at in range(len(pairs) - 2, -1, -2) for word in pairs[at : at + 2]]
    assert parse(" ".join((head, "address", "10.0.0.1", "6379", *swapped))) == e.Told(A, expected, "", 7), (
        "in any order"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epoch 5", "epoch 05"), ("epoch 5 ", ""), ("epoch 5", "epoch 5 epoch 6"), ("kind continued", "kind odd"),
        ("acks 1", "acks 2"), ("acks 1", "acks 0"), ("acks 1", "acks -1"), ("from 3:120", "from 3"), (" 6379", ""),
        ("6379", "0"), ("6379", "65536"), ("10.0.0.1", "a/b"), ("durability async", "durability some"), (A, "a b", ),
        (f"primary {A}", f"primary {'c' * 40}"), ("tenure 4", "tenure 6"), ("tenure 4", "tenure 0"), (RECORD, A),
    ],
)  # fmt: skip
def test_records_that_are_none(old: str, new: str) -> None:
    with pytest.raises(CommandError):
        parse(RECORD.replace(old, new))


def test_the_others() -> None:
    assert parse(f"{A} 6", words.fence) == e.Fence(A, 6, "", 7)
    assert parse(f"{A} 6 claim u", words.fence) == e.Fence(A, 6, "u", 7)
    assert parse(f"{A} 6 {A},{B} 1", words.prepare) == e.Prepare(A, 6, Quorum(frozenset((A, B)), 1), 7)
    assert parse(f"{A} 6 800", words.pause) == e.Pause(A, 6, 800)
    assert parse(f"{A} 6", words.resume) == e.Resume(A, 6)
    for wrong in (f"{A} 0", f"{A} x", f"{A} 6 clam u", f"{A} 6 claim"):
        with pytest.raises(CommandError):
            parse(wrong, words.fence)


def test_replies() -> None:
    assert words.reply([a.Stand(), a.Done()]) == "OK"
    assert words.reply([a.Done("WAITING")]) == "WAITING"
    said = words.reply([a.Facts(A, B, Position(3, 4), 2, None, "dd")])
    assert said == {
        "disk": A, "run": B, "tenure": 3, "offset": 4, "marked": 3, "reign": 2, "confirmed-age-ms": "",
        "data-set": "dd",
    }  # fmt: skip
    assert words.facts(a.Facts(A, B, Position(3, 4), 2, 1.25, ""))["confirmed-age-ms"] == 1250
    with pytest.raises(CommandError, match="STALE why"):
        words.reply([a.Refuse("STALE", "why")])


@pytest.mark.parametrize("said", [Greeting(5, A, "dd", (Start(1, 0), Start(5, 90))), Greeting(1, A, "", ())])
def test_greetings(said: Greeting) -> None:
    assert words.greeting(words.greet(said)) == said
    assert words.reply([a.Greet(said)]) == words.greet(said)
    for wrong in ("OK", "cachefleet 1 a b", "cachefleet x a b -", "cachefleet 1 a b 1", "hello 1 a b -"):
        with pytest.raises(CommandError):
            words.greeting(wrong)


def test_the_longest_greeting_fits_into_a_line() -> None:
    starts = tuple(Start(10**9 + n, 10**18 - 1) for n in range(24))
    assert len(words.greet(Greeting(10**9, A, "d" * 64, starts))) < 1024


def test_beats() -> None:
    assert words.beat(12, promptly=False) == b"*2\r\n$4\r\nPING\r\n$13\r\ncachefleet:12\r\n"
    assert words.beat(12, promptly=True) == b"*2\r\n$4\r\nPING\r\n$22\r\ncachefleet:12:promptly\r\n"
    assert words.heard(b"cachefleet:12", 7) == e.Heard(12, 7)
    assert words.heard(b"cachefleet:12:promptly", 7) == e.Heard(12, 7, promptly=True)
    for word in (b"", b"hello", b"cachefleet:", b"cachefleet:x", b"cachefleet:12:", b"cachefleet:12:at-once"):
        assert words.heard(word, 7) is None
