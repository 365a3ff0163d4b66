"""RESP on TCP, for who asks a server a few things: the half of `Servers` that Kubernetes and local mode share.

A connection: connect, AUTH, the commands in one write, their replies. `ask` and `tell` close it then, `call` gives it
to whoever called (prober.py). Time and the size of the replies to one question are bounded, because a pod may run
anything: hiredis parses, but it makes a list as long as ten bytes announce (16 GB), so headers are looked at before it
sees them. redis-py would not bound a reply.

The passwords of an endpoint are tried in order; the empty one means no AUTH. No error text holds a password.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import hiredis

from cachefleet_operator.api import names
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.ports import Command, Endpoint, Line, Reply

TIMEOUT_S = 2.0
REPLY_BYTES_MAX = 1 << 20  # INFO and CONFIG GET * together are about 15 kB
ELEMENTS_MAX = 1 << 14  # of one list; CONFIG GET * has some 800
ERROR_CHARACTERS_MAX = 256

_WHO = ((b"INFO", b"server"),)


class Locked(ExecutionError):
    """A server takes none of the passwords."""


class NotListening(ExecutionError):
    """Nothing listens at that address."""


class Wire:
    """`ask`, `call` and `tell` of Servers (ports.py); who extends it says where a pod's server is."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s

    async def ask(self, endpoint: Endpoint, commands: Sequence[Command]) -> tuple[bytes, list[Reply]]:
        line, used, replies = await self.call(endpoint, commands)
        line.close()
        return used, replies

    async def call(self, endpoint: Endpoint, commands: Sequence[Command]) -> tuple[Line, bytes, list[Reply]]:
        with _in_words(endpoint, self._timeout_s):
            async with asyncio.timeout(self._timeout_s):
                talk = await _connect(endpoint)
                with _closing_on_error(talk):
                    used, replies = await _log_in(talk, endpoint, commands)
        return _Kept(talk, endpoint, self._timeout_s), used, replies

    async def tell(self, endpoint: Endpoint, run_id: str, commands: Sequence[Command]) -> list[Reply]:
        if not run_id:
            return (await self.ask(endpoint, commands))[1]
        with _in_words(endpoint, self._timeout_s):
            async with asyncio.timeout(self._timeout_s):
                return await _tell(endpoint, run_id, commands)


def error(reply: Reply) -> str:
    """The words of a reply that is an error, else ""."""
    return str(reply)[:ERROR_CHARACTERS_MAX] if isinstance(reply, hiredis.ReplyError) else ""


def fields(info: Reply) -> Iterator[tuple[str, str]]:
    """The fields of a reply to INFO."""
    for line in info.decode(errors="replace").splitlines() if isinstance(info, bytes) else ():
        name, colon, value = line.partition(":")
        if colon and not name.startswith("#"):
            yield name, value


class _Kept:
    """Line (ports.py)."""

    def __init__(self, talk: _Talk, endpoint: Endpoint, timeout_s: float) -> None:
        self._talk, self._endpoint, self._timeout_s = talk, endpoint, timeout_s

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        with _in_words(self._endpoint, self._timeout_s):
            async with asyncio.timeout(self._timeout_s):
                return await self._talk.say(commands)

    def close(self) -> None:
        self._talk.close()


@contextmanager
def _in_words(endpoint: Endpoint, timeout_s: float) -> Iterator[None]:
    """Whatever a connection may raise becomes an ExecutionError."""
    where = names.address(endpoint.host, endpoint.port)
    try:
        yield
    except TimeoutError:
        raise ExecutionError(f"no answer from {where} within {timeout_s:g} s") from None
    except ConnectionRefusedError:
        raise NotListening(f"{where} refuses connections") from None
    except OSError as problem:
        raise ExecutionError(f"{where}: {problem.strerror or problem}") from None
    # TypeError and MemoryError: what hiredis makes of maps with odd keys and of impossible lengths.
    except (hiredis.HiredisError, TypeError, ValueError, MemoryError) as problem:
        raise ExecutionError(f"{where} does not speak RESP: {str(problem)[:ERROR_CHARACTERS_MAX]}") from None


@contextmanager
def _closing_on_error(talk: _Talk) -> Iterator[None]:
    try:
        yield
    except BaseException:
        talk.close()
        raise


async def _connect(endpoint: Endpoint) -> _Talk:
    return _Talk(*await asyncio.open_connection(endpoint.host, endpoint.port))


async def _tell(endpoint: Endpoint, run_id: str, commands: Sequence[Command]) -> list[Reply]:
    talk = await _connect(endpoint)
    try:
        _, (who,) = await _log_in(talk, endpoint, _WHO)
        if dict(fields(who)).get("run_id") != run_id:
            words = f"{names.address(endpoint.host, endpoint.port)} is another process than the one that was meant"
            raise ExecutionError(words, conflict=True)
        return await talk.say(commands)
    finally:
        talk.close()


async def _log_in(talk: _Talk, endpoint: Endpoint, commands: Sequence[Command]) -> tuple[bytes, list[Reply]]:
    """The password that was taken, and the replies to the first commands, which are sent with each."""
    words = ""
    who = (endpoint.user,) if endpoint.user else ()
    for password in dict.fromkeys(endpoint.passwords):
        login = [(b"AUTH", *who, password)] if password else []
        replies = await talk.say([*login, *commands])
        refused = error(replies[0]) if login else ""
        answers = replies[len(login) :]
        if not any(error(answer).startswith("NOAUTH") for answer in answers):
            # A server without a password refuses AUTH, and everything is allowed there.
            return b"" if refused else password, answers
        words = words or refused or error(answers[0])
    raise Locked(words)


class _Headers:
    """Raises ValueError where a reply announces more than it may have. Nesting is of no interest: a stream of RESP is a
    row of lines, some with bytes behind them. Lines and numbers are what hiredis takes for such, or else an error."""

    def __init__(self) -> None:
        self._rest = b""  # the beginning of a line
        self._skipped = 0  # bytes of a string that are still to come

    def look(self, data: bytes) -> None:
        data, at = self._rest + data, self._skipped
        while at <= len(data) and (end := data.find(b"\r\n", at)) >= 0:
            at = end + 2 + self._announced(data[at:end])
        self._rest, self._skipped = data[at:], max(0, at - len(data))

    def _announced(self, line: bytes) -> int:
        """Bytes that belong to this line."""
        if line[:1] not in _COUNTED:
            return 0
        if not _COUNT.fullmatch(line, 1):
            raise ValueError(f"a length that is none: {line[:20]!r}")
        count = int(line[1:])
        if line[:1] in _LISTS:
            if count > ELEMENTS_MAX:
                raise ValueError(f"a list of {count} elements is announced")
            return 0
        return count + 2 if count >= 0 else 0


_LISTS = (b"*", b"~", b">", b"%", b"|")
_COUNTED = (*_LISTS, b"$", b"=", b"!")
_COUNT = re.compile(rb"0|-?[1-9][0-9]{0,18}")


class _Talk:
    """One connection: commands and their replies, not more than REPLY_BYTES_MAX at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._parser, self._headers = hiredis.Reader(), _Headers()

    def close(self) -> None:
        self._writer.transport.abort()  # All replies are here, or none matters: no lingering close.

    async def say(self, commands: Sequence[Command]) -> list[Reply]:
        pack: Callable[[tuple[bytes, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]  # wrongly typed
        self._writer.write(b"".join(pack(tuple(command)) for command in commands))
        found: list[Reply] = []
        left = REPLY_BYTES_MAX
        while len(found) < len(commands):
            reply = self._parser.gets()
            if reply is not False:
                found.append(reply)
                continue
            data = await self._reader.read(65536)
            left -= len(data)
            if not data:
                raise ExecutionError("closed the connection without an answer")
            if left < 0:
                raise ExecutionError(f"answers with more than {REPLY_BYTES_MAX} bytes")
            self._headers.look(data)
            self._parser.feed(data)
        return found
