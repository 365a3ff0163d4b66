"""Sorted sets beside the real Valkey: each reply, and each name that OBJECT ENCODING gives, at several limits."""

from __future__ import annotations

import random

import pytest

from fleettest.grammar import Draw, words
from fleettest.grammar_zsets import ZSET_READS, ZSET_WRITES, limit, score, zset_key, zset_member
from fleettest.instance import Pool
from fleettest.reference import Pair
from fleettest.rounds import Kind, compare, moves

pytestmark = [pytest.mark.server, pytest.mark.differential]

KEYS = [b"k%d" % i for i in range(28)]
LEX = [b"lex1", b"lex2"]  # all scores are equal, or their ranges mean nothing


def _lex_key(draw: Draw) -> bytes:
    return draw.rng.choice(LEX)


def _lex_bound(draw: Draw) -> bytes:
    if draw.chance(0.2):
        return draw.pick(b"-", b"+", b"-", b"+", b"a", b"", b"(", b"[", b"-a")
    return draw.pick(b"(", b"[") + zset_member(draw)


def _equal_scores(draw: Draw) -> list[bytes]:
    count = 140 if draw.chance(0.05) else draw.rng.randint(1, 8)
    return [word for _ in range(count) for word in (b"0", zset_member(draw))]


def _limit_at_times(draw: Draw) -> list[bytes]:
    return draw.some(0.4, lambda: limit(draw))


def _lex_options(draw: Draw) -> list[bytes]:
    return draw.some(0.4, lambda: limit(draw), lambda: [b"REV"])


BY_LEX = [
    words(b"ZADD", _lex_key, _equal_scores),
    words(b"ZADD", _lex_key, _equal_scores),
    words(b"ZRANGEBYLEX", _lex_key, _lex_bound, _lex_bound, _limit_at_times),
    words(b"ZREVRANGEBYLEX", _lex_key, _lex_bound, _lex_bound, _limit_at_times),
    words(b"ZRANGE", _lex_key, _lex_bound, _lex_bound, b"BYLEX", _lex_options),
    words(b"ZLEXCOUNT", _lex_key, _lex_bound, _lex_bound),
    words(b"ZREMRANGEBYLEX", _lex_key, _lex_bound, _lex_bound),
    words(b"ZRANGESTORE", zset_key, _lex_key, _lex_bound, _lex_bound, b"BYLEX"),
]
SETTLING = [  # what makes sorted sets large, and what moves them
    words(b"ZADD", zset_key, lambda d: [w for i in range(d.rng.randrange(1, 90)) for w in (score(d), b"%d" % i)]),
    words(b"ZADD", zset_key, score, lambda d: b"y" * d.rng.randrange(1, 100)),
    words(b"ZREMRANGEBYRANK", zset_key, Draw.place, lambda d: b"%d" % d.rng.randrange(50)),
    *moves(zset_key),
]


KINDS: list[Kind] = [(0.4, ZSET_WRITES), (0.15, SETTLING), (0.15, BY_LEX), (0.3, ZSET_READS)]


def _members(pair: Pair, key: bytes) -> None:
    pair.run("ZRANGE", key, 0, -1, "WITHSCORES")


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("limit", [(128, 64), (8, 64), (128, 3), (0, 64), (1000, 100)], ids=str)
def test_forms(fresh: Pool, rng: random.Random, resp: int, limit: tuple[int, int]) -> None:
    options = {"zset-max-listpack-entries": limit[0], "zset-max-listpack-value": limit[1]}
    compare(
        fresh, rng, resp, KINDS, KEYS, options=options, named=(*KEYS[22:], *LEX), also=LEX, more=_members
    )
