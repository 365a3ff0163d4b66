"""Listpacks, intsets, ziplists and zipmaps against Python's own writers and readers, and against damage.

The writers here say the format a second time. What the real Valkey writes is compared in
tests/differential/test_packed.py.
"""

from __future__ import annotations

import random
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_server.ds._testing_pack import (
    IntSet,
    intset_fault,
    intset_union,
    listpack,
    listpack_decode,
    listpack_read,
    listpack_validate,
    match16,
    ziplist_read,
    zipmap_read,
)
from fleettest.encodings import ziplist, zipmap

pytestmark = pytest.mark.unit

INTEGER = re.compile(rb"-?[1-9][0-9]*|0")
BITS = (0, 6, 7, 12, 13, 15, 16, 23, 24, 31, 32, 63)
EDGES = sorted({sign * (2**b) + d for b in BITS for sign in (1, -1) for d in (-1, 0, 1)})
INT64 = [v for v in EDGES if -(2**63) <= v < 2**63]
LENGTHS = (0, 1, 62, 63, 64, 65, 126, 127, 128, 4090, 4095, 4096, 4097, 16377, 16378, 16379, 16380, 70000)
BACK = ((127, 1), (128, 2), (16382, 2), (16383, 2), (16384, 3), (2097151, 3), (2097152, 4))

integers = st.one_of(st.sampled_from(INT64), st.integers(-(2**63), 2**63 - 1))
texts = st.one_of(
    st.binary(max_size=12),
    integers.map(lambda v: b"%d" % v),
    st.sampled_from(LENGTHS[:10]).map(lambda n: b"x" * n),
    st.sampled_from([b"-0", b"+1", b"01", b"", b"-", b"9223372036854775808", b"1 ", b" 1", b"1.0"]),
)


def element(text: bytes) -> bytes | int:
    """What a text is in a listpack."""
    if INTEGER.fullmatch(text) and -(2**63) <= int(text) < 2**63:
        return int(text)
    return text


def code(value: bytes | int) -> bytes:
    if isinstance(value, bytes):
        n = len(value)
        if n < 64:
            return bytes([0x80 | n]) + value
        if n < 4096:
            return bytes([0xE0 | n >> 8, n & 255]) + value
        return b"\xf0" + struct.pack("<I", n) + value
    if 0 <= value <= 127:
        return bytes([value])
    if -4096 <= value < 4096:
        return bytes([0xC0 | (value & 0x1FFF) >> 8, value & 255])
    for first, bits in ((0xF1, 16), (0xF2, 24), (0xF3, 32), (0xF4, 64)):
        if -(1 << bits - 1) <= value < 1 << bits - 1:
            return bytes([first]) + (value & (1 << bits) - 1).to_bytes(bits // 8, "little")
    raise AssertionError(value)


def back(n: int) -> bytes:
    out = [n & 127]
    size = 1 + (n >= 1 << 7) + (n >= 1 << 14) + (n >= 1 << 21)
    while len(out) < size:
        n >>= 7
        out.append(n & 127)
    return bytes([out[-1], *(0x80 | b for b in out[-2::-1])])


def written(values: list[bytes | int]) -> bytes:
    body = b"".join(code(v) + back(len(code(v))) for v in values)
    return struct.pack("<IH", len(body) + 7, min(len(values), 0xFFFF)) + body + b"\xff"


@given(st.lists(texts, max_size=30))
def test_a_listpack_is_what_it_should_be(elements: list[bytes]) -> None:
    values = [element(t) for t in elements]
    data = listpack(list(elements))
    assert data == written(values)
    assert listpack_validate(data) == (True, len(values))
    forward, backward, indexed, n = listpack_read(data)
    assert forward == values
    assert backward == values[::-1]
    assert indexed == [None, *values, *values, None]
    assert n == len(values)


@pytest.mark.parametrize("value", INT64)
def test_integers(value: int) -> None:
    assert listpack([value]) == listpack([b"%d" % value]) == written([value])
    assert listpack_read(listpack([value]))[0] == [value]
    assert listpack_decode(code(value)) == (value, len(code(value)))
    for n in range(len(code(value))):
        assert listpack_decode(code(value)[:n]) is None


@pytest.mark.parametrize("n", LENGTHS)
def test_strings(n: int) -> None:
    text = b"s" * n
    data = listpack([text, (b"7" * n,), 3])
    assert data == written([text, b"7" * n, 3])
    assert listpack_read(data)[:2] == ([text, b"7" * n, 3], [3, b"7" * n, text])
    assert listpack_decode(code(text)) == (text, len(code(text)))
    for size in {s for s in (0, 1, 2, 4, 5, n) if s < len(code(text))}:
        assert listpack_decode(code(text)[:size]) is None


@pytest.mark.parametrize(("n", "size"), BACK)
def test_sizes_of_back_lengths(n: int, size: int) -> None:
    text = next(b"s" * k for k in range(n - 5, n) if len(code(b"s" * k)) == n)
    data = listpack([text, 1])
    assert len(data) == 6 + n + size + 2 + 1
    assert data[6 + n : 6 + n + size] == back(n)
    assert listpack_read(data)[1] == [1, text]
    assert listpack_validate(data) == (True, 2)
    for damage in (1, 0x80):
        wrong = bytearray(data)
        wrong[6 + n + size - 1] ^= damage
        assert listpack_validate(bytes(wrong)) == (False, 6)


@pytest.mark.parametrize("n", [127, 16382, 16383, 16384, 2097150, 2097151])
def test_back_lengths_of_redis(n: int) -> None:
    """Redis 7.0 takes one byte more for 16383 and 2097151. More in other places is a fault."""
    text = next(b"s" * k for k in range(n - 5, n) if len(code(b"s" * k)) == n)
    plain = back(n)
    body = code(text) + b"\0" + bytes([0x80 | plain[0]]) + plain[1:] + code(1) + back(1)
    data = struct.pack("<IH", len(body) + 7, 2) + body + b"\xff"
    if n in (16383, 2097151):
        assert listpack_validate(data) == (True, 2)
        assert listpack_read(data)[:2] == ([text, 1], [1, text])
    else:
        assert listpack_validate(data) == (False, 6)


def test_codes_that_are_not_the_shortest_are_read() -> None:
    codes = [(b"\xf4" + struct.pack("<q", 5), 5), (b"\xf0\x01\0\0\0a", b"a"), (b"\xe0\x01a", b"a"), (b"\xc0\x05", 5)]
    body = b"".join(c + back(len(c)) for c, _ in codes)
    data = struct.pack("<IH", len(body) + 7, 4) + body + b"\xff"
    assert listpack_validate(data) == (True, 4)
    assert listpack_read(data)[0] == [v for _, v in codes]


def test_counts() -> None:
    data = listpack([1] * 65534)
    assert listpack_validate(data) == (True, 65534)
    many = listpack([1] * 70000)
    assert many[4:6] == b"\xff\xff"
    assert listpack_validate(many) == (True, 70000)
    assert listpack_validate(data[:4] + b"\xff\xff" + data[6:]) == (True, 65534)
    assert listpack_validate(data[:4] + b"\xfd\xff" + data[6:]) == (False, 4)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", 0),
        (b"\x07\0\0\0\0\0", 0),
        (b"\x06\0\0\0\0\0", 0),
        (b"\x08\0\0\0\0\0\xff", 0),
        (b"\x07\0\0\0\0\0\xfe", 6),
        (b"\x07\0\0\0\x01\0\xff", 4),
        (b"\x09\0\0\0\x01\0\xff\x01\xff", 6),
        (b"\x09\0\0\0\x01\0\xf5\x01\xff", 6),
        (b"\x09\0\0\0\x01\0\x05\x02\xff", 6),
        (b"\x09\0\0\0\x01\0\x82\x01\xff", 6),
        (b"\x08\0\0\0\x01\0\x05\xff", 6),
        (b"\x0b\0\0\0\x02\0\x05\x01\xf1\x01\xff", 8),
        (b"\x0e\0\0\0\x01\0\xf0\xff\xff\xff\xff\x05\x05\xff", 6),
    ],
)
def test_faults(data: bytes, fault: int) -> None:
    assert listpack_validate(data) == (False, fault)


@given(st.lists(texts, max_size=8), st.data())
def test_no_damage_passes_that_a_reader_would_feel(elements: list[bytes], data: st.DataObject) -> None:
    """What is called valid is walked to its end, both ways, inside its bytes (which the sanitizers see)."""
    damaged = bytearray(listpack(list(elements)))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    good, out = listpack_validate(bytes(damaged))
    if good:
        forward, backward, _, n = listpack_read(bytes(damaged))
        assert len(forward) == out == n
        assert backward == forward[::-1]
    else:
        assert out < len(damaged)
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    assert listpack_validate(cut)[0] is (cut == damaged and good)


# ---- intsets -----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("aaar"), st.one_of(st.integers(-20, 20), integers)), max_size=80))
def test_an_intset_is_a_set(steps: list[tuple[str, int]]) -> None:
    s, model, width = IntSet(), set[int](), 2
    for what, v in steps:
        if what == "a":
            assert s.add(v) == (v not in model)
            model.add(v)
            width = max(width, next(w for w in (2, 4, 8) if -(1 << 8 * w - 1) <= v < 1 << 8 * w - 1))
        else:
            assert s.remove(v) == (v in model)
            model.discard(v)
        s.check()
        ordered = sorted(model)
        assert s.items() == ordered
        assert s.find(v) == (v in model, sum(m < v for m in model))
        fmt = {2: "h", 4: "i", 8: "q"}[width]
        assert s.data == struct.pack(f"<II{len(model)}{fmt}", width, len(model), *ordered)
        assert intset_fault(s.data) == (None if model else 4)


def test_an_intset_by_position(rng: random.Random) -> None:
    s, model = IntSet(), sorted({rng.randrange(-(2**40), 2**40) for _ in range(300)})
    for v in rng.sample(model, len(model)):
        assert s.add(v)
    while model:
        at = rng.randrange(len(model))
        s.remove_at(at)
        del model[at]
        s.check()
        assert s.items() == model


@given(*[st.lists(st.one_of(st.integers(-20, 20), integers), max_size=40)] * 2)
def test_the_union_of_two_is_one_to_which_all_came(a: list[int], b: list[int]) -> None:
    one, other, both = IntSet(), IntSet(), IntSet()
    for s, values in ((one, a), (other, b), (both, a + b)):
        for v in values:
            s.add(v)
    if a or b:
        assert intset_union(one, other) == both.data


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", 0),
        (struct.pack("<I", 2), 0),
        (struct.pack("<IIh", 3, 1, 1), 0),
        (struct.pack("<IIh", 0, 1, 1), 0),
        (struct.pack("<II", 2, 0), 4),
        (struct.pack("<IIh", 2, 2, 1), 4),
        (struct.pack("<IIhh", 2, 1, 1, 2), 4),
        (struct.pack("<IIhb", 2, 1, 1, 2), 4),
        (struct.pack("<IIhb", 2, 2, 1, 2), 4),
        (struct.pack("<IIq", 8, 0x20000001, 1), 4),
        (struct.pack("<IIhh", 2, 2, 1, 1), 10),
        (struct.pack("<IIiii", 4, 3, 1, 3, 2), 16),
        (struct.pack("<IIhh", 2, 2, -1, 1), None),
    ],
)
def test_untrusted_intsets(data: bytes, fault: int | None) -> None:
    assert intset_fault(data) == fault


# ---- the old forms -----------------------------------------------------------------------------------


@given(st.lists(texts, max_size=20), st.integers(-1, 20))
def test_ziplists_are_read(elements: list[bytes], long_at: int) -> None:
    values = [element(t) for t in elements]
    data = ziplist(values, long_at)
    assert ziplist_read(data) == values
    assert ziplist_read(data[:8] + b"\xff\xff" + data[10:]) == values


@pytest.mark.parametrize("n", LENGTHS)
def test_ziplists_with_long_strings(n: int) -> None:
    assert ziplist_read(ziplist([b"s" * n, 1, b"t"])) == [b"s" * n, 1, b"t"]


@pytest.mark.parametrize("value", INT64)
def test_ziplists_with_integers(value: int) -> None:
    assert ziplist_read(ziplist([value, b"t"])) == [value, b"t"]


def test_a_ziplist_as_redis_wrote_it() -> None:
    """The example of the format's description: the elements 2 and 5."""
    assert ziplist_read(bytes.fromhex("0f0000000c000000020000f302f6ff")) == [2, 5]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", 0),
        (ziplist([1])[:-1], 0),
        (ziplist([1])[:-1] + b"\xfe", 12),
        (ziplist([1, 2])[:4] + b"\x0a" + ziplist([1, 2])[5:], 4),
        (ziplist([1, 2])[:8] + b"\x01" + ziplist([1, 2])[9:], 8),
        (ziplist([1, 2])[:12] + b"\x03" + ziplist([1, 2])[13:], 12),
        (ziplist([1, b"ab"])[:13] + b"\x03" + ziplist([1, b"ab"])[14:], 12),
        (ziplist([1])[:11] + b"\xff\xff", 10),
        (ziplist([1])[:11] + b"\xc1\xff", 10),
        (ziplist([1])[:11] + b"\x80\xff", 10),
    ],
)
def test_faults_of_ziplists(data: bytes, fault: int) -> None:
    assert ziplist_read(data) == fault


@given(st.lists(st.tuples(texts, texts), max_size=20), st.integers(0, 3))
def test_zipmaps_are_read(pairs: list[tuple[bytes, bytes]], unused: int) -> None:
    data = zipmap(pairs, unused)
    assert zipmap_read(data) == pairs
    assert zipmap_read(b"\xfe" + data[1:]) == pairs
    assert zipmap_read(bytes([len(pairs) + 1]) + data[1:]) == 0


def test_zipmaps_with_many_pairs() -> None:
    pairs = [(b"%d" % i, b"v" * i) for i in range(300)]
    assert zipmap_read(zipmap(pairs)) == pairs


@given(st.lists(texts, min_size=2, max_size=8), st.data())
def test_damaged_old_forms(elements: list[bytes], data: st.DataObject) -> None:
    """Whatever passes can be read inside its bytes (which the sanitizers see)."""
    for whole, read in (
        (ziplist([element(t) for t in elements]), ziplist_read),
        (zipmap([(elements[0], elements[1])] * 2, 2), zipmap_read),
    ):
        damaged = bytearray(whole)
        for _ in range(data.draw(st.integers(1, 3))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        found = read(bytes(damaged))
        assert isinstance(found, list) or found < len(damaged)
        cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
        assert isinstance(read(cut), int)


@given(st.binary(min_size=16, max_size=16), st.integers(0, 255))
def test_sixteen_bytes_at_once(data: bytes, tag: int) -> None:
    data = data[:9] + bytes([tag]) + data[10:]
    expected = sum(1 << i for i, b in enumerate(data) if b == tag)
    assert match16(data, tag) == (expected, expected)
