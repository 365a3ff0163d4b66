"""Unions, intersections and differences of sorted sets and sets against the real Valkey, in both protocols."""

from __future__ import annotations

import pytest

from fleettest.reference import Pair
from fleettest.scripts import both_ways, script

pytestmark = [pytest.mark.server, pytest.mark.differential]

FEW = [1, "a", 2, "b", 2, "ab", "2.5", "007", -3, "x" * 60, "inf", "top", "-inf", b"\x00\xff", 0, "", 10, "22"]
SETS = {  # what the sorted sets `k` and `l` are at first
    "listpack": [["ZADD", "k", *FEW], ["ZADD", "l", 0, "a", 0, "b", 0, "c"]],
    "skiplist": [["ZADD", "k", *FEW, 5, "x" * 70], ["ZADD", "l", *(w for i in range(150) for w in (0, f"m{i:03}"))]],
    "string": [["SET", "k", "text"], ["ZADD", "l", 0, "b"]],
    "none": [],
}
SCRIPT = """
        ZUNION
        ZUNION 1
        ZUNION 0 k
        ZUNION -1 k
        ZUNION a k
        ZUNION 2 k
        ZUNION 9223372036854775807 k
        ZUNION 1 k
        ZUNION 1 k WITHSCORES
        ZUNION 2 k l WITHSCORES
        ZUNION 3 k none l
        ZADD other 10 a 20 b 0.1 zz inf top -inf mm 1 c
        SADD members a b c zz 22 007
        SADD numbers 1 2 3 22
        ZUNION 3 k other members WITHSCORES
        ZUNION 3 members numbers none WITHSCORES
        ZUNION 2 k k WITHSCORES
        ZUNION 2 k other WEIGHTS 2 3 WITHSCORES
        ZUNION 2 k other WEIGHTS 2
        ZUNION 2 k other WEIGHTS 2 x
        ZUNION 2 k other WEIGHTS 0.1 -inf WITHSCORES
        ZUNION 2 k other WEIGHTS inf 0 WITHSCORES
        ZUNION 2 k other WEIGHTS 1 2 WEIGHTS 3 4 WITHSCORES
        ZUNION 2 k other AGGREGATE MIN WITHSCORES
        ZUNION 2 k other AGGREGATE max WITHSCORES WEIGHTS 1 -1
        ZUNION 2 k other AGGREGATE avg
        ZUNION 2 k other AGGREGATE
        ZUNION 2 k other LIMIT 1
        ZUNION 2 k other WITHSCORES WITHSCORES
        ZINTER 2 k other
        ZINTER 2 k other WITHSCORES
        ZINTER 2 k none WITHSCORES
        ZINTER 3 k other members WITHSCORES
        ZINTER 2 other k WEIGHTS 1.5 inf AGGREGATE MAX WITHSCORES
        ZINTER 2 k other WEIGHTS 0 inf WITHSCORES
        ZINTER 2 k k WITHSCORES
        ZINTER 2 members numbers WITHSCORES
        ZINTER 2 k l
        ZDIFF 1 k
        ZDIFF 2 k other
        ZDIFF 2 k members WITHSCORES
        ZDIFF 3 k other members WITHSCORES
        ZDIFF 4 k other members numbers
        ZDIFF 2 members other WITHSCORES
        ZDIFF 2 k k
        ZDIFF 2 none k
        ZDIFF 2 k none WITHSCORES
        ZDIFF 2 k other WEIGHTS 1 2
        ZDIFF 2 k other AGGREGATE MIN
        ZDIFF 1 k l
        SET str x
        ZUNION 2 k str
        ZUNION 2 str k FOO
        ZINTER 2 none str
        ZDIFF 2 k str
        ZINTERCARD
        ZINTERCARD 0 k
        ZINTERCARD 2 k other
        ZINTERCARD 2 k other LIMIT 1
        ZINTERCARD 2 k other LIMIT 0
        ZINTERCARD 2 k other LIMIT -1
        ZINTERCARD 2 k other LIMIT a
        ZINTERCARD 2 k other LIMIT
        ZINTERCARD 2 k other LIMIT 1 LIMIT 2
        ZINTERCARD 2 k other WITHSCORES
        ZINTERCARD 2 k other WEIGHTS 1 2
        ZINTERCARD 3 k other members
        ZINTERCARD 2 k none
        ZINTERCARD 2 k str
        ZUNIONSTORE
        ZUNIONSTORE d 2 k other WITHSCORES
        ZUNIONSTORE d 0 k
        ZUNIONSTORE d a k
        ZUNIONSTORE d 2 k other
        ZRANGE d 0 -1 WITHSCORES
        OBJECT ENCODING d
        ZUNIONSTORE d 3 k other members WEIGHTS 1 2 3 AGGREGATE MAX
        ZRANGE d 0 -1 WITHSCORES
        ZINTERSTORE d 2 k other
        ZRANGE d 0 -1 WITHSCORES
        ZDIFFSTORE d 2 k other
        ZRANGE d 0 -1 WITHSCORES
        ZDIFFSTORE d 2 k other WITHSCORES
        ZDIFFSTORE d 2 k k
        EXISTS d
        ZUNIONSTORE str 1 k
        TYPE str
        EXPIRE str 100
        ZUNIONSTORE str 1 other
        TTL str
        ZINTERSTORE str 2 k none
        EXISTS str
        ZINTERSTORE str 2 k none
        ZUNIONSTORE k 2 k other
        ZRANGE k 0 -1 WITHSCORES
        ZUNIONSTORE new 1 members
        OBJECT ENCODING new
        ZRANGE new 0 -1 WITHSCORES
        ZUNIONSTORE new 1 members WEIGHTS -0
        ZRANGE new 0 -1 WITHSCORES
        ZUNION 1 members WEIGHTS -0 WITHSCORES
    """


@pytest.mark.parametrize("form", SETS)
def test_script(pair: Pair, form: str) -> None:
    both_ways(pair, [*SETS[form], *script(SCRIPT)])
