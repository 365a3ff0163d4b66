"""A RESP client for tests: what goes over the wire is what the test says, and raw reply bytes can be had.

It hides nothing: no reconnects, no retries, no conversion of arguments beyond text and numbers to bytes, and error
replies are values (`Error("ERR ...")`), so that a test compares them like any other reply.

    c = Connection(("127.0.0.1", 6379), resp=3)
    c.call("SET", "k", "v") == "OK"        parsed
    c.raw("GET", "k") == b"$1\r\nv\r\n"    bytes
    c.pipeline([("INCR", "n"), ("GET", "n")])
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Final

Arg = str | bytes | bytearray | int | float
Address = tuple[str, int] | str

TIMEOUT_S: Final = 30.0
READ_BYTES: Final = 1 << 18


class Error(str):
    """An error reply without its leading dash. Equal to its text; `bool(Error)` stays true, so check the type."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Error({str(self)!r})"


class Push(list[Any]):
    """A RESP3 push message."""


class SetReply(list[Any]):
    """A RESP3 set, in the order in which it came."""


class Verbatim(bytes):
    """The text of a RESP3 verbatim string, without its format."""

    format: str = "txt"


class Incomplete(Exception):
    """More bytes are needed."""


class ProtocolError(Exception):
    """The server sent something that is not RESP."""


def encode(*args: Arg) -> bytes:
    """A command as RESP. Empty `args` give "*0"."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        data = bytes(arg) if isinstance(arg, bytes | bytearray) else str(arg).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def parse(buf: bytes | bytearray, at: int = 0) -> tuple[Any, int]:
    """The reply that starts at `at`, and where it ends. Raises Incomplete."""
    end = buf.find(b"\r\n", at)
    if end < 0:
        raise Incomplete
    kind, line = buf[at], bytes(buf[at + 1 : end])
    at = end + 2
    if kind in b"$=!":
        return _bulk(kind, buf, at, int(line))
    if kind in b"*~>%|":
        return _aggregate(kind, buf, at, int(line))
    return _scalar(kind, line), at


def _scalar(kind: int, line: bytes) -> Any:
    match kind:
        case 0x2B:  # +
            return line.decode("latin-1")
        case 0x2D:  # -
            return Error(line.decode("latin-1"))
        case 0x3A | 0x28:  # : (
            return int(line)
        case 0x5F:  # _
            return None
        case 0x23:  # #
            return line == b"t"
        case 0x2C:  # ,
            return float(line)
        case _:
            raise ProtocolError(f"reply type {bytes([kind])!r}, line {line[:80]!r}")


def _bulk(kind: int, buf: bytes | bytearray, at: int, size: int) -> tuple[Any, int]:
    if size < 0:
        return None, at
    end = at + size
    if len(buf) < end + 2:
        raise Incomplete
    if buf[end : end + 2] != b"\r\n":
        raise ProtocolError(f"bulk of {size} bytes is not followed by CR LF")
    data = bytes(buf[at:end])
    if kind == 0x21:  # !
        return Error(data.decode("latin-1")), end + 2
    if kind == 0x3D:  # =
        text = Verbatim(data[4:])
        text.format = data[:3].decode()
        return text, end + 2
    return data, end + 2


def _hashable(key: Any) -> Any:
    return tuple(_hashable(k) for k in key) if isinstance(key, list) else key


def _aggregate(kind: int, buf: bytes | bytearray, at: int, size: int) -> tuple[Any, int]:
    if size < 0:
        return None, at
    pairs = kind in b"%|"
    items: list[Any] = []
    for _ in range(size * 2 if pairs else size):
        item, at = parse(buf, at)
        items.append(item)
    if kind == 0x7C:  # | attributes: dropped, the reply proper follows
        return parse(buf, at)
    if pairs:
        return {_hashable(k): v for k, v in zip(items[::2], items[1::2], strict=True)}, at
    return (SetReply(items) if kind == 0x7E else Push(items) if kind == 0x3E else items), at


class Connection:
    """One socket. With `resp=3` it says HELLO 3 first. `pushes` collects push messages met by `call` and `raw`."""

    def __init__(self, address: Address, *, resp: int = 2, timeout_s: float = TIMEOUT_S) -> None:
        self.address = address
        self.pushes: list[Push] = []
        self._in = bytearray()
        self._at = 0
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout_s)
            self.sock.connect(address)
        else:
            self.sock = socket.create_connection(address, timeout=timeout_s)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if resp != 2:
            hello = self.call("HELLO", resp)
            assert not isinstance(hello, Error), hello

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def __del__(self) -> None:
        """Closes quietly: `server.connect().call(...)` is too handy to warn about."""
        if hasattr(self, "sock"):
            self.sock.close()

    # -- single steps

    def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self.sock.sendall(data)

    def send_command(self, *args: Arg) -> None:
        self.sock.sendall(encode(*args))

    def read_raw(self) -> bytes:
        """The bytes of the next reply or push message. EOFError when the server closed first."""
        return self._next()[1]

    def read(self) -> Any:
        """The next reply or push message, parsed."""
        return self._next()[0]

    def closed_by_server(self, timeout_s: float = 20.0) -> bool:
        """Whether the server closes within the time; what it still sends is kept."""
        before = self.sock.gettimeout()
        self.sock.settimeout(timeout_s)
        try:
            while data := self.sock.recv(READ_BYTES):
                self._in += data
            return True
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        finally:
            self.sock.settimeout(before)

    # -- whole commands

    def call(self, *args: Arg) -> Any:
        """Sends one command; its reply, parsed. Error replies are values."""
        self.sock.sendall(encode(*args))
        return self._reply()[0]

    __call__ = call

    def raw(self, *args: Arg) -> bytes:
        """Sends one command; the bytes of its reply."""
        self.sock.sendall(encode(*args))
        return self._reply()[1]

    def pipeline(self, commands: Iterable[Sequence[Arg]]) -> list[Any]:
        return [value for value, _ in self._pipeline(commands)]

    def pipeline_raw(self, commands: Iterable[Sequence[Arg]]) -> list[bytes]:
        return [raw for _, raw in self._pipeline(commands)]

    # -- inside

    def _pipeline(self, commands: Iterable[Sequence[Arg]]) -> list[tuple[Any, bytes]]:
        encoded = [encode(*command) for command in commands]
        self.sock.sendall(b"".join(encoded))
        return [self._reply() for _ in encoded]

    def _reply(self) -> tuple[Any, bytes]:
        while True:
            value, raw = self._next()
            if not isinstance(value, Push):
                return value, raw
            self.pushes.append(value)

    def _next(self) -> tuple[Any, bytes]:
        while True:
            try:
                value, end = parse(self._in, self._at)
            except Incomplete:
                self._fill()
                continue
            raw = bytes(self._in[self._at : end])
            self._at = end
            if end == len(self._in):
                self._in.clear()
                self._at = 0
            return value, raw

    def _fill(self) -> None:
        if self._at > READ_BYTES:
            del self._in[: self._at]
            self._at = 0
        data = self.sock.recv(READ_BYTES)
        if not data:
            raise EOFError(f"the server closed the connection; unread: {bytes(self._in[self._at:])[:200]!r}")
        self._in += data
