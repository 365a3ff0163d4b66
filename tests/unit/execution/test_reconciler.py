"""The reconciler with cycles of the test's own, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from cachefleet_operator.api.v1alpha1 import Cache, CacheKey
from cachefleet_operator.execution import reconciler
from cachefleet_operator.execution.cycle import NoMeter, Result
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.reconciler import Reconciler
from fleettest import snapshots
from fleettest.virtualtime import pass_time, run_virtual

KEY = ("shop", "orders")
STEADY_S = 30.0


def cache(name: str = "orders", **metadata: Any) -> Cache:
    return snapshots.cache(metadata={"name": name, **metadata})


class Cycles:
    """Keeps Caches, writes down which had a cycle and when, and fails as it is told."""

    def __init__(self, *caches: Cache) -> None:
        self.caches = {c.key: c for c in caches or (cache(),)}
        self.done: list[tuple[float, str]] = []  # when, Cache
        self.fail: Callable[[Cache], Exception | None] = lambda cache: None
        self.read: Callable[[CacheKey], Cache | None] = self.caches.get
        self.takes_s = 0.0
        self.finished = self.running = self.running_max = 0

    def cache(self, key: CacheKey) -> Cache | None:
        return self.read(key)

    async def run(self, cache: Cache) -> tuple[Result, float]:
        self.done.append((now(), cache.metadata.name))
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        try:
            await pass_time(self.takes_s)
        finally:
            self.running -= 1
        if error := self.fail(cache):
            raise error
        self.finished += 1
        return "unchanged", STEADY_S

    def times(self, name: str = "orders") -> list[float]:
        return [at for at, who in self.done if who == name]


def now() -> float:
    return asyncio.get_running_loop().time()


async def live(cycles: Cycles, seconds: float, **options: Any) -> Reconciler:
    """Starts, lets `seconds` pass, stops."""
    found = Reconciler(cycles, **options)
    found.start(cycles.caches)
    await pass_time(seconds)
    await found.stop()
    return found


def test_nothing_to_do_costs_one_look_in_the_time_that_the_plan_named() -> None:
    cycles = Cycles()
    run_virtual(live(cycles, 10 * STEADY_S))
    gaps = [b - a for a, b in pairwise(cycles.times())]
    assert all(0.85 * STEADY_S <= gap <= STEADY_S + 1 for gap in gaps)


def test_many_wakes_are_one_cycle() -> None:
    async def main() -> None:
        found = Reconciler(cycles)
        found.start([KEY])
        await pass_time(1)
        for _ in range(100):
            found.wake(KEY)
            await pass_time(0.0001)
        await pass_time(1)
        await found.stop()

    cycles = Cycles()
    run_virtual(main())
    assert len(cycles.times()) == 2


def test_a_wake_during_a_cycle_is_not_lost() -> None:
    async def main() -> None:
        found = Reconciler(cycles)
        found.start([KEY])
        await pass_time(0.5)
        assert cycles.running
        found.wake(KEY)
        await pass_time(3)
        await found.stop()

    cycles = Cycles()
    cycles.takes_s = 1.0
    run_virtual(main())
    assert len(cycles.times()) == 2


def test_writes_that_wake_us_again_do_not_set_the_api_on_fire() -> None:
    async def main() -> None:
        found = Reconciler(cycles)
        run = cycles.run

        async def and_wake(cache: Cache) -> tuple[Result, float]:
            result = await run(cache)
            found.wake(cache.key)
            return result

        cycles.run = and_wake  # type: ignore[method-assign]
        found.start([KEY])
        await pass_time(200)
        await found.stop()

    cycles = Cycles()
    run_virtual(main())
    allowed = reconciler.CYCLES_BURST + 200 / reconciler.CYCLE_EVERY_S + 2
    assert allowed * 0.8 <= len(cycles.times()) <= allowed


def test_failures_back_off_up_to_a_minute_and_end_with_the_failure() -> None:
    cycles = Cycles()
    cycles.fail = lambda cache: ExecutionError("no") if now() < 600 else None
    run_virtual(live(cycles, 800))
    times = cycles.times()
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps[0] < 1.3
    assert all(later > earlier for earlier, later in pairwise(gaps[:6]))
    assert max(gaps) <= reconciler.FAILURE_S_MAX * 1.2
    assert len([t for t in times if t < 600]) <= 18
    assert 600 <= next(t for t in times if t >= 600) <= 670


def test_events_do_not_cut_the_back_off_but_a_new_spec_does() -> None:
    async def main() -> None:
        found = Reconciler(cycles)
        found.start([KEY])
        await pass_time(100)  # Now the pauses are 32 s and more.
        before = len(cycles.times())
        for _ in range(10):
            found.wake(KEY)
            await pass_time(0.1)
        assert len(cycles.times()) == before
        cycles.caches[KEY] = cache(generation=2)
        found.wake(KEY)
        await pass_time(1)
        assert len(cycles.times()) == before + 1
        await found.stop()

    cycles = Cycles()
    cycles.fail = lambda cache: ExecutionError("no")
    run_virtual(main())


def test_a_conflict_is_tried_again_at_once_but_not_for_ever() -> None:
    cycles = Cycles()
    cycles.fail = lambda cache: ExecutionError("conflict", conflict=True)
    run_virtual(live(cycles, 0.9))
    assert len(cycles.times()) == reconciler.CONFLICTS_MAX + 1


def test_many_conflicts_are_no_failure_that_has_news_wait() -> None:
    async def main() -> None:
        found = Reconciler(cycles, pace=reconciler.Pace(every_s=0.1))
        found.start(cycles.caches)
        for _ in range(5):
            await pass_time(0.6)
            before = len(cycles.times())
            found.wake(KEY)
            await pass_time(0.2)
            assert len(cycles.times()) > before
        await found.stop()

    cycles = Cycles()
    cycles.fail = lambda cache: ExecutionError("conflict", conflict=True)
    run_virtual(main())


@pytest.mark.parametrize("error", [ExecutionError("bad"), ValueError("a bug"), TimeoutError()])
def test_one_bad_cache_blocks_no_other(error: Exception) -> None:
    cycles = Cycles(cache("bad"), cache("good"))
    cycles.fail = lambda cache: error if cache.metadata.name == "bad" else None
    run_virtual(live(cycles, 10 * STEADY_S, concurrency=1))
    assert len(cycles.times("good")) >= 10
    assert len(cycles.times("bad")) >= 7


def test_a_cycle_that_hangs_is_given_up() -> None:
    cycles = Cycles(cache("bad"), cache("good"))
    cycles.takes_s = 10 * reconciler.CYCLE_S_MAX

    async def main() -> None:
        found = Reconciler(cycles, concurrency=1)
        found.start([("shop", "bad")])
        await pass_time(1)
        found.wake(("shop", "good"))
        await pass_time(reconciler.CYCLE_S_MAX - 2)
        assert (found.waiting(), round(found.late_s())) == (2, round(reconciler.CYCLE_S_MAX - 1))
        await pass_time(2)
        assert cycles.times("good")
        await found.stop(0)

    run_virtual(main())


def test_no_more_cycles_at_once_than_allowed() -> None:
    cycles = Cycles(*(cache(f"c{i}") for i in range(40)))
    cycles.takes_s = 0.1
    run_virtual(live(cycles, 10, concurrency=4))
    assert cycles.running_max == 4
    assert {who for _, who in cycles.done} == {f"c{i}" for i in range(40)}


def test_a_deleted_cache_is_forgotten_and_may_come_back() -> None:
    async def main() -> None:
        found = Reconciler(cycles)
        found.start([KEY])
        await pass_time(1)
        gone = cycles.caches.pop(KEY)
        found.wake(KEY)
        await pass_time(1)
        assert len(asyncio.all_tasks()) == 1
        assert len(cycles.times()) == 1
        cycles.caches[KEY] = gone
        found.wake(KEY)
        await pass_time(1)
        assert len(cycles.times()) == 2
        await found.stop()

    cycles = Cycles()
    run_virtual(main())


def test_a_cache_that_cannot_be_read_waits_for_a_better_one() -> None:
    async def main() -> None:
        broken = True

        def get(key: CacheKey) -> Cache | None:
            if broken:
                raise ExecutionError("spec.memory: must be an object")
            return cache()

        cycles.read = get
        found = Reconciler(cycles)
        found.start([KEY])
        await pass_time(100)
        assert not cycles.done
        broken = False
        found.wake(KEY)
        await pass_time(1)
        assert len(cycles.times()) == 1
        await found.stop()

    cycles = Cycles()
    run_virtual(main())


def test_wakes_before_the_start_and_after_the_stop_do_nothing() -> None:
    async def main() -> None:
        found = Reconciler(cycles)
        found.wake(KEY)
        await pass_time(1)
        found.start([])
        await found.stop()
        found.wake(KEY)
        await pass_time(1)
        assert len(asyncio.all_tasks()) == 1

    cycles = Cycles()
    run_virtual(main())
    assert not cycles.done


@pytest.mark.parametrize(("grace_s", "finished"), [(5.0, True), (0.5, False), (0.0, False)])
def test_a_stop_lets_a_cycle_finish_if_it_has_the_time(grace_s: float, finished: bool) -> None:
    async def main() -> None:
        found = Reconciler(cycles)
        found.start([KEY])
        await pass_time(0.5)
        began = now()
        await found.stop(grace_s)
        assert now() - began <= grace_s + 0.01
        assert len(asyncio.all_tasks()) == 1

    cycles = Cycles()
    cycles.takes_s = 2.0
    run_virtual(main())
    assert bool(cycles.finished) is finished


def test_what_is_done_is_counted() -> None:
    class Meter(NoMeter):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def reconciled(self, result: str, duration_s: float) -> None:
            self.seen.append(f"{result} {duration_s:.1f}")

    cycles, meter = Cycles(), Meter()
    cycles.takes_s = 0.5
    run_virtual(live(cycles, 2 * STEADY_S + 2, meter=meter))
    assert meter.seen[:2] == ["unchanged 0.5"] * 2
