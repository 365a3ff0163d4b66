"""StatefulSets come true as processes (fleettest.localpods)."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key
from cachefleet_operator.execution.local import process as local_process
from cachefleet_operator.execution.local.kubelet import revision
from cachefleet_operator.execution.local.process import Busy, Lock, last_line, rotate, take_over
from cachefleet_operator.execution.local.tcp_ports import HOST
from cachefleet_operator.planning.pods import is_ready, restarts, trouble
from fleettest.instance import free_port
from fleettest.localpods import CACHE, DEADLINE_S, NS, POD, World, configmap, eventually, in_world, statefulset, world


@in_world
async def test_a_statefulset_becomes_a_pod_that_is_ready(world: World) -> None:
    world.start()
    pod = await world.ready()
    assert pod["metadata"]["labels"]["controller-revision-hash"] == revision(statefulset())
    await eventually(lambda: world.statefulset("readyReplicas") == 1)
    claim = world.store.get(NS, "PersistentVolumeClaim", "data-orders-0")
    assert claim is not None
    assert claim["status"] == {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    assert claim["metadata"]["labels"] == names.selector_labels(CACHE)
    arguments = Path(f"/proc/{world.pid()}/cmdline").read_bytes().split(b"\0")
    assert arguments[-2].decode() == str(world.home / "data-orders-0")
    assert (world.home / POD / "config" / "cachefleet.conf").read_text() == "a\n"


@in_world
async def test_a_process_that_was_killed_is_started_again(world: World) -> None:
    world.start()
    first = await world.ready()
    os.kill(world.pid(), signal.SIGKILL)
    await eventually(lambda: restarts(world.pod()) == 1 and is_ready(world.pod()))
    assert world.pod()["metadata"]["uid"] == first["metadata"]["uid"]  # the same pod
    assert trouble(world.pod(), time.time()).startswith("exited with code 137")


@in_world
async def test_a_deleted_pod_is_made_anew_from_the_new_template(world: World) -> None:
    world.start()
    old = await world.ready()
    world.store.apply(NS, statefulset(label="new"))
    await eventually(lambda: world.statefulset("updatedReplicas") == 0)
    assert world.pod()["metadata"]["uid"] == old["metadata"]["uid"]  # OnDelete: it stays until somebody deletes it
    world.kubelet.delete_pod(NS, POD)
    assert world.pod()["metadata"]["deletionTimestamp"]
    await eventually(lambda: world.pod()["metadata"].get("uid") not in (None, old["metadata"]["uid"]))
    new = await world.ready()
    assert new["metadata"]["labels"]["label"] == "new"


@in_world
async def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(world: World) -> None:
    world.start(env=("stubborn",), grace_s=1)
    await world.ready()
    pid = world.pid()
    world.store.delete(NS, Key("StatefulSet", CACHE))
    await world.kubelet.stop_cache(NS, CACHE)
    assert world.store.get(NS, "Pod", POD) is None
    assert not Path(f"/proc/{pid}").exists()


@in_world
async def test_a_server_that_ends_at_once_is_tried_with_growing_pauses(world: World) -> None:
    world.start(env=("broken",))
    await eventually(lambda: restarts(world.pod()) == 2)
    assert trouble(world.pod(), time.time()) == "crashes at each start: exited with code 1: Fatal: no such parameter"
    waiting = world.pod()["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["message"] == "back-off 1s restarting failed container=server pod=orders-0"


@in_world
async def test_readiness_follows_what_the_server_says(world: World) -> None:
    world.start()
    await world.ready()
    (world.home / POD / "unready").touch()
    await eventually(lambda: not is_ready(world.pod()))
    ready = next(c for c in world.pod()["status"]["conditions"] if c["type"] == "Ready")
    assert ready["message"] == "busy"


@in_world
async def test_files_follow_their_configmap_while_the_server_runs(world: World) -> None:
    world.start()
    await world.ready()
    pid, folder = world.pid(), world.home / POD / "config"
    world.store.apply(NS, configmap(**{"other.conf": "b\n"}))
    await eventually(lambda: [p.name for p in folder.iterdir()] == ["other.conf"])
    assert world.pid() == pid


@in_world
async def test_a_pod_whose_configmap_is_missing_waits_for_it(world: World) -> None:
    world.store.apply(NS, statefulset())
    await eventually(lambda: "not found" in trouble(world.pod(), time.time()))
    assert trouble(world.pod(), time.time()) == "cannot be configured: configmap 'orders-config' not found"
    world.store.apply(NS, configmap())
    await world.ready()


@in_world
async def test_a_file_cannot_leave_its_volume(world: World) -> None:
    world.store.apply(NS, configmap(**{"../../escaped": "x"}))
    world.store.apply(NS, statefulset())
    await eventually(lambda: "leaves its folder" in trouble(world.pod(), time.time()))
    assert not list(world.home.rglob("escaped"))


@in_world
async def test_replicas_come_and_go(world: World) -> None:
    world.start(replicas=2)
    await eventually(lambda: is_ready(world.pod()) and is_ready(world.pod("orders-1")))
    world.store.apply(NS, statefulset(replicas=1))
    await eventually(lambda: world.store.get(NS, "Pod", "orders-1") is None)
    assert is_ready(world.pod())


@in_world
async def test_orphaned_pods_run_on_and_are_adopted(world: World) -> None:
    world.start()
    await world.ready()
    pid = world.pid()
    world.store.delete(NS, Key("StatefulSet", CACHE))
    world.store.apply(NS, statefulset())
    await eventually(lambda: world.statefulset("readyReplicas") == 1)
    assert world.pid() == pid


def test_a_server_that_an_earlier_run_left_is_stopped_first(tmp_path: Path) -> None:
    """Its kubelet is gone, it still holds the lock: two servers never work on one folder."""
    folder = tmp_path / NS / CACHE / POD
    folder.mkdir(parents=True)
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import sys, fcntl, os, time; f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT);"
         "fcntl.flock(f, fcntl.LOCK_EX); os.write(f, b'%d\\n' % os.getpid()); print(flush=True); time.sleep(600)",
         str(folder / "lock")], stdout=subprocess.PIPE,
    )  # fmt: skip
    assert orphan.stdout is not None
    orphan.stdout.readline()

    async def body() -> None:
        async with world(tmp_path) as made:
            made.start()
            await eventually(lambda: orphan.poll() is not None)
            await made.ready()

    try:
        asyncio.run(body())
        assert orphan.returncode == -signal.SIGTERM
    finally:
        orphan.kill()
        orphan.wait()
        orphan.stdout.close()


STUBBORN = (
    "import sys, fcntl, os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); fcntl.flock(f, fcntl.LOCK_EX);"
    "os.write(f, b'%d\\n' % os.getpid()); print(flush=True); time.sleep(600)"
)


def test_a_second_interrupt_ends_a_server_of_an_earlier_run_too(tmp_path: Path) -> None:
    """The pod waits for its folder, and for the grace of who is there; nobody starts a server meanwhile."""
    folder = tmp_path / NS / CACHE / POD
    folder.mkdir(parents=True)
    orphan = subprocess.Popen([sys.executable, "-c", STUBBORN, str(folder / "lock")], stdout=subprocess.PIPE)
    assert orphan.stdout is not None
    orphan.stdout.readline()

    async def body() -> None:
        async with world(tmp_path) as made:
            made.start(grace_s=600)
            await eventually(lambda: (made.store.get(NS, "Pod", POD)))
            made.kubelet.kill()
            await made.kubelet.stop()
            assert made.pid() == 0

    try:
        asyncio.run(body())
        assert orphan.wait(DEADLINE_S) == -signal.SIGKILL
        assert not (folder / "server.log").exists()
    finally:
        orphan.kill()
        orphan.wait()
        orphan.stdout.close()


def test_servers_stop_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; from cachefleet_operator.execution.local.process import *\n"
        "async def main():\n"
        "    folder = Path(sys.argv[1])\n"
        "    p = await start(['/bin/sleep', '600'], {}, folder, folder / 'log', Lock(folder / 'lock'))\n"
        "    print(p.pid, flush=True); await p.wait()\n"
        "asyncio.run(main())"
    )
    path = os.pathsep.join(sys.path)
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    with pytest.raises(Busy) as held:
        Lock(tmp_path / "lock")
    assert held.value.pid == child  # the child has signed
    parent.kill()
    parent.wait()
    parent.stdout.close()
    asyncio.run(take_over(tmp_path / "lock", DEADLINE_S)).release()
    assert not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes()


def test_a_lock_says_who_holds_it(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    with pytest.raises(Busy) as caught:
        Lock(tmp_path / "lock")
    assert caught.value.pid == os.getpid()
    lock.release()
    Lock(tmp_path / "lock").release()


def test_a_file_system_without_locks_is_named_and_costs_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="No locks available") as caught:
        Lock(tmp_path / "lock")
    assert caught.value.filename == str(tmp_path / "lock")
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_what_readyz_says(tmp_path: Path) -> None:
    async def ask(answer: bytes | None) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(answer or b"")
            writer.close()

        server = await asyncio.start_server(serve, HOST, 0)
        async with server:
            return await local_process.not_ready(HOST, server.sockets[0].getsockname()[1])

    assert asyncio.run(ask(b"HTTP/1.1 200 OK\r\n\r\nok\n")) == ""
    assert asyncio.run(ask(b"HTTP/1.1 503 X\r\n\r\nloading: 3 %\n")) == "loading: 3 %"
    assert asyncio.run(ask(b"\xff\xfe")) == "the server is not ready"
    assert asyncio.run(local_process.not_ready(HOST, free_port())) == "the server does not listen yet"


def test_a_server_that_accepts_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_process, "PROBE_TIMEOUT_S", 0.1)
    with socket.create_server((HOST, 0)) as listener:
        words = asyncio.run(local_process.not_ready(HOST, listener.getsockname()[1]))
    assert words == "the server does not answer within 0.1 s"


def test_a_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_process, "LOG_BYTES_MAX", 10)
    log = tmp_path / "server.log"
    rotate(log)  # nothing there yet
    log.write_text("1234567890")
    rotate(log)
    assert log.read_text() == "1234567890"
    log.write_text("12345678901\n")
    rotate(log)
    assert (log.read_text(), (tmp_path / "server.log.1").read_text()) == ("", "12345678901\n")


def test_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_bytes(b"x" * 10000 + b"\nfirst\nlast \xff\n\n  \n")
    assert last_line(log) == "last \ufffd"
    log.write_text("[" * 4000)
    assert last_line(log) == "[" * 4000
    log.write_text('{"level": "warning", "message": "no such parameter"}\n')
    assert last_line(log) == "no such parameter"
