"""`cachefleet local` in a pipe whose reader has seen enough: it ends, quietly, and nothing goes on running."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cachefleet_operator.cli.state import Folder
from fleettest.instance import free_port

pytestmark = pytest.mark.server

COMMAND = [sys.executable, "-m", "cachefleet_operator.cli.main", "local"]
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
