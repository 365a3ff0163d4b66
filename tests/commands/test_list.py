"""List commands against the real Valkey, byte for byte, in both protocols and both encodings."""

from __future__ import annotations

import pytest

from fleettest.client import Connection
from fleettest.instance import Instance
from fleettest.reference import Pair
from fleettest.scripts import both_ways, script

pytestmark = [pytest.mark.server, pytest.mark.differential]

SETS = {  # what the list `k` is at first
    "listpack": [["RPUSH", "k", *"abcabc", 1, 22, -333, "007", b"\x00\xff", "x" * 70]],
    "quicklist": [["RPUSH", "k", *"abcabc", 1, 22, -333, "007", b"\x00\xff", "x" * 9000], ["RPUSH", "k", *range(5000)]],
    "one": [["RPUSH", "k", "only"]],
    "string": [["SET", "k", "text"]],
    "none": [],
}

SCRIPTS = {
    "push": """
        LPUSH
        LPUSH k
        LPUSH k a
        RPUSH k 1 "" \\x00
        LPUSHX k z y
        RPUSHX k z y
        LPUSHX new z
        RPUSHX new z
        RPUSHX k
        LRANGE k 0 -1
        LLEN k
        LLEN
        LLEN new
    """,
    "pop": """
        LPOP
        LPOP k
        RPOP k
        LPOP k 0
        LPOP k 2
        RPOP k 3
        RPOP k 0
        LPOP k -1
        LPOP k abc
        LPOP k 9223372036854775808
        LPOP k 1 2
        LPOP new
        LPOP new 1
        LPOP new 0
        LPOP new -1
        RPOP k 9223372036854775807
        EXISTS k
        LPOP k
        LPOP k 5
    """,
    "ranges": """
        LRANGE k
        LRANGE k 0 0
        LRANGE k 0 -1
        LRANGE k -3 -2
        LRANGE k 3 1
        LRANGE k -100 100000
        LRANGE k 100000 -1
        LRANGE k -1 -100
        LRANGE k 9223372036854775807 -9223372036854775808
        LRANGE k -9223372036854775808 9223372036854775807
        LRANGE k a 1
        LRANGE k 1 a
        LRANGE new a 1
        LRANGE new 0 -1
        LINDEX k 0
        LINDEX k -1
        LINDEX k 5
        LINDEX k 100000
        LINDEX k -100000
        LINDEX k a
        LINDEX new a
        LINDEX k -9223372036854775808
        LTRIM k a 1
        LTRIM new 0 1
        LTRIM k 0 -1
        LTRIM k -6 -1
        LRANGE k 0 -1
        OBJECT ENCODING k
        LTRIM k 1 2
        LRANGE k 0 -1
        OBJECT ENCODING k
        LTRIM k 5 1
        EXISTS k
    """,
    "set": """
        LSET k 0
        LSET k a b
        LSET new a b
        LSET new 0 b
        LSET k 0 new
        LSET k -1 12
        LSET k 100000 x
        LSET k -100000 x
        LSET k -9223372036854775808 x
        LRANGE k 0 3
        LINDEX k -1
    """,
    "insert": """
        LINSERT k BEFORE a
        LINSERT k before a first
        LINSERT k AFTER 22 behind
        LINSERT k after 022 behind
        LINSERT k AFTER missing behind
        LINSERT k beside a b
        LINSERT new BEFORE a b
        LINSERT new beside a b
        LINSERT k BEFORE 007 b
        LRANGE k 0 20
    """,
    "remove": """
        LREM k 1
        LREM k 1 a
        LREM k -1 c
        LREM k 0 b
        LREM k 0 missing
        LREM k -9223372036854775808 a
        LREM k -9223372036854775807 a
        LREM k 9223372036854775808 a
        LREM k a a
        LREM new a a
        LREM new 0 a
        LREM k 0 only
        LREM k 0 22
        LRANGE k 0 20
        EXISTS k
    """,
    "positions": """
        LPOS k
        LPOS k a
        LPOS k 22
        LPOS k missing
        LPOS k c RANK 2
        LPOS k c RANK -1
        LPOS k c RANK -3
        LPOS k c RANK 0
        LPOS k c RANK a
        LPOS k c RANK -9223372036854775808
        LPOS k c RANK -9223372036854775807
        LPOS k c COUNT 0
        LPOS k c COUNT 1
        LPOS k c COUNT 5 RANK -1
        LPOS k c COUNT -1
        LPOS k c COUNT a
        LPOS k c MAXLEN 2
        LPOS k c MAXLEN 3
        LPOS k c MAXLEN 0 COUNT 0
        LPOS k c MAXLEN 100 RANK -1 COUNT 0
        LPOS k c MAXLEN -1
        LPOS k c MAXLEN
        LPOS k c FOO 1
        LPOS k c RANK 1 RANK 2
        LPOS new a
        LPOS new a COUNT 1
        LPOS new a RANK 0
        lpos k a rank 1 count 1 maxlen 1
    """,
    "moves": """
        LMOVE k
        LMOVE k other LEFT RIGHT
        LMOVE k other right left
        LMOVE k other RIGHT RIGHT
        LMOVE k k LEFT RIGHT
        LMOVE k k RIGHT LEFT
        LMOVE k k LEFT LEFT
        LMOVE k k RIGHT RIGHT
        LMOVE k other LEFT up
        LMOVE k other up LEFT
        LMOVE new other LEFT LEFT
        LMOVE new new LEFT LEFT
        LRANGE other 0 -1
        LLEN k
        SET str x
        LMOVE k str LEFT LEFT
        LMOVE new str LEFT LEFT
        LMOVE str k LEFT LEFT
        LMOVE str str LEFT LEFT
        RPOPLPUSH k other
        RPOPLPUSH k k
        RPOPLPUSH new k
        RPOPLPUSH k str
        RPOPLPUSH k
        LRANGE other 0 -1
        EXISTS k
    """,
    "several": """
        LMPOP
        LMPOP 0 k LEFT
        LMPOP -1 k LEFT
        LMPOP a k LEFT
        LMPOP 1 k
        LMPOP 2 k LEFT
        LMPOP 3 new k LEFT
        LMPOP 1 k UP
        LMPOP 1 k LEFT COUNT
        LMPOP 1 k LEFT COUNT 0
        LMPOP 1 k LEFT COUNT -1
        LMPOP 1 k LEFT COUNT a
        LMPOP 1 k LEFT COUNT 1 COUNT 1
        LMPOP 1 k LEFT FOO 1
        LMPOP 9223372036854775807 k LEFT
        LMPOP 1 new LEFT
        LMPOP 1 new LEFT COUNT 10
        LMPOP 2 new k LEFT
        LMPOP 2 new k RIGHT COUNT 2
        LMPOP 2 k new left count 100000
        EXISTS k
    """,
    "waits_that_find": """
        BLPOP
        BLPOP k
        BLPOP k -1
        BLPOP k a
        BLPOP k nan
        BLPOP k inf
        BLPOP k 1e300
        BLPOP k 9223372036854775807
        SET str x
        BLPOP str 9223372036854775
        BLPOP k 0x1p-10
        BLPOP new k 0.001
        BRPOP k new 0.001
        BLPOP new str 0.001
        BRPOP new 0.001
        BLMOVE k other LEFT RIGHT 0.001
        BLMOVE k other UP RIGHT a
        BLMOVE k other LEFT RIGHT a
        BLMOVE k other LEFT RIGHT -1
        BLMOVE new other LEFT RIGHT 0.001
        BRPOPLPUSH k other 0.001
        BRPOPLPUSH k k 0.001
        BRPOPLPUSH k other -1
        BRPOPLPUSH new other 0.001
        BLMPOP 0.001 1 k LEFT
        BLMPOP 0.001 2 new k RIGHT COUNT 3
        BLMPOP 0.001 1 new LEFT
        BLMPOP a 0 k LEFT
        BLMPOP a 1 k LEFT
        BLMPOP -1 1 k LEFT
        BLMPOP 0.001 1 k UP
        BLMPOP 0.001 5 k LEFT
        BLMPOP 0.001 1 k LEFT COUNT 0
        LRANGE other 0 -1
        MULTI
        BLPOP new 0
        BRPOP new k 0
        BLMOVE new k LEFT LEFT 0
        BRPOPLPUSH new k 0
        BLMPOP 0 1 new LEFT
        BLMPOP 0 2 new k LEFT
        EXEC
    """,
    "other_commands": """
        TYPE k
        OBJECT ENCODING k
        OBJECT REFCOUNT k
        COPY k copy
        OBJECT ENCODING copy
        LRANGE copy 0 10
        RPUSH copy more
        LLEN k
        LLEN copy
        RENAME copy third
        EXPIRE third 100000
        LPUSH third x
        PERSIST third
        LPOP third
        LRANGE third 0 5
        DEBUG DIGEST-VALUE k copy third
        GET k
        APPEND k x
        INCR k
        GETSET k x
        SET k str GET
        SETRANGE k 0 x
        STRLEN k
        MGET k third
        LCS k third
        MSETNX k a
        SCAN 0 TYPE list COUNT 1000
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


@pytest.mark.parametrize("size", [1, 62, 63, 64, 127, 128, 4095, 4096, 8185, 8191, 8192, 16383, 20000])
def test_sizes(pair: Pair, size: int) -> None:
    """Every form of an element at its borders, alone and beside others, added, replaced and moved."""
    pair.flush()
    for text in ("v" * size, "9" * min(size, 25)):
        for beside in ([], ["a"], ["a"] * 100):
            pair.run("DEL", "k", "other")
            pair.run("RPUSH", "k", *beside, text)
            pair.run("LPUSH", "k", text)
            pair.run("OBJECT", "ENCODING", "k")
            pair.run("LPOS", "k", text, "COUNT", 0)
            pair.run("LINSERT", "k", "AFTER", text, text + "2")
            pair.run("LSET", "k", -1, "small")
            pair.run("OBJECT", "ENCODING", "k")
            pair.run("LMOVE", "k", "other", "LEFT", "RIGHT")
            pair.run("LREM", "k", 0, text + "2")
            for key in ("k", "other"):
                pair.run("LRANGE", key, 0, -1)
                pair.run("DEBUG", "DIGEST-VALUE", key)


@pytest.mark.parametrize(
    "command",
    [
        *(["LTRIM", "k", 0, -1], ["LTRIM", "k", -9, 9], ["LTRIM", "k", 1, -1], ["LREM", "k", 0, "zz"]),
        *(["LREM", "k", 0, "a"], ["LPOP", "k"], ["LPOP", "k", 0], ["LSET", "k", 0, "a"], ["LSET", "k", 9, "a"]),
        *(["LINSERT", "k", "BEFORE", "zz", "x"], ["LINSERT", "k", "BEFORE", "a", "x"], ["LPUSHX", "k", "x"]),
        *(["LPUSHX", "other", "x"], ["LMOVE", "k", "k", "LEFT", "LEFT"], ["LMOVE", "k", "other", "LEFT", "LEFT"]),
        *(["LMOVE", "none", "k", "LEFT", "LEFT"], ["LMPOP", 1, "k", "LEFT"], ["BLPOP", "k", 0], ["LRANGE", "k", 0, 1]),
    ],
    ids=lambda words: "-".join(map(str, words)),
)
def test_what_changes_a_watched_key(pair: Pair, command: list[str | int]) -> None:
    pair.flush()
    pair.pipeline([["RPUSH", "k", "a", "b"], ["WATCH", "k"], command, ["MULTI"], ["EXEC"]])


@pytest.mark.parametrize("limit", ["-2", "-1", "1", "5", "128"])
def test_names_survive_a_reload(server: Instance, valkey: Instance, limit: str) -> None:
    """Near the limit, also where it was passed by what entries take beside their bytes."""
    same: dict[str, str | int] = {"list-max-listpack-size": limit}
    names = []
    with Pair(server, valkey) as pair, server.configured(**same), valkey.configured(**same):
        pair.flush()
        for size in (4060, 4077, 4080, 4083, 4096, 8000, 8170, 8177, 8178, 8179, 8185, 8192, 8193):
            for parts in (1, 2, 5, 100):
                names.append(f"{size} {parts}")
                pair.run("RPUSH", names[-1], *(b"y" * (size // parts) for _ in range(parts)))
        for reloaded in (False, True, True):
            if reloaded:
                pair.run("DEBUG", "RELOAD")
            for name in names:
                pair.run("OBJECT", "ENCODING", name)
                pair.run("DEBUG", "DIGEST-VALUE", name)


def test_parameters_live(server: Instance, valkey: Instance) -> None:
    same = {"list-max-listpack-size": "-2", "list-compress-depth": 0}
    with Pair(server, valkey) as pair, server.configured(**same), valkey.configured(**same):
        pair.flush()
        for limit, depth in (("-2", 0), ("4", 1), ("-1", 2), ("4", 0)):
            pair.run("CONFIG", "SET", "list-max-listpack-size", limit, "list-compress-depth", depth)
            for key in ("k", f"k:{limit}:{depth}"):
                pair.run("RPUSH", key, *["abc" * 20] * 5)
                pair.run("OBJECT", "ENCODING", key)
                pair.run("LPOP", key, 2)
                pair.run("OBJECT", "ENCODING", key)
                pair.run("RPUSH", key, *["abc" * 20] * 500)
                pair.run("LTRIM", key, 100, 102)
                pair.run("OBJECT", "ENCODING", key)
                pair.run("DEBUG", "DIGEST-VALUE", key)
            pair.run("CONFIG", "GET", "list-*")


def test_a_compressed_list(server: Instance, client: Connection) -> None:
    with server.configured(**{"list-compress-depth": 1}):
        client.call("RPUSH", "k", *[b"abcdefgh" * 10 + b"%d" % i for i in range(20_000)])
        assert client.call("MEMORY", "USAGE", "k") < 500_000
        assert client.call("LINDEX", "k", 10_000) == b"abcdefgh" * 10 + b"10000"
        assert client.call("LRANGE", "k", 9_999, 10_001) == [b"abcdefgh" * 10 + b"%d" % i for i in range(9999, 10002)]
        assert client.call("LLEN", "k") == 20_000
