"""Positions beside the real Valkey: random commands, in both forms of a sorted set."""

from __future__ import annotations

import random

import pytest

from fleettest.grammar import Draw
from fleettest.grammar_geo import GEO_READS, GEO_WRITES, city, geo_key
from fleettest.grammar_words import words
from fleettest.instance import Pool
from fleettest.reference import Pair
from fleettest.rounds import Kind, compare, moves

pytestmark = [pytest.mark.server, pytest.mark.differential]

KEYS = [b"k%d" % i for i in range(24)]
SETTLING = [  # scores that are no positions, and what moves sorted sets
    words(b"ZADD", geo_key, Draw.number, city),
    words(b"ZREM", geo_key, city),
    *moves(geo_key),
]
KINDS: list[Kind] = [(0.35, GEO_WRITES), (0.1, SETTLING), (0.55, GEO_READS)]


def _members(pair: Pair, key: bytes) -> None:
    pair.run("ZRANGE", key, 0, -1, "WITHSCORES")


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("entries", ["128", "8", "0"])
def test_forms(fresh: Pool, rng: random.Random, resp: int, entries: str) -> None:
    options = {"zset-max-listpack-entries": entries}
    compare(fresh, rng, resp, KINDS, KEYS, options=options, named=KEYS[18:], more=_members)
