"""What of a command others may see: secrets are replaced before MONITOR and COMMANDLOG show it.

`redact` knows AUTH, HELLO ... AUTH and CONFIG SET of the parameters that are secrets. Positions are those of the
original arguments; a log's shortened copy keeps them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

REDACTED = b"(redacted)"
HELLO_OPTIONS = {b"auth": 3, b"setname": 2}  # words of each


def redact(argv: list[bytes], secret_parameters: Collection[str]) -> list[bytes]:
    """The same list when there is nothing to hide. `secret_parameters`: names and aliases in lower case."""
    hidden = set(_secrets(argv, secret_parameters))
    return [REDACTED if i in hidden else word for i, word in enumerate(argv)] if hidden else argv


def _secrets(argv: list[bytes], secret_parameters: Collection[str]) -> Iterator[int]:
    match argv[0].lower():
        case b"auth":
            yield from range(1, len(argv))
        case b"hello":
            i = 2
            while i < len(argv):
                if argv[i].lower() == b"auth":
                    yield from (i + 1, i + 2)
                i += HELLO_OPTIONS.get(argv[i].lower(), 1)
        case b"config" if len(argv) > 2 and argv[1].lower() == b"set":
            for i in range(2, len(argv) - 1, 2):
                if argv[i].decode("latin-1").lower() in secret_parameters:
                    yield i + 1
