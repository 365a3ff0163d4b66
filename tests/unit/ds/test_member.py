"""Members: every form at every border of its lengths and of its allocation, changed in place and by moving."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_server.ds._testing_btree import HASH, SET, TTL, ZSET, Member

pytestmark = pytest.mark.unit

SLAB_MAX = 512
LENGTHS = (0, 1, 7, 8, 253, 254, 255, 256, 490, 502, 503, 504, 506, 507, 508, 511, 512, 513, 70_000)
FORMS = (SET, HASH, ZSET, SET | TTL, HASH | TTL, ZSET | TTL)


def length_size(n: int) -> int:
    return 1 if n < 254 else 5


def size_of(form: int, key: bytes, value: bytes) -> int:
    size = 8 * bool(form & TTL) + 8 * bool(form & ZSET) + length_size(len(key)) + len(key)
    return size + length_size(len(value)) + len(value) if form & HASH else size


def has(member: Member, form: int, key: bytes, value: bytes, idle: int = 7) -> None:
    assert member.key == key
    if form & HASH:
        assert member.value == value
    assert member.size == size_of(form, key, value) <= member.memory == member.heap_used
    if member.size <= SLAB_MAX:
        assert member.memory <= member.size + idle


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("remote", [False, True])
def test_forms(form: int, remote: bool, rng: random.Random) -> None:
    for n in LENGTHS:
        key, value = rng.randbytes(n), rng.randbytes(rng.choice(LENGTHS))
        member = Member(form, key, value)
        if form & ZSET:
            member.score = -1.5
        if form & TTL:
            member.expiry = -(2**63)
        has(member, form, key, value)
        assert not form & ZSET or member.score == -1.5
        assert not form & TTL or member.expiry == -(2**63)
        assert member.free(remote) == 0


@pytest.mark.parametrize("form", [SET, HASH, ZSET])
def test_an_expiry_comes_and_goes(form: int, rng: random.Random) -> None:
    for n in LENGTHS:
        key, value = rng.randbytes(n), rng.randbytes(9)
        member = Member(form, key, value)
        if form & ZSET:
            member.score = 7.25
        member.set_form(form | TTL)
        member.expiry = 123
        has(member, form | TTL, key, value)
        assert not form & ZSET or member.score == 7.25
        assert member.expiry == 123
        member.set_form(form)
        has(member, form, key, value)
        assert not form & ZSET or member.score == 7.25
        assert member.free(False) == 0


lengths = st.integers(0, 40) | st.integers(240, 270) | st.integers(470, 530) | st.integers(4000, 70_000)


@given(form=st.sampled_from([HASH, HASH | TTL]), key=lengths, values=st.lists(lengths, max_size=20), seed=st.integers())
def test_values_change(form: int, key: int, values: list[int], seed: int) -> None:
    rng = random.Random(seed)
    field = rng.randbytes(key)
    member = Member(form, field, b"")
    if form & TTL:
        member.expiry = 42
    for n in values:
        value = rng.randbytes(n)
        before = member.memory
        stayed = member.set_value(value)
        has(member, form, field, value, idle=before // 8 + 7)
        assert not stayed or member.memory == before
        assert member.memory - member.size <= member.memory / 8 + 24  # malloc rounds, and has a smallest size
        assert not form & TTL or member.expiry == 42
    assert member.free(bool(seed & 1)) == 0


def test_a_value_of_the_same_length_stays_in_place() -> None:
    for n in LENGTHS:
        member = Member(HASH, b"field", b"x" * n)
        assert member.set_value(b"y" * n)
