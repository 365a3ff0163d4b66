"""`cachefleet local` in a folder of its own: the fixture `local`.

    def test_x(local: Local) -> None:
        local.write(manifest(memory={"limit": "128Mi"}))
        local.up().ready()

Nothing of it is left after a test.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from cachefleet_operator.cli.failure import Failure
from cachefleet_operator.cli.main import public
from cachefleet_operator.cli.state import Folder
from fleettest.instance import free_port
from fleettest.wait import assert_eventually

COMMAND = [sys.executable, "-m", "cachefleet_operator.cli", "local"]
READY_S = 60.0


def manifest(name: str = "orders", namespace: str = "default", **spec: Any) -> str:
    metadata = {"name": name, "namespace": namespace}
    body = {"apiVersion": "cachefleet.io/v1alpha1", "kind": "Cache", "metadata": metadata, "spec": spec}
    return json.dumps(body)


class Local:
    """`cachefleet local` in a folder of its own, whose manifest is `cache.yaml`."""

    def __init__(self, home: Path) -> None:
        self.home, self.file, self.data = home, home / "cache.yaml", home / "cachefleet-data"
        self.port, self.metrics_port = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.output = home / "output"
        self.command = COMMAND
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("CACHEFLEET_")}

    def write(self, *documents: str) -> None:
        new = self.home / "new"
        new.write_text("\n---\n".join(documents))
        new.rename(self.file)

    def up(self, *arguments: str) -> Local:
        """In the foreground, without a terminal."""
        words = ["up", "-f", str(self.file), *arguments]
        words += ["--port", str(self.port), "--metrics-port", str(self.metrics_port)] if not arguments else []
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(
                [*self.command, *words], cwd=self.home, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                env=self.environment,
            )  # fmt: skip
        return self

    def run(self, *words: str, stdin: str = "", **more: Any) -> subprocess.CompletedProcess[str]:
        """Another command of it, to its end."""
        return subprocess.run(
            [*self.command, *words], cwd=self.home, input=stdin, capture_output=True, text=True, timeout=READY_S,
            env=self.environment, check=False, **more,
        )  # fmt: skip

    def stop(self, word: signal.Signals = signal.SIGINT) -> int:
        assert self.process is not None
        self.process.send_signal(word)
        return self.process.wait(READY_S)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(READY_S)
        self.run("down")

    # -- what is

    def status(self) -> dict[str, Any]:
        """What `status -o json` prints, without another process."""
        try:
            return public(Folder(self.data).state())
        except Failure:
            return {"caches": []}

    def cache(self, name: str = "orders") -> dict[str, Any]:
        return next((c for c in self.status()["caches"] if c["name"] == name), {"ready": False, "status": {}})

    def ready(self, name: str = "orders") -> dict[str, Any]:
        """The Cache, once it is Ready with its newest spec."""

        def is_ready() -> dict[str, Any] | None:
            assert self.process is None or self.process.poll() is None, self.output.read_text()
            found = self.cache(name)
            return found if found["ready"] else None

        found = assert_eventually(is_ready, lambda: f"{self.cache(name)} {self.said()}", deadline_s=READY_S)
        assert found is not None
        return found

    def client(self, name: str = "orders") -> redis.Redis:
        cache = self.ready(name)
        password = Path(self.home, cache["passwordFile"]).read_text() if cache["passwordFile"] else None
        return redis.Redis(port=cache["port"], password=password, decode_responses=True)

    def pid(self, name: str = "orders") -> int:
        with self.client(name) as client:
            return int(client.info("server")["process_id"])

    def said(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    def says(self, words: str) -> None:
        assert_eventually(lambda: words in self.said(), self.said, deadline_s=READY_S)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    made = Local(tmp_path)
    made.write(manifest())
    try:
        yield made
    finally:
        made.close()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
