"""Fuzzes the request parser: however the bytes are cut, the same requests and the same error come out.

The oracle is the parser itself on the whole input, and, for what is multibulk, a plain re-implementation in Python.
Memory: nothing is owned once all input is parsed, and never much more than what came.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import harness

from cachefleet_server.resp._testing import Parser, ProtocolError

BULK_MAX = 100_000
LINE_MAX = 65536
INT = re.compile(rb"(0|-?[1-9][0-9]{0,18})\Z")
LENGTH = re.compile(rb"[*$]-?\d{1,19}")
TOKENS = [
    b"\r\n", b"\r", b"\n", b"*", b"$", b"*0\r\n", b"*-1\r\n", b"*1\r\n", b"$0\r\n\r\n", b"$-1\r\n", b"\x00", b"\xff",
    b'"', b"'", b"\\x41", b"\\", b"*1\r\n$4\r\nPING\r\n", b"PING\r\n", b"$65536\r\n", b"$32768\r\n", b" ", b"\t", b"0",
    b"9" * 20,
]  # fmt: skip
NUMBERS = [0, 1, 2, 9, 10, 11, 99, 100, 16384, 16385, 32767, 32768, BULK_MAX, BULK_MAX + 1, 2**31 - 1, 2**31, 2**63, -1]

Outcome = tuple[list[list[bytes]], bytes]


def outcome(parser: Parser, data: bytes, sizes: Iterator[int] | tuple[int, ...] = ()) -> Outcome:
    """Requests, and the error that ended them or an empty text."""
    try:
        found = parser.feed(data, sizes)
        text = b""
    except ProtocolError as failure:
        found, text = failure.requests, failure.text
    for args, raw in found:
        assert raw is None or raw == encode(args), raw
    return [args for args, _ in found], text


def encode(args: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in args)


def line(data: bytes, at: int, too_big: bytes) -> tuple[int, bytes]:
    """The end of the length line at `at` (-1: not there yet) or an error."""
    end = data.find(b"\r", at)
    if (end if end >= 0 else len(data)) - at > LINE_MAX:
        return -1, too_big
    return (end if 0 <= end < len(data) - 1 else -1), b""


def length(data: bytes, at: int, end: int, most: int, least: int, wrong: bytes) -> tuple[int, bytes]:
    if data[end + 1 : end + 2] != b"\n":
        return 0, b"invalid CRLF in request"
    match = INT.match(data[at + 1 : end])
    if not match or not max(least, -(2**63)) <= int(match[0]) <= most:
        return 0, wrong
    return int(match[0]), b""


def reference(data: bytes) -> Outcome | None:
    """What a stream of multibulks means; None when it holds an inline request."""
    found: list[list[bytes]] = []
    at = 0
    while at < len(data):
        if data[at : at + 1] != b"*":
            return None
        end, error = line(data, at, b"too big mbulk count string")
        if end < 0:
            return found, error
        count, error = length(data, at, end, 2**31 - 1, -(2**63), b"invalid multibulk length")
        if error:
            return found, error
        at = end + 2
        args: list[bytes] = []
        while len(args) < count:
            end, error = line(data, at, b"too big bulk count string")
            if end < 0:
                return found, error
            if data[at : at + 1] != b"$":
                return found, b"expected '$', got '" + data[at : at + 1] + b"'"
            size, error = length(data, at, end, BULK_MAX, 0, b"invalid bulk length")
            if error:
                return found, error
            at = end + 2 + size + 2
            if len(data) < at:
                return found, b""
            if data[at - 2 : at] != b"\r\n":
                return found, b"invalid CRLF in request"
            args.append(data[end + 2 : at - 2])
        if args:
            found.append(args)
    return found, b""


def sizes(rng: random.Random) -> Iterator[int]:
    """A few hundred short reads at most, then longer ones."""
    for _ in range(rng.choice([0, 0, 20, 400])):
        yield rng.choice([1, 1, 2, 3])
    while True:
        yield rng.choice([1, 7, 40, 300, 511, 513, 2000, 20_000, 70_000])


def target(data: bytes) -> None:
    rng = harness.choices(data)
    whole = outcome(Parser(bulk_max=BULK_MAX, shared=len(data) + 1), data)
    wanted = reference(data)
    assert wanted is None or whole == wanted, (whole, wanted)
    parser = Parser(bulk_max=BULK_MAX, arena=rng.choice([1, 4, 256]), shared=rng.choice([64, 1500, 1500, 65_536]))
    parser.take_blobs = rng.random() < 0.5
    assert outcome(parser, data, sizes(rng)) == whole
    assert parser.memory < 10 * len(data) + (2 << 20)
    if not whole[1] and parser.unparsed == 0:
        assert parser.heap_used == 0, parser.heap_used


def renumber(data: bytes, rng: random.Random) -> bytes:
    """Another length in one of the length lines."""
    places = list(LENGTH.finditer(data[:20_000]))
    if not places:
        return data
    match = rng.choice(places)
    number = rng.choice([*NUMBERS, int(match[0][1:]) + rng.choice([-1, 1])])
    return data[: match.start() + 1] + b"%d" % number + data[match.end() :]


def grown(rng: random.Random) -> bytes:
    """A valid pipeline."""
    return b"".join(
        encode([rng.randbytes(rng.choice([0, 1, 3, 3, 9, 10, 64, 600])) for _ in range(rng.randint(1, 5))])
        for _ in range(rng.randint(1, 8))
    )


if __name__ == "__main__":
    valid = [grown(random.Random(i)) for i in range(20)]
    mutations = [*harness.GENERAL, harness.insert_from(TOKENS), renumber, renumber]
    harness.exit_with(harness.run("parser", target, mutations=mutations, more_seeds=valid))
