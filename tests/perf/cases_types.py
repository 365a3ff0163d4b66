"""The rows of the types beside strings: redis-benchmark's default tests, each type's own at three sizes, memory, and
values of ten million elements.

Collections of n elements are ELEMENTS / n keys, so that the smallest and the largest hold as much and none fits the
caches. Members and fields are drawn at random, as are keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cases import PIPELINES, Case, DataSet, Fill, Words

from fleettest.client import encode

ELEMENTS = 1_000_000
SIZES = (10, 100, 100_000)
RANGE = 100  # elements of a range, at most
OPS = {1: 20_000, 16: 100_000, 100: 200_000}  # of a run that uses up what was made for it
VALUE = "VXK"  # redis-benchmark's

Row = tuple[str, Words]  # the name of a test and its command


def numbers(count: int, n: int = 0) -> str:
    """One of `count` numbers, with as many digits as n of them have."""
    width = len(str(max(n, count) - 1))
    return f"__{0:0{width}}-{count - 1:0{width}}__"


def plain(n: int) -> str:
    """One of the numbers below n that have as many digits, and no leading zeros."""
    return f"__{10 ** (len(str(n - 1)) - 1)}-{n - 1}__"


def middle(n: int) -> tuple[str, str]:
    """First and last place of a range around the middle."""
    count = min(n, RANGE)
    return str((n - count) // 2), str((n - count) // 2 + count - 1)


SCORE = "__100000-999999__"
LONGITUDE, LATITUDE = "1__2-8__.__0000-9999__", "4__1-8__.__1000-9999__"
INNER = ("1__2-7__.__0000-9999__", "4__2-7__.__0000-9999__")  # not at the border
RADIUS_KM = {10: "500", 100: "200", 100_000: "10"}  # within it are some tens of members

# -- a type's rows at a size: what is there, and the tests


@dataclass(frozen=True, slots=True)
class Kind:
    group: str
    label: str
    fills: Callable[[int], Sequence[tuple[Words, int]]]  # commands, and how often each comes for a key
    tests: Callable[[int], Sequence[Row]]
    large: frozenset[tuple[str, int]] = frozenset()  # tests with a large reply at a size


KINDS = (
    Kind(
        "hashes",
        "hashes of {} fields",
        lambda n: (
            (("HSET", "__key__", f"field:{numbers(n)}", "x" * 10), n),
            (("HSET", "counts:__key__", f"field:{numbers(n)}", "1"), n),
        ),
        lambda n: (
            ("HGET", ("HGET", "__key__", f"field:{numbers(n)}")),
            ("HSET", ("HSET", "__key__", f"field:{numbers(n)}", "y" * 10)),
            ("HGETALL", ("HGETALL", "__key__")),
            ("HINCRBY", ("HINCRBY", "counts:__key__", f"field:{numbers(n)}", "1")),
        ),
        frozenset({("HGETALL", 100_000)}),
    ),
    Kind(
        "lists",
        "lists of {} elements",
        lambda n: ((("RPUSH", "__key__", f"item:{numbers(n)}"), n),),
        lambda n: (
            (f"LRANGE, {min(n, RANGE)} in the middle", ("LRANGE", "__key__", *middle(n))),
            ("LINDEX", ("LINDEX", "__key__", plain(n))),
        ),
    ),
    Kind(
        "sets",
        "sets of {} members",
        lambda n: (
            (("SADD", "__key__", f"member:{numbers(n)}"), n),
            (("SADD", "other:__key__", f"member:{numbers(min(n, RANGE) // 2, n)}"), min(n, RANGE) // 2),
        ),
        lambda n: (
            ("SISMEMBER", ("SISMEMBER", "__key__", f"member:{numbers(n)}")),
            (f"SINTER with {min(n, RANGE) // 2}", ("SINTER", "__key__", "other:__key__")),
        ),
    ),
    Kind(
        "zsets",
        "sorted sets of {} members",
        lambda n: ((("ZADD", "__key__", SCORE, f"member:{numbers(n)}"), n),),
        lambda n: (
            ("ZADD", ("ZADD", "__key__", SCORE, f"member:{numbers(n)}")),
            ("ZINCRBY", ("ZINCRBY", "__key__", "1", f"member:{numbers(n)}")),
            (f"ZRANGE, {min(n, RANGE)} in the middle", ("ZRANGE", "__key__", *middle(n))),
            ("ZRANK", ("ZRANK", "__key__", f"member:{numbers(n)}")),
            ("ZRANGEBYSCORE, 10", ("ZRANGEBYSCORE", "__key__", SCORE, "+inf", "LIMIT", "0", "10")),
        ),
    ),
    Kind(
        "streams",
        "streams of {} entries",
        lambda n: ((("XADD", "__key__", "*", "field", "x" * 10), n),),
        lambda n: (
            (f"XRANGE, {min(n, RANGE)}", ("XRANGE", "__key__", "-", "+", "COUNT", str(RANGE))),
            ("XREVRANGE, 10", ("XREVRANGE", "__key__", "+", "-", "COUNT", "10")),
            ("XREAD, 10", ("XREAD", "COUNT", "10", "STREAMS", "__key__", "0")),
        ),
    ),
    Kind(
        "geo",
        "{} places",
        lambda n: ((("GEOADD", "__key__", LONGITUDE, LATITUDE, f"member:{numbers(n)}"), n),),
        lambda n: (
            (
                "GEOSEARCH, 10 nearest",
                ("GEOSEARCH", "__key__", "FROMLONLAT", *INNER, "BYRADIUS", RADIUS_KM[n], "km", "ASC", "COUNT", "10"),
            ),
        ),
    ),
    Kind(
        "bits",
        "bitmaps of {} bytes",
        lambda n: ((("SETBIT", "__key__", str(8 * n - 1), "1"), 1),),
        lambda n: (
            ("SETBIT", ("SETBIT", "__key__", plain(8 * n), "1")),
            ("BITCOUNT", ("BITCOUNT", "__key__")),
        ),
    ),
    Kind(
        "bits",
        "HyperLogLogs of {} elements",
        lambda n: ((("PFADD", "__key__", f"item:{numbers(n)}"), n),),
        lambda n: (("PFADD", ("PFADD", "__key__", f"item:{numbers(ELEMENTS)}")),),
    ),
)


def _sized(kind: Kind, n: int) -> list[Case]:
    keys = ELEMENTS // n
    fills = tuple(Fill(words, keys * times, keys) for words, times in kind.fills(n))
    data = DataSet(kind.label.format(f"{n // 1000} k" if n >= 1000 else n), fills, keys)
    found = []
    for test, words in kind.tests(n):
        large = (test, n) in kind.large
        found += [Case(data, test, p, (words,), large=large) for p in ((1,) if large else PIPELINES)]
    return found


# -- redis-benchmark's


SUITE_DATA = DataSet("redis-benchmark", ())


def _filling(*tests: Words) -> list[Case]:
    """What adds elements to a key that is not there when a run begins."""
    before = {words: (Fill(("DEL", words[1]), 1),) for words in tests}
    return [Case(SUITE_DATA, words[0], p, (words,), before=before[words]) for words in tests for p in PIPELINES]


def _emptying(words: Words, fill: Words) -> list[Case]:
    """What removes an element each time: there are as many as a run has operations."""
    before = {p: (Fill(("DEL", words[1]), 1), Fill(fill, OPS[p])) for p in PIPELINES}
    return [Case(SUITE_DATA, words[0], p, (words,), before=before[p], ops=OPS[p]) for p in PIPELINES]


def _ranges() -> list[Case]:
    data = DataSet("redis-benchmark, 100 k elements", (Fill(("LPUSH", "mylist", VALUE), 100_000),))
    return [
        Case(data, f"LRANGE_{n}", p, (("LRANGE", "mylist", "0", str(n - 1)),))
        for n in (100, 300, 500, 600)
        for p in PIPELINES
    ]


def _hand_over() -> list[Case]:
    """Two connections that wait for each other, each for what the other pushes: all of them wait, nobody pops."""
    data = DataSet("hand-over", ())
    waits = [("BLPOP", f"{key}:__pair__", "0") for key in "ab"]
    pushes = [("LPUSH", f"{key}:__pair__", VALUE) for key in "ab"]
    reply = encode(f"a:pair:{'0' * 12}", VALUE) + b":1\r\n"
    commands, partner = (waits[0], pushes[1]), (pushes[0], waits[1])
    return [Case(data, "BLPOP, LPUSH", p, commands, partner, reply, ops=OPS[p]) for p in PIPELINES]


def _sorts() -> list[Case]:
    """Of 100 integers: by themselves, as texts, and by what other keys hold."""
    integer, keys = plain(1000), ELEMENTS // 100
    fills = (Fill(("RPUSH", "__key__", integer), ELEMENTS, keys), Fill(("SET", f"weight:{integer}", SCORE), 900))
    data = DataSet("lists of 100 integers", fills, keys)
    tests = (("SORT",), ("SORT", "ALPHA"), ("SORT", "BY", "weight:*", "GET", "weight:*"))
    return [Case(data, " ".join(t), p, ((t[0], "__key__", *t[1:]),)) for t in tests for p in PIPELINES]


def _groups() -> list[Case]:
    """Entries that a group has not had, one at a time; and those that it has, acknowledged in any order."""
    read = ("XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", "mystream", ">")
    read_all = (*read[:5], str(ELEMENTS), *read[6:])
    found = []
    for p in PIPELINES:
        made = (
            Fill(("DEL", "mystream"), 1),
            Fill(("XGROUP", "CREATE", "mystream", "g", "0", "MKSTREAM"), 1),
            Fill(("XADD", "mystream", "5-*", "field", VALUE), OPS[p]),
        )
        acknowledge = ("XACK", "mystream", "g", f"5-{plain(OPS[p])}")
        found.append(Case(SUITE_DATA, "XREADGROUP", p, (read,), before=made, ops=OPS[p]))
        found.append(Case(SUITE_DATA, "XACK", p, (acknowledge,), before=(*made, Fill(read_all, 1)), ops=OPS[p]))
    return found


MEMBER = f"element:{numbers(100_000)}"

SUITE: dict[str, list[Case]] = {
    "hashes": _filling(("HSET", "myhash", MEMBER, VALUE)),
    "lists": [
        *_filling(("LPUSH", "mylist", VALUE), ("RPUSH", "mylist", VALUE)),
        *_emptying(("LPOP", "mylist"), ("RPUSH", "mylist", VALUE)),
        *_emptying(("RPOP", "mylist"), ("RPUSH", "mylist", VALUE)),
        *_ranges(),
        *_hand_over(),
        *_sorts(),
    ],
    "sets": [
        *_filling(("SADD", "myset", MEMBER)),
        *_emptying(("SPOP", "myset"), ("SADD", "myset", f"element:{numbers(ELEMENTS)}")),
    ],
    "streams": [*_filling(("XADD", "mystream", "*", "field", VALUE)), *_groups()],
    "zsets": [
        *_filling(("ZADD", "myzset", SCORE, MEMBER)),
        *_emptying(("ZPOPMIN", "myzset"), ("ZADD", "myzset", SCORE, f"element:{numbers(ELEMENTS)}")),
    ],
}

GROUPS: dict[str, Sequence[Case]] = {
    group: [
        *SUITE.get(group, ()),
        *(case for kind in KINDS if kind.group == group for n in SIZES for case in _sized(kind, n)),
    ]
    for group in dict.fromkeys(kind.group for kind in KINDS)
}
