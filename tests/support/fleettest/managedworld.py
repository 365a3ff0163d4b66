"""Managed servers without sockets: real machines (cachefleet_server.managed), logs for data, and an operator that does
anything that the protocol allows, in an order that chance decides.

Every entry of a log is (tenure, what); an offset is a number of entries. Time is a number. The operator tells any
record that was ever written to anybody at any time, fences anybody, uses every answer that it ever got about the newest
record; only the compare-and-swap excludes. Confirmations are late, and lost with their connection; servers restart,
hang, lose their disk or its end, though never more of the record's set than its acks.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from cachefleet_server.managed import actions as a
from cachefleet_server.managed import events as e
from cachefleet_server.managed.machine import Machine
from cachefleet_server.managed.state import (
    ASYNC,
    CONTINUED,
    ELECTED,
    FIRST,
    HANDOVER,
    REPLICATED,
    Greeting,
    Position,
    Quorum,
    Record,
    Stored,
)

D_S: Final = 2.7
DATA: Final = "d" * 40

Entry = tuple[int, str]
MakeMachine = Callable[[Stored | None, str, Callable[[], str]], Machine]


class Violation(AssertionError):
    pass


def usual(stored: Stored | None, run: str, draw: Callable[[], str]) -> Machine:
    return Machine(stored, run=run, draw=draw)


@dataclass
class Link:
    """A replica's connection with a primary: which reign of which run it is, and what is under way to it."""

    primary: Server
    run: str
    epoch: int
    disk: str
    slow_until: float  # what goes back to the primary is late
    acks: list[int] = field(default_factory=list)


@dataclass
class Server:
    world: World
    name: int
    log: tuple[Entry, ...] = ()
    stored: Stored | None = None
    runs: int = 0
    machine: Machine = None  # type: ignore[assignment]
    wanted: int | None = None  # name of the server that it is told to follow
    link: Link | None = None
    waiting: list[tuple[int, int]] = field(default_factory=list)  # writes not acknowledged: offset, tenure
    copied: int | None = None  # in front of it they may be
    ticks: bool = False  # it confirms each piece of the stream
    asleep_until: float = 0.0

    @property
    def end(self) -> int:
        return len(self.log)

    @property
    def position(self) -> Position:
        return self.machine.position(self.end)

    def start(self, *, torn: bool = False) -> None:
        self.runs += 1
        self.wanted = self.link = None
        self.waiting, self.copied, self.ticks = [], None, False
        world = self.world
        self.machine = world.make(self.stored, f"run {self.name}.{self.runs}", world.draw)
        self.tell(e.Started(self.end, torn=torn, kept=True, synced=True, boot="b"))

    def tell(self, event: e.Event) -> list[a.Action]:
        actions = self.machine.handle(event, self.world.now)
        for action in actions:
            self._perform(action)
        return actions

    def _perform(self, action: a.Action) -> None:
        match action:
            case a.Store(stored):
                self.stored = stored
            case a.Lead() | a.Stand():
                self.wanted = self.link = None
            case a.CutClients():
                self.waiting = []
            case a.Copied(offset):
                self.copied = offset
                self.acknowledge()
            case a.ConfirmTicks(promptly):
                self.ticks = promptly
            case a.Follow(host):
                self.wanted, self.link = int(host), None
            case a.Drop():
                self.link = None
            case a.Beat(epoch, promptly):
                self.say(f"beat {epoch} {promptly}")
                self.tell(e.Said(self.end))
            case a.Confirm() if self.link is not None:
                self.link.acks.append(self.end)
                self.tell(e.Acked(self.world.now))

    def say(self, what: str) -> None:
        reign = self.machine.reign
        assert reign is not None
        self.log = (*self.log, (reign.tenure, what))

    # -- what happens between servers

    def connect(self) -> None:
        """The handshake, and the data: what they have in common goes on, else all of it is replaced."""
        if self.wanted is None:
            return
        primary = self.world.servers[self.wanted]
        (reply, *_) = primary.tell(e.Hello(self.machine.stored.promise, self.machine.stored.disk))
        if not isinstance(reply, a.Greet):
            return
        greeted = self.tell(e.Greeted(reply.greeting))
        if not any(isinstance(action, a.Accept) for action in greeted):
            return
        if primary.log[: self.end] != self.log:
            self.log = primary.log
        rng, machine = self.world.rng, primary.machine
        slow = self.world.now + rng.uniform(2, 6) if rng.random() < 0.2 else 0.0
        self.link = Link(primary, machine.run, machine.epoch, self.machine.stored.disk, slow)
        self.tell(e.Joined(self.end))

    def apply(self) -> None:
        """The next piece of the stream."""
        link = self.link
        if link is None or not link_lives(link):
            self._lose_link()
            return
        for entry in link.primary.log[self.end : self.end + self.world.rng.randint(1, 6)]:
            self.log = (*self.log, entry)
            if entry[1].startswith("beat"):
                _, epoch, promptly = entry[1].split()
                self.tell(e.Heard(int(epoch), self.end, promptly=promptly == "True"))
            if self.link is None:
                return
        if self.ticks:
            link.acks.append(self.end)

    def _lose_link(self) -> None:
        if self.link is not None:
            self.link = None
            self.tell(e.Unlinked())

    def deliver(self) -> None:
        """A confirmation that is under way arrives."""
        link = self.link
        if link is not None and link.acks and link.slow_until <= self.world.now and link_lives(link):
            link.primary.tell(e.Confirmed(link.disk, link.acks.pop(0)))

    # -- clients

    def write(self) -> None:
        if not self.machine.may_write(self.world.now):
            return
        reign = self.machine.reign
        assert reign is not None
        self.say("write")
        self.waiting.append((self.end, reign.tenure))
        self.acknowledge()

    def acknowledge(self) -> None:
        """Who is cut gets nothing; who is not, what has enough copies, or needs none."""
        safe = self.end if self.copied is None else self.copied
        for offset, tenure in self.waiting:
            if offset <= safe:
                self.world.acknowledged[tenure] = max(self.world.acknowledged.get(tenure, 0), offset)
        self.waiting = [(offset, tenure) for offset, tenure in self.waiting if offset > safe]


def link_lives(link: Link) -> bool:
    machine = link.primary.machine
    return machine.run == link.run and machine.reign is not None and link.epoch <= machine.epoch


@dataclass
class Fact:
    """An answer to FENCE."""

    server: int
    facts: a.Facts
    at: float
    log: tuple[Entry, ...]


class World:
    def __init__(
        self, rng: random.Random, *, n: int, acks: int, replicated: bool, loosen: bool, losses: int = 4,
        make: MakeMachine = usual,
    ) -> None:  # fmt: skip
        self.rng, self.acks, self.replicated, self.loosen, self.losses = rng, acks, replicated, loosen, losses
        self.make = make
        self.now = 100.0
        self.records: list[Record] = []
        self.starts: dict[int, tuple[Entry, ...]] = {}  # tenure: the log that it begins with
        self.acknowledged: dict[int, int] = {}  # tenure: up to where
        self.facts: dict[str, Fact] = {}
        self.prepared: Quorum | None = None  # OK at the newest record
        self.looked = False  # its primary was seen to reign
        self.lost: set[str] = set()  # disks
        self.writers: set[int] = set()  # tenures that accepted writes, for who asks whether anything happened
        self.servers = [Server(self, i) for i in range(n)]
        for server in self.servers:
            server.start()
        first, disks = self.servers[0], frozenset(s.machine.stored.disk for s in self.servers)
        self._publish(Record(
            1, 1, FIRST, first.machine.stored.disk, first.machine.run, Quorum(disks, min(acks, n - 1)),
            Position(0, 0), DATA, REPLICATED if replicated else ASYNC, ("0", 1),
        ), ())  # fmt: skip
        for server in self.servers:
            server.tell(e.Told(self.disk(server), self.records[0], "", 0))
            while not server.end:  # everybody has the first mark
                (server.apply if server.link else server.connect)()

    def draw(self) -> str:
        return f"{self.rng.getrandbits(160):040x}"

    def disk(self, server: Server) -> str:
        return server.machine.stored.disk

    def run(self, steps: int) -> None:
        moves = [
            (self.pass_time, 14), (self.replicate, 40), (self.deliver, 30), (self.write, 12), (self.tell_newest, 16),
            (self.tell_any, 4), (self.fence, 0.5), (self.elect, 1.5), (self.hand_over, 1.5), (self.change_set, 1.5),
            (self.prepare, 1), (self.pause, 0.5), (self.restart, 1), (self.lose, 0.5), (self.sleep, 0.5),
            (self.calm, 2),
        ]  # fmt: skip
        chosen = self.rng.choices([move for move, _ in moves], [weight for _, weight in moves], k=steps)
        for move in chosen:
            move()
            self.check()

    def check(self) -> None:
        """I1; the others are checked where a record is written or a write acknowledged."""
        writable = [server for server in self.servers if server.machine.may_write(self.now)]
        if len(writable) > 1:
            raise Violation(f"I1: {len(writable)} servers accept writes")
        for server in writable:
            assert server.machine.reign is not None
            self.writers.add(server.machine.reign.tenure)
        if self.replicated:
            for tenure, offset in self.acknowledged.items():
                for later, log in self.starts.items():
                    if later > tenure and not has(log, tenure, offset):
                        raise Violation(f"I2: tenure {later} begins without what tenure {tenure} acknowledged")

    # -- moves

    def calm(self) -> None:
        """The newest record arrives, and the stream flows for a while."""
        for server in self.servers:
            if server.asleep_until <= self.now and self.rng.random() < 0.8:
                server.tell(e.Told(self.disk(server), self.records[-1], "", server.end))
        for _ in range(self.rng.randint(1, 30)):
            self.rng.choice((self.replicate, self.replicate, self.deliver, self.pass_time, self.write))()
            self.check()

    def one(self) -> Server:
        return self.rng.choice(self.servers)

    def awake(self) -> Server:
        awake = [server for server in self.servers if server.asleep_until <= self.now]
        return self.rng.choice(awake or self.servers)

    def pass_time(self) -> None:
        self.now += self.rng.choice((0.05, 0.1, 0.3, 0.3, 1.0))
        for server in self.servers:
            if server.asleep_until <= self.now:
                server.tell(e.Passed())

    def replicate(self) -> None:
        server = self.awake()
        if server.link is None:
            server.connect()
        else:
            server.apply()

    def deliver(self) -> None:
        self.one().deliver()

    def write(self) -> None:
        self.one().write()  # a request may reach one that has just woken

    def sleep(self) -> None:
        self.one().asleep_until = self.now + self.rng.uniform(1, 6)

    def restart(self) -> None:
        self.one().start()

    def pause(self) -> None:
        server = self.awake()
        server.tell(e.Pause(self.disk(server), server.machine.epoch, 800))

    def lose(self) -> None:
        server, newest = self.one(), self.records[-1].quorum
        lost = len(self.lost & newest.members)
        if not self.losses or (self.disk(server) in newest.members and lost >= newest.acks):
            return
        self.losses -= 1
        self.lost.add(self.disk(server))
        if server.log and self.rng.random() < 0.5:
            server.log = server.log[: -self.rng.randint(1, min(3, server.end))]
            server.start(torn=True)
        else:
            server.log, server.stored = (), None
            server.start()

    def tell_newest(self) -> None:
        self._tell(self.records[-1])

    def tell_any(self) -> None:
        self._tell(self.rng.choice(self.records))

    def _tell(self, record: Record) -> None:
        server = self.awake()
        server.tell(e.Told(self.disk(server), record, "", server.end))
        newest = self.records[-1]
        holder = self.servers[int(newest.address[0])].machine
        if holder.reign and holder.reign.tenure == newest.tenure and holder.stored.disk == newest.primary:
            self.looked = True

    def fence(self) -> None:
        self._fence(self.awake())

    def _fence(self, server: Server) -> None:
        epoch = len(self.records) + 1
        for action in server.tell(e.Fence(self.disk(server), epoch, "", server.end)):
            if isinstance(action, a.Facts):
                self.facts.setdefault(action.disk, Fact(server.name, action, self.now, server.log))

    def elect(self) -> None:
        """O1, after as many FENCEs as chance wants."""
        for _ in range(self.rng.randint(0, 3)):
            self.fence()
        newest = self.records[-1]
        for disk in sorted(self.facts):
            if disk in newest.quorum.members and self._electable(disk):
                fact = self.facts[disk]
                self._new_primary(ELECTED, fact.server, disk, fact.facts.run, fact.facts.position, fact.log)
                return

    def _electable(self, disk: str) -> bool:
        newest, c = self.records[-1], self.facts[disk]
        primary = self.servers[int(newest.address[0])]
        gone = self.disk(primary) != newest.primary or primary.machine.run != newest.run
        over = newest.primary in self.facts or gone
        votes = [
            fact for id, fact in self.facts.items()
            if id in newest.quorum.members and c.facts.position >= fact.facts.position and (over or self._aged(fact))
        ]  # fmt: skip
        need = len(newest.quorum.members) - newest.quorum.acks
        start = next(r.start for r in self.records if r.epoch == newest.tenure)
        if not self.replicated and over and (c.facts.position.tenure >= newest.tenure or c.facts.position == start):
            need = 1
        return c in votes and len(votes) >= need

    def _aged(self, fact: Fact) -> bool:
        age = fact.facts.confirmed_age
        return age is None or age + self.now - fact.at >= D_S

    def hand_over(self) -> None:
        """O2"""
        newest = self.records[-1]
        holder = self.servers[int(newest.address[0])]
        if newest.primary not in self.facts and self.rng.random() < 0.5:
            self._fence(holder)
            for _ in range(12):  # before that it had been waited for that the others are level, or nearly
                self.replicate()
        fact = self.facts.get(newest.primary)
        server = self.awake()
        disk = self.disk(server)
        if fact is None or fact.facts.reign != newest.tenure or disk not in newest.quorum.members:
            return
        if disk == newest.primary or server.position != fact.facts.position:
            return
        if self.acknowledged.get(newest.tenure, 0) > server.end:
            raise Violation("I5: a handover loses an acknowledged write")
        self._new_primary(HANDOVER, server.name, disk, server.machine.run, fact.facts.position, server.log)

    def _new_primary(self, kind: str, name: int, disk: str, run: str, start: Position, log: tuple[Entry, ...]) -> None:
        epoch, newest = len(self.records) + 1, self.records[-1]
        self._publish(replace(
            newest, epoch=epoch, tenure=epoch, kind=kind, primary=disk, run=run, start=start, address=(str(name), 1)
        ), log)  # fmt: skip

    def _publish(self, record: Record, log: tuple[Entry, ...]) -> None:
        if record.kind != CONTINUED:
            if record.kind != FIRST and not log:
                raise Violation("I3: an empty server is made the primary")
            self.starts[record.epoch] = log
        self.records.append(record)
        self.facts, self.prepared, self.looked = {}, None, False

    def _wish(self) -> Quorum | None:
        """A set that might be wanted: the primary, and some of the others' present disks or of those in the set."""
        newest = self.records[-1]
        pool = sorted((newest.quorum.members | {self.disk(server) for server in self.servers}) - {newest.primary})
        others = self.rng.sample(pool, self.rng.randint(0, len(self.servers) - 1))
        members = frozenset((newest.primary, *others))
        acks = min(self.acks, len(members) - 1) if self.loosen else self.acks
        return Quorum(members, acks) if len(members) > acks else None

    def change_set(self) -> None:
        """O3, and the records behind O4 and O5."""
        wish = self.prepared if self.prepared and self.rng.random() < 0.7 else self._wish()
        newest = self.records[-1]
        if self.rng.random() < 0.2:
            wish = newest.quorum
        if wish is None or not self.looked or (wish.acks == 0 and len(wish.members) > 1):
            return
        if len(self.lost & wish.members) > wish.acks:
            return
        removed = len(newest.quorum.members - wish.members)
        implied = wish.acks == 0 or newest.quorum.acks - removed >= wish.acks
        if implied or wish == self.prepared:
            epoch = len(self.records) + 1
            holder = self.servers[int(newest.address[0])]
            record = replace(newest, epoch=epoch, kind=CONTINUED, quorum=wish, run=holder.machine.run)
            self._publish(record, ())

    def prepare(self) -> None:
        """O4; asked again until it is OK."""
        newest = self.records[-1]
        primary = self.servers[int(newest.address[0])]
        kept = primary.machine.stored.prepared
        wish = kept.quorum if kept and kept.epoch == newest.epoch else self._wish()
        if wish is None or wish.acks == 0:
            return
        for _ in range(20):
            if a.Done("OK") in primary.tell(e.Prepare(newest.primary, newest.epoch, wish, primary.end)):
                self.prepared = wish
                return
            self.rng.choice((self.replicate, self.deliver))()

    # -- I4: faults end, and the operator is a good one

    def heal(self) -> None:
        """Until one server accepts writes, with all disks that there are for its set."""
        for _ in range(14):
            self._everybody_hears()
            newest = self.records[-1]
            holder = self.servers[int(newest.address[0])]
            reign = holder.machine.reign
            if reign is None or reign.tenure != newest.tenure or self.disk(holder) != newest.primary:
                self._elect_well()
                continue
            wish = frozenset(self.disk(server) for server in self.servers)
            ahead = any(server.machine.stored.promise > newest.epoch for server in self.servers)
            if not ahead and newest.quorum.members == wish and holder.machine.may_write(self.now):
                return
            self._change_well(holder, newest, wish, ahead=ahead)
        raise Violation("I4: nobody accepts writes although all is well")

    def _everybody_hears(self) -> None:
        for server in self.servers:
            server.asleep_until = 0.0
            server.tell(e.Told(self.disk(server), self.records[-1], "", server.end))
        for _ in range(30):
            self.now += 0.1
            for server in self.servers:
                server.tell(e.Passed())
                if server.link is None:
                    server.connect()
                else:
                    while server.link and server.end < server.link.primary.end and link_lives(server.link):
                        server.apply()
                    server.apply()
                if server.link:
                    server.link.slow_until = 0.0
                while server.link and server.link.acks and link_lives(server.link):
                    server.deliver()
            self.check()

    def _elect_well(self) -> None:
        for server in self.servers:
            self._fence(server)
        self.now += D_S
        best = sorted(self.facts, key=lambda disk: self.facts[disk].facts.position, reverse=True)
        for disk in best:
            if disk in self.records[-1].quorum.members and self._electable(disk):
                fact = self.facts[disk]
                if fact.facts.disk == self.disk(self.servers[fact.server]):
                    run = self.servers[fact.server].machine.run
                    self._new_primary(ELECTED, fact.server, disk, run, fact.facts.position, fact.log)
                    return

    def _change_well(self, holder: Server, newest: Record, wish: frozenset[str], *, ahead: bool) -> None:
        wanted = Quorum(wish, min(self.acks, len(wish) - 1))
        kept = holder.machine.stored.prepared
        told = holder.machine.epoch == newest.epoch
        if not ahead and told and (kept is None or kept.quorum == wanted):
            done = holder.tell(e.Prepare(newest.primary, newest.epoch, wanted, holder.end))
            if a.Done("OK") not in done:
                return
        else:
            wanted = newest.quorum
        epoch = newest.epoch + 1
        self._publish(replace(newest, epoch=epoch, kind=CONTINUED, quorum=wanted, run=holder.machine.run), ())


def has(log: tuple[Entry, ...], tenure: int, offset: int) -> bool:
    """Whether it has that tenure's entry in front of the offset."""
    return len(log) >= offset and log[offset - 1][0] == tenure


__all__ = ["DATA", "Greeting", "Server", "Violation", "World", "usual"]
