"""Replication as a part of the server: its command rows, and the hands of primary.py.

A row tells the state machine what a client wants; `_perform` carries out what that decides, with the feed (feed.pxd)
and with a snapshot sent to a dup of the replica's descriptor, behind +FULLRESYNC. What a client has said of itself by
REPLCONF is kept beside its view until it goes.

Refused are replicas that do not announce `capa eof`, since a snapshot without fork has no length beforehand, and those
that cannot read what the data hold at that moment (feed.pxd): rather no replica than one that differs.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

from cachefleet_parameters.kinds import parse_integer
from cachefleet_server.command_spec import row
from cachefleet_server.config.config import Config
from cachefleet_server.engine import Client, Engine
from cachefleet_server.errors import CommandError, StartupError
from cachefleet_server.log import Log
from cachefleet_server.replication import failover as f
from cachefleet_server.replication import primary as p
from cachefleet_server.replication.feed import (
    LOADING,
    ONLINE,
    READS_ALL,
    READS_REDIS,
    READS_VALKEY,
    SYNCING,
    WAITING,
    Feed,
    Replica,
)
from cachefleet_server.replication.stream import Position
from cachefleet_server.replies import NO_REPLY, OK, Reply

PING: Final = b"*1\r\n$4\r\nPING\r\n"
NO_ID: Final = "0" * 40
ADDRESS_MAX: Final = 255  # bytes
MANAGED: Final = "ERR This server is managed: who follows whom is the operator's to say."
CAPABILITIES: Final = frozenset((b"eof", b"psync2", b"cachefleet"))  # that make a difference here
_STATES: Final = {WAITING: "wait_bgsave", SYNCING: "send_bulk", LOADING: "send_bulk", ONLINE: "online"}
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")

_NO_EOF = (
    "ERR this server sends snapshots of a length that it does not know beforehand. A replica must announce "
    "`REPLCONF capa eof`"
)
_NEWER = "the data hold members that expire, or producers of streams"
_UNREADABLE = (
    f"ERR {_NEWER}, which this replica cannot read. Remove those times and producers, or use a replica of a newer "
    "version"
)
_NUMBER = "ERR value is not an integer or out of range"


class Sending(Protocol):
    """How a snapshot ended."""

    @property
    def ok(self) -> bool: ...
    @property
    def error(self) -> str: ...


class Sender(Protocol):
    """What sends snapshots: persistence.rdb."""

    @property
    def free(self) -> bool: ...
    def send(
        self,
        fd: int,
        *,
        stall_s: int,
        mark: bytes,
        position: Sequence[tuple[str, str]],
        on_done: Callable[[Sending], None],
    ) -> None: ...


class Upstream(Protocol):
    """Whom we follow, if anybody: replica.py."""

    @property
    def following(self) -> bool: ...
    @property
    def connected(self) -> bool: ...
    @property
    def db(self) -> int: ...
    @property
    def position(self) -> Position | None: ...
    def lead(self, why: str) -> None: ...
    def role(self) -> list[Any]: ...


class Manager(Protocol):
    """Who says which replicas count: managed/service.py."""

    def hello(self, epoch: bytes, disk: bytes) -> Reply: ...
    def confirmed(self, disk: str, offset: int) -> None: ...


class Nobody:
    following = connected = False
    db = 0  # whoever begins to read is told the database first
    position = None

    def lead(self, why: str) -> None: ...

    def role(self) -> list[Any]:
        return []


@dataclass(slots=True)
class _Peer:
    """What a client said before it became a replica."""

    client: Client
    port: int = 0
    address: str = ""  # from the socket unless it says one
    capabilities: set[bytes] = field(default_factory=set)
    version: tuple[int, ...] = ()
    snapshot_only: bool = False
    silent: bool = False  # SYNC: it is told no +FULLRESYNC, and need not confirm
    disk: str = ""  # of a managed server that we have greeted

    @property
    def readable(self) -> int:
        if b"cachefleet" in self.capabilities:
            return READS_ALL
        return READS_VALKEY if self.version >= (9,) else READS_REDIS

    def name(self) -> str:
        return f"{self.address}:{self.port or '<unknown-replica-port>'}"


class Replication:
    def __init__(self, engine: Engine, config: Config, log: Log, sender: Sender) -> None:
        self._engine = engine
        self._config = config
        self._log = log
        self._sender = sender
        self._peers: dict[int, _Peer] = {}
        self._primary = p.Primary()
        self.failover = f.Failover()  # carried out by handover.py
        self.upstream: Upstream = Nobody()
        self._manager: Manager | None = None
        self.feed = Feed(engine)
        self.feed.on_gone = self._gone
        config.subscribe("repl-backlog-size", self._take_size)

    # -- life, as server.py wants it

    def register(self) -> None:
        add = self._engine.register
        add(
            row(
                "psync",
                -3,
                "admin no_async_loading no_multi noscript",
                "",
                "",
                "server 2.8.0 O(N) where N is the size of what the replica lacks",
                "Follows this server from an offset on.",
                "replicationid:string offset:integer",
            ),
            self._psync_row,
        )
        add(
            row(
                "sync",
                1,
                "admin no_async_loading no_multi noscript",
                "",
                "",
                "server 1.0.0 O(N) where N is the size of the data",
                "Follows this server.",
                "",
            ),
            self._sync_row,
        )
        add(
            row(
                "replconf",
                -1,
                "admin noscript loading stale allow_busy",
                "",
                "",
                "server 3.0.0 O(1); doc_flags syscmd",
                "Says what a replica is, and how far.",
                "",
            ),
            self._replconf_row,
        )
        add(
            row(
                "role",
                1,
                "noscript loading stale fast",
                "admin dangerous",
                "",
                "server 2.8.12 O(1)",
                "Returns the replication role.",
                "",
            ),
            self._role_row,
        )
        self.feed.take_confirmations()

    async def start(self) -> None:
        """Where files say of which history the data are, a primary keeps a backlog for who comes back."""
        if self.upstream.following:
            return
        if self.feed.earlier_id:
            self.open()
            self._handle(p.Alone())

    def cron(self) -> None:
        for id in [id for id, peer in self._peers.items() if peer.client.gone]:
            del self._peers[id]
        replicas = self.feed.replicas()
        silent = [
            (r.id, r.idle_s) for r in replicas if r.state in (LOADING, ONLINE) and not self._peers[r.id].silent
        ]
        following = self.upstream.following  # the stream is the primary's, and the backlog for when we are one
        limits = p.Limits(
            timeout=self._config.number("repl-timeout"),
            ping_period=math.inf if following else self._ping_period(),
            backlog_ttl=0 if following else self._config.number("repl-backlog-ttl"),
        )
        self._handle(p.Passed(limits, silent, self.feed.opened))
        self._poll()

    def _ping_period(self) -> float:
        """A handover may wait for long: then as few as keep the replicas that it does not wait for."""
        period = self._config.number("repl-ping-replica-period")
        if self.failing_over:
            return max(period, self._config.number("repl-timeout") / 3)
        return math.inf if self.feed.still else period

    async def stop(self) -> None:
        self.feed.close()

    def manage(self, manager: Manager) -> None:
        self._manager = manager
        self.feed.tell_confirmations(self._confirmed)

    @property
    def managed(self) -> bool:
        return self._manager is not None

    def _confirmed(self, replica: int, offset: int) -> None:
        """From inside a tick."""
        peer = self._peers.get(replica)
        if self._manager is not None and peer is not None and peer.disk:
            self._manager.confirmed(peer.disk, offset)

    # -- for who waits for replicas

    def lagging(self) -> list[str]:
        end = self.feed.end
        return [
            f"{peer.name()} is {end - replica.acked} bytes behind, state={_STATES[replica.state]}"
            for replica, peer in self._replicas()
            if replica.acked < end and not peer.snapshot_only
        ]

    # -- for a handover

    @property
    def failing_over(self) -> bool:
        return self.failover.active

    @property
    def end(self) -> int:
        return self.feed.end

    def candidates(self) -> list[f.Candidate]:
        return [
            f.Candidate(f.Address(peer.address, peer.port), replica.state == ONLINE, replica.acked)
            for replica, peer in self._replicas()
            if not peer.snapshot_only
        ]

    # -- for files

    def position(self) -> list[tuple[str, str]]:
        if self.upstream.following:
            known = self.upstream.position
            return _aux(known.id, known.offset, self.upstream.db) if known else []
        feed = self.feed
        if not feed.opened:
            return []
        heard_of_ours = feed.earlier_end != feed.end or feed.replicas()
        return _aux(feed.id if heard_of_ours else feed.earlier_id or feed.id, feed.end, self.upstream.db)

    def go_on(self, id: str, offset: int, db: int) -> None:
        """A primary's stream says its database first. Nothing happens from now on that the journal does not have."""
        self.feed.go_on(id, offset, db if self.upstream.following else -1)
        self.open()

    # -- for who follows another server

    @property
    def id(self) -> str:
        return self.feed.id

    def open(self) -> None:
        self.feed.open(self._config.number("repl-backlog-size"))

    def become(self) -> None:
        """The data are another's: nobody goes on from what there was."""
        self.feed.close()
        self.open()

    def tell(self) -> None:
        """The history goes on under another id: replicas hear of it when they come back."""
        for replica in self.feed.replicas():
            self.feed.disconnect(replica.id)
        for peer in self._peers.values():  # who was greeted and has not asked for the stream yet
            if peer.disk and not peer.client.gone:
                peer.client.close()
        self._handle(p.Alone())

    # -- the state machine's hands

    def _handle(self, event: p.Event) -> None:
        for action in self._primary.handle(event, time.monotonic()):
            self._perform(action)

    def _perform(self, action: p.Action) -> None:
        match action:
            case p.Resume(replica, offset):
                self._resume(replica, offset)
            case p.Wait(replica, partial_failed):
                self._wait(replica, partial_failed)
            case p.Begin(replica):
                self._begin(replica)
            case p.Loading(replica):
                self.feed.sent(replica)
            case p.Newline(replica):
                self.feed.newline(replica)
            case p.Disconnect(replica, why):
                self._log.warning(f"Disconnecting replica {self._peers[replica].name()}: {why}")
                self.feed.disconnect(replica)
            case p.Ping():
                self.feed.say(PING)
            case p.CloseBacklog():
                self._log.notice("Replication backlog freed: there have been no replicas for repl-backlog-ttl seconds")
                self.feed.close()

    def _resume(self, replica: int, offset: int) -> None:
        peer = self._peers[replica]
        greeting = f"+CONTINUE {self.feed.id}\r\n" if b"psync2" in peer.capabilities else "+CONTINUE\r\n"
        self._engine.count("sync_partial_ok")
        self._log.notice(
            f"Partial resynchronization request from {peer.name()} accepted. "
            f"Sending {self.feed.stop - offset} bytes of backlog starting from offset {offset + 1}."
        )
        self.feed.resume(replica, peer.readable, greeting.encode(), offset)

    def _wait(self, replica: int, partial_failed: bool) -> None:
        peer = self._peers[replica]
        self._engine.count("sync_full")
        if partial_failed:
            self._engine.count("sync_partial_err")
        if not self.feed.opened:
            self.open()
            self._log.notice(f"Replication backlog created, the history's id is {self.feed.id}")
        self._log.notice(f"Full resync requested by replica {peer.name()}")
        self.feed.add(replica, peer.readable, snapshot_only=peer.snapshot_only)
        asyncio.get_running_loop().call_soon(self._poll)

    def _poll(self) -> None:
        """Outside of ticks: whoever waits may be next."""
        if self._primary.waiting and self._sender.free:
            ready = frozenset(r.id for r in self.feed.replicas() if r.state == WAITING and not r.pending)
            self._handle(p.Free(ready))

    def _begin(self, replica: int) -> None:
        peer = self._peers[replica]
        offset = self.feed.begin(replica)
        fd = -1
        try:
            fd = os.dup(peer.client.fd)
            if not peer.silent:  # nothing else is on its way, so it fits
                os.write(fd, f"+FULLRESYNC {self.feed.id} {offset}\r\n".encode())
            self._sender.send(
                fd,
                stall_s=self._config.number("repl-timeout"),
                mark=secrets.token_hex(20).encode(),
                position=_aux(self.feed.id, offset, self.upstream.db),
                on_done=partial(self._sent, replica),
            )
        except (OSError, StartupError) as error:
            self._log.warning(f"Cannot send a snapshot to replica {peer.name()}: {error}")
            if fd >= 0:
                os.close(fd)
            self._handle(p.Sent(replica, ok=False))
            return
        self._log.notice(f"Starting snapshot for replica {peer.name()} at offset {offset}")

    def _sent(self, replica: int, result: Sending) -> None:
        """From inside a tick, or of a shutdown."""
        self._handle(p.Sent(replica, result.ok))

    def _gone(self, replica: int, reason: str) -> None:
        """Its client is about to be freed."""
        peer = self._peers.pop(replica)
        if reason:
            self._log.warning(f"Disconnected replica {peer.name()}: {reason}")
        else:
            self._log.notice(f"Connection with replica {peer.name()} lost.")
        self._handle(p.Gone(replica))

    def _take_size(self, size: int) -> None:
        if self.feed.opened:
            self.feed.resize(size)

    # -- commands

    def _peer(self, client: Client) -> _Peer:
        return self._peers.setdefault(client.id, _Peer(client))

    def _psync_row(self, client: Client, argv: list[bytes]) -> Reply:
        if client.id in self._primary.replicas:
            return NO_REPLY
        hand_over = len(argv) > 3 and argv[3].lower() == b"failover"
        if hand_over and self.managed:
            raise CommandError(MANAGED)
        if hand_over and not self.upstream.following:
            raise CommandError("ERR PSYNC FAILOVER can't be sent to a master.")
        if hand_over and argv[1].decode("latin-1").lower() != self.feed.id:
            raise CommandError("ERR PSYNC FAILOVER replid must match my replid.")
        offset = parse_integer(argv[2].decode("latin-1"))
        if offset is None:
            raise CommandError(_NUMBER)
        return self._ask(client, argv[1].decode("latin-1"), offset - 1, silent=False, hand_over=hand_over)

    def _sync_row(self, client: Client, argv: list[bytes]) -> Reply:
        return self._ask(client, p.ANY_HISTORY, -1, silent=True)

    def _ask(self, client: Client, history: str, following: int, *, silent: bool, hand_over: bool = False) -> Reply:
        """`hand_over`: a primary that we follow, which is to follow us."""
        if client.id in self._primary.replicas:
            return NO_REPLY
        if self.failing_over:
            raise CommandError("NOMASTERLINK Can't SYNC while failing over")
        if self.upstream.following and not self.upstream.connected and not hand_over:
            raise CommandError("NOMASTERLINK Can't SYNC while not connected with my master")
        if client.output_bytes:
            raise CommandError("ERR SYNC and PSYNC are invalid with pending output")
        peer = self._peer(client)
        peer.address = peer.address or client.peer().rpartition(":")[0].strip("[]")
        if b"eof" not in peer.capabilities:
            raise CommandError(_NO_EOF)
        if self.feed.needed > peer.readable:
            self._log.warning(f"Refused replica {peer.name()}: {_NEWER}, which it cannot read")
            raise CommandError(_UNREADABLE)
        if hand_over:  # refused is what cannot follow us, before anything has changed
            self.upstream.lead(f"failover request from {peer.name()}, client {client.id}")
        peer.silent = silent
        feed = self.feed
        ours = p.History(feed.id if feed.opened else "", feed.earlier_id, feed.earlier_end, feed.start, feed.stop)
        self._handle(p.Asked(client.id, history, following, ours))
        return NO_REPLY

    def _replconf_row(self, client: Client, argv: list[bytes]) -> Reply:
        """All but ACK and GETACK, which the feed deals with; the words come in pairs."""
        peer = self._peer(client)
        if len(argv) == 4:  # REPLCONF cachefleet epoch disk
            if self._manager is None:
                raise CommandError("ERR syntax error")
            greeting = self._manager.hello(argv[2], argv[3])
            peer.disk = argv[3].decode("latin-1")
            return greeting
        for option, value in zip(argv[1::2], argv[2::2], strict=True):
            word = option.lower()
            if word == b"capa":
                peer.capabilities |= {value.lower()} & CAPABILITIES
            elif word in _OPTIONS:
                _OPTIONS[word](peer, value)
            else:
                raise CommandError(f"ERR Unrecognized REPLCONF option: {option.decode('utf-8', 'surrogateescape')}")
        return OK

    def _role_row(self, client: Client, argv: list[bytes]) -> Reply:
        if self.upstream.following:
            return self.upstream.role()
        online = [
            [peer.address, str(peer.port), str(replica.acked)]
            for replica, peer in self._replicas()
            if replica.state == ONLINE
        ]
        return ["master", self.feed.end, online]

    # -- INFO

    def _replicas(self) -> list[tuple[Replica, _Peer]]:
        return [(replica, self._peers[replica.id]) for replica in self.feed.replicas()]

    def status(self) -> dict[str, Any]:
        """Fields of INFO by their names, or what they are made of."""
        feed = self.feed
        return {
            "failover_state": self.failover.state.value,
            "replicas": tuple(
                f"ip={peer.address},port={peer.port},state={_STATES[replica.state]},offset={replica.acked},"
                f"lag={_lag_s(replica)},type=replica"
                for replica, peer in self._replicas()
            ),
            "replica_facts": [
                (peer.address, peer.port, _STATES[replica.state], _lag_s(replica), replica.acked)
                for replica, peer in self._replicas()
            ],
            "good_replicas": feed.good,
            "repl_id": feed.id,
            "repl_earlier_id": feed.earlier_id or NO_ID,
            "repl_offset": feed.end,
            "repl_earlier_offset": feed.earlier_end + 1 if feed.earlier_id else -1,
            "repl_backlog_active": int(feed.opened),
            "repl_backlog_first": feed.start + 1 if feed.opened else 0,
            "repl_backlog_bytes": feed.stop - feed.start,
            "repl_backlog_memory": feed.memory - feed.excess,
            "repl_backlog_excess": feed.excess,
        }


def _lag_s(replica: Replica) -> int:
    return int(replica.silent_s) if replica.state == ONLINE else 0


def _aux(id: str, offset: int, db: int) -> list[tuple[str, str]]:
    return [("repl-stream-db", str(db)), ("repl-id", id), ("repl-offset", str(offset))]


def _take_port(peer: _Peer, value: bytes) -> None:
    number = parse_integer(value.decode("latin-1"))
    if number is None:
        raise CommandError(_NUMBER)
    peer.port = number


def _take_address(peer: _Peer, value: bytes) -> None:
    if len(value) > ADDRESS_MAX:
        raise CommandError(f"ERR REPLCONF ip-address provided by replica instance is too long: {len(value)} bytes")
    peer.address = value.decode("utf-8", "surrogateescape")


def _take_version(peer: _Peer, value: bytes) -> None:
    found = _VERSION.match(value.decode("latin-1"))
    if not found:
        raise CommandError(f"ERR Unrecognized version format: {value.decode('utf-8', 'surrogateescape')}")
    peer.version = tuple(int(part) for part in found.groups())


def _take_snapshot_only(peer: _Peer, value: bytes) -> None:
    number = parse_integer(value.decode("latin-1"))
    if number not in (0, 1):
        raise CommandError(_NUMBER if number is None else "ERR value is out of range, value must between 0 and 1")
    peer.snapshot_only = number == 1


_OPTIONS: Final[dict[bytes, Callable[[_Peer, bytes], None]]] = {
    b"listening-port": _take_port,
    b"ip-address": _take_address,
    b"version": _take_version,
    b"rdb-only": _take_snapshot_only,
}
