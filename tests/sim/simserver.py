"""A server that obeys S1..S9 of the failover protocol, as small as it can be: the log is a list, an entry a number.

An entry is (tenure, id); the mark of a tenure and the beats are entries with negative ids, so an offset proves both
data and the time of sending (S4). What is in `Disk` survives the process, `forget` is what does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import hiredis
from simclock import Place

from cachefleet_operator.api.v1alpha1 import Topology
from cachefleet_operator.execution.ports import Command, Reply
from cachefleet_operator.planning.failover.facts import Confirmed, Point, Prepared, Promise, State, disks, point

if TYPE_CHECKING:
    from simfleet import Fleet

BEAT_S, LEASE_S, LINK_S, RETRY_S = 0.2, 2.5, 1.2, 0.3
Entry = tuple[int, int]


@dataclass
class Disk:
    id: str
    data_set: str = ""
    log: list[Entry] = field(default_factory=list)
    promise: int = 0
    solo_epoch: int = 0
    solo_tenure: int = 0
    prepared: bool = False
    confirmed: bool = False  # something, ever
    torn_from: str | None = None  # the disk that it was, with a longer end


class Server(Place):
    def __init__(self, pod: str, fleet: Fleet) -> None:
        super().__init__(pod, fleet.clock.rng)
        self.fleet, self.pod = fleet, pod
        self.run = ""
        self.disk = Disk("")
        self.forget()

    # -- life

    def forget(self) -> None:
        self.epoch = self.reign = 0
        self.record: Topology | None = None
        self.prep: Prepared | None = None
        self.prep_need = 0
        self.confirmations: dict[str, tuple[int, float, float]] = {}  # disk -> offset, lease from, heard (local)
        self.streams: dict[str, int] = {}  # pod -> next offset
        self.beats: list[tuple[int, float]] = []
        self.unacked: list[int] = []  # offsets of writes
        self.follows, self.link, self.beat_at = "", "none", -1.0
        self.paused_until = 0.0
        self.silent_since = -1.0  # local; of the last confirmation

    def start(self, disk: Disk) -> None:
        self.forget()
        self.gone, self.hung, self.awake_at, self.waiting = False, False, 0.0, []
        self.disk, self.run = disk, self.fleet.name("run")
        self.silent_since = self.clock_now() if disk.confirmed else -1.0
        if disk.solo_epoch and disk.solo_epoch == disk.promise and not disk.prepared:  # S8
            self.epoch, self.reign = disk.promise, disk.solo_tenure
            self.record = self.fleet.records[disk.promise]
            self.start_beating()
        self._retry(self.run)

    def stop(self) -> None:
        self.gone = True
        self.run += " (ended)"
        self.forget()

    def clock_now(self) -> float:
        return self.local(self.fleet.clock.now)

    def point(self) -> Point:
        log = self.disk.log
        return Point(log[-1][0], len(log)) if log else Point()

    # -- S4: the lease

    def members(self, prepared: bool) -> tuple[frozenset[str], int]:
        if prepared:
            return (self.prep.members, self.prep.acks) if self.prep else (frozenset(), 0)
        assert self.record is not None
        return disks(self.record.members), self.record.acks

    def count(self, prepared: bool, *, offset: int = -1) -> bool:
        members, acks = self.members(prepared)
        if not acks:
            return True
        now, found = self.clock_now(), 0
        for disk, (at, leased, _) in self.confirmations.items():
            if disk in members and disk != self.disk.id:
                found += at >= offset if offset >= 0 else now - leased < LEASE_S
        return found >= acks

    def can_write(self) -> bool:
        return bool(self.reign) and not self.gone and self.count(False) and self.count(True)

    def write(self, number: int) -> bool:
        if not self.can_write() or self.clock_now() < self.paused_until:
            return False
        self.append(number)
        self.unacked.append(len(self.disk.log))
        assert self.record is not None
        if self.record.durability == "async":
            self.acknowledge(len(self.disk.log))
        else:
            self.acknowledge_confirmed()
        return True

    def append(self, number: int) -> None:
        self.disk.log.append((self.reign, number))
        self.feed()

    def acknowledge_confirmed(self) -> None:
        for offset in self.unacked[:]:
            if not (self.count(False, offset=offset) and self.count(True, offset=offset)):
                break
            self.acknowledge(offset)

    def acknowledge(self, offset: int) -> None:
        self.unacked = [o for o in self.unacked if o > offset]
        self.fleet.acknowledged(self, offset)

    def start_beating(self) -> None:
        run, reign = self.run, self.reign

        def beat() -> None:
            if self.run != run or self.reign != reign:
                return
            if self.hung:
                self.waiting.append(beat)
                return
            self.append(-2)
            self.beats.append((len(self.disk.log), self.clock_now()))
            del self.beats[:-40]
            self.fleet.clock.after(BEAT_S, beat)

        self.fleet.clock.after(0.0, beat)

    # -- commands

    def command(self, command: Command) -> Reply:
        """As it is on the wire. Records are those that were stored."""
        word, disk, *rest = (part.decode() for part in command[1:]) if len(command) > 2 else ("STATE", self.disk.id)
        if disk != self.disk.id:
            return hiredis.ReplyError("WRONGDISK it has another one")
        match word:
            case "STATE":
                return state_words(self.state())
            case "RECORD":
                said: Promise | str = self.take(self.fleet.records[int(rest[1])])
            case "FENCE":
                said = self.fence(int(rest[0]))
            case "PREPARE":
                said = self.prepare(int(rest[0]), frozenset(rest[1].split(",")), int(rest[2]))
            case "PAUSE":
                said = self.pause(int(rest[0]), int(rest[1]))
            case _:
                said = self.resume(int(rest[0]))
        if isinstance(said, Promise):
            return promise_words(said)
        return said.encode() if said in ("OK", "WAITING") else hiredis.ReplyError(f"{said} no")

    def state(self) -> State:
        now = self.clock_now()
        mine = {
            disk: Confirmed(Point(self.reign, at), now - heard)
            for disk, (at, _, heard) in self.confirmations.items() if self.reign
        }  # fmt: skip
        return State(
            disk=self.disk.id, run=self.run, data_set=self.disk.data_set, keys=len(self.disk.log),
            promise=self.disk.promise, epoch=self.epoch, reign=self.reign, solo_epoch=self.disk.solo_epoch,
            prepared=self.prep, at=self.point(), marked=self.point().tenure, follows=self.follows, link=self.link,
            beat_s=now - self.beat_at if self.beat_at >= 0 and self.follows else None, confirmed=mine,
        )  # fmt: skip

    def fence(self, epoch: int) -> Promise | str:
        if epoch < self.disk.promise or epoch <= self.epoch:
            return "STALE"
        reign, silent = self.reign, self.silent_since
        self.fleet.worst(self.pod, "promise")
        self.disk.promise = epoch
        self.forget()
        self.silent_since = silent
        return Promise(
            epoch=epoch, disk=self.disk.id, run=self.run, at=self.point(), marked=self.point().tenure, reign=reign,
            silence_s=self.clock_now() - silent if silent >= 0 else None, data_set=self.disk.data_set,
            keys=len(self.disk.log),
        )  # fmt: skip

    def take(self, record: Topology) -> str:
        if record.epoch < self.disk.promise:
            return "STALE"
        if self.epoch == record.epoch:
            return "OK"
        if record.primary.disk == self.disk.id:
            return self._continue(record) if record.kind == "continued" else self._begin(record)
        if not self.reign and self.follows == record.primary.disk and record.kind == "continued":
            self.disk.promise = self.epoch = record.epoch
            self.record = record
            return "OK"
        silent = self.silent_since
        self.disk.promise = record.epoch
        self.disk.solo_epoch = 0
        self.forget()
        self.silent_since, self.epoch, self.record, self.follows = silent, record.epoch, record, record.primary.disk
        self.link = "down"
        return "OK"

    def _begin(self, record: Topology) -> str:
        if record.primary.run != self.run:
            return "WRONGRUN"
        if self.point() != point(record.start):
            return "WRONGPOSITION"
        silent = self.silent_since
        self.forget()
        self.silent_since = silent
        self.epoch = self.disk.promise = record.epoch
        self.reign, self.record, self.disk.data_set = record.tenure, record, record.data_set or ""
        self.disk.prepared = False
        self._keep_solo(record)
        self.append(-1)
        self.start_beating()
        self.fleet.worst(self.pod, "reign")
        return "OK"

    def _continue(self, record: Topology) -> str:
        if self.reign != record.tenure or self.run != record.primary.run:
            silent = self.silent_since
            self.disk.promise = record.epoch
            self.forget()
            self.silent_since = silent
            return "NOTREIGNING"
        self.epoch = self.disk.promise = record.epoch
        self.record, self.prep, self.disk.prepared = record, None, False
        self._keep_solo(record)
        self.acknowledge_confirmed()
        return "OK"

    def _keep_solo(self, record: Topology) -> None:
        self.disk.solo_epoch = record.epoch if record.acks == 0 else 0
        self.disk.solo_tenure = record.tenure

    def prepare(self, epoch: int, members: frozenset[str], acks: int) -> str:
        wanted = Prepared(epoch, members, acks)
        if not self.reign or epoch != self.epoch:
            return "STALE"
        if self.prep is not None and self.prep != wanted:
            return "BUSY"
        if self.prep is None:
            self.prep, self.disk.prepared = wanted, True
            self.prep_need = len(self.disk.log)
        return "OK" if self.count(True, offset=self.prep_need) else "WAITING"

    def pause(self, epoch: int, ms: int) -> str:
        if not self.reign or epoch != self.epoch:
            return "STALE"
        self.paused_until = self.clock_now() + ms / 1000
        return "OK"

    def resume(self, epoch: int) -> str:
        if not self.reign or epoch != self.epoch:
            return "STALE"
        self.paused_until = 0.0
        return "OK"

    # -- S7: following

    def _retry(self, run: str) -> None:
        if self.run != run:
            return
        if self.follows and not self.hung:
            if self.link == "up" and self.clock_now() - self.beat_at > LINK_S:
                self.link = "down"
            peer = self.fleet.server_of(self.follows)
            if self.link != "up" and peer is not None:
                said = self.run, self.epoch, self.disk.id, list(self.disk.log), self.disk.promise
                self.fleet.clock.send(self, peer, lambda: peer.handshake(self, *said))
        self.fleet.clock.after(RETRY_S, lambda: self._retry(run))

    def handshake(self, other: Server, run: str, epoch: int, disk: str, log: list[Entry], promise: int) -> None:
        """On the primary: it comes back with the whole log, or goes on where the other is."""
        if not self.reign or promise > self.epoch:
            return
        whole = self.disk.log[: len(log)] != log
        log = list(self.disk.log)
        self.streams[other.pod] = len(log)
        mine = self.disk.id, self.epoch, self.reign, self.disk.data_set
        self.fleet.clock.send(self, other, lambda: other.synced(self, run, *mine, log, whole))

    def synced(
        self, source: Server, run: str, disk: str, epoch: int, reign: int, data_set: str, log: list[Entry], whole: bool
    ) -> None:
        if self.run != run or self.follows != disk or epoch < self.disk.promise:
            return
        self._newer(epoch)
        if whole and self.fleet.clock.rng.random() < 0.5:
            return  # The sync broke off; the old data are still there.
        self.disk.log, self.disk.data_set = list(log), data_set
        self.link, self.beat_at = "up", self.clock_now()
        self._confirm(source, epoch, reign)

    def feed(self) -> None:
        log = self.disk.log
        for pod, start in self.streams.items():
            other = self.fleet.servers[pod]
            entries, mine = log[start:], (self.disk.id, self.epoch, self.reign, self.run)
            self.streams[pod] = len(log)
            self.fleet.clock.send(self, other, self._fed(other, start, entries, mine))

    def _fed(self, other: Server, start: int, entries: list[Entry], mine: tuple[Any, ...]) -> Callable[[], None]:
        return lambda: other.fed(self, start, entries, *mine)

    def fed(
        self, source: Server, start: int, entries: list[Entry], disk: str, epoch: int, reign: int, run: str
    ) -> None:
        if self.follows != disk or self.link != "up" or epoch < self.disk.promise or source.run != run:
            return
        if start != len(self.disk.log):
            self.link = "down" if start > len(self.disk.log) else self.link
            return
        self._newer(epoch)
        self.disk.log += entries
        self.beat_at = self.clock_now()
        self._confirm(source, epoch, reign)

    def _newer(self, epoch: int) -> None:
        self.disk.promise = max(self.disk.promise, epoch)

    def _confirm(self, source: Server, epoch: int, reign: int) -> None:
        self.silent_since, self.disk.confirmed = self.clock_now(), True
        said = self.disk.id, reign, len(self.disk.log), source.run
        self.fleet.clock.send(self, source, lambda: source.confirmed(*said))

    def confirmed(self, disk: str, reign: int, offset: int, run: str) -> None:
        if self.reign != reign or self.run != run:
            return
        sent = next((at for end, at in reversed(self.beats) if end <= offset), -1e9)
        before = self.confirmations.get(disk, (0, -1e9, 0.0))
        self.confirmations[disk] = max(before[0], offset), max(before[1], sent), self.clock_now()
        if self.record is not None and self.record.durability == "replicated":
            self.acknowledge_confirmed()


# -- answers on the wire, as execution/family.py reads them


def _flat(fields: dict[str, object]) -> Reply:
    return [str(word).encode() for pair in fields.items() for word in pair]


def promise_words(said: Promise) -> Reply:
    age = "" if said.silence_s is None else int(said.silence_s * 1000)
    return _flat({
        "disk": said.disk, "run": said.run, "tenure": said.at.tenure, "offset": said.at.offset, "marked": said.marked,
        "reign": said.reign, "confirmed-age-ms": age, "data-set": said.data_set, "keys": said.keys,
    })  # fmt: skip


def state_words(said: State) -> Reply:
    """What a paused primary is looked at for."""
    confirmed = (f"{disk}={c.at.tenure}:{c.at.offset}:{int(c.age_s * 1000)}" for disk, c in said.confirmed.items())
    return _flat({
        "disk": said.disk, "run": said.run, "tenure": said.at.tenure, "offset": said.at.offset, "reign": said.reign,
        "confirmations": ",".join(confirmed),
    })  # fmt: skip
