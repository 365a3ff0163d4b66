"""The reconciler with a backend and a planner of the test's own, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from cachefleet_operator.api.v1alpha1 import Cache, CacheStatus
from cachefleet_operator.execution import reconciler
from cachefleet_operator.execution.errors import ExecutionError, Refused
from cachefleet_operator.execution.reconciler import Reconciler
from cachefleet_operator.planning.actions import Action, LabelPod, Notice
from cachefleet_operator.planning.plan import Plan
from cachefleet_operator.planning.snapshot import Snapshot
from fleettest import snapshots
from fleettest.virtualtime import pass_time, run_virtual

KEY = ("shop", "orders")
STEADY_S = 30.0


def cache(name: str = "orders", **metadata: Any) -> Cache:
    return snapshots.cache(metadata={"name": name, **metadata})


class Backend:
    """Keeps Caches, writes down what is done and when, and fails as it is told."""

    def __init__(self, *caches: Cache) -> None:
        self.caches = {c.key: c for c in caches or (cache(),)}
        self.done: list[tuple[float, str, str]] = []  # when, Cache, what
        self.fail: Callable[[Cache, str], Exception | None] = lambda cache, what: None
        self.observe_s = 0.0
        self.observing = self.observing_max = 0

    def get(self, key: tuple[str, str]) -> Cache | None:
        return self.caches.get(key)

    def _do(self, cache: Cache, what: str) -> None:
        self.done.append((now(), cache.metadata.name, what))
        if error := self.fail(cache, what):
            raise error

    async def observe(self, cache: Cache) -> Snapshot:
        self._do(cache, "observe")
        self.observing += 1
        self.observing_max = max(self.observing_max, self.observing)
        try:
            await pass_time(self.observe_s)
        finally:
            self.observing -= 1
        return Snapshot(cache, snapshots.SITE, {}, {})

    async def execute(self, cache: Cache, action: Action) -> None:
        self._do(cache, f"do {action.reason}")

    async def write_status(self, cache: Cache, status: CacheStatus) -> None:
        self._do(cache, "status")
        self.caches[cache.key] = cache.model_copy(update={"status": status})

    async def event(self, cache: Cache, action: Action) -> None:
        self.done.append((now(), cache.metadata.name, f"event {action.reason}"))

    def what(self) -> list[str]:
        return [what for _, _, what in self.done]

    def times(self, what: str, name: str = "orders") -> list[float]:
        return [at for at, who, did in self.done if (who, did) == (name, what)]


def now() -> float:
    return asyncio.get_running_loop().time()


def act(reason: str) -> Action:
    return LabelPod(reason, "orders-0", {})


def planner(*reasons: str, status: Callable[[Cache], CacheStatus] | None = None) -> Callable[[Snapshot, float], Plan]:
    """Always the same actions; the status as it is, or as `status` makes it."""
    return lambda snapshot, at: Plan(
        tuple(act(reason) for reason in reasons),
        status(snapshot.cache) if status else snapshot.cache.status,
        STEADY_S,
        lambda words: snapshot.cache.status.model_copy(update={"phase": f"stopped: {words}"}),
    )


async def live(backend: Backend, plan: Callable[[Snapshot, float], Plan], seconds: float, **options: Any) -> Reconciler:
    """Starts, lets `seconds` pass, stops."""
    found = Reconciler(backend, backend.get, planner=plan, clock=now, **options)
    found.start(backend.caches)
    await pass_time(seconds)
    await found.stop()
    return found


def test_nothing_to_do_costs_one_look_in_the_time_that_the_plan_named() -> None:
    backend = Backend()
    run_virtual(live(backend, planner(), 10 * STEADY_S))
    assert set(backend.what()) == {"observe"}
    gaps = [b - a for a, b in pairwise(backend.times("observe"))]
    assert all(0.85 * STEADY_S <= gap <= STEADY_S + 1 for gap in gaps)


def test_actions_then_events_then_the_status_once() -> None:
    backend = Backend()
    done = CacheStatus(phase="done")
    run_virtual(live(backend, planner("a", "b", status=lambda _: done), 1))
    assert backend.what() == ["observe", "do a", "event a", "do b", "event b", "status"]


def test_the_status_is_written_only_if_it_differs() -> None:
    backend = Backend()
    run_virtual(live(backend, planner(status=lambda _: CacheStatus(phase="done")), 5 * STEADY_S))
    assert backend.what().count("status") == 1


def test_many_wakes_are_one_cycle() -> None:
    async def main() -> None:
        found = Reconciler(backend, backend.get, planner=planner(), clock=now)
        found.start([KEY])
        await pass_time(1)
        for _ in range(100):
            found.wake(KEY)
            await pass_time(0.0001)
        await pass_time(1)
        await found.stop()

    backend = Backend()
    run_virtual(main())
    assert len(backend.times("observe")) == 2


def test_a_wake_during_a_cycle_is_not_lost() -> None:
    async def main() -> None:
        found = Reconciler(backend, backend.get, planner=planner(), clock=now)
        found.start([KEY])
        await pass_time(0.5)
        assert backend.observing
        found.wake(KEY)
        await pass_time(3)
        await found.stop()

    backend = Backend()
    backend.observe_s = 1.0
    run_virtual(main())
    assert len(backend.times("observe")) == 2


def test_writes_that_wake_us_again_do_not_set_the_api_on_fire() -> None:
    async def main() -> None:
        found = Reconciler(backend, backend.get, planner=planner("fight"), clock=now)
        execute = backend.execute

        async def and_wake(cache: Cache, action: Action) -> None:
            await execute(cache, action)
            found.wake(cache.key)

        backend.execute = and_wake  # type: ignore[method-assign]
        found.start([KEY])
        await pass_time(200)
        await found.stop()

    backend = Backend()
    run_virtual(main())
    allowed = reconciler.CYCLES_BURST + 200 / reconciler.CYCLE_EVERY_S + 2
    assert allowed * 0.8 <= len(backend.times("do fight")) <= allowed


def test_failures_back_off_up_to_a_minute_and_end_with_the_failure() -> None:
    backend = Backend()
    backend.fail = lambda cache, what: ExecutionError("no") if what == "observe" and now() < 600 else None
    run_virtual(live(backend, planner(), 800))
    times = backend.times("observe")
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps[0] < 1.3
    assert all(later > earlier for earlier, later in pairwise(gaps[:6]))
    assert max(gaps) <= reconciler.FAILURE_S_MAX * 1.2
    assert len([t for t in times if t < 600]) <= 18
    assert 600 <= next(t for t in times if t >= 600) <= 670


def test_events_do_not_cut_the_back_off_but_a_new_spec_does() -> None:
    async def main() -> None:
        found = Reconciler(backend, backend.get, planner=planner(), clock=now)
        found.start([KEY])
        await pass_time(100)  # Now the pauses are 32 s and more.
        before = len(backend.times("observe"))
        for _ in range(10):
            found.wake(KEY)
            await pass_time(0.1)
        assert len(backend.times("observe")) == before
        backend.caches[KEY] = cache(generation=2)
        found.wake(KEY)
        await pass_time(1)
        assert len(backend.times("observe")) == before + 1
        await found.stop()

    backend = Backend()
    backend.fail = lambda cache, what: ExecutionError("no")
    run_virtual(main())


def test_a_conflict_is_tried_again_at_once_but_not_for_ever() -> None:
    backend = Backend()
    backend.fail = lambda cache, what: ExecutionError("conflict", conflict=True) if what == "do a" else None
    run_virtual(live(backend, planner("a"), 0.9))
    assert len(backend.times("do a")) == reconciler.CONFLICTS_MAX + 1


def test_a_refusal_ends_the_list_and_goes_into_the_status() -> None:
    def refuse(cache: Cache, what: str) -> Exception | None:
        return Refused("too small", target="orders-0", subject="maxmemory", wish="1") if what == "do b" else None

    backend = Backend()
    backend.fail = refuse
    run_virtual(live(backend, planner("a", "b", "c"), 1))
    assert backend.what() == [
        "observe", "do a", "event a", "do b", "event orders-0 refused maxmemory 1: too small", "status",
    ]  # fmt: skip
    (found,) = backend.caches[KEY].status.refusals
    assert (found.target, found.subject, found.wish, found.message) == ("orders-0", "maxmemory", "1", "too small")
    assert backend.caches[KEY].status.phase == "stopped: too small", "what was planned after it is not told as done"


def test_a_failed_action_ends_the_list_and_people_hear_of_it() -> None:
    backend = Backend()
    backend.fail = lambda cache, what: ExecutionError("quota") if what == "do a" else None
    run_virtual(live(backend, planner("a", "b", status=lambda _: CacheStatus(phase="Creating")), 0.5))
    assert backend.what() == ["observe", "do a", "status", "event quota"]
    assert backend.caches[KEY].status.phase == "stopped: quota"


@pytest.mark.parametrize("error", [ExecutionError("bad"), ValueError("a bug"), TimeoutError()])
def test_one_bad_cache_blocks_no_other(error: Exception) -> None:
    backend = Backend(cache("bad"), cache("good"))
    backend.fail = lambda cache, what: error if cache.metadata.name == "bad" else None
    run_virtual(live(backend, planner(), 10 * STEADY_S, concurrency=1))
    assert len(backend.times("observe", "good")) >= 10
    assert len(backend.times("observe", "bad")) >= 7


def test_a_cycle_that_hangs_is_given_up() -> None:
    backend = Backend(cache("bad"), cache("good"))
    backend.observe_s = 10 * reconciler.CYCLE_S_MAX

    async def main() -> None:
        found = Reconciler(backend, backend.get, planner=planner(), clock=now, concurrency=1)
        found.start([("shop", "bad")])
        await pass_time(1)
        found.wake(("shop", "good"))
        await pass_time(reconciler.CYCLE_S_MAX - 2)
        assert (found.waiting(), round(found.late_s())) == (2, round(reconciler.CYCLE_S_MAX - 1))
        await pass_time(2)
        assert backend.times("observe", "good")
        await found.stop(0)

    run_virtual(main())


def test_no_more_cycles_at_once_than_allowed() -> None:
    backend = Backend(*(cache(f"c{i}") for i in range(40)))
    backend.observe_s = 0.1
    run_virtual(live(backend, planner(), 10, concurrency=4))
    assert backend.observing_max == 4
    assert {who for _, who, _ in backend.done} == {f"c{i}" for i in range(40)}


def test_a_deleted_cache_is_forgotten_and_may_come_back() -> None:
    async def main() -> None:
        found = Reconciler(backend, backend.get, planner=planner(), clock=now)
        found.start([KEY])
        await pass_time(1)
        gone = backend.caches.pop(KEY)
        found.wake(KEY)
        await pass_time(1)
        assert len(asyncio.all_tasks()) == 1
        assert len(backend.times("observe")) == 1
        backend.caches[KEY] = gone
        found.wake(KEY)
        await pass_time(1)
        assert len(backend.times("observe")) == 2
        await found.stop()

    backend = Backend()
    run_virtual(main())


def test_a_cache_that_cannot_be_read_waits_for_a_better_one() -> None:
    async def main() -> None:
        broken = True

        def get(key: tuple[str, str]) -> Cache | None:
            if broken:
                raise ExecutionError("spec.memory: must be an object")
            return cache()

        found = Reconciler(backend, get, planner=planner(), clock=now)
        found.start([KEY])
        await pass_time(100)
        assert not backend.done
        broken = False
        found.wake(KEY)
        await pass_time(1)
        assert len(backend.times("observe")) == 1
        await found.stop()

    backend = Backend()
    run_virtual(main())


def test_wakes_before_the_start_and_after_the_stop_do_nothing() -> None:
    async def main() -> None:
        found = Reconciler(backend, backend.get, planner=planner(), clock=now)
        found.wake(KEY)
        await pass_time(1)
        found.start([])
        await found.stop()
        found.wake(KEY)
        await pass_time(1)
        assert len(asyncio.all_tasks()) == 1

    backend = Backend()
    run_virtual(main())
    assert not backend.done


@pytest.mark.parametrize(("grace_s", "finished"), [(5.0, True), (0.5, False), (0.0, False)])
def test_a_stop_lets_a_cycle_finish_if_it_has_the_time(grace_s: float, finished: bool) -> None:
    async def main() -> None:
        found = Reconciler(backend, backend.get, planner=planner("a"), clock=now)
        found.start([KEY])
        await pass_time(0.5)
        began = now()
        await found.stop(grace_s)
        assert now() - began <= grace_s + 0.01
        assert len(asyncio.all_tasks()) == 1

    backend = Backend()
    backend.observe_s = 2.0
    run_virtual(main())
    assert (backend.times("do a") != []) is finished


def test_what_is_done_is_counted() -> None:
    class Meter:
        def __init__(self) -> None:
            self.seen: list[str] = []

        def reconciled(self, result: str, duration_s: float) -> None:
            self.seen.append(f"{result} {duration_s:.1f}")

        def acted(self, action: Action) -> None:
            self.seen.append(type(action).__name__)

    backend, meter = Backend(), Meter()
    backend.observe_s = 0.5
    plans = iter([(act("a"), Notice("it rains", "Warning", "Rain")), ()])

    def plan(snapshot: Snapshot, at: float) -> Plan:
        return Plan(next(plans, ()), snapshot.cache.status, 1.0, lambda words: snapshot.cache.status)

    run_virtual(live(backend, plan, 2.3, meter=meter))
    assert meter.seen[:3] == ["LabelPod", "acted 0.5", "unchanged 0.5"]
    assert "event it rains" in backend.what()
    assert "do it rains" not in backend.what()
