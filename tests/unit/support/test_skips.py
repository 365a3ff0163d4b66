"""Under CI a lacking tool fails, a fact about the machine is said aloud."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).resolve().parents[2] / "support"

TESTS = """
import pytest
from fleettest.skips import machine_lacks

def test_fact():
    machine_lacks("no second moon")

def test_tool():
    pytest.skip("no tool: apt-get install tool")

def test_good():
    pass
"""


@pytest.mark.parametrize(("ci", "failed"), [("", 0), ("true", 1)])
def test_lacking_tools_and_facts(tmp_path: Path, ci: str, failed: int) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "fleettest.skips", "-p", "no:cacheprovider", "test_it.py"]
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(SUPPORT), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == failed, done.stdout + done.stderr
    assert "NOT RUN test_it.py::test_fact: no second moon\n" in done.stdout
    assert "NOT RUN on this machine: 1" in done.stdout
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", done.stdout.splitlines()[-1])}
    assert (counts["passed"], counts["skipped"], counts.get("failed", 0)) == (1, 2 - failed, failed)
    assert ("skipped under CI" in done.stdout) == bool(ci)
