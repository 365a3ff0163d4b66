"""What a pod does to a server: signals at bad moments, full disks, passwords that rotate, users without a name, a root
file system that is read-only, kernels without IPv6, kill -9 of everything at once.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettest import figures
from fleettest.client import Connection, Error
from fleettest.disk import Disk
from fleettest.faults import preload
from fleettest.instance import ROOT, Instance, free_port
from fleettest.rdbfile import Builder, parse
from fleettest.skips import machine_lacks
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

WRONG = Error("WRONGPASS invalid username-password pair or user is disabled.")



@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Instance]:
    """A server of the test's own, not started yet."""
    instance = Instance(directory=tmp_path / "data")
    yield instance
    instance.close()


def persistence(server: Instance, field: str) -> str:
    return server.info("persistence")[field]


# ---- SIGTERM at a bad moment


def test_sigterm_while_loading(own: Instance) -> None:
    """It leaves at once, and the file stays as it was."""
    count = 3_000_000
    parts = [b"\x00\x0bkey:%07d\x01v" % i for i in range(count)]
    data = Builder().sizes(count).raw(b"".join(parts)).end(checksum=0)
    file = own.directory / "dump.rdb"
    file.write_bytes(data)
    own.options["save"] = "3600 1"
    for _ in range(5):  # a busy machine may be late with the signal
        own.log.unlink(missing_ok=True)
        process = own.spawn()
        assert_eventually(lambda: "Server initialized" in own.log_text(), own.log_tail, pause_s=0.001)
        process.send_signal(signal.SIGTERM)
        assert own.wait_exit() == 0
        if caught := "Ready to accept connections" not in own.log_text():
            break
    assert caught, "it came to its end each time"
    assert file.read_bytes() == data


def stop_held(server: Instance, disk: Disk) -> None:
    """SIGTERM; the calls that are held return when the shutdown has begun."""
    os.kill(server.pid, signal.SIGTERM)
    assert_eventually(lambda: "User requested shutdown" in server.log_text(), server.log_tail)
    disk.faults.clear()
    assert server.wait_exit() == 0


@pytest.mark.parametrize("aof", ["yes", "no"])
def test_sigterm_while_a_save_runs(disk: Disk, aof: str) -> None:
    with disk.server(save="3600 1", appendonly=aof) as server:
        server.call("SET", "a", "1")
        disk.faults.set("hold fsync 1- @temp*.rdb")
        assert server.call("BGSAVE") == "Background saving started"
        server.call("SET", "b", "2")
        stop_held(server, disk)
        assert len(parse((disk.folder / "dump.rdb").read_bytes()).records) == 2
        assert not list(disk.folder.glob("temp-*"))
        server.start()
        assert server.call("MGET", "a", "b") == [b"1", b"2"]


@pytest.mark.parametrize("save", ["3600 1", ""], ids=["with a last save", "without"])
def test_sigterm_while_the_aof_is_rewritten(disk: Disk, save: str) -> None:
    """The rewrite gives way, the last save is made, nothing is left lying about."""
    with disk.server(save=save, appendonly="yes") as server:
        server.call("SET", "a", "1")
        disk.faults.set("hold fsync 1- @temp-rewriteaof*")
        assert server.call("BGREWRITEAOF") == "Background append only file rewriting started"
        server.call("SET", "b", "2")
        stop_held(server, disk)
        assert (disk.folder / "dump.rdb").exists() == bool(save)
        assert disk.files.is_clean()
        server.start()
        assert server.call("MGET", "a", "b") == [b"1", b"2"]


@pytest.mark.parametrize("forced", [False, True], ids=["default", "forced"])
def test_sigterm_on_a_full_disk(disk: Disk, forced: bool) -> None:
    """By default it goes on, as Valkey does, so that somebody may make space; `shutdown-on-sigterm force` leaves."""
    with disk.server(save="3600 1", shutdown_on_sigterm="force" if forced else "default") as server:
        server.call("SET", "a", "1")
        disk.faults.set("fail write 1- ENOSPC @temp*")
        os.kill(server.pid, signal.SIGTERM)
        if forced:
            assert server.wait_exit() == 0
            log = server.log_text()
            assert "Error trying to save the DB, but the exit is forced: write: No space left on device" in log
            return
        text = "Error trying to save the DB, can't exit: write: No space left on device"
        assert_eventually(lambda: text in server.log_text(), server.log_tail)
        assert server.call("GET", "a") == b"1"
        disk.faults.clear()
        assert server.stop() == 0
        assert len(parse((disk.folder / "dump.rdb").read_bytes()).records) == 1


def test_sigterm_when_the_aof_takes_no_more(disk: Disk) -> None:
    """Under everysec what waits is at most about a second's; it leaves, and says how much that was."""
    with disk.server(appendonly="yes", appendfsync="everysec") as server:
        server.call("SET", "a", "1")
        assert server.call("WAITAOF", 1, 0, 20_000) == [1, 0]
        disk.faults.set("fail write 1- ENOSPC @*.incr.aof")
        assert server.call("SET", "b", "2") == "OK"
        assert server.stop() == 0
        assert "The append only file could not be brought to disk before the exit: 27 bytes of" in server.log_text()
        disk.faults.clear()
        server.start()
        assert server.call("MGET", "a", "b") == [b"1", None]


def test_sigterm_on_a_slow_disk_waits_for_it(disk: Disk) -> None:
    with disk.server(appendonly="yes", appendfsync="everysec") as server:
        server.call("SET", "a", "1")
        disk.faults.set("hold fsync 1- @*.incr.aof")
        server.call("SET", "b", "2")
        stop_held(server, disk)
        assert "could not be brought to disk" not in server.log_text()
        server.start()
        assert server.call("MGET", "a", "b") == [b"1", b"2"]


# ---- kill -9 of a container


class Load:
    """Counts up in one key, over RDB and AOF, until the server dies."""

    def __init__(self, server: Instance) -> None:
        self.acknowledged = 0
        self._connection = server.connect(timeout_s=10)
        self._thread = threading.Thread(target=self._go)
        self._thread.start()

    def _go(self) -> None:
        try:
            while not isinstance(reply := self._connection.call("INCR", "n"), Error):
                self.acknowledged = reply
        except (OSError, EOFError):
            pass

    def join(self) -> int:
        self._thread.join(30)
        assert not self._thread.is_alive()
        self._connection.close()
        return self.acknowledged


@pytest.mark.parametrize("rounds", [4, pytest.param(40, marks=pytest.mark.exhaustive)])
def test_killed_again_and_again(tmp_path: Path, rng: random.Random, rounds: int) -> None:
    """With snapshots, rewrites, a pid file and a unix socket: it starts again by itself, from its own leftovers."""
    options = {
        "appendonly": "yes", "appendfsync": "always", "save": "1 1", "auto-aof-rewrite-min-size": "1kb",
        "auto-aof-rewrite-percentage": "50", "hz": "100", "unixsocket": str(tmp_path / "s"),
        "pidfile": str(tmp_path / "pid"),
    }  # fmt: skip
    with Instance(directory=tmp_path / "data", options=options) as server:
        for _ in range(rounds):
            load = Load(server)
            before = int(server.call("GET", "n") or 0)
            assert_eventually(lambda load=load, before=before: load.acknowledged > before)
            pause = time.monotonic() + rng.uniform(0, 1.5)
            assert_eventually(lambda pause=pause: time.monotonic() > pause, pause_s=0.002)
            server.kill()
            figures.count()
            acknowledged = load.join()
            server.start()
            assert int(server.call("GET", "n")) in (acknowledged, acknowledged + 1)
        assert "BUG REPORT" not in server.log_text()


# ---- passwords that rotate


def accepts(server: Instance, password: str) -> bool:
    with server.connect() as connection:
        reply = connection.call("AUTH", password)
        assert reply in ("OK", WRONG)
        return bool(reply == "OK")


def mount_secret(folder: Path, version: int, password: str) -> None:
    """As the kubelet does it: a new folder, and a symbolic link that changes over to it at once."""
    data = folder / f"..{version}"
    data.mkdir()
    (data / "password").write_text(password)
    link = folder / "..data.new"
    link.symlink_to(data.name)
    link.rename(folder / "..data")
    if not (folder / "password").is_symlink():
        (folder / "password").symlink_to("..data/password")


@pytest.mark.parametrize("source", ["environment", "option"])
def test_a_password_rotates_with_sighup(own: Instance, tmp_path: Path, source: str) -> None:
    folder = tmp_path / "secret"
    folder.mkdir()
    mount_secret(folder, 1, "one")
    if source == "environment":
        own.env["CACHEFLEET_REQUIREPASS_FILE"] = str(folder / "password")
    else:
        own.options["requirepass-file"] = str(folder / "password")
    own.start()
    with own.connect() as old:
        assert old.call("AUTH", "one") == "OK"
        mount_secret(folder, 2, "two\n")
        os.kill(own.pid, signal.SIGHUP)
        assert_eventually(lambda: "Configuration reloaded, changed: requirepass" in own.log_text(), own.log_tail)
        assert accepts(own, "two")
        assert not accepts(own, "one")
        assert old.call("SET", "k", "v") == "OK", "who is in stays in"
        (folder / "..data").unlink()
        os.kill(own.pid, signal.SIGHUP)
        assert_eventually(lambda: "The configuration was not reloaded" in own.log_text(), own.log_tail)
        assert accepts(own, "two"), "a secret that cannot be read changes nothing"
    assert "two" not in own.log_text(), "no secret in the log"


def test_a_password_rotates_with_config_set(own: Instance) -> None:
    own.options["requirepass"] = "one"
    own.start()
    with own.connect() as old:
        assert old.call("AUTH", "one") == "OK"
        assert old.call("CONFIG", "SET", "requirepass", "two") == "OK"
        assert accepts(own, "two")
        assert not accepts(own, "one")
        assert old.call("SET", "k", "v") == "OK"
        os.kill(own.pid, signal.SIGHUP)
        assert_eventually(lambda: "Configuration reloaded, changed: nothing" in own.log_text(), own.log_tail)
        assert accepts(own, "two"), "sources that did not change do not undo it"


# ---- --check-config


def check(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cachefleet_server", "--check-config", *arguments]
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "server"), **environment}
    return subprocess.run(command, capture_output=True, text=True, env=variables, timeout=60)


def test_check_config_says_what_is_wrong(tmp_path: Path) -> None:
    """0 and one line on standard output, or 1 and file, line and reason on standard error; nothing is made."""
    file = tmp_path / "x.conf"
    file.write_text(f"port 7000\ndir {tmp_path}\nappendonly yes\n")
    good = check(str(file))
    assert (good.returncode, good.stdout, good.stderr) == (0, "The configuration is valid\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["x.conf"]
    for line, reason in (
        ("maxmemory lots", "argument must be a memory value"),
        ("dir /no/such/folder", "No such file or directory"),
        ("requirepass-file /no/such/secret", "Can't read the secret file '/no/such/secret': No such file or directory"),
        ("nosuch 1", "Bad directive or wrong number of arguments"),
        ("cluster-enabled yes", "not supported by this version"),
    ):
        file.write_text(f"port 7000\n{line}\n")
        result = check(str(file))
        assert (result.returncode, result.stdout) == (1, ""), line
        assert f"{file}, at line 2" in result.stderr
        assert reason in result.stderr
    file.write_text("port 7000\n")
    result = check(str(file), CACHEFLEET_REQUIREPASS_FILE="/no/such/secret")
    assert result.returncode == 1
    assert "CACHEFLEET_REQUIREPASS_FILE" in result.stderr
    assert check(str(file), "--port", "x").returncode == 1
    assert check("/no/such.conf").returncode == 1


# ---- what the container lacks


def serves(server: Instance, host: str = "127.0.0.1") -> None:
    """Commands, snapshots, rewrites, metrics and a restart work."""
    with Connection((host, server.port)) as connection:
        assert connection.call("SET", "k", "v") == "OK"
        assert connection.call("SAVE") == "OK"
        assert connection.call("BGREWRITEAOF") == "Background append only file rewriting started"
        assert_eventually(lambda: persistence(server, "aof_rewrite_in_progress") == "0")
        assert persistence(server, "aof_last_bgrewrite_status") == "ok"
    with urllib.request.urlopen(f"http://{host}:{server.options['metrics-port']}/readyz", timeout=30) as response:
        assert response.status == 200
    server.restart()
    with Connection((host, server.port)) as connection:
        assert connection.call("GET", "k") == b"v"
    assert server.stop() == 0
    assert "Traceback" not in server.log_text()


@pytest.mark.parametrize("bind", [["0.0.0.0", "::"], ["*", "-::*"], ["*", "::*"]], ids=" ".join)
def test_without_ipv6(own: Instance, bind: list[str]) -> None:
    own.env = {"LD_PRELOAD": preload("containershim"), "SHIM_NO_IPV6": "1"}
    own.options |= {"bind": bind, "appendonly": "yes", "protected-mode": "no", "metrics-port": free_port()}
    own.start()
    assert "Address family not supported by protocol" in own.log_text()
    serves(own)


def test_a_read_only_root(own: Instance, tmp_path: Path) -> None:
    """Only the data folder and /tmp can be written to. The log goes to standard output."""
    work = tmp_path / "root"
    work.mkdir()
    own.env = {"LD_PRELOAD": preload("containershim"), "SHIM_WRITABLE": f"{own.directory}:/tmp/.shim-nothing"}
    own.wrapper = ["env", f"HOME={work}", "sh", "-c", f'cd {work} && exec "$@"', "sh"]
    own.options |= {"appendonly": "yes", "save": "3600 1", "metrics-port": free_port()}
    own.start()
    with own.connect() as connection:
        connection.call("SET", "k", "v")
        assert connection.call("CONFIG", "SET", "enable-protected-configs", "yes") == Error(
            "ERR CONFIG SET failed (possibly related to argument 'enable-protected-configs') - "
            "can't set immutable config"
        )
    serves(own)
    assert list(work.iterdir()) == []


def test_the_shim_refuses(tmp_path: Path) -> None:
    """Else the test above shows nothing."""
    code = f"open({str(tmp_path / 'x')!r}, 'w')"
    environment = {**os.environ, "LD_PRELOAD": preload("containershim"), "SHIM_WRITABLE": "/no/such"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "Read-only file system" in result.stderr


BECOME = """
import os, pwd, sys
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(0)
    os.setuid(int(sys.argv[1]))
try:
    sys.exit(f"user {pwd.getpwuid(os.getuid()).pw_name} has a name")
except KeyError:
    os.execv(sys.argv[2], sys.argv[2:])
"""


def interpreter() -> str:
    """The Python below the virtual environment."""
    return str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())


def copy_program(to: Path) -> None:
    """The server and what it imports, where anybody may read it and only root may write."""
    for name in ("cachefleet_server", "cachefleet_parameters"):
        shutil.copytree(ROOT / "server" / name, to / name)
    for name in ("uvloop", "hiredis", "prometheus_client"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        shutil.copytree(Path(spec.origin).parent, to / name)


def test_any_user_without_a_name(rng: random.Random) -> None:
    """As OpenShift runs it: a user number that no passwd file knows, group 0, a home that is not there.

    Where other users cannot reach the interpreter (one below /root), a user name space gives the number.
    """
    if os.getuid() != 0:
        machine_lacks("only root can become another user")
    uid = rng.randrange(1_000_000_000, 1_000_100_000)
    python = interpreter()
    reachable = all(path.stat().st_mode & 0o001 for path in Path(python).parents)
    if not reachable and subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode:
        machine_lacks("neither user name spaces nor an interpreter that other users can reach")
    base = Path(tempfile.mkdtemp(prefix="fleettest-uid-"))
    try:
        base.chmod(0o755)
        program, data = base / "program", base / "data"
        data.mkdir()
        os.chown(data, uid if reachable else 0, 0)
        copy_program(program)
        namespace = [] if reachable else ["unshare", "--user", f"--map-user={uid}", "--map-group=0"]
        server = Instance(directory=data, wrapper=[*namespace, python, "-c", BECOME, str(uid)])
        server.program = [python, "-P", "-m", "cachefleet_server"]
        server.env = {"PYTHONPATH": str(program), "HOME": "/nonexistent", "USER": "", "LOGNAME": ""}
        server.log = base / "server.log"
        server.options |= {"appendonly": "yes", "save": "3600 1", "metrics-port": free_port()}
        with server:
            serves(server)
        if reachable:
            assert {path.stat().st_uid for path in data.rglob("*")} == {uid}
    finally:
        shutil.rmtree(base)


def test_signals_during_the_exit_change_nothing(own: Instance) -> None:
    """However many come, and when: it saves and ends with its own code."""
    for round_ in range(10):
        own.start()
        assert own.call("SET", "round", round_) == "OK"
        while own.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(own.pid, signal.SIGTERM if round_ % 2 else signal.SIGHUP)
                os.kill(own.pid, signal.SIGTERM)
            time.sleep(0.0005)
        assert own.wait_exit() == 0
        assert "crashed" not in own.log_text()
