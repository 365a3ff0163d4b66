"""The data folder belongs to one server: a lock file that the kernel releases with the process, however it ends.

The file may be anybody's, root's of an earlier start too: to be locked it need not be written. The pid in it is for
humans. Where the file system has no locks, a server works without, and says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from cachefleet_server.errors import StartupError
from cachefleet_server.files import is_odd, open_regular
from cachefleet_server.log import Log

LOCK_NAME = ".cachefleet.lock"


class NotWritable(StartupError):
    """The folder takes no files: what it holds can be loaded, and nothing saved."""


class FolderLock:
    """Held from `take` to `release`, on one folder at a time."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._fd = -1

    @property
    def held(self) -> bool:
        return self._fd >= 0

    def take(self, folder: str) -> None:
        """Raises StartupError when another server holds the folder, or it cannot be written: what was held stays."""
        path = os.path.join(folder, LOCK_NAME)
        if self.held and os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(self._fd)):
            return
        fd = _open(path, folder)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise StartupError(
                f"The data folder {folder} is in use by another server (pid {owner}); "
                "give each server a `dir` of its own"
            ) from None
        except OSError as error:
            self._log.warning(
                f"The data folder {folder} cannot be locked: {error.strerror}. Nothing keeps a second server from "
                "using it too, which would lose data"
            )
        with contextlib.suppress(OSError):  # another user's file, or a full disk: neither stops the start
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
        self.release()
        self._fd = fd

    def release(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)  # the next owner may not be able to write his pid over ours
            os.close(self._fd)
            self._fd = -1


def _open(path: str, folder: str) -> int:
    try:
        fd = open_regular(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        if is_odd(error):
            raise StartupError(f"Can't open the lock file {path}: {error.strerror}") from None
        return _open_anothers(path, folder, error)
    with contextlib.suppress(OSError):
        os.fchmod(fd, 0o644)  # whatever the umask: another user must be able to open it
    return fd


def _open_anothers(path: str, folder: str, error: OSError) -> int:
    """The file that could not be made or written for the reason of `error`."""
    try:
        return open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        raise NotWritable(
            f"Can't write to the data folder {folder}: {error.strerror}. Set `dir` to a folder that the server's user "
            'may write to, or switch persistence off: save "", appendonly no'
        ) from None
    except OSError as again:
        raise StartupError(
            f"Can't open the lock file {path}: {again.strerror}. It is another user's: remove it, if no server of "
            "theirs works on this folder"
        ) from None
