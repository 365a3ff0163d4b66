"""SORT and SORT_RO against the real Valkey, byte for byte, in both protocols; and what only this server promises.

Elements of a hash table, and of a sorted set where nothing says in which order they come, have each server's own
order: where such elements weigh the same as texts, nothing is compared.
"""

from __future__ import annotations

import random

import pytest

from fleettest.client import Arg, Connection
from fleettest.grammar import FLOATS
from fleettest.instance import Instance
from fleettest.reference import Pair
from fleettest.scripts import both_ways, script
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

NOT_NUMBERS = "ERR One or more scores can't be converted into double"
DATA: list[list[Arg]] = [
    ["RPUSH", "nums", 3, 1, 2, 10, -5, "2.5", "1e3", "-0", "inf"],
    ["RPUSH", "words", "banana", "apple", "cherry", "Apple", "", "10", "9", "apple", "\u00e9"],
    ["RPUSH", "ids", 1, 2, 3, 4, 5, 3],
    ["RPUSH", "nuls", b"a\0z", b"a", b"a\0b", b"\0", b"a\0b", b"b"],
    ["SADD", "ints", 5, 3, 1, 2, 4],
    ["SADD", "names", "c", "a", "b", "1", "10", "9"],
    ["ZADD", "z", 3, "1", 1, "3", 2, "2", 2, "5", 2, "4"],
    ["MSET", "w_1", 30, "w_2", 20, "w_3", "10", "w_4", "5.5", "w_text", "x", "only", "value"],
    ["HSET", "h_1", "w", 3, "t", "one", "", "empty", "->x", "arrow"],
    ["HSET", "h_2", "w", 2, "t", "two"],
    ["HSET", "h_3", "w", 1, "t", "three", "long", "y" * 100],
    ["SET", "str", "x"],
    ["HSET", "hash", "a", 1],
]

SCRIPTS = {
    "words": """
        SORT
        SORT_RO
        SORT nothing
        SORT nums
        SORT_RO nums
        SORT nums DESC
        SORT nums desc ASC
        SORT nums ASC DESC
        SORT nums x
        SORT nums x LIMIT a b
        SORT nums LIMIT
        SORT nums LIMIT 1
        SORT nums LIMIT a 1
        SORT nums LIMIT 1 a
        SORT nums LIMIT 1 9223372036854775808
        SORT nums LIMIT 1.0 1
        SORT nums LIMIT a 1 x
        SORT nums BY
        SORT nums GET
        SORT nums STORE
        SORT nums BY GET
        SORT ids GET BY
        SORT str
        SORT hash
        SORT str x
        SORT str LIMIT a 1
        SORT_RO nums STORE d
        SORT_RO nums STORE
        sort nums limit 0 3 desc
        SORT nums ALPHA
        SORT nums ALPHA ALPHA DESC
    """,
    "texts": """
        SORT words
        SORT words ALPHA
        SORT words ALPHA DESC
        SORT words ALPHA LIMIT 2 3
        SORT words LIMIT 2 0
        SORT words BY nosort
        SORT words BY nosort DESC
        SORT words BY nosort DESC LIMIT 1 2
        SORT nuls ALPHA
        SORT nuls ALPHA DESC
        SORT nuls ALPHA LIMIT 1 3
        SORT nuls
        SORT nuls ALPHA STORE d
        LRANGE d 0 -1
        SORT nuls ALPHA DESC STORE d
        LRANGE d 0 -1
        SORT names
        SORT names ALPHA
        SORT names ALPHA DESC LIMIT 0 2
        SORT z
        SORT z DESC
        SORT z ALPHA LIMIT -1 2
        SORT ints
        SORT ints DESC LIMIT 1 -1
    """,
    "limits": """
        SORT ids LIMIT 0 -1
        SORT ids LIMIT 0 0
        SORT ids LIMIT 0 1
        SORT ids LIMIT 1 2
        SORT ids LIMIT -3 2
        SORT ids LIMIT 2 -5
        SORT ids LIMIT 5 5
        SORT ids LIMIT 6 5
        SORT ids LIMIT 7 1
        SORT ids LIMIT 9223372036854775807 9223372036854775807
        SORT ids LIMIT -9223372036854775808 -9223372036854775808
        SORT ids LIMIT 1 1 LIMIT 2 2
        SORT ids BY nosort LIMIT 0 2
        SORT ids BY nosort LIMIT 5 2
        SORT ids BY nosort LIMIT 6 2
        SORT ids BY nosort LIMIT 9 0
        SORT ids BY nosort DESC LIMIT 0 2
        SORT ids BY nosort DESC LIMIT 4 9
        SORT z BY nosort
        SORT z BY nosort DESC
        SORT z BY nosort LIMIT 1 2
        SORT z BY nosort DESC LIMIT 1 2
        SORT z BY nosort LIMIT 4 2
        SORT z BY nosort LIMIT 5 2
        SORT z BY nosort DESC LIMIT 5 2
        SORT z BY nosort LIMIT 0 0
        SORT z BY nosort ALPHA LIMIT -2 3
        SORT ints BY nosort
        SORT ints BY nosort DESC LIMIT 1 2
        SORT nothing LIMIT 1 2
        SORT nothing BY nosort LIMIT 1 2 GET #
    """,
    "by": """
        SORT ids BY w_*
        SORT ids BY w_* DESC
        SORT ids BY w_* LIMIT 1 3
        SORT ids BY w_* DESC LIMIT 1 3
        SORT ids BY w_* ALPHA
        SORT ids BY w_* ALPHA DESC
        SORT ids BY w_* ALPHA LIMIT 0 4
        SORT ids BY w_* ALPHA DESC LIMIT 2 2
        SORT ids BY h_*->w
        SORT ids BY h_*->w DESC
        SORT ids BY h_*->t ALPHA
        SORT ids BY h_*->t
        SORT ids BY h_*->none
        SORT ids BY h_*
        SORT ids BY h_*->
        SORT ids BY h_*->->x
        SORT ids BY w_*->w
        SORT ids BY *
        SORT ids BY **
        SORT ids BY w_*_*
        SORT ids BY w_*\\x00*
        SORT ids BY w_\\x00*
        SORT ids BY ""
        SORT ids BY #
        SORT ids BY nosort BY w_*
        SORT ids BY w_* BY nosort
        SORT ids BY w_* BY h_*->w
        SORT words BY w_*
        SORT words BY none_* ALPHA
        SORT words BY none_* ALPHA LIMIT 1 5
        SORT words BY none_* ALPHA DESC LIMIT 1 5
        SORT words BY none_*
        SORT names BY none_* ALPHA LIMIT 1 3
        SORT names BY none_* ALPHA
        SORT ints BY w_* DESC
        SORT z BY w_*
        SORT z BY h_*->w LIMIT 0 2
        SET w_2 abc
        SORT ids BY w_*
        SORT ids BY w_* LIMIT 9 9
        SORT ids BY w_* STORE d
        EXISTS d
        SORT ids BY w_* ALPHA
    """,
    "get": """
        SORT ids GET #
        SORT ids GET w_*
        SORT ids GET w_* GET # GET h_*->t
        SORT ids BY h_*->w GET h_*->t GET h_*->long
        SORT ids BY nosort GET h_*->t LIMIT 0 2
        SORT ids GET nothing
        SORT ids GET only
        SORT ids GET ""
        SORT ids GET *
        SORT ids GET #*
        SORT ids GET #\\x00
        SORT ids GET #\\x00*
        SORT ids GET h_*
        SORT ids GET h_*->
        SORT ids GET h_*->->x
        SORT ids GET h_*->t\\x00
        SORT ids GET w_*->t
        SORT words ALPHA GET w_*
        SORT ids LIMIT 1 2 GET # GET w_*
        SORT ids LIMIT 9 2 GET # GET w_*
        SORT nothing GET # GET w_*
        SORT nums GET #
        SORT z BY nosort GET # GET w_*
        SORT names ALPHA GET # GET w_*
        SORT_RO ids GET # GET h_*->w
        SORT words GET #
    """,
    "store": """
        SORT ids STORE d
        LRANGE d 0 -1
        OBJECT ENCODING d
        TYPE d
        SORT ids DESC LIMIT 1 2 STORE d
        LRANGE d 0 -1
        SORT ids GET # GET w_* GET h_*->t STORE d
        LRANGE d 0 -1
        SORT ids STORE d STORE e
        LRANGE e 0 -1
        SORT ids STORE d LIMIT 9 9
        EXISTS d
        SORT nothing STORE d
        SORT nothing STORE e
        EXISTS e
        SORT words STORE e
        SORT str STORE e
        SORT ids STORE ids
        LRANGE ids 0 -1
        SORT ints STORE ints
        TYPE ints
        LRANGE ints 0 -1
        SORT z BY nosort DESC STORE z
        LRANGE z 0 -1
        SORT names BY nosort STORE d
        LRANGE d 0 -1
        SORT names BY nosort DESC STORE d
        LRANGE d 0 -1
        SORT names BY nosort LIMIT 1 2 STORE d
        LRANGE d 0 -1
        SORT names BY w_* BY nosort STORE d
        LRANGE d 0 -1
        SORT words BY nosort STORE d
        LRANGE d 0 -1
        SET d x EX 1000
        SORT ids STORE d
        TTL d
        SORT ids GET d* STORE d
        LRANGE d 0 -1
        SORT ids LIMIT 0 0 STORE ids
        EXISTS ids
        DBSIZE
    """,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(pair: Pair, name: str) -> None:
    both_ways(pair, [*DATA, *script(SCRIPTS[name])])


def test_what_is_a_number(pair: Pair) -> None:
    """As an element, as a string and as a field."""
    pair.flush()
    texts = [*FLOATS, b"", b"\0", b"1\0x", b" 1", b"1 ", b"+1", b"--1", b"1e", b"0x10", b"1_0", b"1e-400", b"4e-324"]
    for text in texts:
        pair.run("DEL", "l", "one", "w_7", "h_7")
        pair.run("RPUSH", "l", text, "0", "1")
        pair.run("RPUSH", "one", 7, 8)
        pair.run("SET", "w_7", text)
        pair.run("HSET", "h_7", "f", text)
        for command in (["SORT", "l"], ["SORT", "one", "BY", "w_*"], ["SORT", "one", "BY", "h_*->f", "DESC"]):
            pair.run(*command)
            pair.run(*command, "LIMIT", 0, 1)


@pytest.mark.parametrize("elements", [2, 6, 7, 8, 41, 200, 1500])
@pytest.mark.parametrize("weights", [1, 3, 40])
def test_the_order_of_equal_texts(pair: Pair, rng: random.Random, elements: int, weights: int) -> None:
    """Elements of a list that weigh the same come in Valkey's order, whatever a limit leaves out."""
    pair.flush()
    drawn = rng.sample(range(10 * elements), elements)
    pair.run("RPUSH", "l", *drawn)
    pair.pipeline([["SET", f"w_{i}", f"text {rng.randrange(weights)}"] for i in drawn if i % 5])
    for order in ("ASC", "DESC"):
        pair.run("SORT", "l", "BY", "w_*", "ALPHA", order)
        for offset, count in ((0, 1), (0, elements // 2), (elements // 2, 3), (1, elements - 1), (elements - 1, 5)):
            pair.run("SORT", "l", "BY", "w_*", "ALPHA", order, "LIMIT", offset, count)
            pair.run("SORT", "l", "BY", "w_*", order, "ALPHA", "LIMIT", offset, count, "STORE", "d")
            pair.run("LRANGE", "d", 0, -1)


@pytest.mark.parametrize("limit", ["-2", "-1", "4", "128", "1"])
def test_how_a_stored_list_is_encoded(server: Instance, valkey: Instance, limit: str) -> None:
    same: dict[str, str | int] = {"list-max-listpack-size": limit}
    with Pair(server, valkey) as pair, server.configured(**same), valkey.configured(**same):
        pair.flush()
        for count, text in ((1, "x"), (4, "x"), (5, "x"), (5, ""), (128, ""), (129, "")):
            pair.run("DEL", "l")
            pair.run("RPUSH", "l", *(f"{text}{i}" for i in range(count)))
            pair.run("SORT", "l", "ALPHA", "STORE", "d")
            pair.run("OBJECT", "ENCODING", "d")
        for size in (4050, 4082, 4083, 4096, 8170, 8178, 8179, 8180, 8192, 9000):
            for parts in (1, 2, 100):
                pair.run("DEL", "l")
                pair.run("RPUSH", "l", *(b"y" * (size // parts) for _ in range(parts)))
                pair.run("SORT", "l", "BY", "nosort", "STORE", "d")
                pair.run("OBJECT", "ENCODING", "d")
                pair.run("DEBUG", "DIGEST-VALUE", "d")


@pytest.mark.parametrize(
    "command",
    [
        *("SORT ids STORE d", "SORT ids STORE e", "SORT ids", "SORT_RO ids", "SORT nothing STORE d"),
        *("SORT nothing STORE e", "SORT words STORE d", "SORT ids LIMIT 9 9 STORE d", "SORT ids STORE ids"),
    ],
)
def test_what_changes_a_watched_key(pair: Pair, command: str) -> None:
    for key in ("d", "e", "ids"):
        pair.flush()
        pair.pipeline([*DATA, ["SET", "d", "x"], ["WATCH", key], command.split(), ["MULTI"], ["EXEC"]])


def test_what_is_over_is_missing(passive: Pair) -> None:
    """Keys and fields, as weights and as results."""
    passive.pipeline(DATA)
    passive.run("SET", "w_1", 0, "PX", 1)
    passive.run("HPEXPIRE", "h_3", 1, "FIELDS", 2, "w", "t")
    passive.run("DEBUG", "SLEEP", 0.01)
    passive.run("SORT", "ids", "BY", "h_*->w", "GET", "#", "GET", "h_*->t", "GET", "w_*")
    passive.run("SORT", "ids", "BY", "w_*", "ALPHA", "GET", "w_*", "STORE", "d")
    passive.run("LRANGE", "d", 0, -1)
    passive.run("SORT", "ids", "BY", "h_*->w", "STORE", "d")
    passive.run("LRANGE", "d", 0, -1)
    passive.run("EXISTS", "w_1")
    passive.run("SORT", "ids", "BY", "w_*")


def test_a_sorted_key_whose_time_is_over(passive: Pair) -> None:
    passive.pipeline(DATA)
    passive.pipeline([["PEXPIRE", "ids", 1], ["SET", "d", 1, "PX", 1], ["DEBUG", "SLEEP", 0.01]])
    passive.run("SORT", "ids", "STORE", "d")
    passive.run("SORT", "ids")
    passive.run("EXISTS", "d", "ids")


def test_long_values(pair: Pair) -> None:
    """Which are sent from where they are."""
    pair.flush()
    long = [bytes([97 + i]) * (9000 + i) for i in range(5)]
    pair.run("RPUSH", "l", *range(5), *long)
    for i in range(5):
        pair.run("SET", f"w_{i}", long[-i])
        pair.run("HSET", f"h_{i}", "f", long[-i], "g", i)
    pair.run("SORT", "l", "ALPHA")
    pair.run("SORT", "l", "ALPHA", "DESC", "GET", "w_*", "GET", "h_*->f", "GET", "#")
    pair.run("SORT", "l", "BY", "w_*", "ALPHA", "GET", "w_*", "STORE", "l")
    pair.run("DEBUG", "DIGEST-VALUE", "l")
    pair.run("OBJECT", "ENCODING", "l")


def test_who_waits_for_a_list_gets_what_was_stored(server: Instance, client: Connection) -> None:
    client.call("RPUSH", "l", 2, 1)
    with server.connect() as one, server.connect() as two:
        one.send_command("BLPOP", "d", 0)
        assert_eventually(lambda: b"blocked_clients:1\r" in client.call("INFO", "clients"))
        two.send_command("BLMOVE", "d", "e", "RIGHT", "LEFT", 0)
        assert_eventually(lambda: b"blocked_clients:2\r" in client.call("INFO", "clients"))
        assert client.call("SORT", "l", "STORE", "d") == 2
        assert one.read() == [b"d", b"1"]
        assert two.read() == b"2"
    assert client.call("EXISTS", "d") == 0


def test_whoever_waits_is_woken_whatever_was_there(server: Instance, client: Connection) -> None:
    """Valkey wakes nobody if a value of another type was."""
    client.call("RPUSH", "l", 2, 1)
    with server.connect() as one:
        one.send_command("BLPOP", "d", 0)
        assert_eventually(lambda: b"blocked_clients:1\r" in client.call("INFO", "clients"))
        client.call("HSET", "d", "f", "v")
        assert client.call("SORT", "l", "STORE", "d") == 2
        assert one.read() == [b"d", b"1"]


def test_reading_changes_no_form(client: Connection) -> None:
    """Valkey makes a skiplist of a sorted set's listpack."""
    client.call("ZADD", "z", 1, "1", 2, "2")
    for words in ((), ("ALPHA",), ("BY", "nosort"), ("BY", "w_*", "STORE", "d")):
        client.call("SORT", "z", *words)
        assert client.call("OBJECT", "ENCODING", "z") == b"listpack"


@pytest.mark.parametrize("kind", ["SADD", "ZADD"])
def test_a_table_is_sorted_alike_whatever_its_order(client: Connection, rng: random.Random, kind: str) -> None:
    """Texts that are equal are in the order of the elements' bytes: whoever executes it again stores the same."""
    members = [b"m%d" % i for i in range(1000)]
    rng.shuffle(members)
    client.call(kind, "k", *(word for m in members for word in ((m,) if kind == "SADD" else (b"1", m))))
    client.call("MSET", *(word for m in members for word in (b"w_" + m, m[-1:])))
    expected = sorted(sorted(members), key=lambda m: m[-1:])
    assert client.call("SORT", "k", "BY", "w_*", "ALPHA", "STORE", "d") == 1000
    assert client.call("LRANGE", "d", 0, -1) == expected
    assert client.call("SORT", "k", "BY", "w_*", "ALPHA", "LIMIT", 100, 50) == expected[100:150]


def test_a_compressed_list(server: Instance, client: Connection) -> None:
    """Its blocks are uncompressed one by one, and all of them are borrowed from."""
    with server.configured(**{"list-compress-depth": 1}):
        elements = [b"%05d" % (i * 7919 % 20_000) + b"abcdefgh" * 10 for i in range(20_000)]
        for at in range(0, 20_000, 1000):
            client.call("RPUSH", "k", *elements[at : at + 1000])
        assert client.call("SORT", "k", "ALPHA") == sorted(elements)
        assert client.call("SORT", "k", "BY", "nosort", "DESC", "LIMIT", 5000, 3000) == elements[::-1][5000:8000]
        assert client.call("SORT", "k", "ALPHA", "STORE", "k") == 20_000
        assert client.call("LRANGE", "k", 0, -1) == sorted(elements)


def used(client: Connection) -> int:
    return int(client.call("INFO", "memory").split(b"used_memory:")[1].split(b"\r")[0])


def test_memory_is_given_back(server: Instance, client: Connection) -> None:
    """After each way out of the command."""
    with server.configured(**{"list-compress-depth": 1}):
        client.call("RPUSH", "k", *[b"abcdefgh" * 10 + b"%d" % i for i in range(5000)])
        client.call("SET", "w_1", "x")
        commands = (
            ("SORT", "k"),
            ("SORT", "k", "BY", "none_*", "GET", "w_*", "LIMIT", 0, 10),
            ("SORT", "k", "ALPHA", "GET", "#", "GET", "w_*", "LIMIT", 0, 10, "x"),
            ("SORT", "w_1", "GET", "#"),
            ("SORT", "k", "GET", "#", "LIMIT", "a", 1),
            ("SORT", "k", "ALPHA", "STORE", "d"),
            ("SORT", "k", "LIMIT", 0, 0, "ALPHA"),
        )

        def turn() -> int:
            for command in commands:
                client.pipeline([command] * 20)
            return used(client)

        least = min(turn() for _ in range(5))
        assert_eventually(lambda: turn() <= least + 100)  # lists that were stored are freed by another thread


def test_not_numbers_are_an_error(client: Connection) -> None:
    client.call("RPUSH", "k", "a", 1)
    assert client.call("SORT", "k") == NOT_NUMBERS
    assert client.call("SORT", "k", "BY", "w_*") == [b"1", b"a"]
