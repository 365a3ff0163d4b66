"""A word for somebody who misspelt a name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

SIMILAR = 0.75  # of difflib's ratio; below it the guess would puzzle more than it helps


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """" (did you mean maxclients?)" for a name that one of `known` resembles; else empty."""
    plain = {_plain(candidate): candidate for candidate in known}
    near = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=SIMILAR)
    return f" (did you mean {plain[near[0]]}?)" if near else ""


def _plain(name: str) -> str:
    """Without what people write in one way or another: memory_limit, memoryLimit, memory-limit."""
    return re.sub("[-_]", "", name[:64]).lower()
