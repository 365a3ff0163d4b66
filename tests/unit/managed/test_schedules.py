"""Random schedules of several machines under an operator that does whatever it may (fleettest.managedworld): one server
at most accepts writes, with durability replicated every later primary has what was acknowledged, and in the end there
is a primary. A machine with a rule taken out is found."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from cachefleet_server.managed import actions as a
from cachefleet_server.managed import events as e
from cachefleet_server.managed.machine import Machine
from cachefleet_server.managed.state import Stored
from fleettest.managedworld import MakeMachine, Violation, World, usual

pytestmark = pytest.mark.unit

SIZES = [(1, 1), (2, 1), (3, 1), (3, 2)]


def world(rng: random.Random, make: MakeMachine = usual, size: tuple[int, int] | None = None) -> World:
    n, acks = size or rng.choice(SIZES)
    return World(rng, n=n, acks=acks, replicated=rng.random() < 0.6, loosen=rng.random() < 0.6, make=make)


@pytest.mark.parametrize("size", SIZES)
def test_schedules(rng: random.Random, size: tuple[int, int]) -> None:
    writers = acknowledged = 0
    for _ in range(25):
        w = world(rng, size=size)
        w.run(500)
        w.heal()
        writers += len(w.writers)
        acknowledged += len(w.acknowledged)
    assert writers > 10, "records alone are no failover: several tenures accept writes"
    assert acknowledged > 0


class NoLease(Machine):
    def _lease_until(self) -> float:
        return math.inf if self.reign else -math.inf


class TornKeepsItsId(Machine):
    def _started(self, event: e.Started, now: float) -> list[a.Action]:
        return super()._started(replace(event, torn=False), now)

    def _change_disk(self, **changes: object) -> None:
        if not self._read:
            super()._change_disk(**changes)


class TakesOldEpochs(Machine):
    def _commanded(self, event: e.Told | e.Fence | e.Prepare | e.Pause | e.Resume, now: float) -> list[a.Action]:
        epoch = event.record.epoch if isinstance(event, e.Told) else event.epoch
        self.stored = replace(self.stored, promise=min(epoch, self.stored.promise))
        return super()._commanded(event, now)


class OpensAlways(Machine):
    def _started(self, event: e.Started, now: float) -> list[a.Action]:
        kept = self.stored
        if kept.starts and kept.starts[-1].tenure == kept.promise:
            self.stored = replace(kept, solo_epoch=kept.promise)
        return super()._started(event, now)


class PromisesNothing(Machine):
    def _fence(self, event: e.Fence, now: float) -> list[a.Action]:
        promise = self.stored.promise
        actions = super()._fence(event, now)
        self.stored = replace(self.stored, promise=promise)
        return actions


class ReignsOn(Machine):
    def _fence(self, event: e.Fence, now: float) -> list[a.Action]:
        reign, epoch = self.reign, self.epoch
        actions = super()._fence(event, now)
        if reign:
            self.reign, self.epoch = reign, epoch
        return actions


class FollowsOn(Machine):
    def _stand(self) -> list[a.Action]:
        return super()._stand() if self.reign else []

    def _heard_beat(self, beat: e.Heard, now: float) -> list[a.Action]:
        return [a.Confirm()]


class PreparesNothing(Machine):
    def _prepare(self, event: e.Prepare) -> list[a.Action]:
        actions = super()._prepare(event)
        if self.reign:
            self.reign.prepared = None
        return actions


class RepliesAtOnce(Machine):
    def copied(self) -> int | None:
        return None


class CutsNobody(Machine):
    def _stand(self) -> list[a.Action]:
        return [action for action in super()._stand() if not isinstance(action, a.CutClients)]


@pytest.mark.parametrize(
    "broken",
    [
        NoLease, TornKeepsItsId, TakesOldEpochs, OpensAlways, PromisesNothing, ReignsOn, FollowsOn, PreparesNothing,
        RepliesAtOnce, CutsNobody,
    ],
)  # fmt: skip
def test_a_machine_without_a_rule_is_found(broken: type[Machine]) -> None:
    def make(stored: Stored | None, run: str, draw: Callable[[], str]) -> Machine:
        return broken(stored, run=run, draw=draw)

    def search() -> None:
        for seed in range(400):
            w = world(random.Random(seed), make)
            w.run(500)
            w.heal()

    with pytest.raises(Violation):
        search()
