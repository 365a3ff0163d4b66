"""Images without a registry: a base made by debootstrap, the project's own Dockerfiles built on it, archives of both.

    base()                      image BASE: Debian of this machine's release with Python; a minute and a half, once
    build(image, dockerfile)    an archive (oci-archive) of the image, ready for `Node.load_image`
    export(image)               an archive of what is in the store

The store and the archives are in the cache folder, keyed by what they were made from. This runs outside the
cluster, where the package registries are; README.md says what a Dockerfile must look like to be built here.

    python tests/cluster/images.py base | pause | build IMAGE DOCKERFILE        prints the archive
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import binaries
import machine
import wheels
from sandbox import run

from fleettest import tree

PAUSE: Final = "localhost/pause:1"
KEPT: Final = 6  # archives
PACKAGES: Final = ("python3", "python3-venv", "ca-certificates", "libjemalloc2")


def base_name() -> str:
    return f"localhost/cachefleet-base:{machine.release()}"


def base() -> str:
    """The name of the base image, which is made when it is not there."""
    machine.need_root("Building images")
    machine.need("buildah", "debootstrap")
    image = base_name()
    with _store_lock():
        if not _id(image):
            print(f"debootstrap: {image}, once", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder) / "root"
                run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", machine.release(), root)
                for unneeded in ("var/cache/apt/archives", "var/lib/apt/lists"):
                    shutil.rmtree(root / unneeded)
                _commit(image, root, "python3")
    return image


def pause() -> Path:
    """The archive of the image that holds the namespaces of each pod."""
    machine.need_root("Building images")
    machine.need("buildah")
    with _store_lock(), tempfile.TemporaryDirectory() as folder:
        if not _id(PAUSE):
            shutil.copy(binaries.find() / "pause", folder)
            _commit(PAUSE, Path(folder), "/pause")
    return export(PAUSE)


def build(image: str, dockerfile: Path) -> Path:
    """Builds `dockerfile` (a path in the project) on the base image, from the project's sources and wheels."""
    base_image = base()
    wheelhouse = wheels.wheelhouse()
    made_of = f"{image} {dockerfile} {_id(base_image)} {tree.digest(machine.ROOT, wheels.CONTEXT)}"
    archive = machine.cache("images") / f"built-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.tar"
    if not archive.exists():
        with _store_lock(), tempfile.TemporaryDirectory() as folder:
            context = Path(folder)
            wheels.copy_sources(context, wheels.CONTEXT)
            shutil.copytree(wheelhouse, context / "wheelhouse")
            _buildah("build", f"--build-arg=BASE={base_image}", "-f", str(context / dockerfile), "-t", image, folder)
            _export_to(image, archive)
            _buildah("rmi", image)  # the archive is what is kept
        machine.keep_newest(archive.parent, "built-*", KEPT)
    return archive


def export(image: str) -> Path:
    """The archive of an image in the store; pods name it as it is named there."""
    identity = _id(image)
    assert identity, f"no image {image} in the store"
    archive = machine.cache("images") / f"{identity[:16]}.tar"
    if not archive.exists():
        _export_to(image, archive)
    return archive


# -- buildah


def _buildah(*arguments: str) -> str:
    store = machine.cache("containers")
    done = subprocess.run(
        ["buildah", "--root", str(store / "root"), "--runroot", str(store / "run"), *arguments],
        env={**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"buildah {' '.join(arguments)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout.strip()


def _id(image: str) -> str:
    """Empty when there is no such image."""
    return _buildah("images", "--quiet", "--no-trunc", "--filter", f"reference={image}").removeprefix("sha256:")


def _commit(image: str, root: Path, command: str) -> None:
    container = _buildah("from", "scratch")
    _buildah("add", container, str(root), "/")
    _buildah("config", "--cmd", command, "--env", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", container)
    _buildah("commit", "--rm", container, image)


def _export_to(image: str, archive: Path) -> None:
    part = archive.with_suffix(".part")
    part.unlink(missing_ok=True)
    _buildah("push", image, f"oci-archive:{part}:{image}")
    part.rename(archive)


@contextmanager
def _store_lock() -> Iterator[None]:
    """Two builders at once: the second waits, and finds what the first made."""
    with (machine.cache("containers") / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(words: list[str]) -> None:
    match words:
        case ["base"]:
            print(export(base()))
        case ["pause"]:
            print(pause())
        case ["build", image, dockerfile]:
            print(build(image, Path(dockerfile)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except machine.Missing as missing:
        sys.exit(str(missing))
