"""Following a primary, as a part of the server: REPLICAOF, and the hands of link.py.

A connection is a plain socket until the stream begins; then the engine takes its descriptor (stream.pyi). A snapshot
goes to a file in the data folder, from there into a keyspace beside the one that is served, and takes its place
between two ticks. In the same moment the journal's history becomes the primary's, replicas of our own are sent away,
and the file becomes the base of the AOF, or the RDB file where save points are set: memory and disk change together,
and a snapshot that does not arrive, or cannot be loaded, changes nothing at all. This needs memory for both data sets.

A replica keeps a backlog from its first synchronisation on, whether or not it has replicas: so it can be made a
primary from which the others go on. Made one, its history goes on under a new id, which its replicas come back to hear.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Generator
from typing import Any, Final, Protocol

from cachefleet_parameters.kinds import parse_integer
from cachefleet_server.command_spec import row
from cachefleet_server.config.config import Config
from cachefleet_server.engine import Client, Engine, Keyspace
from cachefleet_server.errors import CommandError, DataError
from cachefleet_server.files import write_all
from cachefleet_server.log import Log
from cachefleet_server.replication import link as l
from cachefleet_server.replication.stream import Position, Stream
from cachefleet_server.replies import OK, Reply, Simple
from cachefleet_server.version import REDIS_VERSION

READ_BYTES: Final = 262144
ACK_S: Final = 1.0
MANAGED_RETRY_S: Final = 0.3  # the primary's record may be on its way


class Loaded(Protocol):
    """A loader that has done its work."""

    aux: dict[str, bytes]


class Files(Protocol):
    """What loads snapshots, and may keep them: persistence.rdb."""

    arriving: str  # the path of one that comes; "": none does

    def load(self, path: str, *, into: Keyspace, skip_expired: bool) -> Generator[None, None, Loaded]: ...
    def keep(self, path: str) -> None: ...


class AppendOnly(Protocol):
    """What follows the journal to a disk: persistence.aof."""

    def replace(self, path: str, swap: Callable[[], None]) -> bool: ...


class Downstream(Protocol):
    """Replicas of our own: service.py."""

    @property
    def id(self) -> str: ...
    @property
    def failing_over(self) -> bool: ...
    def open(self) -> None: ...
    def become(self) -> None: ...
    def tell(self) -> None: ...


class Manager(Protocol):
    """Who says whom to follow, instead of REPLICAOF: managed/service.py."""

    def introduction(self) -> tuple[str, str]: ...
    def greeted(self, line: str) -> str: ...
    def joined(self) -> None: ...
    def unlinked(self) -> None: ...


class Follower:
    def __init__(
        self, engine: Engine, config: Config, log: Log, files: Files, aof: AppendOnly, downstream: Downstream
    ) -> None:
        self._engine = engine
        self._config = config
        self._log = log
        self._files = files
        self._aof = aof
        self._downstream = downstream
        self._link = l.Link()
        self._manager: Manager | None = None
        self.stream = Stream(engine)
        self.stream.on_lost = self._lost
        self._sock: socket.socket | None = None
        self._talk: asyncio.Task[None] | None = None
        self._load: asyncio.Task[None] | None = None
        self._file, self._path = -1, ""  # of a snapshot
        self._acked = 0.0
        self._down_since = time.monotonic()
        self._has_data = False  # those that are served are a primary's
        self.on_answer: Callable[[str], None] | None = None  # of whom we hand over to: why it declines, or ""

    # -- for our own replicas

    @property
    def following(self) -> bool:
        return self.stream.following

    @property
    def connected(self) -> bool:
        return self.stream.connected

    @property
    def db(self) -> int:
        return self.stream.db if self.stream.following else 0

    # -- life, as server.py wants it

    def register(self) -> None:
        add, flags = self._engine.register, "admin no_async_loading noscript stale"
        syntax = "args(host-port{host:string port:integer} | no-one{NO ONE})"
        add(
            row("replicaof", 3, flags, "", "", "server 5.0.0 O(1)", "Follows another server, or none.", syntax),
            self._replicaof_row,
        )
        add(
            row(
                "slaveof",
                3,
                flags,
                "",
                "",
                "server 1.0.0 O(1); deprecated 5.0.0 `REPLICAOF`",
                "Follows another server, or none.",
                syntax,
            ),
            self._replicaof_row,
        )
        for name in ("replica-read-only", "replica-serve-stale-data"):
            self._config.subscribe(name, lambda _: self._take_parameters())
        self._take_parameters()
        if self._config.value("replicaof"):  # also while the data are being loaded
            self._become_replica()

    def manage(self, manager: Manager) -> None:
        """Before anything is loaded: what is there is nobody's until somebody says so."""
        self._manager = manager
        self._link.retry_s_max = MANAGED_RETRY_S
        self._take_parameters()
        self._become_replica()

    def _take_parameters(self) -> None:
        flag = self._config.flag
        read_only = flag("replica-read-only") or self._manager is not None
        self.stream.set(read_only=read_only, serve_stale=flag("replica-serve-stale-data"))

    @property
    def position(self) -> Position | None:
        return self.stream.position

    async def start(self) -> None:
        if primary := self._config.value("replicaof"):
            self._has_data = self.stream.position is not None  # a file says of which history they are
            self._follow(*primary)

    def cron(self) -> None:
        if not self.stream.following:
            return
        now = time.monotonic()
        self._handle(l.Passed(self._config.number("repl-timeout"), self.stream.idle_s))
        if self.stream.connected and now - self._acked >= ACK_S:
            self._acknowledge()

    async def stop(self) -> None:
        self._handle(l.Stop())

    def _acknowledge(self) -> None:
        self._acked = time.monotonic()
        self.stream.acknowledge()

    # -- whom to follow

    def follow(self, host: str, port: int) -> None:
        """By a record."""
        self._log.notice(f"Following {host}:{port}, as the record says")
        self._follow(host, port)

    def stand(self) -> None:
        """Neither a primary nor anybody's replica."""
        self._handle(l.Stop())
        if not self.stream.following:
            self._become_replica()
            self._downstream.tell()
        self._log.notice("This server is fenced")

    def lose(self, why: str) -> None:
        """The connection, which is made again."""
        self._handle(l.Lost(why, failed=False))

    def _follow(self, host: str, port: int, *, hand_over: bool = False) -> None:
        self._down_since = time.monotonic()
        if not self.stream.following:
            self._become_replica()
        self._handle(l.Follow(host, port, hand_over))

    def hand_over(self, host: str, port: int) -> None:
        """To a replica of ours, which we follow from now on. Its answer goes to `on_answer`."""
        self._config.record("replicaof", (host, port))
        self._has_data = True  # it has ours
        self._follow(host, port, hand_over=True)

    def _become_replica(self) -> None:
        self.stream.begin()
        self._log.role = "S"

    def _replicaof_row(self, client: Client, argv: list[bytes]) -> Reply:
        if self._manager is not None:
            raise CommandError("ERR This server is managed: who follows whom is the operator's to say.")
        if self._downstream.failing_over:
            raise CommandError("ERR REPLICAOF not allowed while failing over.")
        if [word.lower() for word in argv[1:]] == [b"no", b"one"]:
            self.lead(f"user request from client {client.id}")
            return OK
        port = parse_integer(argv[2].decode("latin-1"))
        if port is None or not 0 <= port <= 65535:
            raise CommandError("ERR Invalid master port")
        primary = argv[1].decode("utf-8", "surrogateescape"), port
        if self._config.value("replicaof") == primary:
            return Simple("OK Already connected to specified master")
        self._config.record("replicaof", primary)
        self._log.notice(f"REPLICAOF {primary[0]}:{port} enabled (user request from client {client.id})")
        self._follow(*primary)
        return OK

    def lead(self, why: str) -> None:
        if not self.stream.following:
            return
        self._config.record("replicaof", ())
        self._has_data = False
        self._handle(l.Stop())
        self.stream.end()
        self._log.role = "M"
        self._downstream.tell()
        self._log.notice(f"PRIMARY MODE enabled ({why})")

    # -- the state machine's hands

    def _handle(self, event: l.Event) -> None:
        for action in self._link.handle(event, time.monotonic()):
            try:
                self._perform(action)
            except OSError as error:
                self._handle(l.Broken(error.strerror or str(error)))
                return

    def _perform(self, action: l.Action) -> None:
        match action:
            case l.Connect(host, port):
                self._log.notice(f"Connecting to PRIMARY {host}:{port}")
                self._talk = asyncio.get_running_loop().create_task(self._converse(host, port))
            case l.Send(data):
                if self._sock is not None and self._sock.send(data) != len(data):
                    raise OSError("it does not read what we say")
            case l.Judge(line):
                why = self._manager.greeted(line) if self._manager is not None else "nobody asked"
                self._handle(l.Broken(why) if why else l.Accepted())
            case l.Open(total):
                size = f"{total} bytes" if total >= 0 else "of unknown size"
                self._log.notice(f"PRIMARY <-> REPLICA sync: receiving a snapshot, {size}")
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                self._path = os.path.join(self._config.text("dir"), f"temp-repl-{os.getpid()}.rdb")
                self._file = os.open(self._path, flags, 0o644)
                self._files.arriving = self._path
            case l.Store(data):
                write_all(self._file, data)
            case l.Load(history, offset):
                self._load = asyncio.get_running_loop().create_task(self._take(history, offset))
            case l.Stream(early, history):
                self._begin(early, history)
            case l.Taken():
                self._answered("")
            case l.Declined(why):
                self._answered(why)
            case l.Disconnect(why):
                self._drop(why)
            case l.Note(text):
                self._log.notice(text)

    def _answered(self, declined: str) -> None:
        assert self.on_answer is not None
        self.on_answer(declined)

    async def _converse(self, host: str, port: int) -> None:
        """From the connection's beginning until a snapshot is whole, or the stream begins."""
        sock = None
        try:
            sock = self._sock = await _connect(host, port, self._config.text("bind-source-addr"))
            self._handle(l.Connected(self._settings()))
            loop = asyncio.get_running_loop()
            while self._sock is sock and self._link.state is not l.State.LOADING:
                data = await loop.sock_recv(sock, READ_BYTES)
                if not data:
                    raise ConnectionError("it has closed the connection")
                self._handle(l.Received(data))
        except (OSError, ValueError) as error:  # ValueError: a host that can be no name
            self._handle(l.Broken(getattr(error, "strerror", "") or str(error)))
        finally:
            if sock is not None and self._sock is not sock:
                sock.close()

    def _settings(self) -> l.Settings:
        config, position = self._config, self.stream.position
        if self._link.hands_over:  # our replicas know this id, and want to hear no other
            position = Position(self._downstream.id, self.stream.offset)
        return l.Settings(
            port=config.number("replica-announce-port") or config.number("port"),
            address=config.text("replica-announce-ip"),
            version=REDIS_VERSION,
            user=config.text("primaryuser"),
            password=config.text("primaryauth") or (config.text("requirepass") if self._manager is not None else ""),
            history=position.id if position else "",
            offset=position.offset if position else 0,
            introduction=self._manager.introduction() if self._manager is not None else (),
        )

    def _begin(self, early: bytes, history: str) -> None:
        """The socket is the engine's from now on."""
        sock, self._sock = self._sock, None
        assert sock is not None
        self._downstream.open()
        if history != self._downstream.id:
            self.stream.turn(history)
            self._downstream.tell()
        if self._manager is not None:
            self._manager.joined()
        fd = sock.detach()
        try:
            self.stream.connect(fd, early)
        except OSError:
            os.close(fd)
            raise
        self._has_data = True
        self._acknowledge()
        self._log.notice(f"PRIMARY <-> REPLICA sync: the stream goes on at {history}:{self.stream.offset}")

    def _lost(self, why: str, failed: bool) -> None:
        """From inside a tick."""
        asyncio.get_running_loop().call_soon(self._handle, l.Lost(why, failed))

    def _drop(self, why: str) -> None:
        """A task that waits closes its socket itself."""
        present = asyncio.current_task()
        sock, self._sock = self._sock, None
        talk, load, self._talk, self._load = self._talk, self._load, None, None
        if sock is not None or self.stream.connected:
            self._log.warning(f"The connection with the primary ends: {why}")
            self._down_since = time.monotonic()
        elif talk is not None:
            self._log.warning(f"The primary cannot be reached: {why}")
        if talk is not None and talk is not present and not talk.done():
            talk.cancel()
        elif sock is not None:
            sock.close()
        if load is not None and load is not present:
            load.cancel()
        self.stream.disconnect()
        self._forget_file()
        if self._manager is not None:
            self._manager.unlinked()

    def _forget_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._files.arriving = ""
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    # -- a snapshot

    async def _take(self, history: str, offset: int) -> None:
        """Loads what has arrived, beside what is served, and exchanges them."""
        self._log.notice("PRIMARY <-> REPLICA sync: Loading DB in memory")
        data = self._engine.new_keyspace()
        self._engine.set_persist("load_total_bytes", self._link.got)
        self._engine.set_persist("load_done_bytes", 0)
        try:
            await asyncio.get_running_loop().run_in_executor(None, os.fsync, self._file)
            db = _database(await self._read(data), self._config.number("databases"))
            self._exchange(data, history, offset, db)
        except (DataError, OSError) as error:
            self._handle(l.Loaded(f"its snapshot cannot be loaded: {error}"))
            return
        finally:
            data.drop()
        self._log.notice("PRIMARY <-> REPLICA sync: Finished with success")
        self._forget_file()
        self._handle(l.Loaded())

    async def _read(self, data: Keyspace) -> Loaded:
        loading = self._files.load(self._path, into=data, skip_expired=False)
        with contextlib.closing(loading):
            while True:
                try:
                    next(loading)
                except StopIteration as end:
                    loaded: Loaded = end.value
                    return loaded
                await asyncio.sleep(0)

    def _exchange(self, data: Keyspace, history: str, offset: int, db: int) -> None:
        def swap() -> None:
            self._engine.take_keyspace(data)
            self._downstream.become()
            self.stream.become(history, offset, db)

        if not self._aof.replace(self._path, swap):
            self._files.keep(self._path)

    # -- what others are told

    def role(self) -> list[Any]:
        host, port = self._link.host, self._link.port
        return ["slave", host, port, self._link.word, self.stream.offset if self.stream.connected else -1]

    @property
    def _down_s(self) -> int:
        return int(time.monotonic() - self._down_since)

    def not_ready(self) -> str:
        """Why nobody should read here; "": that is not so. Data that lag are as good as they get: no reason."""
        if not self.stream.following or self.stream.connected:
            return ""
        if self._manager is not None and self._link.state is l.State.IDLE:
            return "it is fenced: nobody has said yet who is the primary"
        if not self._has_data:
            return "waiting for the first synchronisation with the primary"
        if self._down_s > self._config.number("repl-timeout"):
            return f"the link with the primary has been down for {self._down_s} seconds"
        return ""

    def status(self) -> dict[str, Any]:
        """Fields of INFO by their names."""
        link, stream, now = self._link, self.stream, time.monotonic()
        if not stream.following:
            return {"role": "master", "sync_failures": link.failures}
        fields: dict[str, Any] = {
            "sync_failures": link.failures,
            "async_loading": int(link.state is l.State.LOADING),
            "role": "slave",
            "primary_host": link.host,
            "primary_port": link.port,
            "primary_link_up": stream.connected,
            "primary_idle_s": stream.idle_s,
            "primary_syncs": int(link.syncs),
            "replica_read_offset": stream.read_offset,
            "replica_offset": stream.offset,
            "replica_priority": self._config.number("replica-priority"),
            "replica_read_only": int(self._config.flag("replica-read-only")),
            "replica_announced": int(self._config.flag("replica-announced")),
        }
        if link.syncs:
            known = link.total > 0
            fields.update(
                sync_total=link.total if known else 0,
                sync_read=link.got,
                sync_left=link.total - link.got if known else -link.got,
                sync_percent=f"{100 * link.got / link.total if known else 0:.2f}",
                sync_idle_s=int(link.silent_s(now)),
            )
        if not stream.connected:
            fields["primary_down_s"] = self._down_s
        return fields


def _database(loaded: Loaded, count: int) -> int:
    """In which database the stream goes on; who does not say so, selects."""
    said = parse_integer(loaded.aux.get("repl-stream-db", b"0").decode("latin-1"))
    if said is None or said >= count:
        raise DataError(f"the stream is in database {said}, and there are {count} (databases)")
    return max(said, 0)


async def _connect(host: str, port: int, source: str) -> socket.socket:
    """To the first of the host's addresses that takes us. Raises OSError."""
    loop = asyncio.get_running_loop()
    failure = OSError("it has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if source:
                sock.bind((source, 0))
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure
