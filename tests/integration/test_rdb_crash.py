"""A process killed at any write, fsync or rename of a snapshot leaves a file that loads: the old one or the new one.

The calls of one good save are counted first; then saves are killed before and after each open, fsync and rename and
before and after some of the writes (first, last, and others drawn by the seed): as a process that dies, and as a power
cut that takes what was not fsynced. Disk errors are failing calls of each kind.
"""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from cachefleet_server.engine import Engine
from cachefleet_server.persistence.rdb_load import RdbLoader
from fleettest import figures
from fleettest.client import Connection, Error
from fleettest.faults import Event, Faults
from fleettest.instance import Instance
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.slow("a server is started and killed for each call")]

KEYS = 6000
# Plain strings make more writes. One hash seed, because the order of the keys decides where a chunk of the file ends,
# and with that how many writes there are: the counted run and the killed ones must make the same calls.
OPTIONS = {"rdbcompression": "no", "enable-debug-command": "yes", "hash-seed": "fixed"}


def value(generation: str, i: int) -> bytes:
    return f"{generation}:{i}:".encode() * 80


def fill(connection: Connection, generation: str) -> None:
    """About five megabytes; every value says of which generation it is."""
    assert set(connection.pipeline([["SET", f"key:{i}", value(generation, i)] for i in range(KEYS)])) == {"OK"}


def generation(connection: Connection) -> str:
    """The generation that is in memory, all of it; "none" for no keys."""
    values = connection.pipeline([["GET", f"key:{i}"] for i in range(KEYS)])
    if set(values) == {None}:
        return "none"
    name = str(values[0].split(b":")[0].decode())
    assert values == [value(name, i) for i in range(KEYS)]
    return name


class Disk:
    """A folder with the old generation saved in it, and the calls that saving makes there."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "data"
        self.faults = Faults(self.folder, tmp_path)
        with self.start() as server, server.connect() as connection:
            fill(connection, "old")
            self.faults.forget()
            assert connection.call("SAVE") == "OK"
            # Without those of the log and of the folder's lock.
            self.events = [e for e in self.faults.events() if e.file[0] not in "s."]
        self.old = (self.folder / "dump.rdb").read_bytes()

    def start(self) -> Instance:
        """A server on the folder, with no faults yet."""
        self.faults.clear()
        return Instance(directory=self.folder, options=OPTIONS, env=self.faults.env)

    def reset(self) -> None:
        """Without what a killed server left: to remove it would be one more call of the next save."""
        for path in self.folder.glob("temp-*"):
            path.unlink()
        (self.folder / "dump.rdb").write_bytes(self.old)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_what_a_save_does(disk: Disk) -> None:
    """Temp file, writes, fsyncs on the way and at the end, rename, fsync of the folder: in this order."""
    calls = [event.call for event in disk.events]
    assert calls[0] == "open"
    assert calls[-3:] == ["fsync", "rename", "fsync"]
    assert calls.count("fsync") >= 3
    assert calls.count("write") >= 10
    assert disk.events[-1] == Event("fsync", "data", 0)
    assert disk.events[-2].file == "dump.rdb"
    assert disk.events[0].file.startswith("temp-")


def kill_points(events: list[Event], rng: random.Random, writes: int) -> list[int]:
    """Numbers of the calls to stop at."""
    numbers = {kind: [n for n, e in enumerate(events, 1) if (e.call == "write") == kind] for kind in (True, False)}
    some = [numbers[True][0], numbers[True][-1], *rng.sample(numbers[True][1:-1], writes)]
    return sorted({*numbers[False], *some})


def generation_of(file: Path) -> str:
    """Loads the file as a server that starts would."""
    engine = Engine()
    loader = RdbLoader(engine, str(file))
    while loader.step(1_000_000):
        pass
    loader.close()
    name = str(engine.execute(b"GET", b"key:0").split(b":")[0].decode())
    for i in range(KEYS):
        assert engine.execute(b"GET", b"key:%d" % i) == value(name, i)
    engine.close()
    return name


@pytest.mark.parametrize("writes", [2, pytest.param(20, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("action", ["kill", "cut"])
@pytest.mark.parametrize("command", ["SAVE", "BGSAVE"])
def test_killed_at_each_call(disk: Disk, rng: random.Random, action: str, command: str, writes: int) -> None:
    outcomes = []
    for nth in kill_points(disk.events, rng, writes):
        for when in ("before", "after"):
            disk.reset()
            with disk.start() as server:
                with server.connect() as connection:
                    fill(connection, "new")
                    disk.faults.set(f"{action}-{when} any {nth} @[!s.]*")
                    with contextlib.suppress(EOFError, OSError):
                        connection.call(command)
                server.wait_exit()
            outcomes.append(generation_of(disk.folder / "dump.rdb"))
            figures.count()
    renamed = outcomes.index("new")
    assert set(outcomes[:renamed]) == {"old"}
    assert set(outcomes[renamed:]) == {"new"}
    assert renamed == len(outcomes) - 3  # after the rename, and before and after the fsync of the folder


def test_starts_after_a_kill(disk: Disk) -> None:
    """The server itself starts on what a kill left, and removes the temp file."""
    with disk.start() as server:
        with server.connect() as connection:
            fill(connection, "new")
            disk.faults.set("kill-before rename 1")
            with contextlib.suppress(EOFError, OSError):
                connection.call("SAVE")
        server.wait_exit()
        assert any(p.name.startswith("temp-") for p in disk.folder.iterdir())
        disk.faults.clear()
        server.options["save"] = "900 1000000"  # without any it goes with the first save
        server.start()
        with server.connect() as connection:
            assert generation(connection) == "old"
        assert not any(p.name.startswith("temp-") for p in disk.folder.iterdir())


@pytest.mark.parametrize("code", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename"])
def test_failing_disk(disk: Disk, call: str, code: str) -> None:
    """Status err, MISCONF with save points, the old file untouched and no temp file; all well after the next save."""
    with disk.start() as server, server.connect() as connection:
        assert connection.call("CONFIG", "SET", "save", "900 1000000") == "OK"
        disk.faults.set(f"fail {call} 2- {code} @[!s.]*" if call in ("write", "fsync") else f"fail {call} 1- {code}")
        assert connection.call("SAVE") == Error("ERR")
        assert connection.call("BGSAVE") == "Background saving started"
        assert_eventually(lambda: server.info("persistence")["rdb_bgsave_in_progress"] == "0")
        assert server.info("persistence")["rdb_last_bgsave_status"] == "err"
        assert (disk.folder / "dump.rdb").read_bytes() == disk.old
        assert not [p.name for p in disk.folder.iterdir() if p.name.startswith("temp-")]
        reply = connection.call("SET", "k", "v")
        assert isinstance(reply, Error)
        assert reply.startswith("MISCONF ")
        assert connection.call("GET", "key:1") == value("old", 1)
        disk.faults.clear()
        assert connection.call("BGSAVE") == "Background saving started"
        assert_eventually(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "ok")
        assert connection.call("SET", "k", "v") == "OK"


def test_recovers_by_itself(disk: Disk) -> None:
    """Save points go on trying after a failure."""
    with disk.start() as server, server.connect() as connection:
        disk.faults.set("fail write 1- ENOSPC @temp*")
        assert connection.call("CONFIG", "SET", "save", "1 1") == "OK"
        assert connection.call("SET", "k", "v") == "OK"
        assert_eventually(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "err", deadline_s=30)
        disk.faults.clear()
        assert_eventually(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "ok", deadline_s=30)
        assert connection.call("SET", "k", "w") == "OK"
        assert (disk.folder / "dump.rdb").read_bytes() != disk.old


def test_short_writes_and_interruptions(disk: Disk) -> None:
    with disk.start() as server, server.connect() as connection:
        fill(connection, "new")
        disk.faults.set("short write 1- 1000 @temp*")
        assert connection.call("SAVE") == "OK"
        server.kill()
        disk.faults.clear()
        server.start()
    with disk.start() as server, server.connect() as connection:
        assert generation(connection) == "new"


def test_slow_disk_holds_up_nobody(disk: Disk) -> None:
    """With an fsync that takes long, commands go on and the save ends in the end."""
    with disk.start() as server, server.connect() as connection:
        disk.faults.set("hold fsync 1- @temp*")
        assert connection.call("BGSAVE") == "Background saving started"
        for i in range(200):
            assert connection.call("SET", f"key:{i}", "x") == "OK"
        assert server.info("persistence")["rdb_bgsave_in_progress"] == "1"
        disk.faults.clear()
        assert_eventually(lambda: server.info("persistence")["rdb_bgsave_in_progress"] == "0", deadline_s=30)
        assert server.info("persistence")["rdb_last_bgsave_status"] == "ok"
        server.restart(kill=True)
        with server.connect() as again:
            assert generation(again) == "old"  # the point in time was before the writes
