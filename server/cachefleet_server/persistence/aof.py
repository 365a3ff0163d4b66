"""The append-only file: appending, rewriting without fork, commands, and what INFO says.

    aof_folder.py   what lies in the folder, and which files count       aof_reader.py   all of that into the keyspace
    aof_log.pxd     the journal to the current file, and to the disk     aof_load.pyx    one file of commands

A rewrite opens a new incremental file and freezes the keyspace at the same moment, between two commands: the snapshot
that follows becomes the new base, and base plus new file are exactly the data. The manifest names the new incremental
file before anything is written to it, and the new base only when it is on disk. A crash anywhere leaves a manifest
whose files are whole.

Turning the AOF on at run time is a rewrite without a manifest to begin with: it counts from the moment the base is on
disk, and an orderly exit waits for that. `CONFIG SET dir` moves the AOF: all of it is in the new folder when the reply
comes. A rewrite with the AOF off leaves a base alone, as in Valkey: what a start with it on would load.

A failed rewrite keeps the old files and is tried again after a pause that doubles with each failure. A failed fsync
is healed by a rewrite, since the kernel may have dropped what could not be written: the new base holds it. Writes are
refused until then. The same holds when a file that counts is removed under the server: it is looked for from cron.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Final

from cachefleet_server.command_spec import row
from cachefleet_server.config.config import Config
from cachefleet_server.engine import Client, ClientFlag, Engine
from cachefleet_server.errors import CommandError, ConfigError, DataError, StartupError
from cachefleet_server.log import Log
from cachefleet_server.persistence.aof_folder import AofFolder
from cachefleet_server.persistence.aof_log import AofLog
from cachefleet_server.persistence.aof_manifest import Manifest
from cachefleet_server.persistence.aof_reader import AofReader
from cachefleet_server.persistence.capture_files import Source
from cachefleet_server.persistence.capture_walk import Place
from cachefleet_server.persistence.rdb import Loading, Rdb, at_once, aux_fields, in_slices
from cachefleet_server.persistence.snapshot import (
    Snapshot,
    SnapshotResult,
    snapshot_running,
)
from cachefleet_server.replies import Reply, Simple

RETRY_S_MAX: Final = 3600.0
LOOK_EVERY_S: Final = 0.1  # whether all files are still there


class Aof:
    """One server's AOF. `rdb` loads base files; `claim` takes the data folder's lock, or raises StartupError."""

    def __init__(self, engine: Engine, config: Config, log: Log, rdb: Rdb, claim: Callable[[], None]) -> None:
        self._engine = engine
        self._config = config
        self._log = log
        self._rdb = rdb
        self._claim = claim
        self._look_at = 0.0
        self._lost = ""  # a file that counted and is gone
        self._file = AofLog(engine)
        self._folder = AofFolder(config, log)
        self._reader = AofReader(engine, config, log, rdb, self._folder)
        self._on = False  # the manifest counts: a restart loads the AOF
        self._starting = False  # switched on at run time, and its first base is not on disk yet
        self._rewrite: Snapshot | None = None
        self._home = ""  # folder of the file that is open
        self._left: tuple[str, str, int] | None = None  # the folder before the last move; see _move
        self._suffix = "rdb"  # of the base that is being written
        self._rewrite_seq = 0  # first incremental file that its base does not replace
        self._scheduled = False
        self._started = 0.0
        self._last_seconds = -1
        self._ok = True
        self._rewrites = 0
        self._failures = 0
        self._retry_at = 0.0
        self._size_after_rewrite = 0
        self._old_size = 0  # bytes of the incremental files before the current one
        self._base_size = 0
        rdb.make_way = self._finish_rewrite

    # ---- life

    def register(self) -> None:
        self._engine.register(
            row("bgrewriteaof", 1, "admin no_async_loading noscript", "", "", "server 1.0.0 O(1)",
                "Rewrites the append-only file in the background.", ""),
            self._bgrewriteaof,
        )  # fmt: skip
        self._config.subscribe("appendonly", self._take_appendonly)
        self._config.subscribe("appendfsync", self._file.set_policy)
        self._config.subscribe("aof-timestamp-enabled", self._file.set_timestamps)
        self._config.subscribe("dir", lambda _: self._move())

    async def start(self) -> None:
        self._file.set_policy(self._config.text("appendfsync"))
        self._file.set_timestamps(self._config.flag("aof-timestamp-enabled"))
        if not self._config.flag("appendonly"):
            return
        try:
            self._folder.make()
            self._folder.remove_stale_files()
            await in_slices(self._load())
            self._open_after_load()
        except OSError as error:
            folder = self._folder.path
            raise StartupError(
                f"Can't use the append only file: {error.filename or folder}: {error.strerror or error}. The folder "
                f"{folder} and its files must be readable and writable by the server's user, on a disk with free space"
            ) from None
        self._file.announce(True)
        self._on = True

    def cron(self) -> None:
        self._file.set_no_fsync(snapshot_running(self._engine) and self._config.flag("no-appendfsync-on-rewrite"))
        self._file.cron()
        if time.monotonic() >= self._look_at:
            self._look()
            if self._on and self._rewrite is None:
                self._remove_history()
        if self._rewrite is not None or snapshot_running(self._engine):
            return
        if time.monotonic() < self._retry_at:
            return
        wanted = self._scheduled or (
            self._config.flag("appendonly") and (self._file.sync_failed or not self._on or self._has_grown())
        )
        if wanted and not self._engine.stats()["loading"]:
            self._begin_rewrite()

    def _look(self) -> None:
        """A file that counts may have been removed or moved away: what is written there is nowhere."""
        self._look_at = time.monotonic() + LOOK_EVERY_S
        if not self._file.is_open:
            return
        before, self._lost = self._lost, self._folder.lost(self._file.fileno, whole=self._on)
        if self._lost and (self._lost != before or not self._file.sync_failed):
            self._log.warning(f"{self._lost} is gone: writes are refused until the append only file is written anew")
            self._file.lose(self._folder.is_current(self._lost))

    async def stop(self) -> None:
        self.prepare_exit()
        pending = self._file.pending
        if self._file.is_open and not self._file.close():
            self._log.warning(
                f"The append only file could not be brought to disk before the exit: {pending} bytes of commands were "
                "waiting to be written, and what was written since its last fsync may be lost too"
            )
        self._file.stop()

    def prepare_exit(self) -> None:
        """An exit is near: no rewrite runs when this returns. A first base is still written, others can wait."""
        self._look()
        if self._starting:
            self._finish_start()
        elif self._lost:
            self._log.notice("Writing the append only file anew before exiting")
            self._give_up_rewrite()
            self._rewrite_now()
        self._give_up_rewrite()

    def _rewrite_now(self) -> None:
        self._rdb.give_up()
        self._begin_rewrite()
        self._finish_rewrite()

    def _finish_start(self) -> None:
        self._log.notice("Writing the first base of the append only file before exiting")
        if self._rewrite is None or not self._file.is_open:  # one that was begun before
            self._give_up_rewrite()
            self._rewrite_now()
        self._finish_rewrite()
        if self._starting:
            self._log.warning("The append only file was switched on, but its first base could not be written")

    def _finish_rewrite(self) -> None:
        """With the engine held up. Giving it up for each SAVE would let no rewrite end."""
        if self._rewrite is not None:
            self._rewrite.finish()

    def _give_up_rewrite(self) -> None:
        """It begins again from cron, if there is one to come."""
        if self._rewrite is not None:
            self._rewrite.abort()
            self._rewrite.finish()
            self._scheduled = True

    # ---- loading

    def _load(self) -> Loading[None]:
        manifest = self._folder.adopt()
        if manifest is None:
            self._folder.manifest = self._folder.numbers_in_use()
            yield from self._reader.load_instead()
            return
        self._folder.manifest = manifest
        yield from self._reader.load(manifest)
        self._remove_history()  # a crash came between the new manifest and their removal

    def reload(self) -> None:
        """DEBUG LOADAOF: the keyspace as the files have it. Raises DataError; the data is as before then."""
        if self._file.in_transaction or self._starting:
            raise DataError("the append only file is not whole at this moment")
        if not self._file.flush():
            raise DataError("the append only file cannot be written")
        if not self._file.is_open:
            self._file.drain()  # the end of the one that was switched off
        manifest = self._folder.manifest if self._on else self._folder.read()
        if manifest is None:
            raise DataError(f"there is no append only file in {self._folder.path}")
        self._file.mute(True)
        try:
            loaded = self._engine.new_keyspace()
            at_once(self._reader.load(manifest, loaded))
            self._engine.take_keyspace(loaded)
        finally:
            self._file.mute(False)

    def replace(self, path: str, swap: Callable[[], None]) -> bool:
        """`swap` makes the data those of an RDB file, which is on disk, and the journal another history: the file
        becomes the base of both. False when the AOF is off, and the file is still the caller's. What fails is as if
        the AOF had been switched on then: a base follows from cron, and a start before that loads the old data."""
        if not self._file.is_open:
            swap()
            return False
        self._give_up_rewrite()
        self._file.close()
        swap()
        folder, name = self._folder, self._folder.filename
        try:
            manifest = folder.manifest.with_base(name, folder.manifest.incremental_seq + 1).with_incremental(name)
            assert manifest.base is not None
            os.rename(path, folder.file(manifest.base.name))
            fd = folder.open_incremental(manifest.incremental[-1], new=True)
            folder.save(manifest)
        except OSError as error:
            self._log.warning(f"The append only file does not hold what was loaded: {error}. It is written anew")
            self._on = False
            self._take_appendonly(True)
            return True
        self._file.open(fd, 0)
        self._file.flush()  # where in the history it begins: a restart may come before a command does
        self._file.announce(True)
        self._on, self._starting, self._scheduled = True, False, False
        self._old_size = 0
        self._base_size = self._size_after_rewrite = folder.size(manifest.base)
        self._home = folder.path
        self._remove_history()
        return True

    def write_anew(self) -> None:
        """The data has become what the journal does not tell. At once: until it is done, what is journaled goes on
        from other data, and a start would refuse it. What fails is tried again from cron."""
        if self._file.is_open:
            self._give_up_rewrite()  # its base may be from before
            self._rewrite_now()
            self._scheduled = not self._ok

    def _open_after_load(self) -> None:
        """Goes on in the last incremental file, or makes base and file when there was no AOF."""
        manifest = self._folder.manifest
        if not manifest.files():
            manifest = self._write_first_base()
        if manifest.incremental:
            fd = self._folder.open_incremental(manifest.incremental[-1])
        else:
            manifest = manifest.with_incremental(self._folder.filename)
            fd = self._folder.open_incremental(manifest.incremental[-1], new=True)
        if manifest is not self._folder.manifest:
            self._folder.save(manifest)
        self._old_size = sum(self._folder.size(part) for part in manifest.incremental[:-1])
        self._base_size = self._folder.size(manifest.base) if manifest.base else 0
        self._size_after_rewrite = self._base_size
        if self._reader.position is not None:
            self._file.go_on(self._reader.position, self._reader.db)
        self._file.open(fd, os.fstat(fd).st_size)
        self._file.flush(sync=True)  # what fails is tried again from cron, and writes are refused
        self._home = self._folder.path

    def _write_first_base(self) -> Manifest:
        """With the engine held up."""
        name, seq = self._folder.filename, self._folder.manifest.incremental_seq + 1
        manifest = self._folder.manifest.with_base(name, seq, self._base_suffix())
        assert manifest.base is not None
        snapshot = self._snapshot(final=self._folder.file(manifest.base.name))
        snapshot.start()
        result = snapshot.finish()
        if not result.ok:
            raise StartupError(f"Can't write the base of the append only file in {self._folder.path}: {result.error}")
        return manifest

    # ---- rewriting

    def _has_grown(self) -> bool:
        percentage = self._config.number("auto-aof-rewrite-percentage")
        size = self._content_size()
        if not percentage or size <= self._config.number("auto-aof-rewrite-min-size"):
            return False
        base = max(1, self._size_after_rewrite)
        growth = size * 100 // base - 100
        if growth >= percentage:
            self._log.notice(f"Starting automatic rewriting of AOF on {growth}% growth")
            return True
        return False

    def _current_size(self) -> int:
        return self._base_size + self._old_size + self._file.size

    def _content_size(self) -> int:
        """What grows and shrinks: a new file has its header by nature."""
        return self._current_size() - self._file.header

    def _snapshot(self, *, final: str = "", on_done: Callable[[SnapshotResult], None] | None = None) -> Snapshot:
        config = self._config
        self._suffix = self._base_suffix()
        return Snapshot(
            self._engine,
            temp_path=self._folder.temp_base(),
            final_path=final,
            compress=config.flag("rdbcompression"),
            checksum=config.flag("rdbchecksum"),
            sync_often=config.flag("aof-rewrite-incremental-fsync"),
            commands=self._suffix == "aof",
            aux=aux_fields(self._engine, aof_base=True),
            on_done=on_done,
        )

    def _begin_rewrite(self) -> bool:
        """New file and frozen keyspace at the same moment. False when it could not begin; it is tried again.

        With the AOF off there is only a base: BGREWRITEAOF then leaves what a start with it on would load.
        """
        self._scheduled = False
        self._started = time.monotonic()
        self._rewrites += 1
        fd = -1
        try:
            self._folder.make()
            self._claim()
            if not self._on and not self._file.is_open:
                self._folder.manifest = self._manifest_while_off()
            manifest, snapshot = self._folder.manifest, self._snapshot(on_done=self._done)
            if self._config.flag("appendonly"):
                manifest = manifest.with_incremental(self._folder.filename)
                fd = self._folder.open_incremental(manifest.incremental[-1], new=True)
                if self._on:
                    self._folder.write(manifest)
                old_size = self._file.size if self._file.is_open else 0
                if not self._file.switch(fd):
                    raise OSError("the current file cannot be written")
                self._old_size += old_size
                self._rewrite_seq = manifest.incremental_seq
                self._home = self._folder.path
            else:
                self._rewrite_seq = manifest.incremental_seq + 1
            fd = -1
            self._folder.manifest = manifest
            snapshot.start()
        except (OSError, DataError, StartupError) as error:
            if fd >= 0:
                os.close(fd)
            self._log.warning(f"Can't rewrite append only file in background: {error}")
            self._fail()
            return False
        self._rewrite = snapshot
        self._log.notice("Background append only file rewriting started")
        return True

    def _base_suffix(self) -> str:
        return "rdb" if self._config.flag("aof-use-rdb-preamble") else "aof"

    def _manifest_while_off(self) -> Manifest:
        """What a start with the AOF on would load, until the base that is about to be written replaces it."""
        self._folder.make()
        self._folder.remove_stale_files()
        return self._folder.read() or self._folder.numbers_in_use()

    def _done(self, result: SnapshotResult) -> None:
        self._rewrite = None
        self._last_seconds = int(result.seconds)
        temp = self._folder.temp_base()
        try:
            if not result.ok:
                raise OSError(result.error)
            self._install(result)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temp)
            if not result.aborted:
                self._log.warning(f"Background AOF rewrite failed: {error}")
                self._fail()
            return
        self._ok = True
        self._failures = 0
        self._log.notice(
            f"Background AOF rewrite finished successfully: {result.keys} keys, {result.bytes} bytes, "
            f"{result.seconds:.3f} seconds"
        )

    def _install(self, result: SnapshotResult) -> None:
        """The snapshot becomes the base; what it replaces goes."""
        manifest = self._folder.manifest.with_base(self._folder.filename, self._rewrite_seq, self._suffix)
        assert manifest.base is not None
        self._folder.install_base(manifest.base)
        self._file.flush_in_order()  # from now on the current file alone tells the journal's position
        self._folder.save(manifest)
        self._base_size = result.bytes
        self._old_size = 0
        self._size_after_rewrite = self._content_size()
        if self._file.is_open:
            self._on = True
            self._starting = False
            self._file.announce(True)
        self._file.heal()
        self._remove_history()

    def _remove_history(self) -> None:
        """Files that do not count any more, and are not kept for who reads changes. Where that fails they cost space
        until the next rewrite or start."""
        manifest = self._folder.manifest
        kept = self._folder.kept()
        if kept == manifest.history:
            return
        for part in set(manifest.history) - set(kept):
            self._file.unlink(self._folder.file(part.name))
        self._folder.manifest = manifest.with_history(kept)
        try:
            self._folder.write(self._folder.manifest)
        except OSError as error:
            self._log.warning(f"Can't remove old files from the manifest of the append only file: {error}")

    def _fail(self) -> None:
        self._ok = False
        self._failures += 1
        self._retry_at = time.monotonic() + min(RETRY_S_MAX, 2.0 ** min(self._failures, 12))

    # ---- parameters and commands

    def _take_appendonly(self, on: bool) -> None:
        if on and not self._file.is_open:
            self._retry_at = 0.0
            self._scheduled = True  # from cron, between two commands
            self._starting = True
            self._file.announce(False, starting=True)
        elif not on:
            self._starting = False
            if self._file.is_open:
                if self._rewrite is not None:
                    self._rewrite.abort()  # it ends when the disk lets it
                self._log.notice("The append only file is off")
            self._file.leave()
            self._on = False
            self._scheduled = False

    def _move(self) -> None:
        """`dir` changed. The whole AOF is in the new folder before this returns; the old one keeps what there was.

        The engine is held up meanwhile, as by SAVE: otherwise a crash would find half of the data in either folder.
        A folder that holds an AOF is refused, but for the one that the last move left, as it was left: so the way back
        is open, also for CONFIG SET when another of its parameters is refused.
        """
        if not self._file.is_open or not self._config.flag("appendonly"):  # it is off, or goes off with this
            self._give_up_rewrite()  # a base alone; it begins again in the new folder
            return
        if self._file.in_transaction:
            raise ConfigError("the append only file cannot move to another folder inside a transaction")
        self._give_up_rewrite()
        before = self._folder.manifest
        try:
            found = self._folder.read()
            if found is not None and self._left != self._folder.footprint(found):
                raise ConfigError(f"{self._folder.path} holds an append only file already")
            self._folder.make()
            self._folder.manifest = found or self._folder.numbers_in_use()
            manifest = self._write_first_base().with_incremental(self._folder.filename)
            fd = self._folder.open_incremental(manifest.incremental[-1], new=True)
            self._folder.save(manifest)
        except (OSError, DataError, StartupError) as error:
            self._folder.manifest = before
            raise ConfigError(f"the append only file cannot move: {error}") from None
        self._file.flush()
        left = (self._home, before.text(), self._file.size)
        if not self._file.switch(fd):  # the old folder's disk takes no more; the new base has it
            self._file.close()
            self._file.open(fd, 0)
        self._file.heal()
        self._on = True
        self._starting = self._scheduled = False
        self._file.announce(True)
        self._old_size = 0
        self._base_size = self._size_after_rewrite = self._folder.size(manifest.files()[0])
        self._left, self._home = left, self._folder.path
        self._remove_history()
        self._log.notice(f"The append only file goes on in {self._folder.path}")

    def _bgrewriteaof(self, client: Client, argv: list[bytes]) -> Reply:
        if self._rewrite is not None:
            raise CommandError("ERR Background append only file rewriting already in progress")
        if snapshot_running(self._engine) or client.flags & ClientFlag.EXECUTING or self._starting:
            self._scheduled = True
            self._failures = 0
            self._retry_at = 0.0
            return Simple("Background append only file rewriting scheduled")
        if not self._begin_rewrite():
            raise CommandError(
                "ERR Can't execute an AOF background rewriting. Please check the server logs for more information."
            )
        return Simple("Background append only file rewriting started")

    # ---- for who must know what survives (managed/service.py)

    @property
    def torn(self) -> bool:
        """The end of what was loaded was cut off."""
        return self._reader.torn

    @property
    def end_written(self) -> int | None:
        """As `written`; None while the AOF is off."""
        return self._file.written if self._file.is_open else None

    # ---- for readers of the journal (capture.py)

    def sources(self) -> list[Source]:
        """Where the journal lies, oldest first; nothing while the AOF is off."""
        if not self._file.is_open:
            return []
        *before, current = [*self._folder.replaced(), *self._folder.manifest.incremental]
        return [
            *(Source(self._folder.file(part.name), self._folder.size(part)) for part in before),
            Source(self._folder.file(current.name), self._file.size),
        ]

    @property
    def position(self) -> tuple[bytes, int, int]:
        """Of the journal's end: (id, tenure, offset)."""
        return self._file.position

    @property
    def written(self) -> int:
        """Up to this offset the journal is in its files."""
        return self._file.written

    @property
    def synced(self) -> int:
        """Up to this offset it is on disk."""
        return self._file.synced

    @property
    def place(self) -> tuple[str, Place] | None:
        """The end of the files, in the last one, if the journal ends there, too."""
        id, _, offset = self._file.position
        if self._file.written != offset or not self._file.is_open:
            return None
        name = self._folder.manifest.incremental[-1].name
        return self._folder.file(name), Place(self._file.size, id, offset, self._file.db)

    def tell(self, written: Callable[[], None]) -> None:
        """Once: of the next write, or the AOF's end."""
        self._file.tell(written)

    # ---- INFO

    def status(self) -> dict[str, int | str]:
        running = self._rewrite is not None
        return {
            "aof_enabled": int(self._file.is_open),
            "aof_rewrite_in_progress": int(running),
            "aof_rewrite_scheduled": int(self._scheduled),
            "aof_last_rewrite_time_sec": self._last_seconds,
            "aof_current_rewrite_time_sec": int(time.monotonic() - self._started) if running else -1,
            "aof_last_bgrewrite_status": "ok" if self._ok else "err",
            "aof_rewrites": self._rewrites,
            "aof_rewrites_consecutive_failures": self._failures,
            "aof_last_write_status": "err" if self._engine.stats()["aof_write_failed"] else "ok",
            "aof_current_size": self._current_size(),
            "aof_base_size": self._size_after_rewrite,
            "aof_pending_rewrite": 0,
            "aof_buffer_length": self._file.pending,
            "aof_pending_bio_fsync": int(self._file.fsync_pending),
            "aof_delayed_fsync": self._file.delayed,
            "aof_last_fsync_us": self._file.last_fsync_us,
        }
