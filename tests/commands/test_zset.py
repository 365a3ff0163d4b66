"""Sorted set commands against the real Valkey, byte for byte, in both protocols and both encodings."""

from __future__ import annotations

from typing import Any

import pytest

from fleettest.instance import Instance
from fleettest.reference import Pair
from fleettest.scripts import both_ways, script

pytestmark = [pytest.mark.server, pytest.mark.differential]

FEW = [1, "a", 2, "b", 2, "ab", "2.5", "007", -3, "x" * 60, "inf", "top", "-inf", b"\x00\xff", 0, "", 10, "22"]
SAME = [word for i in range(150) for word in (0, f"m{i:03}")]
SETS = {  # what the sorted sets `k` (scores) and `l` (names) are at first
    "listpack": [["ZADD", "k", *FEW], ["ZADD", "l", *(word for m in "abcdefg" for word in (0, m))]],
    "skiplist": [["ZADD", "k", *FEW, 5, "x" * 70], ["ZADD", "l", *(word for m in "abcdefg" for word in (0, m)), *SAME]],
    "one": [["ZADD", "k", 3, "only"], ["ZADD", "l", 0, "b"]],
    "string": [["SET", "k", "text"], ["SET", "l", "text"]],
    "none": [],
}

SCRIPTS = {
    "add": """
        ZADD
        ZADD k
        ZADD k 1
        ZADD k 1 a
        ZADD k 1 a 2
        ZADD k NX
        ZADD k NX XX
        ZADD k NX 1
        ZADD k 7 a 8 new 2 b
        ZADD k CH 8 a 9 newer 2 b
        ZADD k NX 100 a 100 newest
        ZADD k XX 100 a 100 nobody
        ZADD k XX CH 101 a 100 nobody
        ZADD none XX 1 a
        ZADD none XX INCR 1 a
        ZADD k GT 1 a 200 b
        ZADD k GT CH 1 a 300 b
        ZADD k LT 1 a 200 b
        ZADD k lt ch 0 a 200 b
        ZADD k GT 5 fresh
        ZADD k XX LT 5 fresher
        ZADD k NX XX 1 a
        ZADD k NX GT 1 a
        ZADD k LT NX 1 a
        ZADD k GT LT 1 a
        ZADD k GT LT NX XX 1 a
        ZADD k INCR 1 a 2 b
        ZADD k INCR 1 a
        ZADD k INCR NX 1 a
        ZADD k INCR NX 1 anew
        ZADD k INCR XX 1 nobody
        ZADD k INCR GT -5 a
        ZADD k INCR LT 5 a
        ZADD k INCR LT -5 a
        ZADD k CH INCR 1.5 a
        ZADD k INCR inf inc
        ZADD k INCR -inf inc
        ZADD k INCR nan inc
        ZADD k CH CH XX XX 3 a
        ZADD k FOO 1 a
        ZADD k 1 a FOO b
        ZADD k x a
        ZADD k 1 a x b
        ZADD k 1 twice 2 twice
        ZADD k CH 1 twice 2 twice
        ZADD k -0 minus 0 plus
        ZADD k INCR -0 minus
        ZADD k INCR -0 minus2
        ZSCORE k minus
        ZADD none 1 a x b
        EXISTS none
        ZRANGE k 0 -1 WITHSCORES
        ZCARD k
        OBJECT ENCODING k
    """,
    "scores": """
        ZADD k 3.14159265358979 pi 1e300 huge 5e-324 tiny 0.1 tenth 1e17 big 123456789012345678 bigger
        ZADD k 9007199254740993 odd -1.5e-7 small 4611686018427387904 limit 4611686018427387903 below 1e22 tens
        ZADD k -4611686018427387904 low 9223372036854775807 int 9223372036854775808 beyond 1e21 e21
        ZMSCORE k pi huge tiny tenth big bigger odd small limit below tens low int beyond e21 nobody
        ZINCRBY k 0.2 tenth
        ZINCRBY k 1e308 huge
        ZINCRBY k 1.7e308 huge
        ZINCRBY k 1e308 huge
        ZINCRBY k -inf huge
        ZINCRBY k 1 pi
        ZINCRBY k -0 zero
        ZINCRBY k abc pi
        ZINCRBY k nx pi
        ZINCRBY k Incr pi
        ZINCRBY text XX pi
        ZINCRBY k 1
        ZINCRBY none 1.50 a
        ZINCRBY none 1e400 a
        ZSCORE none a
        ZRANGE k 0 -1 WITHSCORES
        DEBUG DIGEST-VALUE k
    """,
    "remove": """
        ZREM
        ZREM k
        ZREM k a
        ZREM k a b nobody 007
        ZREM k 7
        ZREM k 22 22
        ZREM none a
        ZRANGE k 0 -1
        ZREM k only
        EXISTS k
        ZREMRANGEBYRANK k a 1
        ZREMRANGEBYRANK k 0
        ZREMRANGEBYRANK none a 1
        ZREMRANGEBYRANK none 0 1
        ZREMRANGEBYRANK k 3 1
        ZREMRANGEBYRANK k 100 200
        ZREMRANGEBYRANK k 1 1
        ZREMRANGEBYRANK k -1 -1
        ZREMRANGEBYSCORE k a 1
        ZREMRANGEBYSCORE k (2 (2
        ZREMRANGEBYSCORE k 2 2
        ZREMRANGEBYSCORE k -inf (0
        ZREMRANGEBYSCORE none 0 1
        ZREMRANGEBYLEX l a b
        ZREMRANGEBYLEX l [b (b
        ZREMRANGEBYLEX l [b (d
        ZREMRANGEBYLEX l (f +
        ZRANGE l 0 -1
        ZREMRANGEBYLEX l - +
        EXISTS l
        ZRANGE k 0 -1 WITHSCORES
        ZREMRANGEBYRANK k -100 100
        EXISTS k
    """,
    "one_member": """
        ZSCORE k
        ZSCORE k a
        ZSCORE k nobody
        ZSCORE none a
        ZMSCORE k
        ZMSCORE k a nobody b
        ZMSCORE none a b
        ZCARD k
        ZCARD none
        ZCARD
        ZRANK k a
        ZRANK k ab
        ZRANK k b
        ZRANK k 22 WITHSCORE
        ZRANK k nobody
        ZRANK k nobody withscore
        ZRANK none a
        ZRANK none a WITHSCORE
        ZRANK none a FOO
        ZRANK k a FOO
        ZRANK k a WITHSCORE x
        ZREVRANK k a
        ZREVRANK k top WITHSCORE
        ZREVRANK k nobody
        ZRANK k
    """,
    "ranges": """
        ZRANGE k
        ZRANGE k 0
        ZRANGE k 0 0
        ZRANGE k 0 -1
        ZRANGE k -3 -2
        ZRANGE k 3 1
        ZRANGE k -100 100 WITHSCORES
        ZRANGE k 100 -1
        ZRANGE k a 1
        ZRANGE k 1 a
        ZRANGE k 1.5 2
        ZRANGE none a 1
        ZRANGE none 0 1
        ZRANGE k 9223372036854775807 -9223372036854775808
        ZRANGE k -9223372036854775808 9223372036854775807
        ZRANGE k 0 2 REV
        ZRANGE k 0 2 rev withscores
        ZRANGE k 0 2 REV REV
        ZRANGE k 0 2 FOO
        ZRANGE k 0 2 LIMIT 0 1
        ZRANGE k 0 2 LIMIT 0 -1
        ZRANGE k 0 2 LIMIT 5 -1
        ZRANGE k 0 2 LIMIT 0
        ZRANGE k 0 2 LIMIT a 1
        ZRANGE k 0 2 LIMIT 0 a
        ZRANGE k -inf +inf BYSCORE
        ZRANGE k (1 10 BYSCORE WITHSCORES
        ZRANGE k +inf -inf BYSCORE REV
        ZRANGE k -inf +inf BYSCORE REV
        ZRANGE k 0 10 BYSCORE LIMIT 1 2
        ZRANGE k 10 0 BYSCORE REV LIMIT 1 2 WITHSCORES
        ZRANGE k 0 10 BYSCORE LIMIT 1 -5
        ZRANGE k 0 10 BYSCORE LIMIT 1 0
        ZRANGE k 0 10 BYSCORE LIMIT 100 1
        ZRANGE k 0 10 BYSCORE BYLEX
        ZRANGE k 0 10 BYSCORE BYSCORE
        ZRANGE k a b BYSCORE
        ZRANGE l - + BYLEX
        ZRANGE l + - BYLEX
        ZRANGE l + - BYLEX REV
        ZRANGE l [b (f BYLEX
        ZRANGE l (f [b BYLEX REV LIMIT 1 2
        ZRANGE l [b (f BYLEX WITHSCORES
        ZRANGE l a b BYLEX
        ZREVRANGE k 0 2
        ZREVRANGE k 0 2 WITHSCORES
        ZREVRANGE k 0 2 REV
        ZREVRANGE k 0 2 LIMIT 0 1
        ZREVRANGE k -2 -1
        ZREVRANGE k 0 2 BYSCORE
        ZREVRANGE none 0 1
    """,
    "by_score": """
        ZRANGEBYSCORE k
        ZRANGEBYSCORE k -inf +inf
        ZRANGEBYSCORE k -inf +inf WITHSCORES
        ZRANGEBYSCORE k -inf +inf WITHSCORES LIMIT 1 3
        ZRANGEBYSCORE k -inf +inf LIMIT 1 3 WITHSCORES LIMIT 2 1
        ZRANGEBYSCORE k (2 (10
        ZRANGEBYSCORE k 2 2
        ZRANGEBYSCORE k (2 2
        ZRANGEBYSCORE k 2 (2
        ZRANGEBYSCORE k 3 1
        ZRANGEBYSCORE k (-inf (inf
        ZRANGEBYSCORE k inf inf
        ZRANGEBYSCORE k nan 1
        ZRANGEBYSCORE k ( 1
        ZRANGEBYSCORE k "" 1
        ZRANGEBYSCORE k (( 1
        ZRANGEBYSCORE k 1\\x00zzz 2
        ZRANGEBYSCORE k (1\\x00zzz 2
        ZRANGEBYSCORE k -1e400 1e400
        ZRANGEBYSCORE k 1e-400 1
        ZRANGEBYSCORE k 0x1 2
        ZRANGEBYSCORE k 0 1 REV
        ZRANGEBYSCORE k 0 1 BYSCORE
        ZRANGEBYSCORE k 0 1 LIMIT 0
        ZRANGEBYSCORE k 0 1 LIMIT a b
        ZRANGEBYSCORE k a b LIMIT a b
        ZRANGEBYSCORE none 0 1
        ZREVRANGEBYSCORE k +inf -inf
        ZREVRANGEBYSCORE k +inf -inf WITHSCORES LIMIT 1 3
        ZREVRANGEBYSCORE k -inf +inf
        ZREVRANGEBYSCORE k (10 (2
        ZREVRANGEBYSCORE k 10 2 LIMIT 2 -1
        ZREVRANGEBYSCORE k a b
        ZCOUNT k -inf +inf
        ZCOUNT k (1 2
        ZCOUNT k 2 (1
        ZCOUNT k a 1
        ZCOUNT none a 1
        ZCOUNT none 0 1
        ZCOUNT k 0
    """,
    "by_lex": """
        ZRANGEBYLEX l - +
        ZRANGEBYLEX l [b [f
        ZRANGEBYLEX l (b (f
        ZRANGEBYLEX l [f [b
        ZRANGEBYLEX l [b (b
        ZRANGEBYLEX l (b (b
        ZRANGEBYLEX l [b [b
        ZRANGEBYLEX l [bb [cc
        ZRANGEBYLEX l - (
        ZRANGEBYLEX l ( +
        ZRANGEBYLEX l [ +
        ZRANGEBYLEX l + -
        ZRANGEBYLEX l + +
        ZRANGEBYLEX l - -
        ZRANGEBYLEX l -x +
        ZRANGEBYLEX l -\\x00x +
        ZRANGEBYLEX l "" +
        ZRANGEBYLEX l 5 +
        ZRANGEBYLEX l b c
        ZRANGEBYLEX l - + LIMIT 1 2
        ZRANGEBYLEX l - + LIMIT 1 2 WITHSCORES
        ZRANGEBYLEX l - + WITHSCORES
        ZRANGEBYLEX none - +
        ZRANGEBYLEX none a b
        ZREVRANGEBYLEX l + -
        ZREVRANGEBYLEX l - +
        ZREVRANGEBYLEX l [f (b
        ZREVRANGEBYLEX l [f (b LIMIT 1 1
        ZLEXCOUNT l - +
        ZLEXCOUNT l [b (f
        ZLEXCOUNT l (f [b
        ZLEXCOUNT l b f
        ZLEXCOUNT none - +
        ZLEXCOUNT l -
    """,
    "store": """
        ZRANGESTORE
        ZRANGESTORE d k 0
        ZRANGESTORE d k 0 -1
        ZRANGE d 0 -1 WITHSCORES
        OBJECT ENCODING d
        ZRANGESTORE d k 0 2 REV
        ZRANGE d 0 -1 WITHSCORES
        ZRANGESTORE d k 0 2 WITHSCORES
        ZRANGESTORE d k 1 (10 BYSCORE LIMIT 1 2
        ZRANGE d 0 -1 WITHSCORES
        ZRANGESTORE d k 10 1 BYSCORE REV LIMIT 1 2
        ZRANGE d 0 -1
        ZRANGESTORE d l [b + BYLEX
        ZRANGE d 0 -1
        OBJECT ENCODING d
        ZRANGESTORE d k 5 1
        EXISTS d
        SET d string
        ZRANGESTORE d none 0 -1
        EXISTS d
        SET d string
        ZRANGESTORE d k 0 -1
        TYPE d
        EXPIRE d 1000
        ZRANGESTORE d k 0 -1
        TTL d
        ZRANGESTORE k k 1 -2
        ZRANGE k 0 -1 WITHSCORES
        ZRANGESTORE d k 0 1 LIMIT 0 1
        ZRANGESTORE d k a 1
    """,
    "pop": """
        ZPOPMIN
        ZPOPMIN k
        ZPOPMAX k
        ZPOPMIN k 0
        ZPOPMIN k 2
        ZPOPMAX k 3
        ZPOPMAX k 0
        ZPOPMIN k -1
        ZPOPMIN k abc
        ZPOPMIN k 1.5
        ZPOPMIN k 9223372036854775808
        ZPOPMIN k 1 2
        ZPOPMIN none
        ZPOPMIN none 1
        ZPOPMIN none 0
        ZPOPMIN none -1
        ZPOPMAX k 9223372036854775807
        EXISTS k
        ZPOPMIN k
    """,
    "several": """
        ZMPOP
        ZMPOP 0 k MIN
        ZMPOP -1 k MIN
        ZMPOP a k MIN
        ZMPOP 1 k
        ZMPOP 2 k MIN
        ZMPOP 3 none k MIN
        ZMPOP 1 k UP
        ZMPOP 1 k MIN COUNT
        ZMPOP 1 k MIN COUNT 0
        ZMPOP 1 k MIN COUNT -1
        ZMPOP 1 k MIN COUNT a
        ZMPOP 1 k MIN COUNT 1 COUNT 1
        ZMPOP 1 k MIN FOO 1
        ZMPOP 9223372036854775807 k MIN
        ZMPOP 1 none MIN
        ZMPOP 1 none MAX COUNT 10
        ZMPOP 2 none k MIN
        ZMPOP 2 none k MAX COUNT 2
        ZMPOP 2 k none min count 100000
        EXISTS k
    """,
    "waits_that_find": """
        BZPOPMIN
        BZPOPMIN k
        BZPOPMIN k -1
        BZPOPMIN k a
        BZPOPMIN k nan
        BZPOPMIN k inf
        SET str x
        BZPOPMIN str 0.001
        BZPOPMIN k 0x1p-10
        BZPOPMIN none k 0.001
        BZPOPMAX k none 0.001
        BZPOPMIN none str 0.001
        BZPOPMAX none 0.001
        BZMPOP 0.001 1 k MIN
        BZMPOP 0.001 2 none k MAX COUNT 3
        BZMPOP 0.001 1 none MIN
        BZMPOP a 0 k MIN
        BZMPOP a 1 k MIN
        BZMPOP -1 1 k MIN
        BZMPOP 0.001 1 k UP
        BZMPOP 0.001 5 k MIN
        BZMPOP 0.001 1 k MIN COUNT 0
        MULTI
        BZPOPMIN none 0
        BZPOPMAX none k 0
        BZMPOP 0 1 none MIN
        BZMPOP 0 2 none k MIN
        EXEC
    """,
    "random": """
        ZRANDMEMBER
        ZRANDMEMBER none
        ZRANDMEMBER none 5
        ZRANDMEMBER none -5 WITHSCORES
        ZRANDMEMBER k 0
        ZRANDMEMBER k 0 WITHSCORES
        ZRANDMEMBER k a
        ZRANDMEMBER none a
        ZRANDMEMBER k 1 WITHVALUES
        ZRANDMEMBER k 1 WITHSCORES x
        ZRANDMEMBER k -9223372036854775808
        ZRANDMEMBER k 9223372036854775807 WITHSCORES x
        ZRANDMEMBER k -4611686018427387904 WITHSCORES
        ZSCAN k
        ZSCAN k a
        ZSCAN none a
        ZSCAN none 0 FOO
        ZSCAN k 0 FOO
        ZSCAN k 0 COUNT 0
        ZSCAN k 0 COUNT a
        ZSCAN k 0 MATCH nobody* COUNT 1000
        ZSCAN k 0 MATCH nobody* COUNT 1000 NOSCORES
        ZSCAN k 0 MATCH top COUNT 1000
        ZSCAN k 0 NOSCORES MATCH top COUNT 1000
        ZSCAN k 0 NOVALUES
        ZADD k 0.1 tenth 1e17 big 123456789012345678 bigger -0 minus 1.5e-7 small 4611686018427387904 limit 3 three
        ZSCAN k 0 MATCH tenth COUNT 1000
        ZSCAN k 0 MATCH big COUNT 1000
        ZSCAN k 0 MATCH bigger COUNT 1000
        ZSCAN k 0 MATCH minus COUNT 1000
        ZSCAN k 0 MATCH small COUNT 1000
        ZSCAN k 0 MATCH limit COUNT 1000
        ZSCAN k 0 MATCH three COUNT 1000
    """,
    "other_commands": """
        TYPE k
        OBJECT ENCODING k
        OBJECT REFCOUNT k
        COPY k copy
        OBJECT ENCODING copy
        ZRANGE copy 0 -1 WITHSCORES
        ZADD copy 5 more
        ZCARD k
        ZCARD copy
        RENAME copy third
        EXPIRE third 100000
        ZINCRBY third 1 more
        PERSIST third
        ZREM third more
        ZRANGE third 0 5
        DEBUG DIGEST-VALUE k copy third
        GET k
        APPEND k x
        LPUSH k x
        LRANGE k 0 -1
        SET k str GET
        SCAN 0 TYPE zset COUNT 1000
        GETDEL third
        SET third str
        TYPE third
        DEL k
    """,
}


@pytest.mark.parametrize("form", SETS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_script(pair: Pair, name: str, form: str) -> None:
    both_ways(pair, [*SETS[form], *script(SCRIPTS[name])])


@pytest.mark.parametrize("form", ["listpack", "skiplist", "one"])
@pytest.mark.parametrize("resp", [2, 3])
def test_some_members(server: Instance, form: str, resp: int) -> None:
    """ZRANDMEMBER and ZSCAN give members with their scores, in an order of their own."""
    with server.connect(resp=resp) as c:
        c.call("FLUSHALL")
        for command in SETS[form]:
            c.call(*command)
        members = c.call("ZRANGE", "k", 0, -1)
        scores = dict(zip(members, c.call("ZMSCORE", "k", *members), strict=True))

        def pairs(reply: list[Any]) -> list[tuple[bytes, Any]]:
            return [(m, s) for m, s in (reply if resp == 3 else zip(reply[::2], reply[1::2], strict=True))]

        assert sorted(pairs(c.call("ZRANDMEMBER", "k", 1000, "WITHSCORES"))) == sorted(scores.items())
        assert sorted(c.call("ZRANDMEMBER", "k", 1000)) == sorted(scores)
        some = pairs(c.call("ZRANDMEMBER", "k", len(scores) // 2, "withscores"))
        assert len(dict(some)) == len(some) == len(scores) // 2 and set(some) <= set(scores.items())
        drawn = pairs(c.call("ZRANDMEMBER", "k", -500, "WITHSCORES"))
        assert len(drawn) == 500 and set(drawn) == set(scores.items())
        assert c.call("ZRANDMEMBER", "k") in scores
        cursor, found = c.call("ZSCAN", "k", 0, "COUNT", 1000)
        assert cursor == b"0"
        assert {m: float(score) for m, score in zip(found[::2], found[1::2], strict=True)} == {
            m: float(score) for m, score in scores.items()
        }
        assert sorted(c.call("ZSCAN", "k", 0, "COUNT", 1000, "NOSCORES")[1]) == sorted(scores)


@pytest.mark.parametrize("count", [127, 128, 129])
@pytest.mark.parametrize("size", [63, 64, 65])
def test_thresholds(pair: Pair, count: int, size: int) -> None:
    """The form at the limits, as each command that may pass one leaves it."""
    pair.flush()
    pairs = [word for i in range(count) for word in (i, f"m{i}")]
    pair.run("ZADD", "k", *pairs)
    pair.run("OBJECT", "ENCODING", "k")
    pair.run("ZADD", "one", 1, "a")
    pair.run("ZADD", "one", "XX", *pairs)
    pair.run("OBJECT", "ENCODING", "one")
    pair.run("ZADD", "one", "NX", *[1, "a"] * count)
    pair.run("OBJECT", "ENCODING", "one")
    pair.run("ZADD", "one", "XX", 1, "x" * size)
    pair.run("OBJECT", "ENCODING", "one")
    pair.run("ZINCRBY", "long", 1, "x" * size)
    pair.run("OBJECT", "ENCODING", "long")
    for commands in (("0", "-1"), ("-inf", "+inf", "BYSCORE"), ("0", "1")):
        pair.run("ZRANGESTORE", "stored", "k", *commands)
        pair.run("OBJECT", "ENCODING", "stored")
    pair.run("ZREMRANGEBYRANK", "k", 5, -1)
    pair.run("OBJECT", "ENCODING", "k")
    pair.run("COPY", "k", "copy")
    pair.run("OBJECT", "ENCODING", "copy")
    pair.run("DEBUG", "RELOAD")
    for key in ("k", "one", "long", "copy", "stored"):
        pair.run("OBJECT", "ENCODING", key)
        pair.run("DEBUG", "DIGEST-VALUE", key)


@pytest.mark.parametrize(
    "command",
    [
        *(["ZADD", "k", 1, "a"], ["ZADD", "k", 2, "a"], ["ZADD", "k", "NX", 2, "a"], ["ZADD", "k", "GT", 0, "a"]),
        *(["ZADD", "none", "XX", 2, "a"], ["ZINCRBY", "k", 0, "a"], ["ZINCRBY", "k", 1, "a"], ["ZREM", "k", "x"]),
        *(["ZREM", "k", "a"], ["ZREMRANGEBYRANK", "k", 5, 6], ["ZREMRANGEBYRANK", "k", 0, 0], ["ZRANGE", "k", 0, 1]),
        *(["ZPOPMIN", "k"], ["ZPOPMIN", "k", 0], ["ZMPOP", 1, "k", "MAX"], ["BZPOPMIN", "k", 0]),
        *(["ZUNIONSTORE", "k", 1, "k"], ["ZINTERSTORE", "k", 2, "k", "none"], ["ZDIFFSTORE", "none", 2, "k", "k"]),
        *(["ZRANGESTORE", "k", "none", 0, 1], ["ZRANGESTORE", "none", "k", 5, 6], ["ZRANGESTORE", "k", "k", 0, -1]),
    ],
    ids=lambda words: "-".join(map(str, words)),
)
def test_what_changes_a_watched_key(pair: Pair, command: list[str | int]) -> None:
    pair.flush()
    pair.pipeline([["ZADD", "k", 1, "a", 2, "b"], ["WATCH", "k", "none"], command, ["MULTI"], ["EXEC"]])


def test_parameters_live(server: Instance, valkey: Instance) -> None:
    same = {"zset-max-listpack-entries": 128, "zset-max-listpack-value": 64}
    with Pair(server, valkey) as pair, server.configured(**same), valkey.configured(**same):
        pair.flush()
        for entries, value in ((2, 64), (128, 3), (0, 64), (128, 0), (3, 3), (128, 64)):
            pair.run("CONFIG", "SET", "zset-max-ziplist-entries", entries, "zset-max-listpack-value", value)
            for key in ("k", f"k:{entries}:{value}"):
                for member in ("a", "bb", "ccc", "dddd"):
                    pair.run("ZADD", key, 1, member)
                    pair.run("OBJECT", "ENCODING", key)
            pair.run("ZRANGESTORE", "stored", "k", 0, 2)
            pair.run("OBJECT", "ENCODING", "stored")
