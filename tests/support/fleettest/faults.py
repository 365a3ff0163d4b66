"""Disk faults for a server under test: the shim of tests/support/faultshim.c, its rules and its log.

    faults = Faults(data_folder, tmp_path)
    with Instance(directory=data_folder, env=faults.env) as server:
        faults.set("fail write 1- ENOSPC @*.rdb")     # the disk is full for files of this name
        ...
        faults.clear()                                 # there is space again

`faults.set("hold fsync 1- @temp*")` lets a call take exactly as long as the test wants, which is until `clear`.
`faults.events()` lists the calls so far, so a test can first count them and then, run by run, kill the process at
each one: `for rule in faults.kill_points(events)`. The grammar of rules is at the top of the C file.
"""

from __future__ import annotations

import fnmatch
import functools
import os
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from fleettest.wait import assert_eventually

SOURCES = Path(__file__).resolve().parents[1]


class Event(NamedTuple):
    """A call on a file of the folder, as it was about to be made."""

    call: str  # open, write, fsync, rename, unlink, truncate
    file: str  # name without its folder; of a rename, the new one
    size: int  # bytes of a write, new size of a truncate


@functools.cache
def build_shim(name: str) -> Path:
    """Compiles tests/support/<name>.c once a process."""
    folder = Path(tempfile.mkdtemp(prefix="fleettest-shim-"))
    target = folder / f"{name}.so"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(target), str(SOURCES / f"{name}.c"), "-ldl", "-lpthread"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target


def preload(name: str) -> str:
    """LD_PRELOAD with this shim in it."""
    libraries = [str(build_shim(name)), *os.environ.get("LD_PRELOAD", "").split()]
    if len(libraries) > 1 and "asan" in libraries[1]:  # its runtime insists on being the first
        libraries.append(libraries.pop(0))
    return " ".join(libraries)


class Faults:
    """The rules for one process and its folder. `work` is a folder outside of it for the rules and the log."""

    def __init__(self, folder: Path, work: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._control = work / "faults.rules"
        self._log = work / "faults.log"
        self._log.write_bytes(b"")
        self.clear()
        self.env = {
            "LD_PRELOAD": preload("faultshim"),
            "FAULT_DIR": str(folder),
            "FAULT_CONTROL": str(self._control),
            "FAULT_LOG": str(self._log),
        }

    def set(self, *rules: str) -> None:
        """Replaces all rules; their counts start at zero with the next call."""
        fresh = self._control.with_suffix(".new")
        fresh.write_text("".join(rule + "\n" for rule in rules))
        now = time.time_ns()  # finer than the file system's clock: the shim tells replaced rules by this
        os.utime(fresh, ns=(now, now))
        fresh.rename(self._control)

    def clear(self) -> None:
        self.set()

    def wait_for(self, call: str, glob: str = "*") -> None:
        """Until such a call is about to be made, or held; since the start or the last `forget`."""
        assert_eventually(
            lambda: any(event.call == call and fnmatch.fnmatch(event.file, glob) for event in self.events()),
            lambda: f"a {call} of {glob}: {self.events()}",
            deadline_s=30,
        )

    def events(self) -> list[Event]:
        """The calls since the start or the last `forget`."""
        rows = (line.split(" ", 1) for line in self._log.read_text().splitlines())
        ends = ((call, *rest.rsplit(" ", 1)) for call, rest in rows)
        return [Event(call, file, int(size)) for call, file, size in ends]

    def forget(self) -> None:
        """Empties the log of events."""
        os.truncate(self._log, 0)

    @staticmethod
    def kill_points(
        events: Iterable[Event], *, glob: str = "*", actions: tuple[str, ...] = ("kill-before", "kill-after")
    ) -> Iterator[str]:
        """One rule for each action at each of these events, which a run is expected to repeat."""
        for nth, _ in enumerate(events, 1):
            for action in actions:
                yield f"{action} any {nth} @{glob}"
