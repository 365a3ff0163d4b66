"""Cycles that keep failing, over the simulated cluster: what the status says of that, when, and that it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cachefleet_operator.api import conditions
from cachefleet_operator.api.objects import Key
from cachefleet_operator.execution.cycle import CONFLICT_S, WORDS_S
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.planning.actions import Action, Apply, ConfigSet
from cachefleet_operator.planning.objects import applied_hash
from cachefleet_operator.planning.refusals import OBJECT
from fleettest.snapshots import cache
from fleettest.world import World, settled

AWAY = 'failed calling webhook "policy.test": connection refused'
STALE = "orders-0: STALE 4"


class Failing:
    """A settled world of which some acts fail, in the words of the moment."""

    def __init__(self, of: type[Action] = Apply, *, conflict: bool = False) -> None:
        self.world, self.words = settled(), ""
        interpreter: Any = self.world._interpreter
        execute: Callable[..., Any] = interpreter.execute

        async def failing(cache: Any, action: Action) -> None:
            if self.words and isinstance(action, of):
                raise ExecutionError(self.words, conflict=conflict)
            await execute(cache, action)

        interpreter.execute = failing

    def cycle(self, after_s: float = 1.0) -> list[str]:
        """What it wrote of the Cache."""
        self.world.writes.clear()
        self.world.cycle()
        self.world.now += after_s - self.world.history[-1].wake_after_s
        return [write for write in self.world.writes if write.startswith("patch Cache")]

    def degraded(self) -> tuple[str, str]:
        found = next(c for c in self.world.cache.status.conditions if c.type == conditions.DEGRADED)
        return found.reason, found.message


WELL, SAID = ("AsExpected", ""), ("ReconcileFailed", AWAY)


def changed(world: World, **spec: Any) -> None:
    world.edit(cache(**spec))


def test_what_fails_again_is_said_until_a_cycle_is_whole() -> None:
    its = Failing()
    its.words = AWAY
    changed(its.world, memory={"limit": "1Gi"})
    its.cycle()
    assert its.degraded() == WELL, "it may have been a time-out"
    its.cycle()
    assert its.degraded() == SAID
    assert (its.world.cache.status.phase, its.world.cache.status.message) == ("Degraded", f"F{AWAY[1:]}")
    assert ("Warning", "ReconcileFailed", AWAY) in its.world.events
    assert [its.cycle() for _ in range(5)] == [[]] * 5, "and then nothing is written"
    its.words = ""
    its.cycle()
    assert its.degraded() == WELL
    its.world.settle()
    assert its.world.cache.status.phase == "Running"


def test_one_failure_now_and_then_is_not_said() -> None:
    its = Failing()
    for limit in ("1Gi", "2Gi", "3Gi"):
        changed(its.world, memory={"limit": limit})
        for words in (AWAY, "", ""):
            its.words = words
            its.cycle()
            assert its.degraded() == WELL


def test_the_next_operator_goes_on_saying_it() -> None:
    """Its first failure is not the first."""
    its = Failing()
    its.words = AWAY
    changed(its.world, memory={"limit": "1Gi"})
    its.cycle()
    its.cycle()
    its.world._cycle._troubles.clear()
    assert its.cycle() == []
    assert its.degraded() == SAID


def test_what_the_other_lane_tries_at_the_moment_has_not_succeeded() -> None:
    """Nor failed: who has failed once has done so, and what is said stays."""
    its = Failing()
    its.words = AWAY
    changed(its.world, memory={"limit": "1Gi"})
    its.cycle()
    its.words = ""
    ledger = its.world._cycle._ledger
    taken = its.world.history[-1].actions
    for _ in range(3):
        assert all(ledger.begin(its, its.world.cache.key, action, ledger.now()) for action in taken)
        its.cycle()
        for action in taken:
            ledger.end(its.world.cache.key, action, done=False)
        its.words = AWAY
        its.cycle()
        assert its.degraded() == SAID
        its.words = ""
    its.cycle()
    assert its.degraded() == WELL


def test_words_that_are_others_each_time_are_written_seldom() -> None:
    its = Failing()
    changed(its.world, memory={"limit": "1Gi"})
    written = 0
    for number in range(int(WORDS_S) * 2):
        its.words = f"{AWAY} {number}"
        written += len(its.cycle())
    assert written <= 4


def test_what_is_wrong_with_a_pod_or_the_spec_is_said_before_it() -> None:
    its = Failing()
    its.words = AWAY
    changed(its.world, memory={"limit": "1Gi"})
    its.world.away = True
    for _ in range(3):
        its.cycle()
    assert its.degraded()[0] == "Unreachable"


@pytest.mark.parametrize("after_s", [0.1, 1.0])
def test_a_conflict_that_lasts_holds_up_no_status(after_s: float) -> None:
    """A server that says no to each act, for as long as its promise is too great."""
    its = Failing(ConfigSet, conflict=True)
    its.words = STALE
    before = its.world.cache.status
    changed(its.world, config={"timeout": "5"})
    began = its.world.now
    while its.world.now < began + CONFLICT_S:
        assert its.cycle(after_s) == []
    its.cycle(after_s)
    assert its.degraded() == ("ReconcileFailed", STALE)
    assert its.world.cache.status.observed_generation == before.observed_generation + 1
    assert [its.cycle(after_s) for _ in range(5)] == [[]] * 5
    its.words = ""
    its.cycle()
    assert its.degraded() == WELL


def test_what_somebody_else_writes_of_the_cache_meanwhile_is_not_overwritten() -> None:
    """However long that goes on: it is no failure of ours."""
    its = Failing(ConfigSet, conflict=True)
    its.words = STALE

    def writes() -> None:
        metadata = its.world.cache.metadata.model_copy(update={"resource_version": its.world._next()})
        its.world.cache = its.world.cache.model_copy(update={"metadata": metadata})

    changed(its.world, config={"timeout": "5"})
    its.world.meanwhile = writes
    for _ in range(10):
        its.cycle()
    assert its.degraded() == WELL
    assert its.world.failures[-1] == "Cache/orders has been changed"
    its.world.meanwhile = lambda: None
    its.cycle()
    assert its.degraded() == ("ReconcileFailed", STALE)


def test_a_refusal_beside_a_conflict_is_remembered_when_that_lasts() -> None:
    its = Failing(ConfigSet, conflict=True)
    its.words, words = STALE, "exceeded quota: services"
    changed(its.world, config={"timeout": "5"})
    del its.world.objects[Key("Service", "orders-rw")]
    its.world.refuse = lambda action: (
        (str(action.key), OBJECT, applied_hash(action.object), words) if isinstance(action, Apply) else None
    )
    for _ in range(int(CONFLICT_S) + 2):
        its.cycle()
    assert [refusal.message for refusal in its.world.cache.status.refusals] == [words]
    assert its.degraded() == ("ApplyFailed", f"Service/orders-rw: {words}")
