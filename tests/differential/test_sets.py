"""Sets beside the real Valkey: each reply, and each name that OBJECT ENCODING gives, at several limits."""

from __future__ import annotations

import random

import pytest

from fleettest.grammar import SET_READS, SET_UNORDERED, SET_WRITES, Draw, words
from fleettest.instance import Pool
from fleettest.rounds import Kind, compare, moves

pytestmark = [pytest.mark.server, pytest.mark.differential]

KEYS = [b"k%d" % i for i in range(22)]
D = Draw
SETTLING = [  # what makes sets large, and small again
    words(b"SADD", D.set_key, lambda d: [b"%d" % d.rng.randrange(-200, 200) for _ in range(d.rng.randrange(1, 60))]),
    words(b"SADD", D.set_key, lambda d: [b"y" * d.rng.randrange(1, 70) for _ in range(d.rng.randrange(1, 20))]),
    words(b"SREM", D.set_key, lambda d: [b"%d" % d.rng.randrange(-200, 200) for _ in range(d.rng.randrange(1, 200))]),
    *moves(D.set_key),
]


KINDS: list[Kind] = [(0.5, SET_WRITES), (0.2, SETTLING), (0.15, SET_READS), (0.15, SET_UNORDERED)]


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize(
    ("ints", "members", "size"), [(512, 128, 64), (128, 128, 5), (20, 8, 64), (100, 0, 0), (200, 200, 100)]
)
def test_forms(fresh: Pool, rng: random.Random, resp: int, ints: int, members: int, size: int) -> None:
    """With fewer integers than members, what a STORE form writes would depend on the order of a hash table."""
    options = {"set-max-intset-entries": ints, "set-max-listpack-entries": members, "set-max-listpack-value": size}
    compare(fresh, rng, resp, KINDS, KEYS, options=options, named=KEYS[14:20])
