"""The real redis_exporter, built from its Go module (tests/support/exporter) and kept by that file's hash.

The version is the newest that could be had with every checksum; to move to another: change it in go.mod and run
`go mod tidy`. It is not skipped: what is missing raises `machine.Missing`, whose text says how to get it.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import binaries
import machine

from fleettest.instance import Instance, free_port
from fleettest.wait import assert_eventually

MODULE: Final = "github.com/oliver006/redis_exporter"
SOURCE: Final = Path(__file__).parents[1] / "exporter"


def build() -> Path:
    """The program, built when it is not there: half a minute, once per machine. Two builders: the second waits."""
    digest = hashlib.sha256(platform.machine().encode())
    for name in ("go.mod", "go.sum"):
        digest.update((SOURCE / name).read_bytes())
    return machine.made_once(machine.cache("exporter") / digest.hexdigest()[:16], _make)


def _make(made: Path) -> None:
    command = [binaries.go(), "build", "-trimpath", "-buildvcs=false", "-o", str(made), MODULE]
    subprocess.run(command, cwd=SOURCE, env={**os.environ, "CGO_ENABLED": "0"}, check=True)


@contextlib.contextmanager
def exporter(server: Instance) -> Iterator[int]:
    """redis_exporter beside a server; the port of its /metrics."""
    port = free_port()
    command = [
        str(build()), f"-web.listen-address=127.0.0.1:{port}", f"-redis.addr=redis://127.0.0.1:{server.port}",
        "-include-system-metrics", "-check-streams=db0=jobs",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert_eventually(lambda: _answers(port), "redis_exporter listens")
            yield port
        finally:
            process.kill()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
