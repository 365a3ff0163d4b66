"""The lock of the data folder: other servers, other users, file systems without locks."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachefleet_server.errors import StartupError
from cachefleet_server.log import Log
from cachefleet_server.persistence.folder import LOCK_NAME, FolderLock, NotWritable

pytestmark = pytest.mark.unit


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log()
    log.open(str(tmp_path / "log"))
    yield log
    log.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def another_users(monkeypatch: pytest.MonkeyPatch, *, readable: bool) -> None:
    """The lock file can be opened for reading at most."""
    real = os.open

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if str(path).endswith(LOCK_NAME) and (flags & os.O_RDWR or not readable):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)


def test_one_server_a_folder(folder: Path, log: Log) -> None:
    first, second = FolderLock(log), FolderLock(log)
    first.take(str(folder))
    first.take(str(folder))
    with pytest.raises(StartupError, match=rf"in use by another server \(pid {os.getpid()}\)"):
        second.take(str(folder))
    assert not second.held
    first.release()
    assert (folder / LOCK_NAME).read_text() == ""
    second.take(str(folder))
    second.release()


def test_a_lock_file_that_another_user_left_is_locked_all_the_same(
    folder: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / LOCK_NAME).write_text("")
    another_users(monkeypatch, readable=True)
    first, second = FolderLock(log), FolderLock(log)
    first.take(str(folder))
    with pytest.raises(StartupError, match="in use by another server"):
        second.take(str(folder))
    first.release()
    second.take(str(folder))
    second.release()


def test_the_lock_file_can_be_opened_by_others_whatever_the_umask(folder: Path, log: Log) -> None:
    lock, before = FolderLock(log), os.umask(0o077)
    try:
        lock.take(str(folder))
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / LOCK_NAME).stat().st_mode) == 0o644
    lock.release()


def test_a_lock_file_that_cannot_be_opened_at_all_is_named(
    folder: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / LOCK_NAME).write_text("")
    another_users(monkeypatch, readable=False)
    with pytest.raises(StartupError, match=f"Can't open the lock file {folder / LOCK_NAME}: Permission denied"):
        FolderLock(log).take(str(folder))


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF])
def test_where_there_are_no_locks_a_server_works_without(
    folder: Path, log: Log, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = FolderLock(log)
    for _ in range(2):
        lock.take(str(folder))
    text = Path(log.path).read_text()
    assert text.count(f"The data folder {folder} cannot be locked: {os.strerror(error)}") == 1
    assert (folder / LOCK_NAME).read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_folder_that_takes_no_files(log: Log) -> None:
    with pytest.raises(NotWritable, match=r"^Can't write to the data folder /proc/sys: .*\. Set `dir` to"):
        FolderLock(log).take("/proc/sys")
