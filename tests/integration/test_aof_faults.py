"""The AOF on disks that fail and under processes that die: what was promised is kept.

The calls of a run are counted first; then the run is repeated and the process killed before and after each of them.
Under `always` what was acknowledged is there afterwards, also after a power cut (all that was not fsynced is lost);
under `everysec` what loads is what had been there at some moment shortly before.

Every write appends its own number to a log in the keyspace, so that a lost, repeated or reordered one shows.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettest import figures
from fleettest.aoffile import commands
from fleettest.client import Connection, Error, encode
from fleettest.disk import AOF_OPTIONS, Disk, wait_rewritten
from fleettest.faults import Event, Faults
from fleettest.instance import Instance
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

DIED = (OSError, EOFError)

def numbers(connection: Connection, key: str = "log") -> list[int]:
    value = connection.call("GET", key) or b""
    return [int(word) for word in value.split(b",") if word]


def misconf(reply: object) -> bool:
    return isinstance(reply, Error) and reply.startswith("MISCONF Errors writing to the AOF file: ")


# ---- kill -9 at each call


class Run:
    """Appends, a rewrite between them, appends: the acknowledged numbers, until the process dies."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.sent = 0

    def go(self, server: Instance) -> None:
        with contextlib.suppress(*DIED), server.connect(timeout_s=20) as connection:
            for step in ("write", "write", "rewrite", "write", "wait", "write"):
                if step == "write":
                    self.write(connection)
                elif step == "rewrite":
                    connection.call("BGREWRITEAOF")
                else:
                    self.wait(connection)

    def write(self, connection: Connection) -> None:
        self.sent += 1
        reply = connection.call("APPEND", "log", f"{self.sent},")
        assert not isinstance(reply, Error), reply
        self.acknowledged.append(self.sent)

    def wait(self, connection: Connection) -> None:
        def done() -> bool:
            text = connection.call("INFO", "persistence")
            return b"aof_rewrite_in_progress:0" in text and b"aof_rewrite_scheduled:0" in text

        assert_eventually(done, deadline_s=20)


def assert_kept(disk: Disk, run: Run, rule: str) -> None:
    """It loads, and holds each acknowledged number once, in order; one more may have made it."""
    disk.faults.clear()
    with disk.server() as server, server.connect() as connection:
        found = numbers(connection)
        assert run.acknowledged == found[: len(run.acknowledged)], f"{rule}: acknowledged {run.acknowledged}, {found}"
        assert found == list(range(1, len(found) + 1)), f"{rule}: {found}"
        assert len(found) <= run.sent
        connection.call("APPEND", "log", "more")
        assert server.stop() == 0
    for name in disk.files.names("i"):
        commands((disk.files.path / name).read_bytes())


def reset(disk: Disk) -> None:
    """An empty folder, so that each run makes the same calls."""
    shutil.rmtree(disk.files.path, ignore_errors=True)


def counted(disk: Disk, policy: str = "always") -> tuple[list[Event], int]:
    """The calls of a good run, and how many of them came before the first command."""
    reset(disk)
    disk.faults.clear()
    disk.faults.forget()
    with disk.server(appendfsync=policy) as server:
        before = len(disk.faults.events())
        run = Run()
        run.go(server)
        assert run.acknowledged == [1, 2, 3, 4]
        events = disk.faults.events()
    return events, before


def killed_at(disk: Disk, rule: str, policy: str = "always") -> Run:
    reset(disk)
    disk.faults.set(rule)
    run = Run()
    server = disk.server(appendfsync=policy)
    try:
        server.spawn()
        with contextlib.suppress(Exception):
            if server._wait_ready(20):
                run.go(server)
        server.wait_exit(10) if not server.alive() else server.kill()
        figures.count()
    finally:
        server.kill()
    return run


def points(events: list[Event], actions: tuple[str, ...]) -> list[str]:
    return list(Faults.kill_points(events, actions=actions))


def test_what_a_run_does(disk: Disk) -> None:
    """New files and folder are on disk before a manifest names them; the old ones go last.

    Three threads call: the engine's, the snapshot's writer and the one that fsyncs and removes. Only what must happen
    in order is compared in order.
    """
    events, before = counted(disk)
    calls = [(event.call, event.file) for event in events]
    manifest = "temp-appendonly.aof.manifest"
    renamed = ("rename", "appendonly.aof.manifest")
    first = calls[:before]
    assert first.index(("open", "appendonly.aof.1.incr.aof")) < first.index(("open", manifest)) < first.index(renamed)
    run = calls[before:]
    assert run.index(("open", "appendonly.aof.2.incr.aof")) < run.index(renamed)
    naming = [call for call in run if call[1] in (manifest, "appendonly.aof.manifest", "appendonlydir")]
    at = naming.index(renamed)
    assert naming[at - 1] == ("fsync", manifest)
    assert naming[at + 1] == ("fsync", "appendonlydir")
    base = run.index(("rename", "appendonly.aof.2.base.rdb"))
    snapshot = [(at, call) for at, (call, file) in enumerate(run) if file.startswith("temp-rewriteaof")]
    assert snapshot[-1][1] == "fsync", "the base is on disk before it has its name"
    assert snapshot[-1][0] < base
    again = run.index(renamed, base)
    for name in ("appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof"):
        assert run.index(("unlink", name)) > again
    for name in ("appendonly.aof.1.incr.aof", "appendonly.aof.2.incr.aof"):
        own = [call for call, file in run if file == name]
        assert "write" in own
        assert all(own[at + 1] == "fsync" for at, call in enumerate(own) if call == "write"), own


def test_killed_at_some_calls(disk: Disk, rng: random.Random) -> None:
    events, _ = counted(disk)
    for rule in rng.sample(points(events, ("kill-before", "kill-after", "cut-before", "cut-after")), 6):
        assert_kept(disk, killed_at(disk, rule), rule)


@pytest.mark.exhaustive
@pytest.mark.parametrize("action", ["kill-before", "kill-after", "cut-before", "cut-after"])
def test_killed_at_each_call(disk: Disk, action: str) -> None:
    events, _ = counted(disk)
    assert len(events) > 40
    for rule in points(events, (action,)):
        assert_kept(disk, killed_at(disk, rule), rule)


@pytest.mark.exhaustive
@pytest.mark.parametrize("action", ["kill-after", "cut-before", "cut-after"])
def test_everysec_killed_at_each_call(disk: Disk, action: str) -> None:
    """It always loads, to what had been there at some moment: the numbers from 1 without a gap."""
    events, _ = counted(disk, "everysec")
    for rule in points(events, (action,)):
        killed_at(disk, rule, "everysec")
        disk.faults.clear()
        with disk.server() as server, server.connect() as connection:
            found = numbers(connection)
            assert found == list(range(1, len(found) + 1)), f"{rule}: {found}"


# ---- kill -9 at random times


class Load:
    """Pipelines of writes from a few connections until these die; each connection has its own log of numbers."""

    def __init__(self, server: Instance, connections: int = 4) -> None:
        self.acknowledged = [[(0.0, 0)] for _ in range(connections)]
        self.sent = [0] * connections
        self._server = server
        self._threads = [threading.Thread(target=self._go, args=(i,)) for i in range(connections)]
        for thread in self._threads:
            thread.start()

    def _go(self, me: int) -> None:
        with contextlib.suppress(*DIED), self._server.connect(timeout_s=10) as connection:
            while True:
                first, size = self.sent[me] + 1, 1 + me * 7
                self.sent[me] += size
                batch = [["APPEND", f"log:{me}", f"{n},"] for n in range(first, first + size)]
                replies = connection.pipeline(batch)
                if any(isinstance(reply, Error) for reply in replies):
                    return
                self.acknowledged[me].append((time.monotonic(), first + size - 1))

    def longest_gap_s(self, end: float) -> float:
        """For how long nothing was acknowledged to anybody: what a busy machine made the server wait."""
        times = sorted(at for acknowledged in self.acknowledged for at, _ in acknowledged[1:])
        return max((b - a for a, b in itertools.pairwise([*times, end])), default=0.0)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


@pytest.mark.parametrize("policy", ["always", "everysec"])
@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_killed_at_random_times(tmp_path: Path, rng: random.Random, policy: str, rounds: int) -> None:
    options = {**AOF_OPTIONS, "appendfsync": policy}
    for n in range(rounds):
        with Instance(directory=tmp_path / str(n), options=options) as server:
            load = Load(server)
            pause = rng.uniform(0.1, 0.8) if policy == "always" else rng.uniform(2.2, 3.5)
            rewrite_at = rng.uniform(0, pause)
            time.sleep(rewrite_at)  # the moment is what this test draws
            server.call("BGREWRITEAOF")
            time.sleep(pause - rewrite_at)
            killed = time.monotonic()
            server.kill()
            figures.count()
            load.join()
            server.start()
            # Under everysec, writes wait for two seconds at most while an fsync runs, and for a core.
            age = 0.0 if policy == "always" else 2.0 + load.longest_gap_s(killed)
            with server.connect() as connection:
                for me, acknowledged in enumerate(load.acknowledged):
                    found = numbers(connection, f"log:{me}")
                    assert found == list(range(1, len(found) + 1)), f"log {me} has gaps"
                    assert len(found) <= load.sent[me]
                    owed = [last for at, last in acknowledged if at <= killed - age or last == 0]
                    assert len(found) >= owed[-1], f"log {me}: {len(found)} of {owed[-1]} after {pause:.2f} s"


# ---- group commit


def test_one_fsync_for_a_batch(disk: Disk) -> None:
    with disk.server() as server, server.connect() as connection:
        for size in (1, 10, 100):
            disk.faults.forget()
            connection.pipeline([["INCR", f"n:{i}"] for i in range(size)])
            calls = [event.call for event in disk.faults.events()]
            assert calls == ["write", "fsync"], f"{size} commands in one read"


def test_one_fsync_for_many_clients(disk: Disk) -> None:
    """While a tick's fsync runs, commands of other clients gather for the next one.

    How many ticks it takes to gather is the machine's affair; twenty fsyncs is what would come without gathering.
    """
    with disk.server() as server:
        connections = [server.connect() for _ in range(20)]
        connections[0].call("SET", "warm", "up")
        disk.faults.set("stall fsync 1 2000", "stall fsync 2- 100")
        disk.faults.forget()
        for i, connection in enumerate(connections):
            connection.send_command("SET", f"k:{i}", "v")
        assert [connection.read() for connection in connections] == ["OK"] * 20
        fsyncs = [event for event in disk.faults.events() if event.call == "fsync"]
        assert 1 <= len(fsyncs) < 10, "two ticks, perhaps three, instead of twenty"
        disk.faults.clear()


def test_no_reply_before_the_fsync(disk: Disk) -> None:
    with disk.server() as server, server.connect() as connection:
        connection.call("SET", "k", "v")
        disk.faults.set("stall fsync 1- 400")
        began = time.monotonic()
        assert connection.call("SET", "k", "w") == "OK"
        assert time.monotonic() - began >= 0.39
        disk.faults.clear()


# ---- disks that fail


@contextlib.contextmanager
def reader(server: Instance) -> Iterator[Connection]:
    with server.connect() as connection:
        yield connection


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
@pytest.mark.parametrize("fault", ["fail write 1- ENOSPC @*.incr.aof", "short write 1 7 @*.incr.aof"])
def test_full_disk(disk: Disk, policy: str, fault: str) -> None:
    """Writes are refused, reads go on; with space again it recovers by itself and lacks nothing acknowledged."""
    rules = [fault] if fault.startswith("fail") else [fault, "fail write 2- ENOSPC @*.incr.aof"]
    acknowledged = []
    with disk.server(appendfsync=policy) as server:
        with reader(server) as connection:
            for n in range(1, 4):
                connection.call("APPEND", "log", f"{n},")
                acknowledged.append(n)
        disk.faults.set(*rules)
        with contextlib.suppress(*DIED), server.connect() as connection:
            if not isinstance(connection.call("APPEND", "log", "4,"), Error):
                assert policy != "always", "acknowledged, and not on disk"
                acknowledged.append(4)

        def refuses() -> bool:
            with server.connect() as connection:
                return misconf(connection.call("SET", "probe", "x"))

        with contextlib.suppress(*DIED):
            assert_eventually(refuses)
        with reader(server) as connection:
            assert connection.call("SET", "k", "v") == Error(
                "MISCONF Errors writing to the AOF file: No space left on device"
            )
            assert misconf(connection.call("PING"))
            assert numbers(connection)[:3] == [1, 2, 3]
            replies = connection.pipeline([["MULTI"], ["GET", "log"], ["EXEC"]])
            assert isinstance(replies[-1], list)
            assert isinstance(connection.pipeline([["MULTI"], ["SET", "k", "v"], ["EXEC"]])[-1], Error)
        assert server.info("persistence")["aof_last_write_status"] == "err"
        disk.faults.clear()
        assert_eventually(lambda: server.call("PING") == "PONG")
        assert server.info("persistence")["aof_last_write_status"] == "ok"
        with reader(server) as connection:
            expected = numbers(connection)
            connection.call("APPEND", "log", "9,")
            assert_eventually(lambda: server.info("persistence")["aof_buffer_length"] == "0")
        server.kill()
    with disk.server() as server, reader(server) as connection:
        assert numbers(connection) == [*expected, 9]
        assert set(acknowledged) <= set(expected)


def test_a_transaction_queued_before_the_disk_was_full(disk: Disk) -> None:
    with disk.server() as server, server.connect() as queued:
        queued.pipeline([["MULTI"], ["SET", "k", "v"]])
        disk.faults.set("fail write 1- ENOSPC @*.incr.aof")
        with contextlib.suppress(*DIED):
            server.call("SET", "other", "1")
        reply = queued.call("EXEC")
        assert isinstance(reply, Error)
        assert "MISCONF" in reply
        assert server.call("GET", "k") is None


def test_failing_fsync_under_always(disk: Disk) -> None:
    """No reply for what is not on disk; a rewrite makes up for it, and only then writes are taken again."""
    with disk.server() as server:
        server.call("SET", "before", "1")
        disk.faults.set("fail fsync 1 EIO @*.1.incr.aof", "hold write 1- @temp-rewriteaof*")
        with server.connect() as bystander, server.connect() as writer:
            writer.send(encode("SET", "lost", "1") + encode("GET", "before"))
            assert writer.closed_by_server()
            with pytest.raises(EOFError):
                writer.read()
            assert bystander.call("GET", "before") == b"1", "who did not write stays connected"
        reply = server.call("SET", "k", "v")
        assert misconf(reply), "the base is not on disk yet"
        disk.faults.clear()
        assert_eventually(lambda: server.call("SET", "k", "v") == "OK", deadline_s=20)
        assert int(server.info("persistence")["aof_rewrites"]) == 1
        assert disk.files.incremental.name == "appendonly.aof.2.incr.aof"
        server.kill()
    with disk.server() as server:
        assert server.call("MGET", "before", "k") == [b"1", b"v"]


def test_failing_fsync_under_everysec(disk: Disk) -> None:
    with disk.server(appendfsync="everysec") as server:
        disk.faults.set("fail fsync 1 EIO @*.1.incr.aof")
        assert server.call("SET", "k", "v") == "OK"
        assert_eventually(lambda: int(server.info("persistence")["aof_rewrites"]) >= 1, deadline_s=20)
        assert_eventually(lambda: server.call("SET", "k", "w") == "OK", deadline_s=20)
        assert server.call("WAITAOF", 1, 0, 5000) == [1, 0]
        server.kill()
    with disk.server() as server:
        assert server.call("GET", "k") == b"w"


def test_a_disk_that_stays_broken(disk: Disk) -> None:
    """Rewrites are tried again, with pauses, until one succeeds."""
    with disk.server() as server:
        server.call("SET", "k", "v")
        disk.faults.set("fail fsync 1- EIO")
        with contextlib.suppress(*DIED):
            server.call("SET", "k", "lost?")
        assert_eventually(lambda: int(server.info("persistence")["aof_rewrites_consecutive_failures"]) >= 1)
        assert server.info("persistence")["aof_last_bgrewrite_status"] == "err"
        assert misconf(server.call("SET", "k", "x"))
        assert server.call("WAITAOF", 1, 0, 50) != [1, 0], "it is not on disk"
        disk.faults.clear()
        assert_eventually(lambda: server.call("SET", "k", "y") == "OK", deadline_s=30)
        server.kill()
    with disk.server() as server:
        assert server.call("GET", "k") == b"y"


def copy_if_there(source: str, target: str) -> None:
    """Files that were replaced are removed in the background, perhaps at this moment."""
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(source, target)


def test_a_file_that_was_left_is_on_disk_before_the_next_one_gets_anything(disk: Disk) -> None:
    """However long that takes: under `everysec` writes are refused after a second, and taken again when it is done."""
    with disk.server(appendfsync="everysec") as server, server.connect() as connection:
        assert connection.call("APPEND", "log", "1,") == 2
        disk.faults.set("stall fsync 1- 3000 @*.1.incr.aof")
        connection.call("BGREWRITEAOF")
        assert_eventually(lambda: disk.files.incremental.name == "appendonly.aof.2.incr.aof")
        sent, reply = 1, None
        while not misconf(reply):
            reply = connection.call("APPEND", "log", f"{sent + 1},")
            sent += not isinstance(reply, Error)
            assert disk.files.incremental.stat().st_size == 0 or misconf(reply)
        assert_eventually(lambda: not misconf(connection.call("SET", "other", "1")), deadline_s=20)
        disk.faults.clear()
        assert numbers(connection) == list(range(1, sent + 1))
        wait_rewritten(server, well=False)
        server.kill()
    with disk.server() as server, server.connect() as connection:
        assert numbers(connection) == list(range(1, len(numbers(connection)) + 1))


@pytest.mark.parametrize(
    "rule",
    [
        "fail open 1 ENOSPC @*.2.incr.aof",
        "fail write 1 ENOSPC @temp-appendonly.aof.manifest",
        "fail write 2 ENOSPC @temp-appendonly.aof.manifest",
        "fail write 3 ENOSPC @temp-appendonly.aof.manifest",
        "fail fsync 1 EIO @temp-appendonly.aof.manifest",
        "fail rename 1 EIO @*.manifest",
        "fail rename 2 EIO @*.manifest",
        "fail fsync 1 EIO @appendonlydir",
        "fail fsync 2 EIO @appendonlydir",
        "fail fsync 3 EIO @appendonlydir",
        "fail write 1 ENOSPC @temp-rewriteaof*",
        "fail rename 1 EACCES @*.2.base.rdb",
        "fail unlink 1- EIO @*.1.*",
    ],
)
def test_a_rewrite_that_fails(disk: Disk, rule: str) -> None:
    """Nothing is lost, writes are taken all the while, and the next one succeeds and tidies up."""
    with disk.server() as server, server.connect() as connection:
        connection.call("APPEND", "log", "1,")
        disk.faults.set(rule)
        connection.call("BGREWRITEAOF")
        connection.call("APPEND", "log", "2,")
        wait_rewritten(server, well=False)
        assert connection.call("APPEND", "log", "3,") == 6
        folder = disk.folder.with_name("copy")
        shutil.copytree(disk.files.path, folder / "appendonlydir", copy_function=copy_if_there)
        with Instance(directory=folder, options=AOF_OPTIONS) as copy, copy.connect() as there:
            assert numbers(there) == [1, 2, 3], "as after a crash at this moment"
        disk.faults.clear()

        def succeeds() -> bool:
            reply = connection.call("BGREWRITEAOF")
            wait_rewritten(server, well=False)
            return not isinstance(reply, Error) and server.info("persistence")["aof_last_bgrewrite_status"] == "ok"

        assert_eventually(succeeds)
        connection.call("APPEND", "log", "4,")
        server.kill()
    with disk.server() as server, server.connect() as connection:
        assert numbers(connection) == [1, 2, 3, 4]


def test_save_during_a_rewrite(disk: Disk) -> None:
    """SAVE is a snapshot of its own: the rewrite that runs is finished first."""
    with disk.server() as server:
        server.call("MSET", *(word for i in range(2000) for word in (f"k{i}", "v" * 1000)))
        disk.faults.set("stall write 1- 300 @temp-rewriteaof*")
        assert server.call("BGREWRITEAOF") == "Background append only file rewriting started"
        assert server.info("persistence")["aof_rewrite_in_progress"] == "1"
        assert server.call("SAVE") == "OK"
        info = server.info("persistence")
        assert (info["aof_rewrite_in_progress"], info["aof_rewrites"]) == ("0", "1")
        assert info["aof_last_bgrewrite_status"] == info["rdb_last_bgsave_status"] == "ok"
    assert (disk.folder / "dump.rdb").exists()


def test_automatic_rewrites_that_fail_are_announced_when_they_are_tried(disk: Disk) -> None:
    """Not at each cron until the pause is over."""
    with disk.server(auto_aof_rewrite_percentage="1", auto_aof_rewrite_min_size="1") as server:
        disk.faults.set("fail write 1- ENOSPC @temp-rewriteaof*")
        server.call("SET", "k", "v" * 10_000)
        assert_eventually(
            lambda: int(server.info("persistence")["aof_rewrites_consecutive_failures"]) >= 2, deadline_s=30
        )
        tries = int(server.info("persistence")["aof_rewrites"])
        assert server.log_text().count("Starting automatic rewriting") <= tries + 1
        disk.faults.clear()


def test_a_full_disk_at_the_start(disk: Disk) -> None:
    disk.faults.set("fail write 1- ENOSPC @temp-*")
    server = disk.server()
    server.spawn()
    assert server.wait_exit() == 1
    assert "No space left on device" in server.log_text()
    assert "Traceback" not in server.log_text()
    disk.faults.clear()
    with disk.server() as server:
        assert server.call("SET", "k", "v") == "OK"
