"""What a server wrote of XADD and XTRIM into its append only file, in words that another one takes from a client.

Redis and Valkey write a trim of a stream as the exact one that it became, and leave its LIMIT, which goes with an
approximate one alone: they take it from a file, and refuse it from anybody else.
"""

from __future__ import annotations

from typing import Final

import hiredis

from cachefleet_server.tools.link import command

_TRIMS: Final = (b"MAXLEN", b"MINID")
_OPTIONS: Final = (b"NOMKSTREAM", b"KEEPREF", b"DELREF", b"ACKED")


def without_limits(commands: bytes) -> bytes:
    """The same commands, each an array of bulk strings; most have nothing of it, and cost a search."""
    if b"\r\nLIMIT\r\n" not in commands.upper():
        return commands
    reader = hiredis.Reader()
    reader.feed(commands)
    return b"".join(command(*_exact(words)) for words in iter(reader.gets, False))


def _exact(words: list[bytes]) -> list[bytes]:
    if words[0].upper() not in (b"XADD", b"XTRIM"):
        return words
    at = 2
    while at < len(words):
        word = words[at].upper()
        if word in _TRIMS:
            signed = words[at + 1 : at + 2] in ([b"="], [b"~"])
            behind = at + 2 + signed
            if words[behind : behind + 1] and words[behind].upper() == b"LIMIT" and words[at + 1] != b"~":
                return [*words[:behind], *words[behind + 2 :]]
            at = behind
        elif word in _OPTIONS:
            at += 1
        else:
            break
    return words
