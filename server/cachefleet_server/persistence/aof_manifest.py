"""The manifest of a multi-part AOF: which files make up the data, and in which order.

    file appendonly.aof.3.base.rdb seq 3 type b
    file appendonly.aof.5.incr.aof seq 5 type i startoffset 0

At most one base (b), then incremental files (i) by rising seq; history files (h) are to be deleted, but for those that
are kept for a time for who reads changes (aof_folder.py); other servers delete them. Unknown key-value
pairs of a line are accepted and dropped, as other servers write some. The file is replaced atomically: temporary
name, fsync, rename, fsync of the folder. Names with blanks or special characters are quoted like words of a
configuration file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from cachefleet_parameters.text import quote, split_words
from cachefleet_server.errors import DataError
from cachefleet_server.files import open_regular, read_regular, sync_folder, write_all

BASE: Final = "b"
INCREMENTAL: Final = "i"
HISTORY: Final = "h"
LINE_BYTES_MAX: Final = 1024
PLAIN: Final = re.compile(r"[!#-&(-\[\]-~]+")  # printable, no blank, quote or backslash


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    seq: int
    type: str

    @property
    def is_incremental(self) -> bool:
        """By its name, also when it is history."""
        return self.name.endswith(".incr.aof")

    def line(self) -> str:
        name = self.name if PLAIN.fullmatch(self.name) else quote(self.name)
        return f"file {name} seq {self.seq} type {self.type}\n"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Immutable; each step of a rewrite makes the next one."""

    base: Part | None = None
    incremental: tuple[Part, ...] = ()
    history: tuple[Part, ...] = ()
    base_seq: int = 0  # highest so far
    incremental_seq: int = 0

    def text(self) -> str:
        parts = [*([self.base] if self.base else []), *self.history, *self.incremental]
        return "".join(part.line() for part in parts)

    def files(self) -> list[Part]:
        """What must be loaded, in order."""
        return [*([self.base] if self.base else []), *self.incremental]

    def with_incremental(self, filename: str) -> Manifest:
        seq = self.incremental_seq + 1
        part = Part(f"{filename}.{seq}.incr.aof", seq, INCREMENTAL)
        return replace(self, incremental=(*self.incremental, part), incremental_seq=seq)

    def with_base(self, filename: str, keep_from_seq: int, suffix: str = "rdb") -> Manifest:
        """A new base replaces the old one and the incremental files before `keep_from_seq`, which become history."""
        seq = self.base_seq + 1
        part = Part(f"{filename}.{seq}.base.{suffix}", seq, BASE)
        gone = [*([self.base] if self.base else []), *(p for p in self.incremental if p.seq < keep_from_seq)]
        return replace(
            self,
            base=part,
            base_seq=seq,
            incremental=tuple(p for p in self.incremental if p.seq >= keep_from_seq),
            history=(*self.history, *(replace(p, type=HISTORY) for p in gone)),
        )

    def with_history(self, history: tuple[Part, ...]) -> Manifest:
        return replace(self, history=history)


def parse(text: str, path: str) -> Manifest:
    """Raises DataError with the line's number."""
    base: Part | None = None
    incremental: list[Part] = []
    history: list[Part] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        part = _parse_line(line, f"{path}, line {number}")
        if part.type == BASE:
            if base is not None:
                raise DataError(f"{path}, line {number}: found duplicate base file information")
            base = part
        elif part.type == INCREMENTAL:
            if incremental and part.seq <= incremental[-1].seq:
                raise DataError(f"{path}, line {number}: found a non-monotonic sequence number")
            incremental.append(part)
        else:
            history.append(part)
    if base is None and not incremental and not history:
        raise DataError(f"{path}: the manifest is empty; restore it or remove the folder to start without data")
    return Manifest(
        base,
        tuple(incremental),
        tuple(history),
        max((p.seq for p in [*([base] if base else []), *history]), default=0),
        max((p.seq for p in [*incremental, *history]), default=0),
    )


def _parse_line(line: str, where: str) -> Part:
    if len(line) > LINE_BYTES_MAX:
        raise DataError(f"{where}: the line is too long")
    words = split_words(line)
    if words is None or len(words) < 6 or len(words) % 2:
        raise DataError(f"{where}: invalid manifest line")
    pairs = dict(zip(words[::2], words[1::2], strict=True))
    name, seq, kind = pairs.get("file", ""), pairs.get("seq", ""), pairs.get("type", "")
    if not name or not (seq.isascii() and seq.isdigit()) or kind not in (BASE, INCREMENTAL, HISTORY):
        raise DataError(f"{where}: file, seq or type is missing or wrong")
    if "/" in name or "\0" in name or name in (".", ".."):
        raise DataError(f"{where}: {name!r} is a path, not a file name")
    return Part(name, int(seq), kind)


def read(path: str) -> Manifest | None:
    """None when there is no manifest."""
    try:
        return parse(read_regular(path).decode("utf-8", "surrogateescape"), path)
    except FileNotFoundError:
        return None


def write(path: str, manifest: Manifest) -> None:
    """Replaces the manifest; raises OSError and leaves the old one whole."""
    folder, name = os.path.split(path)
    temp = os.path.join(folder, f"temp-{name}")
    write_durably(temp, [manifest.text().encode("utf-8", "surrogateescape")])
    os.rename(temp, path)
    sync_folder(folder)


def write_durably(path: str, chunks: Iterable[bytes]) -> None:
    fd = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        for chunk in chunks:
            write_all(fd, chunk)
        os.fsync(fd)
    finally:
        os.close(fd)
