"""The server's own state machine (cachefleet_server.managed) in the place of the small model.

Commands and replies go through both sides' words: what execution/family.py writes is what managed/words.py reads. Log,
network and clients are those of the model (simserver.py); what the machine decides it alone decides. A beat is an entry
that says its epoch.
"""

from __future__ import annotations

import hiredis
from simserver import RETRY_S, Disk, Entry, Server, state_words

from cachefleet_operator.execution import family
from cachefleet_operator.execution.ports import Command, Reply
from cachefleet_operator.planning.failover.facts import Point, State
from cachefleet_server.errors import CommandError
from cachefleet_server.managed import actions as a
from cachefleet_server.managed import events as e
from cachefleet_server.managed import words
from cachefleet_server.managed.machine import Machine
from cachefleet_server.managed.state import Greeting, Stored

PASSED_S = 0.1
BEAT = -10  # and less by the epoch
PARSES: dict[bytes, words.Parse] = {
    b"RECORD": words.record, b"FENCE": words.fence, b"PREPARE": words.prepare, b"PAUSE": words.pause,
    b"RESUME": words.resume,
}  # fmt: skip


class Managed(Server):
    machine: Machine

    def forget(self) -> None:
        super().forget()
        self.wanted = ""  # pod of the server that it is told to follow
        self.source: tuple[Managed, str] | None = None  # whose stream it applies, and the run

    # -- life

    def start(self, disk: Disk) -> None:
        self.forget()
        self.gone, self.hung, self.awake_at, self.waiting = False, False, 0.0, []
        self.disk, self.run = disk, self.fleet.name("run")
        kept: Stored | None = self.fleet.kept.get(disk.id)
        torn = kept is None and disk.torn_from is not None
        if torn:
            kept = self.fleet.kept.get(str(disk.torn_from))
        self.machine = Machine(kept, run=self.run, draw=lambda: disk.id)
        self.handle(e.Started(len(disk.log), torn=torn, kept=True, synced=True, boot="b"))
        self._retry(self.run)
        self._tick(self.run)

    def _tick(self, run: str) -> None:
        if self.run != run:
            return
        if not self.hung:
            self.handle(e.Passed())
        self.fleet.clock.after(PASSED_S, lambda: self._tick(run))

    def handle(self, event: e.Event) -> list[a.Action]:
        actions = self.machine.handle(event, self.clock_now())
        for action in actions:
            self._perform(action)
        reign = self.machine.reign
        self.epoch, self.reign = self.machine.epoch, reign.tenure if reign else 0
        return actions

    def _perform(self, action: a.Action) -> None:
        match action:
            case a.Store(stored):
                self.fleet.kept[stored.disk] = stored
                self.disk.data_set = stored.data_set
            case a.Lead():
                self._part()
                self.fleet.worst(self.pod, "reign")
            case a.Stand():
                self._part()
            case a.Follow(host):
                self._part()
                self.wanted, self.link = host, "down"
            case a.Drop():
                self._unlink()
            case a.Beat(epoch):
                reign = self.machine.reign
                assert reign is not None
                self.reign = reign.tenure
                self.append(BEAT - epoch)
                self.handle(e.Said(len(self.disk.log)))
            case a.Confirm() if self.source is not None:
                source, run = self.source
                said = self.disk.id, len(self.disk.log), run
                self.fleet.clock.send(self, source, lambda: source.heard(*said))
                self.handle(e.Acked(self.clock_now()))  # as service.py does, whatever the reason was
            case a.Hold(ms):
                self.paused_until = self.clock_now() + ms / 1000
            case a.LetGo():
                self.paused_until = 0.0

    def _part(self) -> None:
        self.wanted, self.source, self.link, self.streams, self.unacked = "", None, "none", {}, []

    def _unlink(self) -> None:
        if self.source is not None:
            self.source, self.link = None, "down"
            self.handle(e.Unlinked())

    def point(self) -> Point:
        return Point(*self.machine.position(len(self.disk.log))) if hasattr(self, "machine") else Point()

    # -- clients

    def can_write(self) -> bool:
        return not self.gone and self.machine.may_write(self.clock_now())

    def write(self, number: int) -> bool:
        if not self.can_write() or self.clock_now() < self.paused_until:
            return False
        self.append(number)
        self.unacked.append(len(self.disk.log))
        self.acknowledge_confirmed()
        return True

    def acknowledge_confirmed(self) -> None:
        reign = self.machine.reign
        if reign is None:
            return
        end = len(self.disk.log)
        safe = self.machine.safe(end) if reign.durability == "replicated" else end
        for offset in [offset for offset in self.unacked if offset <= safe]:
            self.acknowledge(offset)

    # -- commands, as they are on the wire

    def command(self, command: Command) -> Reply:
        if command[1] == b"STATE":
            return state_words(self.state())
        try:
            made = words.reply(self.handle(words.event(PARSES[command[1]], list(command), len(self.disk.log))))
        except CommandError as refused:
            return hiredis.ReplyError(str(refused))
        self.acknowledge_confirmed()
        if command[1] == b"FENCE":
            self.fleet.worst(self.pod, "promise")
        if isinstance(made, dict):
            return [str(word).encode() for pair in made.items() for word in pair]
        return str(made).encode()

    def state(self) -> State:
        now, mine = self.clock_now(), {"keys": len(self.disk.log), "link": self.link, "loading": 0, "beat-age-ms": ""}
        if self.wanted and self.beat_at >= 0:
            mine["beat-age-ms"] = int((now - self.beat_at) * 1000)
        found = {**self.machine.state(now, len(self.disk.log)), **mine}
        return family.read_state({name: str(value) for name, value in found.items()})

    # -- following

    def _retry(self, run: str) -> None:
        if self.run != run:
            return
        if self.wanted and not self.hung:
            if self.source is not None and self.clock_now() - self.beat_at > 1.2:
                self._unlink()
            peer = self.fleet.servers[self.wanted]
            if self.source is None and isinstance(peer, Managed):
                said = self.machine.stored.promise, self.disk.id, list(self.disk.log)
                self.fleet.clock.send(self, peer, lambda: peer.hello(self, run, *said))
        self.fleet.clock.after(RETRY_S, lambda: self._retry(run))

    def hello(self, other: Managed, run: str, promise: int, disk: str, log: list[Entry]) -> None:
        reply = self.handle(e.Hello(promise, disk))[0]
        if isinstance(reply, a.Greet):
            self.streams[other.pod] = len(self.disk.log)
            whole, mine, greeting = self.disk.log[: len(log)] != log, list(self.disk.log), reply.greeting
            source = self, self.run
            self.fleet.clock.send(self, other, lambda: other.greeted(source, run, greeting, mine, whole))

    def greeted(self, source: tuple[Managed, str], run: str, greeting: Greeting, log: list[Entry], whole: bool) -> None:
        if self.run != run or self.wanted != source[0].pod or self.source is not None:
            return
        if not any(isinstance(action, a.Accept) for action in self.handle(e.Greeted(greeting))):
            return
        if whole and self.fleet.clock.rng.random() < 0.5:
            self.handle(e.Unlinked())
            return  # The sync broke off; the old data are still there.
        self.disk.log = list(log)
        self.source, self.link, self.beat_at = source, "up", self.clock_now()
        self.handle(e.Joined(len(log)))

    def fed(
        self, source: Server, start: int, entries: list[Entry], disk: str, epoch: int, reign: int, run: str
    ) -> None:
        if self.source is None or self.source != (source, run):
            return
        if start != len(self.disk.log):
            if start > len(self.disk.log):
                self._unlink()
            return
        for entry in entries:
            self.disk.log.append(entry)
            if entry[1] <= BEAT:
                self.beat_at = self.clock_now()
                self.handle(e.Heard(BEAT - entry[1], len(self.disk.log)))
            if self.wanted == "" or self.link != "up":
                return

    def heard(self, disk: str, offset: int, run: str) -> None:
        if self.run == run and self.machine.reign is not None:
            self.handle(e.Confirmed(disk, offset))
            self.acknowledge_confirmed()
