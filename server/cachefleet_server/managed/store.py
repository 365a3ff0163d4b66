"""What a managed server keeps beside its data: one small file, replaced as a whole and on the disk before anything that
depends on it is said.

A file that is not there, or makes no sense, is none: then nothing can be proved about the data, and the disk gets a new
id (S9).
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Final

from cachefleet_server.files import read_regular, sync_folder, write_all
from cachefleet_server.managed.state import Prepared, Quorum, Start, Stored

NAME: Final = "managed.json"
VERSION: Final = 1
BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"


def load(folder: str) -> Stored | None:
    try:
        said = json.loads(read_regular(os.path.join(folder, NAME)))
        return _stored(said) if said["version"] == VERSION else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(folder: str, stored: Stored) -> None:
    """Raises OSError; the file is as before then, or as it is to be."""
    path = os.path.join(folder, NAME)
    temp = f"{path}.new"
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        write_all(fd, json.dumps(_said(stored), indent=1).encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temp, path)
    sync_folder(folder)


def forget(folder: str) -> None:
    """Who starts there finds a copy of the data, and that is another disk."""
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(folder, NAME))


def boot_id() -> str:
    with contextlib.suppress(OSError), open(BOOT_ID, encoding="ascii") as file:
        return file.read().strip()
    return ""


def _said(stored: Stored) -> dict[str, Any]:
    prepared = stored.prepared
    return {
        "version": VERSION,
        "disk": stored.disk,
        "claim": stored.claim,
        "boot": stored.boot,
        "data_set": stored.data_set,
        "promise": stored.promise,
        "starts": [list(start) for start in stored.starts],
        "solo_epoch": stored.solo_epoch,
        "prepared": [prepared.epoch, sorted(prepared.quorum.members), prepared.quorum.acks] if prepared else None,
        "offset": stored.offset,
        "kept": stored.kept,
        "synced": stored.synced,
    }


def _stored(said: dict[str, Any]) -> Stored:
    prepared = None
    if said["prepared"] is not None:
        epoch, members, acks = said["prepared"]
        prepared = Prepared(int(epoch), Quorum(frozenset(str(disk) for disk in members), int(acks)))
    return Stored(
        disk=str(said["disk"]),
        claim=str(said["claim"]),
        boot=str(said["boot"]),
        data_set=str(said["data_set"]),
        promise=int(said["promise"]),
        starts=tuple(Start(int(tenure), int(offset)) for tenure, offset in said["starts"]),
        solo_epoch=int(said["solo_epoch"]),
        prepared=prepared,
        offset=int(said["offset"]),
        kept=said["kept"] is True,
        synced=said["synced"] is True,
    )
