"""A connection to a running server: a call at a time, or many commands on their way at once.

    with Link(address("db:6379"), login) as link:
        link.call(b"PING")
        pipeline = Pipeline(link, heed)          heed(who, reply) for each reply, in their order
        pipeline.put(command(b"SET", b"k", b"v"), 1, lambda number: "the key k")
        pipeline.drain()

A pipeline reads while it sends, so that neither side waits for the other, and holds back what would be too much on its
way: a server whose memory is short must not get more than it can answer. Whatever goes wrong with the connection is a
Failure that names the server. A password comes from a file or the environment: others on the machine can read argv.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import hiredis

from cachefleet_server.files import read_regular
from cachefleet_server.tools.outcome import Exit, Failure

CONNECT_S: Final = 10.0
SILENT_S: Final = 300.0  # a server may be at one large value for long
READ_BYTES: Final = 65_536  # at a time, or to be sent together
WINDOW_BYTES: Final = 4 << 20  # on their way, unless one command is larger
WINDOW_COMMANDS: Final = 10_000
PORT: Final = 6379
PASSWORD_VARIABLE: Final = "REDISCLI_AUTH"

Who = Callable[[int], str]  # words for one of the commands that were put together, by its number
Heed = Callable[[Who, int, Any], None]


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int = PORT  # of a path: of no meaning

    def __str__(self) -> str:
        if self.host.startswith("/"):
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(word: str) -> Address:
    """host, host:port, [::1]:port or the path of a socket. Raises ValueError."""
    if word.startswith("/"):
        return Address(word)
    host, colon, port = word.rpartition(":")
    if not colon or word.endswith("]"):
        host, port = word, str(PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError
    return Address(host, int(port))


@dataclass(frozen=True, slots=True)
class Login:
    user: bytes = b""
    password: bytes | None = None


def login(options: argparse.Namespace) -> Login:
    word: bytes | None = None
    if options.password_file is not None:
        word = read_regular(options.password_file).rstrip(b"\r\n")
        if not word:
            raise Failure(Exit.FAILED, f"{options.password_file} has no password")
    elif PASSWORD_VARIABLE in os.environ:
        word = os.fsencode(os.environ[PASSWORD_VARIABLE])
    if options.user is not None and word is None:
        raise Failure(Exit.USAGE, f"--user wants a password: --password-file FILE, or {PASSWORD_VARIABLE}")
    return Login(os.fsencode(options.user or ""), word)


def command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def error_text(reply: Any) -> str:
    """"" for anything but an error; of a transaction the first one in it."""
    if isinstance(reply, hiredis.ReplyError):
        return str(reply)
    if isinstance(reply, list):
        return next((said for said in map(error_text, reply) if said), "")
    return ""


class Link:
    def __init__(self, where: Address, who: Login) -> None:
        self.where = where
        self._parser = hiredis.Reader()
        with self.said():
            self.socket = _connect(where)
        try:
            self._greet(who)
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    @contextlib.contextmanager
    def said(self) -> Any:
        """What goes wrong here is the server's or the network's."""
        try:
            yield
        except TimeoutError:
            raise Failure(Exit.FAILED, f"{self.where} does not answer") from None
        except (OSError, EOFError) as error:
            raise Failure(Exit.FAILED, f"{self.where}: {getattr(error, 'strerror', '') or error}") from None
        except hiredis.HiredisError as error:
            raise Failure(Exit.FAILED, f"{self.where} is no server of this kind: {error}") from None

    def _greet(self, who: Login) -> None:
        if who.password is not None:
            words = (who.user, who.password) if who.user else (who.password,)
            self.must(b"AUTH", *words)
        self.must(b"PING")

    def call(self, *words: bytes) -> Any:
        """Its reply, which may be an error."""
        with self.said():
            self.socket.sendall(command(*words))
            return self.read()

    def must(self, *words: bytes) -> Any:
        reply = self.call(*words)
        if said := error_text(reply):
            raise Failure(Exit.FAILED, f"{self.where} refuses {words[0].decode()}: {said}")
        return reply

    def read(self) -> Any:
        while (reply := self._parser.gets()) is False:
            self._feed(self.socket.recv(READ_BYTES))
        return reply

    def replies(self, data: bytes) -> list[Any]:
        """Those that these bytes complete."""
        self._feed(data)
        found = []
        while (reply := self._parser.gets()) is not False:
            found.append(reply)
        return found

    def _feed(self, data: bytes) -> None:
        if not data:
            raise EOFError("it closed the connection")
        self._parser.feed(data)

    def facts(self) -> dict[str, str]:
        """INFO server and cluster, as far as one may ask."""
        said = self.call(b"INFO", b"server")
        if not isinstance(said, bytes):
            raise Failure(Exit.FAILED, f"{self.where} does not say what it is: {error_text(said) or said}")
        lines = said.decode("utf-8", "replace").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)


def _connect(where: Address) -> socket.socket:
    if where.host.startswith("/"):
        found = socket.socket(socket.AF_UNIX)
        found.settimeout(CONNECT_S)
        try:
            found.connect(where.host)
        except OSError:
            found.close()
            raise
    else:
        found = socket.create_connection((where.host, where.port), CONNECT_S)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    found.settimeout(SILENT_S)
    return found


class Pipeline:
    def __init__(self, link: Link, heed: Heed) -> None:
        self._link = link
        self._heed = heed
        self._waiting: deque[tuple[Who, int, int]] = deque()  # who, commands, bytes
        self._answered = 0  # commands of the first of these
        self._bytes = self._commands = 0
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0

    def put(self, data: bytes, commands: int, who: Who) -> None:
        """Sends whole commands, soon, and hears some replies; waits while too many are on their way."""
        self._waiting.append((who, commands, len(data)))
        self._bytes += len(data)
        self._commands += commands
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        if self._unsent_bytes >= READ_BYTES:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._unsent)
        self._unsent.clear()
        self._unsent_bytes = 0
        with self._link.said():
            self._send(memoryview(data))
            while self._commands > WINDOW_COMMANDS or (self._bytes > WINDOW_BYTES and len(self._waiting) > 1):
                self._take(self._link.socket.recv(READ_BYTES))

    def drain(self) -> None:
        """All is sent and answered."""
        self._flush()
        with self._link.said():
            while self._commands:
                self._take(self._link.socket.recv(READ_BYTES))

    def _send(self, data: memoryview) -> None:
        connection = self._link.socket
        while data:
            readable, writable, _ = select.select([connection], [connection], [], SILENT_S)
            if not readable and not writable:
                raise TimeoutError
            if readable:
                self._take(connection.recv(READ_BYTES))
            if writable:
                data = data[connection.send(data[:READ_BYTES]) :]

    def _take(self, data: bytes) -> None:
        for reply in self._link.replies(data):
            if not self._waiting:
                raise EOFError("it sends what nobody asked for")
            who, commands, size = self._waiting[0]
            number = self._answered
            self._answered += 1
            self._commands -= 1
            if self._answered == commands:
                self._answered = 0
                self._bytes -= size
                self._waiting.popleft()
            self._heed(who, number, reply)
