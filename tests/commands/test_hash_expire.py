"""Fields that expire, against the real Valkey, byte for byte, in both protocols; and their time, to the millisecond."""

from __future__ import annotations

import pytest

from fleettest.reference import Pair
from fleettest.scripts import both_ways, script

pytestmark = [pytest.mark.server, pytest.mark.differential]

SETS = {  # what the hash `k` is at first; no time is near
    "listpack": [["HSET", "k", "a", 1, "b", "two", "c", "", 12, "1.5"]],
    "timed": [
        ["HSET", "k", "a", 1, "b", "two", "c", "", 12, "1.5"],
        ["HPEXPIREAT", "k", 99_999_999_999_999, "FIELDS", 2, "a", "12"],
    ],
    "one": [["HSET", "k", "a", "only"]],
    "string": [["SET", "k", "text"]],
    "none": [],
}

SCRIPTS = {
    "arguments": """
        HEXPIRE
        HEXPIRE k 100
        HEXPIRE k 100 FIELDS 1
        HEXPIRE k 100 FIELDS 2 a
        HEXPIRE k 100 FIELDS 0 a
        HEXPIRE k 100 FIELDS -1 a
        HEXPIRE k 100 FIELDS x a
        HEXPIRE k 100 FIELDS 1 a b
        HEXPIRE k abc FIELDS 1 a
        HEXPIRE k -5 FIELDS 1 a
        HEXPIRE k abc FIELDS 2 a
        HEXPIRE k 100 LT GT FIELDS 1 a
        HEXPIRE k 100 NX XX FIELDS 1 a
        HEXPIRE k 100 NX GT FIELDS 1 a
        HEXPIRE k 100 foo FIELDS 1 a
        HEXPIRE k 100 foo FIELDS x a
        HEXPIRE k 100 NX foo bar baz
        HEXPIRE k 100 FIELDS NX 1 a
        HEXPIRE k 100 FIELDS 1 a NX
        HEXPIRE k 9223372036854775807 FIELDS 1 a
        HEXPIRE k 9223372036854775 FIELDS 1 a
        HPEXPIRE k 9223372036854775807 FIELDS 1 a
        HEXPIREAT k 92233720368547758 FIELDS 1 a
        HEXPIRE k 100 FIELDS 99999999999999999999 a
        HEXPIRE k 100 FIELDS 4294967297 a
        HPEXPIREAT k -1 FIELDS 1 a
        HTTL
        HTTL k
        HTTL k FIELDS 1
        HTTL k FIELD 1 a
        HTTL k FIELDS 0 a
        HTTL k FIELDS 2 a
        HTTL k FIELDS x a
        HPTTL k FIELDS 1 a b
        HEXPIRETIME k foo 1 a
        HPEXPIRETIME k FIELDS 99999999999999999999 a
        HPERSIST
        HPERSIST k FIELDS 1
        HPERSIST k FIELDS 2 a
        HPERSIST k FIELDS x a
        HPERSIST k foo 1 a
        HLEN k
    """,
    "times": """
        HPEXPIREAT k 99999999999999 FIELDS 2 a missing
        OBJECT ENCODING k
        HPEXPIRETIME k FIELDS 4 a b c missing
        HEXPIRETIME k FIELDS 2 a missing
        HPEXPIREAT k 99999999999499 NX FIELDS 2 a b
        HPEXPIREAT k 99999999999499 XX FIELDS 2 a c
        HPEXPIREAT k 99999999999500 GT FIELDS 3 a b c
        HPEXPIREAT k 99999999999500 GT FIELDS 3 a b c
        HPEXPIREAT k 99999999999498 LT FIELDS 3 a b c
        HPEXPIREAT k 99999999999498 lt xx FIELDS 3 a b c
        HPEXPIREAT k 99999999999497 lt xx FIELDS 3 a b c
        HPEXPIREAT k 99999999999600 gt xx FIELDS 3 a b c
        HEXPIREAT k 99999999999 nx nx fields 2 b missing
        HEXPIRETIME k FIELDS 3 a b c
        HPEXPIRETIME k FIELDS 3 a b c
        HPEXPIREAT k 9223372036854775807 FIELDS 1 a
        HPEXPIRETIME k FIELDS 1 a
        HPERSIST k FIELDS 3 a c missing
        HPERSIST k FIELDS 1 a
        HPEXPIRETIME k FIELDS 3 a b c
        HPEXPIREAT k 99999999999000 FIELDS 2 b b
        HPEXPIREAT new 99999999999000 FIELDS 2 b b
        HTTL new FIELDS 2 a b
        HPERSIST new FIELDS 1 a
        HGET k a
        HGET k b
        HMGET k a b c missing
        HEXISTS k b
        HSTRLEN k b
        HLEN k
        DEBUG DIGEST-VALUE k
    """,
    "past": """
        HEXPIRE k 0 FIELDS 2 b missing
        OBJECT ENCODING k
        HLEN k
        HPEXPIREAT k 0 FIELDS 2 c c
        HEXPIREAT k 1 NX FIELDS 2 12 a
        HPEXPIRE k 0 FIELDS 1 12
        EXISTS k
        HPEXPIRE k 0 FIELDS 1 a
        EXISTS k
        HSET k a 1
        HPEXPIREAT k 1000 GT FIELDS 1 a
        HPEXPIREAT k 1000 LT FIELDS 1 a
        EXISTS k
    """,
    "writes": """
        HPEXPIREAT k 99999999999999 FIELDS 3 a b 12
        HSET k a 5
        HPEXPIRETIME k FIELDS 3 a b 12
        HINCRBYFLOAT k 12 1.5
        HPEXPIRETIME k FIELDS 3 a b 12
        HSETNX k b 5
        HPEXPIRETIME k FIELDS 3 a b 12
        HDEL k b
        HSETNX k b 5
        HPEXPIRETIME k FIELDS 3 a b 12
        HPEXPIREAT k 99999999999999 FIELDS 3 a b 12
        HINCRBY k b 5
        HINCRBY k a 5
        HPEXPIRETIME k FIELDS 3 a b 12
        COPY k copy
        HPEXPIRETIME copy FIELDS 3 a b 12
        RENAME copy other
        HPEXPIRETIME other FIELDS 3 a b 12
        HDEL other a b 12
        OBJECT ENCODING other
        MOVE k 1
        SELECT 1
        HPEXPIRETIME k FIELDS 3 a b 12
        SWAPDB 0 1
        SELECT 0
        HPEXPIRETIME k FIELDS 3 a b 12
        DEL k
        EXISTS k
    """,
    "hgetex": """
        HGETEX
        HGETEX k FIELDS 1
        HGETEX k FIELDS 1 a
        HGETEX k FIELDS 3 a b missing
        HGETEX k PXAT 99999999999999 FIELDS 2 a missing
        HPEXPIRETIME k FIELDS 2 a b
        HGETEX k EXAT 99999999999 FIELDS 1 a
        HPEXPIRETIME k FIELDS 2 a b
        HGETEX k PERSIST FIELDS 2 a b
        HPEXPIRETIME k FIELDS 2 a b
        HGETEX k EX 100 PERSIST FIELDS 1 a
        HGETEX k EX 10 PX 20 FIELDS 1 a
        HGETEX k EXAT 99999999998 EXAT 99999999999 FIELDS 1 a
        HPEXPIRETIME k FIELDS 2 a b
        HGETEX k persist persist fields 1 a
        HGETEX k EX -1 FIELDS 1 a
        HGETEX k EX abc FIELDS 1 a
        HGETEX k EX abc FIELDS 2 a
        HGETEX k EX FIELDS 1 a
        HGETEX k EX 10 FIELDS
        HGETEX k EX 10 foo 1 a
        HGETEX k KEEPTTL FIELDS 1 a
        HGETEX k NX FIELDS 1 a
        HGETEX k foo FIELDS 1 a
        HGETEX k FIELDS 0 a
        HGETEX k FIELDS x a
        HGETEX k FIELDS 2 a
        HGETEX k FIELDS 1 a b
        HGETEX k FIELDS 1 a EX 10
        HGETEX k EX 9223372036854775807 FIELDS 1 a
        HGETEX k PX 9223372036854775807 FIELDS 1 a
        HGETEX k PXAT 9223372036854775807 FIELDS 1 a
        HGETEX k EXAT 1 FIELDS 3 b b missing
        HGETEX k PX 0 FIELDS 1 c
        HLEN k
        HGETEX new EX 10 FIELDS 2 a b
        HGETEX new EX abc FIELDS 2 a b
        HGETEX k PXAT 1 FIELDS 2 a 12
        EXISTS k
    """,
    "hsetex": """
        HSETEX
        HSETEX k FIELDS 1 a
        HSETEX k FIELDS 1 a 5
        HSETEX k PXAT 99999999999999 FIELDS 2 a 6 new 7
        HPEXPIRETIME k FIELDS 3 a new b
        HSETEX k KEEPTTL FIELDS 2 a 7 b 8
        HPEXPIRETIME k FIELDS 3 a new b
        HSETEX k FIELDS 1 a 8
        HPEXPIRETIME k FIELDS 3 a new b
        HSETEX k FNX FIELDS 2 a 1 fresh 2
        HSETEX k FNX FIELDS 2 f1 1 f1 2
        HSETEX k FXX FIELDS 2 a 1 fresh 2
        HSETEX k FXX FIELDS 2 a 1 b 2
        HSETEX k FXX FNX FIELDS 1 a 1
        HSETEX k NX XX FIELDS 1 a 1
        HSETEX k NX FIELDS 1 a 1
        HSETEX k XX FIELDS 1 a 1
        HSETEX k xx xx fnx fnx fields 1 f2 1
        HSETEX none1 XX FIELDS 1 a 1
        HSETEX none2 FXX FIELDS 1 a 1
        HSETEX some1 NX FIELDS 1 a 1
        HSETEX some2 FNX EXAT 99999999999 FIELDS 1 a 1
        HPEXPIRETIME some2 FIELDS 1 a
        OBJECT ENCODING some1
        OBJECT ENCODING some2
        HSETEX k EX 10 KEEPTTL FIELDS 1 a 1
        HSETEX k EX 10 PX 10 FIELDS 1 a 1
        HSETEX k EX 10 PERSIST FIELDS 1 a 1
        HSETEX k foo FIELDS 1 a 1
        HSETEX k EX abc FIELDS 1 a 1
        HSETEX k EX -1 FIELDS 1 a 1
        HSETEX k EX abc FIELDS 2 a 1
        HSETEX k EX abc NX FIELDS 1 a 1
        HSETEX k FNX EX abc FIELDS 1 a 1
        HSETEX k FXX EX -1 FIELDS 1 missing 1
        HSETEX new FXX EX -1 FIELDS 1 missing 1
        HSETEX k FIELDS 2 a 1
        HSETEX k FIELDS 1 a 1 b
        HSETEX k FIELDS 1 a 1 b 2
        HSETEX k FIELDS 0 a 1
        HSETEX k FIELDS -1 a 1
        HSETEX k FIELDS x a 1
        HSETEX k EX 10 FIELDS 1 a
        HSETEX k EX 10 FIELDS 1 a 1 FNX
        HLEN k
        HSETEX k EXAT 1 FIELDS 2 a 1 f3 1
        HSETEX none3 EXAT 1 FIELDS 1 a 1
        EXISTS none1 none2 none3
        HLEN k
        HGET k a
    """,
    "hgetdel": """
        HGETDEL
        HGETDEL k FIELDS 1
        HGETDEL k FIELDS 1 missing
        HGETDEL k FIELDS 3 b missing b
        HGETDEL k FIELDS 0 a
        HGETDEL k FIELDS -1 a
        HGETDEL k FIELDS x a
        HGETDEL k FIELDS 2 a
        HGETDEL k foo 1 a
        HGETDEL new FIELDS 2 a b
        HLEN k
        HGETDEL k fields 3 a c 12
        EXISTS k
    """,
}


@pytest.mark.parametrize("form", SETS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_script(pair: Pair, name: str, form: str) -> None:
    both_ways(pair, [*SETS[form], *script(SCRIPTS[name])])


PAST = """
    HLEN k
    HGET k a
    HMGET k a b
    HEXISTS k a
    HSTRLEN k a
    HGETALL k
    HKEYS k
    HVALS k
    EXISTS k
    TYPE k
    HTTL k FIELDS 2 a b
    HPEXPIRETIME k FIELDS 2 a b
    HPERSIST k FIELDS 2 a b
    HEXPIRE k 100 FIELDS 1 a
    HEXPIRE k 0 FIELDS 1 a
    HDEL k a
    HGETDEL k FIELDS 1 a
    HGETEX k EX 100 FIELDS 1 a
    HSETEX k FXX FIELDS 1 a 1
    HLEN k
"""
RENEWING = [
    *(["HSET", "k", "a", "new"], ["HSETNX", "k", "a", "new"], ["HINCRBY", "k", "a", 5]),
    ["HINCRBYFLOAT", "k", "a", 0.5],
    *(["HSETEX", "k", "FNX", "FIELDS", 1, "a", "new"], ["HSETEX", "k", "KEEPTTL", "FIELDS", 1, "a", "new"]),
    *(["HSETEX", "k", "EXAT", 1, "FIELDS", 1, "a", "new"], ["HMSET", "k", "a", "new"]),
]


def _over(pair: Pair, *names: str) -> None:
    """Fields whose time is over on both, and which are still there."""
    pair.run("DEL", "k")
    pair.run("HSET", "k", "a", 1, "b", 2)
    pair.run("HPEXPIRE", "k", 1, "FIELDS", len(names), *names)
    for connection in (pair.ours, pair.theirs):
        connection.call("DEBUG", "SLEEP", 0.005)


def test_what_is_over_is_hidden(passive: Pair) -> None:
    _over(passive, "a")
    for command in script(PAST):
        passive.run(*command)
    _over(passive, "a", "b")
    for command in script(PAST):
        passive.run(*command)


@pytest.mark.parametrize("command", RENEWING, ids=lambda words: "-".join(map(str, words)))
def test_what_is_over_may_be_written_anew(passive: Pair, command: list[str | int]) -> None:
    _over(passive, "a")
    passive.run(*command)
    for question in (["HLEN", "k"], ["HMGET", "k", "a", "b"], ["HTTL", "k", "FIELDS", 2, "a", "b"]):
        passive.run(*question)
