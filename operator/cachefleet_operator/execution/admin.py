"""The operator as a client of servers: what a server says of itself, and the few things we tell it.

A call is one connection: connect, AUTH, the commands in one write, their replies, close. Nothing is kept, so nothing
can leak or go stale, and 500 Caches need no more than 17 calls a second. Time and the size of the replies are bounded,
because a pod may run anything: hiredis parses, but it makes a list as long as ten bytes announce (16 GB), so headers
are looked at before it sees them. redis-py would not bound a reply.

A server may have the wished password or one it had before (planning/auth.py). `passwords` are tried in order, the wish
first; the empty one means no AUTH. There is at least one. No error text holds a password.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence

import hiredis

from cachefleet_operator.api import names
from cachefleet_operator.api.parameters import PARAMETERS
from cachefleet_operator.execution.errors import ExecutionError, Refused
from cachefleet_operator.planning.snapshot import Server

TIMEOUT_S = 2.0
REPLY_BYTES_MAX = 1 << 20  # INFO and CONFIG GET * together are about 15 kB
ELEMENTS_MAX = 1 << 14  # of one list; CONFIG GET * has some 800
ERROR_CHARACTERS_MAX = 256

Password = bytes
Reply = bytes | int | None | list["Reply"] | hiredis.ReplyError

_INSPECTION = ((b"INFO",), (b"CONFIG", b"GET", b"*"), (b"PING",))
_SECRET = frozenset(name for p in PARAMETERS if p.secret for name in (p.name, p.alias))


def as_password(value: bytes) -> Password:
    """The password in a Secret's value, which may end with an editor's newline: as the server reads its file."""
    return value.removesuffix(b"\n").removesuffix(b"\r")


class Locked(ExecutionError):
    """A server takes none of the passwords."""


async def inspect(
    pod: str, host: str, port: int, passwords: Sequence[Password], *, timeout_s: float = TIMEOUT_S
) -> Server:
    """What the server in `pod` says of itself. Never raises: who does not answer has the reason in `error`."""
    try:
        used, replies = await _ask(host, port, passwords, _INSPECTION, timeout_s)
        return _server(pod, replies, password_is_current=used == passwords[0])
    except ExecutionError as error:
        return Server(pod, str(error), locked=isinstance(error, Locked))


async def config_set(
    pod: str,
    host: str,
    port: int,
    passwords: Sequence[Password],
    parameters: Mapping[str, str],
    *,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """CONFIG SET of all or none. Raises Refused for the parameter that the server names, else ExecutionError."""
    words = [word.encode(errors="replace") for pair in sorted(parameters.items()) for word in pair]
    _, (reply,) = await _ask(host, port, passwords, [(b"CONFIG", b"SET", *words)], timeout_s)
    text = _error(reply)
    if not text:
        return
    if not text.startswith("ERR "):
        raise ExecutionError(f"{pod}: {text}")  # LOADING, BUSY, NOPERM: not a word about the value.
    subject = _named(text, parameters)
    if not subject:
        # It does not say which one it means: one at a time, until it refuses one by itself.
        for name, value in sorted(parameters.items()):
            await config_set(pod, host, port, passwords, {name: value}, timeout_s=timeout_s)
        raise ExecutionError(f"{pod}: {text}")
    raise Refused(text.removeprefix("ERR "), target=pod, subject=subject, wish=parameters[subject])


async def set_password(
    pod: str, host: str, port: int, passwords: Sequence[Password], new: Password, *, timeout_s: float = TIMEOUT_S
) -> None:
    """Gives the default user the password `new`; the empty one takes it away. Connections of clients stay."""
    _, (reply,) = await _ask(host, port, passwords, [(b"CONFIG", b"SET", b"requirepass", new)], timeout_s)
    if text := _error(reply):
        # The server quotes what it refuses: never show more than the kind of error.
        raise ExecutionError(f"{pod} refused the new password ({text.split(' ', 1)[0]})")


# -- replies


def _server(pod: str, replies: Sequence[Reply], *, password_is_current: bool) -> Server:
    info_reply, config_reply, ping = replies
    for reply in (info_reply, config_reply):
        if text := _error(reply):
            raise ExecutionError(text)
    if not isinstance(info_reply, bytes) or not isinstance(config_reply, list):
        raise ExecutionError("its answer to INFO or CONFIG GET is not one")
    info = dict(_fields(info_reply))
    refusal = _error(ping)  # PING is refused with MISCONF while writes are: the server's own words.
    return Server(
        pod,
        run_id=info.get("run_id", ""),
        role=info.get("role", ""),
        version=info.get("cachefleet_version") or info.get("valkey_version") or info.get("redis_version", ""),
        loading=info.get("loading") == "1",
        load_percent=min(100.0, _number(info.get("loading_loaded_perc", "0"))),
        used_memory=int(_number(info.get("used_memory", "0"))),
        maxmemory=int(_number(info.get("maxmemory", "0"))),
        last_save=int(_number(info.get("rdb_last_save_time", "0"))),
        failing=refusal if refusal.startswith("MISCONF") else "",
        parameters=_pairs(config_reply),
        password_is_current=password_is_current,
    )


def _fields(info: bytes) -> Iterator[tuple[str, str]]:
    for line in info.decode(errors="replace").splitlines():
        name, colon, value = line.partition(":")
        if colon and not name.startswith("#"):
            yield name, value


def _pairs(reply: list[Reply]) -> dict[str, str]:
    words = [w.decode(errors="replace") if isinstance(w, bytes) else str(w) for w in reply]
    return {name: value for name, value in zip(words[::2], words[1::2], strict=False) if name not in _SECRET}


def _number(text: str) -> float:
    """0 for what is none, or is none that a counter can have."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value < 1e18 else 0.0


def _error(reply: Reply) -> str:
    return str(reply)[:ERROR_CHARACTERS_MAX] if isinstance(reply, hiredis.ReplyError) else ""


def _named(text: str, parameters: Mapping[str, str]) -> str:
    """The parameter that an error of CONFIG SET speaks of; there is no other if only one was sent."""
    quoted = [name for name in parameters if f"'{name}'" in text]
    if quoted:
        return quoted[0]
    return next(iter(parameters)) if len(parameters) == 1 else ""


# -- the wire


def _pack(commands: Sequence[Sequence[bytes]]) -> bytes:
    return b"".join(
        b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words) for words in commands
    )


async def _ask(
    host: str, port: int, passwords: Sequence[Password], commands: Sequence[Sequence[bytes]], timeout_s: float
) -> tuple[Password, list[Reply]]:
    """Replies to `commands` and the password that was accepted. Raises ExecutionError in words for people."""
    where = names.address(host, port)
    try:
        async with asyncio.timeout(timeout_s):
            return await _converse(host, port, list(dict.fromkeys(passwords)), commands)
    except TimeoutError:
        raise ExecutionError(f"no answer from {where} within {timeout_s:g} s") from None
    except ConnectionRefusedError:
        raise ExecutionError(f"{where} refuses connections") from None
    except OSError as error:
        raise ExecutionError(f"{where}: {error.strerror or error}") from None
    # TypeError and MemoryError: what hiredis makes of maps with odd keys and of impossible lengths.
    except (hiredis.HiredisError, TypeError, ValueError, MemoryError) as error:
        raise ExecutionError(f"{where} does not speak RESP: {str(error)[:ERROR_CHARACTERS_MAX]}") from None


async def _converse(
    host: str, port: int, passwords: Sequence[Password], commands: Sequence[Sequence[bytes]]
) -> tuple[Password, list[Reply]]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        parser, headers = hiredis.Reader(), _Headers()
        budget = REPLY_BYTES_MAX
        words = ""
        for password in passwords:
            login = [(b"AUTH", password)] if password else []
            writer.write(_pack([*login, *commands]))
            replies, budget = await _replies(reader, parser, headers, len(login) + len(commands), budget)
            refused = _error(replies[0]) if login else ""
            answers = replies[len(login) :]
            if not any(_error(answer).startswith("NOAUTH") for answer in answers):
                # A server without a password refuses AUTH, and everything is allowed there.
                return b"" if refused else password, answers
            words = words or refused or _error(answers[0])
        raise Locked(words)
    finally:
        writer.transport.abort()  # All replies are here, or none matters: no lingering close.


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


async def _replies(
    reader: asyncio.StreamReader, parser: hiredis.Reader, headers: _Headers, count: int, budget: int
) -> tuple[list[Reply], int]:
    found: list[Reply] = []
    while len(found) < count:
        reply = parser.gets()
        if reply is not False:
            found.append(reply)
            continue
        data = await reader.read(65536)
        budget -= len(data)
        if not data:
            raise ExecutionError("closed the connection without an answer")
        if budget < 0:
            raise ExecutionError(f"answers with more than {REPLY_BYTES_MAX} bytes")
        headers.look(data)
        parser.feed(data)
    return found, budget
