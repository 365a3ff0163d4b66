"""Bits of strings against Python's integers."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_server.ds._testing_hllgeo import (
    add_integer,
    combine,
    count_bits,
    count_bits_any,
    find_bit,
    get_bit,
    read_integer,
    set_bit,
    write_integer,
)
from fleettest.examples import examples

pytestmark = pytest.mark.unit

AND, OR, XOR, NOT, DIFF, DIFF1, ANDOR, ONE = range(8)
WRAP, SATURATE, FAIL = range(3)
INT64_MAX, INT64_MIN = 2**63 - 1, -(2**63)
PIECE = 8192
# Long stretches of one bit, where words and vectors are skipped.
strings = st.one_of(
    st.binary(max_size=20),
    st.lists(st.tuples(st.sampled_from([0, 255, 1, 128]), st.integers(1, 100)), max_size=5).map(
        lambda parts: b"".join(bytes([byte]) * n for byte, n in parts)
    ),
)
positions = st.one_of(st.integers(-12, 12), st.integers(-1200, 1200), st.sampled_from([INT64_MAX, INT64_MIN]))


def text(data: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in data)


def clipped(total: int, first: int, last: int) -> tuple[int, int]:
    first, last = (max(v + total, 0) if v < 0 else v for v in (first, last))
    return first, min(last, total - 1)


@given(strings, positions, positions, st.booleans())
@examples(150)
def test_count(data: bytes, first: int, last: int, in_bits: bool) -> None:
    unit = 1 if in_bits else 8
    a, b = clipped(len(data) * 8 // unit, first, last)
    wanted = 0 if first < 0 and last < 0 and first > last else text(data)[a * unit : (b + 1) * unit].count("1")
    assert count_bits(data, first, last, in_bits) == wanted


def test_count_of_long_strings(rng: random.Random) -> None:
    """With this processor's instructions, and without."""
    for n in [*range(300), 1023, 1024, 1025, 1151, 1152, 5000, 100_003]:
        data = rng.randbytes(n) if rng.random() < 0.8 else b"\xff" * n
        wanted = int.from_bytes(data, "big").bit_count()
        assert count_bits_any(data) == (wanted, wanted)


@given(strings, st.booleans(), positions, st.none() | positions, st.booleans())
@examples(150)
def test_find(data: bytes, value: bool, first: int, last: int | None, in_bits: bool) -> None:
    unit = 1 if in_bits else 8
    a, b = clipped(len(data) * 8 // unit, first, -1 if last is None else last)
    wanted = text(data).find("01"[value], a * unit, (b + 1) * unit) if a <= b else -1
    if wanted < 0 and a <= b and not value and last is None:
        wanted = len(data) * 8
    assert find_bit(data, value, first, last, in_bits) == wanted


def test_find_at_each_place() -> None:
    for n in (1, 9, 40, 75):
        for at in range(n * 8):
            ones = ((1 << n * 8) - 1 ^ 1 << (n * 8 - 1 - at)).to_bytes(n, "big")
            zeros = (1 << (n * 8 - 1 - at)).to_bytes(n, "big")
            assert find_bit(ones, False) == find_bit(zeros, True) == at
            assert find_bit(zeros, True, at, n * 8, True) == at
            assert find_bit(zeros, True, at + 1, n * 8, True) == -1
            assert find_bit(zeros, True, 0, at - 1, True) == (-1 if at else at)  # an end of -1 is the last


def one_of(values: list[int]) -> int:
    once = several = 0
    for v in values:
        once, several = once | v, several | (once & v)
    return once & ~several


OPERATIONS: dict[int, Callable[[list[int]], int]] = {
    AND: lambda v: reduce(int.__and__, v),
    OR: lambda v: reduce(int.__or__, v),
    XOR: lambda v: reduce(int.__xor__, v),
    DIFF: lambda v: v[0] & ~reduce(int.__or__, v[1:], 0),
    DIFF1: lambda v: reduce(int.__or__, v[1:], 0) & ~v[0],
    ANDOR: lambda v: v[0] & reduce(int.__or__, v[1:], 0),
    ONE: one_of,
}


def wanted(op: int, data: list[bytes]) -> bytes:
    n = max(map(len, data))
    if op == NOT:
        return bytes(byte ^ 255 for byte in data[0])
    return OPERATIONS[op]([int.from_bytes(d.ljust(n, b"\0"), "big") for d in data]).to_bytes(n, "big")


@given(st.sampled_from(list(OPERATIONS)), st.lists(strings, min_size=1, max_size=6))
@examples(150)
def test_combine(op: int, data: list[bytes]) -> None:
    assert combine(op, data) == wanted(op, data)


@given(strings)
def test_not(data: bytes) -> None:
    assert combine(NOT, [data]) == wanted(NOT, [data])


def test_combine_in_pieces(rng: random.Random) -> None:
    sizes = [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 33]
    for _ in range(20):
        data = [rng.randbytes(rng.choice(sizes)) for _ in range(rng.randrange(1, 5))]
        for op in OPERATIONS:
            assert combine(op, data) == wanted(op, data), [len(d) for d in data]
        assert combine(NOT, data[:1]) == wanted(NOT, data[:1])


@pytest.mark.parametrize(
    ("op", "result"),
    [(DIFF, 0b10000000), (DIFF1, 0b00011110), (ANDOR, 0b01100001), (ONE, 0b10010000)],
)
def test_newer_operations_by_hand(op: int, result: int) -> None:
    """Only Redis 8.2 has them; by its documentation: X without any Y, any Y without X, X and any Y, exactly one."""
    x, y1, y2 = 0b11100001, 0b01111111, 0b00101111
    assert combine(op, [bytes([x]), bytes([y1]), bytes([y2])]) == bytes([result])
    padded = {DIFF: x, DIFF1: 0, ANDOR: 0, ONE: x}[op]
    assert combine(op, [bytes([x, x]), bytes([y1]), bytes([y2])]) == bytes([result, padded])


@given(strings, st.integers(0, 400), st.booleans())
def test_single_bits(data: bytes, at: int, value: bool) -> None:
    inside = at < len(data) * 8
    assert get_bit(data, at) == (inside and text(data)[at] == "1")
    if inside:
        digits = text(data)
        before, after = set_bit(data, at, value)
        assert before == (digits[at] == "1")
        assert text(after) == digits[:at] + "01"[value] + digits[at + 1 :]


@given(st.binary(max_size=24), st.integers(0, 220), st.integers(1, 64), st.booleans())
@examples(150)
def test_read(data: bytes, at: int, width: int, signed: bool) -> None:
    value = int(text(data)[at : at + width].ljust(width, "0"), 2)
    if signed and value >> (width - 1):
        value -= 1 << width
    assert read_integer(data, at, width, signed) == value


@given(st.binary(min_size=10, max_size=24), st.data(), st.integers(1, 64))
@examples(150)
def test_write(data: bytes, draw: st.DataObject, width: int) -> None:
    at = draw.draw(st.integers(0, len(data) * 8 - width))
    value = draw.draw(st.integers(0, (1 << width) - 1))
    digits = text(data)
    after = write_integer(data, at, width, value)
    assert text(after) == digits[:at] + f"{value:0{width}b}" + digits[at + width :]
    assert read_integer(after, at, width, False) == value


def near(*values: int) -> st.SearchStrategy[int]:
    return st.one_of(*(st.integers(v - 2, v + 2) for v in values), st.integers(INT64_MIN, INT64_MAX)).filter(
        lambda v: INT64_MIN <= v <= INT64_MAX
    )


@given(st.data(), st.integers(1, 64), st.booleans(), st.sampled_from([WRAP, SATURATE, FAIL]))
@examples(150)
def test_add(draw: st.DataObject, width: int, signed: bool, overflow: int) -> None:
    least, most = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
    inside = st.integers(least, most) | st.sampled_from([least, most, most - 1])
    change = draw.draw(near(0, INT64_MIN, INT64_MAX, 1 << min(width, 62), -(1 << min(width, 62))))
    value = draw.draw(inside)
    if draw.draw(st.booleans()):  # BITFIELD SET: any value, no change
        value, change = draw.draw(st.integers(INT64_MIN, INT64_MAX) if signed else st.integers(0, 2**64 - 1)), 0
    total = value + change
    if not least <= total <= most and overflow != WRAP:
        wraps = signed and most - value > INT64_MAX and width < 64  # peers take that for too large
        wanted = None if overflow == FAIL else most if total > most or wraps else least
    else:
        wanted = total % (1 << width)
        if signed and wanted > most:
            wanted -= 1 << width
    assert add_integer(value, change, width, signed, overflow) == wanted
