"""Tests side by side: a worker that a test has killed is no reason to wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit


def test_a_worker_that_dies_ends_the_run_and_its_test_is_named(tmp_path: Path) -> None:
    rest = "".join(f"def test_{i}(): pass\n" for i in range(9))
    (tmp_path / "test_a.py").write_text(f"import os\ndef test_first(): pass\ndef test_it_kills(): os.abort()\n{rest}")
    for name in "bc":
        (tmp_path / f"test_{name}.py").write_text(rest)
    plugins = [word for name in ("fleettest.spread", "no:cacheprovider") for word in ("-p", name)]
    words = [sys.executable, "-m", "pytest", "-n", "2", *plugins, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode not in (0, 5)
    assert "test_a.py::test_it_kills" in done.stdout
