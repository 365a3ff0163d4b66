"""A component: one process with a log, that can be stopped and started again, also by another process.

A cluster's folder holds `logs/NAME.log`, `run/NAME.pid` and `run/NAME.json` (the command line), so `Component.load`
finds what somebody else started. There are two ways to live:

    attached   a child that dies with the thread that started it (PR_SET_PDEATHSIG): for a control plane inside a test
               session, which must leave nothing behind however that session ends
    detached   a child of process 1: in a cluster's own pid namespace, where process 1 reaps, and whose end ends all
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Final

import machine

from fleettest.wait import assert_eventually

START_S: Final = 60.0
STOP_S: Final = 20.0
LOG_TAIL_BYTES: Final = 3000
# The shell becomes the component, so the id it writes is the component's.
ANNOUNCE: Final = ["/bin/sh", "-c", 'echo $$ >"$0.new" && mv "$0.new" "$0" && exec "$@"']


class StartError(Exception):
    """A component ended, or was not ready in time; holds the end of its log and says where all logs are."""


class Component:
    """`argv` runs as it is; `detached` as above."""

    def __init__(self, folder: Path, name: str, argv: Sequence[str], *, detached: bool) -> None:
        self.folder = folder
        self.name = name
        self.argv = list(argv)
        self.detached = detached
        self.log = folder / "logs" / f"{name}.log"
        self.pid_file = folder / "run" / f"{name}.pid"
        self._child: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.name} pid={self.pid()}>"

    @classmethod
    def load(cls, folder: Path, name: str) -> Component:
        """A detached component that another process started."""
        argv = json.loads((folder / "run" / f"{name}.json").read_text())
        return cls(folder, name, argv, detached=True)

    def start(self) -> Component:
        for made in (self.log.parent, self.pid_file.parent):
            made.mkdir(parents=True, exist_ok=True)
        self.pid_file.unlink(missing_ok=True)
        self.pid_file.with_suffix(".json").write_text(json.dumps(self.argv))
        words = [*ANNOUNCE, str(self.pid_file), *self.argv]
        environment = {**os.environ, "PATH": machine.search_path()}
        with self.log.open("ab") as log:
            if self.detached:
                self._run(["setsid", "--fork", *words], log.fileno(), environment).wait()
            else:
                self._child = self._run(["setpriv", "--pdeathsig", "KILL", *words], log.fileno(), environment)
        assert_eventually(self.pid_file.exists, lambda: f"start of {self.argv[0]}\n{self.log_tail()}")
        return self

    @staticmethod
    def _run(words: list[str], log: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def pid(self) -> int | None:
        """Of the process that was started last; it may be gone."""
        try:
            return int(self.pid_file.read_text())
        except FileNotFoundError:
            return None

    def alive(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        pid = self.pid()
        return pid is not None and process_exists(pid)

    def send(self, number: int) -> None:
        pid = self.pid()
        if pid is not None and self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self, number: int = SIGTERM, deadline_s: float = STOP_S) -> None:
        """Returns when it is gone; one that does not go is killed."""
        self.send(number)
        try:
            assert_eventually(lambda: not self.alive(), deadline_s=deadline_s)
        except AssertionError:
            self.send(SIGKILL)
            assert_eventually(lambda: not self.alive(), f"{self.name} survives SIGKILL")
        self._child = None

    def wait_ready(self, ready: Callable[[], object], deadline_s: float = START_S) -> None:
        """Waits for `ready`; OSError and AssertionError mean "not yet". The end of the process ends the wait."""
        last: list[BaseException] = []

        def attempt() -> bool:
            if not self.alive():
                raise StartError(f"{self.name} ended\n{self.log_tail()}")
            try:
                return bool(ready())
            except (OSError, AssertionError) as error:
                last[:] = [error]
                return False

        try:
            assert_eventually(attempt, deadline_s=deadline_s, pause_s=0.05)
        except AssertionError:
            reason = f": {last[0]!r}" if last else ""
            raise StartError(f"{self.name} was not ready within {deadline_s} s{reason}\n{self.log_tail()}") from None

    def log_tail(self) -> str:
        text = self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace") if self.log.exists() else ""
        return f"--- end of {self.log} (the logs of all components are in that folder)\n{text}"


def process_exists(pid: int) -> bool:
    """False for a zombie too: what is left of it is its exit code."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != b"Z"
