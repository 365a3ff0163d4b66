"""Simulated time and the network: events in order, one after the other, all of them drawn from one seed.

A place (server, operator, API) is `gone` or `hung` or neither. What is sent to one that is gone is refused at once; to
one that hangs it waits, and is done when that goes on. Between two places the way may be cut, and what is under way
then is lost, or slow. Time goes by in seconds; a place's own clock drifts by as much as the protocol allows.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import count
from typing import Any

DRIFT_MAX = 0.01
DELAY_S = 0.001, 0.02


class Place:
    def __init__(self, name: str, rng: random.Random) -> None:
        self.name = name
        self.gone = self.hung = False
        self.awake_at = 0.0
        self.waiting: list[Callable[[], object]] = []  # for the end of the hang
        self._offset, self.rate = rng.uniform(1e3, 1e6), 1 + rng.uniform(-DRIFT_MAX, DRIFT_MAX)

    def local(self, now: float) -> float:
        return self._offset + now * self.rate


class Clock:
    def __init__(self, seed: int) -> None:
        self.now, self.rng = 0.0, random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()
        self.cut: set[frozenset[str]] = set()
        self.slow: dict[frozenset[str], float] = {}
        self._last: dict[tuple[str, str], float] = {}  # nothing overtakes on one way
        self.delivered = 0

    def after(self, seconds: float, what: Callable[[], object]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), what))

    def run(self, until: float, each: Callable[[], None]) -> None:
        """`each` follows each event that can make something of a server otherwise (`what` says so: not False)."""
        while self._events and self._events[0][0] <= until:
            self.now, _, what = heapq.heappop(self._events)
            if what() is not False:
                each()
        self.now = until

    # -- the network

    def delay(self, one: Place, other: Place) -> float:
        delay_s = DELAY_S[0] + (DELAY_S[1] - DELAY_S[0]) * self.rng.random()
        return delay_s + self.slow.get(frozenset((one.name, other.name)), 0.0) if self.slow else delay_s

    def is_cut(self, one: Place, other: Place) -> bool:
        return bool(self.cut) and frozenset((one.name, other.name)) in self.cut

    def send(
        self, source: Place, to: Place, what: Callable[[], None], refused: Callable[[], None] | None = None
    ) -> None:
        """`what` is done at `to`, if it gets there."""

        def arrive() -> None:
            if self.is_cut(source, to):
                return
            if to.gone:
                if refused is not None:
                    refused()
            elif to.hung:
                to.waiting.append(arrive)
            else:
                self.delivered += 1
                what()

        if not self.is_cut(source, to):
            way = source.name, to.name
            at = self.now + self.delay(source, to)
            if at < (last := self._last.get(way, 0.0)):
                at = last
            self._last[way] = at
            heapq.heappush(self._events, (at, next(self._numbers), arrive))

    def call(
        self, source: Place, to: Place, what: Callable[[], Any], answered: Callable[[Any], None],
        failed: Callable[[bool], None], timeout_s: float,
    ) -> None:  # fmt: skip
        """A question with an answer, or `failed(refused)`: once, whatever comes later."""
        open_ = [True]

        def end(then: Callable[[], None]) -> None:
            if open_[0] and not source.gone:
                open_[0] = False
                then()

        def at_place() -> None:
            answer = what()
            self.send(to, source, lambda: end(lambda: answered(answer)))

        self.send(source, to, at_place, lambda: self.send(to, source, lambda: end(lambda: failed(True))))
        self.after(timeout_s, lambda: end(lambda: failed(False)))

    def hang(self, place: Place, seconds: float) -> None:
        """Who hangs already does so until the later end."""
        place.hung, place.awake_at = True, max(place.awake_at, self.now + seconds)

        def resume() -> None:
            if self.now < place.awake_at:
                return
            place.hung = False
            waiting, place.waiting = place.waiting, []
            for what in waiting:
                self.after(0.0, what)

        self.after(seconds, resume)
