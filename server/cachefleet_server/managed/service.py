"""Managed failover as a part of the server: the rows of CACHEFLEET, and the hands of machine.py.

    operator --CACHEFLEET--> rows ---.                                          .--> follower: lead, stand, follow
    primary --beats, greeting--------+--> machine.handle(event) --> actions ----+--> file (store.py), before all else
    replicas --hello, confirmations--'                                          '--> lease, pauses, beats, clients

A server that is fenced is a replica of nobody (keyspace/following.pxd): it refuses writes, nothing in it expires, and
its journal stands still. A primary without a lease refuses writes as one that misses replicas does: the engine is told
that it needs more of them than there can be. When a lease is over is looked at before each tick, by a clock that goes
on while the machine sleeps, so that a process that was stopped executes nothing that came meanwhile; and again at its
end, before anything is replied (lease.pyx).

A replica confirms a beat when the tick that applied it is over, and no more than the AOF has written by then: what is
confirmed survives the death of the process. Where the primary's clients wait for copies, its beats say so, and the
engine confirms each tick by itself, by the same rule (keyspace/following.pxd); when that was is asked for before any
command, since whoever fences this server wants to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol

from cachefleet_server.command_spec import row
from cachefleet_server.config.config import Config
from cachefleet_server.engine import Client, Engine
from cachefleet_server.errors import CommandError, StartupError
from cachefleet_server.log import Log
from cachefleet_server.managed import actions as a
from cachefleet_server.managed import events as e
from cachefleet_server.managed import store, words
from cachefleet_server.managed.copies import Copies
from cachefleet_server.managed.lease import Lease
from cachefleet_server.managed.machine import BEAT_S, REPLICA, Machine
from cachefleet_server.replication.replica import Follower
from cachefleet_server.replication.service import Replication
from cachefleet_server.replies import Reply, Simple

REPLICAS_NEVER: Final = (1 << 63) - 1  # keyspace/replicas.pxd
CLASSES_CUT: Final = frozenset((0, 2))  # connections and listeners; not replicas, not the link
HELP: Final = (
    "CACHEFLEET <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "STATE",
    "    What this server is, keeps and knows.",
    "RECORD <disk> <field> <value> ...",
    "    Who is the primary from now on, and of whom it needs confirmations.",
    "FENCE <disk> <epoch> [CLAIM <uid>]",
    "    Neither writes nor replication before a record of this epoch.",
    "PREPARE <disk> <epoch> <disk,...> <acks>",
    "    Obey a second set as well, until the next record.",
    "PAUSE <disk> <epoch> <milliseconds>",
    "    Hold writes back, at most that long.",
    "RESUME <disk> <epoch>",
    "    Let them go.",
    "HELP",
    "    Print this help.",
)
_UNMANAGED: Final = "ERR This server is not managed."


class Kept(Protocol):
    """The file that gets all that is applied: persistence.aof."""

    @property
    def torn(self) -> bool: ...
    @property
    def end_written(self) -> int | None: ...


class Managed:
    def __init__(
        self, engine: Engine, config: Config, log: Log, *, run: str, replication: Replication, follower: Follower,
        aof: Kept,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._config = config
        self._log = log
        self._run = run
        self._replication = replication
        self._follower = follower
        self._aof = aof
        self._machine: Machine | None = None  # None: not managed
        self._lease: Lease | None = None
        self._copies = Copies(engine)
        self._lease_until = -math.inf
        self._closed = False
        self._asker: Client | None = None  # whose command runs
        self._beat_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._started = False
        self._folder = ""
        self._known = ""  # the disk, as the file had it

    @property
    def tick(self) -> Callable[[], None]:
        """The engine's, behind a look at the lease."""
        return self._engine.tick if self._machine is None else self._tick

    # -- life, as server.py wants it

    def register(self) -> None:
        self._register_rows()
        if not self._config.flag("managed"):
            return
        if self._config.value("replicaof"):
            raise StartupError("managed and replicaof exclude each other: who follows whom is the operator's to say")
        self._folder = self._config.text("dir")
        stored = store.load(self._folder)
        self._known = stored.disk if stored is not None else ""
        self._machine = Machine(stored, run=self._run, draw=_draw)
        self._replication.manage(self)
        self._follower.manage(self)
        self._follower.stream.manage(self._heard)
        self._config.subscribe("min-replicas-to-write", lambda _: self._show_lease())
        self._config.subscribe("replica-serve-stale-data", lambda _: self._limit_reads())
        self._config.subscribe("dir", self._move)
        for name in ("appendonly", "appendfsync"):
            self._config.subscribe(name, lambda _: self._say_what_is_kept())
        self._close(True)

    def _register_rows(self) -> None:
        add, flags, one = self._engine.register, "admin noscript no_multi stale", "server 0.1.0 O(1)"
        add(row("cachefleet", -2, "container", "", "", "server 0.1.0 Depends on subcommand",
                "A container for commands of managed failover.", ""))
        add(row("cachefleet|state", 2, flags + " loading", "", "", one,
                "Returns what a managed server is, keeps and knows.", ""), self._state_row)
        add(row("cachefleet|record", -4, flags, "", "", one,
                "Tells who is the primary.", "disk:string data{field:string value:string}..."),
            partial(self._row, words.record))
        add(row("cachefleet|fence", -4, flags, "", "", one,
                "Ends writes and replication until a record of this epoch.",
                "disk:string epoch:integer [CLAIM uid:string]"), partial(self._row, words.fence))
        add(row("cachefleet|prepare", 6, flags, "", "", one,
                "Has a second set of members obeyed until the next record.",
                "disk:string epoch:integer members:string acks:integer"), partial(self._row, words.prepare))
        add(row("cachefleet|pause", 5, flags, "", "", one, "Holds writes back for a while.",
                "disk:string epoch:integer milliseconds:integer"), partial(self._row, words.pause))
        add(row("cachefleet|resume", 4, flags, "", "", one, "Lets held writes go.",
                "disk:string epoch:integer"), partial(self._row, words.resume))
        add(row("cachefleet|help", 2, "loading stale", "", "", one, "Describes the subcommands.", ""),
            lambda client, argv: [Simple(line) for line in HELP])

    async def start(self) -> None:
        if self._machine is None:
            return
        self._replication.open()  # the history lives from here on, whoever reads it
        self._lease = Lease(self._engine)
        self._lease.begin()
        self._started = True
        kept, synced = self._kept()
        started = e.Started(end=self._end, torn=self._aof.torn, kept=kept, synced=synced, boot=store.boot_id())
        try:
            self._handle(started)
        except CommandError as error:
            raise StartupError(f"Can't keep what a managed server must not forget: {error}") from None
        disk = self._machine.stored.disk
        if self._known not in ("", disk):
            self._log.warning("Nothing proves that all is there that was ever confirmed: this is a new disk")
        self._log.notice(f"Managed server {disk}, promise {self._machine.stored.promise}: {self._machine.role}")
        self._pass_time()

    def cron(self) -> None: ...

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._lease is not None:
            self._lease.end()
        self._copies.fail()  # what they have not confirmed is not replied
        self._copies.end()

    def _pass_time(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(BEAT_S / 2, self._pass_time)
        self._look_at_lease()
        if not self._replication.feed.still:  # what holds the stream wants to see that replicas have all of it
            self._handle(e.Passed())

    def _kept(self) -> tuple[bool, bool]:
        kept = self._config.flag("appendonly")
        return kept, kept and self._config.text("appendfsync") == "always"

    def _say_what_is_kept(self) -> None:
        if self._started:
            self._handle(e.Kept(*self._kept()))

    def _move(self, folder: str) -> None:
        """`dir` has changed. Raises OSError, and then it has not. What is left behind is no disk of ours."""
        assert self._machine is not None
        store.save(folder, self._machine.stored)
        before, self._folder = self._folder, folder
        store.forget(before)

    # -- the lease

    def _tick(self) -> None:
        self._look_at_lease()
        self._engine.tick()

    def _look_at_lease(self) -> None:
        over = self._lease_until < math.inf and _now() >= self._lease_until
        if over != self._closed:
            self._close(over)

    def _close(self, over: bool) -> None:
        self._closed = over
        if self._machine is not None and self._machine.reign is not None:
            self._log.warning("Writes are refused: " + "the lease is over" if over else "Writes are accepted")
        self._show_lease()

    def _show_lease(self) -> None:
        """CONFIG SET min-replicas-to-write does not open what is closed."""
        needed = REPLICAS_NEVER if self._closed else self._config.number("min-replicas-to-write")
        self._engine.set_param("min_replicas_to_write", needed)

    def _limit_reads(self) -> None:
        """Where stale data must not be served, a primary's reads end with its lease. The engine looks at the clock
        before each of them: one that runs in a tick which was stopped would be as old as a write."""
        assert self._machine is not None
        serves = self._machine.reign is None or self._config.flag("replica-serve-stale-data")
        if serves or self._lease_until == math.inf:
            self._engine.set_param("reads_until", 0)
        else:
            self._engine.set_param("reads_until", max(1, int(max(self._lease_until, 0.0) * 1e6)))

    # -- the state machine's hands

    @property
    def _end(self) -> int:
        return self._follower.stream.offset

    def _handle(self, event: e.Event) -> list[a.Action]:
        """Raises CommandError when what must be stored could not be: nothing else is done then."""
        assert self._machine is not None
        actions = self._machine.handle(event, _now())
        for action in actions:
            try:
                self._perform(action)
            except OSError as error:
                why = error.strerror or str(error)
                self._log.warning(f"The state of a managed server cannot be stored, it is fenced: {why}")
                self._handle(e.StoreFailed())
                raise CommandError(f"ERR the state cannot be stored: {why}") from None
        return actions

    def _perform(self, action: a.Action) -> None:
        match action:
            case a.Store(stored):
                store.save(self._folder, stored)
            case a.Lead(tenure):
                self._replication.open()
                self._replication.tell()  # who follows us has to hear who we are now
                self._follower.lead(f"tenure {tenure}")
                self._limit_reads()
            case a.Stand():
                self._engine.unpause("failover")
                self._follower.stand()
                self._limit_reads()
            case a.Follow(host, port):
                self._beat_at = None
                self._follower.follow(host, port)
            case a.Drop(why):
                asyncio.get_running_loop().call_soon(self._follower.lose, why)  # it may come from inside a tick
            case a.CutClients():
                self._copies.fail()
                self._cut_clients()
            case a.Lease(until):
                self._lease_until = until
                assert self._lease is not None
                self._lease.set(until)
                self._limit_reads()
                self._look_at_lease()
            case a.Copied(offset):
                self._copies.set(offset)
            case a.Beat(epoch, promptly):
                now = _now()
                self._replication.feed.say(words.beat(epoch, promptly=promptly))
                assert self._machine is not None
                self._machine.handle(e.Said(self._end), now)  # a beat alone gives no lease
            case a.Confirm():
                asyncio.get_running_loop().call_soon(self._confirm)
            case a.ConfirmTicks(promptly, from_file):
                self._follower.stream.confirm_ticks(promptly, from_file=from_file)
            case a.Hold(ms):
                self._engine.pause("failover", ms, everything=False)
            case a.LetGo():
                self._engine.unpause("failover")

    def _cut_clients(self) -> None:
        asker = self._asker.id if self._asker is not None else -1
        for client in self._engine.clients():
            if client.cls in CLASSES_CUT and client.id != asker:
                client.close()

    def _confirm(self) -> None:
        """Behind the tick: what it applied is in the file, unless that waits for the disk."""
        assert self._machine is not None
        end, written = self._end, self._aof.end_written
        if not self._follower.connected or (written is None and self._machine.stored.kept):
            return
        self._follower.stream.confirm(end if written is None else min(end, written))
        self._handle(e.Acked(_now()))

    # -- who follows us: replication/service.py

    def hello(self, epoch: bytes, disk: bytes) -> Reply:
        text, name = epoch.decode("latin-1"), disk.decode("latin-1")
        return words.reply(self._handle(e.Hello(words.number(text, "epoch"), words.name(name, "disk"))))

    def confirmed(self, disk: str, offset: int) -> None:
        self._handle(e.Confirmed(disk, offset))

    # -- whom we follow: replication/replica.py

    def introduction(self) -> tuple[str, str]:
        assert self._machine is not None
        return str(self._machine.stored.promise), self._machine.stored.disk

    def greeted(self, line: str) -> str:
        """Why it is not followed; "": it is."""
        try:
            actions = self._handle(e.Greeted(words.greeting(line)))
        except CommandError as error:
            return str(error)
        return next((action.why for action in actions if isinstance(action, a.Drop)), "")

    def joined(self) -> None:
        """Raises OSError."""
        try:
            self._handle(e.Joined(self._end))
        except CommandError as error:
            raise OSError(str(error)) from None

    def unlinked(self) -> None:
        self._handle(e.Unlinked())

    def _heard(self, word: bytes) -> None:
        """A PING with a word, from inside a tick."""
        if beat := words.heard(word, self._end):
            self._beat_at = _now()
            with contextlib.suppress(CommandError):  # it is fenced then, and logged
                self._handle(beat)

    # -- commands

    def _row(self, parse: words.Parse, client: Client, argv: list[bytes]) -> Reply | Awaitable[Reply]:
        if self._machine is None:
            raise CommandError(_UNMANAGED)
        event = words.event(parse, argv, self._end)
        self._note_confirmations()
        self._asker = client
        try:
            actions = self._handle(event)
        finally:
            self._asker = None
        said = words.reply(actions)
        if isinstance(event, e.Fence) and isinstance(said, dict):
            said["keys"] = self._keys()
        return _bulk(said) if isinstance(said, dict) else said

    def _state_row(self, client: Client, argv: list[bytes]) -> Reply:
        machine = self._machine
        if machine is None:
            raise CommandError(_UNMANAGED)
        self._note_confirmations()
        now = _now()
        link = "none" if machine.role != REPLICA else "up" if self._follower.connected else "down"
        age = "" if self._beat_at is None or link == "none" else int((now - self._beat_at) * 1000)
        loading = self._engine.stats()["loading"]
        return _bulk(
            machine.state(now, self._end)
            | {"keys": self._keys(), "link": link, "beat-age-ms": age, "loading": int(bool(loading))}
        )

    def _note_confirmations(self) -> None:
        """Those of ticks, of which nobody was told."""
        if (age := self._follower.stream.take_confirmed()) is not None:
            self._handle(e.Acked(_now() - age))

    def _keys(self) -> int:
        return sum(keys for _, keys, *_ in self._engine.keyspace())


def _bulk(fields: dict[str, str | int]) -> dict[str, str]:
    return {name: str(value) for name, value in fields.items()}


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _draw() -> str:
    return secrets.token_hex(20)
