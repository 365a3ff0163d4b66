"""One Cache under faults: servers, operators, the API, a client, and what must hold after each event.

    I1   one server at most accepts writes
    I2   (replicated) every acknowledged write is in the log of every later primary
    I3   nobody without the data set becomes primary
    I4   the faults have ended: one primary accepts writes, with all members
    I5   a handover loses nothing

`Schedule` draws the faults from the seed: a seed is a run, and the same seed the same run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from simclock import Clock, Place
from simoperator import Operator
from simserver import Disk, Server

from cachefleet_operator.api.v1alpha1 import Topology
from cachefleet_operator.planning.failover.facts import Wish, disks

FAULTS_S, HEAL_S = 40.0, 45.0


Listed = tuple[int, Topology | None, dict[str, dict[str, Any]]]  # version of the record, it, facts of the pods


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass(frozen=True)
class Setting:
    wish: Wish
    operators: int = 1
    recover: bool = False  # disks may be lost without measure (O11)
    goes: float = 0.3  # how often a server never comes back, half of the times when somebody counts on its promise


SETTINGS = (
    Setting(Wish(2, "async")),
    Setting(Wish(2, "replicated", when_missing="continue")),
    Setting(Wish(2, "replicated")),
    Setting(Wish(3, "async"), operators=2),
    Setting(Wish(3, "replicated"), operators=2),
    Setting(Wish(3, "replicated", when_missing="continue")),
    Setting(Wish(3, "replicated", copies=2), operators=2),
    Setting(Wish(3, "replicated", copies=2, when_missing="continue")),
    Setting(Wish(2, "async"), recover=True),
    Setting(Wish(3, "async"), recover=True),
)


class Fleet:
    def __init__(self, seed: int, setting: Setting, make: type[Server] = Server) -> None:
        self.clock, self.setting, self.wish = Clock(seed), setting, setting.wish
        self.seed, self.rng = seed, self.clock.rng
        self._serial = self.decided = 0
        self.api = Place("api", self.rng)
        self.records: dict[int, Topology] = {}
        self.version = 0
        self.record: Topology | None = None
        self.starts: list[tuple[Topology, frozenset[int]]] = []  # of tenures: writes that its primary had
        self.acked: dict[int, set[int]] = {}  # tenure -> writes
        self.premise = True
        self.kept: dict[str, Any] = {}  # by disk: what managed servers keep beside their data
        self.on_promise: Callable[[str], None] = lambda pod: None
        self.lost_pod, self.lost_at, self.waits = "", 0.0, False  # a server that never comes back
        self.servers = {f"c-{n}": make(f"c-{n}", self) for n in range(self.wish.instances)}
        self.facts: dict[str, dict[str, Any]] = {pod: {"exists": True} for pod in self.servers}
        for server in self.servers.values():
            server.start(Disk(self.name("disk")), self.name("uid"))
        self.operators = [Operator(f"o-{n}", self) for n in range(setting.operators)]
        self._client()

    def name(self, kind: str) -> str:
        self._serial += 1
        return f"{kind}-{self._serial}"

    def server_of(self, disk: str) -> Server | None:
        return next((server for server in self.servers.values() if server.disk.id == disk), None)

    # -- the API

    def listed(self) -> Listed:
        return self.version, self.record, {pod: dict(facts) for pod, facts in self.facts.items()}

    def store(
        self, version: int, record: Topology, *, seen: bool
    ) -> tuple[int, Topology | None, dict[str, dict[str, Any]]]:
        """`seen`: the primary answered, last it was asked; it may be gone since."""
        if version == self.version:
            self._judge(record)
            self.version, self.record = self.version + 1, record
            self.records[record.epoch] = record
            if record.kind == "continued" and self.lost(record) > record.acks:
                self.premise = False  # between the last look and the record
            short = self.reach(record) < len(record.members) - record.acks
            self.waits |= record.kind == "continued" and record.primary.pod == self.lost_pod and seen and short
            self.publish()
        return self.listed()

    def publish(self) -> None:
        for operator in self.operators:
            found = self.listed()
            self.clock.send(self.api, operator, lambda o=operator, f=found: o.watched(*f))  # type: ignore[misc]

    def changed(self, pod: str, **facts: Any) -> None:
        self.facts[pod] = {**self.facts[pod], **facts}
        self.publish()

    def lose(self, pod: str) -> None:
        """It never comes back. What the record then waits for is for nobody to mend."""
        self.lost_pod, self.lost_at = pod, self.clock.now
        self.servers[pod].stop()
        wish, record = self.wish, self.record
        few = not wish.may_loosen and wish.instances - 1 <= wish.acks
        self.waits = few or record is None or self.reach(record) < len(record.members) - record.acks

    def is_for_a_person(self) -> bool:
        """The members that are left lost their disks after one was gone for good: what that one has is for a person
        to give up."""
        record = self.record
        away = record is not None and self.lost_pod in (member.pod for member in record.members)
        return away and record is not None and self.reach(record) < len(record.members) - record.acks

    def alive(self) -> frozenset[str]:
        return frozenset(server.disk.id for server in self.servers.values() if server.pod != self.lost_pod)

    def reach(self, record: Topology) -> int:
        return len(disks(record.members) & self.alive())

    def lost(self, record: Topology) -> int:
        live = self.alive()
        return len(disks(record.members) - live)

    # -- what must hold

    def check(self) -> None:
        writable = [s.pod for s in self.servers.values() if s.reign and not s.hung and s.can_write()]
        if len(writable) > 1:
            raise Broken(f"I1: {writable} accept writes")

    def acknowledged(self, server: Server, offset: int) -> None:
        tenure, number = server.disk.log[offset - 1]
        self.acked.setdefault(tenure, set()).add(number)
        if self.wish.durability == "replicated" and self.premise:
            for record, had in self.starts:
                if record.epoch > tenure and number not in had:
                    raise Broken(f"I2: write {number} is acknowledged, and the primary of {record.epoch} has it not")

    def _judge(self, record: Topology) -> None:
        """A record that begins a tenure, by what its primary has."""
        server = self.server_of(record.primary.disk)
        if record.kind == "continued" or server is None:
            return
        assert record.start is not None
        log = server.disk.log[: record.start.offset]
        had = frozenset(number for _, number in log if number > 0)
        if not log and any(self.acked.values()) and self.premise:
            raise Broken(f"I3: {server.pod} is the primary of {record.epoch} without data")
        for tenure, numbers in self.acked.items():
            lost = numbers - had
            if lost and self.wish.durability == "replicated" and self.premise:
                raise Broken(f"I2: the primary of {record.epoch} lacks {len(lost)} acknowledged writes of {tenure}")
        if record.kind == "handover" and self.record and self.acked.get(self.record.tenure, set()) - had:
            raise Broken(f"I5: the handover {record.epoch} loses acknowledged writes")
        self.starts.append((record, had))

    def healed(self) -> str:
        """Empty = one primary accepts writes, with all members."""
        record, wish = self.record, self.wish
        writable = [server for server in self.servers.values() if server.can_write()]
        if record is None or len(writable) != 1 or writable[0].disk.id != record.primary.disk:
            return f"{[s.pod for s in writable]} accept writes; record {record and record.epoch}"
        if disks(record.members) != self.alive() or record.acks != min(wish.acks, len(self.alive()) - 1):
            return f"set {[m.pod for m in record.members]} with {record.acks}"
        return ""

    def has_data(self) -> bool:
        return any(server.disk.log for server in self.servers.values() if server.pod != self.lost_pod)

    # -- the client

    def _client(self) -> None:
        number = 0

        def write() -> None:
            nonlocal number
            number += 1
            server = self.rng.choice(list(self.servers.values()))
            for one in (server, *self.servers.values()):
                if not one.gone and not one.hung and one.reign:
                    one.write(number)
                    break
            self.clock.after(self.rng.uniform(0.05, 0.3), write)

        self.clock.after(1.0, write)


def run(seed: int, setting: Setting | None = None, *, faults_s: float = FAULTS_S, make: type[Server] = Server) -> Fleet:
    """One schedule. Raises Broken."""
    chosen = setting or SETTINGS[seed % len(SETTINGS)]
    fleet = Fleet(seed, chosen, make)
    schedule = Schedule(fleet, faults_s)
    fleet.clock.run(faults_s, fleet.check)
    schedule.end()
    for _ in range(int(HEAL_S)):
        if not fleet.healed() or not fleet.premise or fleet.waits:
            break
        fleet.clock.run(fleet.clock.now + 1.0, fleet.check)
    waits = fleet.waits or fleet.is_for_a_person()
    if fleet.premise and not waits and (words := fleet.healed()) and fleet.has_data():
        raise Broken(f"I4: {words}; {[(o.name, o.last) for o in fleet.operators]}")
    return fleet


class Schedule:
    """Faults, one after the other and at the same time."""

    def __init__(self, fleet: Fleet, until_s: float) -> None:
        self.fleet, self.clock, self.rng, self.until_s = fleet, fleet.clock, fleet.rng, until_s
        self.ended = False
        self.said: list[str] = []
        self._rate_s = self.rng.choice((1.5, 4.0, 9.0))
        self._armed = False
        chance = self.rng.random()
        if chance < fleet.setting.goes / 2:
            self.clock.after(self.rng.uniform(0.5, 1.0) * until_s, lambda: fleet.lose(self._server().pod))
        elif chance < fleet.setting.goes:
            fleet.on_promise = self._promised
            self.clock.after(self.rng.uniform(0.2, 1.0) * until_s, self._arm)
        self._next()

    def _arm(self) -> None:
        self._armed = True

    def _promised(self, pod: str) -> None:
        """The worst moment to go: when somebody counts on its promise."""
        if self._armed:
            self._armed = False
            self.clock.after(self.rng.uniform(0.0, 0.3), lambda: self.fleet.lose(pod))

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
        server = server or self._server()
        if server.gone:
            return
        back, uid = disk or server.disk, server.uid if self.rng.random() < 0.7 else self.fleet.name("uid")
        server.stop()
        server.disk = back

        def ended() -> None:
            if server.gone:
                self.fleet.changed(server.pod, ended=True)

        def again() -> None:
            if server.pod == self.fleet.lost_pod:
                return
            server.start(server.disk, uid)
            self.fleet.changed(server.pod, ended=False, going=False)

        self.clock.after(self.rng.uniform(0.05, 1.0), ended)
        self.clock.after(for_s or self.rng.choice((0.2, 1.0, 3.0, 8.0)), again)

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
            self.clock.hang(server, self.rng.choice((0.5, 2.0, 4.0, 9.0)))

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

    def _quick(self, way: frozenset[str]) -> None:
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
        server = self._server()
        if server.gone or self.fleet.facts[server.pod].get("going"):
            return
        self.fleet.changed(server.pod, going=True)
        uid = server.uid

        def end() -> None:
            if server.uid == uid and not server.gone:
                self.crash(server, for_s=1.0)
            else:
                self.fleet.changed(server.pod, going=False)

        self.clock.after(self.rng.choice((1.0, 5.0)), end)

    def roll(self) -> None:
        """A pod is the next to be restarted, and is when no record needs it; or the rollout is given up."""
        server = self._server()
        if server.gone or any(facts.get("due") for facts in self.fleet.facts.values()):
            return
        self.fleet.changed(server.pod, due=True)
        uid = server.uid

        def look(times: int) -> None:
            record = self.fleet.record
            spared = record is not None and server.disk.id not in disks(record.members)
            if times and not spared and server.uid == uid:
                self.clock.after(0.3, lambda: look(times - 1))
                return
            self.fleet.changed(server.pod, due=False)
            if spared and server.uid == uid and not server.gone:
                self.crash(server, for_s=1.0)

        look(self.rng.choice((3, 30)))

    def all_crash(self) -> None:
        for server in list(self.fleet.servers.values()):
            self.crash(server)
