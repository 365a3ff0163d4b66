"""How a tool ends: words for people and an exit code for scripts. docs/files.md has the table."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    FOUND = 1  # the file would not load as it is; of `diff`: there are differences
    USAGE = 2  # the command line (argparse's own); of `diff`: files that could not be compared
    FAILED = 3  # it could not be done: unreadable, unwritable, in use, refused
    INTERRUPTED = 130  # Ctrl-C


class Failure(Exception):
    """Said on standard error; `code` is how the process ends."""

    def __init__(self, code: Exit, words: str) -> None:
        super().__init__(words)
        self.code = code


def say(line: str) -> None:
    """What people wait for."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def complain(words: str) -> None:
    """What keeps nobody from hearing it is that nobody listens: the exit code says it, too."""
    try:
        sys.stderr.write(f"cachefleet: {words}\n")
        sys.stderr.flush()
    except OSError:
        pass


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Errors of what is done with a descriptor do not say whose it is."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, path) from None


def fresh(path: str, force: bool) -> None:
    """Nothing is written over by mistake."""
    if not force and os.path.lexists(path):
        raise Failure(Exit.FAILED, f"{path} exists; --force writes over it")


def of_error(error: OSError) -> str:
    """Which file, or that it was standard output, and why."""
    where = error.filename if error.filename is not None else "standard output"
    return f"{os.fsdecode(where) if isinstance(where, bytes) else where}: {error.strerror or error}"
