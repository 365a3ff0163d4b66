"""Bitmaps and HyperLogLogs beside the real Valkey: random commands, in the journal and in files, too."""

from __future__ import annotations

import random

import pytest

from fleettest.grammar import WRITES, Draw
from fleettest.grammar_bits import BITMAP_READS, BITMAP_WRITES, HLL_READS, HLL_WRITES, hll_key
from fleettest.grammar_words import words
from fleettest.instance import Pool
from fleettest.reference import Pair
from fleettest.rounds import Kind, compare

pytestmark = [pytest.mark.server, pytest.mark.differential]

KEYS = [b"k%d" % i for i in range(14)] + [b"h%d" % i for i in range(4)]
D = Draw
SETTLING = [  # what puts other strings in their place
    words(b"SET", D.key, D.value),
    words(b"SET", D.key, lambda d: d.rng.randbytes(d.rng.randrange(3000))),
    words(b"SET", D.key, lambda d: bytes([d.rng.choice([0, 255])]) * d.rng.choice([1, 8, 40, 1500, 9000])),
    words(b"SETRANGE", D.key, D.offset, D.value),
    words(b"COPY", D.key, D.key, b"REPLACE"),
    words(b"COPY", hll_key, hll_key, b"REPLACE"),
    words(b"RENAME", D.key, D.key),
    words(b"DEL", hll_key),
    words(b"EXPIRE", D.key, b"10000"),
    words(b"PERSIST", D.key),
]
ROWS = {"bitmaps": (BITMAP_WRITES, BITMAP_READS), "hyperloglogs": (HLL_WRITES, HLL_READS)}


def _whole(pair: Pair, key: bytes) -> None:
    pair.run("GET", key)
    pair.run("OBJECT", "ENCODING", key)


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("limit", ["3000", "150", "0"])
@pytest.mark.parametrize("family", ROWS)
def test_random_commands(fresh: Pool, rng: random.Random, family: str, resp: int, limit: str) -> None:
    options = {"hll-sparse-max-bytes": limit}
    writes, reads = ROWS[family]
    kinds: list[Kind] = [(0.5, writes), (0.15, SETTLING), (0.35, reads)]
    compare(fresh, rng, resp, kinds, KEYS, options=options, more=_whole)


def test_they_are_written() -> None:
    """The common machine uses these rows, too."""
    assert all(row in WRITES for row in (*BITMAP_WRITES, *HLL_WRITES))
