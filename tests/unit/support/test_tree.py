"""The project's files without git: the same in a clone, in an archive and beside what was built."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fleettest import tree
from fleettest.skips import machine_lacks

IGNORE = "/build/\n*.so\n__pycache__/\nserver/**/*.c\n/one.txt\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project, and what is built in it."""
    for name in (
        *("README.md", "server/a.pyx", "server/deep/b.h", "tests/c.c", "tests/one.txt", "tests/build/d"),
        *("build/x", "server/a.so", "server/deep/__pycache__/y.pyc", "server/e.c", "server/deep/e.c", "one.txt"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".gitignore").write_text(IGNORE)
    return tmp_path


def test_what_belongs(project: Path) -> None:
    found = [path.as_posix() for path in tree.files(project)]
    assert found == [
        *(".gitignore", "README.md", "server/a.pyx", "server/deep/b.h", "tests/build/d", "tests/c.c", "tests/one.txt")
    ]
    below = [path.as_posix() for path in tree.files(project, ("server", "README.md", "none"))]
    assert below == ["README.md", "server/a.pyx", "server/deep/b.h"]


def test_the_digest_is_of_names_and_contents(project: Path) -> None:
    digest = tree.digest(project)
    (project / "server" / "f.so").write_text("built")
    (project / ".git").mkdir()
    (project / ".git" / "config").write_text("a clone's")
    assert tree.digest(project) == digest
    (project / "README.md").write_text("other")
    changed = tree.digest(project)
    (project / "README.md").write_text("README.md")
    (project / "README.md").rename(project / "README.txt")
    assert len({digest, changed, tree.digest(project)}) == 3


def test_the_seed_is_of_the_code(project: Path) -> None:
    """What a run has shown is written down without that the next run draws others."""
    seed = tree.seed(project)
    (project / "README.md").write_text("other")
    for name in tree.FIGURES:
        (project / "tests" / name).write_text("other")
    assert tree.seed(project) == seed
    (project / "server" / "a.pyx").write_text("other")
    assert tree.seed(project) != seed


def test_git_says_the_same() -> None:
    """Here, where files may be new and not committed."""
    if shutil.which("git") is None or not (tree.ROOT / ".git").exists():
        machine_lacks("no git, or no clone")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=tree.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    here = {name for name in listed if name and (tree.ROOT / name).is_file()}
    assert {path.as_posix() for path in tree.files()} == here
