"""Hashes beside the real Valkey: each reply, and each name that OBJECT ENCODING gives, at several limits."""

from __future__ import annotations

import random

import pytest

from fleettest.grammar import HASH_READS, HASH_WRITES, Draw, words
from fleettest.instance import Pool
from fleettest.rounds import Kind, compare, moves

pytestmark = [pytest.mark.server, pytest.mark.differential]

KEYS = [b"k%d" % i for i in range(24)]
D = Draw


def _many(draw: Draw) -> list[bytes]:
    return [b"f%d" % (i // 2) for i in range(2 * draw.rng.randrange(1, 60))]


SETTLING = [  # what makes hashes large, and small again
    words(b"HSET", D.hash_key, _many),
    words(b"HDEL", D.hash_key, _many),
    words(b"HDEL", D.hash_key, D.fields),
    *moves(D.hash_key),
]


def _clause(draw: Draw) -> list[bytes]:
    names = draw.fields()
    return [b"FIELDS", b"%d" % len(names) if draw.chance(0.97) else draw.integer(), *names]


def _pairs(draw: Draw) -> list[bytes]:
    words = draw.field_pairs()
    return [b"FIELDS", b"%d" % (len(words) // 2), *words]


def _at(draw: Draw) -> bytes:
    """Far in the future, or past."""
    far = b"%d" % (4_000_000_000_000 + draw.rng.randrange(5))
    return far if draw.chance(0.9) else draw.pick(b"0", b"1", b"-1", b"a")


def _expiry(draw: Draw) -> list[bytes]:
    return draw.some(0.6, lambda: [b"PXAT", _at(draw)], lambda: [draw.pick(b"KEEPTTL", b"PERSIST")])


def _conditions(draw: Draw) -> list[bytes]:
    return draw.some(0.2, lambda: [draw.pick(b"NX", b"xx")], lambda: [draw.pick(b"FNX", b"FXX")])


TIMED = [  # in no other test: a file with such fields is not for Redis 7.0
    words(b"HPEXPIREAT", D.hash_key, _at, D.any_expire_options, _clause),
    words(b"HPERSIST", D.hash_key, _clause),
    words(b"HGETEX", D.hash_key, _expiry, _clause),
    words(b"HSETEX", D.hash_key, _conditions, _expiry, _pairs),
    words(b"HGETDEL", D.hash_key, _clause),
    words(b"HPEXPIRETIME", D.hash_key, _clause),
    words(b"HEXPIRETIME", D.hash_key, _clause),
]


KINDS: list[Kind] = [(0.3, HASH_WRITES), (0.3, TIMED), (0.15, SETTLING), (0.25, HASH_READS)]


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("limit", ["512", "20", "8", "1"])
def test_forms(fresh: Pool, rng: random.Random, resp: int, limit: str) -> None:
    options = {"hash-max-listpack-entries": limit}
    compare(fresh, rng, resp, KINDS, KEYS, options=options, named=KEYS[16:22])
