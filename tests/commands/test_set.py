"""Set commands beside the real Valkey, byte for byte where order is not chance, in both protocols and all encodings."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest

from fleettest.client import Connection
from fleettest.instance import Instance
from fleettest.reference import Pair
from fleettest.scripts import both_ways, script

pytestmark = [pytest.mark.server, pytest.mark.differential]

SETS = {  # what the set `k` is at first
    "intset": [["SADD", "k", 3, 1, 2, -70000, 1, "5000000000"]],
    "listpack": [["SADD", "k", *"abc", 1, 22, "007", b"\x00\xff", "", "x" * 64]],
    "hashtable": [["SADD", "k", *"abc", 1, 22, "007", b"\x00\xff", "", "x" * 65]],
    "many": [["SADD", "k", *range(1000)]],
    "one": [["SADD", "k", "a"]],
    "string": [["SET", "k", "text"]],
    "none": [],
}

SCRIPTS = {
    "add_and_remove": """
        SADD
        SADD k
        SADD k a
        SADD k a 1 01 "" \\x00
        OBJECT ENCODING k
        SADD new a a b
        SADD num 1 1 2
        OBJECT ENCODING num
        SADD num x
        OBJECT ENCODING num
        SMEMBERS num
        SREM num x
        OBJECT ENCODING num
        SREM
        SREM k
        SREM k nothing
        SREM k a 1 a 2 nothing
        SREM new a b c
        EXISTS new
        SREM new a
        SCARD k
        SCARD new
        SCARD
        SMEMBERS k
        SMEMBERS new
        SMEMBERS
    """,
    "ask": """
        SISMEMBER k
        SISMEMBER k a
        SISMEMBER k 1
        SISMEMBER k 01
        SISMEMBER k ""
        SISMEMBER k -70000
        SISMEMBER new a
        SMISMEMBER k
        SMISMEMBER k a b nothing 1 2 3 999
        SMISMEMBER new a b
    """,
    "move": """
        SADD other x
        SADD ints 1
        SET str text
        SMOVE k other
        SMOVE k other a
        SMOVE k other nothing
        SMOVE k other 1
        SMOVE k ints 22
        SMOVE k ints 2
        OBJECT ENCODING ints
        SMOVE k fresh 3
        OBJECT ENCODING fresh
        SMOVE k fresh2 c
        OBJECT ENCODING fresh2
        SMOVE k k b
        SMOVE k k nothing
        SMOVE new k a
        SMOVE new str a
        SMOVE str k a
        SMOVE k str b
        SMOVE k str nothing
        SMEMBERS k
        SMEMBERS other
        EXISTS k
    """,
    "pop": """
        SPOP
        SPOP new
        SPOP new 0
        SPOP new 5
        SPOP new -1
        SPOP k 0
        SPOP k -1
        SPOP k a
        SPOP k 1 2
        SPOP k 9223372036854775808
        SRANDMEMBER
        SRANDMEMBER new
        SRANDMEMBER new 0
        SRANDMEMBER new 5
        SRANDMEMBER new -5
        SRANDMEMBER k
        SRANDMEMBER k 0
        SRANDMEMBER k 3
        SRANDMEMBER k -3
        SRANDMEMBER k 100000
        SRANDMEMBER k a
        SRANDMEMBER k 1 2
        SRANDMEMBER k 9223372036854775807
        SRANDMEMBER k 9223372036854775808
        SRANDMEMBER k -9223372036854775808
        SPOP k
        SCARD k
        SPOP k 2
        SCARD k
        OBJECT ENCODING k
        SPOP k 9223372036854775807
        EXISTS k
        SPOP k 5
    """,
    "intersect": """
        SADD a a b 1 2 22 999
        SADD i 1 2 3 999
        SADD h a 1 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
        SINTER
        SINTER k
        SINTER k a
        SINTER i k
        SINTER a i k
        SINTER k k
        SINTER k new
        SINTER new k
        SINTER new str
        SET str text
        SINTER new str
        SINTER a str
        SINTERCARD
        SINTERCARD 1
        SINTERCARD 1 k
        SINTERCARD 2 k a
        SINTERCARD 2 k a LIMIT 1
        SINTERCARD 2 k a LIMIT 0
        SINTERCARD 2 k a limit 100
        SINTERCARD 2 k a LIMIT -1
        SINTERCARD 2 k a LIMIT x
        SINTERCARD 2 k a LIMIT
        SINTERCARD 2 k a LIMIT 1 LIMIT 2
        SINTERCARD 2 k a b
        SINTERCARD 0 k
        SINTERCARD -1 k
        SINTERCARD x k
        SINTERCARD 3 k a
        SINTERCARD 2 k new
        SINTERCARD 2 new str
        SINTERSTORE
        SINTERSTORE to
        SINTERSTORE to k
        OBJECT ENCODING to
        SMEMBERS to
        SINTERSTORE to a i
        OBJECT ENCODING to
        SINTERSTORE to h a
        OBJECT ENCODING to
        SINTERSTORE to h i
        OBJECT ENCODING to
        SINTERSTORE to new k
        EXISTS to
        SINTERSTORE str a i
        TYPE str
        SINTERSTORE k k a
        SMEMBERS k
        SINTERSTORE k k new
        EXISTS k
    """,
    "unite": """
        SADD a a b 1 2 22 999
        SADD i 1 2 3 999
        SUNION
        SUNION k
        SUNION k a i
        SUNION i k
        SUNION i i
        SUNION new k
        SUNION new other
        SET str text
        SUNION new str
        SUNION a str
        SUNIONSTORE to
        SUNIONSTORE to k
        OBJECT ENCODING to
        SUNIONSTORE to i i
        OBJECT ENCODING to
        SUNIONSTORE to a i
        OBJECT ENCODING to
        SMEMBERS to
        SUNIONSTORE to new other
        EXISTS to
        SUNIONSTORE str a k
        TYPE str
        EXPIRE a 10000
        SUNIONSTORE a a k
        TTL a
        SMEMBERS a
        SUNIONSTORE k k k
        SCARD k
    """,
    "subtract": """
        SADD a a b 1 2 22 999
        SADD i 1 2 3 999
        SDIFF
        SDIFF k
        SDIFF k a
        SDIFF k a i
        SDIFF i k
        SDIFF k k
        SDIFF a k k
        SDIFF new k
        SDIFF k new
        SET str text
        SDIFF new str
        SDIFF a str
        SDIFFSTORE to
        SDIFFSTORE to k
        OBJECT ENCODING to
        SMEMBERS to
        SDIFFSTORE to k a
        OBJECT ENCODING to
        SDIFFSTORE to k i a a a a a a
        OBJECT ENCODING to
        SDIFFSTORE to a k
        OBJECT ENCODING to
        SDIFFSTORE to new k
        EXISTS to
        SDIFFSTORE str a i
        TYPE str
        SDIFFSTORE k k a
        SMEMBERS k
        SDIFFSTORE k k k
        EXISTS k
    """,
    "scan": """
        SSCAN
        SSCAN k
        SSCAN k x
        SSCAN k 0 COUNT 10000
        SSCAN k 0 MATCH * COUNT 10000
        SSCAN k 0 MATCH *1* COUNT 10000
        SSCAN k 0 MATCH nothing COUNT 10000
        SSCAN k 0 COUNT 0
        SSCAN k 0 COUNT x
        SSCAN k 0 NOVALUES
        SSCAN k 0 NOSCORES
        SSCAN k 0 TYPE set
        SSCAN k 0 x
        SSCAN k 0 MATCH
        SSCAN new 0
        SSCAN new 0 x
        SSCAN new x
        SSCAN new 5
    """,
    "other_commands": """
        TYPE k
        OBJECT ENCODING k
        OBJECT REFCOUNT k
        COPY k copy
        OBJECT ENCODING copy
        SMEMBERS copy
        SADD copy more
        SCARD k
        SCARD copy
        RENAME copy third
        EXPIRE third 100000
        SADD third x
        PERSIST third
        SREM third a
        DEBUG DIGEST-VALUE k copy third
        GET k
        APPEND k x
        INCR k
        LPUSH k x
        LRANGE k 0 -1
        GETSET k x
        SET k str GET
        SETRANGE k 0 x
        MGET k third
        SCAN 0 TYPE set COUNT 1000
        GETDEL third
        SET third str
        TYPE third
        DEL k
    """,
}


@pytest.mark.parametrize("form", SETS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_script(pair: Pair, name: str, form: str) -> None:
    if name == "pop":  # what is drawn differs, and then replies to what follows do
        pair.flush()
        for command in [*SETS[form], *script(SCRIPTS[name])]:
            pair.run(*command)
    else:
        both_ways(pair, [*SETS[form], *script(SCRIPTS[name])])


@pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 511, 512, 513, 600])
@pytest.mark.parametrize("odd", ["none", "first", "last"])
@pytest.mark.parametrize("at_once", [True, False])
def test_encodings_at_their_limits(pair: Pair, count: int, odd: str, at_once: bool) -> None:
    """Integers, and one member that is none, in one command or one by one."""
    pair.flush()
    members: list[str | int] = list(range(count))
    if odd != "none":
        members.insert(0 if odd == "first" else count, "odd")
    if at_once:
        pair.run("SADD", "k", *members)
    else:
        pair.pipeline([["SADD", "k", member] for member in members])
    pair.run("OBJECT", "ENCODING", "k")
    pair.run("SADD", "k", "x" * 64)
    pair.run("OBJECT", "ENCODING", "k")
    pair.run("SADD", "k", "x" * 65)
    pair.run("OBJECT", "ENCODING", "k")
    pair.run("SREM", "k", *range(count - 1))
    pair.run("OBJECT", "ENCODING", "k")
    pair.run("SMEMBERS", "k")
    pair.run("DEBUG", "DIGEST-VALUE", "k")


@pytest.mark.parametrize("sizes", [(1,), (1, 1, 1), (3, 0, 70, 5, 300), (256, 257), (512, 1), (513, 2), (500, 500)])
def test_algebra_of_intsets(pair: Pair, sizes: tuple[int, ...]) -> None:
    """Up to the limit one more, of all widths, with and without common members."""
    for step in (0, 1, 700, 2**20, 2**40):
        pair.flush()
        keys = [f"k{i}" for i in range(len(sizes))]
        for i, size in enumerate(sizes):
            if size:
                pair.run("SADD", keys[i], *range(-i * step - size // 2, -i * step - size // 2 + size))
        for command in (["SUNION", *keys], ["SUNION", "none", *keys, keys[0]], ["SUNIONSTORE", "to", *keys, "none"]):
            pair.run(*command)
        pair.run("OBJECT", "ENCODING", "to")
        pair.run("DEBUG", "DIGEST-VALUE", "to")
        for command in ("SINTERSTORE", "SDIFFSTORE"):
            for others in (keys, keys[::-1], ["to", keys[0]], ["to", "text"]):
                pair.run("SADD", "text", "x", 1, 70, -1)
                pair.run(command, "some", *others)
                pair.run("OBJECT", "ENCODING", "some")
                pair.run("DEBUG", "DIGEST-VALUE", "some")
        pair.run("SUNIONSTORE", keys[0], *keys[::-1])
        pair.run("DEBUG", "DIGEST-VALUE", keys[0])


@pytest.mark.parametrize("size", [200, 600, 1000])
@pytest.mark.parametrize("text", ["", "member:", "x" * 70])
def test_what_spop_leaves(pair: Pair, size: int, text: str) -> None:
    """A hashtable that loses most of its members at once becomes a listpack; the threshold is Valkey's."""
    border = size * 5 // 6
    for popped in (1, size // 2, size * 4 // 5, border - 1, border, border + 1, size - 5, size - 1):
        pair.flush()
        pair.run("SADD", "k", *(f"{text}{i}" for i in range(size)))
        pair.run("SPOP", "k", popped)
        pair.run("SCARD", "k")
        pair.run("OBJECT", "ENCODING", "k")


@pytest.mark.parametrize(
    "command",
    [
        *(["SADD", "k", "a"], ["SADD", "k", "z"], ["SADD", "other", "z"], ["SREM", "k", "a"], ["SREM", "k", "zz"]),
        *(["SMOVE", "k", "other", "a"], ["SMOVE", "k", "other", "zz"], ["SMOVE", "k", "k", "a"]),
        *(["SMOVE", "other", "k", "o"], ["SMOVE", "other", "k", "b"], ["SPOP", "k"], ["SPOP", "k", 0]),
        ["SPOP", "k", 9],
        *(["SINTERSTORE", "k", "k"], ["SINTERSTORE", "k", "none"], ["SINTERSTORE", "none", "k", "none"]),
        *(["SUNIONSTORE", "other", "k"], ["SDIFFSTORE", "k", "k", "k"], ["SRANDMEMBER", "k"], ["SMEMBERS", "k"]),
    ],
    ids=lambda words: "-".join(map(str, words)),
)
def test_what_changes_a_watched_key(pair: Pair, command: list[str | int]) -> None:
    pair.flush()
    pair.pipeline([["SADD", "k", "a", "b"], ["SADD", "other", "o", "b"], ["WATCH", "k"], command, ["MULTI"], ["EXEC"]])


def test_parameters_live(server: Instance, valkey: Instance) -> None:
    same = {"set-max-intset-entries": 512, "set-max-listpack-entries": 128, "set-max-listpack-value": 64}
    with Pair(server, valkey) as pair, server.configured(**same), valkey.configured(**same):
        pair.flush()
        for ints, count, size in ((512, 128, 64), (0, 0, 0), (10, 5, 3), (3, 100, 10), (100, 1000, 1000)):
            pair.run("CONFIG", "SET", "set-max-intset-entries", ints, "set-max-listpack-entries", count)
            pair.run("CONFIG", "SET", "set-max-listpack-value", size)
            for key in ("old:ints", "old:texts", f"ints:{ints}:{count}", f"texts:{ints}:{count}"):
                base = 100 if "ints" in key else "t:"
                for i in range(12):
                    pair.run("SADD", key, f"{base}{i}")
                    pair.run("OBJECT", "ENCODING", key)
                for command in ("SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE"):
                    pair.run(command, "to", key)
                    pair.run("OBJECT", "ENCODING", "to")
                pair.run("COPY", key, "to", "REPLACE")
                pair.run("OBJECT", "ENCODING", "to")
            pair.run("CONFIG", "GET", "set-*")


def test_a_scan_of_a_large_set_returns_all(client: Connection) -> None:
    members = {b"member:%d" % i for i in range(20_000)}
    client.call("SADD", "k", *members)
    cursor, found = b"0", set()
    while True:
        cursor, page = client.call("SSCAN", "k", cursor, "COUNT", 100)
        assert len(page) < 200
        found |= set(page)
        client.call("SREM", "k", *page[::2])
        if cursor == b"0":
            break
    assert found == members


@pytest.mark.parametrize(("size", "text"), [(40, "%d"), (40, "m%d"), (600, "%d")])
def test_all_members_are_equally_likely(client: Connection, size: int, text: str) -> None:
    """In each form, for few and for most of them: none is 6 standard deviations off."""
    client.call("CONFIG", "SET", "set-max-intset-entries", 512)
    client.call("DEL", "k")
    client.call("SADD", "k", *(text % i for i in range(size)))
    for share in (0.1, 0.5, 0.9):
        count, rounds = int(size * share), 1000
        found = Counter(itertools.chain(*client.pipeline([("SRANDMEMBER", "k", count)] * rounds)))
        spread = math.sqrt(rounds * share * (1 - share))
        assert len(found) == size
        assert all(abs(n - rounds * share) < 6 * spread for n in found.values())


def test_random_members(client: Connection) -> None:
    """Different for a positive count, any for a negative one; SPOP takes each once."""
    for size, text in ((10, b"%d"), (10, b"m%d"), (300, b"%d"), (300, b"m%d")):
        members = {text % i for i in range(size)}
        client.call("DEL", "k")
        client.call("SADD", "k", *members)
        assert client.call("SRANDMEMBER", "k") in members
        for count in (1, size // 4, size // 2, size - 1, size, size + 1):
            found = client.call("SRANDMEMBER", "k", count)
            assert len(found) == len(set(found)) == min(count, size)
            assert set(found) <= members
        found = client.call("SRANDMEMBER", "k", -size * 10)
        assert len(found) == size * 10
        assert size / 2 < len(set(found))
        assert set(found) <= members
        popped = {client.call("SPOP", "k")}
        while True:
            one = client.call("SPOP", "k", 7)
            assert not popped & set(one)
            popped |= set(one)
            if len(one) < 7:
                break
        assert popped == members
        assert client.call("EXISTS", "k") == 0
