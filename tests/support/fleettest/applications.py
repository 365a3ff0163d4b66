"""Client applications (tests/applications) in many languages: how each is built, kept and run.

A program's sources are a folder there, with its client's version pinned in it. It is built in a copy of that folder,
which is kept per user and machine by the hash of the sources (~/.cache/cachefleet/applications), so a run that changes
none of them builds nothing. Nothing is skipped: what is missing raises `machine.Missing`, which says how to get it.

    transcript(PROGRAMS["go-redis"], server, "3")      the lines that it prints
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import binaries
import machine

from fleettest import tree
from fleettest.instance import Instance

SOURCES: Final = "tests/applications"
RUN_S: Final = 60
HIREDIS: Final = "3.5.0"

# program -> Debian package, for a machine that has it from nowhere else
PACKAGES: Final = {
    "cargo": "cargo",
    "cc": "gcc",
    "java": "default-jdk-headless",
    "javac": "default-jdk-headless",
    "mvn": "maven",
    "node": "nodejs",
    "npm": "npm",
    "ruby": "ruby ruby-redis",
}
OF_BOOKWORM: Final = {"cargo": "cargo-web"}  # its `cargo` is too old for what crates are written in


class Kit(NamedTuple):
    """How a folder's programs are built: commands in the copy. {go} and {python} are found, the rest is of PATH."""

    tools: tuple[str, ...]
    build: tuple[tuple[str, ...], ...]


class Program(NamedTuple):
    kit: str  # the folder
    version: str  # of the client
    pin: str  # the file that says so
    run: tuple[str, ...]
    protocols: tuple[int, ...] = (2, 3)


_HIREDIS: Final = f"hiredis-{HIREDIS}/vendor/hiredis"
_PIP: Final = ("-m", "pip", "--disable-pip-version-check", "-q")
_SDIST: Final = ("download", "--no-deps", "--no-binary=:all:", "--no-build-isolation", "-r", "requirements.txt")
_FILES: Final = ("alloc", "async", "hiredis", "net", "read", "sds", "sockcompat")
_JARS: Final = ("dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=lib")
_CLASSES: Final = ("Say.java", "JedisApp.java", "LettuceApp.java")
KITS: Final[Mapping[str, Kit]] = {
    "c": Kit(
        ("cc",),
        (
            ("{python}", *_PIP, *_SDIST),
            ("tar", "xzf", f"hiredis-{HIREDIS}.tar.gz"),
            (
                *("cc", "-O1", "-pthread", "-Wall", f"-I{_HIREDIS}", "-o", "scenario", "scenario.c"),
                *(f"{_HIREDIS}/{name}.c" for name in _FILES),
            ),
        ),
    ),
    "go": Kit((), (("{go}", "build", "-trimpath", "-buildvcs=false", "-o", "scenario", "."),)),
    "java": Kit(
        ("mvn", "javac", "java"),
        (
            ("mvn", "-q", "-B", *_JARS),
            ("javac", "-encoding", "UTF-8", "-cp", "lib/*", "-d", "classes", *_CLASSES),
        ),
    ),
    "node": Kit(("node", "npm"), (("npm", "ci", "--silent", "--ignore-scripts"),)),
    "python": Kit(
        (),
        (
            ("{python}", "-m", "venv", "venv"),
            ("venv/bin/python", *_PIP, "install", "-r", "requirements.txt"),
        ),
    ),
    "ruby": Kit(("ruby",), (("ruby", "-c", "-rredis", "scenario.rb"),)),
    "rust": Kit(("cargo",), (("cargo", "build", "--quiet", "--locked"),)),
}

_PYTHON: Final = ("venv/bin/python", "-W", "error::DeprecationWarning:__main__")
_JAVA: Final = ("java", "-XX:TieredStopAtLevel=1", "-cp", "classes:lib/*")
PROGRAMS: Final[Mapping[str, Program]] = {
    "redis-py": Program("python", "8.1.0", "requirements.txt", (*_PYTHON, "scenario_sync.py")),
    "redis-py, asyncio": Program("python", "8.1.0", "requirements.txt", (*_PYTHON, "scenario_async.py")),
    "go-redis": Program("go", "9.17.3", "go.mod", ("./scenario",)),
    "node-redis": Program("node", "5.10.0", "package.json", ("node", "node_redis.mjs")),
    "ioredis": Program("node", "5.8.2", "package.json", ("node", "io_redis.mjs"), (2,)),
    "Jedis": Program("java", "7.1.0", "pom.xml", (*_JAVA, "JedisApp")),
    "Lettuce": Program("java", "7.2.3.RELEASE", "pom.xml", (*_JAVA, "LettuceApp")),
    "redis-rs": Program("rust", "0.32.7", "Cargo.toml", ("target/debug/scenario",)),
    "hiredis": Program("c", HIREDIS, "requirements.txt", ("./scenario",)),
    "redis-rb": Program("ruby", "4.8", "scenario.rb", ("ruby", "scenario.rb"), (2,)),
}


def build(kit: str) -> Path:
    """The folder with the program, built when it is not there: all together a minute of CPU, once per machine."""
    target = machine.cache("applications") / f"{kit}-{_digest(kit)}"

    def make(made: Path) -> None:
        machine.keep_newest(target.parent, f"{kit}-*", 1)  # and this one
        shutil.copytree(tree.ROOT / SOURCES / kit, made, ignore=shutil.ignore_patterns("__pycache__"))
        for command in KITS[kit].build:
            _run(kit, command, made)

    return machine.made_once(target, make, lock=f"{kit}.lock")


def transcript(program: Program, server: Instance, *words: str) -> list[str]:
    """What it prints, a line each; `words` follow host and port."""
    need(program.kit)
    command = [*program.run, "127.0.0.1", str(server.port), *words]
    done = subprocess.run(
        command,
        cwd=build(program.kit),
        env={**os.environ, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=RUN_S,
    )
    said = f"{' '.join(command)} on {server.kind}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, f"exit code {done.returncode} from {said}\n{server.log_tail()}"
    return done.stdout.splitlines()


def need(kit: str) -> None:
    """Raises `machine.Missing` with the line that installs what its tools need."""
    missing = [tool for tool in KITS[kit].tools if shutil.which(tool) is None]
    if missing:
        names = PACKAGES | OF_BOOKWORM if machine.release() == "bookworm" else PACKAGES
        raise machine.missing_packages(*{names[tool] for tool in missing})


def _digest(kit: str) -> str:
    """Of the sources, of how they are built, and of what they are built for."""
    found = hashlib.sha256(repr((platform.machine(), platform.python_version(), KITS[kit])).encode())
    found.update(tree.digest(top=[f"{SOURCES}/{kit}"]).encode())
    return found.hexdigest()[:16]


def _run(kit: str, command: Sequence[str], folder: Path) -> None:
    words = [binaries.go() if word == "{go}" else sys.executable if word == "{python}" else word for word in command]
    environment = {**os.environ, "CGO_ENABLED": "0"}
    done = subprocess.run(
        words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    if done.returncode != 0:
        raise machine.Missing(
            f"{kit}: exit code {done.returncode} from {' '.join(words)}\n{done.stdout}\n{done.stderr}"
        )
