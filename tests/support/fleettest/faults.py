"""Disk faults for a server under test: the shim of tests/support/faultshim.c, its rules and its log.

    faults = Faults(data_folder, tmp_path)
    with Instance(directory=data_folder, env=faults.env) as server:
        faults.set("fail write 1- ENOSPC @*.rdb")     # the disk is full for files of this name
        ...
        faults.clear()                                 # there is space again

`faults.events()` lists the calls so far, so a test can first count them and then, run by run, kill the process at
each one: `for rule in faults.kill_points(events)`. The grammar of rules is at the top of the C file.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

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
        fresh.rename(self._control)

    def clear(self) -> None:
        self.set()

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
