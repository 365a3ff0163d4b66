"""The append-only file: loading, appending, rewriting without fork, and what INFO says.

    <dir>/<appenddirname>/<appendfilename>.manifest              which files count (aof_manifest.py)
                          <appendfilename>.<n>.base.rdb          a snapshot; .aof when it is one of commands
                          <appendfilename>.<n>.incr.aof          commands since (aof_log.pxd writes the last one)

A rewrite opens a new incremental file and freezes the keyspace at the same moment, between two commands: the snapshot
that follows becomes the new base, and base plus new file are exactly the data. The manifest names the new incremental
file before anything is written to it, and the new base only when it is on disk. A crash anywhere leaves a manifest
whose files are whole.

Turning the AOF on at run time is a rewrite without a manifest to begin with: it counts from the moment the base is on
disk, and an orderly exit waits for that. `CONFIG SET dir` moves the AOF: all of it is in the new folder when the reply
comes. A rewrite with the AOF off leaves a base alone, as in Valkey: what a start with it on would load.

A failed rewrite keeps the old files and is tried again after a pause that doubles with each failure. A failed fsync
is healed by a rewrite, since the kernel may have dropped what could not be written: the new base holds it. Writes are
refused until then.

Only the end of the data may be torn: the last file, or one that is followed by empty ones. A file that the manifest
names exists: it is made before the manifest is written. One that the manifest does not name means nothing and is
written over, except where there is no manifest at all: then numbers go on after those of the files that are there, so
that nothing is lost by a lost manifest.

Where no AOF exists but an RDB file does, that file is loaded and becomes the base: switching `appendonly` on in the
configuration loses nothing (Redis and Valkey would start empty).
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from typing import Final

from cachefleet_server.command_spec import row
from cachefleet_server.config.config import Config
from cachefleet_server.engine import Client, Engine
from cachefleet_server.errors import CommandError, ConfigError, DataError, StartupError
from cachefleet_server.log import Log
from cachefleet_server.persistence import aof_manifest
from cachefleet_server.persistence.aof_load import AofLoader
from cachefleet_server.persistence.aof_log import AofLog
from cachefleet_server.persistence.aof_manifest import BASE, Manifest, Part
from cachefleet_server.persistence.rdb import Loading, Rdb, at_once, aux_fields, in_slices
from cachefleet_server.persistence.snapshot import (
    Snapshot,
    SnapshotResult,
    changes,
    changes_saved,
    snapshot_running,
)
from cachefleet_server.replies import Reply, Simple

LOAD_SLICE_US: Final = 4000
RETRY_S_MAX: Final = 3600.0
_EXECUTING: Final = 1 << 17  # CLIENT_EXECUTING
_TEMP_BASE: Final = re.compile(r"temp-rewriteaof-bg-(\d+)\.aof")


class Aof:
    """One server's AOF. `rdb` loads base files; `claim` takes the data folder's lock, or raises StartupError."""

    def __init__(self, engine: Engine, config: Config, log: Log, rdb: Rdb, claim: Callable[[], None]) -> None:
        self._engine = engine
        self._config = config
        self._log = log
        self._rdb = rdb
        self._claim = claim
        self._file = AofLog(engine)
        self._manifest = Manifest()
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
            os.makedirs(self._folder(), exist_ok=True)
            self._remove_stale_files()
            await in_slices(self._load())
            self._open_after_load()
        except OSError as error:
            path = error.filename or self._folder()
            raise StartupError(
                f"Can't use the append only file: {path}: {error.strerror or error}. The folder {self._folder()} and "
                "its files must be readable and writable by the server's user, on a disk with free space"
            ) from None
        self._file.announce(True)
        self._on = True

    def cron(self) -> None:
        self._file.set_no_fsync(snapshot_running(self._engine) and self._config.flag("no-appendfsync-on-rewrite"))
        self._file.cron()
        if self._rewrite is not None or snapshot_running(self._engine):
            return
        if time.monotonic() < self._retry_at:
            return
        wanted = self._scheduled or (
            self._config.flag("appendonly") and (self._file.sync_failed or not self._on or self._has_grown())
        )
        if wanted and not self._engine.stats()["loading"]:
            self._begin_rewrite()

    async def stop(self) -> None:
        self.settle()
        pending = self._file.pending
        if self._file.is_open and not self._file.close():
            self._log.warning(
                f"The append only file could not be brought to disk before the exit: {pending} bytes of commands were "
                "waiting to be written, and what was written since its last fsync may be lost too"
            )
        self._file.stop()

    def settle(self) -> None:
        """An exit is near: no rewrite runs when this returns. A first base is still written, others can wait."""
        if self._starting:
            self._finish_start()
        self._give_up_rewrite()

    def _finish_start(self) -> None:
        self._log.notice("Writing the first base of the append only file before exiting")
        if self._rewrite is None or self._rewrite_seq > self._manifest.incremental_seq:  # begun while it was off
            self._give_up_rewrite()
            self._rdb.give_up()
            self._begin_rewrite()
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

    # ---- paths

    def _folder(self) -> str:
        return os.path.join(self._config.text("dir"), self._config.text("appenddirname"))

    def _path(self, name: str) -> str:
        return os.path.join(self._folder(), name)

    def _manifest_path(self) -> str:
        return self._path(self._config.text("appendfilename") + ".manifest")

    def _remove_stale_files(self) -> None:
        """Temp files of rewrites that did not finish."""
        for name in os.listdir(self._folder()):
            if _TEMP_BASE.fullmatch(name) or name == f"temp-{self._config.text('appendfilename')}.manifest":
                os.unlink(self._path(name))
                self._log.notice(f"Removed {name}, left by a rewrite that did not finish")

    # ---- loading

    def _load(self) -> Loading[None]:
        manifest = self._adopt_single_file(aof_manifest.read(self._manifest_path()))
        if manifest is None:
            self._manifest = self._numbers_in_use()
            yield from self._load_rdb_instead()
            return
        self._manifest = manifest
        yield from self._load_parts(manifest)
        self._remove_history()  # a crash came between the new manifest and their removal

    def _load_parts(self, manifest: Manifest) -> Loading[None]:
        began = time.monotonic()
        parts = manifest.files()
        paths = [self._path(part.name) for part in parts]
        for path in paths:
            if not os.path.exists(path):
                raise DataError(f"The append only file {path} is missing; restore it, or the folder from a backup")
        self._engine.set_persist("load_total_bytes", sum(os.path.getsize(path) for path in paths))
        filled = [path for path in paths if os.path.getsize(path)]
        for part, path in zip(parts, paths, strict=True):
            # Files behind one that may be torn have nothing yet. A base was whole before it got its name, but for the
            # single file of an older server, which stands alone.
            is_last = path in filled[-1:] and (part.type != BASE or len(parts) == 1)
            yield from self._load_part(part, path, is_last=is_last)
        changes_saved(self._engine, changes(self._engine))
        self._log.notice(f"DB loaded from append only file: {time.monotonic() - began:.3f} seconds")

    def reload(self) -> None:
        """DEBUG LOADAOF: the keyspace as the files have it. Raises DataError, before anything is dropped if it can."""
        if self._file.in_transaction or self._starting:
            raise DataError("the append only file is not whole at this moment")
        if not self._file.flush():
            raise DataError("the append only file cannot be written")
        manifest = self._manifest if self._on else aof_manifest.read(self._manifest_path())
        if manifest is None:
            raise DataError(f"there is no append only file in {self._folder()}")
        self._file.mute(True)
        try:
            self._engine.drop_all()
            at_once(self._load_parts(manifest))
        finally:
            self._file.mute(not self._file.is_open)

    def _adopt_single_file(self, manifest: Manifest | None) -> Manifest | None:
        """An AOF of one file, from before Redis 7, becomes the base of a manifest. May be interrupted."""
        name = self._config.text("appendfilename")
        old = os.path.join(self._config.text("dir"), name)
        begun = manifest is not None and manifest.base == Part(name, 1, BASE) and not os.path.exists(self._path(name))
        if not os.path.isfile(old) or not (begun or manifest is None):
            return manifest
        self._log.notice(f"Taking over the append only file {old} into {self._folder()}")
        if manifest is None:
            with open(old, "rb") as file:
                os.fsync(file.fileno())  # it is about to be followed by another, and must not lose its end then
            manifest = Manifest(base=Part(name, 1, BASE), base_seq=1)
            aof_manifest.write(self._manifest_path(), manifest)
        os.rename(old, self._path(name))
        aof_manifest.sync_folder(self._folder())
        aof_manifest.sync_folder(self._config.text("dir"))
        return manifest

    def _numbers_in_use(self) -> Manifest:
        """Without a manifest: files that are there may be all that is left of somebody's data and are not touched."""
        name = re.escape(self._config.text("appendfilename"))
        pattern = re.compile(name + r"\.(\d+)\.(base\.(?:rdb|aof)|incr\.aof)")
        found = [match for match in map(pattern.fullmatch, os.listdir(self._folder())) if match]
        if found:
            self._log.warning(
                f"{self._folder()} holds {len(found)} append only files but no manifest; they are not loaded, and kept"
            )
        return Manifest(
            base_seq=max((int(match[1]) for match in found if match[2].startswith("base")), default=0),
            incremental_seq=max((int(match[1]) for match in found if match[2].startswith("incr")), default=0),
        )

    def _load_rdb_instead(self) -> Loading[None]:
        path = self._rdb.path()
        if os.path.exists(path):
            self._log.notice("There is no append only file; the data of the RDB file becomes its base")
            self._engine.set_persist("load_total_bytes", os.path.getsize(path))
            yield from self._rdb.load(path)

    def _load_part(self, part: Part, path: str, *, is_last: bool) -> Loading[None]:
        with open(path, "rb") as file:
            head = file.read(6)
        begin = 0
        if head.startswith(b"REDIS") or head == b"VALKEY":
            begin = (yield from self._rdb.load(path, skip_expired=False)).end_offset
            if begin >= os.path.getsize(path):
                return
        loader = AofLoader(self._engine, path, begin)
        try:
            while loader.step(LOAD_SLICE_US):
                yield
        finally:
            loader.close()
        if loader.torn:
            self._cut(path, loader, is_last=is_last)
        self._log.notice(f"Loaded {part.name}: {loader.commands} commands")

    def _cut(self, path: str, loader: AofLoader, *, is_last: bool) -> None:
        lost = loader.total_bytes - loader.valid_bytes
        if not is_last:
            raise DataError(
                f"The append only file {path} ends in the middle of a command at byte {loader.valid_bytes}, but it is "
                "not the last one: restore it, or the folder from a backup"
            )
        if not self._config.flag("aof-load-truncated"):
            raise DataError(
                f"Unexpected end of file reading the append only file {path}. Make a backup, then either cut it at "
                f"byte {loader.valid_bytes} or set aof-load-truncated to yes and start again"
            )
        with open(path, "r+b") as file:
            file.truncate(loader.valid_bytes)
            os.fsync(file.fileno())
        end = "in zeros" if loader.zeros else "in the middle of a command"
        self._log.warning(
            f"The append only file {path} ended {end}: {lost} bytes were cut off, it is now "
            f"{loader.valid_bytes} bytes long"
        )

    def _open_after_load(self) -> None:
        """Goes on in the last incremental file, or makes base and file when there was no AOF."""
        manifest = self._manifest
        if not manifest.files():
            manifest = self._write_first_base()
        if manifest.incremental:
            fd = self._open_incremental(manifest.incremental[-1])
        else:
            manifest = manifest.with_incremental(self._config.text("appendfilename"))
            fd = self._open_incremental(manifest.incremental[-1], new=True)
        if manifest is not self._manifest:
            self._save_manifest(manifest)
        self._old_size = sum(self._size(part) for part in manifest.incremental[:-1])
        self._base_size = self._size(manifest.base) if manifest.base else 0
        self._size_after_rewrite = self._base_size
        self._file.open(fd, os.fstat(fd).st_size)
        self._home = self._folder()

    def _write_first_base(self) -> Manifest:
        """With the engine held up."""
        name, seq = self._config.text("appendfilename"), self._manifest.incremental_seq + 1
        manifest = self._manifest.with_base(name, seq, self._base_suffix())
        assert manifest.base is not None
        snapshot = self._snapshot(final=self._path(manifest.base.name))
        snapshot.start()
        result = snapshot.finish()
        if not result.ok:
            raise StartupError(f"Can't write the base of the append only file in {self._folder()}: {result.error}")
        return manifest

    def _open_incremental(self, part: Part, *, new: bool = False) -> int:
        """A new one may be there already, from an attempt that got no further than that."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | (os.O_TRUNC if new else 0)
        return os.open(self._path(part.name), flags, 0o644)

    def _save_manifest(self, manifest: Manifest) -> None:
        aof_manifest.write(self._manifest_path(), manifest)
        self._manifest = manifest

    def _size(self, part: Part) -> int:
        try:
            return os.path.getsize(self._path(part.name))
        except FileNotFoundError:
            return 0

    # ---- rewriting

    def _has_grown(self) -> bool:
        percentage = self._config.number("auto-aof-rewrite-percentage")
        size = self._current_size()
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

    def _snapshot(self, *, final: str = "", on_done: Callable[[SnapshotResult], None] | None = None) -> Snapshot:
        config = self._config
        self._suffix = self._base_suffix()
        return Snapshot(
            self._engine,
            temp_path=self._path(f"temp-rewriteaof-bg-{os.getpid()}.aof"),
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
            self._claim()
            if not self._on and not self._file.is_open:
                self._manifest = self._manifest_while_off()
            manifest, snapshot = self._manifest, self._snapshot(on_done=self._done)
            if self._config.flag("appendonly"):
                manifest = manifest.with_incremental(self._config.text("appendfilename"))
                fd = self._open_incremental(manifest.incremental[-1], new=True)
                if self._on:
                    aof_manifest.write(self._manifest_path(), manifest)
                old_size = self._file.size if self._file.is_open else 0
                if not self._file.switch(fd):
                    raise OSError("the current file cannot be written")
                self._old_size += old_size
                self._rewrite_seq = manifest.incremental_seq
                self._home = self._folder()
            else:
                self._rewrite_seq = manifest.incremental_seq + 1
            fd = -1
            self._manifest = manifest
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
        os.makedirs(self._folder(), exist_ok=True)
        self._remove_stale_files()
        return aof_manifest.read(self._manifest_path()) or self._numbers_in_use()

    def _done(self, result: SnapshotResult) -> None:
        self._rewrite = None
        self._last_seconds = int(result.seconds)
        temp = self._path(f"temp-rewriteaof-bg-{os.getpid()}.aof")
        try:
            if not result.ok:
                raise OSError(result.error)
            self._install(temp, result)
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

    def _install(self, temp: str, result: SnapshotResult) -> None:
        """The snapshot becomes the base; what it replaces goes."""
        manifest = self._manifest.with_base(self._config.text("appendfilename"), self._rewrite_seq, self._suffix)
        assert manifest.base is not None
        os.rename(temp, self._path(manifest.base.name))
        aof_manifest.sync_folder(self._folder())
        self._save_manifest(manifest)
        self._base_size = result.bytes
        self._old_size = 0
        self._size_after_rewrite = self._current_size()
        if self._file.is_open:
            self._on = True
            self._starting = False
            self._file.announce(True)
        self._file.heal()
        self._remove_history()

    def _remove_history(self) -> None:
        """Files that do not count any more. Where that fails they cost space until the next rewrite or start."""
        manifest = self._manifest
        if not manifest.history:
            return
        for part in manifest.history:
            self._file.unlink(self._path(part.name))
        try:
            self._save_manifest(manifest.without_history())
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
                self._give_up_rewrite()
                self._log.notice("The append only file is off")
            self._file.close()
            self._on = False
            self._scheduled = False

    def _move(self) -> None:
        """`dir` changed. The whole AOF is in the new folder before this returns; the old one keeps what there was.

        The engine is held up meanwhile, as by SAVE: otherwise a crash would find half of the data in either folder.
        A folder that holds an AOF is refused, but for the one that the last move left, as it was left: so the way back
        is open, also for CONFIG SET when another of its parameters is refused.
        """
        if not self._file.is_open:
            self._give_up_rewrite()  # a base alone; it begins again in the new folder
            return
        if self._file.in_transaction:
            raise ConfigError("the append only file cannot move to another folder inside a transaction")
        self._give_up_rewrite()
        if snapshot_running(self._engine):
            raise ConfigError("a snapshot is being written; try again when it is done")
        before = self._manifest
        try:
            found = aof_manifest.read(self._manifest_path())
            if found is not None and self._left != self._footprint(found):
                raise ConfigError(f"{self._folder()} holds an append only file already")
            os.makedirs(self._folder(), exist_ok=True)
            self._manifest = found or self._numbers_in_use()
            manifest = self._write_first_base().with_incremental(self._config.text("appendfilename"))
            fd = self._open_incremental(manifest.incremental[-1], new=True)
            self._save_manifest(manifest)
        except (OSError, DataError, StartupError) as error:
            self._manifest = before
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
        self._base_size = self._size_after_rewrite = self._size(manifest.files()[0])
        self._left, self._home = left, self._folder()
        self._remove_history()
        self._log.notice(f"The append only file goes on in {self._folder()}")

    def _footprint(self, manifest: Manifest) -> tuple[str, str, int]:
        """Tells whether somebody has used an AOF that was left."""
        size = self._size(manifest.incremental[-1]) if manifest.incremental else 0
        return self._folder(), manifest.text(), size

    def _bgrewriteaof(self, client: Client, argv: list[bytes]) -> Reply:
        if self._rewrite is not None:
            raise CommandError("ERR Background append only file rewriting already in progress")
        if snapshot_running(self._engine) or client.flags & _EXECUTING or self._starting:
            self._scheduled = True
            self._failures = 0
            self._retry_at = 0.0
            return Simple("Background append only file rewriting scheduled")
        if not self._begin_rewrite():
            raise CommandError(
                "ERR Can't execute an AOF background rewriting. Please check the server logs for more information."
            )
        return Simple("Background append only file rewriting started")

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
