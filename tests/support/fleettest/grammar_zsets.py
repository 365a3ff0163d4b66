"""Random commands of sorted sets; see grammar.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleettest.grammar_words import Word, words

if TYPE_CHECKING:
    from fleettest.grammar import Draw


def zset_key(draw: Draw) -> Word:
    return draw.key_of(22)


def counted_zset_keys(draw: Draw) -> list[Word]:
    keys = [zset_key(draw) for _ in range(draw.rng.randint(1, 3))]
    return [b"%d" % len(keys) if draw.chance(0.9) else draw.integer(), *keys]


def any_of_zsets(draw: Draw) -> list[Word]:
    """Numbers of keys, sorted sets and sets."""
    keys = [draw.key_of(14) if draw.chance(0.2) else zset_key(draw) for _ in range(draw.rng.randint(1, 4))]
    weights = [b"WEIGHTS", *(score(draw) for _ in keys)]
    aggregate = [b"AGGREGATE", draw.pick(b"SUM", b"min", b"MAX", b"x")]
    return [b"%d" % len(keys), *keys, *draw.some(0.3, lambda: weights, lambda: aggregate)]


def zset_member(draw: Draw) -> Word:
    """Often one that a sorted set has already."""
    return draw.pick(b"a", b"b", b"ab", b"1", b"-7", b"300", b"") if draw.chance(0.75) else draw.value()


def zset_members(draw: Draw) -> list[Word]:
    return [zset_member(draw) for _ in range(draw.rng.randint(1, 4))]


def score(draw: Draw) -> Word:
    kind = draw.rng.random()
    if kind < 0.6:
        return draw.pick(b"0", b"1", b"2", b"2", b"-1", b"1.5", b"-0", b"100")
    text = draw.number() if kind < 0.8 else b"%d" % draw.rng.randrange(-1000, 1000)
    # Redis 7.0 takes hexadecimal ones, and spaces in bounds, and writes them to its AOF.
    return b"8" if b"x" in text.lower() or text.startswith(b" ") else text


def scored(draw: Draw) -> list[Word]:
    count = draw.rng.randint(40, 140) if draw.chance(0.05) else draw.rng.randint(1, 4)
    return [word for _ in range(count) for word in (score(draw), zset_member(draw))]


def score_bound(draw: Draw) -> Word:
    return draw.pick(b"", b"", b"", b"(") + (score(draw) if draw.chance(0.8) else draw.pick(b"-inf", b"+inf"))


def zadd_options(draw: Draw) -> list[Word]:
    options = (b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR", b"ch")
    return draw.some(0.12, *(lambda word=word: [word] for word in options))


def limit(draw: Draw) -> list[Word]:
    """Offsets below 0 are a matter of the form in Valkey."""
    offset = b"%d" % draw.rng.randrange(8) if draw.chance(0.9) else draw.pick(b"a", b"", b"1.5", b"9223372036854775808")
    return [b"LIMIT", offset, draw.place()]


def withscores(draw: Draw) -> list[Word]:
    return draw.some(0.4, lambda: [b"WITHSCORES"])


def score_range_options(draw: Draw) -> list[Word]:
    return draw.some(0.4, lambda: [b"WITHSCORES"], lambda: limit(draw))


def zrange(draw: Draw) -> list[Word]:
    """What follows the key: by rank, or by score."""
    if draw.chance(0.5):
        rest = draw.some(0.3, lambda: [b"REV"], lambda: [b"WITHSCORES"], lambda: limit(draw))
        return [draw.place(), draw.place(), *rest]
    rest = draw.some(0.4, lambda: [b"REV"], lambda: [b"WITHSCORES"], lambda: limit(draw), lambda: [b"byscore"])
    return [score_bound(draw), score_bound(draw), *rest]


def place(draw: Draw) -> Word:
    return draw.place()


def pop_count(draw: Draw) -> list[Word]:
    return draw.pop_count()


def multi_pop_options(draw: Draw) -> list[Word]:
    return [draw.pick(b"MIN", b"max", b"x"), *draw.multi_pop_options()]


ZSET_WRITES = [
    words(b"ZADD", zset_key, scored),
    words(b"ZADD", zset_key, scored),
    words(b"ZADD", zset_key, zadd_options, scored),
    words(b"ZADD", zset_key, zadd_options, b"INCR", score, zset_member),
    words(b"ZINCRBY", zset_key, score, zset_member),
    words(b"ZREM", zset_key, zset_members),
    words(b"ZREMRANGEBYRANK", zset_key, place, place),
    words(b"ZREMRANGEBYSCORE", zset_key, score_bound, score_bound),
    words(b"ZRANGESTORE", zset_key, zset_key, zrange),
    words(b"ZUNIONSTORE", zset_key, any_of_zsets),
    words(b"ZINTERSTORE", zset_key, any_of_zsets),
    words(b"ZDIFFSTORE", zset_key, counted_zset_keys),
    words(b"ZPOPMIN", zset_key, pop_count),
    words(b"ZPOPMAX", zset_key, pop_count),
    words(b"ZMPOP", counted_zset_keys, multi_pop_options),
]
ZSET_READS = [
    words(b"ZUNION", any_of_zsets, withscores),
    words(b"ZINTER", any_of_zsets, withscores),
    words(b"ZDIFF", counted_zset_keys, withscores),
    words(b"ZINTERCARD", counted_zset_keys, lambda draw: draw.some(0.4, lambda: [b"LIMIT", draw.count()])),
    words(b"ZCARD", zset_key),
    words(b"ZSCORE", zset_key, zset_member),
    words(b"ZMSCORE", zset_key, zset_members),
    words(b"ZRANK", zset_key, zset_member),
    words(b"ZREVRANK", zset_key, zset_member, b"WITHSCORE"),
    words(b"ZCOUNT", zset_key, score_bound, score_bound),
    words(b"ZRANGE", zset_key, zrange),
    words(b"ZRANGE", zset_key, b"0", b"-1", b"WITHSCORES"),
    words(b"ZREVRANGE", zset_key, place, place, withscores),
    words(b"ZRANGEBYSCORE", zset_key, score_bound, score_bound, score_range_options),
    words(b"ZREVRANGEBYSCORE", zset_key, score_bound, score_bound, score_range_options),
]
