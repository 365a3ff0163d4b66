"""Faults, one after the other and at the same time: all that a seed draws.

They end with `end`; what was begun before may take some seconds more. A server that is lost never comes back: its
process has ended, or hangs, at any moment or at the worst one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from simclock import Place
from simserver import Disk, Server

from cachefleet_operator.planning.failover.facts import disks

if TYPE_CHECKING:
    from simfleet import Fleet


MOMENTS = (("promise", 0.3), ("reign", 0.6))  # and for how long after it


class Schedule:
    """Faults, one after the other and at the same time."""

    def __init__(self, fleet: Fleet, until_s: float) -> None:
        self.fleet, self.clock, self.rng, self.until_s = fleet, fleet.clock, fleet.rng, until_s
        self.ended = False
        self.said: list[str] = []
        self._rate_s = self.rng.choice((1.5, 4.0, 9.0))
        self._armed = False
        chance = self.rng.random()
        self._hangs, self._moment = self.rng.random() < 0.5, self.rng.choice(MOMENTS)
        if chance < fleet.setting.goes / 3:
            self.clock.after(self.rng.uniform(0.5, 1.0) * until_s, lambda: self._lose(self._server().pod))
        elif chance < fleet.setting.goes:
            fleet.worst = self._worst
            self.clock.after(self.rng.uniform(0.2, 1.0) * until_s, self._arm)
        if fleet.setting.grows:
            self._begin_slowly()
        self._next()

    def _begin_slowly(self) -> None:
        """While a Cache begins its machines are busy, and not all servers answer at the same pace."""
        ways = [frozenset((o.name, server)) for o in self.fleet.operators for server in self.fleet.servers]
        self.clock.slow.update((way, self.rng.choice((0.0, 0.02, 0.1, 0.4))) for way in ways)
        self.clock.after(5.0, lambda: self._quick(*ways))

    def _arm(self) -> None:
        self._armed = True

    def _worst(self, pod: str, moment: str) -> None:
        """The worst moments to go: when somebody counts on its promise; when it has just become the primary."""
        if self._armed and moment == self._moment[0]:
            self._armed = False
            self.clock.after(self.rng.uniform(0.0, self._moment[1]), lambda: self._lose(pod))

    def _lose(self, pod: str) -> None:
        self.said.append(f"{self.clock.now:.2f} {pod} {'hangs' if self._hangs else 'ends'} for ever")
        self.fleet.lose(pod, hangs=self._hangs)

    def _next(self) -> None:
        wait_s = self.rng.expovariate(1 / self._rate_s)
        if self.clock.now + wait_s < self.until_s:
            self.clock.after(wait_s, self._draw)

    def _draw(self) -> None:
        kinds = (
            (4, self.crash), (2, self.empty), (1, self.torn), (3, self.hang), (3, self.cut), (1, self.isolate),
            (2, self.slow), (1, self.node), (2, self.operator), (3, self.leave), (2, self.roll), (1, self.all_crash),
        )  # fmt: skip
        (kind,) = self.rng.choices([k for _, k in kinds], [w for w, _ in kinds])
        self.said.append(f"{self.clock.now:.2f} {kind.__name__}")
        kind()
        self._next()

    def end(self) -> None:
        self.ended = True
        self.clock.cut.clear()
        self.clock.slow.clear()

    def _server(self) -> Server:
        servers, record = list(self.fleet.servers.values()), self.fleet.record
        if record is not None and self.rng.random() < 0.5:
            return self.fleet.servers[record.primary.pod]
        return self.rng.choice(servers)

    # -- faults

    def crash(self, server: Server | None = None, disk: Disk | None = None, for_s: float = 0.0) -> None:
        server, same = server or self._server(), self.rng.random() < 0.7
        self.fleet.crash(server, for_s or self.rng.choice((0.2, 1.0, 3.0, 8.0)), disk, same=same)

    def _may_lose(self, server: Server) -> bool:
        """The premise of I2: never more members of the record's set than its acks have lost their disk."""
        record = self.fleet.record
        if record is None or server.gone:
            return False
        if self.fleet.setting.recover:
            return True
        return server.disk.id not in disks(record.members) or self.fleet.lost(record) + 1 <= record.acks

    def empty(self) -> None:
        server = self._server()
        if self._may_lose(server):
            self.crash(server, Disk(self.fleet.name("disk")))

    def torn(self) -> None:
        server = self._server()
        if self._may_lose(server) and server.disk.log:
            log = server.disk.log[: -self.rng.randint(1, min(5, len(server.disk.log)))]
            old = server.disk
            self.crash(
                server,
                replace(old, id=self.fleet.name("disk"), log=log, solo_epoch=0, prepared=False, torn_from=old.id),
            )

    def hang(self) -> None:
        server = self._server()
        if not server.hung and not server.gone:
            self.fleet.hang(server, self.rng.choice((0.5, 2.0, 4.0, 9.0)))

    def _places(self) -> list[Place]:
        return [*self.fleet.servers.values(), *self.fleet.operators, self.fleet.api]

    def cut(self) -> None:
        self._cut([frozenset(place.name for place in self.rng.sample(self._places(), 2))])

    def isolate(self) -> None:
        one = self._server()
        self._cut([frozenset((one.name, place.name)) for place in self._places() if place is not one])

    def _cut(self, ways: list[frozenset[str]]) -> None:
        self.clock.cut.update(ways)
        self.clock.after(self.rng.choice((1.0, 3.0, 8.0, 15.0)), lambda: self.clock.cut.difference_update(ways))

    def slow(self) -> None:
        way = frozenset(place.name for place in self.rng.sample(self._places(), 2))
        self.clock.slow[way] = self.rng.choice((0.1, 0.5, 1.5, 3.0))
        self.clock.after(self.rng.choice((3.0, 10.0)), lambda: self._quick(way))

    def _quick(self, *ways: frozenset[str]) -> None:
        for way in ways:
            self.clock.slow.pop(way, None)

    def node(self) -> None:
        """Nobody hears of it: neither a reset connection nor an ended container."""
        one = self._server()
        if one.gone:
            return
        ways = [frozenset((one.name, place.name)) for place in self._places() if place is not one]
        for_s = self.rng.choice((6.0, 12.0))
        self.clock.cut.update(ways)
        self.crash(one, for_s=for_s)
        self.clock.after(for_s, lambda: self.clock.cut.difference_update(ways))

    def operator(self) -> None:
        operator = self.rng.choice(self.fleet.operators)
        if not operator.gone:
            operator.stop()
            self.clock.after(self.rng.choice((0.1, 2.0, 12.0)), operator.start)

    def leave(self) -> None:
        """A pod is deleted, with time to hand over."""
        pod = self._server().pod
        self.fleet.delete(pod, self.fleet.pods[pod].uid)

    def roll(self) -> None:
        """All pods are to be restarted, one after the other, when no record needs them."""
        self.fleet.roll()

    def all_crash(self) -> None:
        for server in list(self.fleet.servers.values()):
            self.crash(server)
