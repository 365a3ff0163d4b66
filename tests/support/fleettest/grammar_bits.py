"""Random commands of bitmaps and HyperLogLogs; see grammar.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleettest.grammar_words import Word, words

if TYPE_CHECKING:
    from fleettest.grammar import Draw

INT64_MAX = b"9223372036854775807"
BEYOND_INT64 = b"9223372036854775808"


def any_key(draw: Draw) -> Word:
    return draw.key()


def bit_place(draw: Draw) -> Word:
    """As `offset`: small, or above every limit."""
    small = b"%d" % draw.rng.choice([0, 1, 6, 7, 8, 9, 63, 64, 100, 350, 351, 352, 1000, 8191, 8192, 8200, 40_000])
    if draw.chance(0.85):
        return small
    return draw.pick(b"-1", b"4294967296", b"a", b"", b"#1", INT64_MAX, BEYOND_INT64, b"00", b"1.0")


def bit(draw: Draw) -> Word:
    return draw.pick(b"0", b"1") if draw.chance(0.95) else draw.pick(b"2", b"-1", b"a", b"", b"01", BEYOND_INT64)


def width(draw: Draw) -> Word:
    if draw.chance(0.93):
        signed = draw.chance(0.5)
        return b"%c%d" % (b"ui"[signed], draw.rng.choice([1, 2, 7, 8, 9, 16, 31, 32, 33, 63, *[64] * signed]))
    return draw.pick(b"u64", b"i65", b"u0", b"i0", b"I8", b"8", b"u", b"i", b"", b"i-8", b"u08", b"i8\0x", b"u 8")


def field_place(draw: Draw) -> Word:
    if draw.chance(0.6):
        return bit_place(draw)
    nth = [b"#0", b"#1", b"#2", b"#77", b"#-1", b"#", b"#a", b"##1", b"#4611686018427387905", b"#" + INT64_MAX]
    return draw.rng.choice(nth[:4]) if draw.chance(0.85) else draw.rng.choice(nth)


def field_value(draw: Draw) -> Word:
    power: int = 1 << draw.rng.choice([1, 2, 7, 8, 9, 15, 16, 31, 32, 62, 63])
    near = draw.rng.choice([-power, power]) + draw.rng.randint(-2, 2)
    return b"%d" % near if draw.chance(0.6) else draw.integer()


def hll_key(draw: Draw) -> Word:
    return draw.key_of(14)


def hll_element(draw: Draw) -> Word:
    return b"%d" % draw.rng.randrange(3000) if draw.chance(0.9) else draw.value()


def bit_range(draw: Draw) -> list[Word]:
    words = [draw.index(), draw.index(), draw.pick(b"BYTE", b"bit", b"BIT") if draw.chance(0.9) else draw.value()]
    return words[: draw.rng.choice([0, 1, 2, 2, 3, 3, 3])] if draw.chance(0.95) else [*words, draw.value()]


def bit_operation(draw: Draw) -> list[Word]:
    """Those of Redis 8.2 have no peer."""
    name = draw.pick(b"AND", b"or", b"XOR", b"XOR", b"NOT") if draw.chance(0.95) else draw.pick(b"", b"NAND", b"an")
    sources = 1 if name == b"NOT" and draw.chance(0.8) else draw.rng.choice([1, 2, 2, 3, 20])
    return [name, draw.key(), *(draw.key() for _ in range(sources))]


def field_get(draw: Draw) -> list[Word]:
    return [draw.pick(b"GET", b"get"), width(draw), field_place(draw)]


def field_gets(draw: Draw) -> list[Word]:
    return [word for _ in range(draw.rng.randrange(4)) for word in field_get(draw)]


def field_operations(draw: Draw) -> list[Word]:
    made: list[Word] = []
    for _ in range(draw.rng.randrange(1, 5)):
        kind = draw.rng.random()
        if kind < 0.2:
            made += field_get(draw)
        elif kind < 0.45:
            made += [b"OVERFLOW", draw.pick(b"WRAP", b"SAT", b"sat", b"FAIL", b"FAIL")]
        elif kind < 0.97:
            name = draw.pick(b"SET", b"INCRBY", b"incrby")
            made += [name, width(draw), field_place(draw), field_value(draw)]
        else:
            made.append(draw.pick(b"OVERFLOW", b"GET", b"", b"SAT"))
    return made


def hll_elements(draw: Draw) -> list[Word]:
    some = [hll_element(draw) for _ in range(draw.rng.choice([0, 1, 1, 2, 3, 60]))]
    return some if draw.chance(0.98) else [hll_element(draw) for _ in range(1500)]


def hll_keys(draw: Draw) -> list[Word]:
    return [hll_key(draw) for _ in range(draw.rng.choice([1, 1, 2, 3]))]


BITMAP_WRITES = [
    words(b"SETBIT", any_key, bit_place, bit),
    words(b"SETBIT", any_key, bit_place, bit),
    words(b"BITOP", bit_operation),
    words(b"BITFIELD", any_key, field_operations),
    words(b"BITFIELD", any_key, field_operations),
]
BITMAP_READS = [
    words(b"GETBIT", any_key, bit_place),
    words(b"BITCOUNT", any_key, bit_range),
    words(b"BITPOS", any_key, bit, bit_range),
    words(b"BITFIELD", any_key, field_gets),
    words(b"BITFIELD_RO", any_key, lambda d: field_gets(d) if d.chance(0.9) else field_operations(d)),
]
HLL_WRITES = [
    words(b"PFADD", hll_key, hll_elements),
    words(b"PFADD", hll_key, hll_elements),
    words(b"PFMERGE", hll_key, hll_keys),
    words(b"PFDEBUG", lambda d: d.pick(b"TODENSE", b"todense", b"ENCODING", b"x"), hll_key),
    words(b"PFCOUNT", hll_key),  # writes the count
]
HLL_READS = [
    words(b"PFCOUNT", hll_keys),
    words(b"PFCOUNT", hll_key),
    words(b"PFDEBUG", b"DECODE", hll_key),
    words(b"STRLEN", hll_key),
]
