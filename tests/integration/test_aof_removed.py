"""Files of the AOF that are removed under a running server: noticed, refused like any fault of the disk, and healed."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from fleettest.client import Error
from fleettest.disk import Disk, wait_rewritten
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

GONE = Error("MISCONF Errors writing to the AOF file: No such file or directory")

def remove_folder(disk: Disk) -> None:
    """At once: the server may be about to make a file in it."""
    disk.files.path.rename(disk.folder / "removed")
    shutil.rmtree(disk.folder / "removed")


REMOVALS: dict[str, Callable[[Disk], object]] = {
    "folder": remove_folder,
    "folder moved": lambda disk: disk.files.path.rename(disk.folder / "elsewhere"),
    "incremental": lambda disk: disk.files.incremental.unlink(),
    "incremental replaced": lambda disk: shutil.copy(disk.files.incremental, disk.folder / "copy").rename(
        disk.files.incremental
    ),
    "base": lambda disk: disk.files.base.unlink(),
    "manifest": lambda disk: disk.files.manifest.unlink(),
}


@pytest.mark.parametrize("what", REMOVALS)
@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_noticed_and_healed(disk: Disk, what: str, policy: str) -> None:
    with disk.server(appendfsync=policy) as server:
        assert server.call("SET", "before", "1") == "OK"
        disk.faults.set("hold write 1- @temp-rewriteaof*")
        REMOVALS[what](disk)
        assert_eventually(lambda: server.call("SET", "probe", "1") == GONE)
        assert server.info("persistence")["aof_last_write_status"] == "err"
        assert server.call("GET", "before") == b"1", "reads go on"
        assert " is gone: writes are refused until the append only file is written anew" in server.log_text()
        disk.faults.clear()
        assert_eventually(lambda: server.call("SET", "after", "1") == "OK", deadline_s=20)
        assert server.info("persistence")["aof_last_write_status"] == "ok"
        assert server.call("WAITAOF", 1, 0, 10_000) == [1, 0]
        assert_eventually(disk.files.is_clean)
        server.kill()
    with disk.server() as server:
        assert server.call("MGET", "before", "after") == [b"1", b"1"]


def test_a_rewrite_by_hand_makes_the_folder_again(disk: Disk) -> None:
    with disk.server() as server, server.connect() as connection:
        connection.call("SET", "k", "v")
        remove_folder(disk)
        reply = connection.call("BGREWRITEAOF")  # cron may have been faster
        assert not isinstance(reply, Error) or "already in progress" in reply
        wait_rewritten(server)
        assert_eventually(lambda: connection.call("SET", "k", "w") == "OK")
        assert connection.call("WAITAOF", 1, 0, 10_000) == [1, 0]
        server.kill()
    with disk.server() as server:
        assert server.call("GET", "k") == b"w"


def test_removed_while_a_rewrite_runs(disk: Disk) -> None:
    with disk.server() as server:
        server.call("SET", "k", "v")
        disk.faults.set("hold write 1- @temp-rewriteaof*")
        server.call("BGREWRITEAOF")
        disk.faults.wait_for("write", "temp-rewriteaof*")
        remove_folder(disk)
        assert_eventually(lambda: server.call("SET", "probe", "1") == GONE)
        disk.faults.clear()
        assert_eventually(lambda: server.call("SET", "k", "w") == "OK", deadline_s=20)
        wait_rewritten(server)
        server.kill()
    with disk.server() as server:
        assert server.call("GET", "k") == b"w"


def test_an_exit_writes_it_anew(disk: Disk) -> None:
    with disk.server() as server:
        server.call("SET", "k", "v")
        remove_folder(disk)
        assert server.stop() == 0
    with disk.server() as server:
        assert server.call("GET", "k") == b"v"


def test_a_lost_folder_and_a_full_disk(disk: Disk) -> None:
    """What cannot be healed stays refused, and the start after it does not take an empty folder for the data."""
    with disk.server() as server:
        server.call("SET", "k", "v")
        disk.faults.set("fail write 1- ENOSPC @temp-rewriteaof*")
        remove_folder(disk)
        assert_eventually(lambda: int(server.info("persistence")["aof_rewrites_consecutive_failures"]) >= 2)
        assert server.call("SET", "probe", "1") == GONE
        server.kill()
    disk.faults.clear()
    server = disk.server()
    server.spawn()
    assert server.wait_exit() == 1
    assert "is missing; restore it, or the folder from a backup" in server.log_text()
