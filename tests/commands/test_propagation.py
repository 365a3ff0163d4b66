"""What commands leave in the AOF: the same as Valkey's, word for word apart from times.

The rule is determinism: relative times become absolute ones, a key that is deleted for its age becomes UNLINK or DEL,
and commands that changed nothing leave nothing.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from fleettest import aoffile
from fleettest.client import Arg, Connection
from fleettest.instance import Instance, Pool
from fleettest.reference import Pair
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

FUTURE = 99999999999


def journal(instance: Instance) -> list[list[bytes]]:
    """The commands of the newest incremental file, upper-case names, 13-digit times as T."""
    files = sorted(Path(instance.directory).glob("appendonlydir/*.incr.aof"), key=lambda f: f.stat().st_mtime)
    read = aoffile.commands(files[-1].read_bytes())
    return [[words[0].upper(), *(re.sub(rb"^1\d{12}$", b"T", word) for word in words[1:])] for words in read]


@pytest.fixture
def journals(servers: Pool) -> Pair:
    """Both with an AOF that is written at once, emptied."""
    options: dict[str, str | int] = {"appendonly": "yes", "appendfsync": "always", "auto-aof-rewrite-percentage": 0}
    return Pair(servers.get("cachefleet", **options), servers.get("valkey", **options))


def compare(pair: Pair, commands: list[tuple[Arg, ...]]) -> list[list[bytes]]:
    """Runs them on both and compares what was journalled since."""
    before = [len(journal(instance)) for instance in pair.instances]
    for connection in (pair.ours, pair.theirs):
        connection.call("SELECT", 0)
        connection.call("SET", "begin", 1)
    for command in commands:
        pair.run(*command)
    for connection in (pair.ours, pair.theirs):
        connection.call("SELECT", 0)
        connection.call("SET", "end", 1)
    ours, theirs = (journal(i)[n:] for i, n in zip(pair.instances, before, strict=True))
    assert ours == theirs
    return ours[ours.index([b"SET", b"begin", b"1"]) + 1 : -1]


def test_expire_family(journals: Pair) -> None:
    found = compare(journals, [
        ("SET", "k", "v"), ("EXPIRE", "k", 10), ("EXPIRE", "k", 10, "NX"), ("PEXPIRE", "k", 1_000_000, "GT"),
        ("EXPIREAT", "k", FUTURE), ("PEXPIREAT", "k", FUTURE * 1000, "xx"), ("PEXPIREAT", "k", FUTURE * 1000),
        ("EXPIRE", "nokey", 10), ("PERSIST", "k"), ("PERSIST", "k"), ("EXPIRE", "k", -1), ("EXPIRE", "k", -1),
        ("SET", "k", "v"), ("EXPIRE", "k", 5, *["LT"] * 10),
    ])  # fmt: skip
    assert [b"PEXPIREAT", b"k", b"T", b"GT"] in found
    assert [b"UNLINK", b"k"] in found


def test_deletions_follow_lazyfree(journals: Pair) -> None:
    for lazy in ("yes", "no"):
        ours, theirs = journals.instances
        with ours.configured(lazyfree_lazy_expire=lazy), theirs.configured(lazyfree_lazy_expire=lazy):
            compare(journals, [("SET", "k", "v"), ("PEXPIREAT", "k", -5), ("SET", "k", "v"), ("EXPIRE", "k", 0, "LT")])


def test_bitmaps(journals: Pair) -> None:
    compare(journals, [
        ("SETBIT", "b", 7, 1), ("SETBIT", "b", 7, 1), ("SETBIT", "b", 70, 0), ("SETBIT", "b", 0, 0), ("GETBIT", "b", 7),
        ("BITCOUNT", "b"), ("BITPOS", "b", 1), ("BITOP", "AND", "d", "b", "b"), ("BITOP", "NOT", "d", "b"),
        ("BITOP", "XOR", "d", "no", "no"), ("BITOP", "XOR", "d", "no", "no"), ("BITFIELD", "b", "GET", "u8", 0),
        ("BITFIELD", "b", "SET", "u8", 0, 9, "SET", "u8", 0, 8), ("BITFIELD", "b", "SET", "u8", 0, 8),
        ("BITFIELD", "b", "OVERFLOW", "FAIL", "INCRBY", "u8", 0, 255), ("BITFIELD", "b", "SET", "u8", 800, 0),
        ("MULTI",), ("SETBIT", "b", 7, 1), ("SETBIT", "b", 7, 0), ("BITCOUNT", "b"), ("EXEC",),
    ])  # fmt: skip


def test_hyperloglogs(journals: Pair) -> None:
    """PFCOUNT is a change where it writes the count."""
    compare(journals, [
        ("PFADD", "h"), ("PFADD", "h"), ("PFADD", "h", "a", "b"), ("PFADD", "h", "a"), ("PFCOUNT", "h"),
        ("PFCOUNT", "h"), ("PFCOUNT", "h", "no"), ("PFMERGE", "d", "h"), ("PFMERGE", "d", "h"), ("PFMERGE", "d"),
        ("PFDEBUG", "ENCODING", "d"), ("PFDEBUG", "TODENSE", "d"), ("PFDEBUG", "TODENSE", "d"),
        ("PFDEBUG", "GETREG", "d"), ("PFDEBUG", "GETREG", "h"), ("PFCOUNT", "d"), ("PFCOUNT", "no"),
        ("MULTI",), ("PFADD", "h", "z"), ("PFCOUNT", "h"), ("PFCOUNT", "h"), ("EXEC",),
    ])  # fmt: skip


def test_positions(journals: Pair) -> None:
    compare(journals, [
        ("GEOADD", "g", 13.361389, 38.115556, "p", 15.087269, 37.502669, "c"),
        ("GEOADD", "g", 15.087269, 37.502669, "c"), ("geoadd", "g", "ch", "XX", 1, 1, "c", 2, 2, "no"),
        ("GEOADD", "g", "NX", 1, 1, "c"), ("GEOADD", "g", 1, 1, "c"),
        ("GEOSEARCH", "g", "FROMLONLAT", 1, 1, "BYRADIUS", 1, "km"), ("GEORADIUS", "g", 1, 1, 1, "km", "STORE", "d"),
        ("GEORADIUS", "g", 9, 9, 1, "m", "STORE", "d"), ("GEORADIUS", "g", 9, 9, 1, "m", "STORE", "d"),
        ("GEORADIUSBYMEMBER", "g", "p", 9999, "km", "STOREDIST", "d"),
        ("GEOSEARCHSTORE", "e", "g", "FROMMEMBER", "p", "BYBOX", 9, 9, "km"), ("GEOPOS", "g", "p"),
    ])  # fmt: skip


def test_generic(journals: Pair) -> None:
    compare(journals, [
        ("SET", "k", "v"), ("del", "k", "nokey"), ("DEL", "nokey"), ("SET", "k", "v"), ("unlink", "k"), ("SET", "a", 1),
        ("RENAME", "a", "b"), ("RENAME", "b", "b"), ("SET", "c", 1), ("RENAMENX", "b", "d"), ("RENAMENX", "c", "d"),
        ("COPY", "d", "e"), ("COPY", "d", "e"), ("COPY", "d", "e", "REPLACE"), ("COPY", "d", "e", "DB", 1, "REPLACE"),
        ("MOVE", "d", 2), ("MOVE", "d", 2), ("SWAPDB", 0, 1), ("SWAPDB", 0, 0), ("TOUCH", "c"), ("FLUSHDB",),
        ("FLUSHDB", "ASYNC"), ("FLUSHDB",), ("FLUSHALL",), ("FLUSHALL", "SYNC"), ("FLUSHALL", "FOO"),
    ])  # fmt: skip


def test_databases(journals: Pair) -> None:
    compare(journals, [("SELECT", 3), ("SET", "a", 1), ("SELECT", 0), ("GET", "a"), ("SET", "a", 1), ("SELECT", 3)])


def test_transactions(journals: Pair) -> None:
    found = compare(journals, [
        ("SET", "a", 1), ("MULTI",), ("SET", "a", 1), ("GET", "a"), ("INCR", "a"), ("EXPIRE", "a", 100), ("EXEC",),
        ("MULTI",), ("GET", "a"), ("EXEC",), ("MULTI",), ("EXEC",), ("MULTI",), ("DEL", "nokey"), ("EXEC",),
        ("MULTI",), ("SELECT", 2), ("SET", "x", 1), ("SELECT", 0), ("SET", "x", 2), ("EXEC",),
        ("MULTI",), ("SET", "a", 1), ("DISCARD",),
        ("MULTI",), ("INCR", "a"), ("INCRBY", "a", "x"), ("INCR", "a"), ("EXEC",),
        ("MULTI",), ("FLUSHDB",), ("SET", "a", 1), ("FLUSHALL",), ("EXEC",),
    ])  # fmt: skip
    assert found.count([b"MULTI"]) == found.count([b"EXEC"]) == 4


def test_a_transaction_that_wrote_once_stands_alone(journals: Pair) -> None:
    found = compare(journals, [("MULTI",), ("GET", "a"), ("SET", "b", 1), ("EXEC",)])
    assert found == [[b"SET", b"b", b"1"]]


def _is_zero(client: Connection, *question: Arg) -> bool:
    return bool(client.call(*question) == 0)


@pytest.mark.parametrize("active", [0, 1])
@pytest.mark.parametrize("lazy", ["yes", "no"])
def test_expired_keys_are_journalled(journals: Pair, active: int, lazy: str) -> None:
    for instance in journals.instances:
        with instance.configured(lazyfree_lazy_expire=lazy), instance.connect() as client:
            client.call("DEBUG", "SET-ACTIVE-EXPIRE", active)
            before = len(journal(instance))
            client.call("SET", "k", "v", "PX", 1)
            question = ("DBSIZE",) if active else ("EXISTS", "k")
            assert_eventually(functools.partial(_is_zero, client, *question))
            client.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
            name = b"UNLINK" if lazy == "yes" else b"DEL"
            assert journal(instance)[before:][-2:] == [[b"SET", b"k", b"v", b"PXAT", b"T"], [name, b"k"]]


def state(client: Connection) -> dict[bytes, tuple[bytes, int]]:
    keys = client.call("KEYS", "*")
    return {key: (client.call("GET", key), client.call("PEXPIRETIME", key)) for key in keys}


def test_what_was_journalled_loads_again(journals: Pair) -> None:
    ours = journals.instances[0]
    with ours.connect() as client:
        client.pipeline([("SET", f"k{i}", i) for i in range(100)])
        client.pipeline([("EXPIRE", f"k{i}", 1000 + i) for i in range(50)])
        client.call("MULTI")
        client.pipeline([("RENAME", f"k{i}", f"moved{i}") for i in range(20)])
        client.call("EXEC")
        client.call("MOVE", "k60", 5)
        before = state(client)
    ours.restart(kill=True)
    with ours.connect() as client:
        assert state(client) == before
        assert 900 < client.call("TTL", "moved3") <= 1003
        assert client.call("MOVE", "k60", 5) == 0
        client.call("SELECT", 5)
        assert client.call("GET", "k60") == b"60"


def test_hashes(journals: Pair) -> None:
    found = compare(journals, [
        ("HSET", "k", "a", 1, "b", 2), ("hset", "k", "a", 1), ("HMSET", "k", "c", 3), ("HSETNX", "k", "a", 1),
        ("HSETNX", "k", "d", 1), ("HINCRBY", "k", "a", 5), ("HINCRBY", "k", "a", "x"), ("HINCRBYFLOAT", "k", "a", 0.1),
        ("HINCRBYFLOAT", "k", "new", "3.0e3"), ("HINCRBYFLOAT", "k", "new", "x"), ("HDEL", "k", "none"),
        ("HDEL", "k", "a", "none"), ("HGETALL", "none"), ("HDEL", "k", "b", "c", "d", "new"), ("HDEL", "k", "b"),
        ("HSET", "k", "a"),
    ])  # fmt: skip
    assert [b"HSET", b"k", b"new", b"3000"] in found
    assert [b"HDEL", b"k", b"none"] not in found


def test_fields_that_expire(journals: Pair) -> None:
    far = FUTURE * 1000
    found = compare(journals, [
        ("HSET", "k", *"abcdefghij"), ("HEXPIRE", "k", 100, "FIELDS", 2, "a", "none"),
        ("HEXPIRE", "none", 1, "FIELDS", 1, "a"),
        ("HPEXPIRE", "k", 100_000, "nx", "FIELDS", 1, "c"), ("HPEXPIRE", "k", 100_000, "NX", "FIELDS", 1, "c"),
        ("HEXPIREAT", "k", FUTURE, "fields", 1, "a"), ("hpexpireat", "k", far, "fields", 2, "a", "c"),
        ("HEXPIRE", "k", 0, "FIELDS", 2, "e", "none"), ("HPERSIST", "k", "FIELDS", 2, "a", "none"),
        ("HPERSIST", "k", "FIELDS", 1, "a"), ("HTTL", "k", "FIELDS", 1, "c"), ("HGETEX", "k", "FIELDS", 1, "a"),
        ("HGETEX", "k", "EX", 100, "FIELDS", 2, "a", "none"), ("HGETEX", "k", "PERSIST", "FIELDS", 2, "a", "g"),
        ("HGETEX", "k", "PXAT", far, "FIELDS", 2, "a", "g"), ("HGETEX", "k", "PX", 0, "FIELDS", 2, "g", "none"),
        ("HSETEX", "k", "fields", 1, "a", 5), ("HSETEX", "k", "NX", "FIELDS", 1, "a", 5),
        ("HSETEX", "k", "xx", "FXX", "EX", 100, "fields", 2, "a", 5, "c", 6),
        ("HSETEX", "k", "keepttl", "FIELDS", 1, "a", 7), ("HSETEX", "k", "FNX", "PXAT", far, "FIELDS", 1, "n", 7),
        ("HSETEX", "k", "EXAT", 1, "FIELDS", 2, "n", 7, "m", 1),
        ("HSETEX", "new", "EXAT", 1, "FIELDS", 1, "n", 7), ("HINCRBY", "k", "a", 1), ("HINCRBYFLOAT", "k", "a", 0.5),
        ("HGETDEL", "k", "fields", 2, "c", "none"), ("HGETDEL", "k", "fields", 1, "none"),
        ("HEXPIRE", "k", 0, "FIELDS", 2, "i", "a"), ("EXISTS", "k"),
    ])  # fmt: skip
    assert [b"HPEXPIREAT", b"k", b"T", b"FIELDS", b"2", b"a", b"none"] in found
    assert found[-1][:2] == [b"HDEL", b"k"]


def test_fields_whose_time_is_over(journals: Pair) -> None:
    """Written anew they are told as a follower, who hides nothing, has to see it; removed by a slice as HDEL."""
    for connection in (journals.ours, journals.theirs):
        connection.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    for command in (("HSET", "k", "a", 1), ("HSETNX", "k", "a", 1), ("HINCRBY", "k", "a", 1), ("HDEL", "k", "a"),
                    ("HINCRBYFLOAT", "k", "a", 1), ("HSETEX", "k", "FNX", "FIELDS", 1, "a", 1)):  # fmt: skip
        compare(journals, [
            ("DEL", "k"), ("HSET", "k", "a", 1, "b", 2), ("HPEXPIRE", "k", 1, "FIELDS", 1, "a"),
            ("DEBUG", "SLEEP", 0.005), command,
        ])  # fmt: skip
    ours = journals.instances[0]
    with ours.connect() as client:
        client.call("FLUSHALL")
        client.call("HSET", "k", "a", 1, "b", 2)
        client.call("HPEXPIRE", "k", 1, "FIELDS", 2, "a", "b")
        client.call("DEBUG", "SLEEP", 0.005)
        assert client.call("EXISTS", "k") == 1
        for connection in (journals.ours, journals.theirs):
            connection.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
        assert_eventually(functools.partial(_is_zero, client, "DBSIZE"))
        name, key, *fields = journal(ours)[-1]
        assert (name, key, sorted(fields)) == (b"HDEL", b"k", [b"a", b"b"])


def test_members_of_sets_that_expire(journals: Pair) -> None:
    """No peer has them. What is over is removed in front of the command that meets it, so a follower needs no clock."""
    ours = journals.instances[0]
    script = """
        SADD k a b c d              | SADD k a b c d
        SEXPIRE k 100 MEMBERS 2 a none  | SPEXPIREAT k T MEMBERS 2 a none
        SPERSIST k MEMBERS 1 a      | SPERSIST k MEMBERS 1 a
        SPERSIST k MEMBERS 1 a      |
        EXPIREMEMBER k a 100        | SPEXPIREAT k T MEMBERS 1 a
        PERSIST k a                 | SPERSIST k MEMBERS 1 a
        SEXPIRE k 0 MEMBERS 2 b none    | SREM k b
        SPEXPIRE k 1 MEMBERS 1 c    | SPEXPIREAT k T MEMBERS 1 c
        DEBUG SLEEP 0.005           |
        SMEMBERS k                  |
        SADD k c                    | SREM k c; SADD k c
        SPEXPIRE k 1 MEMBERS 1 c    | SPEXPIREAT k T MEMBERS 1 c
        DEBUG SLEEP 0.005           |
        SORT k ALPHA STORE sorted   | MULTI; DEL sorted; RPUSH sorted a d; EXEC
        SUNIONSTORE to k            | SREM k c; SUNIONSTORE to k
        ZADD z 1 a 2 b 3 c          | ZADD z 1 a 2 b 3 c
        ZPEXPIRE z 1 MEMBERS 1 a    | ZPEXPIREAT z T MEMBERS 1 a
        DEBUG SLEEP 0.005           |
        SORT z BY nosort STORE rest | MULTI; DEL rest; RPUSH rest b c; EXEC
        ZPOPMIN z                   | ZREM z a; ZPOPMIN z
        PEXPIREMEMBERAT z c 9999999999999 | ZPEXPIREAT z 9999999999999 MEMBERS 1 c
        ZADD z 7 c                  | ZADD z 7 c
    """
    rows = [line.split("|") for line in script.splitlines() if line.strip()]
    expected = [words.encode().split() for _, told in rows for words in told.split(";") if words.strip()]
    with ours.connect() as client:
        client.call("FLUSHALL")
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        client.call("SET", "begin", 1)
        before = len(journal(ours))
        for command, _ in rows:
            client.call(*command.split())
        assert journal(ours)[before:] == expected
    ours.restart(kill=True)
    with ours.connect() as client:
        assert sorted(client.call("SMEMBERS", "k")) == sorted(client.call("SMEMBERS", "to")) == [b"a", b"d"]
        assert [client.call("LRANGE", key, 0, -1) for key in ("sorted", "rest")] == [[b"a", b"d"], [b"b", b"c"]]
        assert client.call("STTL", "k", "MEMBERS", 2, "a", "d") == [-1, -1]
        assert client.call("ZRANGE", "z", 0, -1, "WITHSCORES") == [b"c", b"7"]
        assert client.call("ZPEXPIRETIME", "z", "MEMBERS", 1, "c") == [9999999999999]


def test_lists(journals: Pair) -> None:
    found = compare(journals, [
        ("RPUSH", "k", *"abcdefghijklmnop"), ("lpush", "k", "x"), ("LPUSHX", "nokey", "x"), ("LPOP", "k"),
        ("RPOP", "k", 2), ("LPOP", "k", 0), ("LPOP", "nokey", 2), ("LSET", "k", 0, "y"), ("LSET", "k", 99, "y"),
        ("LINSERT", "k", "BEFORE", "y", "z"), ("LINSERT", "k", "BEFORE", "missing", "z"), ("LREM", "k", 0, "missing"),
        ("LREM", "k", 0, "z"), ("LTRIM", "k", 0, -1), ("LTRIM", "k", 1, -1), ("LMOVE", "k", "other", "LEFT", "RIGHT"),
        ("LMOVE", "nokey", "other", "LEFT", "RIGHT"), ("RPOPLPUSH", "k", "k"), ("RPOPLPUSH", "nokey", "k"),
        ("LMPOP", 2, "nokey", "k", "LEFT"), ("lmpop", 2, "nokey", "k", "right", "COUNT", 2),
        ("LMPOP", 1, "nokey", "LEFT"), ("BLPOP", "nokey", "k", 0), ("brpop", "k", "k", 1.5), ("BLPOP", "nokey", 0.001),
        ("BLMOVE", "k", "other", "left", "RIGHT", 0), ("BRPOPLPUSH", "k", "other", 5),
        ("BLMOVE", "nokey", "other", "left", "RIGHT", 0.001), ("BLMPOP", 0, 2, "nokey", "other", "LEFT", "COUNT", 2),
        ("MULTI",), ("BLPOP", "k", 0), ("BLPOP", "nokey", 0), ("BRPOPLPUSH", "k", "k", 0), ("EXEC",),
        ("LTRIM", "k", 5, 1), ("LPOP", "k"), ("RPUSH", "k", "a", "b"), ("LPOP", "k", 500), ("EXISTS", "k"),
    ])  # fmt: skip
    assert [b"LPOP", b"k"] in found
    assert [b"LMOVE", b"k", b"other", b"left", b"RIGHT"] in found
    assert [b"RPOP", b"k", b"2"] in found


def test_an_index_of_more_than_32_bits_is_journalled_as_what_was_made_of_it(journals: Pair) -> None:
    """Redis 7.0 would refuse it, and then a replica of its kind has other data."""
    ours = journals.ours
    ours.pipeline([("DEL", "k"), ("RPUSH", "k", "a", "b")])
    for index, place in ((1 << 32, b"0"), ((1 << 63) - 1, b"1"), (-(1 << 63), b"0"), ((1 << 32) - 1, b"1")):
        ours.call("LSET", "k", index, "x")
        assert journal(journals.instances[0])[-1] == [b"LSET", b"k", place, b"x"]
    assert ours.call("LSET", "k", -1, "y") == "OK"
    assert journal(journals.instances[0])[-1] == [b"LSET", b"k", b"-1", b"y"]


def test_waiters_of_lists_are_journalled_as_what_they_did(journals: Pair) -> None:
    """After the command that served them, each in its own right."""
    ours, theirs = journals.instances
    before = [len(journal(instance)) for instance in journals.instances]
    for instance in (ours, theirs):
        with instance.connect() as one, instance.connect() as two, instance.connect() as pusher:
            one.send_command("BLMOVE", "list", "next", "LEFT", "RIGHT", 0)
            assert_eventually(lambda i=instance: b"blocked_clients:1\r" in i.call("INFO", "clients"))
            two.send_command("BLMPOP", 0, 2, "next", "list", "RIGHT", "COUNT", 5)
            assert_eventually(lambda i=instance: b"blocked_clients:2\r" in i.call("INFO", "clients"))
            assert pusher.call("RPUSH", "list", "a", "b", "c") == 3
            assert one.read() == b"a"
            assert two.read() in ([b"list", [b"c", b"b"]], [b"next", [b"a"]])
            pusher.call("FLUSHALL")
    mine, its = (journal(i)[n:] for i, n in zip(journals.instances, before, strict=True))
    assert mine == its


def test_sets(journals: Pair) -> None:
    """What is drawn becomes what went."""
    many = [b"m%d" % i for i in range(3000)]
    found = compare(journals, [
        ("SADD", "k", *"abcdefgh"), ("sadd", "k", "a"), ("SADD", "k", "a", "new"), ("SREM", "k", "nothing"),
        ("SREM", "k", "new", "nothing"), ("SREM", "nokey", "a"), ("SMOVE", "k", "other", "a"),
        ("SMOVE", "k", "other", "nothing"), ("SMOVE", "nokey", "other", "a"), ("SMOVE", "other", "other", "a"),
        ("SADD", "single", "a"), ("SPOP", "single"), ("SADD", "single", 1), ("spop", "single", 5),
        ("SPOP", "single", 1), ("SADD", "single", 1), ("SPOP", "single", 0), ("SPOP", "single", 1),
        ("SUNIONSTORE", "to", "k", "other"),
        ("SINTERSTORE", "to", "k", "other"), ("SINTERSTORE", "nokey", "k", "other"), ("SDIFFSTORE", "to", "k", "other"),
        ("SDIFFSTORE", "to", "nokey", "k"), ("SADD", "many", *many), ("SPOP", "many", 3000),
        ("MULTI",), ("SADD", "k", "x"), ("SPOP", "nokey"), ("SPOP", "k", 100), ("EXEC",),
    ])  # fmt: skip
    assert [b"SREM", b"single", b"a"] in found


def test_several_drawn_members_go_by_few_commands(journals: Pair) -> None:
    """Each server draws its own: what went is what they journalled, in as many commands."""
    before = [len(journal(instance)) for instance in journals.instances]
    members = [b"m%d" % i for i in range(3000)]
    for connection in (journals.ours, journals.theirs):
        connection.call("SADD", "drawn", *members)
        for count in (1, 5, 1023, 1024, 900):
            assert len(connection.call("SPOP", "drawn", count)) == count
    shapes = []
    for instance, n in zip(journals.instances, before, strict=True):
        commands = [c for c in journal(instance)[n:] if c[0] != b"SELECT"]
        removed = [word for command in commands if command[0] == b"SREM" for word in command[2:]]
        assert len(removed) == len(set(removed)) == 2953
        assert frozenset(members) - frozenset(removed) == frozenset(instance.call("SMEMBERS", "drawn"))
        shapes.append([(command[0], len(command)) for command in commands])
        instance.call("DEL", "drawn")
    assert shapes[0] == shapes[1]


def test_sorted_sets(journals: Pair) -> None:
    found = compare(journals, [
        ("ZADD", "k", 1, "a", "2.5", "b", "-0", "c", "inf", "d"), ("zadd", "k", "NX", 1, "a"), ("ZADD", "k", 1, "a"),
        ("ZADD", "k", "XX", "CH", 5, "a", 6, "z"), ("ZADD", "k", "INCR", 1, "a"), ("ZADD", "k", "INCR", "-inf", "d"),
        ("ZINCRBY", "k", "0.1", "b"), ("ZINCRBY", "k", 0, "b"), ("ZADD", "nokey", "XX", 1, "a"), ("ZREM", "k", "none"),
        ("ZREM", "k", "a", "none"), ("ZRANGESTORE", "other", "k", 0, 1), ("ZRANGESTORE", "other", "nokey", 0, 1),
        ("ZRANGESTORE", "other", "nokey", 0, 1), ("ZREMRANGEBYRANK", "k", 9, 9), ("ZREMRANGEBYRANK", "k", 0, 0),
        ("ZREMRANGEBYSCORE", "k", "(5", "(5"), ("ZREMRANGEBYSCORE", "k", "-inf", "5"),
        ("ZREMRANGEBYLEX", "k", "-", "(a"), ("ZREMRANGEBYLEX", "k", "-", "+"), ("EXISTS", "k"),
    ])  # fmt: skip
    assert [b"ZADD", b"k", b"1", b"a", b"2.5", b"b", b"-0", b"c", b"inf", b"d"] in found
    assert [b"ZRANGESTORE", b"other", b"k", b"0", b"1"] in found


def test_pops_of_sorted_sets(journals: Pair) -> None:
    found = compare(journals, [
        ("ZADD", "k", *(word for i in range(20) for word in (i, f"m{i}"))), ("ZPOPMIN", "k"), ("zpopmax", "k", 2),
        ("ZPOPMIN", "k", 0), ("ZPOPMIN", "nokey", 2), ("ZMPOP", 2, "nokey", "k", "MIN"),
        ("zmpop", 2, "nokey", "k", "max", "COUNT", 2), ("ZMPOP", 1, "nokey", "MIN"), ("BZPOPMIN", "nokey", "k", 0),
        ("bzpopmax", "k", "k", 1.5), ("BZPOPMIN", "nokey", 0.001), ("BZMPOP", 0, 2, "nokey", "k", "MIN", "COUNT", 2),
        ("MULTI",), ("BZPOPMIN", "k", 0), ("BZPOPMAX", "nokey", 0), ("EXEC",), ("ZPOPMIN", "k", 500), ("EXISTS", "k"),
    ])  # fmt: skip
    assert [b"ZPOPMIN", b"k"] in found
    assert [b"ZPOPMAX", b"k", b"2"] in found


def test_waiters_of_sorted_sets_are_journalled_as_what_they_did(journals: Pair) -> None:
    ours, theirs = journals.instances
    before = [len(journal(instance)) for instance in journals.instances]
    for instance in (ours, theirs):
        with instance.connect() as one, instance.connect() as two, instance.connect() as adder:
            one.send_command("BZPOPMAX", "other", "set", 0)
            assert_eventually(lambda i=instance: b"blocked_clients:1\r" in i.call("INFO", "clients"))
            two.send_command("BZMPOP", 0, 2, "other", "set", "MIN", "COUNT", 5)
            assert_eventually(lambda i=instance: b"blocked_clients:2\r" in i.call("INFO", "clients"))
            assert adder.call("ZADD", "set", 1, "a", 2, "b", 3, "c") == 3
            assert one.read() == [b"set", b"c", b"3"]
            assert two.read() == [b"set", [[b"a", b"1"], [b"b", b"2"]]]
            adder.call("FLUSHALL")
    mine, its = (journal(i)[n:] for i, n in zip(journals.instances, before, strict=True))
    assert mine == its


def test_stored_sorted_sets(journals: Pair) -> None:
    compare(journals, [
        ("ZADD", "k", 1, "a", 2, "b"), ("SADD", "s", "a", "c"), ("ZUNIONSTORE", "d", 2, "k", "s", "WEIGHTS", 1, 2),
        ("zinterstore", "d", 2, "k", "s"), ("ZDIFFSTORE", "d", 2, "k", "s"), ("ZDIFFSTORE", "d", 2, "k", "k"),
        ("ZDIFFSTORE", "d", 2, "k", "k"), ("ZUNION", 2, "k", "s"), ("ZINTERCARD", 2, "k", "s"),
    ])  # fmt: skip


def test_sorts(journals: Pair) -> None:
    found = compare(journals, [
        ("RPUSH", "l", 3, 1, 2), ("SADD", "s", "c", "a", "b"), ("ZADD", "z", 2, "x", 1, "y"),
        ("MSET", "w_1", 2, "w_2", 1), ("SORT", "l"), ("SORT_RO", "l"), ("SORT", "l", "STORE", "d"),
        ("sort", "l", "by", "w_*", "GET", "#", "store", "d"), ("SORT", "s", "BY", "nosort", "STORE", "d"),
        ("SORT", "s", "STORE", "d"), ("SORT", "z", "BY", "nosort", "STORE", "z"), ("SORT", "none", "STORE", "d"),
        ("SORT", "none", "STORE", "d"), ("SORT", "l", "LIMIT", 5, 1, "STORE", "l"),
        ("MULTI",), ("SORT", "s", "ALPHA", "STORE", "d"), ("SORT", "s", "ALPHA"), ("EXEC",), ("EXISTS", "l"),
    ])  # fmt: skip
    assert [b"SORT", b"l", b"by", b"w_*", b"GET", b"#", b"store", b"d"] in found
    assert found.count([b"SORT", b"none", b"STORE", b"d"]) == 1


def test_a_sort_ends_the_keys_that_it_meets(journals: Pair) -> None:
    """In front of itself. Valkey puts both into a transaction."""
    ours = journals.instances[0]
    with ours.connect() as client:
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        client.pipeline([("RPUSH", "l", 1, 2), ("SET", "w_1", 5), ("SET", "w_2", 4), ("PEXPIRE", "w_1", 1)])
        client.call("DEBUG", "SLEEP", 0.005)
        before = len(journal(ours))
        assert client.call("SORT", "l", "BY", "w_*", "STORE", "d") == 2
        assert client.call("LRANGE", "d", 0, -1) == [b"1", b"2"]
        assert journal(ours)[before:] == [[b"UNLINK", b"w_1"], [b"SORT", b"l", b"BY", b"w_*", b"STORE", b"d"]]
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)


def test_a_sort_by_fields_whose_time_is_over(journals: Pair) -> None:
    """Who follows hides nothing, so it is told what was stored. (Valkey's followers store something else.)"""
    ours = journals.instances[0]
    with ours.connect() as client:
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        client.call("RPUSH", "l", "b", "a", *range(100, 180))
        client.call("HSET", "h_a", "w", 5)
        client.call("HSET", "h_b", "w", 9)
        client.call("HPEXPIRE", "h_b", 1, "FIELDS", 1, "w")
        client.call("DEBUG", "SLEEP", 0.005)
        before = len(journal(ours))
        assert client.call("SORT", "l", "BY", "h_*->w", "LIMIT", 0, 1) == [b"100"]
        assert client.call("SORT", "l", "BY", "h_*->w", "DESC", "STORE", "d") == 82
        stored = client.call("LRANGE", "d", 0, -1)
        assert stored[:2] == [b"a", b"b"]
        told = [words for words in journal(ours)[before:] if words[0] != b"SELECT"]
        assert [words[0] for words in told] == [b"MULTI", b"DEL", b"RPUSH", b"RPUSH", b"EXEC"]
        assert [word for words in told[2:4] for word in words[2:]] == stored
        client.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
    ours.restart(kill=True)
    with ours.connect() as client:
        assert client.call("LRANGE", "d", 0, -1) == stored


def test_a_sort_by_keys_that_nobody_may_end_now(journals: Pair) -> None:
    ours = journals.instances[0]
    with ours.connect() as source, ours.connect() as client, ours.configured(import_mode="yes"):
        source.call("CLIENT", "IMPORT-SOURCE", "ON")
        source.pipeline([("RPUSH", "l", "b", "a"), ("SET", "w_a", 5), ("SET", "w_b", 9, "PXAT", 1000)])
        before = len(journal(ours))
        assert client.call("SORT", "l", "BY", "w_*", "STORE", "d") == 2
        assert client.call("SORT", "w_b", "STORE", "d") == 0
        assert journal(ours)[before:] == [
            [b"MULTI"], [b"DEL", b"d"], [b"RPUSH", b"d", b"b", b"a"], [b"EXEC"], [b"DEL", b"d"],
        ]  # fmt: skip
        source.call("FLUSHALL")


def test_streams(journals: Pair) -> None:
    """What depends on the clock or on blocks is told: ids, and what a trim by whole blocks has left."""
    found = compare(journals, [
        ("XADD", "k", "1-*", "f", "v"), ("xadd", "k", "NOMKSTREAM", "1-*", "f", "v", "g", "w"),
        ("XADD", "none", "NOMKSTREAM", "*", "f", "v"), ("XADD", "k", "1-1", "f", "v"), ("XADD", "k", "2-0", "f", "v"),
        *(("XADD", "k", "MAXLEN", "~", 200, f"{i}-1", "f", "v") for i in range(3, 330)),
        ("XADD", "k", "MINID", "~", "150", "LIMIT", 1000, "500-*", "f", "v"),
        ("XADD", "k", "MAXLEN", 20, "501-1", "f", "v"),
        ("XADD", "k", "MAXLEN", "=", 10, "502-*", "f", "v"), ("XADD", "k", "MINID", "321-0", "503-1", "f", "v"),
        ("XTRIM", "k", "MAXLEN", "~", 5), ("XTRIM", "k", "MAXLEN", "~", 0, "LIMIT", 100),
        ("XTRIM", "k", "MINID", "~", 9), ("XADD", "new", "MINID", "~", 9, "1-1", "f", "v"),
        ("XTRIM", "k", "MAXLEN", 1), ("XTRIM", "k", "MAXLEN", 1), ("XDEL", "k", "503-1", "7-7"), ("XDEL", "k", "503-1"),
        ("XADD", "k", "MAXLEN", "~", 0, "LIMIT", 0, "600-1", "f", "v"), ("XSETID", "k", "700-1", "ENTRIESADDED", 9999),
    ])  # fmt: skip
    assert [b"XADD", b"k", b"1-0", b"f", b"v"] in found
    assert any(command[:4] == [b"XADD", b"k", b"MAXLEN", b"="] for command in found)


def test_groups_of_streams(journals: Pair) -> None:
    """What is delivered and claimed is told entry by entry, with time and count, in a transaction."""
    found = compare(journals, [
        *(("XADD", "k", f"{i}-1", "f", "v") for i in range(1, 20)), ("XGROUP", "CREATE", "k", "g", 0),
        ("XGROUP", "CREATE", "k", "g", 0), ("XGROUP", "CREATE", "new", "g", "$", "MKSTREAM"),
        ("XREADGROUP", "GROUP", "g", "a", "COUNT", 1, "STREAMS", "k", ">"),
        ("XREADGROUP", "GROUP", "g", "a", "COUNT", 3, "STREAMS", "k", ">"),
        ("XREADGROUP", "GROUP", "g", "b", "COUNT", 2, "NOACK", "STREAMS", "k", ">"),
        ("XREADGROUP", "GROUP", "g", "c", "NOACK", "COUNT", 2, "STREAMS", "new", "k", ">", ">"),
        ("XREADGROUP", "GROUP", "g", "new", "STREAMS", "new", ">"),
        ("XREADGROUP", "GROUP", "g", "d", "STREAMS", "k", 0),
        ("XREADGROUP", "GROUP", "g", "a", "STREAMS", "k", 0), ("XREADGROUP", "GROUP", "none", "a", "STREAMS", "k", ">"),
        ("XACK", "k", "g", "1-1"), ("XACK", "k", "g", "1-1"), ("XCLAIM", "k", "g", "b", 0, "2-1", "3-1"),
        ("XCLAIM", "k", "g", "b", 0, "2-1", "JUSTID", "TIME", 5, "RETRYCOUNT", 7), ("XCLAIM", "k", "g", "b", 0, "15-1"),
        ("XCLAIM", "k", "g", "b", 0, "15-1", "FORCE"), ("XCLAIM", "k", "g", "b", 100_000, "2-1", "LASTID", "16-1"),
        ("XDEL", "k", "2-1"), ("XCLAIM", "k", "g", "a", 0, "2-1"), ("XDEL", "k", "3-1"),
        ("XAUTOCLAIM", "k", "g", "e", 0, 0),
        ("XAUTOCLAIM", "k", "g", "e", 100_000, 0), ("XGROUP", "CREATECONSUMER", "k", "g", "e"),
        ("XGROUP", "DELCONSUMER", "k", "g", "e"), ("XGROUP", "DELCONSUMER", "k", "g", "e"),
        ("XGROUP", "SETID", "k", "g", "$"), ("MULTI",), ("XREADGROUP", "GROUP", "g", "a", "STREAMS", "k", ">"),
        ("XGROUP", "SETID", "k", "g", 0), ("XREADGROUP", "GROUP", "g", "a", "COUNT", 2, "STREAMS", "k", ">"), ("EXEC",),
        ("XGROUP", "DESTROY", "k", "g"), ("XGROUP", "DESTROY", "k", "g"), ("XREAD", "STREAMS", "k", 0),
    ])  # fmt: skip
    assert any(command[0] == b"XCLAIM" and command[-2] == b"LASTID" for command in found)
    assert [b"XGROUP", b"SETID"] in [command[:2] for command in found]


def test_readers_of_streams_are_journalled_as_what_they_did(journals: Pair) -> None:
    ours, theirs = journals.instances
    before = [len(journal(instance)) for instance in journals.instances]
    for instance in (ours, theirs):
        with instance.connect() as one, instance.connect() as two, instance.connect() as adder:
            adder.call("XGROUP", "CREATE", "k", "g", 0, "MKSTREAM")
            one.send_command("XREADGROUP", "GROUP", "g", "a", "BLOCK", 0, "STREAMS", "k", ">")
            assert_eventually(lambda i=instance: b"blocked_clients:1\r" in i.call("INFO", "clients"))
            two.send_command("XREAD", "BLOCK", 0, "STREAMS", "other", "k", "$", "$")
            assert_eventually(lambda i=instance: b"blocked_clients:2\r" in i.call("INFO", "clients"))
            assert adder.call("XADD", "k", "7-7", "f", "v") == b"7-7"
            assert one.read() == two.read() == [[b"k", [[b"7-7", [b"f", b"v"]]]]]
            one.send_command("XREADGROUP", "GROUP", "g", "a", "BLOCK", 0, "STREAMS", "k", ">")
            assert_eventually(lambda i=instance: b"blocked_clients:1\r" in i.call("INFO", "clients"))
            adder.call("FLUSHALL")
            assert str(one.read()).startswith("NOGROUP")
    mine, its = (journal(i)[n:] for i, n in zip(journals.instances, before, strict=True))
    assert mine == its
