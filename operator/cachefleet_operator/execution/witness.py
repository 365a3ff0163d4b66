"""The witness: what servers answered when they were fenced, prepared or paused, and since when things are as they are.

It is the memory of one operator about one Cache; another operator asks anew, and loses nothing but the time. What it
holds is evidence (planning/failover/facts.py): of one process, at one epoch. It decides nothing.

    promise      reply to FENCE, with the age that its last confirmation has by now
    agreed       OK of a PREPARE, until another one is asked for
    paused       until the deadline that was told
    vain         pauses for an heir, while the primary that held its writes for it goes on
    refused      a server that said no to a record says so again, until record or process is another
    dead         a process, when the same pod answers with another one: there is one at a time in a pod

Ages are by a clock that does not jump, `now` is an argument in its seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from cachefleet_operator.api.v1alpha1 import CacheKey, Topology
from cachefleet_operator.planning.failover.facts import Evidence, Prepared, Promise, State, Target, Vain

NO_AGES: Mapping[str, float] = {}
VAIN_S = 60.0  # a pause so long after the last one is the first again
DEAD_MAX = 64  # runs that are remembered; the record names one


@dataclass(slots=True)
class _Since:
    """Since when a fact is as it is."""

    of: object
    at: float


@dataclass(slots=True)
class _Pauses:
    """For one heir, in a row."""

    server: Target
    times: int
    end: float


@dataclass(slots=True)
class Witness:
    _promises: dict[str, tuple[Promise, float]] = field(default_factory=dict)  # by disk, and when it was heard
    _agreed: tuple[Target, Prepared] | None = None
    _paused: dict[str, float] = field(default_factory=dict)  # disk -> end
    _pauses: dict[str, _Pauses] = field(default_factory=dict)  # by disk of the heir
    _tenure: int = 0  # that they were in
    _told: dict[str, float] = field(default_factory=dict)  # pod -> when
    _refused: dict[str, tuple[int, str]] = field(default_factory=dict)  # pod -> epoch of the record, run
    _dead: list[str] = field(default_factory=list)
    _runs: dict[str, tuple[str, float]] = field(default_factory=dict)  # uid of a pod -> who answered last, and when
    _reigns: _Since | None = None
    _reigned_at: float = 0.0  # when it last said so
    _down: _Since | None = None
    _other: dict[str, _Since] = field(default_factory=dict)  # pod -> the other disk that it answers with

    # -- what servers answered

    def promised(self, promise: Promise, now: float) -> None:
        """Asked twice, it has held no tenure since the first time: that answer has it."""
        before = self._promises.get(promise.disk)
        if before is not None and (before[0].epoch, before[0].run) == (promise.epoch, promise.run):
            promise = replace(promise, reign=promise.reign or before[0].reign)
        self._promises[promise.disk] = promise, now

    def agreed(self, server: Target, prepared: Prepared) -> None:
        self._agreed = server, prepared

    def paused(self, server: Target, until: float, heir: str) -> None:
        """`heir` is the disk of who is to come level by then."""
        self._paused[server.disk] = until
        before = self._pauses.get(heir)
        is_next = before is not None and before.server == server and until - before.end < VAIN_S
        self._pauses[heir] = _Pauses(server, before.times + 1 if before is not None and is_next else 1, until)

    def resumed(self, server: Target) -> None:
        self._paused.pop(server.disk, None)

    def told(self, server: Target, now: float) -> None:
        """It took a record."""
        self._told[server.pod] = now

    def refused(self, server: Target, epoch: int) -> None:
        self._refused[server.pod] = epoch, server.run

    # -- what is seen

    def saw(self, uid: str, run: str, at: float) -> None:
        """The pod with this uid answered then. What is heard late proves nothing."""
        before = self._runs.get(uid)
        if run in self._dead or (before is not None and at <= before[1] and before[0] != run):
            return
        if before is not None and before[0] != run:
            self._dead = [*self._dead[-DEAD_MAX:], before[0]]
        self._runs[uid] = run, at

    def evidence(
        self, record: Topology | None, states: Mapping[str, State], now: float, ages_s: Mapping[str, float] = NO_AGES
    ) -> Evidence:
        """`states` of the pods that answer now, and how long ago each said so (not known: just now)."""
        if record is not None and record.tenure != self._tenure:
            self._tenure = record.tenure
            self._pauses.clear()
        if record is None:
            self._reigns = self._down = None
        else:
            self._look(record, states, now, ages_s)
            self._look_for_disks(record, states, now)
        return Evidence(
            promises={disk: _aged(promise, now - heard) for disk, (promise, heard) in self._promises.items()},
            agreed=self._agreed[1] if self._agreed else None,
            agreed_by=self._agreed[0] if self._agreed else None,
            paused=(paused := frozenset(disk for disk, end in self._paused.items() if now < end)),
            vain={
                heir: Vain(one.times, max(0.0, now - one.end)) for heir, one in self._pauses.items()
                if one.server.disk not in paused
            },
            dead=frozenset(self._dead),
            refused=frozenset(
                pod for pod, (epoch, run) in self._refused.items()
                if record is not None and epoch == record.epoch and pod in states and states[pod].run == run
            ),
            reign_s=self._reigned_at - self._reigns.at if self._reigns else 0.0,
            down_s=now - self._down.at if self._down else 0.0,
            told_s={pod: now - at for pod, at in self._told.items()},
            replaced_s={pod: now - since.at for pod, since in self._other.items()},
        )  # fmt: skip

    def _look(self, record: Topology, states: Mapping[str, State], now: float, ages_s: Mapping[str, float]) -> None:
        pod = next((pod for pod, state in states.items() if state.disk == record.primary.disk), "")
        said = states.get(pod)
        if said is not None and said.reign == record.tenure:
            self._down = None
            self._reigned_at = max(self._reigned_at, now - max(ages_s.get(pod, 0.0), 0.0))
            if self._reigns is None or self._reigns.of != record.epoch:
                self._reigns = _Since(record.epoch, self._reigned_at)
            return
        if said is not None:
            self._reigns = None
        if self._down is None or self._down.of != record.tenure:
            self._down = _Since(record.tenure, now)

    def _look_for_disks(self, record: Topology, states: Mapping[str, State], now: float) -> None:
        member_of = {member.pod: member.disk for member in record.members}
        for pod, state in states.items():
            if pod not in member_of or state.disk == member_of[pod]:
                self._other.pop(pod, None)
            elif pod not in self._other or self._other[pod].of != state.disk:
                self._other[pod] = _Since(state.disk, now)


class Witnesses:
    """One for each Cache, shared by the lanes. The clock must not jump."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.now = clock
        self._found: dict[CacheKey, Witness] = {}

    def of(self, key: CacheKey) -> Witness:
        return self._found.setdefault(key, Witness())

    def forget(self, key: CacheKey) -> None:
        self._found.pop(key, None)


def _aged(promise: Promise, by_s: float) -> Promise:
    return replace(promise, silence_s=promise.silence_s + by_s) if promise.silence_s is not None else promise
