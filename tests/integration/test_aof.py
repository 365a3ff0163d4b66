"""The AOF of a running server: data survives kill -9 and rewrites under load, and travels between kinds of servers."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from fleettest.aoffile import NOTE, TIMESTAMP, AofFolder, as_aof, commands, make_folder, plain
from fleettest.client import Error
from fleettest.disk import wait_rewritten
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.seeder import Seeder, assert_same, capture, fill, run
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

def start(folder: Path, kind: Kind = "cachefleet", **options: str) -> Instance:
    named = {name.replace("_", "-"): value for name, value in {"appendonly": "yes", **options}.items()}
    return Instance(kind, directory=folder, options=named)


def rewrite(server: Instance) -> None:
    before = int(server.info("persistence").get("aof_rewrites", 0))
    reply = server.call("BGREWRITEAOF")
    assert isinstance(reply, str), reply
    assert not isinstance(reply, Error), reply
    wait_rewritten(server)
    assert int(server.info("persistence").get("aof_rewrites", before + 1)) == before + 1


def written(server: Instance) -> None:
    """Bytes wait for a running fsync unless appendfsync is always; what is written survives a killed process."""
    assert_eventually(lambda: server.info("persistence")["aof_buffer_length"] == "0")


def refused(server: Instance) -> str:
    server.spawn()
    assert server.wait_exit() == 1
    return server.log_text()


# ---- restarts


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_kill_and_restart(tmp_path: Path, rng: random.Random, policy: str) -> None:
    """The page cache survives a killed process, so nothing is lost under any policy."""
    seeder = Seeder(rng)
    with start(tmp_path, appendfsync=policy) as server:
        for _ in range(2):
            with server.connect() as connection:
                run(connection, seeder.mutate(300))
                before = capture(connection)
            if policy != "always":
                written(server)
            server.restart(kill=True)
            with server.connect() as connection:
                assert_same(capture(connection), before)
        server.restart()
        with server.connect() as connection:
            assert_same(capture(connection), before)
            assert connection.call("CONFIG", "GET", "appendfsync") == [b"appendfsync", policy.encode()]


def test_databases_expiry_and_transactions(tmp_path: Path) -> None:
    with start(tmp_path, appendfsync="always") as server:
        with server.connect() as connection:
            connection.pipeline([["SET", "a", 1, "EX", 1000], ["SELECT", 5], ["SET", "b", 2], ["EXPIRE", "b", 2000]])
            connection.pipeline([["MULTI"], ["SET", "c", 3], ["SELECT", 7], ["SET", "d", 4, "KEEPTTL"], ["EXEC"]])
            connection.pipeline([["SETEX", "e", 500, "v"], ["GETEX", "e", "PERSIST"], ["SWAPDB", 5, 6]])
            connection.pipeline([["MSETEX", 2, "f", 1, "g", 2, "EX", 100], ["SET", "gone", 1, "PX", 1]])
            assert_eventually(lambda: connection.pipeline([["SELECT", 7], ["EXISTS", "gone"]]) == ["OK", 0])
            before = capture(connection)
        server.restart(kill=True)
        with server.connect() as connection:
            assert_same(capture(connection), before)


def test_torn_tail_is_logged(tmp_path: Path) -> None:
    data = as_aof("SELECT 0", "SET a 1")
    files = make_folder(tmp_path, data + b"*3\r\n$3\r\nSET\r\n$1")
    with start(tmp_path) as server:
        assert server.call("GET", "a") == b"1"
        assert f"ended in the middle of a command: 15 bytes were cut off, it is now {len(data)}" in server.log_text()
    assert plain(files.incremental.read_bytes()) == data


def test_refusals_leave_the_folder_alone(tmp_path: Path) -> None:
    data = as_aof("SELECT 0", "SET a 1", "SET b 2")
    for name, content, options, text in [
        ("torn", data + b"*1\r\n", {"aof_load_truncated": "no"}, "Unexpected end of file"),
        ("damaged", data[:-3] + b"??" + data[-1:] + data, {}, "Bad file format"),
    ]:
        files = make_folder(tmp_path / name, content)
        server = start(tmp_path / name, **options)
        log = refused(server)
        assert text in log
        assert str(files.incremental) in log
        assert "Traceback" not in log
        assert files.incremental.read_bytes() == content


# ---- turning on and off


def test_on_and_off_at_run_time(tmp_path: Path, rng: random.Random) -> None:
    seeder = Seeder(rng)
    files = AofFolder(tmp_path)
    with start(tmp_path, appendonly="no") as server, server.connect() as connection:
        assert not files.path.exists()
        for _ in range(2):
            run(connection, seeder.mutate(200))
            assert connection.call("CONFIG", "SET", "appendonly", "yes") == "OK"
            run(connection, seeder.mutate(200))
            assert_eventually(lambda: connection.call("WAITAOF", 1, 0, 0) == [1, 0])
            run(connection, seeder.mutate(200))
            saved = capture(connection)
            assert connection.call("CONFIG", "SET", "appendonly", "no") == "OK"
            assert isinstance(connection.call("WAITAOF", 1, 0, 0), Error)
            content = files.incremental.read_bytes()
            run(connection, seeder.mutate(20))
            assert files.incremental.read_bytes() == content, "off is off"
            assert files.is_clean()
    with start(tmp_path) as server, server.connect() as connection:
        assert_same(capture(connection), saved)


def test_turned_on_in_the_configuration(tmp_path: Path) -> None:
    """The RDB file of the time before becomes the base."""
    with start(tmp_path, appendonly="no") as server:
        server.call("SET", "k", "v")
        assert server.call("SAVE") == "OK"
    with start(tmp_path, appendfsync="always") as server:
        assert server.call("APPEND", "k", "w") == 2
        server.restart(kill=True)
        assert server.call("GET", "k") == b"vw"


# ---- rewriting


def test_rewrites_under_load_lose_and_repeat_nothing(tmp_path: Path, rng: random.Random) -> None:
    seeder = Seeder(rng, keys=2000)
    files = AofFolder(tmp_path)
    with start(tmp_path) as server, server.connect() as connection:
        connection.pipeline([["SET", b"many:%d" % i, b"v" * 100] for i in range(20_000)])
        fill(connection, seeder)
        rewrites, i = 0, -1
        while (i := i + 1) < 120 or rewrites < 3:  # on a busy machine one rewrite takes more rounds
            assert i < 5000, f"only {rewrites} rewrites began"
            if i % 8 == 0:
                reply = connection.call("BGREWRITEAOF")
                rewrites += not isinstance(reply, Error)
            run(connection, seeder.mutate(60))
        wait_rewritten(server)
        assert_eventually(files.is_clean, lambda: f"{list(files.path.iterdir())}")
        assert len(files.names("i")) == 1
        run(connection, seeder.mutate(60))
        before = capture(connection)
        written(server)
        server.kill()
    with start(tmp_path) as server, server.connect() as connection:
        assert_same(capture(connection), before)


def test_killed_while_rewriting(tmp_path: Path, rng: random.Random) -> None:
    seeder = Seeder(rng, keys=2000)
    with start(tmp_path, appendfsync="always") as server:
        with server.connect() as connection:
            fill(connection, seeder)
        for _ in range(3):
            with server.connect() as connection:
                run(connection, [(0, (b"BGREWRITEAOF",)), *seeder.mutate(rng.randrange(400))])
                before = capture(connection)
            server.restart(kill=True)
            with server.connect() as connection:
                assert_same(capture(connection), before)


def test_rewrite_inside_a_transaction_is_scheduled(tmp_path: Path) -> None:
    with start(tmp_path, appendfsync="always") as server, server.connect() as connection:
        replies = connection.pipeline([["MULTI"], ["INCR", "n"], ["BGREWRITEAOF"], ["INCR", "n"], ["EXEC"]])
        assert replies[-1] == [1, "Background append only file rewriting scheduled", 2]
        wait_rewritten(server)
        connection.call("INCR", "n")
        server.restart(kill=True)
        assert server.call("GET", "n") == b"3"


def test_rewrites_by_themselves_when_it_has_grown(tmp_path: Path) -> None:
    options = {"auto_aof_rewrite_min_size": "50kb", "auto_aof_rewrite_percentage": "100"}
    files = AofFolder(tmp_path)
    with start(tmp_path, **options) as server, server.connect() as connection:
        for n in range(1, 4):
            # Together, so that no rewrite comes between and keeps the large value.
            connection.pipeline([["MULTI"], ["SET", "k", "v" * 60_000], ["SET", "k", "v"], ["EXEC"]])
            assert_eventually(lambda n=n: int(server.info("persistence")["aof_rewrites"]) >= n)  # type: ignore[misc]
            wait_rewritten(server)
        written(server)
        size = sum((files.path / name).stat().st_size for name in files.names())
        assert size < 5000
        info = server.info("persistence")
        assert (int(info["aof_current_size"]), int(info["aof_base_size"])) == (size, files.base.stat().st_size)
        assert "Starting automatic rewriting of AOF on" in server.log_text()
        connection.call("CONFIG", "SET", "auto-aof-rewrite-percentage", "0")
        connection.call("SET", "k", "v" * 200_000)
        connection.call("WAITAOF", 1, 0, 0)
        assert server.info("persistence")["aof_rewrites"] == info["aof_rewrites"]


# ---- what is said about it


def test_info_fields(tmp_path: Path, valkey: Instance) -> None:
    with start(tmp_path) as server:
        theirs = {"aof_enabled", *(name for name in valkey.info("persistence") if name.startswith("aof_"))}
        server.call("SET", "k", "v")
        assert server.call("WAITAOF", 1, 0, 0) == [1, 0]
        info = server.info("persistence")
        assert theirs <= {name for name in info if name.startswith("aof_")}
        files = AofFolder(tmp_path)
        size = sum((files.path / name).stat().st_size for name in files.names())
        assert info["aof_enabled"] == "1"
        assert int(info["aof_current_size"]) == size
        assert int(info["aof_base_size"]) == files.base.stat().st_size
        assert info["aof_last_write_status"] == info["aof_last_bgrewrite_status"] == "ok"
        assert info["aof_rewrite_in_progress"] == info["aof_pending_bio_fsync"] == info["aof_buffer_length"] == "0"
        assert (info["aof_last_rewrite_time_sec"], info["aof_current_rewrite_time_sec"]) == ("-1", "-1")
        rewrite(server)
        info = server.info("persistence")
        assert info["aof_rewrites"] == "1"
        assert int(info["aof_last_rewrite_time_sec"]) >= 0
        assert server.call("CONFIG", "SET", "appendonly", "no") == "OK"
        info = server.info("persistence")
        assert info["aof_enabled"] == "0"
        assert "aof_current_size" not in info


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_waitaof(tmp_path: Path, policy: str) -> None:
    with start(tmp_path, appendfsync=policy) as server, server.connect() as connection:
        for i in range(3):
            assert connection.pipeline([["SET", "k", i], ["WAITAOF", 1, 0, 0]]) == ["OK", [1, 0]]
        assert connection.call("WAITAOF", 1, 0, 1) == [1, 0], "nothing is left to wait for"
        assert connection.call("WAITAOF", 1, 1, 20) == [1, 0], "no replica"


def test_who_waits_learns_that_it_is_off(tmp_path: Path) -> None:
    with start(tmp_path, appendfsync="no") as server, server.connect() as connection:
        connection.send_command("SET", "k", "v")
        connection.send_command("WAITAOF", 1, 0, 0)
        assert connection.read() == "OK"
        assert_eventually(lambda: server.info("clients")["blocked_clients"] == "1")
        assert server.call("CONFIG", "SET", "appendonly", "no") == "OK"
        reply = connection.read()  # switching it off fsyncs, so the wait may end well
        assert reply == [1, 0] or "appendonly is disabled" in str(reply)


def test_time_stamps(tmp_path: Path) -> None:
    files = AofFolder(tmp_path)
    with start(tmp_path, aof_timestamp_enabled="yes", appendfsync="always") as server:
        server.call("SET", "a", "1")
        second = int(time.time())
        assert_eventually(lambda: time.time() >= second + 1)
        server.call("SET", "b", "2")
        server.call("SET", "c", "3")
        data = files.incremental.read_bytes()
        stamps = [int(match) for match in TIMESTAMP.findall(data)]
        assert 2 <= len(stamps) <= 3
        assert stamps == sorted(set(stamps))
        assert abs(stamps[0] - time.time()) < 10
        assert b"#TS:" in data[: data.index(b"*")], "the first command is dated"
        assert commands(data)[1] == [b"SET", b"a", b"1"]
        server.restart(kill=True)
        with server.connect() as connection:
            assert connection.pipeline([["GET", "a"], ["GET", "b"], ["GET", "c"]]) == [b"1", b"2", b"3"]
    with start(tmp_path / "valkey", "valkey") as server:
        server.call("PING")
    shutil.copytree(files.path, tmp_path / "valkey" / "appendonlydir", dirs_exist_ok=True)
    with start(tmp_path / "valkey", "valkey") as server:
        assert server.call("DBSIZE") == 3


# ---- folders of other servers


def travel(tmp_path: Path, rng: random.Random, source: Kind, target: Kind, *, rewritten: bool, **options: str) -> None:
    seeder = Seeder(rng)
    with start(tmp_path / "from", source, **options) as server, server.connect() as connection:
        fill(connection, seeder)
        run(connection, seeder.mutate(1000))
        if rewritten:
            assert not isinstance(connection.call("BGREWRITEAOF"), Error)
            run(connection, seeder.mutate(300))
            wait_rewritten(server)
            run(connection, seeder.mutate(300))
        before = capture(connection)
        assert server.stop() == 0
    assert len(before) > 100
    shutil.copytree(tmp_path / "from" / "appendonlydir", tmp_path / "to" / "appendonlydir")
    with start(tmp_path / "to", target) as server, server.connect() as connection:
        assert_same(capture(connection), before)
        connection.call("SET", "more", "1")
        server.restart()
        assert server.call("GET", "more") == b"1"


@pytest.mark.differential
@pytest.mark.parametrize("source", ["valkey", "redis", "redis8"])
@pytest.mark.parametrize("preamble", ["yes", "no"])
@pytest.mark.parametrize("rewritten", [False, True], ids=["grown", "rewritten"])
def test_theirs_load_here(tmp_path: Path, rng: random.Random, source: Kind, preamble: str, rewritten: bool) -> None:
    travel(tmp_path, rng, source, "cachefleet", rewritten=rewritten, aof_use_rdb_preamble=preamble)


@pytest.mark.differential
@pytest.mark.parametrize("preamble", ["yes", "no"])
@pytest.mark.parametrize("rewritten", [False, True], ids=["grown", "rewritten"])
def test_one_file_of_redis6_loads_here(tmp_path: Path, rng: random.Random, rewritten: bool, preamble: str) -> None:
    """From before there were manifests; its base has ziplists."""
    seeder = Seeder(rng)
    with start(tmp_path, "redis6", aof_use_rdb_preamble=preamble) as server, server.connect() as connection:
        fill(connection, seeder)
        if rewritten:
            assert not isinstance(connection.call("BGREWRITEAOF"), Error)
            wait_rewritten(server)
        run(connection, seeder.mutate(500))
        before = capture(connection, times=False)
        assert server.stop() == 0
    with start(tmp_path) as server, server.connect() as connection:
        assert_same(capture(connection, times=False), before)
        server.restart()
        with server.connect() as again:
            assert_same(capture(again, times=False), before)


@pytest.mark.differential
@pytest.mark.parametrize("target", ["valkey", "redis", "redis8"])
@pytest.mark.parametrize("preamble", ["yes", "no"])
@pytest.mark.parametrize("rewritten", [False, True], ids=["grown", "rewritten"])
def test_ours_load_there(tmp_path: Path, rng: random.Random, target: Kind, rewritten: bool, preamble: str) -> None:
    travel(tmp_path, rng, "cachefleet", target, rewritten=rewritten, aof_use_rdb_preamble=preamble)


@pytest.mark.differential
@pytest.mark.parametrize("other", ["valkey", "redis", "redis8"])
def test_another_server_in_between(tmp_path: Path, rng: random.Random, other: Kind) -> None:
    """It takes our notes of the position for comments, and so does its checker; what it appends is loaded here."""
    files = AofFolder(tmp_path)
    seeder = Seeder(rng)
    with start(tmp_path) as server, server.connect() as connection:
        fill(connection, seeder)
        assert not isinstance(connection.call("BGREWRITEAOF"), Error)
        wait_rewritten(server)
        run(connection, seeder.mutate(500))
        before = capture(connection)
        assert server.stop() == 0
    assert NOTE.search(files.incremental.read_bytes())
    checked = subprocess.run(["redis-check-aof", str(files.manifest)], capture_output=True, text=True, check=False)
    assert "All AOF files and manifest are valid" in checked.stdout, checked.stdout
    with start(tmp_path, other) as server, server.connect() as connection:
        assert_same(capture(connection), before)
        connection.call("SET", "theirs", "1")
        assert server.stop() == 0
    with start(tmp_path) as server, server.connect() as connection:
        assert capture(connection).keys() == {*before, (0, b"theirs")}


def test_a_base_of_commands(tmp_path: Path, rng: random.Random) -> None:
    """`aof-use-rdb-preamble no`, also changed at run time: the next base is of the other kind, and both load."""
    files = AofFolder(tmp_path)
    with start(tmp_path, aof_use_rdb_preamble="no") as server, server.connect() as connection:
        assert files.base.name == "appendonly.aof.1.base.aof"
        assert files.base.read_bytes() == b""
        fill(connection, Seeder(rng))
        for preamble, name in (("no", "2.base.aof"), ("yes", "3.base.rdb"), ("no", "4.base.aof")):
            assert connection.call("CONFIG", "SET", "aof-use-rdb-preamble", preamble) == "OK"
            rewrite(server)
            assert files.base.name == f"appendonly.aof.{name}"
            assert_eventually(files.is_clean)
            before = capture(connection)
            server.restart(kill=True)
            connection = server.connect()
            assert_same(capture(connection), before)
        words = {command[0] for command in commands(files.base.read_bytes())}
        streams = {b"XADD", b"XSETID", b"XGROUP", b"XCLAIM"}
        assert words == {b"SELECT", b"SET", b"RPUSH", b"HSET", b"SADD", b"ZADD", b"PEXPIREAT", *streams}


@pytest.mark.differential
def test_their_time_stamps_load_here(tmp_path: Path, rng: random.Random) -> None:
    travel(tmp_path, rng, "valkey", "cachefleet", rewritten=True, aof_timestamp_enabled="yes")


# ---- the lock


def test_one_server_a_folder(tmp_path: Path) -> None:
    with start(tmp_path) as first:
        second = Instance(directory=tmp_path, options={"appendonly": "yes"})
        second.log = tmp_path / "second.log"
        log = refused(second)
        assert f"The data folder {tmp_path} is in use by another server (pid {first.pid})" in log
        assert first.call("SET", "k", "v") == "OK"
        cache = Instance(directory=tmp_path)
        cache.log = tmp_path / "cache.log"
        with cache:  # it writes no data files
            reply = cache.call("CONFIG", "SET", "appendonly", "yes")
            assert isinstance(reply, Error)
            assert "is in use by another server" in reply
            assert cache.call("CONFIG", "GET", "appendonly") == [b"appendonly", b"no"]
        written(first)
        first.kill()
        with second:
            assert second.call("GET", "k") == b"v"
