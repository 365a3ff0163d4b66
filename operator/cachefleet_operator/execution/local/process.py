"""One server process and the lock that says whose folder it is.

A process is told to stop (SIGTERM) by the kernel when this one ends, however that happens (PR_SET_PDEATHSIG), and it
inherits the pod's lock: an flock that is held as long as either of the two lives. So whoever comes next knows, without
trusting a pid that may be somebody else's by now, whether a server still works on the folder; the pid in the lock file
says whom to stop. A process has a session of its own, so that Ctrl-C in the terminal reaches only us.

The log is a file that the process appends to by itself (O_APPEND): its output needs nobody to be read. It is rotated by
copying and truncating, which may lose a line that is written in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cachefleet_operator.api import names
from cachefleet_operator.execution.local.paths import replace_file

LOG_BYTES_MAX = 4 << 20  # and as much again in <log>.1
LOG_TAIL_BYTES = 4096
LOCK_POLL_S = 0.05
PROBE_TIMEOUT_S = 2.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class Busy(Exception):
    """The lock is held; `pid` is the holder's, or 0 where the file does not say."""

    def __init__(self, path: Path, pid: int) -> None:
        super().__init__(f"{path} is held by process {pid or '?'}")
        self.pid = pid


class Lock:
    """An flock on a file that names its holder."""

    def __init__(self, path: Path, *, sign: bool = True) -> None:
        """Takes it or raises Busy. Without `sign`, only to see whether it can be had."""
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _pid_in(self.fd)
            os.close(self.fd)
            raise Busy(path, pid) from None
        except OSError as error:  # a file system without locks
            os.close(self.fd)
            raise OSError(error.errno, error.strerror, str(path)) from None
        if sign:
            write_pid(self.fd)

    def release(self) -> None:
        os.close(self.fd)


def write_pid(fd: int) -> None:
    """Writes our pid into a lock file, over the one that was there: that works on a full disk, too. Where it does not,
    we hold the lock all the same."""
    with contextlib.suppress(OSError):
        os.pwrite(fd, b"%-10d\n" % os.getpid(), 0)


def _pid_in(fd: int) -> int:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else 0


async def take_over(path: Path, grace_s: float, hurry: Callable[[], bool] = lambda: False) -> Lock:
    """The lock of a pod. A server that an earlier `up` left behind is stopped first: SIGTERM, then SIGKILL, which does
    not wait for the end of the grace when there is a `hurry`."""
    loop = asyncio.get_running_loop()
    kill_at = loop.time() + grace_s
    word: signal.Signals | None = signal.SIGTERM
    while True:
        try:
            return Lock(path)
        except Busy as busy:
            if word is not None and busy.pid not in (0, os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(busy.pid, word)
                word = None
        if loop.time() >= kill_at or hurry():
            word, kill_at = signal.SIGKILL, loop.time() + grace_s
        await asyncio.sleep(LOCK_POLL_S)


class Process:
    """A server that runs, or has ended."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child

    @property
    def pid(self) -> int:
        return self._child.pid

    async def wait(self) -> int:
        """The exit code, as a container would have: 128 + n for signal n."""
        code = await self._child.wait()
        return 128 - code if code < 0 else code

    def send(self, word: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(word)

    async def stop(self, grace_s: float) -> int:
        """SIGTERM, and SIGKILL when it has not ended after `grace_s`."""
        self.send(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.wait(), grace_s)
        except TimeoutError:
            self.send(signal.SIGKILL)
            return await self.wait()


async def start(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path, lock: Lock
) -> Process:
    """Runs a program in `folder` with its output appended to `log`. Raises OSError."""
    parent = os.getpid()

    def enter() -> None:  # in the child, before the program
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)
        write_pid(lock.fd)

    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        child = await asyncio.create_subprocess_exec(
            *arguments, env=dict(environment), cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=output,
            stderr=output, start_new_session=True, pass_fds=(lock.fd,), preexec_fn=enter,
        )  # fmt: skip
    finally:
        os.close(output)
    return Process(child)


async def not_ready(host: str, port: int) -> str:
    """What /readyz of a metrics port says against it; empty = ready."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET {names.READINESS_PATH} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
    except TimeoutError:
        return f"the server does not answer within {PROBE_TIMEOUT_S:g} s"
    except OSError:
        return "the server does not listen yet"
    if head[9:12] == b"200":
        return ""
    return body.decode("utf-8", "replace").strip() or "the server is not ready"


def rotate(log: Path) -> None:
    """Moves a log that has grown too long to <log>.1. What cannot be written is not kept: the disk may be full."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > LOG_BYTES_MAX:
            with contextlib.suppress(OSError):
                replace_file(log.with_name(log.name + ".1"), log.read_bytes())
            os.truncate(log, 0)


def last_line(log: Path) -> str:
    """The last words of a program, for its pod's status; of a line of JSON, its message."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    line = next((line.strip() for line in reversed(lines) if line.strip()), "")
    try:
        return str(json.loads(line)["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return line
