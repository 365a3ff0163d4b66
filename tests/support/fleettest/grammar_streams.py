"""Random commands of streams and their groups; see grammar.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleettest.grammar_words import Word, words

if TYPE_CHECKING:
    from fleettest.grammar import Draw


def stream_key(draw: Draw) -> Word:
    return draw.key_of(23)


def number(draw: Draw) -> bytes:
    return b"%d" % draw.rng.randrange(60)


def stream_id(draw: Draw) -> Word:
    """Close together, so that they meet; some are none."""
    kind = draw.rng.random()
    if kind < 0.6:
        return number(draw) + b"-%d" % draw.rng.randrange(4)
    if kind < 0.8:
        return number(draw)
    if kind < 0.9:
        return draw.pick(b"0", b"0-0", b"-", b"+", b"(5", b"$", b">", b"18446744073709551615-18446744073709551615")
    return draw.pick(b"", b"a", b"1-", b"-1", b"1-a", b"1-1-1", b" 1", b"+1", b"01-02", b"18446744073709551616", b"(")


def new_id(draw: Draw) -> Word:
    """Of an entry, at the end of most streams; never by the clock."""
    if draw.chance(0.85):
        draw.entries += 1
        return b"%d-%s" % (60 + draw.entries // 4, draw.pick(b"*", b"1", b"2", b"3"))
    return stream_id(draw)


def stream_ids(draw: Draw) -> list[Word]:
    return [stream_id(draw) for _ in range(draw.rng.randint(1, 4))]


def recent_id(draw: Draw) -> Word:
    """As new_id gives them."""
    return b"%d-1" % (60 + draw.rng.randrange(60))


def recent_ids(draw: Draw) -> list[Word]:
    return [b"%d-%d" % (60 + draw.rng.randrange(60), i) for i in range(4)]


def fields(draw: Draw) -> list[Word]:
    names = [draw.pick(b"f", b"g", b"7", b"") for _ in range(draw.rng.randint(1, 3))]
    return [word for name in names for word in (name, draw.value())]


def trim(draw: Draw) -> list[Word]:
    sign = draw.pick(b"", b"", b"=", b"~", b"~")
    rule = [b"MAXLEN", *([sign] if sign else []), b"%d" % draw.rng.randrange(40)]
    if draw.chance(0.4):
        rule = [b"minid", *([sign] if sign else []), stream_id(draw)]
    return [*rule, *draw.some(0.15, lambda: [b"LIMIT", draw.count()])]


def add_options(draw: Draw) -> list[Word]:
    return draw.some(0.15, lambda: [b"NOMKSTREAM"], lambda: trim(draw))


def counted(draw: Draw) -> list[Word]:
    return draw.some(0.5, lambda: [b"COUNT", draw.count()])


def few(draw: Draw) -> list[Word]:
    """Of XAUTOCLAIM, for which Valkey takes memory at once."""
    return draw.some(0.5, lambda: [b"COUNT", draw.pick(b"1", b"2", b"10", b"0", b"-1", b"a")])


def group(draw: Draw) -> Word:
    return draw.pick(b"g", b"g", b"g", b"h", b"none")


def consumer(draw: Draw) -> Word:
    return draw.pick(b"alice", b"bob", b"carol", b"")


def from_ids(draw: Draw) -> list[Word]:
    """STREAMS with keys and ids."""
    n = draw.rng.choice((1, 1, 1, 2, 3))
    return [b"STREAMS", *(stream_key(draw) for _ in range(n)), *(stream_id(draw) for _ in range(n))]


def new_ones(draw: Draw) -> list[Word]:
    n = draw.rng.choice((1, 1, 2))
    ids = [b">" if draw.chance(0.8) else stream_id(draw) for _ in range(n)]
    return [b"STREAMS", *(stream_key(draw) for _ in range(n)), *ids]


def read_options(draw: Draw) -> list[Word]:
    return draw.some(0.3, lambda: counted(draw), lambda: [b"NOACK"])


def idle(draw: Draw) -> Word:
    """None, or longer than a test."""
    return draw.pick(b"0", b"0", b"0", b"-1", b"10000000", b"a")


def claim_options(draw: Draw) -> list[Word]:
    return draw.some(
        0.2, lambda: [b"JUSTID"], lambda: [b"FORCE"], lambda: [b"RETRYCOUNT", draw.count()], lambda: [b"TIME", b"1"],
        lambda: [b"LASTID", stream_id(draw)],
    )  # fmt: skip


def group_options(draw: Draw) -> list[Word]:
    return draw.some(0.3, lambda: [b"MKSTREAM"], lambda: [b"ENTRIESREAD", draw.count()])


def pending_range(draw: Draw) -> list[Word]:
    return [stream_id(draw), stream_id(draw), draw.count(), *draw.some(0.4, lambda: [consumer(draw)])]


STREAM_WRITES = [
    *[words(b"XADD", stream_key, add_options, new_id, fields)] * 5,
    words(b"XDEL", stream_key, stream_ids),
    words(b"XDEL", stream_key, recent_ids),
    words(b"XTRIM", stream_key, trim),
    *[words(b"XREADGROUP", b"GROUP", group, consumer, read_options, new_ones)] * 4,
    words(b"XGROUP", b"CREATE", stream_key, group, stream_id, group_options),
    words(b"XGROUP", b"CREATE", stream_key, group, b"0", b"MKSTREAM"),
    words(b"XGROUP", b"SETID", stream_key, group, stream_id, group_options),
    words(b"XGROUP", b"DESTROY", stream_key, group),
    words(b"XGROUP", b"CREATECONSUMER", stream_key, group, consumer),
    words(b"XGROUP", b"DELCONSUMER", stream_key, group, consumer),
    words(b"XACK", stream_key, group, stream_ids),
    words(b"XACK", stream_key, group, recent_ids),
    words(b"XCLAIM", stream_key, group, consumer, idle, stream_ids, claim_options),
    words(b"XCLAIM", stream_key, group, consumer, b"0", recent_id, b"FORCE"),
    words(b"XAUTOCLAIM", stream_key, group, consumer, idle, stream_id, few),
    words(b"XSETID", stream_key, new_id),
]
STREAM_READS = [
    words(b"XLEN", stream_key),
    words(b"XRANGE", stream_key, stream_id, stream_id, counted),
    words(b"XRANGE", stream_key, b"-", b"+"),
    words(b"XREVRANGE", stream_key, stream_id, stream_id, counted),
    words(b"XREVRANGE", stream_key, b"+", b"-", counted),
    words(b"XREAD", counted, from_ids),
    words(b"XPENDING", stream_key, group),
    words(b"XINFO", b"GROUPS", stream_key),
]
STREAM_TIMES = [  # and of the index, in which servers differ
    words(b"XPENDING", stream_key, group, pending_range),
    words(b"XINFO", b"STREAM", stream_key),
    words(b"XINFO", b"STREAM", stream_key, b"FULL"),
    words(b"XINFO", b"CONSUMERS", stream_key, group),
]
