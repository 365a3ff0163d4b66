"""One level-triggered loop a Cache: wait for a wake or the time that the plan named, then run a cycle (cycle.py). It
looks at what is, never at what an event said, so that events may be lost, doubled or late.

    wake           many at once are one (DEBOUNCE_S)
    rate           CYCLES_BURST cycles at once, then one in CYCLE_EVERY_S: two controllers that undo each other's writes
                   do not set the API server on fire
    failure        FAILURE_S doubled up to FAILURE_S_MAX, with jitter; only a new generation cuts that short
    conflict       again after DEBOUNCE_S with fresh facts; after CONFLICTS_MAX in a row when something wakes us, or in
                   FAILURE_S: who changes so much (a failover) is not to be waited for longer and longer

Each Cache has a task and a back-off of its own, and a cycle has a deadline, so a bad Cache costs one of `concurrency`
places for CYCLE_S_MAX at worst. The fast lane has another Pace (lanes.py). The reconciler knows a cycle and the loop's
clock; nothing of what a cycle does.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from cachefleet_operator.api.v1alpha1 import Cache, CacheKey
from cachefleet_operator.execution.cycle import Meter, NoMeter, Result
from cachefleet_operator.execution.errors import ExecutionError

DEBOUNCE_S = 0.05
CYCLES_BURST, CYCLE_EVERY_S = 20.0, 2.0
FAILURE_S, FAILURE_S_MAX = 1.0, 60.0
CONFLICTS_MAX = 5
CYCLE_S_MAX = 120.0
JITTER = 0.1
EVERYBODY = 1 << 20  # as `concurrency`: no queue
STOP_S = 5.0

log = logging.getLogger(__name__)


class Pace(NamedTuple):
    debounce_s: float = DEBOUNCE_S
    failure_s_max: float = FAILURE_S_MAX
    cycle_s_max: float = CYCLE_S_MAX
    level: int = logging.WARNING  # of failures
    every_s: float = CYCLE_EVERY_S


class Runner(Protocol):
    """A Cycle (cycle.py), as far as the reconciler knows it."""

    def cache(self, key: CacheKey) -> Cache | None:
        """None: there is none (any more). Raises ExecutionError where it cannot be read."""

    async def run(self, cache: Cache) -> tuple[Result, float]: ...


@dataclass(slots=True)
class _Loop:
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    due_since: float | None = None  # loop time since when a cycle waits for its turn or runs
    failures: int = 0
    conflicts: int = 0
    generation: int = -1  # of the spec that the last cycle saw
    tokens: float = CYCLES_BURST
    tokens_at: float = 0.0


class Reconciler:
    def __init__(
        self,
        cycle: Runner,
        *,
        concurrency: int = 16,
        meter: Meter | None = None,
        pace: Pace | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._cycle, self._meter, self._pace, self._chance = cycle, meter or NoMeter(), pace or Pace(), chance
        self._places = asyncio.Semaphore(concurrency)
        self._loops: dict[CacheKey, _Loop] = {}
        self._running = asyncio.Event()

    # -- what others call

    def start(self, keys: Iterable[CacheKey]) -> None:
        """From now on wakes count; `keys` are woken at once."""
        self._running.set()
        for key in keys:
            self.wake(key)

    def wake(self, key: CacheKey) -> None:
        """Something about this Cache may have changed."""
        if not self._running.is_set():
            return
        loop = self._loops.get(key)
        if loop is None:
            loop = self._loops[key] = _Loop(tokens_at=_now())
            loop.task = asyncio.create_task(self._run(key, loop), name=f"reconcile {key[0]}/{key[1]}")
        loop.woken.set()

    async def stop(self, grace_s: float = STOP_S) -> None:
        """No new cycle; those that run may finish within `grace_s` (0: none may, the lease is lost)."""
        self._running.clear()
        tasks = {loop.task: loop for loop in self._loops.values() if loop.task is not None}
        for task, loop in tasks.items():
            if loop.due_since is None or not grace_s:
                task.cancel()
            loop.woken.set()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s or None)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def waiting(self) -> int:
        """How many cycles are due or running."""
        return sum(loop.due_since is not None for loop in self._loops.values())

    def late_s(self) -> float:
        """How long the cycle that waits or runs longest has done so."""
        now = _now()
        return max((now - loop.due_since for loop in self._loops.values() if loop.due_since is not None), default=0.0)

    # -- one Cache

    async def _run(self, key: CacheKey, loop: _Loop) -> None:
        try:
            while self._running.is_set():
                loop.due_since = _now()
                async with self._places:
                    if not self._running.is_set():
                        return
                    loop.woken.clear()
                    pause_s = await self._attempt(key, loop)
                loop.due_since = None
                if pause_s is None:
                    return
                await self._pause(key, loop, pause_s)
        finally:
            loop.due_since = None
            if self._loops.get(key) is loop:
                del self._loops[key]

    async def _pause(self, key: CacheKey, loop: _Loop, pause_s: float) -> None:
        """Returns when it is time or something woke us, but not before the rate and the back-off allow."""
        end = _now() + pause_s
        while (left := end - _now()) > 0:
            try:
                await asyncio.wait_for(loop.woken.wait(), left)
            except TimeoutError:
                break
            if not self._running.is_set() or not loop.failures or self._generation(key) != loop.generation:
                break
            loop.woken.clear()
        await asyncio.sleep(max(self._pace.debounce_s, _take_token(loop, _now(), self._pace.every_s)))

    def _generation(self, key: CacheKey) -> int:
        try:
            cache = self._cycle.cache(key)
        except ExecutionError:
            return -1
        return cache.metadata.generation if cache is not None else -1

    async def _attempt(self, key: CacheKey, loop: _Loop) -> float | None:
        """One cycle, come what may. How long to wait for the next one; None = the Cache is gone."""
        began = _now()
        loop.generation = self._generation(key)
        context = {"cache": str(key)}
        try:
            async with asyncio.timeout(self._pace.cycle_s_max):
                cache = self._cycle.cache(key)
                if cache is None:
                    return None
                result, pause_s = await self._cycle.run(cache)
            loop.failures = loop.conflicts = 0
            pause_s *= 1 - JITTER * self._chance()
        except ExecutionError as error:
            conflict = error.conflict and loop.conflicts < CONFLICTS_MAX
            result, pause_s = ("conflict", 0.0) if conflict else ("failed", self._back_off(loop, error))
            loop.conflicts = loop.conflicts + 1 if conflict else 0
            level = logging.DEBUG if conflict else self._pace.level
            log.log(level, "%s; again in %.1f s", error, pause_s, extra=context)
        except TimeoutError:
            result, pause_s = "failed", self._back_off(loop)
            words = "gave up after %.0f s; again in %.1f s"
            log.log(self._pace.level, words, self._pace.cycle_s_max, pause_s, extra=context)
        except Exception:
            # A bug: contained, because the other Caches need us.
            result, pause_s = "bug", self._back_off(loop)
            log.exception("reconcile broke; again in %.1f s", pause_s, extra=context)
        self._meter.reconciled(result, _now() - began)
        return pause_s

    def _back_off(self, loop: _Loop, error: ExecutionError | None = None) -> float:
        if error is not None and error.conflict:
            return FAILURE_S * self._about_one()
        loop.failures += 1
        doubled = FAILURE_S * 2.0 ** min(loop.failures - 1, 16)
        return min(self._pace.failure_s_max, doubled) * self._about_one()

    def _about_one(self) -> float:
        return 1 + JITTER * (2 * self._chance() - 1)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _take_token(loop: _Loop, now: float, every_s: float) -> float:
    """Seconds until this Cache may have another cycle; takes it."""
    loop.tokens = min(CYCLES_BURST, loop.tokens + (now - loop.tokens_at) / every_s) - 1
    loop.tokens_at = now
    return max(0.0, -loop.tokens * every_s)
