"""Hash commands against the real Valkey, byte for byte, in both protocols and both encodings."""

from __future__ import annotations

import pytest

from fleettest.instance import Instance
from fleettest.reference import Pair
from fleettest.scripts import both_ways, script

pytestmark = [pytest.mark.server, pytest.mark.differential]

FIELDS = ["HSET", "k", "a", 1, "b", "two", "c", "", "", -333, "007", "007", b"\x00\xff", b"\xff\x00", 12, "1.5"]
SETS = {  # what the hash `k` is at first
    "listpack": [FIELDS],
    "hashtable": [FIELDS, ["HSET", "k", "long", "x" * 65], ["HDEL", "k", "long"]],
    "one": [["HSET", "k", "a", "only"]],
    "string": [["SET", "k", "text"]],
    "none": [],
}

SCRIPTS = {
    "set": """
        HSET
        HSET k
        HSET k a
        HSET k a b c
        HSET k a 2 new 3 new 4
        HSET k new \\x00 "" ""
        HSET other f v
        HMSET k
        HMSET k a
        HMSET k a b c
        HMSET k a 3 more 4
        HMSET third f v
        HSETNX k a 1
        HSETNX k fresh 1
        HSETNX k fresh 2
        HSETNX fourth f v
        HSETNX k a
        HSETNX k a b c
        HGET k fresh
        HLEN k
        HLEN other
        OBJECT ENCODING k
        DEBUG DIGEST-VALUE k other third fourth
    """,
    "get": """
        HGET
        HGET k
        HGET k a
        HGET k a b
        HGET k 12
        HGET k 012
        HGET k 007
        HGET k 7
        HGET k ""
        HGET k missing
        HGET new a
        HMGET k
        HMGET k a b c missing a
        HMGET new a b
        HEXISTS k
        HEXISTS k a
        HEXISTS k missing
        HEXISTS new a
        HSTRLEN k
        HSTRLEN k b
        HSTRLEN k ""
        HSTRLEN k c
        HSTRLEN k missing
        HSTRLEN new a
        HLEN
        HLEN k
        HLEN k k
        HLEN new
        HGETALL
        HGETALL new
        HKEYS new
        HVALS new
        HKEYS
        HVALS k k
    """,
    "delete": """
        HDEL
        HDEL k
        HDEL k missing
        HDEL k a a
        HDEL new a
        HDEL k b c missing
        HLEN k
        HDEL k "" 007 \\x00\\xff 12 a b
        EXISTS k
        HSET k a 1
        HDEL k a b c
        EXISTS k
    """,
    "increment": """
        HINCRBY
        HINCRBY k a
        HINCRBY k a 1
        HINCRBY k a -10
        HINCRBY k a abc
        HINCRBY k a 1.5
        HINCRBY k b 1
        HINCRBY k c 1
        HINCRBY k 12 1
        HINCRBY k 007 1
        HINCRBY k new 9223372036854775807
        HINCRBY k new 1
        HINCRBY k new -9223372036854775808
        HINCRBY k new 9223372036854775808
        HINCRBY other f -9223372036854775808
        HINCRBY other f -1
        HINCRBY k a 1 1
        HGET k new
        HLEN k
    """,
    "increment_float": """
        HINCRBYFLOAT
        HINCRBYFLOAT k a
        HINCRBYFLOAT k a 0.5
        HINCRBYFLOAT k 12 1e3
        HINCRBYFLOAT k 12 -0.1
        HINCRBYFLOAT k b 1
        HINCRBYFLOAT k c 1
        HINCRBYFLOAT k 007 1
        HINCRBYFLOAT k new 3.0e3
        HINCRBYFLOAT k new abc
        HINCRBYFLOAT k new inf
        HINCRBYFLOAT k new -inf
        HINCRBYFLOAT k new nan
        HINCRBYFLOAT k new 1e4932
        HINCRBYFLOAT k new 1e4931
        HINCRBYFLOAT other f -0.0
        HINCRBYFLOAT k text nan
        HGET k a
        HGET k 12
        HGET k new
        HLEN k
    """,
    "scan": """
        HSCAN
        HSCAN k
        HSCAN k a
        HSCAN k 0 COUNT 0
        HSCAN k 0 COUNT a
        HSCAN k 0 MATCH
        HSCAN k 0 NOSCORES
        HSCAN k 0 TYPE hash
        HSCAN k 0 MATCH a
        HSCAN k 0 MATCH 1[0-9] COUNT 1000
        HSCAN k 0 NOVALUES MATCH a
        HSCAN new 0
        HSCAN new 5
    """,
    "random": """
        HRANDFIELD
        HRANDFIELD new
        HRANDFIELD new 5
        HRANDFIELD new 5 WITHVALUES
        HRANDFIELD k 0
        HRANDFIELD k a
        HRANDFIELD k 1 foo
        HRANDFIELD k 1 WITHVALUES foo
        HRANDFIELD k 9223372036854775807 WITHVALUES
        HRANDFIELD k -9223372036854775808
    """,
    "other_commands": """
        TYPE k
        OBJECT ENCODING k
        OBJECT REFCOUNT k
        COPY k copy
        OBJECT ENCODING copy
        HMGET copy a b c 12
        HSET copy more 1
        HLEN k
        HLEN copy
        RENAME copy third
        EXPIRE third 100000
        HSET third x y
        PERSIST third
        HDEL third x
        HLEN third
        DEBUG DIGEST-VALUE k copy third
        GET k
        APPEND k x
        INCR k
        LPUSH k x
        GETSET k x
        SET k str GET
        SETRANGE k 0 x
        STRLEN k
        MGET k third
        SCAN 0 TYPE hash COUNT 1000
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


@pytest.mark.parametrize("command", ["HGETALL", "HKEYS", "HVALS"])
@pytest.mark.parametrize("form", SETS)
def test_whole(pair: Pair, command: str, form: str) -> None:
    """In order of insertion while it is small; a table has its own order."""
    pair.flush()
    pair.pipeline(SETS[form])
    if form == "hashtable":
        ours, theirs = (connection.call(command, "k") for connection in (pair.ours, pair.theirs))
        if isinstance(ours, dict):
            assert ours == theirs
        else:
            assert sorted(ours) == sorted(theirs)
    else:
        pair.run(command, "k")


@pytest.mark.parametrize("size", [1, 62, 63, 64, 65, 253, 254, 255, 1000, 4095, 4096, 20_000, 70_000])
def test_sizes(pair: Pair, size: int) -> None:
    """Every length at its borders, as a name and as a value, alone and beside others, added and replaced."""
    for limit in (64, 100_000):
        pair.flush()
        pair.run("CONFIG", "SET", "hash-max-listpack-value", limit)
        for text in ("v" * size, "9" * min(size, 25)):
            for beside in (0, 1, 20):
                pair.run("DEL", "k")
                for i in range(beside):
                    pair.run("HSET", "k", f"field:{i}", i)
                pair.run("HSET", "k", text, "value")
                pair.run("OBJECT", "ENCODING", "k")
                pair.run("HSET", "k", "name", text)
                pair.run("OBJECT", "ENCODING", "k")
                pair.run("HSET", "k", "name", "small", text, text + "2")
                pair.run("HMGET", "k", "name", text, "field:3")
                pair.run("HSTRLEN", "k", text)
                pair.run("HINCRBY", "k", text + "n", 5)
                pair.run("DEBUG", "DIGEST-VALUE", "k")
                pair.run("HDEL", "k", text)
                pair.run("DEBUG", "DIGEST-VALUE", "k")
        pair.run("CONFIG", "SET", "hash-max-listpack-value", 64)


def test_parameters_live(server: Instance, valkey: Instance) -> None:
    """Conversion at exactly the count and the length, of one command and of several."""
    same = {"hash-max-listpack-entries": 512, "hash-max-listpack-value": "64"}
    with Pair(server, valkey) as pair, server.configured(**same), valkey.configured(**same):
        pair.flush()
        for count in (0, 1, 5, 16, 100):
            pair.run("CONFIG", "SET", "hash-max-listpack-entries", count)
            for n in (count - 1, count, count + 1):
                if n <= 0:
                    continue
                pair.run("DEL", "k", "one")
                pair.run("HSET", "k", *(f"f{i // 2}" for i in range(2 * n)))
                pair.run("OBJECT", "ENCODING", "k")
                pair.run("DEL", "k")
                pair.run("HSET", "k", *["same", "value"] * n)
                pair.run("OBJECT", "ENCODING", "k")
                pair.run("DEL", "k")
                pair.run("HSETEX", "k", "FIELDS", n, *["same", "value"] * n)  # looks at no number ahead
                pair.run("OBJECT", "ENCODING", "k")
                for i in range(n):
                    pair.run("HSET", "one", f"f{i}", i)
                    pair.run("OBJECT", "ENCODING", "one")
                pair.run("HDEL", "one", "f0")
                pair.run("OBJECT", "ENCODING", "one")
        for size in (0, 1, 10, 65):
            pair.run("CONFIG", "SET", "hash-max-listpack-value", size)
            pair.run("DEL", "k")
            for words in ("a", "x" * size), ("x" * size, "a"), ("a", "x" * (size + 1)), ("x" * (size + 1), "a"):
                pair.run("HSET", "k", *words)
                pair.run("OBJECT", "ENCODING", "k")
                pair.run("DEL", "k")
            pair.run("HINCRBY", "k", "x" * 65, 1234567890123)
            pair.run("OBJECT", "ENCODING", "k")
        pair.run("CONFIG", "GET", "hash-*")


@pytest.mark.parametrize(
    "command",
    [
        *(["HSET", "k", "a", "1"], ["HSETNX", "k", "a", 1], ["HSETNX", "k", "b", 1], ["HDEL", "k", "b"]),
        *(["HDEL", "k", "a"], ["HINCRBY", "k", "a", 0], ["HINCRBY", "k", "a", "x"], ["HINCRBYFLOAT", "k", "a", 0]),
        *(["HGETALL", "k"], ["HMGET", "k", "a"], ["HSET", "k", "a"], ["HDEL", "none", "a"]),
    ],
    ids=lambda words: "-".join(map(str, words)),
)
def test_what_changes_a_watched_key(pair: Pair, command: list[str | int]) -> None:
    pair.flush()
    pair.pipeline([["HSET", "k", "a", "1", "c", "1"], ["WATCH", "k"], command, ["MULTI"], ["EXEC"]])


@pytest.mark.parametrize("form", ["listpack", "hashtable", "one"])
def test_random_fields(pair: Pair, form: str) -> None:
    """All of them, or several: the same set, and with values those that they have."""
    pair.flush()
    pair.pipeline(SETS[form])
    fields = pair.ours.call("HGETALL", "k")
    whole = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
    for connection in (pair.ours, pair.theirs):
        assert set(connection.call("HRANDFIELD", "k", 100)) == whole.keys()
        assert set(connection.call("HRANDFIELD", "k", -100)) <= whole.keys()
        assert len(connection.call("HRANDFIELD", "k", -100)) == 100
        assert connection.call("HRANDFIELD", "k") in whole
        few = connection.call("HRANDFIELD", "k", max(len(whole) - 2, 1))
        assert len(set(few)) == len(few) == max(len(whole) - 2, 1)
        for count in (3, -20, 100):
            found = connection.call("HRANDFIELD", "k", count, "WITHVALUES")
            flat = found if found and isinstance(found[0], bytes) else [word for two in found for word in two]
            assert all(whole[name] == value for name, value in zip(flat[::2], flat[1::2], strict=True))
            assert len(flat) == 2 * (-count if count < 0 else min(count, len(whole)))


def test_a_walk_returns_what_stays(server: Instance) -> None:
    """While the table grows and shrinks."""
    with server.connect() as c:
        c.call("DEL", "k")
        stays = {b"stays:%d" % i for i in range(2000)}
        c.call("HSET", "k", *(word for name in stays for word in (name, b"v")))
        cursor, found, n = b"0", set(), 0
        while True:
            cursor, words = c.call("HSCAN", "k", cursor, "COUNT", 20)
            found |= set(words[::2])
            n += 1
            c.call("HSET", "k", *(word for i in range(100) for word in (b"comes:%d:%d" % (n, i), b"v")))
            if n % 3 == 0:
                c.call("HDEL", "k", *(b"comes:%d:%d" % (n - j, i) for j in range(3) for i in range(100)))
            if cursor == b"0":
                break
        assert stays <= found
        assert n > 50
