"""The prober: asks every server again and again, on a connection that it keeps, so that what is known of it is fresh
whenever somebody has to decide. It decides nothing and writes nothing.

    watch      says which servers a Cache has, and where; from then on those are asked, and no others
    facts      what each said last, and when (Server.seen_at), while that is fresh; nobody waits for an answer
    listener   is called with the Cache of which something became otherwise than it was known, at once

Each server has a task and a connection of its own, and each question a deadline: a server that hangs, or a node that is
away, costs its own task and nobody else. There is no queue, and nothing that is bounded is shared but the count of
servers (`servers_max`, file descriptors): those beyond it have no facts, and the observer asks them.

    a connection     begins with an inspection, AUTH and CONFIG GET included; then glances, which are small
    is renewed       after RENEW_S, so that parameters and passwords are looked at, too; when it breaks (a restart, an
                     idle time-out, CLIENT KILL), in the same turn; after each glance that does not say all
    a slow answer    is no news: facts stand as they were, with their age, until FAILURES_SUSPECT in a row
    a refusal        (nothing listens), or no password that fits, or an answer that is none: news at once
    who fails        is asked every FAILING_S, whatever the interval
    another address, password or pod    a new connection, and no facts until it has answered
    told             facts that are older than what a server was told are not shown
    becomes ready    nor those that are older than that: Kubernetes knows more of it by then

The clock gives unix seconds, chance spreads the questions over the interval.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from cachefleet_operator.api import names
from cachefleet_operator.api.v1alpha1 import CacheKey
from cachefleet_operator.execution import admin
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.ports import Endpoint, Line, Servers
from cachefleet_operator.planning.failover import times
from cachefleet_operator.planning.failover.facts import NOWHERE, Confirmed, State
from cachefleet_operator.planning.snapshot import Server

EVERY_S, ALONE_S = 1.0, 10.0  # where somebody could take over; where there is one instance
FAILING_S = 1.0
ANSWER_S = 1.0
RENEW_S = 30.0
FAILURES_SUSPECT = 3
JITTER = 0.1
SERVERS_MAX = 4096
FRESH_S = 2.5  # younger than a second where it is asked every second; what is older is not good enough to act by

log = logging.getLogger(__name__)


class Target(NamedTuple):
    """A server: the pod that it is in, and where it is asked."""

    uid: str
    endpoint: Endpoint
    ready: bool = False  # as Kubernetes says


@dataclass(slots=True)
class _Probe:
    """What is known of one server, and how."""

    target: Target
    every_s: float
    server: Server
    line: Line | None = None
    renew_at: float = 0.0  # loop time
    asked_at: float = 0.0  # loop time of the last answer, or of the end of waiting for it
    told: int = 0  # how often it was told something, or became ready
    asked: int = -1  # `told` when the last question began: what was on its way meanwhile counts as before
    inspected: int = -1  # the same of the last inspection that was answered
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Prober:
    def __init__(
        self,
        servers: Servers,
        *,
        every_s: float = EVERY_S,
        alone_s: float = ALONE_S,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        servers_max: int = SERVERS_MAX,
    ) -> None:
        self._servers, self._clock, self._chance = servers, clock, chance
        self._every_s, self._alone_s, self._servers_max = every_s, alone_s, servers_max
        self._probes: dict[CacheKey, dict[str, _Probe]] = {}
        self._count = 0
        self._listener: Callable[[CacheKey], None] = lambda key: None
        self._full = False

    # -- what others call

    def listen(self, listener: Callable[[CacheKey], None]) -> None:
        self._listener = listener

    def watch(self, key: CacheKey, targets: Mapping[str, Target], *, alone: bool = False) -> None:
        """The servers of a Cache by pod, from now on; none: it is gone. `alone`: there is one instance."""
        probes = self._probes.setdefault(key, {})
        every_s = self._alone_s if alone else self._every_s
        for pod, probe in list(probes.items()):
            target = targets.get(pod)
            if target is None or target[:2] != probe.target[:2]:
                self._drop(probes.pop(pod))
                continue
            if target.ready and not probe.target.ready:
                _void(probe)
            probe.target = target
            if every_s != probe.every_s:
                probe.every_s = every_s
                probe.woken.set()
        for pod, target in targets.items():
            if pod not in probes and self._has_room():
                probe = probes[pod] = _Probe(target, every_s, Server(pod))
                probe.task = asyncio.create_task(self._run(key, probe), name=f"probe {key[0]}/{pod}")
                self._count += 1
        if not probes:
            del self._probes[key]

    def facts(self, key: CacheKey) -> Mapping[str, Server]:
        """By pod; of those alone that were asked within FRESH_S: of a single instance, while it is in trouble."""
        now = _now()
        return {pod: probe.server for pod, probe in self._probes.get(key, {}).items() if _is_shown(probe, now)}

    def told(self, endpoint: Endpoint) -> None:
        """This server was told something: what is known of it may be true no more."""
        for probes in self._probes.values():
            for probe in probes.values():
                if probe.target.endpoint[:2] == endpoint[:2]:
                    _void(probe)

    def servers(self) -> list[Server]:
        """All that are asked, as they are known."""
        return [probe.server for probes in self._probes.values() for probe in probes.values()]

    async def stop(self) -> None:
        tasks = [probe.task for probes in self._probes.values() for probe in probes.values()]
        for key in list(self._probes):
            self.watch(key, {})
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)

    # -- one server

    def _has_room(self) -> bool:
        if self._count < self._servers_max:
            return True
        if not self._full:
            log.warning("%d servers are asked all the time, and no more can be: others when needed", self._count)
            self._full = True
        return False

    def _drop(self, probe: _Probe) -> None:
        self._count -= 1
        if probe.task is not None:
            probe.task.cancel()

    async def _run(self, key: CacheKey, probe: _Probe) -> None:
        try:
            while True:
                began, before, told, inspected = _now(), probe.server, probe.told, probe.inspected
                probe.woken.clear()
                await self._ask(probe, began)
                probe.asked_at, probe.asked = _now(), told
                # Who told a managed server something waits for where it stands then, and positions alone are no news.
                after = probe.server.managed is not None and probe.inspected != inspected
                if after or _standing(before) != _standing(probe.server):
                    self._listener(key)
                await self._pause(probe, began)
        finally:
            _hang_up(probe)

    async def _pause(self, probe: _Probe, began: float) -> None:
        """Until the next question: so long after the last one, whether it was answered at once or not."""
        trouble = probe.server.failures or probe.server.error or probe.server.loading
        every_s = min(probe.every_s, FAILING_S) if trouble else probe.every_s
        left = began + every_s * (1 - JITTER * self._chance()) - _now()
        if left <= 0:
            await asyncio.sleep(0)
            return
        timer = asyncio.get_running_loop().call_later(left, probe.woken.set)
        try:
            await probe.woken.wait()
        finally:
            timer.cancel()

    async def _ask(self, probe: _Probe, now: float) -> None:
        """One question, come what may."""
        endpoint = probe.target.endpoint
        try:
            async with asyncio.timeout(ANSWER_S):
                server = await self._glance(probe, now) or await self._inspect(probe, now)
            probe.server = replace(server, seen_at=self._clock(), failures=0)
            if server.loading:
                _hang_up(probe)  # How far it is, no glance tells.
            return
        except TimeoutError:
            where = names.address(endpoint.host, endpoint.port)
            problem = ExecutionError(f"no answer from {where} within {ANSWER_S:g} s")
            at_once = False
        except ExecutionError as error:
            problem, at_once = error, True
        except Exception:
            # A bug: contained, because the other servers need us.
            log.exception("a probe broke")
            problem, at_once = ExecutionError("a probe broke"), True
        _hang_up(probe)
        self._failed(probe, problem, at_once)

    def _failed(self, probe: _Probe, problem: ExecutionError, at_once: bool) -> None:
        before = probe.server
        failures = before.failures + 1
        if before.seen_at and not before.error and not at_once and failures < FAILURES_SUSPECT:
            probe.server = replace(before, failures=failures)
            return
        found = admin.silent(before.pod, problem)
        seen_at = self._clock() if found.locked else before.seen_at
        probe.server = replace(found, seen_at=seen_at, failures=0 if found.locked else failures)

    async def _glance(self, probe: _Probe, now: float) -> Server | None:
        """None: it must be inspected."""
        if probe.line is None or now >= probe.renew_at or probe.inspected != probe.told:
            return None
        try:
            return await admin.glance(probe.line, probe.server)
        except ExecutionError:
            return None

    async def _inspect(self, probe: _Probe, now: float) -> Server:
        _hang_up(probe)
        told = probe.told
        probe.line, server = await admin.call(self._servers, probe.server.pod, probe.target.endpoint)
        probe.inspected, probe.renew_at = told, now + RENEW_S * (1 - JITTER * self._chance())
        return server


def _now() -> float:
    return asyncio.get_running_loop().time()


def _void(probe: _Probe) -> None:
    """What is known of it may be true no more."""
    probe.told += 1
    probe.woken.set()


def _hang_up(probe: _Probe) -> None:
    if probe.line is not None:
        probe.line.close()
        probe.line = None


def _is_shown(probe: _Probe, now: float) -> bool:
    if now - probe.asked_at > FRESH_S:
        return False
    return probe.told == (probe.asked if probe.server.error else probe.inspected)


def _standing(server: Server) -> Server:
    """What of it is news: not the numbers that always move, and of an error that there is one."""
    words = server.error and "error"
    suspect = int(server.failures >= FAILURES_SUSPECT)
    said = _calm(server.managed) if server.managed is not None else None
    return replace(
        server, error=words, seen_at=0.0, failures=suspect, load_percent=0.0, used_memory=0, last_save=0, managed=said
    )  # fmt: skip


def _calm(state: State) -> State:
    """Positions always move; ages are news when they pass what the rules look at."""
    ages = times.QUIET_S, times.LEASE_S
    said = {
        disk: Confirmed(NOWHERE, max((age for age in ages if one.age_s >= age), default=0.0))
        for disk, one in state.confirmed.items()
    }
    beat_s = None if state.beat_s is None else max(age for age in (0.0, times.BEAT_MISSED_S) if state.beat_s >= age)
    return replace(state, at=NOWHERE, keys=0, beat_s=beat_s, confirmed=said)
