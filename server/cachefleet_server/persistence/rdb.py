"""SAVE, BGSAVE, LASTSAVE, save points, loading at the start, and what INFO says about all that.

The file is written by a `Snapshot` (snapshot.pxd) in the oldest dialect that has every form in use, RDB version 10:
Redis since 7.0 and every Valkey load it. Fields that expire make it Valkey's; members of sets and sorted sets that
expire, which no other server has, make it our own: others refuse it by its first bytes, and the log says so. The writer
thread gives it its name, so the old file stays whole until the new one is on disk. While there are replicas, or a
primary, it says where in the stream's history it is: who starts with it goes on from there.

One snapshot an engine runs at a time; an AOF rewrite is another one. `send` makes one for a receiver instead of a
file: as in Valkey INFO shows it and BGSAVE CANCEL ends it like a save, but it is none: LASTSAVE, the count of changes
and the last status stay as they are. A BGSAVE that has to wait (SCHEDULE, or inside a
transaction, whose middle is no point in time) starts from cron. A failed save sets `persist.bgsave_failed`, which makes
the dispatcher refuse writes (MISCONF) while save points are configured; the next good save clears it. After a failure
save points wait RETRY_S, so that a full disk is not tried at each cron.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Callable, Generator, Sequence
from typing import Final, Protocol, TypeVar

from cachefleet_parameters.kinds import parse_integer
from cachefleet_server.command_spec import row
from cachefleet_server.config.config import Config
from cachefleet_server.engine import Client, ClientFlag, Engine, Keyspace
from cachefleet_server.errors import CommandError, DataError, StartupError
from cachefleet_server.files import sync_folder
from cachefleet_server.log import Log
from cachefleet_server.persistence.folder import NotWritable
from cachefleet_server.persistence.rdb_load import RdbLoader
from cachefleet_server.persistence.snapshot import (
    Snapshot,
    SnapshotResult,
    alone_readable,
    changes,
    changes_saved,
    snapshot_running,
    take_flush_save,
)
from cachefleet_server.replies import OK, Reply, Simple
from cachefleet_server.version import REDIS_VERSION, __version__

RETRY_S: Final = 5.0
LOAD_SLICE_US: Final = 4000
_TEMP_NAME: Final = re.compile(r"temp-(repl-)?\d+\.rdb(\.aside)?")

_BUSY = "ERR Background save already in progress"
_OTHER = (
    "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a "
    "BGSAVE whenever possible."
)

T = TypeVar("T")


class History(Protocol):
    """What the data are a state of, for those who follow it: replication.service."""

    def position(self) -> list[tuple[str, str]]:
        """Of what a snapshot taken now holds, as AUX pairs; empty: nobody could go on from there."""

    def go_on(self, id: str, offset: int, db: int) -> None:
        """At a start: what was loaded ends there."""


Loading = Generator[None, None, T]  # yields between slices of a load and returns what it says


async def in_slices(loading: Loading[T]) -> None:
    """Loads while the loop goes on."""
    with contextlib.closing(loading):
        for _ in loading:
            await asyncio.sleep(0)


def at_once(loading: Loading[T]) -> None:
    """Loads with the engine held up, for DEBUG: nothing is served meanwhile."""
    for _ in loading:
        pass


class Rdb:
    """One server's RDB file. Also offers `save` and `load` to SHUTDOWN, DEBUG RELOAD and the AOF.

    `claim` takes the data folder's lock and raises StartupError when another server has it.
    """

    def __init__(self, engine: Engine, config: Config, log: Log, claim: Callable[[], None]) -> None:
        self._engine = engine
        self._config = config
        self._log = log
        self._claim = claim
        self._running: Snapshot | None = None
        self._receiver: Callable[[SnapshotResult], None] | None = None  # told at the end; None: a file is written
        self._cancelled = False
        self._scheduled = False
        self._tidied = ""  # folder without temp files of others
        self._changes_before = 0
        self._started = 0.0  # of the running save
        self._last_try = 0.0
        self._last_save = time.time()
        self._last_seconds = -1
        self._ok = True
        self._saves = 0
        self._quiet = False
        self.loading_started = 0
        self.arriving = ""  # a temp file of this process that is no save: a primary's snapshot
        self.make_way: Callable[[], None] = lambda: None  # ends a snapshot that is not ours; the AOF sets it
        self.history: History | None = None
        config.subscribe("rdbcompression", lambda on: engine.set_persist("rdb_uncompressed", not on))
        config.subscribe("save", lambda points: engine.set_persist("save_points", bool(points)))
        engine.set_persist("rdb_uncompressed", not config.flag("rdbcompression"))
        engine.set_persist("save_points", bool(config.value("save")))

    # -- life, as server.py wants it

    def register(self) -> None:
        add = self._engine.register
        add(row("save", 1, "admin no_async_loading no_multi noscript", "", "",
                "server 1.0.0 O(N) where N is the total number of keys in all databases",
                "Synchronously saves the database(s) to disk.", ""), self._save_row)
        add(row("bgsave", -1, "admin no_async_loading noscript", "", "",
                "server 1.0.0 O(1); history 3.2.2 Added the `SCHEDULE` option."
                "; history 8.1.0 Added the `CANCEL` option.",
                "Asynchronously saves the database(s) to disk.",
                "[operation(SCHEDULE@3.2.2 | CANCEL@8.1.0)]"), self._bgsave_row)
        add(row("lastsave", 1, "fast loading stale", "admin dangerous", "",
                "server 1.0.0 O(1); tips nondeterministic_output",
                "Returns the Unix timestamp of the last successful save to disk.", ""), self._lastsave_row)

    async def start(self) -> None:
        """Loads the file, unless the AOF is on and is what counts."""
        if self._config.flag("appendonly") or self._config.value("save"):
            with contextlib.suppress(NotWritable):  # server.py has said so
                self._take_folder()
        if self._config.flag("appendonly"):
            return
        path = self.path()
        began = time.monotonic()
        try:
            self._engine.set_persist("load_total_bytes", os.path.getsize(path))
        except FileNotFoundError:
            return
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from None
        follows = bool(self._config.value("replicaof"))
        await in_slices(self.load(path, skip_expired=not follows, journal_expired=not follows, on_end=self._go_on))
        changes_saved(self._engine, changes(self._engine))
        self._log.notice(f"DB loaded from disk: {time.monotonic() - began:.3f} seconds")

    def _go_on(self, loader: RdbLoader) -> None:
        """The file may say of which history it is a state, and how far: as in Redis and Valkey."""
        id = loader.aux.get("repl-id", b"").decode("latin-1")
        offset = parse_integer(loader.aux.get("repl-offset", b"").decode("latin-1"))
        db = parse_integer(loader.aux.get("repl-stream-db", b"").decode("latin-1"))
        if self.history is None or offset is None or db is None or not re.fullmatch("[0-9a-zA-Z]{40}", id):
            return
        if offset >= 0 and 0 <= db < self._config.number("databases"):
            self.history.go_on(id, offset, db)

    def cron(self) -> None:
        if take_flush_save(self._engine) and self._config.value("save"):
            self._scheduled = True  # else a restart would bring back what FLUSHALL removed
        if snapshot_running(self._engine):
            return
        if self._scheduled and self._may_try():
            self._begin()
            return
        dirty, idle_s = changes(self._engine), time.time() - self._last_save
        for seconds, wanted in self._config.value("save"):
            if dirty >= wanted and dirty and idle_s > seconds and self._may_try():
                self._log.notice(f"{wanted} changes in {seconds} seconds. Saving...")
                self._begin()
                return

    async def stop(self) -> None:
        self.give_up()

    def give_up(self) -> None:
        """Ends the save that runs; its temp file is removed."""
        if self._running is not None:
            self._cancelled = True
            self._running.abort()
            self._running.finish()

    # -- saving

    @property
    def saving(self) -> bool:
        """A file is being written."""
        return self._running is not None and self._receiver is None

    @property
    def free(self) -> bool:
        """A snapshot of any kind could begin."""
        return not snapshot_running(self._engine)

    def path(self) -> str:
        return os.path.join(self._config.text("dir"), self._config.text("dbfilename"))

    def save(self) -> SnapshotResult:
        """Writes the file now, with the engine held up. Raises StartupError when that fails; nothing else comes of it,
        as in Valkey: writes go on."""
        self.give_up()  # at shutdown: what it would write is about to be written again
        self.make_way()
        if snapshot_running(self._engine):
            raise StartupError("another snapshot is running")
        self._begin(quiet=True)
        if self._running is None:
            raise StartupError("cannot start a snapshot")
        result = self._running.finish()
        if not result.ok:
            raise StartupError(result.error)
        return result

    def _begin(self, *, quiet: bool = False) -> bool:
        """Starts a save; false (and logged) when there is no thread for it. Quiet: who waits for it is told."""
        config, now = self._config, time.time()
        path = self.path()
        snapshot = Snapshot(
            self._engine,
            temp_path=os.path.join(os.path.dirname(path), f"temp-{os.getpid()}.rdb"),
            final_path=path,
            compress=config.flag("rdbcompression"),
            checksum=config.flag("rdbchecksum"),
            sync_often=config.flag("rdb-save-incremental-fsync"),
            aux=[*aux_fields(self._engine, aof_base=False), *(self.history.position() if self.history else [])],
            on_done=self._done,
        )
        self._scheduled = False
        self._cancelled = False
        self._quiet = quiet
        self._last_try = self._started = now
        self._changes_before = changes(self._engine)
        self._saves += 1
        try:
            self._take_folder()
            snapshot.start()
        except (OSError, StartupError) as error:
            self._log.warning(f"Can't save in background: {error}")
            self._fail()
            return False
        self._running = snapshot
        if not quiet:
            self._log.notice("Background saving started")
        self._warn_of_dialect()
        return True

    def _warn_of_dialect(self) -> None:
        collections, streams = alone_readable(self._engine)
        alone = "this snapshot is in a format that no other server reads"
        if collections:
            self._log.warning(
                f"{collections} sets or sorted sets have members that expire: {alone}. Remove these times (SPERSIST,"
                " ZPERSIST) for one that Redis or Valkey can load"
            )
        if streams:
            self._log.warning(
                f"{streams} streams have producers (IDMP of XADD, XCFGSET): {alone}. XCFGSET with other values, then"
                " with IDMP-DURATION 100 and IDMP-MAXSIZE 100, removes them"
            )

    def keep(self, path: str) -> None:
        """The data have become those of this file, which is on disk: with save points it is the last save."""
        if not self._config.value("save"):
            return
        try:
            self._take_folder()
            self.give_up()  # a save that runs is of the data before
            os.replace(path, self.path())
            sync_folder(os.path.dirname(self.path()))
        except (OSError, StartupError) as error:
            self._log.warning(f"Can't keep what was loaded as the RDB file: {error}")
            return
        self._last_save = time.time()
        changes_saved(self._engine, changes(self._engine))

    def send(
        self,
        fd: int,
        *,
        stall_s: int,
        mark: bytes = b"",
        position: Sequence[tuple[str, str]] = (),
        on_done: Callable[[SnapshotResult], None],
    ) -> None:
        """Begins a snapshot for whoever reads from the other end of a non-blocking descriptor, which becomes the
        snapshot's; a reader that takes nothing for `stall_s` has failed. `position`: more AUX pairs. Raises
        StartupError when there cannot be one now; the descriptor is the caller's then."""
        if snapshot_running(self._engine):
            raise StartupError("another snapshot is running")
        snapshot = Snapshot(
            self._engine,
            fd=fd,
            mark=mark,
            stall_ms=stall_s * 1000,
            compress=self._config.flag("rdbcompression"),
            checksum=self._config.flag("rdbchecksum"),
            aux=[*aux_fields(self._engine, aof_base=False), *position],
            on_done=self._done,
        )
        try:
            snapshot.start()
        except OSError as error:
            raise StartupError(str(error)) from None
        self._running, self._receiver = snapshot, on_done
        self._cancelled = False
        self._started = time.time()
        self._log.notice("Background transfer of a snapshot started")
        self._warn_of_dialect()

    def _sent(self, result: SnapshotResult) -> None:
        told, self._receiver = self._receiver, None
        if result.ok:
            self._log.notice(f"Snapshot sent: {result.keys} keys, {result.bytes} bytes, {result.seconds:.3f} seconds")
        else:
            self._log.warning(f"Snapshot not sent: {result.error}")
        assert told is not None
        told(result)

    def _done(self, result: SnapshotResult) -> None:
        self._running = None
        self._last_seconds = int(result.seconds)
        if self._receiver is not None:
            self._sent(result)
        elif result.ok:
            self._ok = True
            self._engine.set_persist("bgsave_failed", 0)
            self._last_save = time.time()
            changes_saved(self._engine, self._changes_before)
            self._log.notice(
                f"DB saved on disk: {result.keys} keys, {result.bytes} bytes, {result.seconds:.3f} seconds"
            )
        elif self._cancelled:
            self._log.notice("Background saving cancelled")
        else:
            self._log.warning(f"Background saving error: {result.error}")
            self._fail()

    def _fail(self) -> None:
        if self._quiet:
            return
        self._ok = False
        self._engine.set_persist("bgsave_failed", 1)

    def _may_try(self) -> bool:
        return self._ok or time.time() - self._last_try > RETRY_S

    # -- commands

    def _save_row(self, client: Client, argv: list[bytes]) -> Reply:
        if self._running is not None:
            raise CommandError(_BUSY)
        try:
            self.save()
        except StartupError as error:
            self._log.warning(f"SAVE failed: {error}")
            raise CommandError("ERR") from None
        return OK

    def _bgsave_row(self, client: Client, argv: list[bytes]) -> Reply:
        option = argv[1].lower() if len(argv) == 2 else b""
        if len(argv) > 2 or (len(argv) == 2 and option not in (b"schedule", b"cancel")):
            raise CommandError("ERR syntax error")
        if option == b"cancel":
            return self._cancel()
        in_exec = bool(client.flags & ClientFlag.EXECUTING)
        if self._running is not None:
            raise CommandError(_BUSY)
        if in_exec or snapshot_running(self._engine):
            if not in_exec and option != b"schedule":
                raise CommandError(_OTHER)
            self._scheduled = True
            if in_exec:
                self._log.notice("Background saving scheduled to run after transaction execution")
            return Simple("Background saving scheduled")
        if not self._begin():
            raise CommandError("ERR")
        return Simple("Background saving started")

    def _cancel(self) -> Reply:
        if self._running is not None:
            self._log.notice("Background saving will be aborted due to user request")
            self._cancelled = True
            self._running.abort()
            return Simple("Background saving cancelled")
        if self._scheduled:
            self._log.notice("Scheduled background saving will be cancelled due to user request")
            self._scheduled = False
            return Simple("Scheduled background saving cancelled")
        raise CommandError("ERR Background saving is currently not in progress or scheduled")

    def _lastsave_row(self, client: Client, argv: list[bytes]) -> Reply:
        return int(self._last_save)

    # -- loading

    def load(
        self,
        path: str,
        *,
        into: Keyspace | None = None,
        skip_expired: bool = True,
        journal_expired: bool = False,
        replace: bool = False,
        on_end: Callable[[RdbLoader], None] = lambda _: None,
    ) -> Loading[RdbLoader]:
        """Loads a file in slices, as RdbLoader says. Raises DataError. While others are served, the caller has set
        persist.loading. `on_end`: all is loaded, and the journal has not heard of what was left out."""
        self.loading_started = int(time.time())
        checksum = self._config.flag("rdbchecksum")
        try:
            loader = RdbLoader(
                self._engine,
                path,
                into=into,
                skip_expired=skip_expired,
                journal_expired=journal_expired,
                checksum=checksum,
                replace=replace,
            )
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from None
        try:
            while loader.step(LOAD_SLICE_US):
                yield
            on_end(loader)
            loader.journal_left_out()
        finally:
            loader.close()
        self._log_load(loader)
        return loader

    def _log_load(self, loader: RdbLoader) -> None:
        aux = {name: value.decode("utf-8", "backslashreplace") for name, value in loader.aux.items()}
        for name in ("cachefleet-ver", "valkey-ver", "redis-ver"):
            if name in aux:
                self._log.notice(f"Loaded {loader.path}, written by {name.removesuffix('-ver')} version {aux[name]}")
                break
        written = parse_integer(aux.get("ctime", ""))  # whoever wrote the file, wrote this, too
        if written is not None:
            self._log.notice(f"RDB age {max(0, int(time.time()) - written)} seconds")
        for module in loader.skipped_modules:
            self._log.warning(f"Auxiliary data of module {module} in {loader.path} was left out")
        empty = f", empty keys skipped: {loader.keys_empty}" if loader.keys_empty else ""
        self._log.notice(f"Done loading RDB, keys loaded: {loader.keys}, keys expired: {loader.keys_expired}{empty}.")

    def _take_folder(self) -> None:
        """Takes the lock, and removes temp files of servers that were killed while they saved.

        Without the lock they may be another's, whose number need not be one of a process here: it may be in another
        container.
        """
        self._claim()
        folder = self._config.text("dir")
        if folder == self._tidied:
            return
        self._tidied = folder
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                if _TEMP_NAME.fullmatch(name) and os.path.join(folder, name) != self.arriving:
                    os.unlink(os.path.join(folder, name))
                    self._log.notice(f"Removed {name}, left by a save that did not finish")

    # -- INFO

    def status(self) -> dict[str, int | str]:
        """Fields of INFO's section Persistence, by their names."""
        done, total = self._running.progress if self._running is not None else (0, 0)
        running = self._running is not None
        return {
            "current_save_keys_processed": done,
            "current_save_keys_total": total,
            "rdb_changes_since_last_save": changes(self._engine),
            "rdb_bgsave_in_progress": int(running),
            "rdb_last_save_time": int(self._last_save),
            "rdb_last_bgsave_status": "ok" if self._ok else "err",
            "rdb_last_bgsave_time_sec": self._last_seconds,
            "rdb_current_bgsave_time_sec": int(time.time() - self._started) if running else -1,
            "rdb_saves": self._saves,
            "rdb_last_cow_size": 0,
        }


def aux_fields(engine: Engine, *, aof_base: bool) -> list[tuple[str, str]]:
    """The AUX pairs of a file written now. Redis and Valkey log them and ignore those that they do not know."""
    return [
        ("redis-ver", REDIS_VERSION),
        ("redis-bits", "64"),
        ("ctime", str(int(time.time()))),
        ("used-mem", str(engine.stats()["used_memory"])),
        ("aof-base", str(int(aof_base))),
        ("cachefleet-ver", __version__),
    ]
