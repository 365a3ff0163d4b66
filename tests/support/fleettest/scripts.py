"""Scripts: texts of commands, one a line, words separated by blanks, run on a `Pair`.

`\\x41` and the like are bytes, `""` is the empty word, lines that begin with # are comments.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from fleettest.client import Arg
from fleettest.reference import Pair

Command = Sequence[Arg]


def words(line: str) -> list[bytes]:
    return [b"" if word == '""' else codecs.escape_decode(word.encode("latin-1"))[0] for word in line.split()]


def script(text: str) -> list[list[bytes]]:
    return [words(line) for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def both_ways(pair: Pair, commands: Sequence[Command]) -> None:
    """One by one, and then, on emptied servers, as one pipeline."""
    pair.flush()
    for command in commands:
        pair.run(*command)
    pair.flush()
    pair.pipeline(commands)
