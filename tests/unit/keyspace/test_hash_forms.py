"""Where hashes lie: in the entry, in a blob, in a table, shared with snapshots; and what that costs."""

from __future__ import annotations

import pytest

from cachefleet_server.engine import Engine
from fleettest.forms import KEY_SIZES, expire_all, grow_and_shrink, move_about, two_keys, used

pytestmark = pytest.mark.unit


def whole(engine: Engine, key: bytes) -> dict[bytes, bytes]:
    found = engine.execute(b"HGETALL", key)
    assert isinstance(found, list)
    return dict(zip(found[::2], found[1::2], strict=True))


def flat(fields: dict[bytes, bytes]) -> list[bytes]:
    return [word for pair in fields.items() for word in pair]


@pytest.mark.parametrize("size", KEY_SIZES)
def test_keys_of_all_lengths(engine: Engine, size: int) -> None:
    """A hash of any form survives a longer and a shorter key, an expiry that comes and goes, and changes of form."""
    key, other = two_keys(size)
    for count in (1, 10, 100, 512, 900):
        fields = {b"f%d" % i: b"%d" % i for i in range(count)}
        engine.execute(b"DEL", key, other)
        engine.execute(b"HSET", key, *flat(fields))
        move_about(engine, key, other)
        assert whole(engine, key) == whole(engine, other) == fields
        engine.execute(b"HSET", other, b"new", b"x" * 60)
        engine.execute(b"HDEL", key, b"f0")
        assert whole(engine, other) == {**fields, b"new": b"x" * 60}
        assert whole(engine, key) == {name: value for name, value in fields.items() if name != b"f0"}


@pytest.mark.parametrize("size", [3, 60, 5000])
def test_growing_and_shrinking_gives_memory_back(engine: Engine, size: int) -> None:
    def name(i: int) -> bytes:
        return b"f%d" % i

    grow_and_shrink(engine, 700, lambda i: (b"HSET", b"k", name(i), b"v" * size), lambda i: (b"HDEL", b"k", name(i)))


def test_a_small_hash_costs_its_bytes(engine: Engine) -> None:
    fields = {b"field:%d" % i: b"0123456789" for i in range(10)}
    before = used(engine)
    for i in range(1000):
        engine.execute(b"HSET", b"key:%03d" % i, *flat(fields))
    assert used(engine) - before < 1000 * (8 + 7 + 3 + 10 * (8 + 11) + 40)


def test_values_of_other_lengths_in_a_table(engine: Engine) -> None:
    engine.execute(b"HSET", b"k", *(b"f%d" % (i // 2) for i in range(1200)))
    for size in (0, 1, 12, 13, 253, 254, 1000, 70_000, 5, 300, 0):
        assert engine.execute(b"HSET", b"k", b"f5", b"v" * size) == 0
        assert engine.execute(b"HGET", b"k", b"f5") == b"v" * size
        assert engine.check() == []
    assert engine.execute(b"HLEN", b"k") == 600


def test_expiry_frees_hashes_of_all_forms(engine: Engine) -> None:
    before = used(engine)
    for i in range(100):
        engine.execute(b"HSET", b"k%d" % i, *(b"%d" % (n // 2) for n in range((10, 800, 4000)[i % 3])))
    expire_all(engine, before)
