"""A progress bar on standard error, for people: a terminal, a large file, and rich, which a server's image lacks."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Final

BYTES_MIN: Final = 32 << 20  # below this it is over before one looks
STEPS: Final = 1000

Show = Callable[[int], None]  # done so far


@contextlib.contextmanager
def progress(path: str, total: int | None) -> Iterator[Show]:
    """Its line has the file's name alone: a long path would leave no room for the rest. None: nobody knows how much."""
    if (total is not None and total < BYTES_MIN) or not sys.stderr.isatty():
        yield lambda done: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    except ModuleNotFoundError:
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(file=sys.stderr), transient=True)
    with bar:
        task = bar.add_task(os.path.basename(path), total=total)
        following = 0

        def show(done: int) -> None:
            nonlocal following
            if done >= following:
                following = done + (total or BYTES_MIN) // STEPS
                bar.update(task, completed=done)

        yield show
