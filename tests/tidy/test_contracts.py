"""The contracts of pyproject.toml hold, and notice what breaks them: each row is one import too many, in a copy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OPERATOR = "cachefleet_operator"

WRONG = [
    ("api.names", "resources.desired"),
    ("resources.diff", "settings"),
    ("planning.plan", "execution.cycle"),
    ("planning.status", "metrics"),
    ("execution.cycle", "metrics"),
    ("execution.cycle", "settings"),
    ("execution.observer", "handlers.watch"),
    ("metrics", "settings"),
    ("metrics", "handlers.http"),
    ("settings", "__main__"),
    ("cli.fleet", "handlers.http"),
    ("handlers.http", "selftest"),
    ("execution.kube.store", "execution.local.store"),
    ("execution.local.store", "execution.kube.store"),
    ("execution.cycle", "execution.kube.store"),
    ("execution.prober", "execution.local.servers"),
    ("execution.lanes", "execution.kube.client"),
    ("execution.kube.store", "execution.prober"),
    ("execution.local.objects", "execution.cycle"),
    ("execution.local.servers", "execution.lanes"),
    ("execution.cycle", "execution.reconciler"),
    ("execution.interpreter", "execution.observer"),
    ("execution.prober", "execution.interpreter"),
    ("execution.ports", "execution.wire"),
]
FOREIGN = [
    ("planning.topology", "time"),
    ("resources.services", "kubernetes"),
    ("execution.interpreter", "kubernetes"),
    ("execution.local.kubelet", "kopf"),
]
STRANGER = "execution/helpers.py"


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a copy that has all of these."""
    copy = tmp_path_factory.mktemp("contracts")
    for folder in ("server", "operator"):
        for path in (ROOT / folder).rglob("*.py"):
            there = copy / path.relative_to(ROOT)
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, there)
    imports = [(source, f"{OPERATOR}.{target}") for source, target in WRONG] + FOREIGN
    for source, target in imports:
        with (copy / "operator" / OPERATOR / f"{source.replace('.', '/')}.py").open("a") as file:
            file.write(f"\nimport {target}\n")
    (copy / "operator" / OPERATOR / STRANGER).write_text("")
    done = lint(copy)
    assert done.returncode == 1
    return " ".join(done.stdout.split())


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    arguments = [program, "--no-logo", "--no-cache", "--config", ROOT / "pyproject.toml"]
    paths = f"{root / 'server'}:{root / 'operator'}"
    environment = {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "500"}
    return subprocess.run(arguments, cwd=root, env=environment, capture_output=True, text=True, timeout=120)


def test_they_hold() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("source", "target"), [*((s, f"{OPERATOR}.{t}") for s, t in WRONG), *FOREIGN])
def test_one_import_too_many_is_noticed(said: str, source: str, target: str) -> None:
    assert f"{OPERATOR}.{source} -> {target} (l." in said


def test_a_module_without_a_place_is_noticed(said: str) -> None:
    assert Path(STRANGER).stem in said
