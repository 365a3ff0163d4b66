"""SORT beside the real Valkey: each reply, and each name that OBJECT ENCODING gives to what is not a sorted set."""

from __future__ import annotations

import random

import pytest

from fleettest.grammar import Command, Draw, spoil
from fleettest.grammar_sort import LIST_SORTS, SORT_KEYS, SORT_READS, SORT_WRITES, SORTED_SETS
from fleettest.instance import Pool
from fleettest.rounds import Kind, compare

pytestmark = [pytest.mark.server, pytest.mark.differential]


def _spoiled(draw: Draw) -> Command:
    return spoil(draw, draw.rng.choice(LIST_SORTS)(draw))


KINDS: list[Kind] = [(0.5, SORT_WRITES), (0.4, SORT_READS), (0.1, [_spoiled])]


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("limit", ["-2", "5"])
def test_forms(fresh: Pool, rng: random.Random, resp: int, limit: str) -> None:
    options = {"list-max-listpack-size": limit, "locale-collate": "C"}
    compare(fresh, rng, resp, KINDS, SORT_KEYS, options=options, named=SORT_KEYS[::3], also=SORTED_SETS)
