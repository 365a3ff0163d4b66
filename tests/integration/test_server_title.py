"""What others see of a server's process, and what is said of parameters that do nothing."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fleettest.instance import Instance, free_port
from fleettest.programs import Kind
from fleettest.skips import machine_lacks
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Instance]:
    """A server of the test's own, not started yet."""
    instance = Instance(directory=tmp_path)
    yield instance
    instance.close()


def words(server: Instance) -> list[str]:
    return Path(f"/proc/{server.pid}/cmdline").read_text().rstrip("\0").split("\0")


@pytest.mark.parametrize("title", ["yes", "no"])
def test_a_password_on_the_command_line_is_seen_by_nobody(own: Instance, title: str) -> None:
    own.options |= {"requirepass": "hunter2", "primaryauth": "hunter3", "set-proc-title": title}
    own.start()
    assert "hunter" not in " ".join(words(own))
    with own.connect() as connection:
        assert connection.call("AUTH", "hunter2") == "OK"
        assert connection.call("CONFIG", "GET", "primaryauth") == [b"primaryauth", b"hunter3"]
    assert ("--requirepass" in words(own)) == (title == "no")


TEMPLATE = "{title} {listen-addr} {server-mode} {port} {tls-port} {unixsocket} {config-file}"


@pytest.mark.parametrize("kind", ["cachefleet", pytest.param("valkey", marks=pytest.mark.differential)])
@pytest.mark.parametrize("config", [False, True], ids=["", "file"])
def test_the_title_follows_its_parameters(tmp_path: Path, kind: Kind, config: bool) -> None:
    file = tmp_path / "x.conf"
    file.write_text("hz 10\n")
    first, second = free_port(), free_port()
    options = {"bind": ("127.0.0.1", "-::1"), "unixsocket": str(tmp_path / "s")}
    shown_file = str(file) if config else "-"
    with Instance(
        kind, directory=tmp_path / "data", options=options, port=first, config=file if config else None
    ) as server, server.connect() as connection:
        name = words(server)[0].partition(" ")[0]
        assert name.endswith("cachefleet-server" if kind == "cachefleet" else "valkey-server")
        assert words(server) == [f"{name} 127.0.0.1:{first}"]
        if kind == "cachefleet":
            assert Path(f"/proc/{server.pid}/comm").read_text() == "cachefleet-serv\n"
        assert connection.call("CONFIG", "SET", "port", second) == "OK"
        assert words(server) == [f"{name} 127.0.0.1:{second}"]
        assert connection.call("CONFIG", "SET", "proc-title-template", f"  x {TEMPLATE} ") == "OK"
        wanted = f"x {name} 127.0.0.1:{second}  {second} 0 {tmp_path}/s {shown_file}"
        assert words(server)[0] == wanted[: len(words(server)[0])]
        assert len(words(server)[0]) > len(f"x {name} 127")
        assert connection.call("CONFIG", "SET", "proc-title-template", "{config-file} {listen-addr}") == "OK"
        assert words(server)[0] == f"{shown_file} 127.0.0.1:{second}"
        assert connection.call("CONFIG", "SET", "bind", "", "proc-title-template", "{listen-addr}") == "OK"
        assert words(server)[0] == f"*:{second}"
        assert connection.call("CONFIG", "SET", "port", "0") == "OK"
        assert words(server)[0] == f"unixsocket:{tmp_path}/s"


def test_what_has_no_effect_is_told_wherever_it_is_set(own: Instance, tmp_path: Path) -> None:
    own.config = tmp_path / "x.conf"
    own.config.write_text("acllog-max-len 128\nlua-time-limit 7\nIO-threads-do-reads yes\ndynamic-hz no\n")
    own.start()
    log = own.log_text()
    assert "* Parameters of other servers, ignored here: dynamic-hz, io-threads-do-reads" in log
    assert "# busy-reply-threshold 7 has no effect: scripts are not supported" in log
    assert "acllog-max-len" not in log
    with own.connect() as connection:
        assert connection.call("CONFIG", "SET", "repl-disable-tcp-nodelay", "yes", "hz", "20") == "OK"
        assert connection.call("CONFIG", "SET", "acllog-max-len", "128") == "OK"
    assert "# repl-disable-tcp-nodelay yes has no effect: replicas get what they are sent at once" in own.log_text()
    own.config.write_text("acllog-max-len 129\nlua-time-limit 7\n")
    os.kill(own.pid, signal.SIGHUP)
    assert_eventually(lambda: "# acllog-max-len 129 has no effect" in own.log_text(), own.log_tail)
    assert own.log_text().count("has no effect") == 3


def test_a_server_runs_on_the_cores_it_is_given(own: Instance) -> None:
    mine = sorted(os.sched_getaffinity(0))
    own.options["server-cpulist"] = f"{mine[-1]}"
    own.start()
    assert psutil.Process(own.pid).cpu_affinity() == [mine[-1]]
    assert own.stop() == 0
    for wrong in ("x", "9999"):
        own.options["server-cpulist"] = wrong
        own.start()
        assert f"Can't run on the cores {wrong} of server-cpulist: " in own.log_text()
        assert psutil.Process(own.pid).cpu_affinity() == mine
        assert own.stop() == 0


def test_connections_may_take_several_paths(own: Instance) -> None:
    try:
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
    except OSError:
        machine_lacks("no MPTCP in this kernel")
    with client:
        own.options["mptcp"] = "yes"
        own.start()
        client.connect(("127.0.0.1", own.port))
        client.sendall(b"PING\r\n")
        assert client.recv(100) == b"+PONG\r\n"
        assert own.call("PING") == "PONG"  # plain TCP goes on
        # TCP_IS_MPTCP: false where it fell back.
        assert client.getsockopt(socket.IPPROTO_TCP, 43) == 1
