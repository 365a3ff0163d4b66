"""Members of sets and sorted sets that expire, which no peer has: expectations are literal. And KeyDB's commands, of
all three types. What the hash's commands do is compared with Valkey's (test_hash_expire.py)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleettest.client import Arg, Connection, Error
from fleettest.instance import Instance
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

FAR = 99_999_999_999_999
SYNTAX = Error("ERR syntax error")
WRONGTYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
NUMBER = Error("ERR nummembers should be greater than 0 and match the provided number of members")
NOT_INTEGER = Error("ERR value is not an integer or out of range")


@pytest.fixture
def call(c: Connection) -> Iterator[Connection]:
    """Nobody removes what is over."""
    c.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    yield c
    c.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)


@pytest.fixture(params=["H", "S", "Z"], ids=["hash", "set", "zset"])
def letter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def add(call: Connection, letter: str, key: str, *members: str) -> None:
    """Scores rise."""
    if letter == "S":
        call.call("SADD", key, *members)
    elif letter == "Z":
        call.call("ZADD", key, *(word for i, name in enumerate(members) for word in (i, name)))
    else:
        call.call("HSET", key, *(word for name in members for word in (name, "v")))


def clause(letter: str) -> str:
    return "FIELDS" if letter == "H" else "MEMBERS"


def family(call: Connection, letter: str, name: str, key: str, *words: Arg, names: tuple[str, ...]) -> object:
    return call.call(letter + name, key, *words, clause(letter), len(names), *names)


def over(call: Connection, letter: str, key: str, *names: str) -> None:
    """Their time is over, and they are still there."""
    assert family(call, letter, "PEXPIRE", key, 1, names=names) == [1] * len(names)
    call.call("DEBUG", "SLEEP", 0.005)


def as_set(reply: object) -> set[bytes]:
    assert isinstance(reply, (list, set, frozenset))
    return set(reply)

# ---- the family --------------------------------------------------------------------------------------


def test_times_are_set_and_told(call: Connection, letter: str) -> None:
    add(call, letter, "k", "a", "b", "c")
    assert family(call, letter, "PEXPIREAT", "k", FAR, names=("a", "none")) == [1, -2]
    assert family(call, letter, "PEXPIRETIME", "k", names=("a", "b", "none")) == [FAR, -1, -2]
    assert family(call, letter, "EXPIRETIME", "k", names=("a",)) == [(FAR + 500) // 1000]
    assert family(call, letter, "PEXPIREAT", "k", FAR - 1, "NX", names=("a", "b")) == [0, 1]
    assert family(call, letter, "PEXPIREAT", "k", FAR + 1, "XX", "GT", names=("a", "c")) == [1, 0]
    assert family(call, letter, "PEXPIREAT", "k", FAR, "lt", names=("a", "b", "c")) == [1, 0, 1]
    assert family(call, letter, "PEXPIRETIME", "k", names=("a", "b", "c")) == [FAR, FAR - 1, FAR]
    assert family(call, letter, "EXPIREAT", "k", FAR // 1000, names=("c", "c")) == [1, 1]
    assert family(call, letter, "EXPIRE", "k", 100, names=("a",)) == [1]
    assert family(call, letter, "PEXPIRE", "k", 100_000, names=("b",)) == [1]
    reply = family(call, letter, "TTL", "k", names=("a", "b"))
    assert isinstance(reply, list) and all(90 <= ttl <= 100 for ttl in reply)
    reply = family(call, letter, "PTTL", "k", names=("a", "b"))
    assert isinstance(reply, list) and all(90_000 <= ttl <= 100_000 for ttl in reply)
    assert family(call, letter, "PERSIST", "k", names=("a", "none")) == [1, -2]
    assert family(call, letter, "PERSIST", "k", names=("a", "b", "c")) == [-1, 1, 1]
    assert family(call, letter, "TTL", "k", names=("a", "b", "c")) == [-1, -1, -1]


def test_a_time_that_has_passed_removes(call: Connection, letter: str) -> None:
    add(call, letter, "k", "a", "b", "c")
    assert family(call, letter, "EXPIRE", "k", 0, names=("a", "none", "a")) == [2, -2, -2]
    assert family(call, letter, "EXPIREAT", "k", 1, "GT", names=("b",)) == [0]
    assert family(call, letter, "PEXPIREAT", "k", 0, names=("b", "c")) == [2, 2]
    assert call.call("EXISTS", "k") == 0


def test_without_a_key_and_with_another_type(call: Connection, letter: str) -> None:
    call.call("SET", "text", "v")
    for name, words in (("EXPIRE", (10,)), ("PEXPIREAT", (FAR,)), ("TTL", ()), ("PEXPIRETIME", ()), ("PERSIST", ())):
        assert family(call, letter, name, "none", *words, names=("a", "b")) == [-2, -2]
        assert family(call, letter, name, "text", *words, names=("a",)) == WRONGTYPE
    assert call.call("EXISTS", "none") == 0


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("EXPIRE k 10 MEMBERS 2 a", NUMBER),
        ("EXPIRE k 10 MEMBERS 0 a", NUMBER),
        ("EXPIRE k 10 MEMBERS -1 a", NUMBER),
        ("EXPIRE k 10 MEMBERS 1 a b", NUMBER),
        ("EXPIRE k 10 FIELDS 1 a", NUMBER),
        ("EXPIRE k 10 MEMBERS x a", NOT_INTEGER),
        ("EXPIRE k x MEMBERS 1 a", NOT_INTEGER),
        ("EXPIRE k 10 NX XX MEMBERS 1 a", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE k 10 GT LT MEMBERS 1 a", "ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE k 10 foo MEMBERS 1 a", "ERR Unsupported option foo"),
        ("EXPIRE k -1 MEMBERS 1 a", "ERR invalid expire time in '{}expire' command"),
        ("PEXPIRE k 9223372036854775807 MEMBERS 1 a", "ERR invalid expire time in '{}pexpire' command"),
        ("TTL k MEMBERS 2 a", SYNTAX),
        ("TTL k FIELDS 1 a", SYNTAX),
        ("PERSIST k FIELDS 1 a", SYNTAX),
        ("PERSIST k MEMBERS 2 a", NUMBER),
        ("EXPIRE k 10 a", "ERR wrong number of arguments for '{}expire' command"),
        ("TTL k MEMBERS 1", "ERR wrong number of arguments for '{}ttl' command"),
    ],
)
@pytest.mark.parametrize("letter", ["S", "Z"])
def test_errors(call: Connection, letter: str, command: str, error: Error | str) -> None:
    add(call, letter, "k", "a", "b")
    expected = error if isinstance(error, Error) else Error(error.format(letter.lower()))
    assert call.call(*(letter + command).split()) == expected
    assert family(call, letter, "TTL", "k", names=("a",)) == [-1]


def test_encodings(call: Connection) -> None:
    """A time needs a table, which stays; plain writes keep a live member's time, and new ones have none."""
    for key, members, encoding in (("ints", ("1", "2"), b"intset"), ("texts", ("a", "b"), b"listpack")):
        add(call, "S", key, *members)
        assert call.call("OBJECT", "ENCODING", key) == encoding
        assert family(call, "S", "PERSIST", key, names=members) == [-1, -1]
        assert call.call("OBJECT", "ENCODING", key) == encoding
        assert family(call, "S", "PEXPIREAT", key, FAR, names=members[:1]) == [1]
        assert call.call("OBJECT", "ENCODING", key) == b"hashtable"
        assert call.call("SADD", key, *members, "new") == 1
        assert family(call, "S", "PEXPIRETIME", key, names=(*members, "new")) == [FAR, -1, -1]
    add(call, "Z", "z", "a", "b")
    assert family(call, "Z", "PEXPIREAT", "z", FAR, names=("a",)) == [1]
    assert call.call("OBJECT", "ENCODING", "z") == b"skiplist"
    assert call.call("ZADD", "z", 10, "a", 11, "new") == 1
    assert call.call("ZINCRBY", "z", 0, "a") in (b"10", 10.0)
    assert call.call("ZRANGE", "z", 0, -1) == [b"b", b"a", b"new"]
    assert family(call, "Z", "PEXPIRETIME", "z", names=("a", "b", "new")) == [FAR, -1, -1]


def test_a_set_with_times_stays_a_table(call: Connection) -> None:
    """SPOP of most of a set makes it a listpack, but not if a member would lose its time; then again, without times."""
    names = [f"m{i}" for i in range(200)]
    add(call, "S", "k", *names)
    family(call, "S", "PEXPIREAT", "k", FAR, names=tuple(names))
    call.call("SPOP", "k", 190)
    left = [member.decode() for member in as_set(call.call("SMEMBERS", "k"))]
    assert len(left) == 10 and call.call("OBJECT", "ENCODING", "k") == b"hashtable"
    assert family(call, "S", "PEXPIRETIME", "k", names=tuple(left)) == [FAR] * 10
    call.call("SREM", "k", *left[1:])
    call.call("SADD", "k", *names[:199], "plain")
    family(call, "S", "PERSIST", "k", names=(left[0],))
    call.call("SPOP", "k", call.call("SCARD", "k") - 10)
    assert call.call("OBJECT", "ENCODING", "k") == b"listpack"
    call.call("DEL", "k")
    call.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
    assert call.call("PING") in (b"PONG", "PONG")

# ---- hidden ------------------------------------------------------------------------------------------


def test_hidden_members_of_sets(call: Connection) -> None:
    add(call, "S", "k", "a", "b", "c", "d")
    add(call, "S", "other", "a", "b", "x")
    over(call, "S", "k", "a", "c")
    assert call.call("SCARD", "k") == 4  # as HLEN
    assert call.call("SISMEMBER", "k", "a") == 0
    assert call.call("SMISMEMBER", "k", "a", "b", "c") == [0, 1, 0]
    assert as_set(call.call("SMEMBERS", "k")) == {b"b", b"d"}
    assert as_set(call.call("SSCAN", "k", 0)[1]) == {b"b", b"d"}
    assert as_set(call.call("SRANDMEMBER", "k", 10)) == {b"b", b"d"}
    assert as_set(call.call("SRANDMEMBER", "k", -20)) <= {b"b", b"d"}
    assert as_set(call.call("SINTER", "k", "other")) == {b"b"}
    assert call.call("SINTERCARD", 2, "other", "k") == 1
    assert as_set(call.call("SUNION", "k", "other")) == {b"a", b"b", b"d", b"x"}
    assert as_set(call.call("SUNION", "k")) == {b"b", b"d"}
    assert as_set(call.call("SDIFF", "k", "other")) == {b"d"}
    assert as_set(call.call("SDIFF", "other", "k")) == {b"a", b"x"}
    assert as_set(call.call("ZUNION", 1, "k")) == {b"b", b"d"}
    assert call.call("ZINTERCARD", 2, "k", "other") == 1
    assert as_set(call.call("ZDIFF", 2, "other", "k")) == {b"a", b"x"}
    assert family(call, "S", "TTL", "k", names=("a", "b")) == [-2, -1]
    assert call.call("TTL", "k", "a") == -2
    assert call.call("SCARD", "k") == 4


@pytest.mark.parametrize("more", [0, 300], ids=["few", "many"])
def test_hidden_members_of_sorted_sets(call: Connection, more: int) -> None:
    """Ranks, counts and ranges are those of the others."""
    gone = [f"gone{i}" for i in range(more)]
    add(call, "Z", "k", "a", *gone, "b", "c", "d", "e")
    over(call, "Z", "k", "a", "c", *gone)
    assert call.call("ZCARD", "k") == 5 + more
    assert call.call("ZRANGE", "k", 0, -1) == [b"b", b"d", b"e"]
    assert call.call("ZRANGE", "k", 1, 1) == [b"d"]
    assert call.call("ZREVRANGE", "k", 0, 1) == [b"e", b"d"]
    assert call.call("ZRANGE", "k", "-inf", "+inf", "BYSCORE", "LIMIT", 1, 1) == [b"d"]
    assert call.call("ZREVRANGEBYSCORE", "k", "+inf", 0, "LIMIT", 1, 5) == [b"d", b"b"]
    assert call.call("ZCOUNT", "k", "-inf", 2 + more) == 1
    assert call.call("ZCOUNT", "k", "-inf", "+inf") == 3
    assert [call.call("ZRANK", "k", name) for name in "abcde"] == [None, 0, None, 1, 2]
    assert [call.call("ZREVRANK", "k", name) for name in "abcde"] == [None, 2, None, 1, 0]
    assert call.call("ZSCORE", "k", "a") is None
    assert call.call("ZMSCORE", "k", "a", "c") == [None, None]
    assert as_set(call.call("ZRANDMEMBER", "k", 10)) == {b"b", b"d", b"e"}
    assert as_set(call.call("ZUNION", 1, "k")) == {b"b", b"d", b"e"}
    assert call.call("ZINTERCARD", 2, "k", "k") == 3
    assert call.call("ZDIFF", 2, "k", "none") == [b"b", b"d", b"e"]
    assert call.call("GEOPOS", "k", "a") == [None]
    assert family(call, "Z", "PTTL", "k", names=("a", "b")) == [-2, -1]
    call.call("ZADD", "same", *(word for name in "abcd" for word in (0, name)))
    over(call, "Z", "same", "b")
    assert call.call("ZLEXCOUNT", "same", "-", "[c") == 2
    assert call.call("ZRANGE", "same", "(a", "+", "BYLEX") == [b"c", b"d"]


@pytest.mark.parametrize("command", ["SORT", "SORT_RO"])
def test_sorting_leaves_hidden_members_out(call: Connection, command: str) -> None:
    for letter in "SZ":
        add(call, letter, letter, *"abcde")
        over(call, letter, letter, "a", "d")
        assert call.call(command, letter, "ALPHA", "DESC") == [b"e", b"c", b"b"]
        assert call.call(command, letter, "ALPHA", "LIMIT", 1, 5, "GET", "#") == [b"c", b"e"]
        assert as_set(call.call(command, letter, "BY", "nosort")) == {b"b", b"c", b"e"}
        assert call.call(letter + "CARD", letter) == 5
    assert call.call(command, "Z", "BY", "nosort") == [b"b", b"c", b"e"]
    assert call.call(command, "Z", "BY", "nosort", "DESC", "LIMIT", 1, 1) == [b"c"]
    assert call.call(command, "Z", "BY", "nosort", "LIMIT", 2, 10) == [b"e"]
    assert call.call(command, "Z", "BY", "nosort", "LIMIT", 3, 10) == []
    over(call, "Z", "Z", "b", "c", "e")
    assert call.call(command, "Z", "BY", "nosort") == call.call(command, "Z", "ALPHA") == []


def test_hidden_positions(call: Connection) -> None:
    call.call("GEOADD", "k", 10, 50, "a", 10.1, 50, "b")
    over(call, "Z", "k", "a")
    assert call.call("GEODIST", "k", "a", "b") is None
    assert call.call("GEOSEARCH", "k", "FROMLONLAT", 10, 50, "BYRADIUS", 100, "km") == [b"b"]
    assert call.call("GEOSEARCH", "k", "FROMMEMBER", "a", "BYRADIUS", 1, "km") == Error("ERR member a does not exist")
    assert call.call("GEOSEARCHSTORE", "to", "k", "FROMLONLAT", 10, 50, "BYRADIUS", 100, "km") == 1
    assert call.call("ZCARD", "k") == 1  # who stores has them removed


# Command -> its reply, and the members that the key `k` has then. `k` has a, b, c, d, of which a and c are over.
WRITES: list[tuple[str, str, object, set[bytes]]] = [
    ("S", "SADD k a", 1, {b"a", b"b", b"d"}),
    ("S", "SADD k b", 0, {b"b", b"d"}),
    ("S", "SREM k a b", 1, {b"d"}),
    ("S", "SREM k a", 0, {b"b", b"d"}),
    ("S", "SMOVE k to a", 0, {b"b", b"d"}),
    ("S", "SMOVE k to b", 1, {b"d"}),
    ("S", "SINTERSTORE to k", 2, {b"b", b"d"}),
    ("S", "SUNIONSTORE to k", 2, {b"b", b"d"}),
    ("S", "SDIFFSTORE to k", 2, {b"b", b"d"}),
    ("S", "ZUNIONSTORE to 1 k", 2, {b"b", b"d"}),
    ("S", "SEXPIRE k 100 MEMBERS 2 a b", [-2, 1], {b"b", b"d"}),
    ("S", "SPERSIST k MEMBERS 2 a b", [-2, -1], {b"b", b"d"}),
    ("S", "EXPIREMEMBER k a 100", 0, {b"b", b"d"}),
    ("S", "PERSIST k a", 0, {b"b", b"d"}),
    ("Z", "ZADD k 5 a", 1, {b"a", b"b", b"d"}),
    ("Z", "ZADD k XX 5 a", 0, {b"b", b"d"}),
    ("Z", "ZADD k NX 5 a", 1, {b"a", b"b", b"d"}),
    ("Z", "ZREM k a b", 1, {b"d"}),
    ("Z", "ZREMRANGEBYRANK k 0 0", 1, {b"d"}),
    ("Z", "ZREMRANGEBYSCORE k -inf 2", 1, {b"d"}),
    ("Z", "ZUNIONSTORE to 1 k", 2, {b"b", b"d"}),
    ("Z", "ZINTERSTORE to 1 k", 2, {b"b", b"d"}),
    ("Z", "ZDIFFSTORE to 1 k", 2, {b"b", b"d"}),
    ("Z", "ZRANGESTORE to k 0 0", 1, {b"b", b"d"}),
    ("Z", "ZEXPIRE k 0 MEMBERS 2 a b", [-2, 2], {b"d"}),
    ("Z", "PEXPIREMEMBERAT k b 0", 1, {b"d"}),
]


@pytest.mark.parametrize(("letter", "command", "reply", "left"), WRITES, ids=[row[1] for row in WRITES])
def test_writes_remove_what_is_over(
    call: Connection, letter: str, command: str, reply: object, left: set[bytes]
) -> None:
    add(call, letter, "k", "a", "b", "c", "d")
    over(call, letter, "k", "a", "c")
    assert call.call(*command.split()) == reply
    assert call.call(letter + "CARD", "k") == len(left)
    found = call.call("SMEMBERS", "k") if letter == "S" else call.call("ZRANGE", "k", 0, -1)
    assert as_set(found) == left
    if b"a" in left:
        assert family(call, letter, "TTL", "k", names=("a",)) == [-1]
    if call.call("EXISTS", "to"):
        names = call.call("SMEMBERS", "to") if call.call("TYPE", "to") == "set" else call.call("ZRANGE", "to", 0, -1)
        assert as_set(names) <= {b"b", b"d"}


def test_pops(call: Connection) -> None:
    for command in (("ZPOPMIN", "k"), ("BZPOPMIN", "k", 0), ("ZMPOP", 2, "none", "k", "MIN")):
        call.call("DEL", "k")
        add(call, "Z", "k", "a", "b")
        over(call, "Z", "k", "a")
        call.call(*command)
        assert call.call("EXISTS", "k") == 0
    add(call, "Z", "k", "a")
    over(call, "Z", "k", "a")
    add(call, "Z", "second", "x")
    assert call.call("ZMPOP", 2, "k", "second", "MIN")[0] == b"second"
    add(call, "S", "set", "a", "b")
    over(call, "S", "set", "a")
    assert call.call("SPOP", "set") == b"b"
    assert call.call("SPOP", "set") is None
    assert call.call("EXISTS", "k", "set") == 0


def test_all_are_over(call: Connection) -> None:
    """The key is there until somebody removes them."""
    for letter, read, empty in (("S", ("SMEMBERS", "k"), ()), ("Z", ("ZRANGE", "k", 0, -1), ())):
        add(call, letter, "k", "a", "b")
        over(call, letter, "k", "a", "b")
        assert list(call.call(*read)) == list(empty)
        assert call.call(f"{letter}RANDMEMBER", "k") is None
        assert call.call("EXISTS", "k") == 1
        assert family(call, letter, "PERSIST", "k", names=("a",)) == [-2]
        assert call.call("EXISTS", "k") == 0


def test_events(server: Instance, call: Connection, letter: str) -> None:
    name = letter.lower()
    with server.configured(notify_keyspace_events="KEA"), server.connect(resp=3) as listener:
        listener.send_command("PSUBSCRIBE", "__keyevent@0__:*")
        listener.read()
        add(call, letter, "k", "a", "b", "c")
        family(call, letter, "EXPIRE", "k", 100, names=("a", "none"))
        family(call, letter, "EXPIRE", "k", 200, "NX", names=("a",))
        family(call, letter, "PERSIST", "k", names=("a",))
        family(call, letter, "PERSIST", "k", names=("a",))
        call.call("EXPIREMEMBER", "k", "a", 100)
        call.call("PERSIST", "k", "a")
        family(call, letter, "EXPIRE", "k", 0, names=("a",))
        over(call, letter, "k", "b", "c")
        call.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
        assert_eventually(lambda: call.call("EXISTS", "k") == 0)
        expected = ["sadd" if letter == "S" else "zadd" if letter == "Z" else "hset", *(name + event for event in (
            "expire", "persist", "expire", "persist", "expired", "expire", "expired")), "del"]  # fmt: skip
        assert listener.call("PING") == "PONG"
        assert [push[2].decode().partition(":")[2] for push in listener.pushes] == expected
        assert {push[3] for push in listener.pushes} == {b"k"}

# ---- KeyDB's commands --------------------------------------------------------------------------------


def test_expiremember(call: Connection, letter: str) -> None:
    add(call, letter, "k", "a", "b")
    assert call.call("EXPIREMEMBER", "k", "a", 100) == 1
    assert 90 <= call.call("TTL", "k", "a") <= 100
    assert call.call("EXPIREMEMBER", "k", "a", 100, "ms") == 1
    assert call.call("EXPIREMEMBER", "k", "a", 200, "S") == 1
    assert 190_000 <= call.call("PTTL", "k", "a") <= 200_000
    assert call.call("EXPIREMEMBERAT", "k", "a", FAR // 1000) == 1
    assert call.call("PEXPIREMEMBERAT", "k", "a", FAR) == 1
    assert family(call, letter, "PEXPIRETIME", "k", names=("a", "b")) == [FAR, -1]
    assert call.call("EXPIREMEMBER", "k", "none", 1) == call.call("EXPIREMEMBER", "none", "a", 1) == 0
    assert call.call("TTL", "k") == call.call("TTL", "k", "b") == -1
    assert call.call("TTL", "k", "none") == call.call("TTL", "none", "a") == -2
    assert [call.call("PERSIST", "k", name) for name in ("a", "a", "b", "none")] == [1, 0, 0, 0]
    assert call.call("PERSIST", "none", "a") == 0
    assert call.call("EXPIREMEMBER", "k", "a", -1) == 1
    assert call.call("EXPIREMEMBERAT", "k", "b", 1) == 1
    assert call.call("EXISTS", "k") == 0


def test_errors_of_expiremember(call: Connection) -> None:
    call.call("SET", "text", "v")
    call.call("RPUSH", "list", "v")
    for key in ("text", "list"):
        for command in (("EXPIREMEMBER", key, "v", 1), ("TTL", key, "v"), ("PTTL", key, "v"), ("PERSIST", key, "v")):
            assert call.call(*command) == WRONGTYPE
    add(call, "S", "k", "a")
    assert call.call("EXPIREMEMBER", "k", "a", "x") == NOT_INTEGER
    assert call.call("EXPIREMEMBER", "k", "a", 1, "h") == SYNTAX
    for command in (("expiremember", "k", "a"), ("expiremember", "k", "a", 1, "s", "s"), ("ttl", "k", "a", "b"),
                    ("persist", "k", "a", "b"), ("pexpirememberat", "k", "a", 1, "s")):  # fmt: skip
        assert call.call(*command) == Error(f"ERR wrong number of arguments for '{command[0]}' command")
    assert call.call("TTL", "k", "a") == -1

# ---- where they go -----------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["S", "Z"])
def test_copies_and_moves_keep_times(call: Connection, letter: str) -> None:
    add(call, letter, "k", "a", "b")
    family(call, letter, "PEXPIREAT", "k", FAR, names=("a",))
    call.call("COPY", "k", "copy")
    call.call("RENAME", "copy", "other")
    assert family(call, letter, "PEXPIRETIME", "other", names=("a", "b")) == [FAR, -1]
    assert call.call("RESTORE", "restored", 0, call.call("DUMP", "k")) in (b"OK", "OK")
    assert family(call, letter, "PEXPIRETIME", "restored", names=("a", "b")) == [FAR, -1]
    assert call.call("DEBUG", "RELOAD") in (b"OK", "OK")
    assert family(call, letter, "PEXPIRETIME", "other", names=("a", "b")) == [FAR, -1]


def test_results_have_no_times(call: Connection) -> None:
    add(call, "S", "s", "a", "b")
    add(call, "Z", "z", "a", "b")
    family(call, "S", "PEXPIREAT", "s", FAR, names=("a",))
    family(call, "Z", "PEXPIREAT", "z", FAR, names=("a",))
    for command in ("SINTERSTORE to s", "SUNIONSTORE to s", "SDIFFSTORE to s", "SMOVE s to a"):
        call.call("DEL", "to")
        call.call(*command.split())
        assert family(call, "S", "TTL", "to", names=("a",)) == [-1]
    for command in ("ZUNIONSTORE to 2 z s", "ZINTERSTORE to 1 z", "ZRANGESTORE to z 0 -1"):
        call.call(*command.split())
        assert family(call, "Z", "TTL", "to", names=("a",)) == [-1]
