"""An operator in the simulation: it probes, watches, decides by the real rules, and does one thing at a time.

What it knows is as old as the network makes it, and what it says may arrive when nobody waits for the answer any more.
Nothing but the compare-and-swap of the record keeps two of them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from simclock import Place

from cachefleet_operator.api.v1alpha1 import Topology
from cachefleet_operator.execution.witness import Witness
from cachefleet_operator.planning.failover import decide as rules
from cachefleet_operator.planning.failover import moves
from cachefleet_operator.planning.failover.facts import Prepared, Promise, Seat, State, Target, View

if TYPE_CHECKING:
    from simfleet import Fleet

PROBE_S, TIMEOUT_S, SOON_S = 1.0, 1.0, 0.01


@dataclass
class Known:
    """Of one pod."""

    state: State | None = None
    failures: int = 0
    refuses: bool = False


class Operator(Place):
    def __init__(self, name: str, fleet: Fleet) -> None:
        super().__init__(name, fleet.clock.rng)
        self.fleet = fleet
        self.life = 0
        self.start()

    def start(self) -> None:
        self.gone, self.life = False, self.life + 1
        self.witness, self.known = Witness(), {pod: Known() for pod in self.fleet.servers}
        self.busy = self.woken = self.listed = False
        self.version = 0
        self.record: Topology | None = None
        self.facts: dict[str, dict[str, Any]] = {}
        self.last: moves.Move | None = None
        self._poll(self.life)
        for pod in self.fleet.servers:
            self._probe_again(pod, self.life)

    def stop(self) -> None:
        self.gone, self.life = True, self.life + 1

    def now(self) -> float:
        return self.local(self.fleet.clock.now)

    # -- what it knows

    def watched(self, version: int, record: Topology | None, facts: dict[str, dict[str, Any]]) -> None:
        self.listed = True
        if version >= self.version:
            news = (version, facts) != (self.version, self.facts)
            self.version, self.record, self.facts = version, record, facts
            if news:
                self.wake()

    def _poll(self, life: int) -> None:
        if life != self.life:
            return
        fleet = self.fleet
        fleet.clock.call(self, fleet.api, fleet.listed, lambda found: self.watched(*found), lambda refused: None, 2.0)
        fleet.clock.after(PROBE_S, lambda: self._poll(life))
        self.wake()

    def _probe_again(self, pod: str, life: int) -> None:
        if life == self.life:
            self.probe(pod)
            self.fleet.clock.after(PROBE_S, lambda: self._probe_again(pod, life))

    def probe(self, pod: str) -> None:
        server, known, life = self.fleet.servers[pod], self.known[pod], self.life

        def answered(found: tuple[str, State]) -> None:
            if life != self.life:
                return
            uid, state = found
            self.witness.saw(uid, state.run, self.now())
            before = replace(known.state, beat_s=None, confirmed={}) if known.state else None
            known.state, known.failures, known.refuses = state, 0, False
            if before != replace(state, beat_s=None, confirmed={}):
                self.wake()

        def failed(refused: bool) -> None:
            if life == self.life:
                known.failures, known.refuses = known.failures + 1, refused
                self.wake()

        self.fleet.clock.call(self, server, lambda: (server.uid, server.state()), answered, failed, TIMEOUT_S)

    def seats(self) -> tuple[Seat, ...]:
        found = []
        for ordinal, (pod, known) in enumerate(self.known.items()):
            facts = self.facts.get(pod, {})
            answers = known.state is not None and known.failures == 0
            found.append(
                Seat(
                    pod=pod, ordinal=ordinal, exists=facts.get("exists", True), claim_uid=f"claim-{pod}",
                    state=known.state if answers else None, answers=answers, failures=known.failures,
                    refuses=known.refuses, ended=facts.get("ended", False), going=facts.get("going", False),
                    due=facts.get("due", False),
                )
            )  # fmt: skip
        return tuple(found)

    # -- what it does

    def wake(self) -> None:
        if not self.woken and not self.busy and not self.gone:
            self.woken, life = True, self.life
            self.fleet.clock.after(SOON_S, lambda: self.cycle(life))

    def cycle(self, life: int) -> None:
        if life != self.life:
            return
        self.woken = False
        if self.hung:
            self.waiting.append(self.wake)
            return
        if self.busy or not self.listed:
            return
        seats = self.seats()
        states = {seat.pod: seat.state for seat in seats if seat.state is not None}
        evidence = self.witness.evidence(self.record, states, self.now())
        view = View(self.record, seats, self.fleet.wish, evidence, seed="sim")
        made = self.last = rules.decide(view)
        self.fleet.decided += 1
        match made:
            case moves.Decide():
                self._decide(made)
            case moves.Tell():
                self._tell(made)
            case moves.Fence():
                self._each(made.servers, lambda server: server.fence(made.epoch), self._promised)
            case moves.Prepare():
                wanted = Prepared(made.epoch, frozenset(made.members), made.acks)
                said = lambda target, answer: self._prepared(target, wanted, answer)  # noqa: E731
                self._each((made.server,), lambda server: server.prepare(*wanted), said)
            case moves.Pause():
                self._each((made.server,), lambda s: s.pause(made.epoch, made.for_ms), self._paused(made.for_ms))
            case moves.Resume():
                resumed = lambda target, _: self.witness.resumed(target)  # noqa: E731
                self._each((made.server,), lambda server: server.resume(made.epoch), resumed)
            case moves.Rest(again_s=float(again_s)):
                self.fleet.clock.after(again_s, self.wake)

    def _decide(self, made: moves.Decide) -> None:
        life, version = self.life, self.version
        self.busy = True

        def done(found: Any) -> None:
            if life == self.life:
                self.busy = False
                self.watched(*found)
                self.wake()

        seen = self.known[made.record.primary.pod].failures == 0
        store = lambda: self.fleet.store(version, made.record, seen=seen)  # noqa: E731
        self.fleet.clock.call(self, self.fleet.api, store, done, lambda refused: self._end(life), 2.0)

    def _tell(self, made: moves.Tell) -> None:
        record = self.record
        assert record is not None

        def said(target: Target, answer: Any) -> None:
            if answer == "OK":
                self.witness.told(target, self.now())
            elif answer != "STALE":
                self.witness.refused(target, record.epoch)

        self._each(made.servers, lambda server: server.take(record), said)

    def _promised(self, target: Target, said: Any) -> None:
        if isinstance(said, Promise):
            self.witness.promised(said, self.now())

    def _prepared(self, target: Target, wanted: Prepared, said: Any) -> None:
        if said == "OK":
            self.witness.agreed(target, wanted)

    def _paused(self, ms: int) -> Callable[[Target, Any], None]:
        return lambda target, said: self.witness.paused(target, self.now() + ms / 1000) if said == "OK" else None

    def _each(
        self, targets: tuple[Target, ...], what: Callable[[Any], Any], said: Callable[[Target, Any], None]
    ) -> None:
        """One after the other; each is asked for its state afterwards. Another process than was meant is told
        nothing."""
        self.busy, life = True, self.life
        if not targets:
            self._end(life)
            return
        target, server = targets[0], self.fleet.servers[targets[0].pod]

        def at_server() -> Any:
            return what(server) if (server.run, server.disk.id) == target[:0:-1] else "OTHER"

        def next_one() -> None:
            if life == self.life:
                self.probe(target.pod)
                self._each(targets[1:], what, said) if targets[1:] else self._end(life)

        def answered(answer: Any) -> None:
            if life == self.life:
                if answer != "OTHER":
                    said(target, answer)
                next_one()

        self.fleet.clock.call(self, server, at_server, answered, lambda refused: next_one(), 2.0)

    def _end(self, life: int) -> None:
        """The answers to the probes come first, as they do with the prober."""

        def later() -> None:
            if life == self.life:
                self.busy = False
                self.wake()

        if life == self.life:
            self.fleet.clock.after(0.05, later)
