"""What acknowledgements are judged by: histories that must be refused, and those that look like them."""

from __future__ import annotations

import pytest

from fleettest.client import Connection
from fleettest.traffic import Acked, Writer, two_at_once

History = list[tuple[str, int, float]]  # run, tenure, when it was acknowledged

TURNS: History = [("a", 1, 1.0), ("a", 1, 2.0), ("b", 2, 3.0), ("a", 3, 4.0)]
OLD_ONE_WRITES: History = [("a", 1, 1.0), ("b", 2, 2.0), ("a", 1, 3.0)]
TWO_OF_ONE_TENURE: History = [("a", 1, 1.0), ("b", 1, 2.0)]
BACK_AND_FORTH: History = [("a", 1, 1.0), ("b", 1, 2.0), ("a", 1, 3.0)]


def connect() -> Connection:
    raise NotImplementedError


def writers(history: History, took_s: float = 0.1) -> list[Writer]:
    """One a process, each of which sees its own alone."""
    found = {run: Writer(run, connect) for run, _, _ in history}
    for number, (run, tenure, at) in enumerate(history):
        found[run].acked.append(Acked(number, at - took_s, at, run, tenure))
    return list(found.values())


@pytest.mark.parametrize("history", [OLD_ONE_WRITES, TWO_OF_ONE_TENURE, BACK_AND_FORTH])
def test_two_primaries_at_once_are_found(history: History) -> None:
    assert two_at_once(writers(history))


def test_one_after_the_other_is_well() -> None:
    assert not two_at_once(writers(TURNS))


def test_an_answer_that_was_long_on_its_way_is_none_of_two() -> None:
    assert not two_at_once(writers(OLD_ONE_WRITES, took_s=1.5))


def test_who_is_alone_goes_on_after_its_restart_and_only_it() -> None:
    alone = frozenset({1})
    assert not two_at_once(writers(TWO_OF_ONE_TENURE), alone)
    assert two_at_once(writers(BACK_AND_FORTH), alone)
    assert two_at_once(writers(OLD_ONE_WRITES), alone)
