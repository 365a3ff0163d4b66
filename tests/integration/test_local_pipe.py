"""`cachefleet local` whose output nobody reads, or that cannot be written: it ends quietly, or goes on."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from cachefleet_operator.cli.state import Folder
from fleettest.instance import free_port
from fleettest.local import COMMAND, Local, manifest
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

CACHE = {"apiVersion": "cachefleet.io/v1alpha1", "kind": "Cache", "metadata": {"name": "orders"}}
QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}}
ENDS_S = 60.0


def test_up_ends_with_its_reader(tmp_path: Path) -> None:
    (tmp_path / "cache.yaml").write_text(f"{json.dumps(QUOTA)}\n---\n{json.dumps(CACHE)}")
    words = ["up", "--data", "data", "--port", str(free_port()), "--metrics-port", str(free_port())]
    process = subprocess.Popen([*COMMAND, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    assert b"cache.yaml:1: ResourceQuota team is skipped" in process.stdout.readline()
    process.stdout.close()
    try:
        assert (process.wait(ENDS_S), process.stderr.read()) == (0, b"")
        assert Folder(tmp_path / "data").running() == 0
    finally:
        process.kill()
        process.stderr.close()


def test_output_that_cannot_be_written_is_lost_and_no_more(local: Local) -> None:
    """A log on a disk that is full: what runs runs on, and can be stopped."""
    with open("/dev/full", "wb") as full:
        words = ["up", "--port", str(local.port), "--metrics-port", str(local.metrics_port)]
        local.process = subprocess.Popen([*COMMAND, *words], cwd=local.home, stdout=full, stderr=full)
    with local.client() as client:
        assert client.set("a", "b")
    local.write(manifest(config={"timeout": "77"}))
    with local.client() as client:
        assert_eventually(lambda: client.config_get("timeout") == {"timeout": "77"}, deadline_s=ENDS_S)
    assert local.run("down").returncode == 0
    assert local.process.wait(ENDS_S) == 0


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_closed_descriptors(local: Local, closed: tuple[int, ...]) -> None:
    """The next file that is opened must not take their place: it would get what is meant for people."""
    close = "".join(f" {fd}>&-" for fd in closed)
    words = ["up", "--port", str(local.port), "--metrics-port", str(local.metrics_port)]
    shell = ["sh", "-c", f'exec "$@"{close}', "sh"]
    local.process = subprocess.Popen(
        [*shell, *COMMAND, *words], cwd=local.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    local.ready()
    for more in ((), ("-o", "json")):
        done = subprocess.run(
            [*shell, *COMMAND, "status", *more], cwd=local.home, stdin=subprocess.DEVNULL, capture_output=True,
            check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
        assert (1 in closed) != bool(done.stdout)
    lock = (local.data / ".cachefleet" / "lock").read_bytes()
    assert lock.split() == [str(local.process.pid).encode()]
    local.process.send_signal(signal.SIGINT)
    output, errors = local.process.communicate(timeout=ENDS_S)
    assert (local.process.returncode, errors) == (0, b"")
    assert (b"Stopped." in output) != (1 in closed)
