"""What a pod asks of its server: a preStop hook that saves, waits and never fails; probes while data is read."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettest.client import encode
from fleettest.faults import Faults
from fleettest.instance import ROOT, Instance, free_port
from fleettest.rdbfile import parse
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

SNAPSHOTS = {"save": "3600 1"}
MANAGED = {"managed": "yes", "appendonly": "yes"}


@pytest.fixture
def auth(tmp_path: Path) -> Path:
    """The folder of the password that a server has, empty: no password."""
    folder = tmp_path / "auth"
    folder.mkdir()
    return folder


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    return Faults(tmp_path / "data", tmp_path)


def begin(
    port: int, auth: Path, *, save_s: float = 60, drain_s: float = 0, handover_s: float = 60
) -> subprocess.Popen[str]:
    environment = {**os.environ, "SERVER_PORT": str(port), "SERVER_AUTH_DIR": str(auth)}
    command = [sys.executable, "-m", "cachefleet_server.prestop"]
    command += ["--save-seconds", str(save_s), "--drain-seconds", str(drain_s)]
    command += ["--handover-seconds", str(handover_s)]
    environment["PYTHONPATH"] = str(ROOT / "server")
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def said(hook: subprocess.Popen[str]) -> str:
    """What it said at its end; it must have succeeded."""
    _, words = hook.communicate(timeout=60)
    assert hook.returncode == 0, words
    return words


def is_waiting(server: Instance, hook: subprocess.Popen[str]) -> bool:
    """It has looked several times, and looks on."""
    assert hook.poll() is None, said(hook)
    for line in server.call("CLIENT", "LIST").decode().splitlines():
        client = dict(field.partition("=")[::2] for field in line.split())
        if client["cmd"] == "info" and int(client["tot-cmds"]) > 5:
            return True
    return False


def test_it_saves(tmp_path: Path, auth: Path) -> None:
    with Instance(directory=tmp_path / "data", options=SNAPSHOTS) as server:
        server.call("SET", "order", "1")
        assert said(begin(server.port, auth)) == "prestop: save ok, 0 clients left\n"
        assert [record.key for record in parse((server.directory / "dump.rdb").read_bytes()).records] == [b"order"]


def test_it_saves_nothing_where_no_snapshots_are_wanted(tmp_path: Path, auth: Path) -> None:
    with Instance(directory=tmp_path / "data") as server:
        server.call("SET", "order", "1")
        assert said(begin(server.port, auth)) == "prestop: save not wanted, 0 clients left\n"
        assert not (server.directory / "dump.rdb").exists()


@pytest.mark.parametrize("has", ["new", "old", "next", ""])
def test_it_logs_in_with_the_password_that_the_server_has(tmp_path: Path, auth: Path, has: str) -> None:
    (auth / "password").write_text("new\n")
    (auth / "previous").write_text("old")
    (auth / "next").write_text("next")
    with Instance(directory=tmp_path / "data", options={**SNAPSHOTS, "requirepass": has}) as server:
        assert said(begin(server.port, auth)) == "prestop: save ok, 0 clients left\n"


def test_a_wrong_password_is_no_failure(tmp_path: Path, auth: Path) -> None:
    (auth / "password").write_text("guess")
    with Instance(directory=tmp_path / "data", options={"requirepass": "secret"}) as server:
        assert "gave up: ServerError('NOAUTH Authentication required.')" in said(begin(server.port, auth))


def test_it_waits_for_clients_to_leave(tmp_path: Path, auth: Path) -> None:
    with Instance(directory=tmp_path / "data") as server:
        with server.connect() as client:
            client.call("PING")
            hook = begin(server.port, auth, drain_s=300)
            assert_eventually(lambda: is_waiting(server, hook), deadline_s=30)
        assert said(hook) == "prestop: save not wanted, 0 clients left\n"


def test_clients_have_their_time_and_no_more(tmp_path: Path, auth: Path) -> None:
    with Instance(directory=tmp_path / "data") as server, server.connect() as client:
        client.call("PING")
        assert said(begin(server.port, auth, drain_s=0.5)) == "prestop: save not wanted, 1 clients left\n"


def reigning(server: Instance, acks: int) -> str:
    """Its disk, when it is the primary of so many others, which are not there."""
    fields: list[str] = [word.decode() for word in server.call("CACHEFLEET", "STATE")]
    said = dict(zip(fields[::2], fields[1::2], strict=True))
    disk, run = said["disk"], said["run"]
    members = ",".join([disk, *(str(n) * 40 for n in range(acks))])
    record = f"epoch 1 tenure 1 kind first primary {disk} run {run} set {members} acks {acks} from 0:0"
    where = f"data-set {'d' * 40} durability async address 127.0.0.1 {server.port}"
    assert server.call("CACHEFLEET", "RECORD", disk, *record.split(), *where.split()) == "OK"
    return disk


def test_it_waits_until_another_one_is_the_primary(tmp_path: Path, auth: Path) -> None:
    """Who is fenced disconnects its clients, the hook too."""
    with Instance(directory=tmp_path / "data", options=MANAGED) as server:
        disk = reigning(server, acks=1)
        hook = begin(server.port, auth, drain_s=0.1)

        def waits() -> bool:
            assert hook.poll() is None, said(hook)
            asked = server.info("commandstats").get("cmdstat_cachefleet|state", "calls=0,")
            return int(asked.removeprefix("calls=").partition(",")[0]) > 3

        assert_eventually(waits, deadline_s=30)
        server.call("CACHEFLEET", "FENCE", disk, 2)
        assert said(hook) == "prestop: save not wanted, 0 clients left\n"


@pytest.mark.parametrize(("acks", "handover_s"), [(1, 0.5), (0, 60)], ids=["no operator", "alone"])
def test_it_does_not_wait_for_nobody(tmp_path: Path, auth: Path, acks: int, handover_s: float) -> None:
    with Instance(directory=tmp_path / "data", options=MANAGED) as server:
        reigning(server, acks)
        assert said(begin(server.port, auth, handover_s=handover_s)).startswith("prestop: save not wanted")


def test_it_waits_for_the_snapshot(faults: Faults, auth: Path) -> None:
    with Instance(directory=faults.folder, env=faults.env, options=SNAPSHOTS) as server:
        faults.set("hold fsync 1 @temp*")
        hook = begin(server.port, auth, save_s=300)
        assert_eventually(lambda: is_waiting(server, hook), deadline_s=30)
        faults.clear()
        assert said(hook).startswith("prestop: save ok")


def test_it_waits_for_a_snapshot_that_runs_already(faults: Faults, auth: Path) -> None:
    with Instance(directory=faults.folder, env=faults.env, options=SNAPSHOTS) as server:
        faults.set("hold fsync 1 @temp*")
        server.call("BGSAVE")
        hook = begin(server.port, auth, save_s=300)
        assert_eventually(lambda: is_waiting(server, hook), deadline_s=30)
        assert server.info("persistence")["rdb_bgsave_in_progress"] == "1"
        faults.clear()
        assert said(hook).startswith("prestop: save ok")


def test_a_snapshot_has_its_time_and_no_more(faults: Faults, auth: Path) -> None:
    with Instance(directory=faults.folder, env=faults.env, options=SNAPSHOTS) as server:
        faults.set("hold fsync 1 @temp*")
        assert said(begin(server.port, auth, save_s=0.5)).startswith("prestop: save not finished")


def test_a_full_disk_is_no_failure(faults: Faults, auth: Path) -> None:
    with Instance(directory=faults.folder, env=faults.env, options=SNAPSHOTS) as server:
        faults.set("fail write 1- ENOSPC @temp*")
        assert said(begin(server.port, auth)).startswith("prestop: save err")
        faults.clear()


def test_no_server_is_no_failure(auth: Path) -> None:
    assert "gave up: ConnectionRefusedError" in said(begin(free_port(), auth))


@pytest.fixture
def liar(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port where every connection gets these bytes, once, and is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(1 << 16)
                    peer.sendall(request.param)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


ODD = [b"", b"HTTP/1.1 400 Bad\r\n\r\n", b"*2\r\n$4\r\nsa", b"$99999999999\r\n", b"*-1\r\n", b"$x\r\n", b"\xff\r\n"]


@pytest.mark.parametrize("liar", ODD, indirect=True, ids=range(len(ODD)))
def test_what_speaks_no_resp_is_no_failure(liar: int, auth: Path) -> None:
    assert "gave up: " in said(begin(liar, auth))


def test_it_starts_quickly() -> None:
    """It must be over before anybody notices: no part of the server, and nothing heavy, is imported."""
    code = "import sys, cachefleet_server.prestop; print(*sorted(m for m in sys.modules if m.startswith('cachefleet')))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "server")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cachefleet_server", "cachefleet_server.prestop", "cachefleet_server.version"]


def get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_server_that_reads_its_data_is_healthy_and_not_ready(tmp_path: Path) -> None:
    """So that no disk is slow enough to have it killed: the probes of the pod rely on this."""
    text = encode("SET", "key", "ab" * 2000)
    (tmp_path / "appendonly.aof").write_bytes(text + encode("LCS", "key", "key", "LEN") * 10_000)  # slow for its size
    metrics = free_port()
    options = {"appendonly": "yes", "metrics-port": metrics, "metrics-bind": "127.0.0.1"}
    server = Instance(directory=tmp_path, options=options)
    try:
        server.spawn()

        def loading() -> bool:
            try:
                return get(metrics, "/readyz?exclude=disk") == 503
            except ConnectionRefusedError:
                return False

        assert_eventually(loading, deadline_s=60, pause_s=0.001)
        assert get(metrics, "/healthz") == 200
        assert get(metrics, "/readyz?exclude=disk") == 503
        assert_eventually(lambda: get(metrics, "/readyz?exclude=disk") == 200, deadline_s=60)
    finally:
        server.close()
