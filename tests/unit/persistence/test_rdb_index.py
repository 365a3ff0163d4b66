"""Rows of hashes: what is found, what was never asked for, and a key that comes twice."""

from __future__ import annotations

import random

import pytest

from cachefleet_server.persistence.rdb_index import KEY_BYTES, VALUE_BYTES, RdbIndex

pytestmark = pytest.mark.unit


def test_it_is_a_dictionary(rng: random.Random) -> None:
    model = {
        rng.randbytes(KEY_BYTES): (rng.randrange(6), rng.randbytes(VALUE_BYTES), rng.choice((-1, 0, 2**63 - 1)))
        for _ in range(5000)
    }
    index = RdbIndex()
    for key, row in model.items():
        index.add(key, *row)
    assert index.sort() is None and (len(index), index.unseen) == (5000, 5000)
    asked = rng.sample(list(model), 2000)
    for key in asked:
        assert not index.was_found(key)
        assert index.find(key) == index.find(key) == model[key] and index.was_found(key)
    assert index.unseen == 3000
    for key in (b"\0" * KEY_BYTES, b"\xff" * KEY_BYTES, rng.randbytes(KEY_BYTES)):
        assert index.find(key) is None and not index.was_found(key)
    assert {key for key in model if not index.was_found(key)} == model.keys() - set(asked)


def test_a_key_that_comes_twice() -> None:
    index = RdbIndex()
    for name in (b"b", b"a", b"c", b"a"):
        index.add(name * KEY_BYTES, 0, b"v" * VALUE_BYTES, -1)
    assert index.sort() == b"a" * KEY_BYTES


def test_nothing_in_it() -> None:
    index = RdbIndex()
    assert index.sort() is None and index.find(b"k" * KEY_BYTES) is None and len(index) == 0


@pytest.mark.parametrize("row", [(b"", 0, b"v" * VALUE_BYTES), (b"k" * KEY_BYTES, 128, b"v" * VALUE_BYTES),
                                 (b"k" * KEY_BYTES, 0, b"")])  # fmt: skip
def test_hashes_of_other_sizes(row: tuple[bytes, int, bytes]) -> None:
    with pytest.raises(ValueError):
        RdbIndex().add(*row, -1)
    with pytest.raises(ValueError):
        RdbIndex().find(b"k")
