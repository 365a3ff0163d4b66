"""The console script `cachefleet`: what must hold before the command line is imported, and when it has ended.

Ctrl-C is quiet, also while Python imports; descriptors 0 to 2 exist; a package that is missing is named, with the line
that installs it. Nothing but the standard library is imported before.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import NoReturn

from cachefleet_operator.cli.failure import Exit

OURS = "cachefleet_operator"


def main() -> NoReturn:
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # who ignores it had better go on so
    if heeded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _open_standard_streams()
    try:
        from cachefleet_operator.cli.main import run
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package == OURS:
            raise
        sys.stderr.write(f"cachefleet: {package} is not installed: pip install 'cachefleet[local]'\n")
        sys.exit(Exit.MISSING)
    if heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = run()
    finally:
        if heeded:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)


def _open_standard_streams() -> None:
    """Where one is closed, the next file that is opened would take its place, and get what is meant for people."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, fd)
            if nowhere != fd:
                os.close(nowhere)
            setattr(sys, name, os.fdopen(fd, "w" if fd else "r", encoding="utf-8", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error: a name may have what a terminal has not


if __name__ == "__main__":
    main()
