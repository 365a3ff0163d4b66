"""SAVE, BGSAVE and their options, save points, the save at shutdown, loading: against a server and over sockets."""

from __future__ import annotations

import os
import random
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettest.client import Error
from fleettest.faults import Faults
from fleettest.instance import Instance, Pool
from fleettest.process import rss_bytes
from fleettest.programs import Kind
from fleettest.rdbfile import Builder, parse
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

BUSY = Error("ERR Background save already in progress")


def persistence(server: Instance) -> dict[str, str]:
    return server.info("persistence")


def wait_saved(server: Instance) -> None:
    assert_eventually(lambda: persistence(server)["rdb_bgsave_in_progress"] == "0", deadline_s=30)


class Slow:
    """A server whose saves take as long as the test wants: until `go`."""

    def __init__(self, tmp_path: Path) -> None:
        self.faults = Faults(tmp_path / "data", tmp_path)
        self.server = Instance(directory=self.faults.folder, env=self.faults.env)

    def hold(self) -> None:
        self.faults.set("hold fsync 1- @temp*")

    def go(self) -> None:
        self.faults.clear()


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Slow]:
    slow = Slow(tmp_path)
    with slow.server:
        yield slow


def test_replies_while_a_save_runs(slow: Slow) -> None:
    with slow.server.connect() as connection:
        connection.call("SET", "k", "v")
        slow.hold()
        assert connection.call("BGSAVE") == "Background saving started"
        assert connection.call("BGSAVE") == BUSY
        assert connection.call("BGSAVE", "SCHEDULE") == BUSY
        assert connection.call("SAVE") == BUSY
        info = persistence(slow.server)
        assert info["rdb_bgsave_in_progress"] == "1"
        assert int(info["rdb_current_bgsave_time_sec"]) >= 0
        assert info["rdb_changes_since_last_save"] == "1"
        assert connection.call("SET", "k2", "v") == "OK"
        slow.go()
        wait_saved(slow.server)
        info = persistence(slow.server)
        assert info["rdb_last_bgsave_status"] == "ok"
        assert info["rdb_current_bgsave_time_sec"] == "-1"
        assert info["rdb_changes_since_last_save"] == "1"  # the one during the save
        assert info["rdb_saves"] == "1"


def test_cancel(slow: Slow) -> None:
    with slow.server.connect() as connection:
        connection.call("SET", "k", "v")
        slow.hold()
        assert connection.call("BGSAVE") == "Background saving started"
        assert connection.call("BGSAVE", "CANCEL") == "Background saving cancelled"
        slow.go()
        wait_saved(slow.server)
        info = persistence(slow.server)
        assert info["rdb_last_bgsave_status"] == "ok"
        assert info["rdb_changes_since_last_save"] == "1"
        assert not list(slow.faults.folder.glob("*.rdb"))
        assert connection.call("BGSAVE", "CANCEL") == Error(
            "ERR Background saving is currently not in progress or scheduled"
        )
        assert connection.call("BGSAVE") == "Background saving started"
        wait_saved(slow.server)
        assert list(slow.faults.folder.glob("*.rdb")) == [slow.faults.folder / "dump.rdb"]


@pytest.mark.differential
def test_syntax_as_valkey(servers: Pool) -> None:
    with servers.get("cachefleet").connect() as ours, servers.get("valkey").connect() as theirs:
        for command in (
            ["SAVE", "x"], ["BGSAVE", "x"], ["BGSAVE", "SCHEDULE", "x"], ["bgsave", "cancel", "x"], ["LASTSAVE", "x"],
            ["BGSAVE", ""], ["BGSAVE", "CANCEL"], ["SAVE"], ["bgsave", "schedule"],
        ):  # fmt: skip
            assert ours.raw(*command) == theirs.raw(*command), command
    for kind in ("cachefleet", "valkey"):
        wait_saved(servers.get(kind))  # type: ignore[arg-type]


def test_inside_a_transaction(server: Instance) -> None:
    """The middle of a transaction is no point in time: the save comes after it."""
    with server.connect() as connection:
        connection.pipeline([["MULTI"], ["SET", "a", "1"], ["BGSAVE"], ["SET", "b", "2"]])
        assert connection.call("EXEC") == ["OK", "Background saving scheduled", "OK"]
        file = server.directory / "dump.rdb"
        assert_eventually(lambda: file.exists() and len(parse(file.read_bytes()).records) == 2)
        assert_eventually(lambda: persistence(server)["rdb_bgsave_in_progress"] == "0")
        assert connection.call("MULTI") == "OK"
        reply = connection.call("SAVE")
        assert isinstance(reply, Error)
        connection.call("DISCARD")


def test_scheduled_may_be_cancelled(server: Instance) -> None:
    with server.connect() as connection:
        connection.pipeline([["MULTI"], ["BGSAVE"], ["BGSAVE", "CANCEL"]])
        assert connection.call("EXEC") == ["Background saving scheduled", "Scheduled background saving cancelled"]


def test_lastsave(server: Instance) -> None:
    with server.connect() as connection:
        before = connection.call("LASTSAVE")
        assert before <= time.time()

        def saved_later() -> bool:
            assert connection.call("SAVE") == "OK"
            return bool(connection.call("LASTSAVE") > before)

        assert_eventually(saved_later)
        assert persistence(server)["rdb_last_save_time"] == str(connection.call("LASTSAVE"))


def test_save_points(tmp_path: Path) -> None:
    with Instance(directory=tmp_path, options={"save": "1 3"}) as server, server.connect() as connection:
        file = tmp_path / "dump.rdb"
        connection.pipeline([["SET", "a", "1"], ["SET", "b", "2"]])
        time_limit = time.monotonic() + 1.5
        assert_eventually(lambda: time.monotonic() > time_limit)
        assert not file.exists()
        connection.call("SET", "c", "3")
        assert_eventually(file.exists)
        assert_eventually(lambda: persistence(server)["rdb_changes_since_last_save"] == "0")
        assert "3 changes in 1 seconds. Saving..." in server.log_text()


def test_flushall_replaces_the_file(tmp_path: Path) -> None:
    """With save points, what FLUSHALL removed must not come back with a restart."""
    with Instance(directory=tmp_path, options={"save": "900 1"}) as server, server.connect() as connection:
        connection.call("SET", "a", "1")
        assert connection.call("SAVE") == "OK"
        connection.call("FLUSHALL")
        assert_eventually(lambda: parse((tmp_path / "dump.rdb").read_bytes()).records == [])
        server.restart(kill=True)
        assert server.call("DBSIZE") == 0


@pytest.mark.parametrize("save", ["900 1", ""])
def test_save_at_shutdown(tmp_path: Path, save: str) -> None:
    with Instance(directory=tmp_path, options={"save": save}) as server:
        server.call("SET", "a", "1")
        server.restart()
        assert server.call("GET", "a") == (b"1" if save else None)


def test_shutdown_during_a_save(slow: Slow) -> None:
    """The running save gives way to the last one, which has everything."""
    slow.server.call("CONFIG", "SET", "save", "900 1")
    slow.server.call("SET", "a", "1")
    slow.hold()
    assert slow.server.call("BGSAVE") == "Background saving started"
    slow.server.call("SET", "b", "2")
    slow.faults.wait_for("fsync", "temp*")
    os.kill(slow.server.pid, signal.SIGTERM)
    assert_eventually(lambda: "Saving the final RDB" in slow.server.log_text(), slow.server.log_tail)
    slow.go()
    assert slow.server.wait_exit() == 0
    assert len(parse((slow.faults.folder / "dump.rdb").read_bytes()).records) == 2
    assert not list(slow.faults.folder.glob("temp-*"))


def test_dir_and_dbfilename(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    options = {"enable-protected-configs": "yes", "dbfilename": "first.rdb"}
    with Instance(directory=tmp_path / "data", options=options) as server, server.connect() as connection:
        assert connection.call("SAVE") == "OK"
        assert (server.directory / "first.rdb").exists()
        assert connection.call("CONFIG", "SET", "dbfilename", "second.rdb") == "OK"
        assert connection.call("SAVE") == "OK"
        assert (server.directory / "second.rdb").exists()


def test_loading(tmp_path: Path) -> None:
    """-LOADING with progress while a file is loaded, other commands and PING refused, then all is there."""
    count = 3_000_000
    parts = [b"\x00\x0bkey:%07d\x01v" % i for i in range(count)]
    data = Builder().sizes(count).raw(b"".join(parts)).end(checksum=0)
    (tmp_path / "dump.rdb").write_bytes(data)
    server = Instance(directory=tmp_path)
    seen: list[dict[str, str]] = []

    def look() -> bool:
        try:
            with server.connect(timeout_s=5) as connection:
                while True:
                    reply = connection.call("GET", "key:0000001")
                    if reply == b"v":
                        return True
                    assert isinstance(reply, Error)
                    assert reply.startswith("LOADING "), reply
                    info = connection.call("INFO", "persistence").decode()
                    seen.append(dict(line.split(":", 1) for line in info.split("\r\n") if ":" in line))
        except (OSError, EOFError):
            return False

    try:
        for _ in range(5):  # a busy machine may be late with the first look
            server.spawn()
            assert_eventually(look, deadline_s=60)
            loading = [info for info in seen if info["loading"] == "1"]
            if loading:
                break
            server.kill()
        assert loading, "it was there at once each time"
        done = [int(info["loading_loaded_bytes"]) for info in loading]
        assert done == sorted(done)
        assert int(loading[0]["loading_total_bytes"]) == len(data)
        assert server.call("DBSIZE") == count
    finally:
        server.close()


def test_damaged_file_stops_the_start(tmp_path: Path) -> None:
    data = Builder().key(b"k", b"v" * 100).key(b"l", b"v").end()
    (tmp_path / "dump.rdb").write_bytes(data[:60])
    server = Instance(directory=tmp_path)
    server.spawn()
    assert server.wait_exit() == 1
    assert "it ends within the record at byte 9: the file was cut short" in server.log_text()
    assert "Restore it from a backup" in server.log_text()
    assert (tmp_path / "dump.rdb").read_bytes() == data[:60]


def test_rdb_key_save_delay(server: Instance) -> None:
    with server.connect() as c:
        c.pipeline([["SET", f"k{i}", i] for i in range(100)])
        try:
            c.call("CONFIG", "SET", "rdb-key-save-delay", 600_000)  # a minute in all
            assert c.call("BGSAVE") == "Background saving started"
            assert server.info("persistence")["rdb_bgsave_in_progress"] == "1"
            assert c.call("BGSAVE", "CANCEL") == "Background saving cancelled"
            assert_eventually(lambda: persistence(server)["rdb_bgsave_in_progress"] == "0")
            c.call("CONFIG", "SET", "rdb-key-save-delay", 2000)
            began = time.monotonic()
            assert c.call("SAVE") == "OK"
            assert time.monotonic() - began >= 0.2
        finally:
            c.call("CONFIG", "SET", "rdb-key-save-delay", 0)


@pytest.mark.parametrize("options", [{"save": "3600 1"}, {"appendonly": "yes"}], ids=["rdb", "aof"])
def test_key_load_delay(tmp_path: Path, options: dict[str, str]) -> None:
    with Instance(directory=tmp_path, options=options) as server:
        with server.connect() as c:
            c.pipeline([["SET", f"k{i}", i] for i in range(100)])
        server.stop()
        server.options["key-load-delay"] = 600_000
        server.spawn()

        def loading() -> bool:
            try:
                return isinstance(reply := server.call("PING"), Error) and reply.startswith("LOADING ")
            except OSError:
                return False

        assert_eventually(loading)
        assert server.call("CONFIG", "SET", "key-load-delay", -5) == "OK"
        assert_eventually(lambda: server.call("DBSIZE") == 100)


def test_stale_temp_files_go_only_under_the_lock(tmp_path: Path) -> None:
    """A server that writes no files may share the folder of one that does; pids say nothing across containers."""
    stale = tmp_path / f"temp-{os.getpid()}.rdb"
    stale.touch()
    with Instance(directory=tmp_path) as server:
        assert stale.exists(), "not this one's folder yet"
        assert server.call("SAVE") == "OK"
        assert not stale.exists()
        stale.touch()
    with Instance(directory=tmp_path, options={"save": "3600 1"}) as server:
        assert not stale.exists()
        stale.touch()
        assert server.call("SAVE") == "OK"
        assert stale.exists()


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "empty"])
def test_a_file_that_is_none_stops_the_start(tmp_path: Path, kind: str) -> None:
    """In words, and with socket and pid file removed."""
    file, socket, pidfile = tmp_path / "dump.rdb", tmp_path / "x.sock", tmp_path / "x.pid"
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "loop":
        file.symlink_to(file)
    else:
        file.touch()
    server = Instance(directory=tmp_path, options={"unixsocket": str(socket), "pidfile": str(pidfile)})
    server.spawn()
    assert server.wait_exit() == 1
    assert str(file) in server.log_text()
    assert "Traceback" not in server.log_text()
    assert not socket.exists()
    assert not pidfile.exists()


class Writer(threading.Thread):
    """Writes n = 0, 1, 2 ... to key n % KEYS of its own, in pipelines, so that any prefix is known by its length."""

    KEYS = 3000
    BATCH = 50

    def __init__(self, server: Instance, name: str, stop: threading.Event, rng: random.Random) -> None:
        super().__init__()
        self.connection = server.connect()
        self.prefix = name
        self.stop_ = stop
        self.sent = self.acknowledged = 0
        self.rng = rng

    def run(self) -> None:
        while not self.stop_.is_set():
            commands = [
                ["SET", f"{self.prefix}:{(self.sent + i) % self.KEYS}", self.sent + i] for i in range(self.BATCH)
            ]
            self.sent += self.BATCH
            assert set(self.connection.pipeline(commands)) == {"OK"}
            self.acknowledged = self.sent
        self.connection.close()


def state_after(prefix: str, n: int) -> dict[bytes, bytes]:
    """Keys and values after n writes of a Writer."""
    first = max(0, n - Writer.KEYS)
    return {f"{prefix}:{i % Writer.KEYS}".encode(): str(i).encode() for i in range(first, n)}


def test_point_in_time_under_load(tmp_path: Path, rng: random.Random) -> None:
    """Each writer's keys are as after some prefix of its writes, between the acknowledged and the sent ones."""
    with Instance(directory=tmp_path, options={"rdbchecksum": "no"}) as server, server.connect() as connection:
        for start in range(0, 200_000, 1000):
            connection.pipeline([["SET", f"fill:{i}", "x" * 50] for i in range(start, start + 1000)])
        stop = threading.Event()
        writers = [Writer(server, f"w{i}", stop, random.Random(rng.random())) for i in range(4)]
        for writer in writers:
            writer.start()
        try:
            for _ in range(4):
                assert_eventually(lambda: min(w.acknowledged for w in writers) > Writer.KEYS)
                before = [w.acknowledged for w in writers]
                assert connection.call("BGSAVE") == "Background saving started"
                after = [w.sent for w in writers]
                wait_saved(server)
                keys = {k: v for k, (v, _) in parse((tmp_path / "dump.rdb").read_bytes()).databases()[0].items()}
                assert sum(key.startswith(b"fill:") for key in keys) == 200_000
                for i, writer in enumerate(writers):
                    own = {k: v for k, v in keys.items() if k.startswith(writer.prefix.encode() + b":")}
                    n = max(int(v) for v in own.values()) + 1
                    assert before[i] <= n <= after[i] + Writer.BATCH
                    assert own == state_after(writer.prefix, n)
        finally:
            stop.set()
            for writer in writers:
                writer.join()


@pytest.mark.alone("the writer thread must have the core that is meant for it")
@pytest.mark.parametrize("cores", ["all", "one"])
def test_memory_under_full_load(cores: str) -> None:
    """Resident memory while snapshots are taken under all the writes a client can send: 5 % more at most.

    With one core for the engine, the writer thread and the load, the writer only gets what the engine leaves it. The
    file is in memory if there is room, since a disk that other work keeps busy could be too slow for any writer.
    """
    keys = 1_000_000
    core = min(os.sched_getaffinity(0))
    room = os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 512 << 20  # containers often have 64 MB
    set_random = ["-P", "16", "-r", str(keys), "SET", "key:__rand_int__", "y" * 100]
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm" if room else None) as folder,
        Instance(directory=Path(folder)) as server,
        server.connect(timeout_s=120) as connection,
    ):
        if cores == "one":
            for task in Path(f"/proc/{server.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {core})
        run = [*(["taskset", "-c", str(core)] if cores == "one" else [])]
        run += ["redis-benchmark", "-p", str(server.port), "-q"]
        subprocess.run([*run, "-n", str(5 * keys), *set_random], check=True, stdout=subprocess.DEVNULL)
        load = subprocess.Popen([*run, "-n", "1000000000", *set_random], stdout=subprocess.DEVNULL)
        try:
            done = int(server.info("stats")["total_commands_processed"])
            growths = []
            for _ in range(4):
                before = peak = rss_bytes(server)
                assert connection.call("BGSAVE") == "Background saving started"
                while persistence(server)["rdb_bgsave_in_progress"] == "1":
                    peak = max(peak, rss_bytes(server))
                assert persistence(server)["rdb_last_bgsave_status"] == "ok", server.log_tail()
                file = Path(folder) / "dump.rdb"
                assert file.stat().st_size > 16 * keys * 9 // 10, "the keys' names alone are that long"
                file.unlink()  # so that the next one is another
                print(f"snapshot under load: RSS {before} -> {peak}, {peak / before - 1:+.1%}")
                growths.append(peak / before - 1)
            assert statistics.median(growths) < 0.05 and max(growths) < 0.1
            assert int(server.info("stats")["total_commands_processed"]) - done > keys / 10, "there was no load"
        finally:
            load.kill()
            load.wait()


def test_point_in_time_of_a_pipeline(server: Instance) -> None:
    """On one connection the order is exact: what stands before BGSAVE is in, what follows is not."""
    with server.connect() as connection:
        connection.pipeline([["SET", f"k{i}", "old"] for i in range(20_000)])
        replies = connection.pipeline(
            [
                ["SET", "k0", "last"],
                ["BGSAVE"],
                *(["SET", f"k{i}", "new"] for i in range(20_000)),
                ["FLUSHALL"],
                ["SET", "k1", "newer"],
            ]
        )
        assert replies[1] == "Background saving started"
        wait_saved(server)
        keys = parse((server.directory / "dump.rdb").read_bytes()).databases()[0]
        assert len(keys) == 20_000
        assert keys.pop(b"k0")[0] == b"last"
        assert {value for value, _ in keys.values()} == {b"old"}


@pytest.mark.parametrize("kind", ["cachefleet", "valkey"])
@pytest.mark.parametrize("command", ["SAVE", "SHUTDOWN SAVE", "DEBUG RELOAD"])
def test_who_waits_for_a_save_is_the_only_one_to_hear_that_it_failed(tmp_path: Path, kind: Kind, command: str) -> None:
    options = {"save": "3600 1", "enable-debug-command": "yes"}
    folder = tmp_path / "data"
    folder.mkdir()
    with Instance(kind, options=options, directory=folder) as server:
        server.call("SET", "k", "v")
        shutil.rmtree(folder)
        assert str(server.call(*command.split())).startswith("ERR")
        assert server.call("SET", "k", "w") == "OK"
        assert persistence(server)["rdb_last_bgsave_status"] == "ok"
        server.kill()
