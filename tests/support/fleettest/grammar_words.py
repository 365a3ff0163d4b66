"""A row of the grammar: words, of which some are drawn anew for each command."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleettest.grammar import Draw

Word = bytes
Command = tuple[bytes, ...]


def words(*parts: Word | Callable[[Draw], Word | list[Word]]) -> Callable[[Draw], Command]:
    def make(draw: Draw) -> Command:
        made: list[Word] = []
        for part in parts:
            word = part if isinstance(part, bytes) else part(draw)
            made += word if isinstance(word, list) else [word]
        return tuple(made)

    return make
