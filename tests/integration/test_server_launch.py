"""From the command line to a server that runs: standard streams, signals during the start, daemons, supervisors."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachefleet_server import __main__ as command_line
from cachefleet_server.config.config import Config
from cachefleet_server.config.parser import option_lines
from cachefleet_server.log import Log
from fleettest.client import Error
from fleettest.instance import ROOT, Instance, free_port
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

STREAMS = {
    "no output": "1>&-",
    "no error": "2>&-",
    "none": "0<&- 1>&- 2>&-",
    "full": "1>/dev/full 2>/dev/full",
    "nobody reads": "1> >(exec true) 2> >(exec true)",
}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Instance]:
    """A server of the test's own, not started yet."""
    instance = Instance(directory=tmp_path, options={"pidfile": str(tmp_path / "pid")})
    yield instance
    instance.close()
    left = tmp_path / "pid"  # of a daemon that a failed test has not ended
    if left.exists():
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(left.read_text()), signal.SIGKILL)


def redirected(how: str) -> list[str]:
    return ["bash", "-c", f'exec "$@" {how}', "bash"]


def run_command(*arguments: str, wrapper: tuple[str, ...] = (), stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "server")}
    command = [*wrapper, sys.executable, "-m", "cachefleet_server", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment, timeout=60)


# -- standard streams


@pytest.mark.parametrize("streams", STREAMS)
def test_a_server_needs_no_standard_streams(own: Instance, streams: str) -> None:
    """Nothing it opens takes their places: its log goes to descriptor 1, whatever that is."""
    own.wrapper = redirected(STREAMS[streams])
    own.options |= {"appendonly": "yes", "loglevel": "debug"}
    own.start()
    assert own.call("SET", "k", "v") == "OK"
    for descriptor in (0, 1, 2):
        there = os.readlink(f"/proc/{own.pid}/fd/{descriptor}")
        assert there.startswith(("/dev/", "pipe:", str(own.log))), there
    assert own.stop() == 0
    own.start()
    assert own.call("GET", "k") == b"v"
    assert own.stop() == 0


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize(
    ("arguments", "fails"),
    [(["--help"], False), (["--port", "x"], True), (["/no/such.conf"], True)],
    ids=["help", "wrong option", "no file"],
)  # fmt: skip
def test_the_command_line_needs_no_standard_streams(arguments: list[str], fails: bool, streams: str) -> None:
    result = run_command(*arguments, wrapper=tuple(redirected(STREAMS[streams])))
    assert "Traceback" not in result.stdout + result.stderr
    could_not_speak = streams in ("full", "nobody reads")
    assert result.returncode == int(fails or could_not_speak)


def test_a_full_disk_is_told() -> None:
    result = run_command("--version", wrapper=tuple(redirected("1>/dev/full")))
    assert result.stderr == "cachefleet-server: Can't write to standard output: No space left on device\n"


@pytest.mark.parametrize("how", ["0<&-", "0</"])
def test_a_configuration_that_cannot_be_read(how: str) -> None:
    result = run_command("-", "--port", "x", wrapper=tuple(redirected(how)))
    assert result.returncode == 1
    assert "Traceback" not in result.stderr


def test_bytes_of_standard_input_are_taken_as_those_of_a_file() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "server"), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "cachefleet_server", "--check-config", "-"]
    result = subprocess.run(command, input=b'requirepass "\xff\xc3\xa4"\n', env=environment, timeout=60, check=False)
    assert result.returncode == 0


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    """As the console script, which Python itself starts there."""
    script = "from cachefleet_server.__main__ import main; main()"
    shell = f'mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone; exec "$@"'
    command = ["bash", "-c", shell, "bash", sys.executable, "-c", script, "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "server")}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert result.returncode == 1
    assert "The folder that this was started in cannot be used: No such file or directory" in result.stdout
    assert "Traceback" not in result.stderr


def test_a_data_folder_that_goes_during_the_start(tmp_path: Path) -> None:
    folder, log = tmp_path / "data", Log()
    folder.mkdir()
    config = Config()
    config.load(option_lines(["--dir", str(folder)]), {})
    folder.rmdir()
    log.open(str(tmp_path / "log"))
    assert command_line._serve(config, log, list) == 1
    log.close()
    assert f"Can't chdir to '{folder}': No such file or directory" in (tmp_path / "log").read_text()


# -- signals during the start


def blocked(pid: int, signum: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:"))
    return bool(int(mask, 16) & 1 << signum - 1)


def test_sighup_during_the_start_is_taken_later(own: Instance, tmp_path: Path) -> None:
    own.config = tmp_path / "x.conf"
    own.config.write_text("hz 20\n")
    process = own.spawn()
    assert_eventually(lambda: blocked(process.pid, signal.SIGHUP), "SIGHUP waits", pause_s=0)
    process.send_signal(signal.SIGHUP)
    assert_eventually(lambda: "Configuration reloaded" in own.log_text(), own.log_tail)
    assert not blocked(process.pid, signal.SIGHUP)
    assert own.stop() == 0


def test_ctrl_c_during_the_start_leaves_no_trace(own: Instance) -> None:
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's jobs inherit that it is ignored
    try:
        process = own.spawn()
    finally:
        signal.signal(signal.SIGINT, handler)
    assert_eventually(lambda: blocked(process.pid, signal.SIGHUP), "main has begun", pause_s=0)
    process.send_signal(signal.SIGINT)
    assert own.wait_exit() in (-signal.SIGINT, 0)  # 0: it came when there was a handler already
    assert "Traceback" not in own.log_text()


def imported_with(module: str, prefix: str) -> list[str]:
    found = f"sorted(name for name in sys.modules if name.startswith({prefix!r}))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "server")}
    words = [sys.executable, "-c", f"import sys, {module}; print(*{found})"]
    result = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60, check=True)
    return result.stdout.split()


def test_nothing_slow_comes_before_the_signals() -> None:
    ours = imported_with("cachefleet_server.__main__", "cachefleet")
    assert ours == ["cachefleet_server", "cachefleet_server.__main__", "cachefleet_server.version"]


def test_a_server_without_its_metrics_port_takes_no_library_for_it() -> None:
    """5 MB, and a third of what a start imports."""
    assert imported_with("cachefleet_server.server", "prometheus_client") == []


@pytest.mark.parametrize("mark", ["1", "2147483648", "4294967295"])
def test_a_mark_of_its_sockets(own: Instance, mark: str) -> None:
    own.options |= {"socket-mark-id": mark}
    own.start()
    assert own.call("CONFIG", "GET", "socket-mark-id") == [b"socket-mark-id", mark.encode()]


# -- daemons


def daemon(own: Instance, **options: str) -> subprocess.CompletedProcess[str]:
    """Runs the parent to its end."""
    own.options |= {"daemonize": "yes", **options}
    own.port = own.port or free_port()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "server"), **own.env}
    return subprocess.run(
        own.command_line(), capture_output=True, text=True, env=environment, cwd=own.directory, timeout=60, check=False
    )


def test_when_the_parent_of_a_daemon_ends_its_port_is_open(own: Instance, tmp_path: Path) -> None:
    result = daemon(own)
    pid = int((tmp_path / "pid").read_text())
    try:
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
        with own.connect() as connection:
            assert connection.call("CONFIG", "GET", "daemonize") == [b"daemonize", b"yes"]
        for descriptor in (0, 1, 2):
            assert os.readlink(f"/proc/{pid}/fd/{descriptor}") == "/dev/null"
        assert os.getsid(pid) == pid
    finally:
        os.kill(pid, signal.SIGTERM)
        assert_eventually(lambda: not (tmp_path / "pid").exists())


FAILURES = {
    "log file": ({"logfile": "/nonexistent/x"}, "Can't open the log file /nonexistent/x: No such file or directory"),
    "address": ({"bind": "192.0.2.99"}, "Cannot assign requested address"),
    "no address": ({"bind": ""}, "Configured to not listen anywhere, exiting."),
    "unix socket": ({"unixsocket": "/nonexistent/x"}, "Failed opening Unix socket /nonexistent/x: No such file"),
    "locale": ({"locale-collate": "nowhere"}, "Invalid locale name"),
    "metrics port": ({"metrics-bind": "192.0.2.99", "metrics-port": "9121"}, "Can't listen on metrics port 9121"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_daemon_that_cannot_start_says_so(own: Instance, tmp_path: Path, what: str) -> None:
    options, text = FAILURES[what]
    result = daemon(own, **options)
    assert result.returncode == 1
    assert text in result.stderr
    assert not (tmp_path / "pid").exists()


def test_a_daemon_on_the_folder_of_another_server(own: Instance, tmp_path: Path) -> None:
    own.options["save"] = "60 1"
    own.start()
    second = Instance(directory=tmp_path, options=own.options, port=free_port())
    result = daemon(second)
    assert result.returncode == 1
    assert "is in use by another server" in result.stderr


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("raise ModuleNotFoundError('no', name='uvloop')", 'This installation has no server: pip install'),
        ("raise RuntimeError('broken')", "RuntimeError: broken"),
        ("import os; os.kill(os.getpid(), 9)", ""),
        ("import os; os._exit(0)", ""),
    ],
    ids=["missing", "broken", "killed", "ended"],
)  # fmt: skip
def test_a_daemon_that_ends_at_its_imports(own: Instance, tmp_path: Path, module: str, text: str) -> None:
    (tmp_path / "uvloop.py").write_text(module + "\n")
    own.env = {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT / "server")))}
    result = daemon(own)
    assert result.returncode == 1
    assert text in result.stderr


# -- supervisors


@pytest.fixture
def notify(tmp_path: Path) -> Iterator[socket.socket]:
    """systemd's end of the line."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(30)
        yield sock


@pytest.mark.parametrize("kind", ["systemd", "auto"])
def test_systemd_is_told_from_the_start_to_the_end(
    own: Instance, notify: socket.socket, tmp_path: Path, kind: str
) -> None:
    own.env = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    own.options |= {"supervised": kind, "save": "60 1"}
    own.start()
    assert notify.recv(1000) == b"STATUS=Cachefleet is loading...\n"
    assert notify.recv(1000) == b"READY=1\nSTATUS=Ready to accept connections\n"
    (tmp_path / "dump.rdb").mkdir()  # cannot be replaced by a file
    os.kill(own.pid, signal.SIGTERM)
    assert notify.recv(1000) == b"STATUS=Saving the final RDB snapshot\n"
    assert notify.recv(1000) == b"STATUS=Error trying to save the DB, can't exit.\n"
    (tmp_path / "dump.rdb").rmdir()
    assert own.stop() == 0
    assert notify.recv(1000) == b"STATUS=Saving the final RDB snapshot\n"
    assert notify.recv(1000) == b"STOPPING=1\n"


@pytest.mark.parametrize("kind", ["systemd", "auto"])
def test_supervised_wins_over_daemonize(own: Instance, notify: socket.socket, tmp_path: Path, kind: str) -> None:
    own.env = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    own.options |= {"supervised": kind, "daemonize": "yes"}
    own.start()
    assert int(own.info("server")["process_id"]) == own.pid
    assert own.stop() == 0


def test_upstart_is_told_by_stopping(own: Instance) -> None:
    own.env = {"UPSTART_JOB": "cache"}
    own.options |= {"supervised": "upstart", "daemonize": "yes"}
    process = own.spawn()
    assert_eventually(lambda: ") T " in Path(f"/proc/{process.pid}/stat").read_text(), own.log_tail)
    process.send_signal(signal.SIGCONT)
    assert own.call("PING") == "PONG"
    assert own.stop() == 0


def test_a_supervisor_that_is_not_there_is_nobody(own: Instance, tmp_path: Path) -> None:
    """As in Valkey: the daemon is one, then."""
    log = tmp_path / "log"
    result = daemon(own, supervised="systemd", logfile=str(log))
    pid = int((tmp_path / "pid").read_text())
    try:
        assert result.returncode == 0
        assert "systemd supervision requested, but NOTIFY_SOCKET not found!" in log.read_text()
    finally:
        os.kill(pid, signal.SIGTERM)
        assert_eventually(lambda: not (tmp_path / "pid").exists())


# -- a data folder that takes no files


def test_a_folder_that_cannot_be_written_serves_until_a_snapshot_fails(own: Instance) -> None:
    """Save points are on by default, and nobody may have meant them."""
    own.options |= {"dir": "/proc/sys", "save": "3600 1"}
    own.start()
    assert "Can't write to the data folder /proc/sys: " in own.log_text()
    assert "Snapshots will fail, and writes be refused after the first that does" in own.log_text()
    with own.connect() as connection:
        assert connection.call("SET", "k", "v") == "OK"
        assert connection.call("BGSAVE") == Error("ERR")
        assert str(connection.call("SET", "k", "v")).startswith("MISCONF ")
        assert connection.call("CONFIG", "SET", "save", "") == "OK"
        assert connection.call("SET", "k", "v") == "OK"
    assert own.stop() == 0


def test_an_aof_needs_a_folder_that_can_be_written(own: Instance) -> None:
    own.options |= {"dir": "/proc/sys", "appendonly": "yes"}
    own.spawn()
    assert own.wait_exit() == 1
    assert "Can't write to the data folder /proc/sys: " in own.log_text()
    assert 'switch persistence off: save "", appendonly no' in own.log_text()
