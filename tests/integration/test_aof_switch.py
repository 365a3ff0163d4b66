"""The AOF of a running server changes its state: switched on and off, rewritten while off, moved, loaded again.

Whatever happens in between, what was acknowledged is in the files that the next start reads.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleettest.aoffile import AofFolder, commands
from fleettest.client import Connection, Error, encode
from fleettest.disk import Disk, wait_rewritten
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

OPTIONS: dict[str, Any] = {"enable-debug-command": "yes", "enable-protected-configs": "yes", "appendfsync": "always"}
MOVED = "ERR CONFIG SET failed (possibly related to argument 'dir') - "
NO_AOF = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path, OPTIONS)


@pytest.fixture
def off(disk: Disk) -> Iterator[Instance]:
    """A server without an AOF."""
    with disk.server() as server:
        yield server


@pytest.fixture
def on(disk: Disk) -> Iterator[Instance]:
    with disk.server(appendonly="yes") as server:
        yield server


def start_with_aof(server: Instance, folder: Path | None = None) -> None:
    server.options |= {"appendonly": "yes", "dir": str(folder or server.directory)}
    server.start()


# ---- rewritten while off


@pytest.mark.differential
def test_rewritten_while_off_as_valkey(tmp_path: Path) -> None:
    """BGREWRITEAOF without an AOF leaves a base and a manifest that names nothing else."""
    kept = []
    kinds: tuple[Kind, ...] = ("valkey", "cachefleet")
    for kind in kinds:
        with Instance(kind, directory=tmp_path / kind) as server, server.connect() as connection:
            for n in range(3):
                assert connection.call("SET", f"k{n}", "v") == "OK"
                assert connection.call("BGREWRITEAOF") == "Background append only file rewriting started"
                wait_rewritten(server)
            files = AofFolder(server.directory)
            assert_eventually(files.is_clean)
            kept.append((files.names(), sorted(path.name for path in files.path.iterdir())))
            assert server.info("persistence")["aof_enabled"] == "0"
    assert kept[0] == kept[1]


def test_rewritten_while_off_is_what_a_start_with_it_on_loads(disk: Disk, off: Instance) -> None:
    """Also over an AOF from earlier times, whose files go."""
    off.call("CONFIG", "SET", "appendonly", "yes")
    assert off.call("WAITAOF", 1, 0, 20_000) == [1, 0]
    off.call("SET", "old", "1")
    off.call("CONFIG", "SET", "appendonly", "no")
    off.call("SET", "new", "1")
    assert off.call("BGREWRITEAOF") == "Background append only file rewriting started"
    wait_rewritten(off)
    assert_eventually(disk.files.is_clean)
    assert disk.files.names("i") == []
    off.kill()
    start_with_aof(off)
    assert off.call("MGET", "old", "new") == [b"1", b"1"]


def test_switched_on_while_it_is_rewritten(disk: Disk, off: Instance) -> None:
    disk.hold_snapshots()
    assert off.call("BGREWRITEAOF") == "Background append only file rewriting started"
    assert off.call("CONFIG", "SET", "appendonly", "yes") == "OK"
    assert off.call("SET", "k", "v") == "OK"
    disk.faults.clear()
    assert off.call("WAITAOF", 1, 0, 20_000) == [1, 0]
    off.kill()
    start_with_aof(off)
    assert off.call("GET", "k") == b"v"


# ---- switched on and off


def test_waitaof_right_after_it_was_switched_on(disk: Disk, off: Instance) -> None:
    """It waits until the first base is on disk, and what it says holds after kill -9."""
    disk.hold_snapshots()
    with off.connect() as connection:
        for command in (["SET", "k", "v"], ["CONFIG", "SET", "appendonly", "yes"], ["WAITAOF", 1, 0, 0]):
            connection.send_command(*command)
        assert_eventually(lambda: off.info("clients")["blocked_clients"] == "1")
        disk.faults.clear()
        assert [connection.read() for _ in range(3)] == ["OK", "OK", [1, 0]]
        off.kill()
    start_with_aof(off)
    assert off.call("GET", "k") == b"v"


def test_waitaof_does_not_count_what_is_not_there_yet(disk: Disk, off: Instance) -> None:
    disk.faults.set("fail fsync 1- EIO @temp-[!a]*")
    with off.connect() as connection:
        replies = connection.pipeline(
            [["SET", "k", "v"], ["CONFIG", "SET", "appendonly", "yes"], ["WAITAOF", 1, 0, 50]]
        )
        assert replies == ["OK", "OK", [0, 0]]
        connection.send(encode("WAITAOF", 1, 0, 0))
        assert_eventually(lambda: off.info("clients")["blocked_clients"] == "1")
        assert off.call("CONFIG", "SET", "appendonly", "no") == "OK"
        assert connection.read() == Error(NO_AOF)


@pytest.mark.parametrize("held", [True, False], ids=["while the base is written", "before it began"])
def test_an_exit_waits_for_the_first_base(disk: Disk, off: Instance, held: bool) -> None:
    off.call("SET", "k", "v")
    if held:
        disk.hold_snapshots()
    assert off.call("CONFIG", "SET", "appendonly", "yes") == "OK"
    if held:
        assert_eventually(lambda: off.info("persistence")["aof_rewrite_in_progress"] == "1")
    off.call("SET", "l", "w")
    os.kill(off.pid, signal.SIGTERM)
    if held:
        assert_eventually(lambda: "Writing the first base" in off.log_text(), off.log_tail)
        disk.faults.clear()
    assert off.wait_exit() == 0
    assert disk.files.is_clean()
    start_with_aof(off)
    assert off.call("MGET", "k", "l") == [b"v", b"w"]


def test_an_exit_says_when_the_first_base_could_not_be_written(disk: Disk, off: Instance) -> None:
    disk.faults.set("fail write 1- ENOSPC @temp-*")
    assert off.call("CONFIG", "SET", "appendonly", "yes") == "OK"
    assert off.stop() == 0
    assert "The append only file was switched on, but its first base could not be written" in off.log_text()
    assert not disk.files.manifest.exists()


# ---- moved


def moved(server: Instance, folder: Path) -> Any:
    folder.mkdir()
    return server.call("CONFIG", "SET", "dir", str(folder))


def answers(server: Instance) -> bool:
    try:
        with server.connect(timeout_s=0.3) as connection:
            return bool(connection.call("PING") == "PONG")
    except TimeoutError:
        return False


def moved_while_held(disk: Disk, server: Instance) -> Any:
    """The move waits for the thread that writes; it is let go when the server stands still."""
    disk.faults.wait_for("fsync", "temp-rewriteaof*")
    (disk.folder / "new").mkdir()
    with server.connect() as connection:
        connection.send_command("CONFIG", "SET", "dir", str(disk.folder / "new"))
        assert_eventually(lambda: not answers(server))
        disk.faults.clear()
        return connection.read()


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_a_move_loses_nothing(disk: Disk, on: Instance, policy: str) -> None:
    """All is in the new folder when the reply comes; the old one keeps what there was."""
    assert on.call("CONFIG", "SET", "appendfsync", policy) == "OK"
    new = disk.folder / "new"
    new.mkdir()
    with on.connect() as connection:
        move = ["CONFIG", "SET", "dir", str(new)]
        replies = connection.pipeline(
            [["SET", "before", "1"], move, ["SET", "after", "1"], ["WAITAOF", 1, 0, 20_000]]
        )
        assert replies == ["OK", "OK", "OK", [1, 0]]
        on.kill()
    assert commands(disk.files.incremental.read_bytes())[-1] == [b"SET", b"before", b"1"]
    start_with_aof(on, new)
    assert on.call("MGET", "before", "after") == [b"1", b"1"]
    assert on.call("BGREWRITEAOF") == "Background append only file rewriting started"
    wait_rewritten(on)
    assert_eventually(AofFolder(new).is_clean)


@pytest.mark.parametrize("running", ["BGREWRITEAOF", "BGSAVE"])
def test_a_move_while_a_snapshot_is_written(disk: Disk, on: Instance, running: str) -> None:
    """A rewrite gives way; a save cannot be in two folders at once, so the move has to wait for it."""
    on.call("SET", "k", "v")
    disk.hold_snapshots()
    on.call(running)
    if running == "BGSAVE":
        reply = moved(on, disk.folder / "new")
        assert reply == Error(MOVED + "a snapshot is being written; try again when it is done")
        assert on.call("CONFIG", "GET", "dir") == [b"dir", str(disk.folder).encode()]
        return
    assert moved_while_held(disk, on) == "OK"
    on.call("SET", "l", "w")
    on.kill()
    start_with_aof(on, disk.folder / "new")
    assert on.call("MGET", "k", "l") == [b"v", b"w"]


def test_a_move_that_fails_changes_nothing(disk: Disk, on: Instance) -> None:
    on.call("SET", "k", "v")
    disk.faults.set("fail write 1- ENOSPC @temp-rewriteaof*")
    reply = moved(on, disk.folder / "new")
    assert isinstance(reply, Error)
    assert reply.startswith(MOVED)
    assert "No space left on device" in reply
    assert on.call("CONFIG", "GET", "dir") == [b"dir", str(disk.folder).encode()]
    disk.faults.clear()
    on.call("SET", "l", "w")
    on.kill()
    start_with_aof(on)
    assert on.call("MGET", "k", "l") == [b"v", b"w"]


def test_a_move_and_back(disk: Disk, on: Instance) -> None:
    """The folder that was left may be moved into again, unless somebody used it since."""
    new = disk.folder / "new"
    on.call("SET", "a", "1")
    assert moved(on, new) == "OK"
    on.call("SET", "b", "1")
    assert on.call("CONFIG", "SET", "dir", str(disk.folder)) == "OK"
    assert_eventually(disk.files.is_clean)
    on.call("SET", "c", "1")
    with Instance(directory=new, options={"appendonly": "yes"}) as other:
        assert other.call("SET", "theirs", "1") == "OK"
        assert other.stop() == 0
    reply = on.call("CONFIG", "SET", "dir", str(new))
    assert reply == Error(MOVED + f"{new}/appendonlydir holds an append only file already")
    on.kill()
    start_with_aof(on)
    assert on.call("MGET", "a", "b", "c") == [b"1"] * 3


def test_a_move_is_taken_back_with_the_rest_of_config_set(disk: Disk, on: Instance) -> None:
    (disk.folder / "new").mkdir()
    on.call("SET", "a", "1")
    reply = on.call("CONFIG", "SET", "dir", str(disk.folder / "new"), "bind", "192.0.2.99")
    assert isinstance(reply, Error)
    assert "Failed to bind" in reply
    assert on.call("CONFIG", "GET", "dir") == [b"dir", str(disk.folder).encode()]
    on.call("SET", "b", "1")
    on.kill()
    start_with_aof(on)
    assert on.call("MGET", "a", "b") == [b"1", b"1"]


@pytest.mark.parametrize("refused", [("maxclients", "1000000000"), ("dir", "/nowhere/at/all")])
def test_switched_off_beside_what_is_refused_stays_on(disk: Disk, on: Instance, refused: tuple[str, str]) -> None:
    """It would have to begin anew, and nothing would be on disk until a whole base is."""
    disk.hold_snapshots()
    assert isinstance(on.call("CONFIG", "SET", "appendonly", "no", *refused), Error)
    on.call("SET", "k", "v")
    on.restart(kill=True)
    assert on.call("GET", "k") == b"v"


def test_what_came_before_a_transaction_that_switches_off_is_in_the_file(disk: Disk, on: Instance) -> None:
    """In one tick with it: it has been acknowledged, and was not part of the transaction."""
    with on.connect() as connection:
        off = [["MULTI"], ["SET", "in", "1"], ["CONFIG", "SET", "appendonly", "no"], ["EXEC"]]
        assert connection.pipeline([["SET", "before", "1"], *off])[-1] == ["OK", "OK"]
    on.kill()
    start_with_aof(on)
    assert on.call("GET", "before") == b"1"


@pytest.fixture
def stuck(disk: Disk) -> Iterator[Instance]:
    """Its disk answers to no fsync: a base is being written, and so is what came since."""
    with disk.server(appendonly="yes", appendfsync="everysec") as server:
        server.call("SET", "a", "1")
        disk.faults.forget()
        disk.faults.set("hold fsync 1- @temp-[!a]*", "hold fsync 1- @*.2.incr.aof")
        server.call("BGREWRITEAOF")
        disk.faults.wait_for("fsync", "temp-[!a]*")
        server.call("SET", "b", "2")
        disk.faults.wait_for("fsync", "*.2.incr.aof")
        server.call("SET", "c", "3")  # waits for that fsync in memory
        yield server


def test_switched_off_while_the_disk_does_not_answer(disk: Disk, stuck: Instance) -> None:
    assert stuck.call("CONFIG", "SET", "appendonly", "no") == "OK"
    assert stuck.info("persistence")["aof_enabled"] == "0"
    assert stuck.call("SET", "d", "not in the file") == "OK"
    disk.faults.clear()
    wait_rewritten(stuck, well=False)
    assert_eventually(lambda: commands(disk.files.incremental.read_bytes())[-1] == [b"SET", b"c", b"3"])
    assert not list(disk.folder.glob("appendonlydir/temp-*"))
    stuck.kill()
    start_with_aof(stuck)
    assert stuck.call("MGET", "a", "b", "c", "d") == [b"1", b"2", b"3", None]


@pytest.mark.parametrize("ends", ["by cron", "by the exit"])
def test_switched_off_and_on_while_the_disk_does_not_answer(disk: Disk, stuck: Instance, ends: str) -> None:
    """What was given up is not taken for the first base that is due now."""
    for word in ("no", "yes", "no", "yes"):
        assert stuck.call("CONFIG", "SET", "appendonly", word) == "OK"
    assert stuck.call("SET", "d", "4") == "OK"
    if ends == "by cron":
        disk.faults.clear()
        wait_rewritten(stuck)
        stuck.kill()
    else:
        stuck.process.send_signal(signal.SIGTERM)
        assert_eventually(lambda: "first base of the append only file before exiting" in stuck.log_text())
        disk.faults.clear()
        assert stuck.stop() == 0
    start_with_aof(stuck)
    assert stuck.call("MGET", "a", "b", "c", "d") == [b"1", b"2", b"3", b"4"]


def test_switched_off_and_away_in_one_go(disk: Disk, on: Instance, tmp_path: Path) -> None:
    """There is nothing to move then, so an AOF in the new folder is in nobody's way."""
    (tmp_path / "other" / "appendonlydir").mkdir(parents=True)
    manifest = tmp_path / "other" / "appendonlydir" / "appendonly.aof.manifest"
    manifest.write_text("file appendonly.aof.1.base.rdb seq 1 type b\n")
    on.call("SET", "k", "v")
    assert on.call("CONFIG", "SET", "appendonly", "no", "dir", str(tmp_path / "other")) == "OK"
    assert on.info("persistence")["aof_enabled"] == "0"
    assert commands(disk.files.incremental.read_bytes())[-1] == [b"SET", b"k", b"v"]
    assert len(list(manifest.parent.iterdir())) == 1


def test_a_move_while_a_base_is_written_with_it_off(disk: Disk, off: Instance) -> None:
    off.call("SET", "k", "v")
    disk.hold_snapshots()
    assert off.call("BGREWRITEAOF") == "Background append only file rewriting started"
    assert moved_while_held(disk, off) == "OK"
    wait_rewritten(off)
    assert AofFolder(disk.folder / "new").is_clean()
    assert disk.files.is_clean() if disk.files.manifest.exists() else not list(disk.files.path.iterdir())


def test_a_move_is_the_way_off_a_full_disk(disk: Disk, on: Instance) -> None:
    """What could not be written to the old folder is in the new one."""
    on.call("CONFIG", "SET", "appendfsync", "everysec")
    disk.faults.set("fail write 1- ENOSPC @appendonly.aof.1.incr.aof")
    assert on.call("SET", "k", "v") == "OK"
    assert_eventually(lambda: on.info("persistence")["aof_last_write_status"] == "err")
    new = disk.folder / "new"
    (new / "appendonlydir").mkdir(parents=True)
    (new / "appendonlydir" / "appendonly.aof.1.incr.aof").touch()  # so that the new file gets another name
    assert on.call("CONFIG", "SET", "dir", str(new)) == "OK"
    assert on.call("SET", "l", "w") == "OK"
    assert on.call("WAITAOF", 1, 0, 20_000) == [1, 0]
    on.kill()
    start_with_aof(on, new)
    assert on.call("MGET", "k", "l") == [b"v", b"w"]


def test_a_move_is_refused_where_it_would_harm(disk: Disk, on: Instance) -> None:
    taken = disk.folder / "taken"
    with Instance(directory=taken, options={"appendonly": "yes"}) as other:
        other.call("SET", "theirs", "1")
        reply = on.call("CONFIG", "SET", "dir", str(taken))
        assert isinstance(reply, Error)
        assert "is in use by another server" in reply
        assert other.stop() == 0
    reply = on.call("CONFIG", "SET", "dir", str(taken))
    assert reply == Error(MOVED + f"{taken}/appendonlydir holds an append only file already")
    with on.connect() as connection:
        replies = connection.pipeline([["MULTI"], ["SET", "k", "v"], ["CONFIG", "SET", "dir", "/tmp"], ["EXEC"]])
        assert replies[-1][1] == Error(
            MOVED + "the append only file cannot move to another folder inside a transaction"
        )
    on.restart(kill=True)
    assert on.call("GET", "k") == b"v"


# ---- loaded again


def test_loadaof(disk: Disk, on: Instance) -> None:
    """The keyspace comes from the files, flushed before; nothing of that is written to them again."""
    with on.connect() as connection:
        connection.pipeline(
            [["SET", "a", "1"], ["SELECT", "3"], ["SET", "b", "2", "PX", "1000000"], ["APPEND", "a", "x"]]
        )
        connection.call("BGREWRITEAOF")
        wait_rewritten(on)
        digest = connection.call("DEBUG", "DIGEST")
        replies = connection.pipeline([["APPEND", "a", "y"], ["DEBUG", "LOADAOF"], ["GET", "a"]])
        assert replies == [2, "OK", b"xy"]
        size = disk.files.incremental.stat().st_size
        assert connection.call("DEBUG", "LOADAOF") == "OK"
        assert disk.files.incremental.stat().st_size == size
        assert connection.call("DEBUG", "DIGEST") != digest
        assert connection.call("APPEND", "a", "z") == 3
        assert on.info("persistence")["loading"] == "0"
        assert connection.pipeline([["MULTI"], ["DEBUG", "LOADAOF"], ["EXEC"]])[-1] == [Error("ERR syntax error")]
        on.kill()
    on.start()
    with on.connect() as connection:
        connection.call("SELECT", "3")
        assert connection.call("GET", "a") == b"xyz"
        assert connection.call("PTTL", "b") > 0


def test_loadaof_in_a_clients_pause(on: Instance) -> None:
    """The commands of the files are nobody's who could be held back."""
    with on.connect() as connection:
        connection.pipeline([["SET", "a", "1"], ["SET", "b", "2", "PXAT", "1000"], ["MULTI"], ["SET", "c", "3"],
                             ["APPEND", "c", "x"], ["EXEC"]])  # fmt: skip
        assert connection.call("CLIENT", "PAUSE", 3_600_000, "WRITE") == "OK"
        assert connection.call("DEBUG", "LOADAOF") == "OK"
        assert connection.call("MGET", "a", "b", "c") == [b"1", None, b"3x"]
        connection.call("CLIENT", "UNPAUSE")
        assert connection.call("APPEND", "a", "y") == 2


def test_loadaof_without_one(off: Instance) -> None:
    """Where there are no files nothing is dropped; Valkey would empty the databases."""
    off.call("SET", "k", "v")
    reply = off.call("DEBUG", "LOADAOF")
    assert reply == Error("ERR Error trying to load the append only file, check server logs.")
    assert "there is no append only file in" in off.log_text()
    assert off.call("GET", "k") == b"v"


def test_loadaof_while_a_snapshot_is_written(disk: Disk, on: Instance) -> None:
    """The snapshot keeps its point in time."""
    with on.connect() as connection:
        connection.pipeline([["SET", f"k{n}", "v"] for n in range(20_000)])
        replies = connection.pipeline([["BGSAVE"], ["SET", "late", "1"], ["DEBUG", "LOADAOF"], ["DBSIZE"]])
        assert replies == ["Background saving started", "OK", "OK", 20_001]
        assert_eventually(lambda: on.info("persistence")["rdb_bgsave_in_progress"] == "0", deadline_s=30)
        assert "DB saved on disk: 20000 keys" in on.log_text()


def test_what_servers_do_themselves_is_not_in_the_journal(disk: Disk, on: Instance) -> None:
    """SAVE and DEBUG change the count of changes, but a reader must not repeat them."""
    with on.connect() as connection:
        connection.call("SET", "k", "v")
        assert connection.call("SAVE") == "OK"
        assert connection.call("DEBUG", "POPULATE", 1, "p") == "OK"
        assert connection.call("DEBUG", "RELOAD") == "OK"
        assert connection.call("SET", "l", "w") == "OK"
        connection.pipeline([["MULTI"], ["DEBUG", "POPULATE", 2, "q"], ["SET", "m", "x"], ["EXEC"]])
        connection.pipeline([["MULTI"], ["DEBUG", "POPULATE", 1, "r"], ["EXEC"]])
    written = [words[0] for words in commands(disk.files.incremental.read_bytes())]
    assert written == [b"SELECT", *[b"SET"] * 3, b"MULTI", *[b"SET"] * 3, b"EXEC", b"SET"]


def numbers_of(connection: Connection) -> list[int]:
    return [int(n) for n in (connection.call("GET", "log") or b"").split(b",") if n]


def test_through_all_of_it(disk: Disk, off: Instance) -> None:
    """One log of numbers through on, move, rewrite, reload, off, rewrite while off: always whole."""
    folder = disk.folder
    with off.connect() as connection:
        for n in range(12):
            connection.call("APPEND", "log", f"{n},")
            step = n % 4
            if step == 0:
                assert connection.call("CONFIG", "SET", "appendonly", "yes") == "OK"
                assert connection.call("WAITAOF", 1, 0, 20_000) == [1, 0]
            elif step == 1:
                folder = disk.folder / f"move-{n}"
                folder.mkdir()
                assert connection.call("CONFIG", "SET", "dir", str(folder)) == "OK"
                assert connection.call("DEBUG", "LOADAOF") == "OK"
            elif step == 2:
                connection.call("BGREWRITEAOF")
                connection.call("APPEND", "other", "x")
                wait_rewritten(off)
            else:
                assert connection.call("CONFIG", "SET", "appendonly", "no") == "OK"
                assert connection.call("BGREWRITEAOF") == "Background append only file rewriting started"
                wait_rewritten(off)
            assert numbers_of(connection) == list(range(n + 1))
        off.kill()
    start_with_aof(off, folder)
    with off.connect() as connection:
        assert numbers_of(connection) == list(range(12))
