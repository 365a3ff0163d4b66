"""Where sorted sets lie: in the entry, in a blob, in a table with its order; and what that costs."""

from __future__ import annotations

import random

import pytest

from cachefleet_server.engine import Engine
from fleettest.forms import KEY_SIZES, expire_all, grow_and_shrink, move_about, two_keys, used

pytestmark = pytest.mark.unit


def whole(engine: Engine, key: bytes) -> list[bytes]:
    found = engine.execute(b"ZRANGE", key, b"0", b"-1")
    assert isinstance(found, list)
    return found


def scored(members: list[bytes]) -> list[bytes]:
    return [word for i, member in enumerate(members) for word in (b"%d" % i, member)]


@pytest.mark.parametrize("size", KEY_SIZES)
def test_keys_of_all_lengths(engine: Engine, size: int) -> None:
    """A sorted set in its entry survives a longer and a shorter key, an expiry that comes and goes, and growing."""
    key, other = two_keys(size)
    for count in (1, 10, 100, 900):
        members = [b"%d" % i for i in range(count)]
        engine.execute(b"DEL", key, other)
        engine.execute(b"ZADD", key, *scored(members))
        move_about(engine, key, other)
        assert whole(engine, key) == whole(engine, other) == members
        engine.execute(b"ZADD", other, b"-1", b"first")
        engine.execute(b"ZREM", key, b"0")
        assert whole(engine, other) == [b"first", *members]
        assert whole(engine, key) == members[1:]


@pytest.mark.parametrize("size", [3, 60, 300])
def test_growing_and_shrinking_gives_memory_back(engine: Engine, size: int) -> None:
    def member(i: int) -> bytes:
        return b"%d" % i + b"v" * size

    grow_and_shrink(
        engine, 500, lambda i: (b"ZADD", b"k", b"%d" % (i % 7), member(i)), lambda i: (b"ZREM", b"k", member(i))
    )


def test_what_a_member_costs(engine: Engine) -> None:
    before = used(engine)
    for i in range(1000):
        engine.execute(b"ZADD", b"key:%03d" % i, *scored([b"member:%03d" % j for j in range(10)]))
    assert used(engine) - before < 1000 * 200  # small ones; Valkey: 240
    engine.execute(b"FLUSHALL", b"SYNC")
    before = used(engine)
    for i in range(0, 100_000, 100):
        pairs = scored([b"member:%013d" % j for j in range(i, i + 100)])
        engine.execute(b"ZADD", b"k", *pairs)
    assert used(engine) - before < 100_000 * 60  # 20 bytes and a score; Valkey: 80


def test_random_changes_against_a_dict(engine: Engine, rng: random.Random) -> None:
    """Both forms, scores that tie, and every order of members."""
    for members in (60, 3000):
        expected: dict[bytes, float] = {}
        for step in range(4000):
            member = b"m%d" % rng.randrange(members)
            score = float(rng.choice((rng.randrange(5), rng.randrange(1000), rng.random())))
            if rng.random() < 0.7:
                assert engine.execute(b"ZADD", b"k", repr(score).encode(), member) == (member not in expected)
                expected[member] = score
            else:
                assert engine.execute(b"ZREM", b"k", member) == (expected.pop(member, None) is not None)
            assert step % 500 or engine.check() == []
        ordered = sorted(expected, key=lambda m: (expected[m], m))
        assert whole(engine, b"k") == ordered
        assert engine.execute(b"ZREVRANGE", b"k", b"0", b"-1") == ordered[::-1]
        for rank in range(0, len(ordered), 7):
            assert engine.execute(b"ZRANK", b"k", ordered[rank]) == rank
        while ordered:
            first = rng.randrange(len(ordered))
            count = rng.randrange(1, 200)
            gone = ordered[first : first + count]
            last = b"%d" % (first + count - 1)
            assert engine.execute(b"ZREMRANGEBYRANK", b"k", b"%d" % first, last) == len(gone)
            del ordered[first : first + count]
            assert whole(engine, b"k") == ordered
            assert engine.check() == []


def test_expiry_frees_both_forms(engine: Engine) -> None:
    before = used(engine)
    for i in range(100):
        engine.execute(b"ZADD", b"k%d" % i, *scored([b"v%d" % j for j in range(5 if i % 2 else 2000)]))
    expire_all(engine, before)


@pytest.mark.parametrize("form", [b"a", b"a" * 65], ids=["listpack", "skiplist"])
def test_an_offset_below_zero_leaves_nothing(engine: Engine, form: bytes) -> None:
    engine.execute(b"ZADD", b"k", b"1", form, b"2", b"b", b"3", b"c")
    for words in ((b"ZRANGEBYSCORE", b"k", b"1", b"3"), (b"ZREVRANGEBYSCORE", b"k", b"3", b"1"),
                  (b"ZRANGEBYLEX", b"k", b"-", b"+"), (b"ZREVRANGEBYLEX", b"k", b"+", b"-")):  # fmt: skip
        for offset in (b"-1", b"-2", b"-9", b"-9223372036854775808"):
            for count in (b"1", b"-1"):
                assert engine.execute(*words, b"LIMIT", offset, count) == []
