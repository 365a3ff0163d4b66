"""Packs against dicts and sorted lists: any mix of changes, across the sizes at which an index comes and goes.

`check()` runs after every step. Few names make it likely that a name is met again; names of many lengths, integers
among them, make all codes meet. Offsets of 4 bytes have tests of their own, since they begin at 64 KB.
"""

from __future__ import annotations

import bisect
import contextlib
import math
import random
import struct
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cachefleet_server.ds._testing_pack import HASH, SET, ZSET, Pack, listpack, listpack_read, pack_of_listpack
from fleettest.examples import examples

pytestmark = pytest.mark.unit

OK, MALFORMED, DUPLICATE, TOO_LARGE = range(4)
KEYS_MAX = 65535
NUMBERS = st.integers(0, 90)
SCORES = st.one_of(
    st.integers(-5, 5).map(float),
    st.sampled_from([-0.0, 0.5, -0.5, 1e300, math.inf, -math.inf, 2.0**53, 2.0**63, -(2.0**63), 5e-324, 1e18]),
    st.floats(allow_nan=False),
)


def name_of(number: int) -> bytes:
    """Texts of many lengths, integers of many sizes."""
    if number % 3 == 0:
        return b"%d" % ((-7) ** (number // 3 % 20) + number)
    return b"n" * (number * number % 150) + b"%d" % number + b"x" * (number % 2)


def scored(pair: tuple[bytes, float]) -> tuple[float, bytes]:
    return pair[1], pair[0]


class Kept(RuleBasedStateMachine):
    """What hashes, sets and sorted sets have in common; the model is the list of pairs in their order."""

    kind = HASH

    def __init__(self) -> None:
        super().__init__()
        self.pack = Pack(self.kind)
        self.pairs: list[tuple[bytes, object]] = []

    def place(self, key: bytes) -> int | None:
        return next((i for i, (k, _) in enumerate(self.pairs) if k == key), None)

    def put(self, number: int, value: int) -> None:
        raise NotImplementedError

    @initialize(n=st.integers(0, 40))
    def start(self, n: int) -> None:
        for number in range(n):
            self.put(number, number)

    @rule(number=NUMBERS, value=NUMBERS)
    def put_one(self, number: int, value: int) -> None:
        self.put(number, value)

    @rule(number=NUMBERS)
    def remove(self, number: int) -> None:
        place = self.place(name_of(number))
        assert self.pack.remove(name_of(number)) == (place is not None)
        if place is not None:
            del self.pairs[place]

    @precondition(lambda self: self.pairs)
    @rule(a=NUMBERS, n=st.integers(0, 30))
    def remove_range(self, a: int, n: int) -> None:
        a %= len(self.pairs)
        n = min(n, len(self.pairs) - a)
        self.pack.remove_range(a, n)
        del self.pairs[a : a + n]

    @rule(number=NUMBERS)
    def find(self, number: int) -> None:
        place = self.place(name_of(number))
        assert self.pack.find(name_of(number)) == (None if place is None else (place, self.pairs[place][1]))

    @rule(a=NUMBERS)
    def back(self, a: int) -> None:
        if self.pairs:
            a %= len(self.pairs)
            assert self.pack.back(a) == self.pairs[a::-1]

    @rule()
    def through_a_listpack(self) -> None:
        again = pack_of_listpack(self.pack.listpack(), self.kind)
        assert isinstance(again, Pack)
        assert again.data == self.pack.data

    @invariant()
    def same(self) -> None:
        self.pack.check()
        assert len(self.pack) == len(self.pairs)
        assert self.pack.items() == self.pairs
        assert [self.pack.at(i) for i in range(len(self.pairs))] == self.pairs
        texts = [k for k, _ in self.pairs] + [v for _, v in self.pairs if isinstance(v, bytes)]
        assert self.pack.longest == max(map(len, texts), default=0)


class Hash(Kept):
    kind = HASH

    def put(self, number: int, value: int) -> None:
        key = name_of(number)
        place = self.place(key)
        assert self.pack.put(key, name_of(value))
        if place is None:
            self.pairs.append((key, name_of(value)))
        else:
            self.pairs[place] = (key, name_of(value))


class Set(Kept):
    kind = SET

    def put(self, number: int, value: int) -> None:
        key = name_of(number)
        assert self.pack.put(key, None)
        if self.place(key) is None:
            self.pairs.append((key, None))


class SortedSet(Kept):
    kind = ZSET
    scores: list[tuple[bytes, float]]

    def put(self, number: int, value: int) -> None:
        self.score(number, float(value % 7))

    @rule(number=NUMBERS, score=SCORES)
    def score(self, number: int, score: float) -> None:
        key = name_of(number)
        place = self.place(key)
        if place is not None:
            del self.pairs[place]
        assert self.pack.score(key, score)
        self.pairs.append((key, score + 0.0))
        self.pairs.sort(key=scored)  # type: ignore[arg-type]
        found = self.pack.find(key)
        assert found is not None
        assert isinstance(found[1], float)
        assert math.copysign(1, found[1]) == math.copysign(1, score or 1)

    @rule(score=SCORES)
    def bounds(self, score: float) -> None:
        scores = [v for _, v in self.pairs]
        assert self.pack.score_bound(score, False) == bisect.bisect_left(scores, score)  # type: ignore[type-var]
        assert self.pack.score_bound(score, True) == bisect.bisect_right(scores, score)  # type: ignore[type-var]


BUDGET = examples(20, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow])
TestHash = Hash.TestCase
TestHash.settings = BUDGET
TestSet = Set.TestCase
TestSet.settings = BUDGET
TestSortedSet = SortedSet.TestCase
TestSortedSet.settings = BUDGET


# ---- sizes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [HASH, SET, ZSET])
def test_growing_and_shrinking(kind: int, rng: random.Random) -> None:
    """Every count from 0 to 70 and back, in any order of keys."""
    pack, left = Pack(kind), list(range(70))
    rng.shuffle(left)
    for n, number in enumerate(left, 1):
        if kind == ZSET:
            assert pack.score(b"%x" % number, float(number))
        else:
            assert pack.put(b"%x" % number, b"v" if kind == HASH else None)
        pack.check()
        assert len(pack) == n
    while left:
        number = left.pop(rng.randrange(len(left)))
        assert pack.remove(b"%x" % number)
        pack.check()
        assert {key for key, _ in pack.items()} == {b"%x" % k for k in left}
    assert pack.data == bytes([0, 0, kind])


def wide_pack(kind: int, rng: random.Random, keys: int) -> tuple[Pack, dict[bytes, object]]:
    pack, model = Pack(kind), dict[bytes, object]()
    for i in range(keys):
        key = b"k%d" % i + b"y" * rng.randrange(200)
        if kind == ZSET:
            model[key] = float(rng.randrange(50))
            assert pack.score(key, model[key])
        else:
            model[key] = bytes(300)
            assert pack.put(key, bytes(300))
    return pack, model


@pytest.mark.parametrize("kind", [HASH, ZSET])
def test_offsets_above_64_kb(kind: int, rng: random.Random) -> None:
    """Back and forth over the border: each change may make offsets wider or narrower."""
    pack, model = wide_pack(kind, rng, 160 if kind == HASH else 620)
    widths = set()
    for step in range(300):
        key = rng.choice(list(model))
        if rng.random() < (0.7 if pack.data[2] >> 2 else 0.4):
            assert pack.remove(key)
            del model[key]
        elif kind == ZSET:
            key = rng.choice([key, b"new%d" % step + b"z" * 300])
            model[key] = rng.choice([float(rng.randrange(50)), rng.random()])
            assert pack.score(key, model[key])
        else:
            key = rng.choice([key, b"new%d" % step])
            model[key] = bytes(rng.randrange(1500))
            assert pack.put(key, model[key])  # type: ignore[arg-type]
        widths.add(pack.data[2] >> 2)
        pack.check()
        assert dict(pack.items()) == model
    assert widths == {0, 1}
    again = pack_of_listpack(pack.listpack(), kind)
    assert isinstance(again, Pack)
    assert again.data == pack.data


def test_a_range_goes_anywhere(rng: random.Random) -> None:
    for _ in range(150):
        n = rng.randrange(1, 100)
        pack = Pack(SET)
        for i in range(n):
            pack.put(b"m%d" % i, None)
        a = rng.randrange(n)
        k = rng.randrange(n - a + 1)
        pack.remove_range(a, k)
        pack.check()
        assert [key for key, _ in pack.items()] == [b"m%d" % i for i in range(n) if not a <= i < a + k]


def test_limits() -> None:
    lp = listpack([b"%d" % i for i in range(KEYS_MAX)])
    pack = pack_of_listpack(lp, SET)
    assert isinstance(pack, Pack)
    pack.check()
    assert len(pack) == KEYS_MAX
    assert pack.put(b"77", None)
    assert not pack.put(b"new", None)
    assert pack.find(b"65534") == (65534, None)
    assert pack.remove(b"3")
    assert pack.put(b"new", None)
    pack.check()
    assert pack_of_listpack(listpack([b"%d" % i for i in range(KEYS_MAX + 1)]), SET) == TOO_LARGE


def test_a_gigabyte_and_no_more() -> None:
    pack = Pack(HASH)
    most = (1 << 30) - len(pack.data) - len(b"\x81a") - 5
    assert pack.fits(b"a", most) == 1 << 30
    for n in (most + 1, 1 << 30, 1 << 32, (1 << 32) + 21, 1 << 62, (1 << 64) - 8):
        assert pack.fits(b"a", n) == 0
    pack.put(b"a", b"b" * 100)
    assert pack.fits(b"c", most - 104) == 1 << 30
    assert pack.fits(b"c", most - 103) == 0


def test_keys_whose_tags_are_equal_are_told_apart() -> None:
    """Eight bits: among 2000 names there are many."""
    pack = Pack(HASH)
    for i in range(2000):
        pack.put(b"key:%05d" % i, b"%d" % i)
    for i in range(2000):
        assert pack.find(b"key:%05d" % i) == (i, b"%d" % i)
    assert pack.find(b"key:02000") is None


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("n", [0, 1, 7, 15, 16, 17, 100])
def test_bounds_by_bytes(n: int, after: bool, rng: random.Random) -> None:
    """Members that are integers sort as text."""
    pack, members = Pack(ZSET), {b"%d" % rng.randrange(300) + b"ab"[: rng.randrange(3)] for _ in range(n)}
    for member in members:
        pack.score(member, 0)
    pack.check()
    ordered = sorted(members)
    bound = bisect.bisect_right if after else bisect.bisect_left
    for probe in [*members, b"", b"\xff", *(b"%d" % rng.randrange(300) for _ in range(50))]:
        assert pack.lex_bound(probe, after) == bound(ordered, probe)


# ---- listpacks ---------------------------------------------------------------------------------------


def flat(pairs: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    return [text for pair in pairs for text in pair]


@given(st.dictionaries(NUMBERS.map(name_of), NUMBERS.map(name_of), max_size=40))
def test_a_hash_from_and_to_a_listpack(pairs: dict[bytes, bytes]) -> None:
    lp = listpack(list(flat(pairs.items())))
    pack = pack_of_listpack(lp, HASH)
    assert isinstance(pack, Pack)
    pack.check()
    assert pack.items() == list(pairs.items())
    assert pack.listpack() == lp


@given(st.lists(st.tuples(NUMBERS.map(name_of), SCORES), max_size=40, unique_by=lambda pair: pair[0]))
def test_a_sorted_set_is_sorted_if_need_be(pairs: list[tuple[bytes, float]]) -> None:
    lp = listpack(flat((m, repr(s).encode() if s % 1 or math.isinf(s) else b"%d" % s) for m, s in pairs))
    pack = pack_of_listpack(lp, ZSET)
    assert isinstance(pack, Pack)
    pack.check()
    assert pack.items() == sorted(((m, s + 0.0) for m, s in pairs), key=scored)


@pytest.mark.parametrize("n", [2, 15, 16, 200])
@pytest.mark.parametrize("kind", [HASH, SET, ZSET])
def test_equal_keys_are_refused(kind: int, n: int, rng: random.Random) -> None:
    """However each of them is encoded."""
    keys: list[bytes | tuple[bytes]] = [b"%d" % i for i in range(n)]
    a, b = sorted(rng.sample(range(n), 2))
    for twin in (keys[a], (keys[a],)):
        doubled = [*keys[:b], twin, *keys[b + 1 :]]
        elements = doubled if kind == SET else [e for key in doubled for e in (key, b"1")]
        assert pack_of_listpack(listpack(list(elements)), kind) == DUPLICATE
    elements = keys if kind == SET else [e for key in keys for e in (key, b"1")]
    assert isinstance(pack_of_listpack(listpack(list(elements)), kind), Pack)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", SET),
        (listpack([1])[:-1], SET),
        (listpack([1]), HASH),
        (listpack([1, 2, 3]), ZSET),
        (listpack([1, b"x"]), ZSET),
        (listpack([1, b"nan"]), ZSET),
        (listpack([1, b""]), ZSET),
        (listpack([1, b"1 "]), ZSET),
        (listpack([1, b"1e999"]), ZSET),
    ],
)
def test_what_is_malformed_is_refused(data: bytes, kind: int) -> None:
    assert pack_of_listpack(data, kind) == MALFORMED


@pytest.mark.parametrize(
    ("score", "element"),
    [
        (1.5, b"1.5"),
        (-0.0, 0),
        (3.0, 3),
        (-4097.0, -4097),
        (2.0**53, 2**53),
        (math.inf, b"inf"),
        (-math.inf, b"-inf"),
        (0.1, b"0.1"),
        (1e100, b"1e+100"),
    ],
)
def test_scores_in_a_listpack(score: float, element: bytes | int) -> None:
    pack = Pack(ZSET)
    pack.score(b"m", score)
    assert listpack_read(pack.listpack())[0] == [b"m", element]


# ---- check -------------------------------------------------------------------------------------------


def test_check_knows_what_is_wrong() -> None:
    pack = Pack(ZSET)
    for i in range(20):
        pack.score(b"m%02d" % i, i)
    good = pack.data
    end = len(good) - 20 - 4
    damages = {
        1: good[:2] + b"\x0a" + good[3:],
        2: b"\xff\xff" + good[2:],
        3: good[:3] + b"\xe0" + good[4:],
        4: good[:end] + b"\0" + good[end:],
        5: good[:2] + b"\x06" + good[3:end] + bytes(4) + good[end:],
        6: good[:end] + b"\1" + good[end + 1 :],
        7: good[:-1] + bytes([good[-1] ^ 1]),
        9: good[:7] + b"\x05" + good[8:],
    }
    for number, data in damages.items():
        with pytest.raises(AssertionError, match=f"invariant {number} "):
            Pack(ZSET, data).check()
    with pytest.raises(AssertionError, match="invariant 8 "):
        Pack(SET, b"\x02\0\0\x81a\x81a").check()
    nan = b"\x01\0\x02\x81a\xf5" + struct.pack("<d", math.nan)
    integral = b"\x01\0\x02\x81a\xf5" + struct.pack("<d", 2.0)
    for data in (nan, integral, nan[:-1], b"\x01\0\x02\x81a\x811", b"\x01\0\x02\x81a"):
        with pytest.raises(AssertionError, match="invariant 3 "):
            Pack(ZSET, data).check()


@given(st.sampled_from([HASH, SET, ZSET]), st.integers(0, 25), st.data())
@examples(60)
def test_check_survives_any_bytes(kind: int, n: int, data: st.DataObject) -> None:
    """It reads nothing outside (which the sanitizers see)."""
    pack = Pack(kind)
    for i in range(n):
        if kind == ZSET:
            pack.score(name_of(i), i / 2)
        else:
            pack.put(name_of(i), name_of(i) if kind == HASH else None)
    damaged = bytearray(pack.data)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    whole = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    with contextlib.suppress(AssertionError):  # rarely it is a pack all the same
        Pack(kind, whole).check()
