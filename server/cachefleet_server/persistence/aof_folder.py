"""The AOF's folder: paths, the manifest that counts, and what lies there besides.

    <dir>/<appenddirname>/<appendfilename>.manifest              which files count (aof_manifest.py)
                          <appendfilename>.<n>.base.rdb          a snapshot; .aof when it is one of commands
                          <appendfilename>.<n>.incr.aof          commands since (aof_log.pxd writes the last one)

`dir` may change, so paths are made anew from the configuration each time. A file that the manifest names exists: it is
made before the manifest is written. One that the manifest does not name means nothing and is written over, except where
there is no manifest at all: then numbers go on after those of the files that are there, so that nothing is lost by a
lost manifest.

Incremental files that a rewrite has replaced are kept for who reads changes (capture.py): one goes when those behind it
are `cdc-retention-bytes`, or when its last change is older than `cdc-retention-seconds`. So there are at least so many
bytes, if there ever were and KEPT_MAX files hold them, and at most one file more; they never cost more than that,
however slow a reader is.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import Final

from cachefleet_server.config.config import Config
from cachefleet_server.files import open_regular, sync_folder
from cachefleet_server.log import Log
from cachefleet_server.persistence import aof_manifest
from cachefleet_server.persistence.aof_manifest import BASE, Manifest, Part

KEPT_MAX: Final = 256  # replaced files
_TEMP_BASE: Final = re.compile(r"temp-rewriteaof-bg-(\d+)\.aof(\.aside)?")


class AofFolder:
    """Where one server's AOF lives. `manifest` is the last one that was read or saved, or is about to be."""

    def __init__(self, config: Config, log: Log) -> None:
        self._config = config
        self._log = log
        self.manifest = Manifest()

    @property
    def path(self) -> str:
        return os.path.join(self._config.text("dir"), self._config.text("appenddirname"))

    @property
    def filename(self) -> str:
        return self._config.text("appendfilename")

    def file(self, name: str) -> str:
        return os.path.join(self.path, name)

    def temp_base(self) -> str:
        """The base that is being written, until it has its name."""
        return self.file(f"temp-rewriteaof-bg-{os.getpid()}.aof")

    def size(self, part: Part) -> int:
        try:
            return os.path.getsize(self.file(part.name))
        except FileNotFoundError:
            return 0

    # ---- the manifest

    def _manifest_path(self) -> str:
        return self.file(self.filename + ".manifest")

    def read(self) -> Manifest | None:
        """None when there is none."""
        return aof_manifest.read(self._manifest_path())

    def write(self, manifest: Manifest) -> None:
        aof_manifest.write(self._manifest_path(), manifest)

    def save(self, manifest: Manifest) -> None:
        self.write(manifest)
        self.manifest = manifest

    def adopt(self) -> Manifest | None:
        """What a start finds. An AOF of one file, from before Redis 7, becomes the base of a manifest: this may be
        interrupted."""
        manifest, name = self.read(), self.filename
        old = os.path.join(self._config.text("dir"), name)
        begun = manifest is not None and manifest.base == Part(name, 1, BASE) and not os.path.exists(self.file(name))
        if not os.path.isfile(old) or not (begun or manifest is None):
            return manifest
        self._log.notice(f"Taking over the append only file {old} into {self.path}")
        if manifest is None:
            with open(old, "rb") as file:
                os.fsync(file.fileno())  # it is about to be followed by another, and must not lose its end then
            manifest = Manifest(base=Part(name, 1, BASE), base_seq=1)
            self.write(manifest)
        os.rename(old, self.file(name))
        sync_folder(self.path)
        sync_folder(self._config.text("dir"))
        return manifest

    def numbers_in_use(self) -> Manifest:
        """Without a manifest: files that are there may be all that is left of somebody's data and are not touched."""
        pattern = re.compile(re.escape(self.filename) + r"\.(\d+)\.(base\.(?:rdb|aof)|incr\.aof)")
        found = [match for match in map(pattern.fullmatch, os.listdir(self.path)) if match]
        if found:
            self._log.warning(
                f"{self.path} holds {len(found)} append only files but no manifest; they are not loaded, and kept"
            )
        return Manifest(
            base_seq=max((int(match[1]) for match in found if match[2].startswith("base")), default=0),
            incremental_seq=max((int(match[1]) for match in found if match[2].startswith("incr")), default=0),
        )

    def replaced(self) -> list[Part]:
        """Incremental files that hold changes and nothing that a start needs, oldest first."""
        return [part for part in self.manifest.history if part.is_incremental]

    def kept(self) -> tuple[Part, ...]:
        """Those of them that are to be kept."""
        most, seconds = self._config.number("cdc-retention-bytes"), self._config.number("cdc-retention-seconds")
        oldest_s = time.time() - seconds if seconds else 0.0
        behind = sum(self.size(part) for part in self.manifest.incremental) if most and self.manifest.history else 0
        kept: list[Part] = []
        for part in reversed(self.replaced()):
            try:
                found = os.stat(self.file(part.name))
            except OSError:  # somebody took it away
                break
            if behind >= most or found.st_mtime < oldest_s or len(kept) == KEPT_MAX:
                break
            kept.insert(0, part)
            behind += found.st_size
        return tuple(kept)

    def footprint(self, manifest: Manifest) -> tuple[str, str, int]:
        """Tells whether somebody has used an AOF that was left."""
        size = self.size(manifest.incremental[-1]) if manifest.incremental else 0
        return self.path, manifest.text(), size

    # ---- files

    def make(self) -> None:
        """The folder below `dir`, which must be there: a disk that was taken away is not replaced by another."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.path)
            sync_folder(self._config.text("dir"))

    def lost(self, fd: int, *, whole: bool) -> str:
        """The path of a file that counts and is gone, or "". `fd`: the current file; `whole`: the manifest counts."""
        current = self.file(self.manifest.incremental[-1].name)
        others = [self._manifest_path(), *(self.file(part.name) for part in self.manifest.files()[:-1])]
        try:
            if not os.path.samestat(os.stat(current), os.fstat(fd)):
                return current
        except (FileNotFoundError, NotADirectoryError):
            return current
        except OSError:  # who may not look cannot tell
            return ""
        return next((path for path in others if whole and not os.path.lexists(path)), "")

    def is_current(self, path: str) -> bool:
        return path == self.file(self.manifest.incremental[-1].name)

    def open_incremental(self, part: Part, *, new: bool = False) -> int:
        """A new one may be there already, from an attempt that got no further than that."""
        return open_regular(self.file(part.name), os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if new else 0))

    def install_base(self, part: Part) -> None:
        """The temp file, which is on disk, gets its name."""
        os.rename(self.temp_base(), self.file(part.name))
        sync_folder(self.path)

    def remove_stale_files(self) -> None:
        """Temp files of rewrites that did not finish."""
        for name in os.listdir(self.path):
            if _TEMP_BASE.fullmatch(name) or name == f"temp-{self.filename}.manifest":
                os.unlink(self.file(name))
                self._log.notice(f"Removed {name}, left by a rewrite that did not finish")
