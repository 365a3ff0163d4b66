"""Releases that upgrades are tested from: tests/support/releases/VERSION/, and what is in it.

    cachefleet-VERSION.tgz                  the operator's chart as helm packages it; the CRD is one of its templates
    cachefleet-VERSION-py3-none-any.whl     the wheel that the operator's image is made of (CACHEFLEET_NO_ENGINE=1)

    release = last()
    release.unpack(folder)                  its packages, for a PYTHONPATH
    release.crd()                           its CRD's spec, without helm
    make(VERSION's folder)                  from the working tree; `make release` does it for tests/support/releases

An entry is what users have, so it is frozen: a change of the code makes no new one, and `make release` refuses to write
over one that is there. A new version makes a new one (CONTRIBUTING.md, "How to release") and takes its predecessor
away: who upgrades over several does it one after the other. Until then the entry may have the working tree's version.
The first one, 0.1.0, is what the tree was when its API became a promise.

A tree makes the same bytes every time: times are one constant, modes do not follow the umask, the order is by name.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from email import message_from_string
from email.message import Message
from pathlib import Path, PurePath
from typing import Any, Final

import binaries
import machine
import wheels
import yaml

ROOT: Final = Path(__file__).resolve().parents[3]
RELEASES: Final = ROOT / "tests" / "support" / "releases"
CHART: Final = ROOT / "charts" / "cachefleet"
EPOCH_S: Final = 315532800  # 1980, the first year that a zip can say
BYTES_MAX: Final = 1 << 20  # of an entry: it stays in every clone
BUILD: Final = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@dataclass(frozen=True, slots=True)
class Release:
    """One entry. What is asked of files that are not there raises OSError."""

    folder: Path

    @property
    def version(self) -> str:
        return self.folder.name

    @property
    def chart(self) -> Path:
        return self.folder / f"cachefleet-{self.version}.tgz"

    @property
    def wheel(self) -> Path:
        return self.folder / f"cachefleet-{self.version}-py3-none-any.whl"

    def unpack(self, folder: Path) -> Path:
        with zipfile.ZipFile(self.wheel) as archive:
            archive.extractall(folder)
        return folder

    def chart_text(self, name: str) -> str:
        """A file of the chart."""
        with tarfile.open(self.chart) as archive:
            member = archive.extractfile(f"cachefleet/{name}")
            assert member is not None
            return member.read().decode()

    def crd(self) -> dict[str, Any]:
        """Nothing in the spec is helm's, by the rule of `cachefleet_operator.api.crd`."""
        text = self.chart_text("templates/crd-caches.yaml")
        plain = "".join(line for line in text.splitlines(keepends=True) if "{{" not in line)
        return dict(yaml.safe_load(plain)["spec"])

    def problems(self) -> list[str]:
        """What is missing, too much, or says another version."""
        wanted = {self.chart.name, self.wheel.name}
        found = {path.name for path in self.folder.iterdir()}
        if found != wanted:
            return [f"it has {sorted(found)}, and not {sorted(wanted)}"]
        size = sum(path.stat().st_size for path in self.folder.iterdir())
        chart = yaml.safe_load(self.chart_text("Chart.yaml"))
        with zipfile.ZipFile(self.wheel) as archive:
            names = archive.namelist()
            said = {name: _header(archive, name) for name in ("METADATA", "WHEEL")}
        says = {
            "the chart": chart["version"],
            "the chart's application": chart["appVersion"],
            "the wheel": said["METADATA"].get("Version", "no version"),
        }
        return [
            *(f"{who} is of {version}" for who, version in says.items() if version != self.version),
            *([f"{size} bytes, at most {BYTES_MAX}"] if size > BYTES_MAX else []),
            *([] if said["WHEEL"].get("Root-Is-Purelib") == "true" else ["the wheel is of one platform"]),
            *([] if "cachefleet_operator/__main__.py" in names else ["the wheel has no operator"]),
        ]


def _header(wheel: zipfile.ZipFile, name: str) -> Message:
    """What a wheel says of itself, whatever version its folder is named by; empty where it says nothing."""
    found = [entry for entry in wheel.namelist() if PurePath(entry).match(f"*.dist-info/{name}")]
    return message_from_string(wheel.read(found[0]).decode() if found else "")


def entries(folder: Path = RELEASES) -> list[Release]:
    return [Release(path) for path in sorted(folder.iterdir()) if path.is_dir()]


def last() -> Release:
    (found,) = entries()
    return found


def own_version() -> str:
    """Of the working tree. Raises ValueError where its parts do not agree."""
    project = str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    if {project, chart["version"], chart["appVersion"]} != {project} or not re.fullmatch(r"\d+\.\d+\.\d+", project):
        raise ValueError(f"pyproject.toml is of {project}, the chart of {chart['version']}, {chart['appVersion']}")
    return project


# -- making one


def make(folder: Path) -> Release:
    """The entry of the working tree in `folder`, which is named by its version and not there yet."""
    assert folder.name == own_version()
    with tempfile.TemporaryDirectory(prefix="cachefleet-release-") as name:
        work = Path(name)
        made = Release(work / folder.name)
        made.folder.mkdir()
        _package(work / "helm", made.chart)
        _build(work / "source", made.folder)
        if problems := made.problems():
            raise ValueError("; ".join(problems))
        shutil.copytree(made.folder, folder)
    return Release(folder)


def _package(work: Path, target: Path) -> None:
    """helm writes the present time into its archive."""
    work.mkdir()
    environment = {f"HELM_{kind}_HOME": str(work) for kind in ("CACHE", "CONFIG", "DATA")} | {"HOME": str(work)}
    command = [str(binaries.find() / "helm"), "package", str(CHART), "--destination", str(work)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    plain = io.BytesIO()
    with tarfile.open(work / target.name) as read, tarfile.open(fileobj=plain, mode="w") as write:
        for member in read:
            member.mtime, member.mode, member.pax_headers = EPOCH_S, 0o644, {}
            write.addfile(member, read.extractfile(member))
    target.write_bytes(gzip.compress(plain.getvalue(), mtime=0))


def _build(source: Path, target: Path) -> None:
    """In a copy, where nothing lies about that was built before. A wheel's files have the modes of the copy's."""
    wheels.copy_sources(source, wheels.PACKAGE)
    for path in source.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CACHEFLEET_")}
    environment |= {"CACHEFLEET_NO_ENGINE": "1", "SOURCE_DATE_EPOCH": str(EPOCH_S)}
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(target)], cwd=source, env=environment, capture_output=True, text=True,
        umask=0o022,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def main(releases: Path = RELEASES) -> None:
    folder = releases / own_version()
    if folder.exists():
        sys.exit(f"{folder} is there, and a release never changes: a new one has a new version")
    releases.mkdir(exist_ok=True)
    before = entries(releases)
    for path in sorted(make(folder).folder.iterdir()):
        print(f"{path}: {path.stat().st_size} bytes")
    for release in before:
        shutil.rmtree(release.folder)
        print(f"{release.folder}: removed, only the last release is kept")


if __name__ == "__main__":
    try:
        main()
    except (machine.Missing, ValueError) as error:
        sys.exit(str(error))
