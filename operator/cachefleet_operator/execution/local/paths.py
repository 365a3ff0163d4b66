"""Where files of Caches may be: the one place that makes a path of a name.

Names come from manifests, and from a data folder that somebody else may have filled. `below(root, *names)` is the path
under `root` that they mean, reached by no link, or Outside is raised; so a name may be anything, and a link in the
place of a folder of ours leads nowhere. What is asked before is asked of a folder that only we can write to, so nothing
changes in between.

Files are for their owner alone (0600, folders 0700) and written whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path, PurePath

from cachefleet_operator.execution.errors import ExecutionError

SHOWN_MAX = 100  # characters of a name


class Outside(ExecutionError):
    """A name that is no path inside the folder where it should be."""


def below(root: Path, *names: str) -> Path:
    """root/names, each of which may have several parts. Raises Outside."""
    path = root
    for name in names:
        for part in PurePath(name).parts or ("",):
            path /= part
            if not _is_part(part) or os.path.islink(path):
                raise Outside(f"the path {'/'.join(names)[:SHOWN_MAX]!r} leaves its folder {root}")
    return path


def _is_part(part: str) -> bool:
    try:
        os.fsencode(part)
    except UnicodeEncodeError:
        return False
    return part not in ("", "..") and "/" not in part and "\0" not in part


def private_folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file that only its owner may read, whole or not at all; what was there may have been a link."""
    temporary = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(content)
        temporary.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
