"""HyperLogLog strings against registers in Python, and broken strings. What Valkey makes: tests/differential."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_server.ds._testing_hllgeo import Corrupt, Hll, hll_hash_of, hll_kernels, hll_place, hll_union, selftest
from fleettest.examples import examples

pytestmark = pytest.mark.unit

REGISTERS, HEADER, DENSE_BYTES, RANK_MAX = 16384, 16, 12304, 51
HEAD_SPARSE, HEAD_DENSE = b"HYLL\1" + bytes(11), b"HYLL" + bytes(12)
UINT64 = 2**64 - 1
ranks = st.one_of(st.integers(1, 4), st.integers(1, RANK_MAX))
# Near each other, so that runs meet; and at both ends.
indexes = st.one_of(st.integers(0, 30), st.integers(100, 260), st.integers(REGISTERS - 70, REGISTERS - 1))
limits = st.sampled_from([0, 18, 30, 100, 3000, 100_000])


def murmur64(data: bytes, seed: int = 0xADC83B19) -> int:
    mix = 0xC6A4A7935BD1E995
    h = seed ^ len(data) * mix & UINT64
    for at in range(0, len(data) - 7, 8):
        k = int.from_bytes(data[at : at + 8], "little") * mix & UINT64
        h = (h ^ (k ^ k >> 47) * mix & UINT64) * mix & UINT64
    if rest := data[len(data) & ~7 :]:
        h = (h ^ int.from_bytes(rest, "little")) * mix & UINT64
    h = (h ^ h >> 47) * mix & UINT64
    return h ^ h >> 47


def estimate(registers: bytes) -> int:
    """Ertl's estimator, written down a second time."""
    counts, m = Counter(registers), float(REGISTERS)

    def sigma(x: float) -> float:
        if x == 1:
            return math.inf
        z, before, weight = x, -1.0, 1.0
        while z != before:
            before, x = z, x * x
            z, weight = z + x * weight, 2 * weight
        return z

    def tau(x: float) -> float:
        if x in (0, 1):
            return 0.0
        z, before, weight = 1 - x, -1.0, 1.0
        while z != before:
            before, x, weight = z, math.sqrt(x), weight / 2
            z -= (1 - x) ** 2 * weight
        return z / 3

    z = m * tau((m - counts[RANK_MAX]) / m)
    for rank in range(RANK_MAX - 1, 0, -1):
        z = (z + counts[rank]) * 0.5
    z += m * sigma(counts[0] / m)
    return math.floor(0.721347520444481703680 * m * m / z + 0.5)


def decode(runs: bytes) -> bytes | None:
    """All registers, or None: broken."""
    out, at = bytearray(), 0
    while at < len(runs):
        code = runs[at]
        if code & 0x80:
            out += bytes([(code >> 2 & 31) + 1]) * ((code & 3) + 1)
        elif code & 0x40:
            at += 1
            if at == len(runs):
                return None
            out += bytes(((code & 63) << 8 | runs[at]) + 1)
        else:
            out += bytes(code + 1)
        at += 1
    return bytes(out) if len(out) == REGISTERS else None


def filled(registers: Sequence[tuple[int, int]], sparse_max: int = 3000) -> Hll:
    one = Hll()
    for index, rank in registers:
        one.set(index, rank, sparse_max)
    return one


def raw_of(registers: Sequence[tuple[int, int]]) -> bytes:
    raw = bytearray(REGISTERS)
    for index, rank in registers:
        raw[index] = max(raw[index], rank)
    return bytes(raw)


@given(st.binary(max_size=40))
def test_hash(data: bytes) -> None:
    h = murmur64(data)
    assert hll_hash_of(data) == h
    index, rank = hll_place(data)
    assert index == h % REGISTERS
    rest = h // REGISTERS
    assert rank == (RANK_MAX if rest == 0 else (rest & -rest).bit_length())


def test_new_one() -> None:
    one = Hll()
    assert bytes(one) == HEAD_SPARSE + b"\x7f\xff"
    assert (one.check(), one.cached(), one.count_anew(), one.runs()) == (0, 0, 0, "Z:16384")


@given(st.lists(st.tuples(indexes, ranks), max_size=40), limits)
@examples(100)
def test_registers_are_the_model_s_after_each_step(steps: list[tuple[int, int]], sparse_max: int) -> None:
    one, model = Hll(), bytearray(REGISTERS)
    for index, rank in steps:
        before, was_dense = bytes(one), one.dense
        changed = one.set(index, rank, sparse_max)
        assert changed == (rank > model[index])
        model[index] = max(model[index], rank)
        assert one.check() == 0
        assert one.dense >= was_dense
        if changed:
            assert one.cached() is None
        else:
            assert bytes(one) == before
        if not one.dense:
            assert decode(bytes(one)[HEADER:]) == model
            assert len(bytes(one)) <= max(sparse_max, len(before))
            assert max(model) <= 32
    assert one.registers() == model
    assert one.count_anew() == estimate(bytes(model))


@given(st.lists(st.tuples(st.integers(0, REGISTERS - 1), st.integers(1, 32)), max_size=200))
@examples(25)
def test_many_runs_of_all_kinds(steps: list[tuple[int, int]]) -> None:
    """Long enough that runs are skipped eight at a time."""
    one = filled(steps, 100_000)
    assert not one.dense
    assert decode(bytes(one)[HEADER:]) == raw_of(steps)
    assert one.to_dense().registers() == raw_of(steps)


@given(st.dictionaries(indexes, st.integers(1, 32)), st.lists(st.tuples(indexes, ranks)), limits)
@examples(100)
def test_a_cursor_changes_nothing(start: dict[int, int], steps: list[tuple[int, int]], sparse_max: int) -> None:
    a, b = filled(list(start.items()), 100_000), filled(list(start.items()), 100_000)
    ascending = sorted(dict(steps).items())
    for index, rank in ascending:
        a.set(index, rank, sparse_max)
    b.set_ascending(ascending, sparse_max)
    assert bytes(a) == bytes(b)


@pytest.mark.parametrize(
    ("steps", "runs"),
    [
        ([(0, 1)], "v:1,1 Z:16383"),
        ([(16383, 1)], "Z:16383 v:1,1"),
        ([(64, 5)], "z:64 v:5,1 Z:16319"),
        ([(65, 5)], "Z:65 v:5,1 Z:16318"),
        ([(5, 3), (6, 3)], "z:5 v:3,2 Z:16377"),
        ([(6, 3), (5, 3)], "z:5 v:3,2 Z:16377"),
        ([(5, 3), (7, 3), (6, 3)], "z:5 v:3,3 Z:16376"),
        ([(i, 2) for i in range(6)], "v:2,4 v:2,2 Z:16378"),
        ([(i, 2) for i in range(5, -1, -1)], "v:2,2 v:2,4 Z:16378"),
        ([(i, 2) for i in range(4)] + [(1, 3)], "v:2,1 v:3,1 v:2,2 Z:16380"),
    ],
)
def test_runs_by_hand(steps: list[tuple[int, int]], runs: str) -> None:
    assert filled(steps).runs() == runs


def test_promotion() -> None:
    steps = [(i * 100, 1) for i in range(20)]
    size = len(bytes(filled(steps)))
    more = (1999, 1)  # in the middle of the last run
    assert not filled([*steps, more], size + 3).dense
    assert filled([*steps, more], size + 2).dense
    assert filled([*steps, (0, 2)], 0).dense  # each step grows
    assert filled([(0, 32)], 100).dense is False
    dense = filled([(0, 33)], 100)
    assert dense.dense
    assert len(bytes(dense)) == DENSE_BYTES


def test_to_dense_keeps_the_cached_count() -> None:
    one = filled([(1, 2), (7, 3)])
    assert one.cached() is None
    count = one.count()
    assert one.to_dense().cached() == one.cached() == count
    assert bytes(one.to_dense().to_dense()) == bytes(one.to_dense())


def test_vectors_and_plain_loops_agree(rng: random.Random) -> None:
    for _ in range(8):
        top = rng.choice([2, 20, 64])
        raw, other = (bytes(rng.randrange(top) for _ in range(REGISTERS)) for _ in range(2))
        packed = sum(v << 6 * i for i, v in enumerate(other)).to_bytes(DENSE_BYTES - HEADER, "little")
        both = bytes(map(max, raw, other))
        merged = sum(v << 6 * i for i, v in enumerate(both)).to_bytes(DENSE_BYTES - HEADER, "little")
        counts = Counter(both)
        for found in hll_kernels(raw, other):
            assert found == (both, packed, merged, [counts[v] for v in range(64)])


def test_counts_are_near_and_equal_to_the_formula_s(rng: random.Random) -> None:
    one, raw, n = Hll(), bytearray(REGISTERS), 0
    for target in (1, 10, 100, 1000, 5000, 20_000, 100_000):
        while n < target:
            element = rng.randbytes(10)
            index, rank = hll_place(element)
            raw[index] = max(raw[index], rank)
            one.add(element)
            n += 1
        assert one.count_anew() == estimate(bytes(raw)) == hll_union([one]) == hll_union([one.to_dense(), Hll()])
        assert abs(one.count_anew() - n) <= 5 * 0.0081 * n + 1


@given(st.lists(st.lists(st.tuples(indexes, ranks), max_size=15), min_size=1, max_size=4), limits, st.booleans())
@examples(80)
def test_merging(parts: list[list[tuple[int, int]]], sparse_max: int, dense: bool) -> None:
    target, *sources = [filled(part) for part in parts]
    if dense:
        sources.append(filled([(3, 1)], 0))
        parts = [*parts, [(3, 1)]]
    raw = raw_of([step for part in parts for step in part])
    union = hll_union([target, *sources])
    any_dense = any(one.dense for one in [target, *sources])
    target.merge(sources, sparse_max)
    assert target.check() == 0
    assert target.registers() == raw
    assert target.cached() is None
    assert target.count() == union == estimate(raw)
    assert target.dense >= any_dense


def test_registers_that_no_elements_can_set() -> None:
    """The count does not fit; peers show -2^63."""
    assert Hll(HEAD_DENSE + b"\xff" * (DENSE_BYTES - HEADER)).count_anew() == 1 << 63


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", 1),
        (HEAD_SPARSE[:15], 1),
        (b"HYLl" + HEAD_SPARSE[4:] + b"\x7f\xff", 2),
        (b"HYLL\2" + HEAD_SPARSE[5:] + b"\x7f\xff", 3),
        (HEAD_DENSE, 4),
        (HEAD_DENSE + bytes(DENSE_BYTES - HEADER - 1), 4),
        (HEAD_DENSE + bytes(DENSE_BYTES - HEADER + 1), 4),
        (HEAD_DENSE + bytes(DENSE_BYTES - HEADER), 0),
        (HEAD_SPARSE + b"\x7f", 5),
        (HEAD_SPARSE + b"\x7f\xff\x00", 6),
        (HEAD_SPARSE + b"\x7f\xff\x40", 5),
        (HEAD_SPARSE + b"\x7f\xfe", 7),
        (HEAD_SPARSE, 7),
        (HEAD_SPARSE + b"\x7f\xfe\x84", 0),
        (HEAD_SPARSE + b"\x40\x00" * REGISTERS, 0),
    ],
)
def test_rules(data: bytes, rule: int) -> None:
    one = Hll(data)
    assert one.check() == rule
    assert one.valid_header == (rule == 0 or rule > 4)


def survives(one: Hll, index: int, rank: int, sparse_max: int) -> None:
    """Everything on a string that may be broken: no crash, and no answer where all of it is read."""
    sound = one.check() == 0
    registers = decode(bytes(one)[HEADER:]) if not one.dense else one.registers()
    assert sound == (registers is not None)
    for read in (one.count_anew, one.registers, one.to_dense, lambda: hll_union([one])):
        try:
            read()
            assert sound
        except Corrupt:
            assert not sound
    try:
        one.set(index, rank, sparse_max)
        if sound:
            assert one.check() == 0
    except Corrupt:
        assert not sound


runs = st.one_of(
    st.binary(min_size=1, max_size=1),
    st.sampled_from([b"\x7f\xff", b"\x7f", b"\x40\x00", b"\x3f", b"\x83", b"\x5f\xff"]),
)


@given(st.lists(runs, max_size=60).map(b"".join), indexes, ranks, limits)
@examples(200)
def test_garbage(data: bytes, index: int, rank: int, sparse_max: int) -> None:
    """Under the address sanitizer this proves the bounds."""
    survives(Hll(HEAD_SPARSE + data), index, rank, sparse_max)


def test_damaged_strings(rng: random.Random) -> None:
    for _ in range(500):
        steps = [(rng.randrange(REGISTERS), rng.randrange(1, 33)) for _ in range(rng.randrange(200))]
        data = bytearray(bytes(filled(steps)))
        for _ in range(rng.randrange(3)):
            data[rng.randrange(HEADER, len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(HEADER, len(data)) :]
        survives(Hll(bytes(data)), rng.randrange(REGISTERS), rng.randrange(1, 52), rng.choice([0, 500, 100_000]))


def test_selftest(rng: random.Random) -> None:
    assert selftest(rng.randrange(2**64)) == 0
