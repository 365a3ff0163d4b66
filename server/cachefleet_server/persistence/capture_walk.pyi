"""The journal's changes out of an AOF's file; the theory is in capture_walk.pyx."""

from typing import Final, NamedTuple

END: Final[int]  # nothing more that is whole
FULL: Final[int]  # as much as was asked for
FOUND: Final[int]  # at the place that was looked for
BROKEN: Final[int]  # what follows does not go on from here, or is damaged

_Change = tuple[int, list[bytes]]  # database, words

class Place(NamedTuple):
    """Between two units of a file."""

    byte: int  # in the file
    id: bytes  # of the history; b"" before the first note
    offset: int  # in the history
    db: int  # that the journal is in

class Walk:
    """Forwards through one file, from a place. `wanted`: where to stop, (id, offset)."""

    place: Place  # the last one that it came to
    points: list[Place]  # of one that goes `on` over breaks: where histories begin, and some places between
    def __init__(self, place: Place, *, wanted: tuple[bytes, int] | None = None, on: bool = False) -> None: ...
    def run(self, block: bytes, into: list[tuple[int, list[_Change]]] | None, count: int, size: int) -> int:
        """Through the file's bytes from `place.byte` on. What is found is put `into` the list by units, each with the
        offset behind it; FULL at the end of a unit with which there are `count` changes or `size` bytes of them."""
