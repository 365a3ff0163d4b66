"""The keyed hash: spread over buckets and tags, dependence on each byte and each seed word."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable

import pytest

from cachefleet_server.ds._testing import hash64

pytestmark = pytest.mark.unit

FAMILIES: dict[str, Callable[[int], bytes]] = {
    "counters": lambda i: b"key:%d" % i,
    "padded": lambda i: b"key:%012d" % i,
    "binary": lambda i: i.to_bytes(8, "little"),
    "high bytes": lambda i: i.to_bytes(4, "big") + bytes(12),
    "long": lambda i: b"user:{%d}:" % i + b"x" * 60,
    "one bit": lambda i: (1 << i % 512 | 1 << i // 512 % 512).to_bytes(64, "little"),
    "lengths": bytes,
}


def chi_square_excess(values: list[int], cells: int) -> float:
    """Standard deviations above the mean of chi-square for a uniform spread."""
    expected = len(values) / cells
    counts = Counter(values)
    chi: float = sum((counts[c] - expected) ** 2 / expected for c in range(cells))
    return (chi - (cells - 1)) / math.sqrt(2 * (cells - 1))


@pytest.mark.parametrize("family", FAMILIES)
def test_spread_of_similar_keys(family: str, rng: random.Random) -> None:
    """Low bits choose the bucket, the top byte is the tag; both must be even, and together too."""
    n = 2000 if family == "lengths" else 30_000
    keys = {FAMILIES[family](i) for i in range(n)}
    seed = rng.getrandbits(64), rng.getrandbits(64)
    hashes = [hash64(key, *seed) for key in keys]
    assert len(set(hashes)) == len(keys)
    assert chi_square_excess([h & 255 for h in hashes], 256) < 7
    assert chi_square_excess([h >> 56 for h in hashes], 256) < 7
    assert chi_square_excess([(h & 15) << 4 | h >> 60 for h in hashes], 256) < 7


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100])
def test_each_bit_of_key_and_seed_changes_half_of_the_hash(length: int, rng: random.Random) -> None:
    flips: Counter[tuple[str, int]] = Counter()
    rounds = 60
    for _ in range(rounds):
        key = rng.getrandbits(8 * length)
        a, b = rng.getrandbits(64), rng.getrandbits(64)
        h = hash64(key.to_bytes(length, "little"), a, b)
        for bit in range(8 * length):
            flips["key", bit] += (h ^ hash64((key ^ 1 << bit).to_bytes(length, "little"), a, b)).bit_count()
        for bit in range(64):
            flips["a", bit] += (h ^ hash64(key.to_bytes(length, "little"), a ^ 1 << bit, b)).bit_count()
            flips["b", bit] += (h ^ hash64(key.to_bytes(length, "little"), a, b ^ 1 << bit)).bit_count()
    lazy = {place: n / rounds for place, n in flips.items() if not 24 < n / rounds < 40}
    assert not lazy


def test_length_matters() -> None:
    """Zero bytes at the end, and texts that share the words they are read as."""
    assert len({hash64(bytes(n), 1, 2) for n in range(200)}) == 200
    assert len({hash64(b"a" * n, 1, 2) for n in range(200)}) == 200


def test_collisions_of_one_seed_do_not_hold_for_another(rng: random.Random) -> None:
    """Keys that share a bucket of 4096 under one seed are spread by another."""
    chosen = [key for key in (b"%d" % i for i in range(200_000)) if hash64(key, 1, 2) & 4095 == 77]
    assert len(chosen) > 20
    seed = rng.getrandbits(64), rng.getrandbits(64)
    assert max(Counter(hash64(key, *seed) & 4095 for key in chosen).values()) <= 4
