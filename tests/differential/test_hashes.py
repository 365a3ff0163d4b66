"""Hashes beside the real Valkey: each reply, and each name that OBJECT ENCODING gives, at several limits."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from fleettest.grammar import HASH_READS, HASH_WRITES, Command, Draw, words
from fleettest.instance import Pool
from fleettest.reference import Pair

pytestmark = [pytest.mark.server, pytest.mark.differential]

ROUNDS = 12
COMMANDS = 150  # a round
KEYS = [b"k%d" % i for i in range(24)]
D = Draw


def _many(draw: Draw) -> list[bytes]:
    return [b"f%d" % (i // 2) for i in range(2 * draw.rng.randrange(1, 60))]


SETTLING = [  # what makes hashes large, and small again
    words(b"HSET", D.hash_key, _many),
    words(b"HDEL", D.hash_key, _many),
    words(b"HDEL", D.hash_key, D.fields),
    words(b"COPY", D.hash_key, D.hash_key, b"REPLACE"),
    words(b"RENAME", D.hash_key, D.hash_key),
    words(b"DEL", D.hash_key),
    words(b"EXPIRE", D.hash_key, b"10000"),
    words(b"PERSIST", D.hash_key),
]


@pytest.fixture
def fresh() -> Iterator[Pool]:
    pool = Pool()
    yield pool
    pool.close()


def _round(draw: Draw) -> list[Command]:
    commands: list[Command] = []
    for _ in range(COMMANDS):
        kind = draw.rng.random()
        rows = HASH_WRITES if kind < 0.5 else SETTLING if kind < 0.7 else HASH_READS
        commands.append(draw.rng.choice(rows)(draw))
        commands += [(b"OBJECT", b"ENCODING", key) for key in KEYS[16:22] if draw.chance(0.3)]
    return commands


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("limit", ["512", "20", "8", "1"])
def test_forms(fresh: Pool, rng: random.Random, resp: int, limit: str) -> None:
    options = {"hash-max-listpack-entries": limit}
    with Pair(fresh.get("cachefleet", **options), fresh.get("valkey", **options), resp=resp) as pair:
        for _ in range(ROUNDS):
            pair.flush()
            pair.pipeline(_round(Draw(rng, 0, keys=KEYS)))
            for key in KEYS:
                pair.run("DEBUG", "DIGEST-VALUE", key)
