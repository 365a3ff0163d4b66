"""Bitmaps and HyperLogLogs beside the real Valkey: random commands, in the journal and in files, too."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from fleettest.grammar import WRITES, Draw
from fleettest.grammar_bits import BITMAP_READS, BITMAP_WRITES, HLL_READS, HLL_WRITES, hll_key
from fleettest.grammar_words import Command, words
from fleettest.instance import Pool
from fleettest.reference import Pair

pytestmark = [pytest.mark.server, pytest.mark.differential]

ROUNDS = 8
COMMANDS = 200  # a round
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


@pytest.fixture
def fresh() -> Iterator[Pool]:
    pool = Pool()
    yield pool
    pool.close()


def _round(draw: Draw, family: str) -> list[Command]:
    writes, reads = ROWS[family]
    commands: list[Command] = []
    for _ in range(COMMANDS):
        kind = draw.rng.random()
        rows = writes if kind < 0.5 else SETTLING if kind < 0.65 else reads
        commands.append(draw.rng.choice(rows)(draw))
    return commands


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("limit", ["3000", "150", "0"])
@pytest.mark.parametrize("family", ROWS)
def test_random_commands(fresh: Pool, rng: random.Random, family: str, resp: int, limit: str) -> None:
    options = {"hll-sparse-max-bytes": limit}
    with Pair(fresh.get("cachefleet", **options), fresh.get("valkey", **options), resp=resp) as pair:
        for _ in range(ROUNDS):
            pair.flush()
            pair.pipeline(_round(Draw(rng, 0, keys=KEYS), family))
            for key in KEYS:
                pair.run("GET", key)
                pair.run("OBJECT", "ENCODING", key)


def test_they_are_written() -> None:
    """The common machine uses these rows, too."""
    assert all(row in WRITES for row in (*BITMAP_WRITES, *HLL_WRITES))
