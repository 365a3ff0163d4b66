"""What the test clusters need from the machine, and where they keep what is made once.

Nothing is skipped silently: what is missing raises `Missing`, whose text ends with the command that installs it.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

# program -> Debian package
PACKAGES: Final = {
    "openssl": "openssl",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
}
CONTROL_PLANE: Final = ("openssl", "setpriv", "setsid")
NODES: Final = (
    *(*CONTROL_PLANE, "unshare", "nsenter", "mount"),
    *("ip", "tc", "nft", "containerd", "ctr", "runc", "buildah"),
)
CNI: Final = Path("/usr/lib/cni")
SBIN: Final = "/usr/sbin:/sbin"


class Missing(Exception):
    """Something that the machine does not have; the text says how to get it."""


def search_path() -> str:
    """PATH, and the folders of administrators' programs, which a user's PATH may lack."""
    return f"{os.environ.get('PATH', '')}:{SBIN}"


def need(*programs: str, cni: bool = False) -> None:
    packages = {PACKAGES[program] for program in programs if shutil.which(program, path=search_path()) is None}
    if cni and not (CNI / "bridge").exists():
        packages.add("containernetworking-plugins")
    if packages:
        raise missing_packages(*packages)


def missing_packages(*packages: str) -> Missing:
    sudo = "" if os.geteuid() == 0 else "sudo "
    return Missing(f"Something is missing; this installs it:\n  {sudo}apt-get install -y {' '.join(sorted(packages))}")


def need_root(what: str) -> None:
    if os.geteuid() != 0:
        raise Missing(f"{what} needs root: it makes namespaces, mounts and containers. Run it with sudo.")


def release() -> str:
    """This Debian's release, which is the images' too: so programs and wheels of this machine run in them."""
    system = platform.freedesktop_os_release()
    if system["ID"] != "debian":
        raise Missing(f"images are built on Debian; this is {system['NAME']}")
    return system["VERSION_CODENAME"]


def cache(name: str) -> Path:
    """A folder for what is made once per user and machine."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "cachefleet" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def made_once(target: Path, make: Callable[[Path], None], *, lock: str = "lock") -> Path:
    """The target, made by `make` at a place beside it if it is not there. Of two who want it, the second waits."""
    with (target.parent / lock).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                made = Path(scratch) / "made"
                make(made)
                made.rename(target)
    return target


def keep_newest(folder: Path, pattern: str, count: int) -> None:
    """What was made from sources of long ago is not needed again."""
    found = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[count:]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
