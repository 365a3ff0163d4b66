"""Which files make up an AOF, however it was named: a server's folder, its `appendonlydir`, a manifest, or one file.

A file that begins with a snapshot (an RDB preamble, or a base as a whole) is walked as one first; commands follow.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cachefleet_server.errors import DataError
from cachefleet_server.files import open_regular
from cachefleet_server.persistence import aof_manifest
from cachefleet_server.persistence.aof_manifest import Manifest
from cachefleet_server.persistence.folder import LOCK_NAME
from cachefleet_server.persistence.rdb_load import OWN_MAGIC
from cachefleet_server.tools.outcome import Exit, Failure

SUFFIX: Final = ".manifest"


@dataclass(frozen=True, slots=True)
class Parts:
    """The files in the order in which a server loads them."""

    paths: tuple[str, ...]
    manifest_path: str = ""  # "": one file by itself
    manifest: Manifest = Manifest()  # noqa: RUF009

    def first(self, count: int) -> Manifest:
        """The manifest of the first files alone."""
        kept = {part.name for part in self.manifest.files()[:count]}
        incremental = tuple(part for part in self.manifest.incremental if part.name in kept)
        return Manifest(self.manifest.base, incremental, self.manifest.history)


def find(path: str) -> Parts:
    if not os.path.isdir(path):
        if path.endswith(SUFFIX):
            return _of_manifest(path)
        os.close(open_regular(path, os.O_RDONLY))
        return Parts((path,))
    found = _manifests(path) or [
        inner
        for name in sorted(os.listdir(path))
        if os.path.isdir(os.path.join(path, name))
        for inner in _manifests(os.path.join(path, name))
    ]
    if len(found) == 1:
        return _of_manifest(found[0])
    what = f"several manifests: {', '.join(found)}. Name one" if found else "no manifest of an append only file"
    raise Failure(Exit.FAILED, f"{path} has {what}")


def _manifests(folder: str) -> list[str]:
    names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX) and not name.startswith("temp-"))
    return [os.path.join(folder, name) for name in names]


def _of_manifest(path: str) -> Parts:
    manifest = aof_manifest.read(path)
    if manifest is None:
        raise FileNotFoundError(2, "No such file or directory", path)
    paths = tuple(os.path.join(os.path.dirname(path), part.name) for part in manifest.files())
    for part in paths:
        if not os.path.exists(part):
            raise DataError(f"{part} is missing, which {path} names: restore it, or the folder from a backup")
    return Parts(paths, path, manifest)


def begins_with_snapshot(path: str) -> bool:
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        head = file.read(6)
    return head.startswith(b"REDIS") or head in (b"VALKEY", OWN_MAGIC)


@contextlib.contextmanager
def claimed(parts: Parts) -> Iterator[None]:
    """No server of ours works on the files, nor begins to, while this lasts. Redis and Valkey have no such lock."""
    folder = os.path.dirname(parts.manifest_path or parts.paths[0])
    with contextlib.ExitStack() as stack:
        for place in (folder, os.path.join(folder, os.pardir)):
            try:
                fd = open_regular(os.path.join(place, LOCK_NAME), os.O_RDONLY)
            except FileNotFoundError:
                continue
            stack.callback(os.close, fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
                raise Failure(
                    Exit.FAILED, f"a server (pid {owner}) works on {os.path.normpath(place)}: stop it first"
                ) from None
        yield
