"""The server's log: one line a message, in Redis' format or as logfmt or JSON.

    legacy   7680:M 22 Nov 2026 12:31:02.604 * Server initialized
    logfmt   pid=7680 role=primary timestamp="22 Nov 2026 12:31:02.604" level=notice message="Server initialized"
    json     {"pid":7680,"role":"primary","timestamp":"22 Nov 2026 12:31:02.604","level":"notice","message":"..."}

Everything that logs gets a `Log` in its constructor. A `Log` is usable from the first line of `main` on (standard
output, level notice); `server.py` binds its fields to the parameters once these are read. Lines are written with one
`write` each to a descriptor opened with O_APPEND, so lines of helper threads do not mix. A file that was moved away
(logrotate) is noticed by its inode and opened again.

The server never waits for who reads its log. What a full disk, a FIFO, pipe or terminal whose reader has stopped does
not take is lost and counted; the first line that can be written again is preceded by one that says how many. So it is
with syslog. A file of our own is non-blocking. Standard output is shared with others, so it stays as it is:
`_write_shared`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import syslog
import time
from collections.abc import Callable
from typing import Final

from cachefleet_server.files import open_at_once

DEBUG: Final = 0
VERBOSE: Final = 1
NOTICE: Final = 2
WARNING: Final = 3
NOTHING: Final = 4

LEVELS: Final = ("debug", "verbose", "notice", "warning", "nothing")
_MARKS: Final = ".-*#"
_SYSLOG_PRIORITY: Final = (syslog.LOG_DEBUG, syslog.LOG_INFO, syslog.LOG_NOTICE, syslog.LOG_WARNING)
_ROLES: Final = {"M": "primary", "S": "replica"}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
REDACTED: Final = "*redacted*"


class _Counted:
    """A place for messages that counts those which it does not take, and says how many they were."""

    def __init__(self, put: Callable[[int, str], bool]) -> None:
        self._put = put
        self._lost = 0

    def write(self, level: int, message: str) -> None:
        if self._lost:
            note = f"{self._lost} lines could not be written here and are lost: nobody read them, or the disk was full"
            if not self._put(WARNING, note):
                self._lost += 1
                return
            self._lost = 0
        if not self._put(level, message):
            self._lost += 1


class _Syslog(_Counted):
    """Datagrams as the C library writes them, but none waits for a syslogd that does not read."""

    def __init__(self, ident: str, facility: int, path: str) -> None:
        super().__init__(self._send)
        self._ident = ident
        self._facility = facility
        self._path = path
        self._socket: socket.socket | None = None

    def _send(self, level: int, message: str) -> bool:
        t = time.localtime()
        stamp = f"{_MONTHS[t.tm_mon - 1]} {t.tm_mday:2} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
        head = f"<{self._facility | _SYSLOG_PRIORITY[level]}>{stamp} {self._ident}[{os.getpid()}]: "
        data = (head + message).encode("utf-8", "replace")
        for fresh in (self._socket is None, True):
            try:
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
                    self._socket.connect(self._path)
                self._socket.send(data)
                return True
            except BlockingIOError:
                break
            except OSError:  # it is not there, or another one is by now
                self.close()
                if fresh:
                    break
        return False

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Log:
    """Where messages go and how they look. Fields may be changed at any time."""

    def __init__(self, *, level: int = NOTICE, path: str = "") -> None:
        self.level = level
        self.format = "legacy"  # legacy, logfmt, json
        self.timestamp_format = "legacy"  # legacy, iso8601, milliseconds
        self.hide_user_data = True
        self.role = "M"  # M primary, S replica
        self._path = path
        self._fd = -1
        self._inode = -1
        self._torn = False  # what was written last has no end of line
        self._file = _Counted(self._put)
        self._syslog: _Syslog | None = None

    # -- messages

    def debug(self, message: str) -> None:
        self.write(DEBUG, message)

    def verbose(self, message: str) -> None:
        self.write(VERBOSE, message)

    def notice(self, message: str) -> None:
        self.write(NOTICE, message)

    def warning(self, message: str) -> None:
        self.write(WARNING, message)

    def write(self, level: int, message: str) -> None:
        if level < self.level:
            return
        self._file.write(level, message)
        if self._syslog is not None:
            self._syslog.write(level, message)

    def user_data(self, data: bytes) -> str:
        """Text for a key, value or argument of a user; hidden unless `hide-user-data-from-log no`."""
        return REDACTED if self.hide_user_data else data.decode("utf-8", "backslashreplace")

    def line(self, level: int, message: str, now: float, pid: int) -> str:
        """The line that `write` emits, without its end."""
        stamp = self._timestamp(now)
        if self.format == "legacy":
            return f"{pid}:{self.role} {stamp} {_MARKS[level]} {message}"
        role = _ROLES.get(self.role, self.role)
        if self.format == "logfmt":
            quoted = message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
            return f'pid={pid} role={role} timestamp="{stamp}" level={LEVELS[level]} message="{quoted}"'
        fields = {"pid": pid, "role": role, "timestamp": stamp, "level": LEVELS[level], "message": message}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))

    def _timestamp(self, now: float) -> str:
        millis = int(now * 1000)
        if self.timestamp_format == "milliseconds":
            return str(millis)
        t = time.localtime(now)
        if self.timestamp_format == "iso8601":
            zone = time.strftime("%z", t)
            clock = time.strftime("%Y-%m-%dT%H:%M:%S", t)
            return f"{clock}.{millis % 1000:03d}{zone[:3]}:{zone[3:]}"
        # Month names do not follow the locale: tools parse these lines.
        return (
            f"{t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
            f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}.{millis % 1000:03d}"
        )

    # -- where they go

    @property
    def path(self) -> str:
        """The log file; "" is standard output."""
        return self._path

    @property
    def fd(self) -> int:
        """The descriptor that lines are written to. It stays the same when a file is opened again after rotation."""
        return self._fd if self._fd >= 0 else 1

    def open(self, path: str) -> None:
        """Switches to `path` ("" = standard output). Raises OSError and keeps the old file if it cannot be opened."""
        fd = inode = -1
        if path:
            fd = open_at_once(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
            os.set_blocking(fd, False)
            inode = os.fstat(fd).st_ino
            if self._fd >= 0:
                os.dup2(fd, self._fd, inheritable=False)
                os.close(fd)
                fd = self._fd
        elif self._fd >= 0:
            os.close(self._fd)
        self._fd, self._inode, self._path, self._torn = fd, inode, path, False

    def close(self) -> None:
        self.open("")
        if self._syslog is not None:
            self._syslog.close()

    def to_syslog(self, ident: str, facility: str, path: str = "/dev/log") -> None:
        """Sends messages to syslog as well; `facility` is "user" or "local0" to "local7"."""
        self._syslog = _Syslog(ident, getattr(syslog, "LOG_" + facility.upper()), path)

    def _put(self, level: int, message: str) -> bool:
        """False: the line is not there as a whole."""
        line = self.line(level, message, time.time(), os.getpid()).encode("utf-8", "surrogateescape")
        data = b"\n" * self._torn + line + b"\n"
        done = 0
        try:
            if self._path:
                self._follow_rotation()
            done = os.write(self._fd, data) if self._fd >= 0 else _write_shared(1, data)
        except OSError:
            pass  # There is nowhere left to report it.
        if done:
            self._torn = not data[:done].endswith(b"\n")
        return done == len(data)

    def _follow_rotation(self) -> None:
        try:
            if self._fd >= 0 and os.stat(self._path).st_ino == self._inode:
                return
        except FileNotFoundError:
            pass
        self.open(self._path)


def _write_shared(fd: int, data: bytes) -> int:
    """As much as goes without waiting. Where there is room, PIPE_BUF bytes of it are; only a terminal may have less, so
    that is opened once more, for this line alone: it may be another one for the next."""
    own = -1
    try:
        if os.isatty(fd):
            own = os.open(os.ttyname(fd), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            return os.write(own, data)
    except BlockingIOError:
        return 0
    except OSError:
        pass  # It is not ours to open.
    finally:
        if own >= 0:
            os.close(own)
    room = select.poll()
    room.register(fd, select.POLLOUT)
    done = 0
    with contextlib.suppress(OSError):
        while done < len(data) and room.poll(0):
            done += os.write(fd, data[done : done + select.PIPE_BUF])
    return done
