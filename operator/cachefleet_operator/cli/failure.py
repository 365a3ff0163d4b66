"""What ends a command: words for people, and an exit code for scripts. One row a kind of failure."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    FAILED = 1  # anything else; of `up -d` and `status`: not every Cache is Ready
    USAGE = 2  # the command line (typer's own)
    MANIFEST = 3  # not YAML, an unknown kind, an invalid spec; of `up -d` and `status`: a spec that is refused
    BUSY = 4  # another `up` has the data folder, or a port is taken
    MISSING = 5  # a program is not installed
    STORAGE = 6  # the data folder cannot be written: full, not ours, damaged
    NOT_RUNNING = 7  # nothing runs in this data folder, or no such Cache


class Failure(Exception):
    """`str()` is what stands on the terminal; several lines are fine."""

    def __init__(self, code: Exit, words: str) -> None:
        super().__init__(words)
        self.code = code
