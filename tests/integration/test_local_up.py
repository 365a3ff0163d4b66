"""`cachefleet local` with real servers: the first command of the README and what people do to it.

Times and sizes are printed for people; nothing is asserted on them.
"""

from __future__ import annotations

import errno
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from fleettest.instance import ROOT
from fleettest.local import COMMAND, READY_S, Local, alive, manifest
from fleettest.skips import machine_lacks
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

SAMPLE = ROOT / "deploy" / "samples" / "cache.yaml"


def rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


# -- the demo


def test_the_sample_from_start_to_start(local: Local) -> None:
    shutil.copy(SAMPLE, local.file)
    began = time.monotonic()
    local.up().says("is Ready after")
    took = time.monotonic() - began
    with local.client() as client:
        assert client.set("greeting", "hello")
    assert local.process is not None
    sizes = [rss_mib(pid) for pid in (local.process.pid, local.pid())]
    print(f"\nReady {took:.2f} s after the command; RSS of up {sizes[0]:.0f} MiB, of the server {sizes[1]:.0f} MiB")
    assert f"redis-cli -p {local.port}" in local.said()
    assert f"http://127.0.0.1:{local.metrics_port}/metrics" in local.said()
    password = Path(local.home, local.cache()["passwordFile"])
    assert password.stat().st_mode & 0o777 == 0o600
    assert password.read_text() not in local.said()
    pid = local.pid()
    assert local.stop() == 0
    assert not alive(pid)
    local.up()
    with local.client() as client:
        assert client.get("greeting") == "hello"
    assert password.read_text() == Path(local.home, local.cache()["passwordFile"]).read_text()


def test_no_password_and_no_data_is_possible_too(local: Local) -> None:
    local.write(manifest(auth={"mode": "none"}, persistence={"mode": "none"}))
    local.up()
    with local.client() as client:
        assert client.set("a", "b")
        assert client.config_get("requirepass") == {"requirepass": ""}
        assert client.config_get("appendonly") == {"appendonly": "no"}


def test_metrics_are_served(local: Local) -> None:
    local.up().ready()
    with socket.create_connection(("127.0.0.1", local.metrics_port)) as sock:
        sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        with sock.makefile("rb") as answer:
            assert b"redis_up" in answer.read()


# -- death


def test_a_killed_server_is_started_again_with_its_data(local: Local) -> None:
    local.write(manifest(persistence={"fsync": "always"}))
    local.up()
    with local.client() as client:
        client.set("a", "1")
    first = local.pid()
    os.kill(first, signal.SIGKILL)
    assert_eventually(lambda: local.cache()["status"]["pods"][0]["message"].startswith("exited with code 137"))
    with local.client() as client:
        assert_eventually(lambda: _ask(client.get, "a") == "1")
    assert local.pid() != first


def _ask(what: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return what(*arguments)
    except redis.RedisError as error:
        raise AssertionError(str(error)) from None


@pytest.mark.parametrize("stopped", [False, True], ids=["", "its server hangs"])
def test_a_killed_up_leaves_no_server_and_the_next_one_finds_the_data(local: Local, stopped: bool) -> None:
    local.write(manifest(podTemplate={"spec": {"terminationGracePeriodSeconds": 2}}))
    local.up()
    with local.client() as client:
        client.set("a", "1")
    pid = local.pid()
    if stopped:
        os.kill(pid, signal.SIGSTOP)  # it cannot hear that its parent died
    local.stop(signal.SIGKILL)
    if not stopped:
        assert_eventually(lambda: not alive(pid))
    local.up()
    with local.client() as client:
        assert client.get("a") == "1"
    assert not alive(pid)
    assert local.pid() != pid


def test_a_second_interrupt_kills(local: Local) -> None:
    local.up()
    pid = local.pid()
    os.kill(pid, signal.SIGSTOP)  # so that it does not end by itself
    assert local.process is not None
    local.process.send_signal(signal.SIGINT)
    local.says("Ctrl-C again kills")
    assert alive(pid)
    assert local.stop() == 1
    assert not alive(pid)


def test_sigterm_and_the_end_of_the_terminal_stop_it_cleanly(local: Local) -> None:
    for word in (signal.SIGTERM, signal.SIGHUP):
        local.up().ready()
        assert local.stop(word) == 0


# -- another spec


def test_a_live_change_and_one_that_needs_a_restart(local: Local) -> None:
    local.write(manifest(memory={"limit": "128Mi"}))
    local.up()
    with local.client() as client:
        client.set("a", "1")
        before = int(client.config_get("maxmemory")["maxmemory"])
        run = client.info("server")["run_id"]
        local.write(manifest(memory={"limit": "128Mi"}, config={"timeout": "77", "hz": "20"}))
        assert_eventually(lambda: client.config_get("timeout") == {"timeout": "77"}, deadline_s=READY_S)
        assert client.info("server")["run_id"] == run
    local.says("set hz 20, timeout 77 in orders-0")
    local.write(manifest(memory={"limit": "512Mi"}, config={"databases": "3"}))
    local.says("restarting orders-0")
    assert_eventually(lambda: local.cache()["ready"], deadline_s=READY_S)
    with local.client() as client:
        assert_eventually(lambda: _ask(client.config_get, "databases") == {"databases": "3"}, deadline_s=READY_S)
        assert client.info("server")["run_id"] != run
        assert int(client.config_get("maxmemory")["maxmemory"]) > before
        assert client.config_get("timeout") == {"timeout": "0"}
        assert client.get("a") == "1"


def test_a_spec_that_changed_while_nothing_ran(local: Local) -> None:
    local.write(manifest(config={"databases": "4"}))
    local.up().ready()
    local.stop()
    local.write(manifest(config={"databases": "5"}))
    local.up()
    with local.client() as client:
        assert client.config_get("databases") == {"databases": "5"}
    assert "restarting" not in local.said()  # it started as wanted at once


def test_a_wrong_edit_changes_nothing_and_says_why(local: Local) -> None:
    local.up()
    pid = local.pid()
    local.file.write_text("spec: [")
    local.says("cache.yaml:1:8")
    local.write(manifest(persistence={"mode": "none"}))
    local.says("persistence.mode cannot change to or from none")
    local.write(manifest(config={"port": "1"}))
    assert_eventually(lambda: "port" in local.cache()["status"].get("message", ""), deadline_s=READY_S)
    local.write(manifest())
    local.ready()
    assert local.pid() == pid


def test_caches_come_and_go_with_the_manifests(local: Local) -> None:
    second = manifest("sessions", "shop", persistence={"mode": "snapshot"})
    local.write(manifest(), second)
    local.up()
    with local.client("sessions") as client:
        client.set("who", "sessions")
    with local.client() as client:
        assert client.get("who") is None
    ports = [local.cache(name)["port"] for name in ("orders", "sessions")]
    assert ports[0] == local.port != ports[1]
    pid = local.pid("sessions")
    local.write(manifest())
    assert_eventually(lambda: [c["name"] for c in local.status()["caches"]] == ["orders"], deadline_s=READY_S)
    assert_eventually(lambda: not alive(pid), deadline_s=READY_S)
    local.write(manifest(), second)
    with local.client("sessions") as client:
        assert client.get("who") == "sessions"
    assert local.cache("sessions")["port"] == ports[1]


def test_a_password_of_the_users_own_and_its_change(local: Local) -> None:
    def secret(word: str) -> str:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "stringData": {"word": word}}
        return json.dumps(body)

    cache = manifest(auth={"mode": "secret", "secretRef": {"name": "mine", "key": "word"}})
    local.write(cache)
    local.up()
    assert_eventually(lambda: "Secret mine does not exist" in local.cache()["status"].get("message", ""),
                      deadline_s=READY_S)  # fmt: skip
    local.write(cache, secret("open sesame"))
    port = local.ready()["port"]
    assert redis.Redis(port=port, password="open sesame").ping()
    local.write(cache, secret("another"))
    assert_eventually(lambda: _ask(redis.Redis(port=port, password="another").ping), deadline_s=READY_S)
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=port, password="open sesame").ping()
    assert "sesame" not in local.said() + json.dumps(local.status())


def test_storage_grows_without_a_restart(local: Local) -> None:
    local.up()
    pid = local.pid()
    local.write(manifest(persistence={"storage": {"size": "2Gi"}}))
    local.says("growing volume data-orders-0 from 1Gi to 2Gi")
    assert_eventually(lambda: local.cache()["ready"], deadline_s=READY_S)
    local.ready()
    assert local.pid() == pid
    local.write(manifest(persistence={"storage": {"size": "1Gi"}}))
    local.says("volume data-orders-0 has 2Gi, which cannot shrink to storage.size 1Gi")


# -- other processes


def test_detached_with_status_logs_connect_and_down(local: Local) -> None:
    arguments = ("--port", str(local.port), "--metrics-port", str(local.metrics_port))
    started = local.run("up", "-d", "-f", "-", *arguments, stdin=manifest())
    assert started.returncode == 0, started.stderr
    assert "orders is Ready after" in started.stdout
    assert json.loads(local.run("status", "-o", "json").stdout) == local.status()
    status = local.run("status")
    assert status.returncode == 0
    assert "orders" in status.stdout and f"127.0.0.1:{local.port}" in status.stdout and "Running" in status.stdout
    logs = local.run("logs", "orders")
    assert "Ready to accept connections" in logs.stdout, logs.stdout + logs.stderr
    connected = local.run("connect", "orders", "--", "SET", "a", "b")
    assert (connected.returncode, connected.stdout.strip()) == (0, "OK"), connected.stderr
    assert local.run("connect", stdin="GET a\n").stdout.strip() == "b"
    pid = local.pid()
    stopped = local.run("down")
    assert (stopped.returncode, stopped.stdout) == (0, "Stopped; the data are saved.\n")
    assert not alive(pid)
    assert local.run("logs").returncode == 0  # they stay
    assert local.run("down").returncode == 7
    refused = local.run("down", "--delete-data")
    assert refused.returncode == 2
    assert "default/orders" in refused.stderr and local.data.exists()
    assert local.run("down", "--delete-data", "--yes").stdout == "Deleted default/orders\n"
    assert not local.data.exists()


def test_connect_without_a_client_says_what_to_install(local: Local) -> None:
    local.up().ready()
    local.environment["PATH"] = str(local.home)
    answer = local.run("connect")
    assert answer.returncode == 5
    assert "apt-get install redis-tools" in answer.stderr and f"127.0.0.1:{local.port}" in answer.stderr


def test_following_a_log_goes_on_over_its_rotation(local: Local) -> None:
    local.up().ready()
    log = local.data / "default" / "orders" / "orders-0" / "server.log"
    follower = subprocess.Popen([*COMMAND, "logs", "-f"], cwd=local.home, stdout=subprocess.PIPE, env=local.environment)
    assert follower.stdout is not None
    try:
        while b"Ready to accept" not in follower.stdout.readline():
            pass
        with local.client() as client:
            client.bgsave()
        while b"background sav" not in follower.stdout.readline().lower():
            pass
        os.truncate(log, 0)
        with local.client() as client:
            client.bgsave()
        assert follower.stdout.readline()
    finally:
        follower.kill()
        follower.wait()
        follower.stdout.close()


def test_a_second_up_is_told_who_is_there(local: Local) -> None:
    local.up().ready()
    assert local.process is not None
    for more in ((), ("-d",)):
        second = local.run("up", *more, "-f", str(local.file))
        assert second.returncode == 4
        assert f"(pid {local.process.pid}) runs in cachefleet-data already" in second.stderr


def test_on_a_terminal_a_table_is_drawn_and_ctrl_c_stops(local: Local) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(local.home)
        words = ["up", "-f", str(local.file), "--port", str(local.port), "--metrics-port", str(local.metrics_port)]
        os.execve(sys.executable, [*COMMAND, *words], {**local.environment, "TERM": "xterm", "COLUMNS": "150"})
    seen = b""
    try:
        while b"was Ready after" not in seen or b"ENDPOINT" not in seen:
            seen += os.read(terminal, 65536)
        server = local.pid()
        os.write(terminal, b"\x03")
        try:
            while chunk := os.read(terminal, 65536):
                seen += chunk
        except OSError:  # the terminal's other end is closed
            pass
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        pid = 0
        assert b"Stopped." in seen and b"connect" in seen
        assert not alive(server)
    finally:
        os.close(terminal)
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


# -- wrong inputs


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: 1\n  b: 2", "cache.yaml:2:4:"), (manifest(memory={"limit": "1Mi"}), "memory.limit must be at least 96Mi")],
    ids=["YAML", "spec"],
)
def test_wrong_manifests_are_refused_in_words(local: Local, text: str, words: str) -> None:
    local.write(text)
    for more in ((), ("-d",)):
        answer = local.run("up", *more, "-f", "cache.yaml")
        assert answer.returncode == 3, answer.stderr
        assert words in answer.stderr
        assert "Traceback" not in answer.stderr
        assert "cache.yaml" in answer.stderr
    assert not list(local.data.glob("default/*"))


def test_files_that_are_not_there(local: Local) -> None:
    (local.home / "empty").mkdir()
    for source, words in (("none.yaml", "No such file"), ("empty", "no *.yaml, *.yml, *.json in it")):
        answer = local.run("up", "-f", source)
        assert answer.returncode == 3
        assert f"{source}: {words}" in answer.stderr


def test_up_without_f_takes_cache_yaml_or_says_how_to_make_one(local: Local) -> None:
    local.file.unlink(missing_ok=True)
    answer = local.run("up")
    assert answer.returncode == 2
    example = answer.stderr.split("A first Cache:")[1].strip().splitlines()[0]
    subprocess.run(example, shell=True, cwd=local.home, check=True)
    started = local.run("up", "-d", "--port", str(local.port), "--metrics-port", str(local.metrics_port))
    assert started.returncode == 0, started.stderr
    assert "orders is Ready" in started.stdout


def test_a_port_that_is_taken(local: Local) -> None:
    with socket.create_server(("127.0.0.1", local.port)):
        answer = local.run("up", "-f", "cache.yaml", "--port", str(local.port))
    assert answer.returncode == 4
    assert f"port {local.port} is taken by another program: choose another with --port" in answer.stderr


def test_a_server_that_is_not_installed(local: Local, tmp_path: Path) -> None:
    """A Python of its own without the server beside it."""
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "python").symlink_to(sys.executable)
    code = "import sys; sys.executable = sys.argv.pop(1); from cachefleet_operator.cli.main import app; app()"
    local.environment["PATH"] = "/nonexistent"
    answer = subprocess.run(
        [sys.executable, "-c", code, str(fake / "python"), "local", "up", "-f", "cache.yaml"], cwd=local.home,
        capture_output=True, text=True, env=local.environment, check=False,
    )  # fmt: skip
    assert answer.returncode == 5
    assert "there is no cachefleet-server" in answer.stderr


def test_a_data_folder_that_cannot_be(local: Local) -> None:
    (local.home / "file").write_text("")
    answer = local.run("up", "-f", "cache.yaml", "--data", "file")
    assert answer.returncode == 6
    assert "cannot use file/.cachefleet: Not a directory" in answer.stderr


def test_a_full_disk_is_named(local: Local, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        machine_lacks("mounting a small disk needs root")
    local.data = disk / "data"
    try:
        fill(disk / "ballast")
        for more in ((), ("-d",)):
            answer = local.run("up", *more, "-f", "cache.yaml", "--data", str(local.data))
            assert answer.returncode == 6, answer.stderr
            assert "No space left on device: free some space" in answer.stderr
            assert "Traceback" not in answer.stderr
        os.truncate(disk / "ballast", (disk / "ballast").stat().st_size - 16384)  # room for the Cache, not for the rest
        local.up("--data", str(local.data))
        local.says("No space left on device")
        assert local.process is not None and local.process.poll() is None
        (disk / "ballast").unlink()
        local.ready()  # by itself
    finally:
        local.stop()
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(path: Path) -> None:
    """Writes until the disk is full."""
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


@pytest.mark.parametrize("words", [("status",), ("down",), ("logs",), ("connect",)])
def test_commands_where_nothing_is(local: Local, words: tuple[str, ...]) -> None:
    answer = local.run(*words)
    assert answer.returncode == 7
    assert "Traceback" not in answer.stderr and answer.stderr


def test_names_that_mean_nothing_or_too_much(local: Local) -> None:
    local.write(manifest("a"), manifest("b"), manifest("b", "shop"))
    local.up()
    for name in ("a", "b"):
        local.ready(name)
    for arguments, code, words in (
        ((), 2, "say which Cache; known: default/a, default/b, shop/b"),
        (("b",), 2, "say which Cache"),
        (("c",), 7, "no Cache c in cachefleet-data"),
    ):
        answer = local.run("connect", *arguments)
        assert (answer.returncode, words in answer.stderr) == (code, True), answer.stderr
    assert local.run("connect", "shop/b", "--", "PING").stdout.strip() == "PONG"


def test_a_spec_that_the_plan_refuses_is_a_condition_as_in_a_cluster(local: Local) -> None:
    local.write(manifest(config={"cluster-enabled": "yes"}))
    local.up()
    assert_eventually(lambda: local.cache()["status"].get("phase", "") == "Refused", deadline_s=READY_S)
    answer = local.run("status")
    assert answer.returncode == 3
    assert "orders is not as its spec says: spec.config.cluster-enabled: cluster mode is not" in answer.stderr


def test_a_manifest_that_is_made_wrong_while_the_cache_serves(local: Local) -> None:
    """`status` says so for as long as it is wrong."""
    local.up().ready()
    good = local.file.read_text()
    local.write(manifest(nonsense=1))
    answer = assert_eventually(lambda: (a := local.run("status")).returncode == 3 and a, deadline_s=READY_S)
    assert "nonsense" in answer.stderr and "Running" in answer.stdout
    assert json.loads(local.run("status", "-o", "json").stdout)["refused"] == answer.stderr.strip()
    local.write(good)
    assert_eventually(lambda: local.run("status").returncode == 0, deadline_s=READY_S)


def test_a_spec_that_is_refused_while_the_cache_serves(local: Local) -> None:
    """`status` must not say that all is well, nor `up -d`."""
    local.up().ready()
    local.write(manifest(config={"cluster-enabled": "yes"}))
    assert_eventually(lambda: local.cache()["status"].get("phase", "") == "Refused", deadline_s=READY_S)
    assert local.ready()["status"]["ready"] == "1/1"
    answer = local.run("status", "-o", "json")
    assert answer.returncode == 3
    assert json.loads(answer.stdout)["caches"][0]["ready"]
    local.stop()
    answer = local.run("up", "-d", "-f", "cache.yaml", "--port", str(local.port))
    assert answer.returncode == 3 and "orders is not as its spec says: spec.config.cluster-enabled: " in answer.stderr
