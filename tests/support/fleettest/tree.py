"""The files of the project, known without git: a clone, an unpacked archive and a copy of either are the same tree.

    python tests/support/fleettest/tree.py files      the paths, each ended by a NUL
    python tests/support/fleettest/tree.py digest     what they hold, as 16 hexadecimal digits
    python tests/support/fleettest/tree.py seed       a number made of the code: the gate's seed for random tests

What belongs is what `.gitignore` at the top does not name. Of its patterns those are understood that stand there: names
and `*` anywhere, `/` at the beginning or inside for one place, `/` at the end for folders, `**` for any depth.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
FIGURES: Final = ("gate.json", "published.json")  # what runs of the gate and of the benchmark have shown


def files(root: Path = ROOT, top: Sequence[str] = ("",)) -> list[Path]:
    """Those below the paths `top`, relative to the root, in order."""
    ignored = re.compile("|".join(["\\.git/?", *_patterns((root / ".gitignore").read_text())]))
    found: set[str] = set()
    for name in top:
        start = root / name
        found |= set(_walk(root, name, ignored)) if start.is_dir() else ({name} if start.is_file() else set())
    return [Path(name) for name in sorted(found)]


def _walk(root: Path, folder: str, ignored: re.Pattern[str]) -> Iterator[str]:
    with os.scandir(root / folder) as entries:
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if not ignored.fullmatch(path + "/"):
                    yield from _walk(root, path, ignored)
            elif entry.is_file() and not ignored.fullmatch(path):
                yield path


def _patterns(text: str) -> Iterator[str]:
    """Regular expressions for whole paths, where those of folders end with a slash."""
    for line in text.split():
        assert line[0] not in "#!", f"not understood: {line}"
        body = line.strip("/")
        place = "" if "/" in line.rstrip("/") else "(?:.*/)?"
        words = re.split(r"(\*\*/|\*)", body)
        translated = "".join({"**/": "(?:.*/)?", "*": "[^/]*"}.get(word, re.escape(word)) for word in words)
        yield f"{place}{translated}{'/' if line.endswith('/') else '/?'}"


def digest(root: Path = ROOT, top: Sequence[str] = ("",)) -> str:
    """Of names and contents."""
    return _digest(root, files(root, top))


def _digest(root: Path, paths: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        content = (root / path).read_bytes()
        found.update(os.fsencode(path) + b"\0%d\0" % len(content) + content)
    return found.hexdigest()[:16]


def seed(root: Path = ROOT) -> int:
    """Another one when code is another. Prose and figures say what a run has shown, so they do not change the run."""
    code = [path for path in files(root) if path.suffix != ".md" and path.name not in FIGURES]
    return int(_digest(root, code)[:8], 16)


def main(words: Sequence[str]) -> None:
    match words:
        case ["files"]:
            sys.stdout.write("".join(f"{path}\0" for path in files()))
        case ["digest"]:
            print(digest())
        case ["seed"]:
            print(seed())
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
