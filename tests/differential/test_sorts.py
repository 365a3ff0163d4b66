"""SORT beside the real Valkey: each reply, and each name that OBJECT ENCODING gives to what is not a sorted set."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from fleettest.grammar import Command, Draw, spoil
from fleettest.grammar_sort import SORT_KEYS, SORT_READS, SORT_WRITES, SORTED_SETS
from fleettest.instance import Pool
from fleettest.reference import Pair

pytestmark = [pytest.mark.server, pytest.mark.differential]

ROUNDS = 12
COMMANDS = 200  # a round
SPOILED = 0.1


@pytest.fixture
def fresh() -> Iterator[Pool]:
    pool = Pool()
    yield pool
    pool.close()


def _round(draw: Draw) -> list[Command]:
    commands: list[Command] = []
    for _ in range(COMMANDS):
        command = draw.rng.choice(SORT_WRITES if draw.chance(0.5) else SORT_READS)(draw)
        if command[1][:1] in (b"n", b"l") and draw.chance(SPOILED):
            command = spoil(draw, command)
        commands.append(command)
        commands += [(b"OBJECT", b"ENCODING", key) for key in SORT_KEYS if draw.chance(0.1)]
    return commands


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("limit", ["-2", "5"])
def test_forms(fresh: Pool, rng: random.Random, resp: int, limit: str) -> None:
    options = {"list-max-listpack-size": limit, "locale-collate": "C"}
    with Pair(fresh.get("cachefleet", **options), fresh.get("valkey", **options), resp=resp) as pair:
        for _ in range(ROUNDS):
            pair.flush()
            pair.pipeline(_round(Draw(rng, 0)))
            for key in (*SORT_KEYS, *SORTED_SETS):
                pair.run("TYPE", key)
                pair.run("DEBUG", "DIGEST-VALUE", key)
