"""`python -m cachefleet_server.tools rdb|aof|export|import ...`, which `cachefleet rdb|...` becomes.

Tools for files, in the server's package, since they read files by the server's own code, and a program of their own,
since the operator's never imports it. They need argparse, the engine, and hiredis to
talk to servers: a server's image has no more.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from cachefleet_server.errors import CachefleetError, DataError
from cachefleet_server.tools.outcome import Exit, Failure, complain, of_error


def main() -> NoReturn:
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # quiet while Python imports
    _open_standard_streams()
    try:
        from cachefleet_server.tools.arguments import run
    except ModuleNotFoundError as error:
        complain(f'{error.name} is missing; tools for files need the server: pip install "cachefleet[server]"')
        sys.exit(Exit.FAILED)
    if heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    code = ended(lambda: run(sys.argv[1:]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def ended(tool: Callable[[], Exit]) -> Exit:
    """Runs it; what went wrong is said, once."""
    code = _caught(tool)
    flushed = _caught(_flush)
    if flushed is not Exit.OK or code is Exit.FAILED:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python tries again at its end
    return code or flushed


def _caught(step: Callable[[], Exit]) -> Exit:
    try:
        return step()
    except SystemExit as end:  # argparse's
        return Exit(int(end.code or Exit.OK))
    except Failure as failure:
        complain(str(failure))
        return failure.code
    except DataError as error:
        complain(str(error))
        return Exit.FOUND
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.OK
    except OSError as error:
        complain(of_error(error))
    except CachefleetError as error:
        complain(str(error))
    except MemoryError:
        complain("not enough memory")
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    return Exit.FAILED


def _flush() -> Exit:
    sys.stdout.flush()
    return Exit.OK


def _open_standard_streams() -> None:
    """Where one is closed, the next file that is opened would take its place, and get what is meant for people."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, fd)
            if nowhere != fd:
                os.close(nowhere)
            setattr(sys, name, os.fdopen(fd, "w" if fd else "r", encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


if __name__ == "__main__":
    main()
