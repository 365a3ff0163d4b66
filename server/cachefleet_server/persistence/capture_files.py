"""Where a position is in the AOF's files, and what follows it.

Sources are the incremental files that are kept, oldest first, each with the number of bytes that count: what others
still append is not looked at. From one file to the next reading goes on only if the next begins at exactly the
position at which the one before ends, under the same id; else data were changed that no file tells of.

To find a position its file is walked through once, and places are remembered (a *point* each megabyte, and wherever a
history begins); a reader that goes on from what it was told last is found at once. All of it runs in one thread beside
the engine's: a disk that is slow to read keeps readers of changes waiting and nobody else.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cachefleet_server.errors import CachefleetError
from cachefleet_server.files import open_regular
from cachefleet_server.persistence.capture_walk import BROKEN, END, Place, Walk

BLOCK: Final = 262144  # bytes that are read at once: while changes are made of them, the engine may have to wait
HEAD: Final = 4096  # bytes in which a file says where it begins
REMEMBERED: Final = 256  # positions that readers were told last
NOWHERE: Final = Place(0, b"", 0, 0)

Change = tuple[int, list[bytes]]
"""Database, words."""


class Gone(CachefleetError):
    """The files do not tell what follows this position."""


class Position(NamedTuple):
    """In the journal: between two changes of a history."""

    id: bytes
    offset: int


class Source(NamedTuple):
    """A file, and how many bytes of it count."""

    path: str
    size: int


@dataclass(slots=True)
class Found:
    """What follows a position: changes by units, each with the position's offset behind it."""

    position: Position  # behind all of it
    units: list[tuple[int, list[Change]]] = field(default_factory=list)
    more: bool = False


class JournalFiles:
    def __init__(self) -> None:
        self._indexes: dict[str, Walk] = {}
        self._told: OrderedDict[Position, tuple[str, Place]] = OrderedDict()

    def read(self, sources: Sequence[Source], tip: Position, position: Position, count: int, size: int) -> Found:
        """At most so much, but for the last unit; `tip`: where the sources end. Raises Gone."""
        at, walk = self._find(sources, position)
        units: list[tuple[int, list[Change]]] = []
        status = self._walk(sources[at], walk, units, count, size)
        more = status != END or at + 1 < len(sources)
        while more and not units:
            following = self._begin(sources[at + 1]) if status == END else None
            if following is None and at + 2 == len(sources) and _position(walk.place) == tip:
                more = False  # nothing was written to the last one yet
            elif following is None or _position(following) != _position(walk.place):
                raise Gone
            else:
                at, walk = at + 1, Walk(following)
                status = self._walk(sources[at], walk, units, count, size)
                more = status != END or at + 1 < len(sources)
        self.remember(sources[at].path, walk.place)
        return Found(_position(walk.place), units, more)

    def oldest(self, sources: Sequence[Source]) -> Position | None:
        """From which reading comes to the end: a replica that got all data anew has files of another history."""
        oldest: Place | None = None
        for source in reversed(sources):
            begin = self._begin(source)
            if begin is None:
                continue
            if oldest is not None and begin.id != oldest.id and not self._leads(source, oldest):
                break
            oldest = begin
        return _position(oldest) if oldest is not None else None

    def _leads(self, source: Source, place: Place) -> bool:
        return _position(self._index(source).place) == _position(place)

    def remember(self, path: str, place: Place) -> None:
        """A reader was told it, and comes back."""
        self._told[_position(place)] = path, place
        self._told.move_to_end(_position(place))
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)

    def _find(self, sources: Sequence[Source], position: Position) -> tuple[int, Walk]:
        self._forget(sources)
        if position in self._told:
            path, place = self._told[position]
            for at, source in enumerate(sources):
                if source.path == path:
                    return at, Walk(place)
        for at in reversed(range(len(sources))):
            walk = self._search(sources[at], position)
            if walk is not None:
                return at, Walk(walk.place)
        raise Gone

    def _search(self, source: Source, position: Position) -> Walk | None:
        """A walk that has come to it."""
        begin = self._begin(source)
        if begin is not None and begin.id == position.id and begin.offset > position.offset:
            return None
        for point in reversed(self._index(source).points):
            if point.id == position.id and point.offset <= position.offset:
                walk = Walk(point, wanted=position)
                self._walk(source, walk)
                return walk if _position(walk.place) == position else None
        return None

    def _begin(self, source: Source) -> Place | None:
        """Where the file begins to say its position; None: it does not."""
        walk = self._indexes.get(source.path)
        if walk is None:
            walk = Walk(NOWHERE, on=True)
            self._walk(Source(source.path, min(source.size, HEAD)), walk)
        if not walk.points:
            walk = self._index(source)
        return walk.points[0] if walk.points else None

    def _index(self, source: Source) -> Walk:
        """Of the file up to what counts of it now."""
        walk = self._indexes.setdefault(source.path, Walk(NOWHERE, on=True))
        self._walk(source, walk)
        return walk

    def _forget(self, sources: Sequence[Source]) -> None:
        paths = {source.path for source in sources}
        for path in self._indexes.keys() - paths:
            del self._indexes[path]

    def _walk(
        self,
        source: Source,
        walk: Walk,
        into: list[tuple[int, list[Change]]] | None = None,
        count: int = 0,
        size: int = 0,
    ) -> int:
        """To where it stops, or to the last whole unit of the file."""
        try:
            fd = open_regular(source.path, os.O_RDONLY)
        except OSError:
            return BROKEN
        try:
            room, status = BLOCK, END
            while status == END and walk.place.byte < source.size:
                at = walk.place.byte
                wanted = min(room, source.size - at)
                block = os.pread(fd, wanted, at)
                status = walk.run(block, into, count, size)
                if walk.place.byte != at:
                    room = BLOCK
                elif len(block) < wanted or wanted == source.size - at:
                    break  # the rest is no whole unit
                else:
                    room *= 2
            return status
        finally:
            os.close(fd)


def _position(place: Place) -> Position:
    return Position(place.id, place.offset)
