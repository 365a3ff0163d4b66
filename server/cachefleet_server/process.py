"""What a server does to its own process: daemon, pid file, descriptors, supervisor, cores, OOM score, huge pages."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cachefleet_server.errors import StartupError
from cachefleet_server.files import open_at_once, read_regular
from cachefleet_server.log import Log

# What the process has open at most beside the connections of clients and what it began with (standard streams, log,
# event loop, what it inherited), all at the same time.
DESCRIPTORS: Final = {
    "the engine: epoll set, timer, wake-up": 3,
    "listening sockets: CONFIG SET bind opens 16 before it closes 16; the unix socket": 33,
    "a client that is told that there are too many": 1,
    "the lock of the data folder": 1,
    "append-only file: the one in use, the next, one that is read, the manifest, the folder": 5,
    "a snapshot: its file, its folder": 2,
    "CONFIG REWRITE: the file that is read, the new one, its folder": 3,
    "the log, opened anew before it is closed": 1,
    "for a moment: files of /proc, name servers, modules that are imported late": 6,
}
DEFAULT_PIDFILE: Final = "/var/run/cachefleet.pid"
_STARTED: Final = b"\0"  # the last that a daemon says to its parent
_SUPERVISORS: Final = {"upstart": "UPSTART_JOB", "systemd": "NOTIFY_SOCKET"}  # and the variable that each sets
_PR_SET_THP_DISABLE: Final = 41
_PR_THP_DISABLE_EXCEPT_ADVISED: Final = 2


def open_standard_descriptors() -> None:
    """Descriptors 0 to 2 are open from here on: of a data file or a socket in their place the log would be written into
    it, and uvloop aborts when it closes one."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one


def daemonize() -> Callable[[], None]:
    """Goes on in a child that has no terminal. Must run before any thread or event loop exists.

    The parent waits until the child calls what this returns, and exits with 0. If the child ends before, the parent
    says what the child has said, and its exit code is not 0.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child != 0:
        os.close(writer)
        os._exit(_await_start(child, reader))
    os.close(reader)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    for descriptor in (1, 2):
        os.dup2(writer, descriptor)

    def started() -> None:
        with contextlib.suppress(OSError):  # somebody has killed the parent
            os.write(writer, _STARTED)
        for descriptor in (1, 2):
            os.dup2(null, descriptor)
        os.close(null)
        os.close(writer)

    return started


def _await_start(child: int, reader: int) -> int:
    said = b""
    while part := os.read(reader, 65536):
        said += part
    if said.endswith(_STARTED):
        return 0
    with contextlib.suppress(OSError):
        os.write(2, said)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code > 0 else 1


def write_pidfile(path: str, log: Log) -> None:
    try:
        with os.fdopen(open_at_once(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as error:
        log.warning(f"Failed to write PID file {path}: {error.strerror}")


def remove_pidfile(path: str, log: Log) -> None:
    """Unless it names another process: that one's start has come before, or after, this one's."""
    with contextlib.suppress(OSError):
        if read_regular(path).strip() == b"%d" % os.getpid():
            log.notice("Removing the pid file.")
            os.unlink(path)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) - 1  # without the listing's own


def ensure_descriptors(clients: int, reserved: int, log: Log) -> int:
    """Raises the limit of open files for so many clients and what is reserved; how many are possible, if fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = clients + reserved
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return clients
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(hard, limit)))
    except (OSError, ValueError):
        limit = soft
    if limit >= wanted:
        log.notice(f"Increased maximum number of open files to {wanted} (it was originally set to {soft}).")
        return clients
    possible = limit - reserved
    if possible < 1:
        raise StartupError(
            f"Your current 'ulimit -n' of {limit} is not enough for the server to start. "
            f"Please increase your open file limit to at least {wanted}. Exiting."
        )
    return possible


class Supervisor:
    """Who has started the server and is told how it goes: `name` is "systemd", "upstart", or "" for nobody.

    What `supervised` asks for is believed if the supervisor's variable is in the environment.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        there = [name for name, variable in _SUPERVISORS.items() if kind in (name, "auto") and os.environ.get(variable)]
        self.name = there[0] if there else ""

    def loading(self, log: Log) -> None:
        if self._kind in _SUPERVISORS and not self.name:
            log.warning(f"{self._kind} supervision requested, but {_SUPERVISORS[self._kind]} not found!")
        self.status("Cachefleet is loading...")

    def ready(self, log: Log) -> None:
        if self.name == "upstart":
            log.notice("supervised by upstart, will stop to signal readiness.")
            os.kill(os.getpid(), signal.SIGSTOP)
        self._tell("READY=1\nSTATUS=Ready to accept connections\n")

    def stopping(self) -> None:
        self._tell("STOPPING=1\n")

    def status(self, text: str) -> None:
        """A line for `systemctl status`."""
        self._tell(f"STATUS={text}\n")

    def _tell(self, text: str) -> None:
        if self.name != "systemd":
            return
        address = os.environ[_SUPERVISORS[self.name]]
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.send(text.encode("utf-8", "surrogateescape"))


def pin(cpulist: str) -> None:
    """Runs on these cores from now on, and threads that begin later, too. Raises OSError or ValueError."""
    os.sched_setaffinity(0, cores(cpulist))


def cores(cpulist: str) -> set[int]:
    """Of a list like "0,2-5,8-14:2": single cores, ranges, and ranges in steps."""
    found: set[int] = set()
    for part in cpulist.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4})(?::(\d{1,4}))?)?\s*", part, re.ASCII)
        if match is None:
            raise ValueError(f"'{part}' is no core and no range of cores")
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        found.update(range(first, last + 1, max(step, 1)))
    return found


def set_oom_score(mode: str, values: tuple[int, ...], base: int) -> bool:
    """Writes this process' OOM score for `oom-score-adj`; `base` is what it was at the start. False: not permitted."""
    if mode == "no":
        score = base
    else:
        score = values[0] + (base if mode in ("yes", "relative") else 0)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(max(-1000, min(1000, score))))
    except OSError:
        return False
    return True


def oom_score() -> int:
    try:
        with open("/proc/self/oom_score_adj") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def disable_huge_pages() -> None:
    """No huge pages but those that the engine merges itself (ds/merger.pxd), where all of a page is in use.

    Where the kernel gives them to everybody, a page that is touched costs 2 MB. Before Linux 6.18 that can only be
    stopped for all; where it gives them on request only, nothing needs stopping.
    """
    libc = ctypes.CDLL(None)
    if libc.prctl(_PR_SET_THP_DISABLE, 1, _PR_THP_DISABLE_EXCEPT_ADVISED, 0, 0) != 0 and _huge_pages_for_all():
        libc.prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)


def _huge_pages_for_all() -> bool:
    try:
        return "[always]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return False
