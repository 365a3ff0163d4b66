"""The data folder belongs to one server: a lock file that the kernel releases with the process, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os

from cachefleet_server.errors import StartupError

LOCK_NAME = ".cachefleet.lock"


class FolderLock:
    """Held from `take` to `release`, on one folder at a time."""

    def __init__(self) -> None:
        self._fd = -1

    @property
    def held(self) -> bool:
        return self._fd >= 0

    def take(self, folder: str) -> None:
        """Raises StartupError when another server holds the folder, or it cannot be written: what was held stays."""
        path = os.path.join(folder, LOCK_NAME)
        if self.held and os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(self._fd)):
            return
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StartupError(f"Can't create the lock file {path}: {error.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise StartupError(
                f"The data folder {folder} is in use by another server (pid {owner}); "
                "give each server a `dir` of its own"
            ) from None
        os.ftruncate(fd, 0)
        with contextlib.suppress(OSError):  # the pid is for humans: a full disk does not stop the start
            os.write(fd, f"{os.getpid()}\n".encode())
        self.release()
        self._fd = fd

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
