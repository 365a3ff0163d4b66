"""LCS of random strings against the real Valkey: lengths, texts, matches and their order, the memory limit."""

from __future__ import annotations

import itertools
import random

import pytest

from fleettest.reference import Pair
from fleettest.scripts import Command

pytestmark = [pytest.mark.server, pytest.mark.differential]

LCS_FORMS: tuple[list[str], ...] = ([], ["LEN"], ["IDX"], ["IDX", "WITHMATCHLEN"], ["IDX", "MINMATCHLEN", "3"])


def test_lcs_at_random(pair: Pair, rng: random.Random) -> None:
    commands: list[Command] = []
    for _ in range(150):
        alphabet = bytes(rng.sample(range(256), rng.choice((1, 2, 3, 4, 20))))
        a, b = (bytes(rng.choices(alphabet, k=rng.choice((0, 1, 5, 63, 64, 65, 150)))) for _ in range(2))
        if rng.random() < 0.5 and a:
            at = rng.randrange(len(a))
            b = a[:at] + b[:10] + a[at + rng.randrange(5) :]
        commands += [("MSET", "a", a, "b", b), *(("LCS", "a", "b", *form) for form in LCS_FORMS)]
    pair.flush()
    pair.pipeline(commands)


def test_lcs_memory_limit(pair: Pair) -> None:
    """Valkey's table has 4 bytes for each of (n + 1) * (m + 1) cells, and at most 512 MB."""
    pair.flush()
    pair.pipeline([("SETRANGE", "a", 11_583, "x"), ("SETRANGE", "b", 11_584, "x"), ("SETRANGE", "c", 20_000, "x")])
    pair.run("LCS", "a", "a", "LEN")
    for keys, form in itertools.product((("a", "b"), ("b", "b"), ("c", "a")), LCS_FORMS):
        pair.run("LCS", *keys, *form)
