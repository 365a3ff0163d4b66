"""A process killed at any write, fsync or rename of a snapshot leaves a file that loads: the old one or the new one.

The calls of one good save are counted first; then saves are killed before and after each open, fsync and rename and
before and after some of the writes (first, last, and others drawn by the seed): as a process that dies, and as a power
cut that takes what was not fsynced. The gate takes one of before and after for most. Disk errors are failing calls of
each kind.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from pathlib import Path

import pytest

from cachefleet_server.engine import Engine
from cachefleet_server.persistence.rdb_load import RdbLoader
from fleettest import figures
from fleettest.client import Connection, Error
from fleettest.faults import Event, Faults
from fleettest.instance import Instance
from fleettest.seeder import Seeder, Target, digest, run
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.slow("a server is started and killed for each call")]

KEYS = 4000  # about six megabytes
# Plain strings make more writes. One hash seed, because the order of the keys decides where a chunk of the file ends,
# and with that how many writes there are: the counted run and the killed ones must make the same calls.
OPTIONS = {"rdbcompression": "no", "enable-debug-command": "yes", "hash-seed": "fixed"}


class Disk:
    """A folder with the old generation of data saved in it, and the calls that saving the new one makes there."""

    def __init__(self, tmp_path: Path, seed: int) -> None:
        self.folder = tmp_path / "data"
        self.faults = Faults(self.folder, tmp_path)
        self._steps = {name: Seeder(random.Random(f"{seed}:{name}"), keys=KEYS).fill() for name in ("old", "new")}
        self._digests: dict[str, str] = {}
        with self.start() as server, server.connect() as connection:
            self.fill(connection, "old")
            assert connection.call("SAVE") == "OK"
            self.old = (self.folder / "dump.rdb").read_bytes()
            self.fill(connection, "new")
            self.faults.forget()
            assert connection.call("SAVE") == "OK"
            # Without those of the log and of the folder's lock.
            self.events = [e for e in self.faults.events() if e.file[0] not in "s."]
        self.reset()

    def fill(self, connection: Connection, generation: str) -> None:
        """All data is of this generation, and of no other."""
        assert connection.call("FLUSHALL") == "OK"
        run(connection, self._steps[generation])
        self._digests[digest(connection)] = generation

    def generation(self, target: Target) -> str:
        """Which one is in memory, all of it."""
        return self._digests[digest(target)]

    def generation_of_file(self) -> str:
        """Loads the file as a server that starts would."""
        engine = Engine()
        loader = RdbLoader(engine, str(self.folder / "dump.rdb"))
        while loader.step(1_000_000):
            pass
        loader.close()
        name = self.generation(engine)
        engine.close()
        return name

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
def disk(tmp_path: Path, seed: int) -> Disk:
    return Disk(tmp_path, seed)


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


def kill_points(events: list[Event], rng: random.Random, writes: int) -> list[str]:
    """The calls to stop at, in their order: each with its number among its kind. Of the writes a killed run may make
    one more or less, so none of them says where another kind of call is, and the last is not waited for: the fsync
    behind it is."""
    last = sum(e.call == "write" for e in events)
    chosen = {1, *rng.sample(range(2, last), writes)}
    points, numbers = [], Counter[str]()
    for event in events:
        numbers[event.call] += 1
        if event.call != "write" or numbers["write"] in chosen:
            points.append(f"{event.call} {numbers[event.call]}")
    return points


EVERY = pytest.mark.exhaustive  # a run takes a minute
FEW = 2


@pytest.mark.parametrize(
    ("command", "action", "writes"),
    [
        ("BGSAVE", "cut", FEW), pytest.param("SAVE", "kill", FEW, marks=EVERY),
        *(pytest.param(c, a, 20, marks=EVERY) for c in ("SAVE", "BGSAVE") for a in ("kill", "cut")),
    ],
)  # fmt: skip
def test_killed_at_each_call(disk: Disk, rng: random.Random, action: str, command: str, writes: int) -> None:
    outcomes, points = [], kill_points(disk.events, rng, writes)
    for number, point in enumerate(points, 1):
        both = writes > FEW or number > len(points) - 2  # from the rename on all is tried
        for when in ("before", "after") if both else (rng.choice(("before", "after")),):
            disk.reset()
            with disk.start() as server:
                with server.connect() as connection:
                    disk.fill(connection, "new")
                    disk.faults.set(f"{action}-{when} {point} @[!s.]*")
                    with contextlib.suppress(EOFError, OSError):
                        connection.call(command)
                server.wait_exit()
            outcomes.append(disk.generation_of_file())
            figures.count()
    renamed = outcomes.index("new")
    assert set(outcomes[:renamed]) == {"old"}
    assert set(outcomes[renamed:]) == {"new"}
    assert renamed == len(outcomes) - 3  # after the rename, and before and after the fsync of the folder


def test_starts_after_a_kill(disk: Disk) -> None:
    """The server itself starts on what a kill left, and removes the temp file."""
    with disk.start() as server:
        with server.connect() as connection:
            disk.fill(connection, "new")
            disk.faults.set("kill-before rename 1")
            with contextlib.suppress(EOFError, OSError):
                connection.call("SAVE")
        server.wait_exit()
        assert any(p.name.startswith("temp-") for p in disk.folder.iterdir())
        disk.faults.clear()
        server.options["save"] = "900 1000000"  # without any it goes with the first save
        server.start()
        with server.connect() as connection:
            assert disk.generation(connection) == "old"
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
        assert disk.generation(connection) == "old"
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
        disk.fill(connection, "new")
        disk.faults.set("short write 1- 1000 @temp*")
        assert connection.call("SAVE") == "OK"
        server.kill()
        disk.faults.clear()
        server.start()
    with disk.start() as server, server.connect() as connection:
        assert disk.generation(connection) == "new"


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
            assert disk.generation(again) == "old"  # the point in time was before the writes
