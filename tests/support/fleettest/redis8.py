"""Redis 8.0: Debian 13's packages and the libraries that they need, unpacked and run by their own loader.

So it runs on any Debian. A stable release keeps its packages, where an unstable one replaces them. Kept per user and
machine (~/.cache/cachefleet/redis8).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Final

import machine

VERSION: Final = "5:8.0.*"  # Debian's version
PACKAGES: Final = [
    *(f"redis-server={VERSION}", f"redis-tools={VERSION}"),
    *("libatomic1", "libc6", "libcap2", "libgcc-s1", "libjemalloc2", "liblzf1", "libssl3t64", "libstdc++6"),
    *("libsystemd0", "libzstd1", "zlib1g"),
]
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
APT: Final = """\
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "-";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Sandbox::User "";
"""
SOURCE: Final = "deb [signed-by={keyring}] {archive} trixie main\n"


def program() -> list[str]:
    """The words that start it."""
    digest = hashlib.sha256(repr((APT, SOURCE, PACKAGES)).encode()).hexdigest()
    root = machine.made_once(machine.cache("redis8") / digest[:16], _unpack)
    libraries = next(root.glob("usr/lib/*/libc.so.6")).parent
    loader = next(libraries.glob("ld-linux*.so.*"))
    return [str(loader), "--library-path", str(libraries), str(root / "usr/bin/redis-server")]


def _archive() -> str:
    """Where this machine has its own Debian packages from."""
    words = ["Identifier: Packages", f"Codename: {machine.release()}", "Component: main"]
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", *words], capture_output=True, text=True, check=True
    )
    if not done.stdout:
        raise machine.Missing("apt knows no archive of Debian's main packages: apt-get update")
    return done.stdout.split()[0]


def _unpack(root: Path) -> None:
    """Downloads beside it, apart from this machine's own packages; apt checks signatures."""
    folder = root.parent
    for name in ("state/lists/partial", "cache/archives/partial", "packages"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(SOURCE.format(keyring=KEYRING, archive=_archive()))
    (folder / "apt.conf").write_text(APT.format(folder=folder))
    for words in (["update"], ["download", *PACKAGES]):
        done = subprocess.run(
            ["apt-get", "-qq", *words], cwd=folder / "packages", capture_output=True, text=True,
            env={**os.environ, "APT_CONFIG": str(folder / "apt.conf")},
        )  # fmt: skip
        if done.returncode:
            raise machine.Missing(f"Redis 8.0 of Debian 13 cannot be had: apt-get {words[0]}\n{done.stderr}")
    for package in (folder / "packages").glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(root)], check=True)
