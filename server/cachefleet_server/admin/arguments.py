"""Small helpers that Python command rows share: numbers, switches, help texts, refusals in the field's words."""

from __future__ import annotations

from collections.abc import Sequence

from cachefleet_server.errors import CommandError
from cachefleet_server.replies import Reply, Simple

INT64_MAX = (1 << 63) - 1
SYNTAX = "ERR syntax error"
NOT_INTEGER = "ERR value is not an integer or out of range"


def text(word: bytes) -> str:
    """An argument as text; every byte is representable."""
    return word.decode("utf-8", "surrogateescape")


def integer(word: bytes, message: str = NOT_INTEGER, *, low: int = -INT64_MAX - 1, high: int = INT64_MAX) -> int:
    """A strict decimal, as the protocol wants it: no blanks, no plus, no leading zeros."""
    body = word[1:] if word[:1] == b"-" else word
    well_formed = body.isdigit() and (body[:1] != b"0" or word == b"0")
    if not well_formed or len(body) > 19 or not low <= int(word) <= high:
        raise CommandError(message)
    return int(word)


def switch(word: bytes) -> bool:
    """ON or OFF."""
    lower = word.lower()
    if lower not in (b"on", b"off"):
        raise CommandError(SYNTAX)
    return lower == b"on"


def help_lines(command: str, lines: Sequence[str]) -> Reply:
    """HELP of a container command: a heading, the given lines, and HELP itself."""
    heading = f"{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    return [Simple(line) for line in (heading, *lines, "HELP", "    Print this help.")]
