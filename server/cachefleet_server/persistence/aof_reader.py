"""An AOF into the keyspace: which files, in which order, and what may be torn.

Only the end of the data may be torn: the last file, or one that is followed by files without a command. It is cut off,
and the log says how much, if `aof-load-truncated` allows it. Damage anywhere else stops the start and says what to do.

Where no AOF exists but an RDB file does, that file is loaded and becomes the base: switching `appendonly` on in the
configuration loses nothing (Redis and Valkey would start empty).
"""

from __future__ import annotations

import os
import re
import time
from typing import Final

from cachefleet_server.config.config import Config
from cachefleet_server.engine import Engine, Keyspace
from cachefleet_server.errors import DataError
from cachefleet_server.files import open_regular, read_regular
from cachefleet_server.log import Log
from cachefleet_server.persistence.aof_folder import AofFolder
from cachefleet_server.persistence.aof_load import AofLoader
from cachefleet_server.persistence.aof_manifest import BASE, Manifest, Part
from cachefleet_server.persistence.rdb import Loading, Rdb
from cachefleet_server.persistence.rdb_load import OWN_MAGIC
from cachefleet_server.persistence.snapshot import changes, changes_saved

LOAD_SLICE_US: Final = 4000


_HEADER_MAX: Final = 1024
_HEADER: Final = re.compile(rb"(?:#[^\n]*\n|\*2\r\n\$6\r\nSELECT\r\n\$\d+\r\n\d+\r\n)*")


def _is_bare(path: str) -> bool:
    """Nothing but what a new file begins with (aof_log.pxd)."""
    if os.path.getsize(path) > _HEADER_MAX:
        return False
    try:
        return _HEADER.fullmatch(read_regular(path)) is not None
    except OSError:  # said when it is its turn
        return False


class AofReader:
    """Loads what a folder holds, in slices. Raises DataError."""

    def __init__(self, engine: Engine, config: Config, log: Log, rdb: Rdb, folder: AofFolder) -> None:
        self._engine = engine
        self._config = config
        self._log = log
        self._rdb = rdb
        self._folder = folder
        self.torn = False
        self.position: tuple[bytes, int, int] | None = None  # of the journal, where the last load ended, if files say
        self.db = 0  # in which it is there

    def load_instead(self) -> Loading[None]:
        """The RDB file, where there is no AOF."""
        path = self._rdb.path()
        if os.path.exists(path):
            self._log.notice("There is no append only file; the data of the RDB file becomes its base")
            self._engine.set_persist("load_total_bytes", os.path.getsize(path))
            yield from self._rdb.load(path)

    def load(self, manifest: Manifest, into: Keyspace | None = None) -> Loading[None]:
        began = time.monotonic()
        self.position = None
        self.torn = False
        parts = manifest.files()
        paths = [self._folder.file(part.name) for part in parts]
        for path in paths:
            if not os.path.exists(path):
                raise DataError(f"The append only file {path} is missing; restore it, or the folder from a backup")
        self._engine.set_persist("load_total_bytes", sum(os.path.getsize(path) for path in paths))
        filled = [path for path in paths if not _is_bare(path)]
        for part, path in zip(parts, paths, strict=True):
            # Files behind one that may be torn have nothing yet. A base was whole before it got its name, but for the
            # single file of an older server, which stands alone.
            is_last = path in filled[-1:] and (part.type != BASE or len(parts) == 1)
            yield from self._load_part(part, path, into, is_last=is_last)
        changes_saved(self._engine, changes(self._engine))
        self._log.notice(f"DB loaded from append only file: {time.monotonic() - began:.3f} seconds")

    def _load_part(self, part: Part, path: str, into: Keyspace | None, *, is_last: bool) -> Loading[None]:
        try:
            with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
                head = file.read(6)
        except OSError as error:
            raise DataError(f"Can't read the append only file {path}: {error.strerror}") from None
        begin = 0
        if head.startswith(b"REDIS") or head in (b"VALKEY", OWN_MAGIC):
            begin = (yield from self._rdb.load(path, into=into, skip_expired=False)).end_offset
            if begin >= os.path.getsize(path):
                return
        loader = AofLoader(self._engine, path, begin, self.position, into)
        try:
            while loader.step(LOAD_SLICE_US):
                yield
            if not self.torn:  # what a later file says is about bytes that were lost
                self.position, self.db = loader.position, loader.db
            self.torn |= loader.torn
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
