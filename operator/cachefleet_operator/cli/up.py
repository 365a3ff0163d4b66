"""`cachefleet local up`: runs what the manifests ask for until it is told to stop.

In the foreground it shows what happens; Ctrl-C (or SIGTERM, or the terminal's end) has the servers save and stop, a
second one kills them. Manifests that change are taken up live. With --detach the same runs in a process of its own, and
this one waits until every Cache is Ready, or one is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from cachefleet_operator.cli import manifests as files
from cachefleet_operator.cli import view as shown
from cachefleet_operator.cli.failure import Exit, Failure
from cachefleet_operator.cli.fleet import Fleet
from cachefleet_operator.cli.state import Folder, option, unwritable
from cachefleet_operator.cli.view import View
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.local.podspec import ConfigError
from cachefleet_operator.execution.local.reading import SERVER, executable
from cachefleet_operator.execution.local.tcp_ports import PortBook

TICK_S = 0.1
DETACH_S = 60.0  # how long --detach waits for Ready
LOG_BYTES_MAX = 1 << 20
LOG_FORMAT = "%(asctime)s %(levelname)s %(cache)s %(message)s"


@dataclass(frozen=True, slots=True)
class Options:
    sources: tuple[str, ...]
    data: Path
    port: int | None = None  # of the first Cache
    metrics_port: int | None = None

    def arguments(self) -> list[str]:
        """The same on a command line."""
        words = [word for source in self.sources for word in ("-f", source)]
        words += ["--data", str(self.data)]
        words += ["--port", str(self.port)] if self.port is not None else []
        return words + (["--metrics-port", str(self.metrics_port)] if self.metrics_port is not None else [])


def foreground(options: Options, view: View, standard_input: str, *, background: bool = False) -> Exit:
    """Runs to the end. In the background whoever started it hears it until it has started; then it writes up.log."""
    began = time.monotonic()
    try:
        executable(SERVER)
    except ConfigError as error:
        raise Failure(Exit.MISSING, str(error)) from None
    found = files.load(options.sources, standard_input)
    folder = Folder(options.data)
    lock = folder.lock()
    try:
        try:
            _log_to(folder.operator_log)
        except OSError as error:
            raise unwritable(options.data, error) from None
        started = (lambda: _speak_to(folder.up_log)) if background else lambda: None
        return asyncio.run(_Up(options, folder, view, standard_input, began).run(found, started))
    finally:
        lock.release()


def detached(options: Options, standard_input: str, say: Callable[[str], None]) -> Mapping[str, Any]:
    """Starts `up` in the background and waits until every Cache is Ready. Its report; raises Failure.

    What takes too long, or is refused, goes on in the background.
    """
    found = files.load(options.sources, standard_input)  # for its words, here and now
    folder = Folder(options.data)
    folder.lock().release()  # likewise
    for words in found.skipped:
        say(words)
    with open(os.memfd_create("up"), "rb") as told:  # no disk is too full for it
        child = _start_background(options, standard_input, told.fileno())
        return _wait_until_ready(options, folder, child, told)


def _start_background(options: Options, standard_input: str, told: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cachefleet_operator.cli", "local", "up", "--background"]
    child = subprocess.Popen(
        [*command, *options.arguments()], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=told,
        start_new_session=True,
    )  # fmt: skip
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended already, and said why
        child.stdin.write(standard_input.encode())
        child.stdin.close()
    return child


def _wait_until_ready(
    options: Options, folder: Folder, child: subprocess.Popen[bytes], told: BinaryIO
) -> Mapping[str, Any]:
    end = time.monotonic() + DETACH_S
    rest = f"it goes on in the background; see `cachefleet local status{option(options.data)}`"
    report: Mapping[str, Any] = {"caches": []}
    while not _all_ready(report):
        if child.poll() is not None:
            told.seek(0)
            words = told.read().decode("utf-8", "replace").strip()
            more = words or f"`up` ended with code {child.returncode}; see {folder.up_log}"
            raise Failure(_exit_code(child.returncode), more)
        if time.monotonic() > end:
            phases = [f"{shown.title(cache)}: {shown.phase_of(cache)}" for cache in report["caches"]]
            raise Failure(Exit.FAILED, "\n".join([*phases, f"not Ready after {DETACH_S:.0f} s; {rest}"]))
        time.sleep(TICK_S)
        if folder.running() == child.pid:
            report = folder.state()
        if refused := list(filter(None, map(shown.refusal, report["caches"]))):
            raise Failure(Exit.MANIFEST, "\n".join([*refused, rest]))
    return report


class _Up:
    def __init__(self, options: Options, folder: Folder, view: View, standard_input: str, began: float) -> None:
        self._options, self._folder, self._view, self._began = options, folder, view, began
        self._standard_input = standard_input
        self._stop = asyncio.Event()
        self._killed = False
        self._state_lost = False
        self._fleet = Fleet(options.data, PortBook(options.data), version("cachefleet"), view.heard,
                            (options.port, options.metrics_port))  # fmt: skip

    async def run(self, found: files.Manifests, started: Callable[[], None]) -> Exit:
        loop = asyncio.get_running_loop()
        for word in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(word, self._told_to_stop)
        loop.set_exception_handler(self._bug)
        watched = Watch(self._options.sources)
        try:
            await self._start(found)
            started()
            while not self._stop.is_set() and not self._view.gone:
                self._refresh()
                if watched.changed():
                    await self._reload()
                if asked := self._folder.asked():
                    self._fleet.hand_over(*asked)
                await self._tick()
            self._view.say("Stopping: servers save their data. Ctrl-C again kills them.")
        finally:
            await self._fleet.stop()
        self._view.say("Stopped." if not self._killed else "Killed.")
        return Exit.OK if not self._killed else Exit.FAILED

    async def _start(self, found: files.Manifests) -> None:
        try:
            await self._fleet.take(found)
        except ExecutionError as error:
            if isinstance(error.__cause__, OSError):
                raise unwritable(self._options.data, error.__cause__) from None
            raise Failure(Exit.STORAGE, str(error)) from None

    async def _reload(self) -> None:
        """Takes up manifests that changed; what is wrong with them changes nothing."""
        self._fleet.refused = ""
        try:
            await self._fleet.take(files.load(self._options.sources, self._standard_input))
        except Failure as failure:
            self._fleet.refused = str(failure)
            self._fleet.tell("", "", "Warning", "Refused", f"{failure}\nWhat runs stays as it is.")
        except ExecutionError as error:
            self._fleet.tell("", "", "Warning", "Failed", f"{error}\nSave the manifests again to try it again.")
        else:
            self._fleet.tell("", "", "Normal", "Reloaded", "The manifests changed and were taken up.")

    def _refresh(self) -> None:
        """Shows what has changed, here and to other processes."""
        self._fleet.look()
        if not self._fleet.changed:
            return
        self._fleet.changed = False
        report = self._fleet.report()
        self._view.show(report, time.monotonic() - self._began)
        try:
            self._folder.write_state(report)
            self._state_lost = False
        except OSError as error:
            if not self._state_lost:
                self._state_lost = True
                self._fleet.tell("", "", "Warning", "State", f"{unwritable(self._options.data, error)}")

    async def _tick(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), TICK_S)

    def _told_to_stop(self) -> None:
        if self._stop.is_set():
            self._killed = True
            self._fleet.kill()
        self._stop.set()

    def _bug(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        self._view.say(f"Something broke: {context.get('exception') or context['message']}; "
                       f"see {self._folder.operator_log}")  # fmt: skip


class Watch:
    """Tells when the files of the manifests are others than before, once they have been the same for two looks: an
    editor may write a file in several steps."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._sources = sources
        self._taken = self._seen = self._look()

    def changed(self) -> bool:
        now = self._look()
        settled, self._seen = now == self._seen, now
        if not settled or now == self._taken:
            return False
        self._taken = now
        return True

    def _look(self) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        with contextlib.suppress(OSError):  # a folder that cannot be read, or goes: `load` says so
            for path in files.files(self._sources):
                stat = path.stat()
                found.append((path, stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return found


def _all_ready(report: Mapping[str, Any]) -> bool:
    return bool(report["caches"]) and all(shown.is_ready(cache) for cache in report["caches"])


def _exit_code(code: int) -> Exit:
    return Exit(code) if code in list(Exit) and code != Exit.OK else Exit.FAILED


class _WithCache(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        record.__dict__.setdefault("cache", "-")
        return super().format(record)


def _speak_to(log: Path) -> None:
    """Standard error goes to a file, if there is room for one."""
    with contextlib.suppress(OSError), open(log, "ab") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())


def _log_to(path: Path) -> None:
    """What the reconciler logs goes to a file: the terminal has the events."""
    logging.raiseExceptions = False  # a full disk loses lines, it does not print on the screen
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES_MAX, backupCount=1)
    handler.setFormatter(_WithCache(LOG_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
