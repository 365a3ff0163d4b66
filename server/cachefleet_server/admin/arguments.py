"""Small helpers that Python command rows share: numbers, switches, help texts, refusals in the field's words."""

from __future__ import annotations

from collections.abc import Sequence

from cachefleet_parameters.kinds import parse_integer
from cachefleet_server.engine import Client, ClientFlag
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
    value = parse_integer(word.decode("latin-1"))
    if value is None or not low <= value <= high:
        raise CommandError(message)
    return value


def is_local(client: Client) -> bool:
    """In this process, or connected from this machine."""
    return client.fd < 0 or bool(client.flags & ClientFlag.UNIX_SOCKET) or client.peer().startswith(("127.", "[::1]:"))


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
