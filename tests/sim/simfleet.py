"""One Cache under faults: servers, operators, the API, a client, and what must hold after each event.

    I1   one server at most accepts writes
    I2   (replicated) every acknowledged write is in the log of every later primary
    I3   nobody without the data set becomes primary
    I4   the faults have ended: within WRITES_S one primary accepts writes; within HEAL_S it does so with all members,
         every pod is of the newest revision, and for CALM_S nobody decides anything any more
    I5   a handover loses nothing

`Schedule` (simfaults.py) draws the faults from the seed: a seed is a run, and the same seed the same run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from simclock import Clock, Place
from simfaults import Schedule
from simobjects import NAME, Pod, cache_of, objects_of, with_record
from simoperator import Operator
from simserver import Disk, Server

from cachefleet_operator.api.objects import Key, Object
from cachefleet_operator.api.v1alpha1 import Cache, Member, RecordedPrimary, Topology
from cachefleet_operator.planning.failover.facts import Wish, disks

FAULTS_S, WRITES_S, HEAL_S, CALM_S = 40.0, 30.0, 90.0, 3.0
GROWN = 20  # writes of a Cache before it grows
FOR_EVER_S = 1e6
MISSED_S = 2.0, 6.0  # after which a kubelet says of a server that hangs that it is not ready

Worst = Callable[[str, str], None]  # pod, moment

Listed = tuple[int, Cache, Mapping[Key, Object]]  # a number that grows with each change, it, its objects


class Broken(AssertionError):
    """An invariant does not hold."""


class Crashed(AssertionError):
    """An operator's own code raised: that notices no rule that is missing."""


@dataclass(frozen=True)
class Setting:
    wish: Wish
    operators: int = 1
    recover: bool = False  # disks may be lost without measure (O11)
    goes: float = 0.3  # how often a server never comes back: its process ends or hangs
    grows: bool = False  # it had one pod, whose data are to be everybody's


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
    Setting(Wish(3, "async"), grows=True),
    Setting(Wish(3, "replicated"), grows=True),
)


class Fleet:
    def __init__(self, seed: int, setting: Setting, make: type[Server] = Server) -> None:
        self.clock, self.setting, self.wish = Clock(seed), setting, setting.wish
        self.seed, self.rng = seed, self.clock.rng
        self._serial = self.decided = 0
        self.api = Place("api", self.rng)
        self.records: dict[int, Topology] = {}
        self.record: Topology | None = None
        self.starts: list[tuple[Topology, frozenset[int]]] = []  # of tenures: writes that its primary had
        self.acked: dict[int, set[int]] = {}  # tenure -> writes
        self.premise = True
        self.bugs: list[str] = []
        self.kept: dict[str, Any] = {}  # by disk: what managed servers keep beside their data
        self.worst: Worst = lambda pod, moment: None  # hears of the moments at which it is worst to go
        self.lost_pod, self.waits = "", False  # a server that never comes back
        self.servers = {f"{NAME}-{n}": make(f"{NAME}-{n}", self) for n in range(self.wish.instances)}
        self.revision = self.version = self._stored = 1
        self.pods = {name: Pod(self.name("uid")) for name in self.servers}
        self._objects: Mapping[Key, Object] | None = None
        self.operators: list[Operator] = []
        for server in self.servers.values():
            server.start(Disk(self.name("disk")))
        if setting.grows:
            self._grown(self.servers[f"{NAME}-0"])
        self.cache = with_record(cache_of(self.wish), self.record, self._stored)
        self.operators = [Operator(f"o-{n}", self) for n in range(setting.operators)]
        self._client()

    def _grown(self, server: Server) -> None:
        """It was alone, with a record that speaks of no disks, and has data."""
        server.start(Disk(server.disk.id, log=[(0, -number) for number in range(1000, 1000 + GROWN)]))
        run = RecordedPrimary(pod=server.pod, disk="", run=server.run)
        self.record = Topology(
            epoch=1, tenure=1, kind="first", primary=run, members=(Member(pod=server.pod, disk=""),), acks=0,
            durability=self.wish.durability,
        )  # fmt: skip
        self.records[1] = self.record

    def name(self, kind: str) -> str:
        self._serial += 1
        return f"{kind}-{self._serial}"

    def server_of(self, disk: str) -> Server | None:
        return next((server for server in self.servers.values() if server.disk.id == disk), None)

    def close(self) -> None:
        for operator in self.operators:
            operator.stop()

    # -- the API

    def listed(self) -> Listed:
        if self._objects is None:
            self._objects = objects_of(self.pods, self.revision, self.wish.instances)
        return self.version, self.cache, self._objects

    def store(self, version: str, record: Topology, *, seen: bool) -> tuple[bool, Listed]:
        """Whether it was, and what is. `seen`: the primary answered, last it was asked; it may be gone since."""
        if version != str(self._stored):
            return False, self.listed()
        self._judge(record)
        self.record, self.records[record.epoch] = record, record
        if record.kind == "continued" and seen and self.lost(record) > record.acks:
            self.premise = False  # between the last look and the record
        short = self.reach(record) < len(record.members) - record.acks
        self.waits |= record.kind == "continued" and record.primary.pod == self.lost_pod and seen and short
        self._stored += 1
        self.cache = with_record(self.cache, record, self._stored)
        self.publish()
        return True, self.listed()

    def delete(self, pod: str, uid: str) -> None:
        """It has time to hand over; then its process ends, and the next one is another pod."""
        if self.pods[pod].uid == uid and not self.pods[pod].going:
            self.changed(pod, going=True, ready=False)
            self.clock.after(self.rng.choice((1.0, 5.0)), lambda: self._end(pod, uid))

    def _end(self, pod: str, uid: str) -> None:
        if self.pods[pod].uid == uid and not self.servers[pod].gone:
            self.crash(self.servers[pod], 1.0)

    def roll(self) -> None:
        """The template of its pods is another one."""
        self.revision += 1
        self.publish()

    def publish(self) -> None:
        self.version, self._objects = self.version + 1, None
        for operator in self.operators:
            found = self.listed()
            self.clock.send(self.api, operator, lambda o=operator, f=found: o.watched(*f))  # type: ignore[misc]

    def changed(self, pod: str, **facts: Any) -> None:
        self.pods[pod] = replace(self.pods[pod], **facts)
        self.publish()

    # -- processes end, and others begin

    def crash(self, server: Server, for_s: float, disk: Disk | None = None, *, same: bool = True) -> None:
        """Its container starts again in the `same` pod; one that is going is replaced."""
        if server.gone:
            return
        disk = disk or server.disk
        server.stop()
        server.disk = disk

        def ended() -> None:
            if server.gone:
                self.changed(server.pod, ended=True, ready=False)

        def again() -> None:
            pod = self.pods[server.pod]
            if server.pod == self.lost_pod:
                return
            server.start(server.disk)
            if pod.going or not same:
                pod = Pod(self.name("uid"), self.revision)
            run = server.run
            self.changed(server.pod, uid=pod.uid, revision=pod.revision, going=False, ended=False, ready=False)
            self.clock.after(self.rng.uniform(0.2, 1.5), lambda: self._ready(server, run))

        self.clock.after(self.rng.uniform(0.05, 1.0), ended)
        self.clock.after(for_s, again)

    def _ready(self, server: Server, run: str) -> None:
        if server.hung and server.run == run:
            self.clock.after(2.0, lambda: self._ready(server, run))
        elif server.run == run and not self.pods[server.pod].going:
            self.changed(server.pod, ready=True)

    def hang(self, server: Server, for_s: float) -> None:
        """It does nothing, and what it is asked waits. Its kubelet's probes miss it a while later."""
        run = server.run
        self.clock.hang(server, for_s)

        def missed() -> None:
            if server.hung and server.run == run:
                self.changed(server.pod, ready=False)
                self._ready(server, run)

        self.clock.after(self.rng.uniform(*MISSED_S), missed)

    def lose(self, pod: str, *, hangs: bool = False) -> None:
        """It never comes back. What the record then waits for is for nobody to mend."""
        server = self.servers[pod]
        if self.lost_pod:
            return
        self.lost_pod = pod
        if hangs:
            self.hang(server, FOR_EVER_S)
        else:
            server.stop()
        wish, record = self.wish, self.record
        few = not wish.may_loosen and wish.instances - 1 <= wish.acks
        self.waits = few or record is None or self.reach(record) < len(record.members) - record.acks

    def is_for_a_person(self) -> bool:
        """The members that are left lost their disks after one was gone for good: what that one has is for a person
        to give up."""
        record = self.record
        if record is None or self.lost_pod not in (member.pod for member in record.members):
            return False
        emptied = [m for m in record.members if m.pod != self.lost_pod and m.disk not in self.alive()]
        return bool(emptied) and self.reach(record) < len(record.members) - record.acks

    def alive(self) -> frozenset[str]:
        return frozenset(server.disk.id for server in self.servers.values() if server.pod != self.lost_pod)

    def reach(self, record: Topology) -> int:
        return len(disks(record.members) & self.alive())

    def lost(self, record: Topology) -> int:
        live = self.alive()
        return len(disks(record.members) - live)

    # -- what must hold

    def check(self) -> None:
        if self.bugs:
            raise Crashed(self.bugs[0])
        reigning = [server for server in self.servers.values() if server.reign and not server.hung]
        if len(reigning) > 1 and len(writable := [server.pod for server in reigning if server.can_write()]) > 1:
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

    def leads(self) -> str:
        """Empty = one primary accepts writes, that of the record."""
        record = self.record
        writable = [server for server in self.servers.values() if not server.hung and server.can_write()]
        if record is None or len(writable) != 1 or writable[0].disk.id != record.primary.disk:
            return f"{[s.pod for s in writable]} accept writes; record {record and record.epoch}"
        return ""

    def healed(self) -> str:
        """Empty = one does, with all members, and nothing is left to be done."""
        record, wish = self.record, self.wish
        if (words := self.leads()) or record is None:
            return words
        if disks(record.members) != self.alive() or record.acks != min(wish.acks, len(self.alive()) - 1):
            return f"set {[m.pod for m in record.members]} with {record.acks}"
        old = [name for name, pod in self.pods.items() if pod.revision != self.revision or pod.going or not pod.ready]
        return f"{old} are not of revision {self.revision}, or not ready" if old and not self.lost_pod else ""

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
    """One schedule. Raises Broken, or Crashed."""
    with _quiet():
        fleet = Fleet(seed, setting or SETTINGS[seed % len(SETTINGS)], make)
        schedule = Schedule(fleet, faults_s)
        try:
            fleet.clock.run(faults_s, fleet.check)
            schedule.end()
            _heal(fleet)
        finally:
            fleet.close()
    return fleet


def _heal(fleet: Fleet) -> None:
    """I4. A moment at which all is well is not enough: two that undo each other's work have many."""
    ended = calm_since = fleet.clock.now
    led, version = False, -1
    while fleet.clock.now - ended < HEAL_S:
        words = fleet.healed()
        if words or fleet.version != version:
            calm_since, version = fleet.clock.now, fleet.version
        if fleet.clock.now - calm_since >= CALM_S or not fleet.premise or fleet.waits:
            return
        led = led or not fleet.leads()
        if not led and fleet.clock.now - ended > WRITES_S and not _is_excused(fleet):
            raise Broken(f"I4: nobody accepts writes after {WRITES_S:g} s: {fleet.leads()}; {_said(fleet)}")
        fleet.clock.run(fleet.clock.now + 1.0, fleet.check)
    if not _is_excused(fleet):
        raise Broken(f"I4: {fleet.healed() or 'somebody still decides'}; {_said(fleet)}")


def _is_excused(fleet: Fleet) -> bool:
    return not fleet.premise or fleet.waits or fleet.is_for_a_person() or not fleet.has_data()


def _said(fleet: Fleet) -> list[tuple[str, Any]]:
    return [(operator.name, operator.last) for operator in fleet.operators]


@contextmanager
def _quiet() -> Iterator[None]:
    """What a cycle says of failures is of no use here; a bug is said."""
    log = logging.getLogger("cachefleet_operator")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
