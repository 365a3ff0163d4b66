"""The server as a process: start and stop, signals, sockets, wrong configurations, limits, logs, crash reports."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fleettest.client import Connection, Error, encode
from fleettest.instance import ROOT, Instance, free_port
from fleettest.programs import Kind
from fleettest.skips import machine_lacks
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

MAXCLIENTS = b"-ERR max number of clients reached\r\n"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Instance]:
    """A server of the test's own, not started yet."""
    instance = Instance(directory=tmp_path)
    yield instance
    instance.close()


def run_command(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "server")}
    command = [sys.executable, "-m", "cachefleet_server", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment, timeout=60)


def machine_address() -> str | None:
    """An IPv4 address of this machine that is not loopback."""
    found = [a.address for card in psutil.net_if_addrs().values() for a in card if a.family == socket.AF_INET]
    return next((address for address in found if not address.startswith("127.")), None)


# -- command line


def test_version_and_help() -> None:
    assert run_command("--version").stdout.startswith("Cachefleet server v=")
    assert run_command("-v").returncode == 0
    assert "Usage: cachefleet-server" in run_command("--help").stdout


def test_check_config(tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text("port 7000\n")
    assert run_command("--check-config", str(file)).returncode == 0
    file.write_text("port 7000\n\nmaxmemory lots\n")
    result = run_command("--check-config", str(file))
    assert result.returncode == 1
    assert f"{file}, at line 3\n>>> 'maxmemory lots'\nargument must be a memory value" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--port", "abc"], ">>> 'port \"abc\"'\nargument couldn't be parsed into an integer"),
        (["--nope", "1"], "Bad directive or wrong number of arguments"),
        (["--port"], "wrong number of arguments"),
        (["--save", "60"], "Invalid save parameters"),
        (["--cluster-enabled", "yes"], "cluster mode is not supported"),
        (["--maxmemory", "9" * 5000], "argument must be a memory value"),
        (["--cluster-announce-client-ipv4", "1\udcff"], "Invalid IPv4 address"),
    ],
)
def test_wrong_options_stop_the_start(arguments: list[str], text: str) -> None:
    result = run_command(*arguments)
    assert result.returncode == 1
    assert "*** FATAL CONFIG FILE ERROR" in result.stderr
    assert text in result.stderr


def test_a_missing_file_stops_the_start() -> None:
    result = run_command("/no/such.conf")
    assert result.returncode == 1
    assert "Fatal error, can't open config file '/no/such.conf': No such file or directory" in result.stdout


def test_standard_input() -> None:
    result = run_command("-", stdin="hz 20\nport x\n")
    assert result.returncode == 1
    assert "standard input, at line 2" in result.stderr


def test_file_includes_and_options(own: Instance, tmp_path: Path) -> None:
    (tmp_path / "inc").mkdir()
    (tmp_path / "inc" / "a.conf").write_text("hz 20\ntimeout 7\n")
    own.config = tmp_path / "main.conf"
    own.config.write_text(f'# main\ninclude {tmp_path}/inc/*.conf\ntimeout 8\nrequirepass "a b"\n')
    own.options["maxclients"] = 99
    own.start()
    with own.connect() as c:
        assert c.call("AUTH", "a b") == "OK"
        assert c.call("CONFIG", "GET", "hz", "timeout", "maxclients") == [
            b"hz", b"20", b"timeout", b"8", b"maxclients", b"99",
        ]  # fmt: skip


# -- stopping


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(own: Instance, signum: signal.Signals) -> None:
    own.start()
    os.kill(own.pid, signum)
    assert own.wait_exit() == 0
    log = own.log_text()
    assert f"Received {signum.name} scheduling shutdown..." in log
    assert "User requested shutdown..." in log
    assert "ready to exit, bye bye..." in log


def test_shutdown_nosave_closes_the_connection(own: Instance) -> None:
    own.start()
    with own.connect() as c, pytest.raises(EOFError):
        c.call("SHUTDOWN", "NOSAVE")
    assert own.wait_exit() == 0


@pytest.mark.differential
@pytest.mark.parametrize(
    "words",
    [
        "foo", "save nosave", "abort now", "now nosave x", "abort", "ABORT", "abort abort", "failover", "failover safe",
        "failover abort", "safe abort", "nosave safe x", "save nosave now force", "",
    ],
)  # fmt: skip
def test_shutdowns_that_are_refused(server: Instance, valkey: Instance, words: str) -> None:
    arguments = words.split(" ")
    reply = server.call("SHUTDOWN", *arguments)
    assert isinstance(reply, Error)
    assert reply == valkey.call("SHUTDOWN", *arguments)


@pytest.mark.parametrize("kind", ["cachefleet", pytest.param("valkey", marks=pytest.mark.differential)])
@pytest.mark.parametrize("save", ["", "3600 1"], ids=["no save points", "save points"])
@pytest.mark.parametrize(
    ("words", "saves"),
    [("", None), ("save", True), ("nosave", False), ("NOW", None), ("now force nosave", False), ("safe save", True),
     ("force now", None), ("nosave nosave", False)],
)  # fmt: skip
def test_what_a_shutdown_saves(tmp_path: Path, kind: Kind, save: str, words: str, saves: bool | None) -> None:
    """Without a word: when there are save points. NOW, FORCE and SAFE change nothing: there is nobody to wait for."""
    with Instance(kind, directory=tmp_path, options={"save": save}) as server, server.connect() as connection:
        assert connection.call("SET", "k", "v") == "OK"
        with pytest.raises(EOFError):
            connection.call("SHUTDOWN", *words.split())
        assert server.wait_exit() == 0
        assert (tmp_path / "dump.rdb").exists() == (bool(save) if saves is None else saves)


def test_a_save_that_fails_keeps_it_running(own: Instance, tmp_path: Path) -> None:
    own.options["save"] = ("3600", "1")
    own.start()
    (tmp_path / "dump.rdb").mkdir()  # cannot be replaced by a file
    with own.connect() as c:
        assert c.call("SET", "k", "v") == "OK"
        assert c.call("SHUTDOWN") == Error("ERR Errors trying to SHUTDOWN. Check logs.")
        assert c.call("GET", "k") == b"v"
        os.kill(own.pid, signal.SIGTERM)
        assert_eventually(lambda: own.log_text().count("can't exit") == 2, own.log_tail)
        assert c.call("PING")
        with pytest.raises(EOFError):
            c.call("SHUTDOWN", "FORCE")
    assert own.wait_exit() == 0


def test_a_shutdown_that_fails_ends_nobody_elses_pause(own: Instance, tmp_path: Path) -> None:
    own.options |= {"save": ("3600", "1"), "stop-writes-on-bgsave-error": "no"}
    own.start()
    (tmp_path / "dump.rdb").mkdir()
    with own.connect() as c, own.connect() as writer:
        assert c.call("SET", "k", "v") == "OK"
        assert c.call("CLIENT", "PAUSE", 60_000, "WRITE") == "OK"
        assert c.call("SHUTDOWN") == Error("ERR Errors trying to SHUTDOWN. Check logs.")
        writer.send_command("SET", "k", "w")
        assert_eventually(lambda: c.call("CLIENT", "LIST", "FLAGS", "b"))
        info = own.info("clients")
        assert (info["paused_reason"], info["paused_actions"]) == ("client_pause", "write")
        assert c.call("GET", "k") == b"v", "reads are not held any more"
        assert c.call("CLIENT", "UNPAUSE") == "OK"
        assert writer.read() == "OK"


def test_nothing_is_executed_after_shutdown(own: Instance) -> None:
    own.start()
    with own.connect() as c:
        c.send(encode("SET", "before", "1") + encode("SHUTDOWN", "SAVE") + encode("SET", "after", "1"))
        assert c.read() == "OK"
        with pytest.raises(EOFError):
            c.read()
    assert own.wait_exit() == 0
    own.start()
    with own.connect() as c:
        assert c.call("MGET", "before", "after") == [b"1", None]


# -- sockets


def test_port_in_use(own: Instance) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run_command("--port", str(port), "--bind", "127.0.0.1", "--dir", str(own.directory))
    assert result.returncode == 1
    assert f"Could not create server TCP listening socket 127.0.0.1:{port}: Address already in use" in result.stdout
    assert f"Failed listening on port {port} (tcp), aborting." in result.stdout


def test_nothing_to_listen_on(tmp_path: Path) -> None:
    result = run_command("--port", "0", "--dir", str(tmp_path))
    assert result.returncode == 1
    assert "Configured to not listen anywhere, exiting." in result.stdout


def test_unix_socket(own: Instance, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    path.touch()  # left over
    own.options |= {"unixsocket": str(path), "unixsocketperm": "700"}
    own.start()
    assert "Ready to accept connections unix" in own.log_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    with Connection(str(path)) as c:
        assert c.call("PING") == "PONG"
        info = c.call("CLIENT", "INFO").decode()
        assert f"addr={path}:0" in info
    shown = own.info("server")
    assert shown["listener0"] == f"name=tcp,bind=127.0.0.1,port={own.port}"
    assert shown["listener1"] == f"name=unix,bind={path}"
    own.stop()
    assert not path.exists()


def test_a_unix_socket_whose_path_is_no_utf8(own: Instance, tmp_path: Path) -> None:
    path = os.fsdecode(bytes(tmp_path) + b"/\xff.sock")
    own.options |= {"unixsocket": path, "slowlog-log-slower-than": 0}
    own.start()
    shown = os.fsencode(path) + b":0"
    with Connection(path) as c, Connection(path) as watching:
        assert watching.call("MONITOR") == "OK"
        for word in ("INFO", "LIST"):
            assert b" addr=" + shown + b" laddr=" + shown in c.call("CLIENT", word)
        assert c.call("SLOWLOG", "GET")[0][4] == shown
        assert os.fsencode(path) in c.call("INFO", "server")
        assert shown in watching.read().encode("latin-1")


def test_requests_of_browsers_are_logged(own: Instance) -> None:
    """Once a minute at most, however many come."""
    own.options["hz"] = 100
    own.start()
    for times in (1, 20):
        for _ in range(times):
            with own.connect() as c:
                c.send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert c.closed_by_server()
        assert_eventually(lambda: "Possible SECURITY ATTACK detected" in own.log_text(), own.log_tail)
    own.stop()
    assert own.log_text().count("Possible SECURITY ATTACK detected") == 1


def test_addresses_need_no_descriptor(own: Instance) -> None:
    own.options["enable-debug-command"] = "local"
    own.start()
    with own.connect() as c:
        assert c.call("PING") == "PONG", "it is accepted now"
        process = psutil.Process(own.pid)
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds(), process.rlimit(psutil.RLIMIT_NOFILE)[1]))
        assert f"addr=127.0.0.1:{c.sock.getsockname()[1]} " in c.call("CLIENT", "LIST").decode()
        assert c.call("DEBUG", "SLEEP", "0") == "OK"


def has_ipv6_loopback() -> bool:
    """A kernel may have IPv6 and a container still no ::1."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_ipv6_and_several_addresses(own: Instance) -> None:
    if not has_ipv6_loopback():
        machine_lacks("no IPv6")
    own.options["bind"] = ["127.0.0.1", "::1", "-192.0.2.99", "-2001:db8::1"]
    own.start()
    for host in ("127.0.0.1", "::1"):
        with Connection((host, own.port)) as c:
            assert c.call("PING") == "PONG"
            shown = f"[{host}]" if ":" in host else host
            addresses = f"addr={shown}:{c.sock.getsockname()[1]} laddr={shown}:{own.port} "
            assert addresses in c.call("CLIENT", "INFO").decode()
    assert "192.0.2.99" in own.log_text()


def test_an_address_that_is_not_ours_stops_the_start(tmp_path: Path) -> None:
    result = run_command("--port", str(free_port()), "--bind", "192.0.2.99", "--dir", str(tmp_path))
    assert result.returncode == 1
    assert "Cannot assign requested address" in result.stdout


def test_bind_and_port_change_at_run_time(own: Instance) -> None:
    own.start()
    port = free_port()
    with own.connect() as c:
        assert c.call("CONFIG", "SET", "bind", "192.0.2.99") == Error(
            "ERR CONFIG SET failed (possibly related to argument 'bind') - Failed to bind to specified addresses."
        )
        assert c.call("CONFIG", "GET", "bind") == [b"bind", b"127.0.0.1"]
        assert own.call("PING") == "PONG"
        assert c.call("CONFIG", "SET", "port", port) == "OK"
        with Connection(("127.0.0.1", port)) as other:
            assert other.call("PING") == "PONG"
        with pytest.raises(OSError):
            own.connect()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            reply = c.call("CONFIG", "SET", "port", taken.getsockname()[1])
        assert reply == Error(
            "ERR CONFIG SET failed (possibly related to argument 'port') - "
            "Unable to listen on this port. Check server logs."
        )
        assert c.call("CONFIG", "GET", "port") == [b"port", str(port).encode()]


def test_protected_mode(own: Instance) -> None:
    address = machine_address()
    if address is None:
        machine_lacks("no address but loopback")
    own.options["bind"] = "*"
    own.start()
    with socket.create_connection((address, own.port)) as sock:
        assert sock.recv(4096).startswith(b"-DENIED Running in protected mode because")
        assert sock.recv(4096) == b""
    with own.connect() as c:
        rejected = int(own.info("stats")["rejected_connections"])
        assert rejected == 1
        assert c.call("CONFIG", "SET", "requirepass", "x") == "OK"
        with Connection((address, own.port)) as other:
            assert other.call("PING") == Error("NOAUTH Authentication required.")
        assert c.call("CONFIG", "SET", "requirepass", "", "protected-mode", "no") == "OK"
    with Connection((address, own.port)) as other:
        assert other.call("PING") == "PONG"


def test_maxclients(own: Instance) -> None:
    own.options["maxclients"] = 2
    own.start()
    with own.connect() as first, own.connect() as second:
        assert (first.call("PING"), second.call("PING")) == ("PONG", "PONG")
        with socket.create_connection(own.address) as third:
            assert third.recv(100) == MAXCLIENTS
            assert third.recv(100) == b""
        assert first.call("CONFIG", "SET", "maxclients", "3") == "OK"
        with own.connect() as third_again:
            assert third_again.call("PING") == "PONG"


def test_many_connections_at_once(own: Instance) -> None:
    """More than one accept event takes them all, although an event takes ten at most."""
    own.start()
    connections = [own.connect() for _ in range(100)]
    try:
        assert [c.call("PING") for c in connections] == ["PONG"] * 100
    finally:
        for c in connections:
            c.close()


# -- reloading


def test_sighup_reloads_file_and_secrets(own: Instance, tmp_path: Path) -> None:
    secret, own.config = tmp_path / "secret", tmp_path / "x.conf"
    secret.write_text("one\n")
    own.config.write_text(f"hz 20\nrequirepass-file {secret}\ndatabases 8\n")
    own.start()
    with own.connect() as c:
        assert c.call("AUTH", "one") == "OK"
        secret.write_text("two\n")
        own.config.write_text(f"hz 30\nrequirepass-file {secret}\ndatabases 9\n")
        os.kill(own.pid, signal.SIGHUP)
        assert_eventually(lambda: "These changes need a restart: databases" in own.log_text(), own.log_tail)
        assert c.call("CONFIG", "GET", "hz") == [b"hz", b"30"]
        with own.connect() as other:
            assert other.call("AUTH", "one") == Error(
                "WRONGPASS invalid username-password pair or user is disabled."
            )
            assert other.call("AUTH", "two") == "OK"
        own.config.write_text("hz x\n")
        os.kill(own.pid, signal.SIGHUP)
        assert_eventually(lambda: "The configuration was not reloaded" in own.log_text(), own.log_tail)
        assert c.call("CONFIG", "GET", "hz") == [b"hz", b"30"]
        secret.write_text("")  # as an editor that fails leaves it
        own.config.write_text(f"hz 40\nrequirepass-file {secret}\n")
        os.kill(own.pid, signal.SIGHUP)
        assert_eventually(lambda: "The secret is empty" in own.log_text(), own.log_tail)
        assert c.call("CONFIG", "GET", "hz") == [b"hz", b"30"]
        with own.connect() as other:
            assert other.call("PING") == Error("NOAUTH Authentication required.")
            assert other.call("AUTH", "two") == "OK"


def test_sighup_finds_relative_paths_where_the_start_did(own: Instance, tmp_path: Path) -> None:
    """The server works in `dir`; the paths of its sources begin where it was started."""
    (tmp_path / "data").mkdir()
    (tmp_path / "parts").mkdir()
    own.config, own.options["dir"] = tmp_path / "x.conf", "data"
    own.options["requirepass-file"] = "secret"
    own.config.write_text("include extra.conf\ninclude parts/*.conf\n")
    (tmp_path / "extra.conf").write_text("hz 20\n")
    (tmp_path / "parts" / "a.conf").write_text("timeout 100\n")
    (tmp_path / "secret").write_text("one\n")
    own.start()
    with own.connect() as c:
        assert c.call("AUTH", "one") == "OK"
        (tmp_path / "extra.conf").write_text("hz 30\n")
        (tmp_path / "parts" / "a.conf").write_text("timeout 200\n")
        (tmp_path / "secret").write_text("two\n")
        os.kill(own.pid, signal.SIGHUP)
        assert_eventually(lambda: "reloaded" in own.log_text(), own.log_tail)
        assert c.call("CONFIG", "GET", "hz") == [b"hz", b"30"]
        assert c.call("CONFIG", "GET", "timeout") == [b"timeout", b"200"]
        assert c.call("CONFIG", "GET", "dir") == [b"dir", bytes(tmp_path / "data")]
        with own.connect() as other:
            assert other.call("AUTH", "two") == "OK"


def test_secret_from_the_environment(own: Instance) -> None:
    own.env = {"CACHEFLEET_REQUIREPASS": "hidden", "CACHEFLEET_PORT": "tcp://10.0.0.1:6379"}
    own.start()
    with own.connect() as c:
        assert c.call("AUTH", "hidden") == "OK"


# -- logs


def test_legacy_log(own: Instance) -> None:
    own.start()
    line = next(line for line in own.log_text().splitlines() if "Ready to accept" in line)
    stamp = r"\d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d\.\d{3}"
    assert re.fullmatch(rf"\d+:M {stamp} \* Ready to accept connections tcp", line)


def test_json_log_in_a_file(own: Instance, tmp_path: Path) -> None:
    own.options |= {"logfile": str(tmp_path / "json.log"), "log-format": "json", "log-timestamp-format": "iso8601"}
    own.start()
    lines = [json.loads(line) for line in (tmp_path / "json.log").read_text().splitlines()]
    assert lines[-1]["message"] == "Ready to accept connections tcp"
    assert (lines[-1]["level"], lines[-1]["role"], lines[-1]["pid"]) == ("notice", "primary", own.pid)


def test_loglevel_changes_at_once(own: Instance) -> None:
    own.options["loglevel"] = "warning"
    own.start()
    assert "Ready to accept" not in own.log_text()
    assert own.call("CONFIG", "SET", "loglevel", "notice") == "OK"
    own.stop()
    assert "User requested shutdown" in own.log_text()


# -- the process


def test_pidfile_and_daemon(own: Instance, tmp_path: Path) -> None:
    pidfile, log = tmp_path / "pid", tmp_path / "daemon.log"
    own.options |= {"daemonize": "yes", "pidfile": str(pidfile), "logfile": str(log)}
    process = own.spawn()
    assert process.wait(30) == 0
    pid = int(assert_eventually(lambda: pidfile.exists() and pidfile.read_text()))
    try:
        assert_eventually(lambda: "Ready to accept" in log.read_text())
        assert own.call("PING") == "PONG"
        assert pid != process.pid
    finally:
        os.kill(pid, signal.SIGTERM)
        assert_eventually(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid))
    assert not pidfile.exists()
    own.process = None


@pytest.mark.parametrize("refused_by", ["port", "folder"])
def test_a_refused_server_leaves_the_pid_file_of_the_first(own: Instance, tmp_path: Path, refused_by: str) -> None:
    pidfile = tmp_path / "pid"
    own.options |= {"pidfile": str(pidfile), "save": "60 1"}
    own.start()
    assert pidfile.read_text() == f"{own.pid}\n"
    folder = tmp_path if refused_by == "folder" else tmp_path / "other"
    port = own.port if refused_by == "port" else free_port()
    second = Instance(directory=folder, options=own.options, port=port)
    second.log = tmp_path / "second.log"
    second.spawn()
    assert second.wait_exit() == 1
    assert pidfile.read_text() == f"{own.pid}\n"
    own.stop()
    assert not pidfile.exists()


def _is_zombie(pid: int) -> bool:
    """Ended, and not yet collected by its adoptive parent."""
    return ") Z " in Path(f"/proc/{pid}/stat").read_text()


@pytest.mark.parametrize("signum", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_is_reported(own: Instance, signum: signal.Signals) -> None:
    own.start()
    os.kill(own.pid, signum)
    assert own.wait_exit() == -signum
    log = own.log_text()
    assert "=== CACHEFLEET BUG REPORT START" in log
    assert f"crashed by signal: {signum.value}," in log
    assert "------ STACK TRACE ------" in log
    assert "libc.so" in log.split("STACK TRACE")[1]
    assert "most recent call first" in log.split("PYTHON TRACE")[1]


def test_without_a_crash_log(own: Instance) -> None:
    own.options["crash-log-enabled"] = "no"
    own.start()
    os.kill(own.pid, signal.SIGSEGV)
    assert own.wait_exit() == -signal.SIGSEGV
    assert "BUG REPORT" not in own.log_text()
