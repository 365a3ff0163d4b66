"""Sets beside the real Valkey: each reply, and each name that OBJECT ENCODING gives, at several limits."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from fleettest.grammar import SET_READS, SET_UNORDERED, SET_WRITES, Command, Draw, words
from fleettest.instance import Pool
from fleettest.reference import Pair

pytestmark = [pytest.mark.server, pytest.mark.differential]

ROUNDS = 12
COMMANDS = 150  # a round
KEYS = [b"k%d" % i for i in range(22)]
D = Draw
SETTLING = [  # what makes sets large, and small again
    words(b"SADD", D.set_key, lambda d: [b"%d" % d.rng.randrange(-200, 200) for _ in range(d.rng.randrange(1, 60))]),
    words(b"SADD", D.set_key, lambda d: [b"y" * d.rng.randrange(1, 70) for _ in range(d.rng.randrange(1, 20))]),
    words(b"SREM", D.set_key, lambda d: [b"%d" % d.rng.randrange(-200, 200) for _ in range(d.rng.randrange(1, 200))]),
    words(b"COPY", D.set_key, D.set_key, b"REPLACE"),
    words(b"RENAME", D.set_key, D.set_key),
    words(b"DEL", D.set_key),
    words(b"EXPIRE", D.set_key, b"10000"),
    words(b"PERSIST", D.set_key),
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
        rows = SET_WRITES if kind < 0.5 else SETTLING if kind < 0.7 else SET_READS if kind < 0.85 else SET_UNORDERED
        commands.append(draw.rng.choice(rows)(draw))
        commands += [(b"OBJECT", b"ENCODING", key) for key in KEYS[14:20] if draw.chance(0.3)]
    return commands


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize(
    ("ints", "members", "size"), [(512, 128, 64), (128, 128, 5), (20, 8, 64), (100, 0, 0), (200, 200, 100)]
)
def test_forms(fresh: Pool, rng: random.Random, resp: int, ints: int, members: int, size: int) -> None:
    """With fewer integers than members, what a STORE form writes would depend on the order of a hash table."""
    options = {"set-max-intset-entries": ints, "set-max-listpack-entries": members, "set-max-listpack-value": size}
    with Pair(fresh.get("cachefleet", **options), fresh.get("valkey", **options), resp=resp) as pair:
        for _ in range(ROUNDS):
            pair.flush()
            pair.pipeline(_round(Draw(rng, 0, keys=KEYS)))
            for key in KEYS:
                pair.run("DEBUG", "DIGEST-VALUE", key)
