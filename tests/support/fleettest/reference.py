"""The same commands to our server and to the real one; raw replies must be the same bytes.

    pair = Pair(ours, theirs, resp=3)
    pair.run("SET", "k", "v", "EX", "0")        compares, and returns the parsed reply

What may differ is in `EXPLAINED`, by command, with the reason; nothing else is forgiven. A rule rewrites both
replies before they are compared, and is as narrow as the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from fleettest.client import Arg, Connection, encode, parse
from fleettest.instance import Instance

Normaliser = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Explained:
    """A difference that is allowed: replies of commands matching `command` are rewritten before comparison."""

    command: str  # regular expression over the upper-case words, joined by a space
    reason: str
    rewrite: Normaliser


def _any_number(raw: bytes) -> bytes:
    return re.sub(rb"\d+", b"N", raw)


def _shape(raw: bytes) -> bytes:
    """Only the kind of the reply: its first byte, or an error's whole text."""
    return raw if raw[:1] == b"-" else raw[:1]


def _sorted_array(raw: bytes) -> bytes:
    value, _ = parse(raw)
    return raw if not isinstance(value, list) else b"%d:" % len(value) + b"\0".join(sorted(map(repr_bytes, value)))


def repr_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else repr(value).encode()


EXPLAINED: tuple[Explained, ...] = (
    Explained(r"TIME\b", "the clocks are read one after the other", _any_number),
    Explained(r"RANDOMKEY\b", "a random choice by each server", _shape),
    Explained(r"KEYS\b", "order of a hash table with a random seed", _sorted_array),
    Explained(r"SCAN\b", "cursor and order depend on the table's layout", _shape),
    Explained(r"OBJECT (IDLETIME|FREQ)\b", "the access clock and a probabilistic counter", _any_number),
    Explained(r"HELLO\b", "server name, version and connection id", _shape),
    Explained(r"INFO\b", "versions, ids, counters", _shape),
    Explained(r"MEMORY (USAGE|STATS)\b", "the memory layout is our own", _shape),
    Explained(r"LASTSAVE\b", "clocks", _any_number),
    Explained(r"CLIENT (ID|INFO|LIST)\b", "connection ids, ports, ages and buffer sizes", _shape),
)


class Mismatch(AssertionError):
    """The servers replied differently."""


class Pair:
    """A connection to each of two servers, used in lock step."""

    def __init__(
        self, ours: Instance, theirs: Instance, *, resp: int = 2, explained: Sequence[Explained] = EXPLAINED
    ) -> None:
        self.instances = (ours, theirs)
        self.resp = resp
        self.ours: Connection = ours.connect(resp=resp)
        self.theirs: Connection = theirs.connect(resp=resp)
        self.rules = [(re.compile(rule.command), rule.rewrite) for rule in explained]

    def __enter__(self) -> Pair:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()

    def run(self, *command: Arg) -> Any:
        """Runs it on both; the parsed reply. Mismatch when the replies differ."""
        return self.pipeline([command])[0]

    def pipeline(self, commands: Iterable[Sequence[Arg]]) -> list[Any]:
        """Sends all commands to both in one write each, compares reply by reply; the parsed replies."""
        commands = [tuple(command) for command in commands]
        data = b"".join(encode(*command) for command in commands)
        self.theirs.send(data)
        self.ours.send(data)
        values = []
        for position, command in enumerate(commands):
            theirs = self._read(self.theirs, "the reference", command)
            ours = self._read(self.ours, "our server", command)
            if ours != theirs and not self.equal(command, ours, theirs):
                raise Mismatch(describe(commands[: position + 1], ours, theirs, self.resp))
            values.append(parse(ours)[0])
        return values

    def raw(self, data: bytes, replies: int) -> list[bytes]:
        """Bytes as they are to both, and that many replies, which must be equal."""
        self.theirs.send(data)
        self.ours.send(data)
        result = []
        for _ in range(replies):
            theirs, ours = self.theirs.read_raw(), self.ours.read_raw()
            if ours != theirs:
                raise Mismatch(f"for {data[:500]!r}\n  reference: {theirs!r}\n  ours:      {ours!r}")
            result.append(ours)
        return result

    def equal(self, command: Sequence[Arg], ours: bytes, theirs: bytes) -> bool:
        words = " ".join(_text(word) for word in command[:3]).upper()
        return any(rule.match(words) and rewrite(ours) == rewrite(theirs) for rule, rewrite in self.rules)

    def flush(self) -> None:
        for connection in (self.ours, self.theirs):
            assert connection.call("FLUSHALL") == "OK"

    def _read(self, connection: Connection, who: str, command: Sequence[Arg]) -> bytes:
        try:
            return connection.read_raw()
        except (EOFError, OSError) as error:
            tails = "\n".join(i.log_tail() for i in self.instances if i.kind == "cachefleet")
            raise Mismatch(f"no reply of {who} to {show(command)}: {error!r}\n{tails}") from error


def _text(word: Arg) -> str:
    return word.decode("latin-1") if isinstance(word, bytes | bytearray) else str(word)


def show(command: Sequence[Arg]) -> str:
    """A command for a human, long arguments cut."""
    words = []
    for word in command:
        text = repr(bytes(word))[1:] if isinstance(word, bytes | bytearray) else repr(str(word))
        words.append(text if len(text) <= 120 else f"{text[:100]}...({len(word) if isinstance(word, bytes) else ''})")
    return " ".join(words)


def describe(commands: Sequence[Sequence[Arg]], ours: bytes, theirs: bytes, resp: int) -> str:
    lines = [f"replies differ (RESP{resp}) for: {show(commands[-1])}", f"  reference: {theirs[:2000]!r}"]
    lines.append(f"  ours:      {ours[:2000]!r}")
    if len(commands) > 1:
        lines.append("  before it in the pipeline:")
        lines += [f"    {show(command)}" for command in commands[-10:-1]]
    return "\n".join(lines)
