"""Opening files that hold data: what is not a regular file may block for ever, or never end, and is refused.

A FIFO without a writer holds up whoever opens it, signals included; a socket, device or folder under the name of a data
file is a mistake that must be said in words.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Final

_KINDS: Final[tuple[tuple[Callable[[int], bool], str], ...]] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: str, flags: int, mode: int = 0o644) -> int:
    """os.open, at once whatever the path names; OSError with the path and a reason for all but regular files."""
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, mode)
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.EISDIR, errno.ENODEV):  # what writing to these says, and to no file
            raise
        raise _refusal(path, os.stat(path).st_mode) from None
    opened = os.fstat(fd)
    if not stat.S_ISREG(opened.st_mode):
        os.close(fd)
        raise _refusal(path, opened.st_mode)
    return fd


def write_all(fd: int, data: bytes) -> None:
    """os.write, until all is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_folder(path: str) -> None:
    fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def open_at_once(path: str, flags: int, mode: int = 0o644) -> int:
    """os.open for what may be a device or a FIFO to write to: a FIFO that nobody reads is refused, not waited for."""
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, mode)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise OSError(errno.ENXIO, "nobody reads this FIFO", path) from None
    os.set_blocking(fd, True)
    return fd


def is_odd(error: OSError) -> bool:
    """Whether open_regular refused what the path names, not the kernel."""
    return error.errno == errno.EINVAL


def read_regular(path: str) -> bytes:
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        return file.read()


def read_source(path: str) -> str:
    """A file with configuration. It may be a pipe with something in it: `cachefleet-server <(make-config)`."""
    try:
        data = read_regular(path)
    except OSError as error:
        if not is_odd(error) or not stat.S_ISFIFO(os.stat(path).st_mode):
            raise
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            os.set_blocking(file.fileno(), True)  # without a writer this ends at once all the same
            data = file.read()
        if not data:
            raise
    return data.decode("utf-8", "surrogateescape")


def _refusal(path: str, mode: int) -> OSError:
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
    return OSError(errno.EINVAL, f"it is {kind}, not a regular file", path)
