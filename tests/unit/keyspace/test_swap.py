"""A keyspace that was filled beside the engine's takes its place: clients, watchers, snapshots, memory stay right."""

from __future__ import annotations

import pytest
from cachefleet_server.keyspace._testing import Keyspace

pytestmark = pytest.mark.unit

NEW = [(0, b"a", b"new", -1), (1, b"b", b"new", 5000), (1, b"c", b"x" * 10_000, -1)]


@pytest.fixture
def ks() -> Keyspace:
    ks = Keyspace(databases=3)
    for i in range(500):
        ks.set(0, b"old%d" % i, b"v" * 50, expire_ms=10_000 if i % 3 else -1)
    ks.set(2, b"only", b"here")
    return ks


@pytest.mark.parametrize("lazy", [False, True])
def test_contents_change_places_and_the_old_one_is_freed(ks: Keyspace, lazy: bool) -> None:
    ks.replace(NEW, lazy)
    ks.check()
    assert ks.rows(0) == {b"a": (b"new", -1)}
    assert ks.rows(1) == {b"b": (b"new", 5000), b"c": (b"x" * 10_000, -1)}
    assert ks.rows(2) == {}
    assert (ks.expiring(0), ks.expiring(1)) == (0, 1)
    assert ks.helper_runs() == lazy
    assert ks.close() == 0


def test_clients_see_the_new_content_where_they_are(ks: Keyspace) -> None:
    assert ks.get(1, b"b") is None  # client 0 is in database 1
    ks.replace(NEW, False)
    assert ks.get(1, b"b") == b"new"
    ks.set(1, b"d", b"more")
    ks.check()
    assert ks.close() == 0


def test_watchers_of_keys_on_either_side_hear_of_it(ks: Keyspace) -> None:
    watched = {"gone": (0, b"old1"), "comes": (0, b"a"), "elsewhere": (2, b"a"), "never": (0, b"none")}
    for _ in watched:
        ks.client()
    for client, (db, key) in enumerate(watched.values(), start=1):
        ks.watch(client, db, key)
    ks.replace(NEW, True)
    assert [ks.conflict(client) for client in range(1, 5)] == [True, True, False, False]
    ks.set(2, b"a", b"now")
    assert ks.conflict(3), "a watch is on the database's number, whatever it holds"
    assert ks.close() == 0


def test_a_running_snapshot_goes_on_with_the_old_tables(ks: Keyspace) -> None:
    before = ks.rows(0)
    snapshot = ks.snapshot(0)
    snapshot.step(5)
    ks.replace(NEW, True)
    ks.set(0, b"a", b"changed")
    while snapshot.step(5):
        pass
    assert {key: (value, expiry) for key, value, expiry in snapshot.rows} == before
    ks.check()
    ks.wait_helper()
    assert ks.close() == 0


def test_eviction_takes_no_new_keys_for_old_ones_on_their_way_out(ks: Keyspace) -> None:
    for i in range(20_000):
        ks.set(0, b"old%d" % i, b"v" * 100)
    limit = ks.used - 500_000
    rows = [(0, b"new%d" % i, b"v" * 100, -1) for i in range(5000)]
    ks.replace(rows, True)
    for _ in range(100):
        assert ks.evict(limit, 1 | 4) == 0
    ks.wait_helper()
    assert ks.used < limit
    assert ks.close() == 0


def test_the_pool_of_candidates_is_forgotten(ks: Keyspace) -> None:
    ks.evict(ks.used - 1000, 1 | 4)
    ks.replace([(0, b"k%d" % i, b"v" * 50, -1) for i in range(500)], False)
    assert ks.evict(ks.used - 1000, 1 | 4) > 0
    ks.check()
    assert ks.close() == 0


def test_what_a_command_emptied_is_deleted(ks: Keyspace) -> None:
    ks.add_block(1, b"collection", 1)
    assert not ks.emptied(1, b"collection", 3)
    assert b"collection" in ks.rows(1)
    assert ks.emptied(1, b"collection", 0)
    assert ks.rows(1) == {}
    ks.check()
