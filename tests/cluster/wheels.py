"""The project's sources, and a wheelhouse: wheels of the project and of all that it needs.

With it an image is built without a compiler and without a package index. The Python that makes the wheels is Debian's:
the same that the image has, since both are of one release. Wheels are cached by the sources they were made from, and
built in a copy of the sources that stays, so that only what changed is compiled again.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

import machine

sys.path.append(str(machine.ROOT / "tests" / "support"))

from fleettest import tree

PINS: Final = "deploy/constraints.txt"  # the versions that users' images have
PACKAGE: Final = ("server", "operator", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", PINS)
CONTEXT: Final = (*PACKAGE, "deploy")
PYTHON: Final = "/usr/bin/python3"
NEEDS: Final = ("python3", "python3-venv", "python3-dev", "gcc", "libc6-dev")
COMPLETE: Final = "import ensurepip, os, sysconfig; os.stat(sysconfig.get_path('include') + '/Python.h')"
KEPT: Final = 3
EXTRAS: Final = "server,operator"


def copy_sources(target: Path, top: tuple[str, ...]) -> None:
    """Files that are equal already keep their times."""
    for path in tree.files(machine.ROOT, top):
        copy = target / path
        content = (machine.ROOT / path).read_bytes()
        if not copy.is_file() or copy.read_bytes() != content:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)


def wheelhouse() -> Path:
    """The folder for `pip install --no-index --find-links`; made when there is none for these sources."""
    cache = machine.cache("wheels")
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        target = cache / f"made-{tree.digest(machine.ROOT, PACKAGE)}"
        if not target.exists():
            print("pip wheel: the project and what it needs", file=sys.stderr, flush=True)
            _make(cache / "source", target)
            machine.keep_newest(cache, "made-*", KEPT)
    return target


def _make(source: Path, target: Path) -> None:
    _forget_removed(source)
    copy_sources(source, PACKAGE)
    pip = [_environment(target.parent / "venv"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # Build tools at a place of their own stay as old as they are: Cython compares their times with its output's.
    tools = tomllib.loads((source / "pyproject.toml").read_text())["build-system"]["requires"]
    pins = f"--constraint={source / PINS}"
    subprocess.run([*pip, "install", pins, "wheel", *tools], check=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / "wheels"
        options = [pins, "--no-build-isolation", f"--wheel-dir={made}"]
        subprocess.run([*pip, "wheel", *options, f"{source}[{EXTRAS}]"], check=True)
        made.rename(target)


def _environment(folder: Path) -> str:
    """A virtual environment's Python, because Debian's own does not let pip in."""
    if subprocess.run([PYTHON, "-c", COMPLETE], capture_output=True).returncode:
        raise machine.missing_packages(*NEEDS)
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([PYTHON, "-m", "venv", str(folder)], check=True)
    return str(python)


def _forget_removed(source: Path) -> None:
    """Without what is no longer in the project, and without setuptools' copies, which it would pack for ever."""
    kept = {source / path for path in tree.files(machine.ROOT, PACKAGE)}
    build = source / "build"
    for path in [path for path in source.rglob("*") if path.is_file()]:
        if build not in path.parents and path not in kept:
            path.unlink()
    for path in build.glob("lib*/**/*"):
        if path.is_file() and path.suffix != ".so":
            path.unlink()
