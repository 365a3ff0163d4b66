"""What a cluster with nodes may see of the machine, and how nothing of it is left behind.

`run_inside` starts this project's script again in namespaces of its own (network, mounts, process ids) and, when that
ends, removes the only things that namespaces do not cover: the cluster's folder and its cgroups. Inside, `isolate`
puts private copies over each place that kubelet, containerd, runc or `ip` write to by fixed names.

The network namespace has no way out: neither registries nor the Internet are reachable from inside.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# kubelet sets these for the whole machine; a database on it would notice. It is given copies to set.
KUBELET_TUNES: Final = (
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/panic_on_oom",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/panic_on_oops",
    "/proc/sys/kernel/keys/root_maxkeys",
    "/proc/sys/kernel/keys/root_maxbytes",
)
CGROUPS: Final = Path("/sys/fs/cgroup")
V2: Final = CGROUPS / "cgroup.controllers"


def run(*words: str | Path) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(str(word) for word in words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def run_inside(command: Sequence[str]) -> int:
    """Exit code of the command, which is process 1 of its namespaces and dies with this process."""
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    return subprocess.run(["setpriv", "--pdeathsig", "KILL", *unshare, "--", *command]).returncode


def isolate(folder: Path) -> None:
    """Once, inside, before anything else. `folder` becomes shared, as kubelet's and runc's mounts need it."""
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "cluster", "/run")
    for made in ("/run/netns", "/run/lock", "/run/private/upper", "/run/private/work", "/run/private/sysctl"):
        Path(made).mkdir(parents=True)
    run("mount", "--make-shared", "/run")
    run("mount", "-t", "tmpfs", "cluster", "/var/log")
    layers = "lowerdir=/var/lib,upperdir=/run/private/upper,workdir=/run/private/work"
    run("mount", "-t", "overlay", "-o", layers, "cluster", "/var/lib")
    for tuned in KUBELET_TUNES:
        copy = Path("/run/private/sysctl") / tuned.replace("/", "_")
        copy.write_text(Path(tuned).read_text())
        run("mount", "--bind", copy, tuned)
    run("mount", "--bind", folder, folder)
    run("mount", "--make-shared", folder)


def use_nameserver(address: str) -> None:
    """Processes inside find Services by the names that pods use."""
    target = Path(os.path.realpath("/etc/resolv.conf"))
    text = f"nameserver {address}\nsearch svc.cluster.local cluster.local\noptions ndots:5\n"
    if target.exists():
        ours = Path("/run/private/resolv.conf")
        ours.write_text(text)
        run("mount", "--bind", ours, target)
    else:  # it pointed into the machine's /run
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def cgroup_roots() -> list[Path]:
    """cgroup v2 has one tree, v1 one for each controller."""
    return [path.parent for path in CGROUPS.glob("*/cgroup.procs")] if not V2.exists() else [CGROUPS]


def make_cgroup(name: str) -> None:
    """kubelet wants its root to exist in every tree. `name` begins with the name of the cluster's folder."""
    for root in cgroup_roots():
        (root / name).mkdir(parents=True, exist_ok=True)


def remove(folder: Path) -> None:
    """Outside, when all processes are gone: the folder and the cgroups named after it."""
    shutil.rmtree(folder, ignore_errors=True)
    for root in cgroup_roots():
        tree = root / folder.name
        if tree.is_dir():
            for path in sorted((p for p in tree.rglob("*") if p.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    path.rmdir()
            with contextlib.suppress(OSError):
                tree.rmdir()
