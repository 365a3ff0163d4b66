"""Helm and promtool for pytest, without a cluster. Both are needed; neither is skipped.

helm            `helm.template("cachefleet", "full")`: the objects for tests/charts/values/cachefleet-full.yaml
promtool        `promtool("check", "rules", path)`
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import binaries
import machine
import pytest
import yaml

ROOT: Final = Path(__file__).resolve().parents[3]
CHARTS: Final = ROOT / "charts"
VALUES: Final = ROOT / "tests" / "charts" / "values"
RELEASE, NAMESPACE, KUBE_VERSION = "fleet", "cachefleet-system", "1.34"
TIMEOUT_S: Final = 60.0

Promtool = Callable[..., str]

__all__ = ["CHARTS", "ROOT", "Helm", "Promtool", "Refused", "helm", "promtool"]


class Refused(AssertionError):
    """What a program said against what it was given."""


class Helm:
    def __init__(self, program: Path, home: Path) -> None:
        self._program = program
        self._environment = {f"HELM_{kind}_HOME": str(home) for kind in ("CACHE", "CONFIG", "DATA")} | {
            "PATH": "",
            "HOME": str(home),
        }

    def run(self, *arguments: str) -> str:
        """What it prints. Raises Refused with what it says."""
        done = subprocess.run(
            [str(self._program), *arguments], env=self._environment, capture_output=True, text=True, timeout=TIMEOUT_S
        )
        if done.returncode:
            raise Refused(done.stderr + done.stdout)
        return done.stdout

    def template(
        self, chart: str, values: str = "default", *flags: str, release: str = RELEASE
    ) -> list[dict[str, Any]]:
        """The objects, hooks among them. `values` names a file of tests/charts/values."""
        file = VALUES / f"{chart}-{values}.yaml"
        text = self.run(
            *("template", release, str(CHARTS / chart), "--namespace", NAMESPACE, "--kube-version", KUBE_VERSION),
            *("--values", str(file), *flags),
        )
        return [obj for obj in yaml.safe_load_all(text) if obj]


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    try:
        return Helm(binaries.find() / "helm", tmp_path_factory.mktemp("helm"))
    except machine.Missing as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture(scope="session")
def promtool() -> Promtool:
    program = shutil.which("promtool")
    if program is None:
        pytest.fail("promtool is missing: apt-get install prometheus", pytrace=False)

    def run(*arguments: str | Path) -> str:
        done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=TIMEOUT_S)
        if done.returncode:
            raise Refused(done.stdout + done.stderr)
        return done.stdout

    return run
