"""What `make generated` writes is what is here: nothing is edited by hand, nothing is left over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fleettest.helm import ROOT

FOLDERS = ("charts/cachefleet/files", "deploy/dashboards")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("generated")
    subprocess.run([sys.executable, "deploy/generate", str(folder)], cwd=ROOT, check=True, timeout=60)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_every_file_is_up_to_date(made: dict[str, str]) -> None:
    stale = [path for path, text in made.items() if not (ROOT / path).is_file() or (ROOT / path).read_text() != text]
    assert not stale, "make generated"
    assert len(made) >= 9


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_left_over(made: dict[str, str], folder: str) -> None:
    here = {path.relative_to(ROOT).as_posix() for path in Path(ROOT, folder).rglob("*") if path.is_file()}
    assert here == {path for path in made if path.startswith(folder)}
