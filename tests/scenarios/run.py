"""Builds both images and runs the scenarios in a cluster of two nodes. As root, on Debian.

    python tests/scenarios/run.py [arguments of pytest]        -k rotation, -x ...
    python tests/scenarios/run.py build                        the images alone
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "cluster"), str(TESTS / "support")]

import images  # noqa: E402
import machine  # noqa: E402

from fleettest.stage import OPERATOR_IMAGE, SERVER_IMAGE  # noqa: E402

IMAGES: Final = {SERVER_IMAGE: "Dockerfile.server", OPERATOR_IMAGE: "Dockerfile.operator"}


def main(arguments: list[str]) -> None:
    archives = []
    for image, dockerfile in IMAGES.items():
        # Pods that say cachefleet/server mean this registry.
        archive = images.build(f"docker.io/{image}", Path("deploy") / dockerfile)
        print(f"{image}: {archive.stat().st_size / (1 << 20):.0f} MiB, compressed", flush=True)
        archives.append(str(archive))
    if arguments == ["build"]:
        return
    cluster = [sys.executable, str(TESTS / "cluster" / "cluster.py"), "--nodes=2", f"--images={','.join(archives)}"]
    pytest = [sys.executable, "-m", "pytest", str(TESTS / "scenarios"), *arguments]
    os.execv(sys.executable, [*cluster, "--", *pytest])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except machine.Missing as missing:
        sys.exit(str(missing))
