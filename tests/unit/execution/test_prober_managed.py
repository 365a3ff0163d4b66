"""What of a managed server is news: not what always moves, but an age that passes what the rules look at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cachefleet_operator.execution.prober import _standing
from cachefleet_operator.planning.failover.facts import Confirmed, Point, State
from cachefleet_operator.planning.snapshot import Server
from fleettest.views import HERE, TENURE, reigning, state


def is_news(before: State, after: State) -> bool:
    return _standing(Server("c-0", managed=before)) != _standing(Server("c-0", managed=after))


def test_what_always_moves_is_no_news() -> None:
    before = state(1)
    for age in (0.0, 0.3):
        assert not is_news(before, replace(before, at=Point(TENURE, 9999), keys=12, beat_s=age))
    said = reigning(confirmed={"d1": Confirmed(HERE, 0.1)})
    assert not is_news(said, replace(said, confirmed={"d1": Confirmed(Point(TENURE, 900), 0.2)}))


@pytest.mark.parametrize(
    "change",
    [{"beat_s": 2.5}, {"promise": 9}, {"epoch": 9}, {"link": "down"}, {"run": "r9"}, {"disk": "n1"}, {"reign": 9}],
    ids=str,
)
def test_what_the_rules_look_at_is(change: dict[str, object]) -> None:
    assert is_news(state(1), replace(state(1), **change))  # type: ignore[arg-type]


def test_so_is_a_member_that_ceases_to_confirm() -> None:
    ages = [0.1, 1.0, 3.0]
    said = [reigning(confirmed={"d1": Confirmed(HERE, age)}) for age in ages]
    assert is_news(said[0], said[1])
    assert is_news(said[1], said[2])
    assert is_news(said[0], reigning(confirmed={}))


def test_and_the_third_question_without_an_answer() -> None:
    refused = Server("c-0", error="nothing listens", refuses=True, failures=1)
    assert _standing(refused) == _standing(replace(refused, failures=2))
    assert _standing(refused) != _standing(replace(refused, failures=3))
