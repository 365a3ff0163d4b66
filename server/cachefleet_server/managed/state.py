"""What a managed server knows: what is kept on its disk, what it is told, and positions in the stream.

A *member* is a server with one particular disk, named by the disk's id: a server that has lost what it once confirmed
has a new id, and is a new member. A *record* says who is the primary, and of whom it needs confirmations; records are
numbered by *epochs*. A *tenure* is the epoch of the record that made a primary the primary. In the stream it begins
with a mark, a PING, and a *position* is the tenure of the last applied byte, with the offset behind that byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

STARTS_MAX: Final = 24  # tenures whose beginning is remembered: they fit into a greeting's line

FIRST: Final = "first"
ELECTED: Final = "elected"
HANDOVER: Final = "handover"
CONTINUED: Final = "continued"
KINDS: Final = (FIRST, ELECTED, HANDOVER, CONTINUED)

ASYNC: Final = "async"
REPLICATED: Final = "replicated"
DURABILITIES: Final = (ASYNC, REPLICATED)


class Position(NamedTuple):
    """Compared in this order."""

    tenure: int
    offset: int


class Start(NamedTuple):
    """Where a tenure begins: `offset` is that of its mark's first byte."""

    tenure: int
    offset: int


def tenure_at(starts: Iterable[Start], end: int) -> int:
    """Of the last byte in front of `end`. A tenure counts only when its mark was applied, and a mark is one command:
    the first byte behind its beginning comes with all of it."""
    return max((start.tenure for start in starts if start.offset < end), default=0)


@dataclass(frozen=True, slots=True)
class Quorum:
    """So many of the members, the primary itself not counted, must have confirmed."""

    members: frozenset[str]
    acks: int


@dataclass(frozen=True, slots=True)
class Prepared:
    epoch: int
    quorum: Quorum


@dataclass(frozen=True, slots=True)
class Stored:
    """On the disk, beside the data."""

    disk: str
    claim: str = ""  # uid of the volume claim, "": nobody has said
    boot: str = ""  # of the host that wrote it
    data_set: str = ""  # "": no data yet
    promise: int = 0
    starts: tuple[Start, ...] = ()
    solo_epoch: int = 0
    prepared: Prepared | None = None
    offset: int = 0  # up to where the stream was applied when this was stored
    kept: bool = False  # since its last start, a file has got all that was applied before it was confirmed ...
    synced: bool = False  # ... and that was on the disk by then


@dataclass(frozen=True, slots=True)
class Record:
    epoch: int
    tenure: int
    kind: str
    primary: str  # disk
    run: str
    quorum: Quorum
    start: Position  # where the tenure begins
    data_set: str
    durability: str
    address: tuple[str, int]  # of the primary


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a primary says of itself to who wants to follow it."""

    epoch: int
    disk: str
    data_set: str
    starts: tuple[Start, ...]
