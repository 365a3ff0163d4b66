"""What a server does to its own process: daemon, pid file, descriptor limit, supervisor, OOM score, huge pages."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
from pathlib import Path
from typing import Final

from cachefleet_server.errors import StartupError
from cachefleet_server.log import Log

RESERVED_DESCRIPTORS: Final = 32  # files, logs, epoll sets, listening sockets
DEFAULT_PIDFILE: Final = "/var/run/cachefleet.pid"
_PR_SET_THP_DISABLE: Final = 41
_PR_THP_DISABLE_EXCEPT_ADVISED: Final = 2


def daemonize() -> None:
    """Goes on in a child that has no terminal; the parent exits. Must run before any thread or event loop exists."""
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    if null > 2:
        os.close(null)


def write_pidfile(path: str, log: Log) -> None:
    try:
        with open(path, "w") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as error:
        log.warning(f"Failed to write PID file: {error.strerror}")


def remove_pidfile(path: str, log: Log) -> None:
    """Unless it names another process: that one's start has come before, or after, this one's."""
    with contextlib.suppress(OSError):
        if Path(path).read_text().strip() == str(os.getpid()):
            log.notice("Removing the pid file.")
            os.unlink(path)


def ensure_descriptors(clients: int, log: Log) -> int:
    """Raises the limit of open files for so many clients; how many are possible, if fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = clients + RESERVED_DESCRIPTORS
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
    possible = limit - RESERVED_DESCRIPTORS
    if possible < 1:
        raise StartupError(
            f"Your current 'ulimit -n' of {limit} is not enough for the server to start. "
            f"Please increase your open file limit to at least {wanted}. Exiting."
        )
    return possible


def notify_supervisor(kind: str, log: Log, message: str = "Ready to accept connections") -> None:
    """Tells systemd (by its socket) or upstart (by stopping) that the server is ready."""
    if kind == "auto":
        kind = "upstart" if os.environ.get("UPSTART_JOB") else "systemd" if os.environ.get("NOTIFY_SOCKET") else "no"
    if kind == "upstart":
        if not os.environ.get("UPSTART_JOB"):
            log.warning("upstart supervision requested, but UPSTART_JOB not found!")
            return
        log.notice("supervised by upstart, will stop to signal readiness.")
        os.kill(os.getpid(), signal.SIGSTOP)
    elif kind == "systemd":
        address = os.environ.get("NOTIFY_SOCKET", "")
        if not address:
            log.warning("systemd supervision requested or auto-detected, but NOTIFY_SOCKET not found!")
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.send(f"READY=1\nSTATUS={message}\n".encode())


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
