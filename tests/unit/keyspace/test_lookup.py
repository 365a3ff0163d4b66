"""Lookups: statistics, LRU, and what becomes of expired keys. Overwrites in place."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cachefleet_server.keyspace._testing import Keyspace

from cachefleet_server.engine import Engine

pytestmark = pytest.mark.unit

NOTOUCH, NOSTATS, DELETE, WRITE = 1, 2, 4, 8
CONNECTION, AOF = 0, 3  # core/role.pxd


@pytest.fixture
def ks() -> Iterator[Keyspace]:
    keyspace = Keyspace()
    yield keyspace
    keyspace.check()
    assert keyspace.close() == 0


def test_writes_and_nostats_do_not_count(ks: Keyspace) -> None:
    ks.set(0, b"k", b"v")
    for flags, hits, misses in [(0, 1, 1), (NOSTATS, 1, 1), (WRITE, 1, 1), (NOTOUCH, 2, 2)]:
        assert ks.lookup(0, b"k", flags) == (b"k", b"v", -1)
        assert ks.lookup(0, b"none", flags) is None
        assert (ks.hits, ks.misses) == (hits, misses)


def test_reads_touch_unless_told_not_to(ks: Keyspace) -> None:
    ks.now = 5_000
    ks.set(0, b"k", b"v")
    assert ks.lru(0, b"k") == 5
    ks.now = 9_000
    ks.lookup(0, b"k", NOTOUCH)
    assert ks.lru(0, b"k") == 5
    ks.get(0, b"k")
    assert ks.lru(0, b"k") == 9


def test_expired_keys_are_left_in_place_where_asked(ks: Keyspace) -> None:
    ks.set(0, b"k", b"v", 10)
    ks.now = 11
    ks.set_param("paused_until_ms", 100)
    assert ks.get(0, b"k") is None
    assert ks.lookup(0, b"k", WRITE | DELETE) == (b"k", b"v", 10), "it is there to be deleted"
    assert ks.rows(0) == {b"k": (b"v", 10)}
    ks.set_param("paused_until_ms", 0)
    ks.set_param("role", AOF)
    assert ks.get(0, b"k") == b"v"
    assert ks.lookup(0, b"k", WRITE) == (b"k", b"v", 10)
    ks.set_param("role", CONNECTION)
    assert ks.lookup(0, b"k", WRITE | DELETE) is None
    assert ks.rows(0) == {}


def test_overwriting_with_a_fitting_size_stays_in_place(ks: Keyspace) -> None:
    for size in (0, 1, 63, 64, 900):
        ks.set(0, b"k", b"a" * size)
        address = ks.address(0, b"k")
        used = ks.used
        ks.set(0, b"k", b"b" * size)
        assert (ks.address(0, b"k"), ks.used) == (address, used)
        ks.delete(0, b"k")


def test_numbers_change_in_place(ks: Keyspace) -> None:
    ks.set(0, b"n", b"1")
    address = ks.address(0, b"n")
    for i in range(1000):
        ks.set_int(0, b"n", i * 10**12)
    assert ks.address(0, b"n") == address


def test_dropping_the_expiry_moves_nothing(ks: Keyspace) -> None:
    ks.set(0, b"k", b"v" * 64, 1000)
    address = ks.address(0, b"k")
    ks.expire(0, b"k", -1)
    assert ks.address(0, b"k") == address
    ks.expire(0, b"k", 5000)  # the room of the old expiry is still there
    assert ks.address(0, b"k") == address
    ks.set(0, b"k", b"w" * 64)
    assert ks.address(0, b"k") == address
    assert ks.rows(0) == {b"k": (b"w" * 64, -1)}
    assert ks.expiring(0) == 0


def test_a_much_smaller_value_gives_memory_back(ks: Keyspace) -> None:
    ks.set(0, b"k", b"a" * 1000)
    used = ks.used
    ks.set(0, b"k", b"a")
    assert ks.used < used - 900
    ks.set(0, b"k", b"a" * 100_000)
    used = ks.used
    ks.set(0, b"k", b"a" * 10_000)
    assert ks.used < used - 80_000


def test_append_is_amortised_linear() -> None:
    engine = Engine()
    moves, used = 0, 0
    for _ in range(20_000):
        engine.execute(b"APPEND", b"k", b"0123456789")
        before, used = used, engine.stats()["used_memory"]
        moves += used != before
    assert engine.execute(b"GET", b"k") == b"0123456789" * 20_000
    assert moves < 60
    engine.close()


def test_an_empty_database_is_cheap() -> None:
    few, many = Keyspace(databases=1), Keyspace(databases=17)
    assert many.used - few.used < 16 * 1024
    assert few.close() == many.close() == 0


def test_memory_per_key() -> None:
    """16-byte keys and 64-byte values: at most 112 bytes as the allocator counts them, over a growing table."""
    ks = Keyspace(databases=1)
    assert ks.fill(0, 300_000, 64) <= 112
    assert ks.close() == 0
