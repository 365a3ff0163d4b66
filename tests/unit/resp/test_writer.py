"""The reply writer: hiredis reads back what was written; marks, truncation; chunks return to the pool."""

from __future__ import annotations

import math
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_server.resp._testing import Writer

pytestmark = pytest.mark.unit

CHUNK = 16384


def read_one(writer: Writer) -> Any:
    data = writer.getvalue()
    writer.check()
    reader = hiredis.Reader()
    reader.feed(data)
    value = reader.gets()
    assert not reader.has_data(), "more than one reply"
    return value


scalars = st.one_of(
    st.binary(max_size=50),
    st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1),
    st.sampled_from([b"x" * 999, b"x" * 1000, b"y" * (CHUNK - 40), b"y" * CHUNK, b"z" * 100_000]),
)
trees = st.recursive(scalars, lambda child: st.lists(child, max_size=5), max_leaves=30)


def write(writer: Writer, value: Any, *, marks: bool) -> None:
    """A tree of lists; with `marks` the headers are inserted after the elements. Long strings are shared."""
    if isinstance(value, bytes):
        if len(value) >= CHUNK:
            writer.shared(b"before" + value + b"behind", 6, len(value))
        else:
            writer.bulk(value)
    elif isinstance(value, int):
        writer.integer(value)
    elif marks:
        mark = writer.mark()
        for item in value:
            write(writer, item, marks=True)
        writer.insert(mark, b"*", len(value))
        writer.check()
    else:
        writer.array(len(value))
        for item in value:
            write(writer, item, marks=False)


@given(trees, st.booleans())
def test_trees_are_read_back(value: Any, marks: bool) -> None:
    writer = Writer()
    write(writer, value, marks=marks)
    assert read_one(writer) == value
    assert writer.close() == 0


def test_a_pipeline_of_shared_values_takes_little_memory_of_its_own() -> None:
    writer = Writer()
    for _ in range(100):
        writer.shared(b"v" * CHUNK, 0, CHUNK)
    assert writer.memory - 100 * CHUNK < 100 * 32
    assert writer.heap_used > 100 * CHUNK  # each blob has this one owner left
    writer.consume(len(writer) - 1)
    assert writer.heap_used < 3 * CHUNK
    assert writer.getvalue() == b"\n"
    assert writer.close() == 0


def test_dropping_shared_values() -> None:
    writer = Writer()
    writer.array(2)
    mark = writer.mark()
    writer.shared(b"v" * CHUNK, 0, CHUNK)
    inner = writer.mark()
    writer.shared(b"w" * CHUNK, 1, 5)
    writer.truncate(inner)
    writer.check()
    assert writer.getvalue() == b"*2\r\n$16384\r\n" + b"v" * CHUNK + b"\r\n"
    writer.truncate(mark)
    writer.check()
    assert writer.getvalue() == b"*2\r\n"
    writer.shared(b"w" * CHUNK, 1, 5)
    assert writer.close() == 0


@given(st.lists(scalars, max_size=30), st.lists(st.integers(min_value=1, max_value=40_000), max_size=20), st.randoms())
def test_consuming_anywhere(values: list[bytes | int], sizes: list[int], rng: Any) -> None:
    writer = Writer()
    received = wanted = b""
    for value in values:
        before = writer.getvalue()
        write(writer, value, marks=False)
        wanted += writer.getvalue()[len(before) :]
        if sizes and rng.random() < 0.5:
            size = min(sizes.pop(), len(writer))
            received += writer.getvalue()[:size]
            writer.consume(size)
        writer.check()
    received += writer.getvalue()
    writer.consume(len(writer))
    assert received == wanted
    assert writer.memory == 0
    assert writer.heap_used == 0 or writer.free_chunks > 0
    assert writer.close() == 0


@given(st.lists(scalars, max_size=8), st.lists(scalars, max_size=8))
def test_truncate_drops_what_followed_the_mark(kept: list[bytes | int], dropped: list[bytes | int]) -> None:
    writer = Writer()
    for value in kept:
        write(writer, value, marks=False)
    before = writer.getvalue()
    mark = writer.mark()
    for value in dropped:
        write(writer, value, marks=False)
    writer.truncate(mark)
    writer.check()
    assert writer.getvalue() == before
    writer.integer(1)
    assert writer.getvalue() == before + b":1\r\n"
    assert writer.close() == 0


@given(st.lists(scalars, max_size=8), st.binary(max_size=20_000), st.integers(min_value=0, max_value=20_000))
def test_move(values: list[bytes | int], before: bytes, sent: int) -> None:
    writer = Writer()
    writer.raw(before)
    writer.consume(min(sent, len(writer)))
    expected = writer.getvalue()
    writer.turn_aside()
    for value in values:
        write(writer, value, marks=False)
    expected += writer.getvalue()
    writer.move_back()
    writer.check()
    assert writer.getvalue() == expected
    writer.integer(1)
    writer.consume(len(writer))
    assert writer.close() == 0


@given(st.lists(st.tuples(st.integers(1, 9000), st.sampled_from([2, 3]), st.booleans()), max_size=30))
def test_texts_of_pushes(pushes: list[tuple[int, int, bool]]) -> None:
    writer = Writer()
    expected = b""
    for size, resp, reply_before in pushes:
        if reply_before:
            writer.bulk(b"x" * size)
            expected += b"$%d\r\n%b\r\n" % (size, b"x" * size)
        writer.push_text(resp, b"*" + b"p" * size)
        expected += (b">" if resp == 3 else b"*") + b"p" * size
        writer.check()
    assert writer.getvalue() == expected
    writer.consume(len(writer))
    assert writer.close() == 0


def test_a_push_takes_room_in_proportion_to_what_is_pending() -> None:
    writer = Writer()
    for n in range(1, 200):
        writer.push_text(2, b"*" * 50)
        assert writer.memory <= max(256, 4 * 50 * n)
    writer.consume(len(writer))
    assert writer.close() == 0


@pytest.mark.parametrize("room", range(1, 40))
def test_insert_where_the_chunk_is_nearly_full(room: int) -> None:
    writer = Writer()
    fill = CHUNK - 24 - room
    writer.raw(b"x" * fill)
    mark = writer.mark()
    writer.raw(b"y" * min(room, 20))
    writer.insert(mark, b"*", 1234567890123)
    writer.check()
    assert writer.getvalue() == b"x" * fill + b"*1234567890123\r\n" + b"y" * min(room, 20)
    writer.raw(b"z" * 50)
    assert writer.getvalue().endswith(b"y" + b"z" * 50)
    writer.consume(fill)
    writer.check()
    assert writer.getvalue().startswith(b"*123")
    writer.consume(len(writer))
    assert writer.close() == 0


NUMBERS = [0, 1, 9, 10, 99, 100, 999, 1000, 9999, 10000, 99999, 123456789, (1 << 63) - 1]


@pytest.mark.parametrize("n", [*NUMBERS, *(-n for n in NUMBERS), -(1 << 63)])
def test_integers(n: int) -> None:
    writer = Writer()
    writer.integer(n)
    assert writer.getvalue() == b":%d\r\n" % n


@pytest.mark.parametrize("n", [0, 1, 9, 10, 11, 99, 100, 101, 998, 999, 1000, 1001, 16_352, 16_360, 16_384, 65_536])
def test_bulk_lengths(n: int) -> None:
    writer = Writer()
    for _ in range(3):
        writer.bulk(b"v" * n)
    writer.check()
    assert writer.getvalue() == (b"$%d\r\n" % n + b"v" * n + b"\r\n") * 3


BOTH = [
    ("null", (), b"$-1\r\n", b"_\r\n"),
    ("null_array", (), b"*-1\r\n", b"_\r\n"),
    ("boolean", (True,), b":1\r\n", b"#t\r\n"),
    ("boolean", (False,), b":0\r\n", b"#f\r\n"),
    ("double", (0.5,), b"$3\r\n0.5\r\n", b",0.5\r\n"),
    ("double", (3.0,), b"$1\r\n3\r\n", b",3\r\n"),
    ("double", (math.inf,), b"$3\r\ninf\r\n", b",inf\r\n"),
    ("double", (-math.inf,), b"$4\r\n-inf\r\n", b",-inf\r\n"),
    ("double", (math.nan,), b"$3\r\nnan\r\n", b",nan\r\n"),
    ("double", (-math.nan,), b"$3\r\nnan\r\n", b",nan\r\n"),
    ("bignum", (b"123456789012345678901234567890",), None, b"(123456789012345678901234567890\r\n"),
    ("verbatim", (b"txt", b"hello"), b"$5\r\nhello\r\n", b"=9\r\ntxt:hello\r\n"),
    ("map", (2,), b"*4\r\n", b"%2\r\n"),
    ("set", (12,), b"*12\r\n", b"~12\r\n"),
    ("push", (3,), b"*3\r\n", b">3\r\n"),
]


@pytest.mark.parametrize(("name", "args", "resp2", "resp3"), BOTH)
def test_both_protocols(name: str, args: tuple[Any, ...], resp2: bytes | None, resp3: bytes) -> None:
    for resp, wanted in ((2, resp2), (3, resp3)):
        writer = Writer()
        getattr(writer, name)(resp, *args)
        if wanted is None:
            wanted = b"$%d\r\n%s\r\n" % (len(args[0]), args[0])
        assert writer.getvalue() == wanted


def test_errors_cannot_break_the_protocol() -> None:
    writer = Writer()
    writer.error(b"ERR a\r\n+OK\r\nb\x00c")
    writer.error(b"ERR " + b"x" * 40_000)
    writer.check()
    assert writer.getvalue() == b"-ERR a  +OK  b\x00c\r\n-ERR " + b"x" * 40_000 + b"\r\n"


def test_simple() -> None:
    writer = Writer()
    writer.simple(b"PONG")
    writer.attribute(1)
    assert writer.getvalue() == b"+PONG\r\n|1\r\n"


def test_chunks_are_pooled_and_bounded() -> None:
    writers = [Writer() for _ in range(2)]
    first = writers[0]
    for _ in range(3):
        for _ in range(2000):
            first.bulk(b"v" * 900)
        assert first.memory < 1.2 * len(first)
        first.consume(len(first))
    free = first.free_chunks
    assert 100 < free <= 512
    first.trim()
    assert first.free_chunks == free // 2
    for _ in range(10):
        first.trim()
    assert first.heap_used == 0
    first.raw(b"v" * (64 << 20))
    assert first.memory < 64.1 * (1 << 20), "a large value costs its size"
    first.consume(len(first))
    assert first.memory == 0
    assert first.close() == 0
