"""Random commands that sort, and what they sort: lists, small sets, sorted sets, weights; see grammar.py.

They have keys of their own, a few for each type. In Valkey a sorted set that was sorted is a skiplist from then on, and
its members come in the order of a hash table: so sorted sets are kept apart, and sorted by texts only where no two of
them are equal. Sets stay small, for the same reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleettest.grammar_words import Word, words

if TYPE_CHECKING:
    from fleettest.grammar import Draw

SORT_KEYS = [b"%c%d" % (kind, i) for kind in b"nlisd" for i in range(3)]  # whose encodings are alike, too
SORTED_SETS = [b"z%d" % i for i in range(3)]
PATTERNS = [b"w_*", b"w_*", b"h_*->f", b"h_*->g"]
ODD_PATTERNS = [b"*", b"nosort", b"", b"#", b"h_*", b"h_*->", b"w_*->f", b"w_\0*", b"**", b"d*", b"#*", b"none_*"]
TEXTS = [b"a", b"b", b"ab", b"", b"a\0b", b"a\0", b"\xff", b"10", b"9", b"text"]


def _key(draw: Draw, kind: bytes) -> Word:
    return b"%b%d" % (kind, draw.rng.randrange(3))


def number_list(draw: Draw) -> Word:
    return _key(draw, b"n")


def text_list(draw: Draw) -> Word:
    return _key(draw, b"l")


def integer_set(draw: Draw) -> Word:
    return _key(draw, b"i")


def text_set(draw: Draw) -> Word:
    return _key(draw, b"s")


def sorted_set(draw: Draw) -> Word:
    return _key(draw, b"z")


def list_or_set(draw: Draw) -> Word:
    return _key(draw, draw.pick(b"n", b"n", b"l", b"l", b"i", b"s", b"d"))


def target(draw: Draw) -> Word:
    return _key(draw, b"d") if draw.chance(0.8) else draw.rng.choice([*SORT_KEYS, *SORTED_SETS])


def plain_number(draw: Draw) -> Word:
    if draw.chance(0.9):
        return b"%d" % draw.rng.randrange(20)
    return draw.pick(b"-3", b"2.5", b"1e2", b"-0", b"inf", b"9007199254740993")


def number(draw: Draw) -> Word:
    return plain_number(draw) if draw.chance(0.99) else draw.number()


def text(draw: Draw) -> Word:
    """Short enough for a small set."""
    return draw.rng.choice(TEXTS) if draw.chance(0.7) else number(draw)


def numbers(draw: Draw) -> list[Word]:
    return [number(draw) for _ in range(60 if draw.chance(0.05) else draw.rng.randint(1, 6))]


def texts(draw: Draw) -> list[Word]:
    return [text(draw) for _ in range(draw.rng.randint(1, 6))]


def longer_texts(draw: Draw) -> list[Word]:
    return [b"y" * 70 if draw.chance(0.2) else draw.text() if draw.chance(0.05) else word for word in texts(draw)]


def integers(draw: Draw) -> list[Word]:
    return [b"%d" % draw.rng.randrange(20) for _ in range(draw.rng.randint(1, 6))]


def scored(draw: Draw) -> list[Word]:
    return [word for _ in range(draw.rng.randint(1, 5)) for word in (draw.pick(b"1", b"2", b"-7"), plain_number(draw))]


def weight_of(draw: Draw) -> Word:
    return b"w_" + (text(draw) if draw.chance(0.3) else number(draw))


def hash_of(draw: Draw) -> Word:
    return b"h_" + (text(draw) if draw.chance(0.3) else number(draw))


def weight(draw: Draw) -> Word:
    return draw.pick(b"x", b"x", b"y", b"x\0y") if draw.chance(0.03) else number(draw)


def weight_text(draw: Draw) -> Word:
    """Few, so that many are equal."""
    return draw.pick(b"x", b"y", b"5")


def field(draw: Draw) -> Word:
    return draw.pick(b"f", b"f", b"g", b"")


def pattern(draw: Draw) -> Word:
    return draw.rng.choice(PATTERNS if draw.chance(0.8) else ODD_PATTERNS)


def by(draw: Draw) -> list[Word]:
    return [b"BY", pattern(draw) if draw.chance(0.75) else b"nosort"]


def limit(draw: Draw) -> list[Word]:
    if draw.chance(0.05):
        return [b"LIMIT", draw.integer(), draw.integer()]
    return [b"LIMIT", b"%d" % draw.rng.randrange(-2, 9), b"%d" % draw.rng.randrange(-2, 9)]


def gets(draw: Draw) -> list[Word]:
    found = [draw.pick(b"#", pattern(draw), pattern(draw)) for _ in range(draw.rng.randint(1, 3))]
    return [word for one in found for word in (b"GET", one)]


def order(draw: Draw) -> list[Word]:
    return [draw.pick(b"ASC", b"DESC", b"desc")]


def alpha(draw: Draw) -> list[Word]:
    return [b"ALPHA"]


def options(draw: Draw) -> list[Word]:
    parts = (by, limit, gets, order, alpha)
    return draw.some(0.4, *(lambda part=part: part(draw) for part in parts))


def options_of_a_table(draw: Draw) -> list[Word]:
    """By numbers, or by what no two have in common."""
    parts = (limit, gets, order, alpha if draw.chance(0.3) else by)
    return draw.some(0.5, *(lambda part=part: part(draw) for part in parts))


def store(draw: Draw) -> list[Word]:
    return [b"STORE", target(draw)]


SORT_WRITES = [
    words(b"RPUSH", number_list, numbers),
    words(b"LPUSH", number_list, numbers),
    words(b"RPUSH", text_list, texts),
    words(b"LPUSH", text_list, longer_texts),
    words(b"LTRIM", list_or_set, b"0", b"30"),
    words(b"SADD", integer_set, integers),
    words(b"SREM", integer_set, integers),
    words(b"SADD", text_set, texts),
    words(b"SREM", text_set, texts),
    words(b"ZADD", sorted_set, scored),
    words(b"ZREM", sorted_set, number),
    words(b"SET", weight_of, weight),
    words(b"SET", weight_of, weight_text),
    words(b"HSET", hash_of, field, weight),
    words(b"HSET", hash_of, b"g", weight_text),
    words(b"DEL", weight_of, hash_of),
    words(b"DEL", list_or_set),
    words(b"SORT", list_or_set, options, store),
    words(b"SORT", list_or_set, options, store),
    words(b"SORT", sorted_set, options_of_a_table, store),
]
LIST_SORTS = [
    words(b"SORT", number_list, options),
    words(b"SORT", text_list, options),
    words(b"SORT", text_list, options, b"ALPHA"),
]
SORT_READS = [
    *LIST_SORTS,
    words(b"SORT", integer_set, options),
    words(b"SORT", text_set, options, b"ALPHA"),
    words(b"SORT", sorted_set, options_of_a_table),
    words(b"SORT_RO", list_or_set, options),
    words(b"SORT_RO", sorted_set, options_of_a_table),
    words(b"SORT_RO", list_or_set, options, store),
    words(b"LRANGE", target, b"0", b"-1"),
]
