"""The file of the AOF when its disk takes nothing: what is pending stays, and is said."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachefleet_server.engine import Engine
from cachefleet_server.persistence.aof_log import AofLog
from fleettest.aoffile import commands
from fleettest.client import encode

pytestmark = pytest.mark.unit


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


def full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def test_a_write_that_fails_is_kept_for_the_next_try(engine: Engine, tmp_path: Path) -> None:
    log = AofLog(engine)
    log.open(full(), 0)
    engine.execute(b"SET", b"k", b"v")
    engine.tick()
    assert engine.stats()["aof_write_failed"]
    pending = log.pending
    assert pending > 0
    assert not log.flush()
    assert log.pending == pending
    following = os.open(tmp_path / "next", os.O_WRONLY | os.O_CREAT)
    assert not log.switch(following), "the old file does not have it"
    os.close(following)
    assert not log.close(), "something was lost"
    log.stop()


def test_after_a_failure_it_goes_on_where_it_was(engine: Engine, tmp_path: Path) -> None:
    log = AofLog(engine)
    log.open(full(), 0)
    engine.execute(b"SET", b"before", b"v")
    engine.tick()
    assert engine.stats()["aof_write_failed"]
    log.close()
    path = tmp_path / "file"
    log.open(os.open(path, os.O_WRONLY | os.O_CREAT), 0)
    assert not engine.stats()["aof_write_failed"]
    engine.execute(b"SET", b"after", b"v")
    assert log.flush(sync=True)
    assert log.pending == 0
    assert commands(path.read_bytes()) == [[b"SELECT", b"0"], [b"SET", b"after", b"v"]]
    assert log.close()
    log.stop()


@pytest.mark.parametrize(
    ("enabled", "reply"),
    [
        (True, b"*2\r\n:1\r\n:0\r\n"),
        (False, b"-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n"),
    ],
)
def test_who_waits_for_its_first_base_is_answered_as_soon_as_it_is_known_what_becomes_of_it(
    engine: Engine, enabled: bool, reply: bytes
) -> None:
    log = AofLog(engine)
    log.announce(False, starting=True)
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(10)
        theirs.setblocking(False)
        engine.add_client(theirs.detach(), unix=True)
        ours.sendall(encode("WAITAOF", 1, 0, 0))
        while engine.stats()["blocked_clients"] != 1:
            engine.tick()
        log.announce(enabled)
        engine.tick()
        assert ours.recv(1000) == reply
    log.stop()


def test_what_was_written_is_on_disk_as_soon_as_the_policy_is_always(engine: Engine, tmp_path: Path) -> None:
    log = AofLog(engine)
    log.open(os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT), 0)
    log.announce(True)
    log.set_policy("no")
    engine.execute(b"SET", b"k", b"v")
    engine.tick()
    assert engine.execute(b"WAITAOF", b"1", b"0", b"1") == [0, 0]
    log.set_policy("always")
    assert engine.execute(b"WAITAOF", b"1", b"0", b"1") == [1, 0]
    log.close()
    log.stop()


def test_after_an_fsync_that_failed_only_another_file_makes_the_data_safe(engine: Engine, tmp_path: Path) -> None:
    """Another try of the same may succeed without the data being there."""
    log = AofLog(engine)
    path = tmp_path / "file"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    log.open(fd, 0)
    engine.execute(b"SET", b"k", b"v")
    reading, writing = os.pipe()
    os.dup2(writing, fd)  # whose fsync fails
    assert not log.flush(sync=True)
    os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), fd)
    log.heal()
    failed = [log.sync_failed]
    assert log.switch(os.open(tmp_path / "next", os.O_WRONLY | os.O_CREAT))
    log.heal()
    assert [*failed, log.sync_failed] == [True, False], "a base alone does not help a file that may have lost something"
    for pipe in (reading, writing):
        os.close(pipe)
    log.close()
    log.stop()


def test_an_idle_file_is_not_synced_again_and_again(engine: Engine, tmp_path: Path) -> None:
    log = AofLog(engine)
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    log.open(fd, 0)
    log.set_policy("always")
    engine.execute(b"SET", b"k", b"v")
    assert log.flush(sync=True)
    reading, writing = os.pipe()
    os.dup2(writing, fd)  # whose fsync fails
    log.cron()
    assert not engine.stats()["aof_write_failed"]
    assert log.flush()
    assert not log.flush(sync=True), "it would have shown"
    for pipe in (reading, writing):
        os.close(pipe)
    log.close()
    log.stop()
