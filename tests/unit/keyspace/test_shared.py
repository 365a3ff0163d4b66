"""Long strings that a reply still owns: the keyspace changes, the reply's bytes do not, and nothing leaks.

By commands, which also change a part of a string: integration/test_large_replies.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from cachefleet_server.keyspace._testing import Keyspace

pytestmark = pytest.mark.unit

LONG = b"v" * 5000
Change = Callable[[Keyspace], object]
CHANGES: dict[str, Change] = {
    "overwrite with the same size": lambda ks: ks.set(0, b"k", b"w" * 5000),
    "overwrite with a short string": lambda ks: ks.set(0, b"k", b"w"),
    "overwrite with an integer": lambda ks: ks.set(0, b"k", b"12"),
    "overwrite with an argument's memory": lambda ks: ks.set(0, b"k", b"w" * 40_000, blob=True),
    "give an expiry": lambda ks: ks.expire(0, b"k", 10**9),
    "delete": lambda ks: ks.delete(0, b"k"),
    "delete lazily": lambda ks: ks.delete(0, b"k", True),
    "flush": lambda ks: ks.flush(0, False),
    "flush lazily": lambda ks: (ks.flush(0, True), ks.wait_helper()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("owners", [1, 2])
def test_a_change_leaves_shared_bytes_alone(change: Change, owners: int) -> None:
    ks = Keyspace()
    ks.fill(0, 100, 10)  # enough for a lazy flush to be the helper's work
    ks.set(0, b"k", LONG)
    held = [ks.share(0, b"k") for _ in range(owners)]
    change(ks)
    ks.check()
    assert [ks.release(blob) for blob in held] == [LONG] * owners
    ks.check()
    assert ks.close() == 0


def test_an_only_owner_changes_in_place() -> None:
    ks = Keyspace()
    ks.set(0, b"k", LONG)
    blob = ks.share(0, b"k")
    ks.release(blob)
    ks.set(0, b"k", b"w" * 5000)
    assert ks.share(0, b"k") == blob
    assert ks.release(blob) == b"w" * 5000
    assert ks.close() == 0


def test_memory_is_accounted_once_and_until_the_last_owner() -> None:
    ks = Keyspace()
    ks.set(0, b"k", b"v" * 1_000_000)
    full = ks.used
    blob = ks.share(0, b"k")
    assert ks.used == full
    ks.delete(0, b"k")
    assert full - ks.used < 1000
    ks.release(blob)
    assert full - ks.used > 1_000_000
    assert ks.close() == 0


def test_both_threads_let_go_of_many(rng: random.Random) -> None:
    """The helper frees a table while this thread drops its shares, in another order."""
    ks = Keyspace()
    for _ in range(20):
        for i in range(500):
            ks.set(0, b"k%d" % i, b"%d " % i * 600)
        held = [(i, ks.share(0, b"k%d" % i)) for i in range(500)]
        rng.shuffle(held)
        ks.flush(0, True)
        for i, blob in held:
            assert ks.release(blob) == b"%d " % i * 600
    assert ks.close() == 0
