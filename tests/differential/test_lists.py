"""Lists beside the real Valkey: each reply, and each name that OBJECT ENCODING gives, at several limits."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from fleettest.grammar import LIST_READS, LIST_WRITES, Command, Draw, words
from fleettest.instance import Pool
from fleettest.reference import Pair

pytestmark = [pytest.mark.server, pytest.mark.differential]

ROUNDS = 12
COMMANDS = 150  # a round
KEYS = [b"k%d" % i for i in range(16)]
D = Draw
SETTLING = [  # what makes lists long, and short again
    words(b"RPUSH", D.list_key, lambda d: [d.element() for _ in range(d.rng.randrange(1, 60))]),
    words(b"LPUSH", D.list_key, lambda d: [b"y" * d.rng.randrange(1, 600) for _ in range(d.rng.randrange(1, 20))]),
    words(b"LPOP", D.list_key, lambda d: b"%d" % d.rng.randrange(1, 50)),
    words(b"RPOP", D.list_key, lambda d: b"%d" % d.rng.randrange(1, 50)),
    words(b"COPY", D.list_key, D.list_key, b"REPLACE"),
    words(b"RENAME", D.list_key, D.list_key),
    words(b"DEL", D.list_key),
    words(b"EXPIRE", D.list_key, b"10000"),
    words(b"PERSIST", D.list_key),
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
        rows = LIST_WRITES if kind < 0.5 else SETTLING if kind < 0.7 else LIST_READS
        commands.append(draw.rng.choice(rows)(draw))
        commands += [(b"OBJECT", b"ENCODING", key) for key in KEYS[8:14] if draw.chance(0.3)]
    return commands


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("limit", ["-2", "-1", "4", "1", "20"])
def test_forms(fresh: Pool, rng: random.Random, resp: int, limit: str) -> None:
    options = {"list-max-listpack-size": limit}
    with Pair(fresh.get("cachefleet", **options), fresh.get("valkey", **options), resp=resp) as pair:
        for _ in range(ROUNDS):
            pair.flush()
            pair.pipeline(_round(Draw(rng, 0, keys=KEYS)))
            for key in KEYS:
                pair.run("DEBUG", "DIGEST-VALUE", key)
