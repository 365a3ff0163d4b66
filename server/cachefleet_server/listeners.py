"""Listening sockets: TCP on every `bind` address, and the unix socket. Accepted connections go to the engine.

uvloop watches the listening sockets; each event accepts at most `max-new-connections-per-cycle` connections, so that
a storm of them does not starve those that are served. The engine refuses those that may not stay (maxclients, protected
mode).

`bind` and `port` can change at run time. The new set of sockets is opened first; the old ones are closed only when
that succeeded, and an address that stays keeps its socket, so that no connection attempt is refused meanwhile.

The unix socket has its group and mode before it listens, so nobody connects who may not. What lies at its path makes
way when it is a dead server's; a live server's socket and a file with content stay, and stop the start. At the end
the path is removed only if it still is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import os
import socket
import struct
import time
from typing import Final, Protocol

from cachefleet_server.config.config import Config
from cachefleet_server.engine import Engine
from cachefleet_server.errors import ConfigError, StartupError
from cachefleet_server.log import Log

_KEEPALIVE_S_MAX: Final = 32767  # the kernel's
ACCEPT_PAUSE_S: Final = 0.1  # after running out of descriptors
BROWSERS_LOG_S: Final = 60.0  # at least, between two lines about them
_PROTECTED_ERROR: Final = (
    b"-DENIED Running in protected mode because protected mode is enabled and no password is set for the "
    b"default user. In this mode connections are only accepted from the loopback interface. If you want to "
    b"connect from external computers, you may adopt one of the following solutions: 1) Just disable protected "
    b"mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting from "
    b"the same host the server is running, however MAKE SURE it's not publicly accessible from internet if you "
    b"do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the "
    b"protected mode by editing the configuration file, and setting the protected mode option to 'no', and "
    b"then restarting the server. 3) If you started the server manually just for testing, restart it with the "
    b"'--protected-mode no' option. 4) Set up an authentication password for the default user. NOTE: You only "
    b"need to do one of the above things in order for the server to start accepting connections from the "
    b"outside.\r\n"
)
_UNSUPPORTED: Final = frozenset((
    errno.ENOPROTOOPT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EPFNOSUPPORT, errno.EAFNOSUPPORT,
))

Address = tuple[str, int]  # as in `bind`, without the "-"; port


class DefaultUser(Protocol):
    """What protected mode asks about: whether everybody may use the default user."""

    @property
    def open(self) -> bool: ...


class Listeners:
    """All listening sockets of a server."""

    def __init__(self, engine: Engine, config: Config, log: Log, default_user: DefaultUser) -> None:
        self._engine = engine
        self._config = config
        self._log = log
        self._default_user = default_user
        self._tcp: dict[Address, socket.socket] = {}
        self._unix: socket.socket | None = None
        self._unix_file: tuple[str, os.stat_result] | None = None  # absolute path of our socket, and what we made there
        self._accepting = False
        self._browsers_told = 0
        self._browsers_next = 0.0

    # -- life

    def open(self) -> None:
        """Binds everything that is configured; raises StartupError when that cannot be done."""
        port = self._config.number("port")
        path = self._config.text("unixsocket")
        if not path and (port == 0 or not self._config.value("bind")):
            raise StartupError("Configured to not listen anywhere, exiting.")
        self._check_backlog()
        try:
            self._bind_all()
        except OSError:
            raise StartupError(f"Failed listening on port {port} (tcp), aborting.") from None
        if path:
            try:
                self._unix = self._bind_unix(path)
            except (OSError, KeyError) as error:
                reason = _reason(error) if isinstance(error, OSError) else str(error)
                raise StartupError(f"Failed opening Unix socket {path}: {reason}") from None
        self._config.subscribe("tcp-keepalive", lambda _: self._take_keepalive())
        self._config.subscribe("bind", lambda _: self._rebind("Failed to bind to specified addresses."))
        self._config.subscribe("port", lambda _: self._rebind("Unable to listen on this port. Check server logs."))

    def accept(self) -> None:
        """Begins to accept; before this, connections wait in the kernel's queue."""
        self._accepting = True
        for listener in self._all():
            self._watch(listener)

    def close(self) -> None:
        for listener in self._all():
            self._unwatch(listener)
            listener.close()
        self._remove_unix_file()
        self._tcp, self._unix, self._accepting = {}, None, False

    def kinds(self) -> list[str]:
        """For the log: "tcp", "unix"."""
        return [kind for kind, there in (("tcp", self._tcp), ("unix", self._unix)) if there]

    def describe(self) -> list[str]:
        """One text for each listener, as INFO's `listener0:` shows it."""
        texts = []
        if self._tcp:
            binds = ",".join(f"bind={address}" for address in self._config.value("bind"))
            texts.append(f"name=tcp,{binds},port={self._config.number('port')}")
        if self._unix:
            texts.append(f"name=unix,bind={self._config.text('unixsocket')}")
        return texts

    def _set_keepalive(self, sock: socket.socket) -> None:
        """For the connections that `sock` accepts: they inherit it. A dead peer is noticed after twice the interval."""
        interval_s = self._config.number("tcp-keepalive")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1 if interval_s else 0)
        if interval_s:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, min(interval_s, _KEEPALIVE_S_MAX))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, min(max(interval_s // 3, 1), _KEEPALIVE_S_MAX))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)

    def _take_keepalive(self) -> None:
        for sock in self._tcp.values():
            self._set_keepalive(sock)

    def status(self) -> dict[str, str]:
        """Fields of INFO's section Server."""
        return {f"listener{number}": text for number, text in enumerate(self.describe())}

    # -- binding

    def _all(self) -> list[socket.socket]:
        return [*self._tcp.values(), *([self._unix] if self._unix else [])]

    def _rebind(self, complaint: str) -> None:
        try:
            self._bind_all()
        except OSError:
            raise ConfigError(complaint) from None

    def _bind_all(self) -> None:
        """Makes the TCP sockets those that the configuration asks for, or raises OSError and changes nothing."""
        port = self._config.number("port")
        wanted = self._config.value("bind") if port else ()
        sockets: dict[Address, socket.socket] = {}
        try:
            for item in wanted:
                address = (item.removeprefix("-"), port)
                old = self._tcp.get(address)
                made = old or self._bind_tcp(address, optional=item.startswith("-"))
                if made is not None:
                    sockets[address] = made
            if wanted and not sockets:
                raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        except OSError:
            for address, made in sockets.items():
                if address not in self._tcp:
                    made.close()
            raise
        for address, old in self._tcp.items():
            if address not in sockets:
                self._unwatch(old)
                old.close()
        new = [made for address, made in sockets.items() if address not in self._tcp]
        self._tcp = sockets
        if self._accepting:
            for made in new:
                self._watch(made)

    def _bind_tcp(self, address: Address, *, optional: bool) -> socket.socket | None:
        """A listening socket; None when the address is optional or its family unknown here."""
        host, port = address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        node = {"*": "0.0.0.0", "::*": "::"}.get(host, host)
        try:
            name = node.encode("utf-8", "surrogateescape")  # a text would go through IDNA, which has errors of its own
            found = socket.getaddrinfo(name, port, family, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
            protocol = socket.IPPROTO_MPTCP if self._config.flag("mptcp") else 0
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, protocol)
            try:
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._set_keepalive(sock)
                mark = self._config.number("socket-mark-id")
                if mark:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, struct.pack("I", mark))  # an int has a sign
                sock.bind(found[0][4])
                sock.listen(self._config.number("tcp-backlog"))
            except OSError:
                sock.close()
                raise
        except OSError as error:
            shown = host if family == socket.AF_INET else f"[{host}]"
            self._log.warning(f"Warning: Could not create server TCP listening socket {shown}:{port}: {_reason(error)}")
            missing = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
            if (optional and missing) or error.errno in _UNSUPPORTED:
                return None
            raise
        return sock

    def _bind_unix(self, path: str) -> socket.socket:
        _make_way(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.bind(path)
            self._unix_file = os.path.abspath(path), os.stat(path)
            group = self._config.text("unixsocketgroup")
            if group:
                os.chown(path, -1, grp.getgrnam(group).gr_gid)
            permissions = self._config.number("unixsocketperm")
            if permissions:
                os.chmod(path, permissions)
            sock.listen(self._config.number("tcp-backlog"))
        except (OSError, KeyError):
            sock.close()
            self._remove_unix_file()
            raise
        return sock

    def _remove_unix_file(self) -> None:
        """Unless another server has put its own there."""
        if self._unix_file is not None:
            path, made = self._unix_file
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(path), made):
                    os.unlink(path)
            self._unix_file = None

    def _check_backlog(self) -> None:
        backlog = self._config.number("tcp-backlog")
        try:
            with open("/proc/sys/net/core/somaxconn") as file:
                limit = int(file.read())
        except (OSError, ValueError):
            return
        if 0 < limit < backlog:
            self._log.warning(
                f"WARNING: The TCP backlog setting of {backlog} cannot be enforced because "
                f"/proc/sys/net/core/somaxconn is set to the lower value of {limit}."
            )

    # -- accepting

    def _watch(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listener.fileno(), self._accept_some, listener)

    def cron(self) -> None:
        """Tells of connections that the dispatcher closed because they spoke HTTP."""
        count = self._engine.counters()["browsers"]
        if count < self._browsers_told:  # CONFIG RESETSTAT
            self._browsers_told = 0
        now = time.monotonic()
        if count > self._browsers_told and now >= self._browsers_next:
            self._log.warning(
                "Possible SECURITY ATTACK detected: POST or Host: was sent here as if this were a web server. A page "
                "may be making somebody's browser send commands (cross-protocol scripting). Connections closed for "
                f"that since the last such line: {count - self._browsers_told}."
            )
            self._browsers_told, self._browsers_next = count, now + BROWSERS_LOG_S

    def _unwatch(self, listener: socket.socket) -> None:
        if self._accepting:
            asyncio.get_running_loop().remove_reader(listener.fileno())

    def _accept_some(self, listener: socket.socket) -> None:
        limit = self._config.number("max-new-connections-per-cycle")
        protected = self._config.flag("protected-mode") and self._default_user.open
        error = self._engine.accept(
            listener.fileno(), limit, unix=listener is self._unix, denied=_PROTECTED_ERROR if protected else None
        )
        if error:
            self._accept_failed(listener, error)

    def _accept_failed(self, listener: socket.socket, error: int) -> None:
        self._log.warning(f"Accepting client connection: {os.strerror(error)}")
        # The connection stays readable in the queue: without a pause this would spin.
        self._unwatch(listener)
        asyncio.get_running_loop().call_later(ACCEPT_PAUSE_S, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if self._accepting and listener in self._all():
            self._watch(listener)


def _make_way(path: str) -> None:
    """Removes what a dead server has left at the path of a socket; raises OSError when it is something else."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        error = probe.connect_ex(path)
    if error in (0, errno.EAGAIN):  # EAGAIN: its queue is full
        raise OSError(errno.EADDRINUSE, "another server listens there")
    if error not in (errno.ECONNREFUSED, errno.ENOENT):
        raise OSError(error, f"cannot tell whether another server listens there: {os.strerror(error)}")
    if os.path.isfile(path) and os.path.getsize(path):
        raise OSError(errno.EEXIST, "there is a file that is no socket")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
