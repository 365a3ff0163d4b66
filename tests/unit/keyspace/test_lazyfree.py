"""The helper thread: what it gets, that nothing is lost or counted twice, and that nobody pays for it unused."""

from __future__ import annotations

import pytest
from cachefleet_server.keyspace._testing import Keyspace

pytestmark = pytest.mark.unit

EFFORT = 64  # LAZYFREE_EFFORT


def test_cheap_values_start_no_thread() -> None:
    ks = Keyspace()
    ks.set(0, b"a", b"x" * 100)
    ks.set(0, b"b", b"x" * 100_000)
    ks.add_block(0, b"c", EFFORT)
    for key in (b"a", b"b", b"c"):
        assert ks.delete(0, key, True)
    ks.fill(0, EFFORT, 10)
    ks.flush(0, True)
    assert not ks.helper_runs()
    assert ks.close() == 0


def test_expensive_values_are_handed_over() -> None:
    ks = Keyspace()
    empty = ks.used
    ks.add_block(0, b"c", EFFORT + 1)
    ks.set(0, b"big", b"x" * (5 << 20))
    for key in (b"c", b"big"):
        assert ks.delete(0, key, True)
    assert ks.helper_runs()
    ks.wait_helper()
    assert ks.pending() == 0
    assert ks.lazyfreed() == 2
    assert ks.used - empty < 4096  # the queue itself and bucket arrays
    assert ks.close() == 0


def test_overwriting_a_collection_frees_it_by_parameter() -> None:
    ks = Keyspace()
    for lazy in (0, 1):
        ks.set_param("lazyfree_lazy_server_del", lazy)
        ks.add_block(0, b"c", EFFORT + 1)
        ks.set(0, b"c", b"string")
        assert ks.helper_runs() == bool(lazy)
        assert ks.delete(0, b"c")
    assert ks.close() == 0


@pytest.mark.parametrize("lazy", [False, True])
def test_flush_gives_everything_back(lazy: bool) -> None:
    ks = Keyspace()
    assert [ks.rows(db) for db in range(4)] == [{}] * 4  # a database is made when it is first used
    idle = ks.used
    for round_ in range(3):
        ks.fill(round_, 5_000, 64)
        for i in range(500):
            ks.set(round_, b"e%d" % i, b"v" * 2000, 10**9)
            ks.add_block(round_, b"c%d" % i, i)
        ks.flush(-1, lazy)
        assert [ks.rows(db) for db in range(4)] == [{}] * 4
        ks.check()
        ks.wait_helper()
        assert ks.pending() == 0
        ks.stop_helper()  # its queue is memory too; the next round starts it again
        # Each flush makes new table headers, and the allocator may round one up by a step more than before.
        assert abs(ks.used - idle) <= 8 * 16
    assert ks.lazyfreed() == (3 * 6_000 if lazy else 0)
    assert ks.close() == 0


def test_closing_drains_the_queue() -> None:
    ks = Keyspace()
    for i in range(2_000):
        ks.add_block(0, b"c%d" % i, 1_000)
    for i in range(2_000):
        ks.delete(0, b"c%d" % i, True)
    ks.fill(1, 20_000, 100)
    ks.flush(1, True)
    assert ks.close() == 0
