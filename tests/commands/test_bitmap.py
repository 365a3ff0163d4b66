"""Bitmap commands against the real Valkey, byte for byte, in both protocols; BITOP's operations of Redis 8.2."""

from __future__ import annotations

import random

import pytest

from fleettest.client import Connection, Error
from fleettest.instance import Instance
from fleettest.reference import Pair
from fleettest.scripts import both_ways, script

pytestmark = [pytest.mark.server, pytest.mark.differential]

SETS = {  # what the string `k` is at first
    "embedded": [["SET", "k", b"\x00\xff\x0ffoo\x80"]],
    "integer": [["SET", "k", "1234"]],
    "long": [["SET", "k", b"\xff" * 3000 + b"\x00" * 3000 + b"ab"]],
    "empty": [["SET", "k", ""]],
    "expiring": [["SET", "k", "foobar", "EX", "100000"]],
    "list": [["RPUSH", "k", "a"]],
    "none": [],
}

SCRIPTS = {
    "single": """
        SETBIT
        SETBIT k
        SETBIT k 0
        SETBIT k 0 1 2
        SETBIT k 0 1
        OBJECT ENCODING k
        SETBIT k 0 1
        SETBIT k 7 0
        SETBIT k 100 0
        STRLEN k
        SETBIT k 100 1
        SETBIT k 20000 1
        SETBIT k -1 1
        SETBIT k a 1
        SETBIT k 4294967296 1
        SETBIT k 9223372036854775807 1
        SETBIT k 9223372036854775808 1
        SETBIT k #1 1
        SETBIT k 1 2
        SETBIT k 1 -1
        SETBIT k 1 a
        SETBIT k 1 1.0
        SETBIT k a 2
        GETBIT
        GETBIT k
        GETBIT k 0
        GETBIT k 9
        GETBIT k 20000
        GETBIT k 20001
        GETBIT k 4294967295
        GETBIT k 4294967296
        GETBIT k -1
        GETBIT k a
        GETBIT new 0
        GETBIT new -1
        GETBIT k 0 0
        OBJECT ENCODING k
        PEXPIRETIME k
        GET k
    """,
    "count": """
        BITCOUNT
        BITCOUNT k
        BITCOUNT k 0
        BITCOUNT k 1
        BITCOUNT k -1
        BITCOUNT k a
        BITCOUNT k 0 a
        BITCOUNT k 0 a BIT
        BITCOUNT k a 0 x
        BITCOUNT k 0 a x
        BITCOUNT k 0 0 x
        BITCOUNT k 0 0 BYTE x
        BITCOUNT k 0 -1
        BITCOUNT k 1 1
        BITCOUNT k -3 -2
        BITCOUNT k -2 -3
        BITCOUNT k -100 -99
        BITCOUNT k -99 -100
        BITCOUNT k 5 30 BIT
        BITCOUNT k 5 30 byte
        BITCOUNT k 9 3 BIT
        BITCOUNT k -9 -1 bit
        BITCOUNT k 0 9223372036854775807
        BITCOUNT k 0 9223372036854775807 BIT
        BITCOUNT k -9223372036854775808 -1 BIT
        BITCOUNT k 9223372036854775808 0
        BITCOUNT new
        BITCOUNT new 0
        BITCOUNT new a
        BITCOUNT new 0 0 x
        BITCOUNT new 0 -1 BIT
    """,
    "position": """
        BITPOS
        BITPOS k
        BITPOS k 1
        BITPOS k 0
        BITPOS k 2
        BITPOS k -1
        BITPOS k a
        BITPOS k 1.0
        BITPOS k 1 a
        BITPOS k 1 0 a
        BITPOS k 1 a 0 x
        BITPOS k 1 0 a x
        BITPOS k 1 0 0 x
        BITPOS k 1 0 0 BIT x
        BITPOS k 2 a a x
        BITPOS k 0 0
        BITPOS k 0 0 -1
        BITPOS k 1 1
        BITPOS k 1 2 1
        BITPOS k 0 1 1
        BITPOS k 1 0 0
        BITPOS k 1 -3
        BITPOS k 1 -1 -3
        BITPOS k 0 -100 -100
        BITPOS k 0 3 12 BIT
        BITPOS k 1 3 12 bit
        BITPOS k 1 8 8 BIT
        BITPOS k 0 8 16 BIT
        BITPOS k 1 0 9223372036854775807 BYTE
        BITPOS k 1 9223372036854775807
        BITPOS k 0 9223372036854775807
        BITPOS new 1
        BITPOS new 0
        BITPOS new 0 5
        BITPOS new 0 5 3 BIT
        BITPOS new a
        BITPOS new 0 a
        BITPOS new 0 0 0 x
    """,
    "combine": """
        SET a \\x0f\\xf0
        SET b \\x01\\x02\\x03\\x04
        SET long \\xff
        SETRANGE long 2000 x
        SET n 12345
        RPUSH list x
        BITOP
        BITOP AND
        BITOP AND d
        BITOP AND d k
        GET d
        OBJECT ENCODING d
        BITOP OR d a b
        GET d
        BITOP XOR d a b k
        GET d
        BITOP AND d a b
        GET d
        BITOP NOT d a
        GET d
        BITOP NOT d a b
        BITOP NOT d k
        BITOP OR d n
        GET d
        OBJECT ENCODING d
        BITOP XOR d a n n a
        GET d
        BITOP OR d long a
        STRLEN d
        OBJECT ENCODING d
        BITOP AND d long a
        GET d
        BITOP XOR a a b
        GET a
        BITOP nand d a b
        BITOP "" d a b
        BITOP OR d list a
        BITOP OR d a list
        BITOP OR list a b
        TYPE list
        EXPIRE d 1000
        BITOP OR d a
        PEXPIRETIME d
        BITOP OR d missing
        EXISTS d
        BITOP OR d missing missing2
        BITOP AND d a missing
        GET d
        BITOP AND d k a b a b a b a b a b a b a b a b a b a b a b a b
        GET d
    """,
    "field": """
        BITFIELD
        BITFIELD k
        BITFIELD k GET
        BITFIELD k GET u8
        BITFIELD k GET u8 0
        BITFIELD k GET i8 0 GET i8 8 GET u4 12 GET u63 3 GET i64 5
        BITFIELD k GET u8 100000
        BITFIELD k GET u8 #0 GET u8 #1 GET u8 #500
        BITFIELD k GET u64 0
        BITFIELD k GET i65 0
        BITFIELD k GET u0 0
        BITFIELD k GET x8 0
        BITFIELD k GET U8 0
        BITFIELD k GET u8x 0
        BITFIELD k GET u 0
        BITFIELD k GET "" 0
        BITFIELD k GET u8 -1
        BITFIELD k GET u8 a
        BITFIELD k GET u8 #-1
        BITFIELD k GET u8 #
        BITFIELD k GET u8 4294967295
        BITFIELD k GET u8 4294967296
        BITFIELD k GET u8 #536870911
        BITFIELD k GET u8 #536870912
        BITFIELD k GET u4 #4611686018427387905
        BITFIELD k GET u2 #9223372036854775807
        BITFIELD k SET u8 0 255
        BITFIELD k SET i8 0 255
        BITFIELD k SET i8 0 -1 GET u8 0
        BITFIELD k SET u8 0 -1 GET u8 0
        BITFIELD k SET u8 #3 77 INCRBY u8 #3 3
        BITFIELD k SET u8 0 a
        BITFIELD k SET u8 0
        BITFIELD k INCRBY u8 0
        BITFIELD k INCRBY u2 100 1 INCRBY u2 100 1 INCRBY u2 100 1 INCRBY u2 100 1
        BITFIELD k OVERFLOW SAT INCRBY u2 100 1 INCRBY u2 100 1 INCRBY u2 100 9 INCRBY u2 100 -9
        BITFIELD k OVERFLOW FAIL INCRBY u2 100 1 INCRBY u2 100 9
        BITFIELD k OVERFLOW WRAP INCRBY i8 0 200 OVERFLOW SAT INCRBY i8 0 200 OVERFLOW FAIL INCRBY i8 0 1
        BITFIELD k OVERFLOW sat SET i8 0 1000 OVERFLOW fail SET i8 0 1000
        BITFIELD k OVERFLOW
        BITFIELD k OVERFLOW x
        BITFIELD k OVERFLOW x GET u8 a
        BITFIELD k OVERFLOW SAT
        BITFIELD k SET u8 0 1 OVERFLOW x
        BITFIELD k INCRBY i64 64 9223372036854775807 INCRBY i64 64 1
        BITFIELD k OVERFLOW SAT INCRBY i64 64 -9223372036854775808 INCRBY i64 64 -9223372036854775808
        BITFIELD k FOO u8 0
        BITFIELD k GET u8 0 SET u8
        BITFIELD f OVERFLOW FAIL INCRBY u8 0 256
        GET f
        BITFIELD_RO k
        BITFIELD_RO k GET u8 0
        BITFIELD_RO k GET u8 0 GET i5 #3
        BITFIELD_RO k SET u8 0 1
        BITFIELD_RO k OVERFLOW SAT
        BITFIELD_RO k OVERFLOW SAT GET u8 0
        BITFIELD_RO k SET u8 0 a
        BITFIELD_RO k OVERFLOW x
        BITFIELD_RO new GET u8 0
        EXISTS new
        OBJECT ENCODING k
        GET k
    """,
}


@pytest.mark.parametrize("form", SETS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_script(pair: Pair, name: str, form: str) -> None:
    both_ways(pair, [*SETS[form], *script(SCRIPTS[name])])


@pytest.mark.parametrize(
    "command",
    [
        *("SETBIT k 0 0", "SETBIT k 0 1", "SETBIT k 10 0", "SETBIT k 800 0", "SETBIT none 0 0", "SETBIT k a 0"),
        *("BITOP AND k none", "BITOP AND k k", "BITOP AND none none2", "BITOP NOT o k", "BITFIELD k", "BITCOUNT k"),
        *("BITFIELD k GET u8 0", "BITFIELD k SET u8 0 102", "BITFIELD k SET u8 0 9", "BITFIELD k SET u8 800 0"),
        *("BITFIELD k OVERFLOW FAIL SET u8 800 256", "BITFIELD none OVERFLOW FAIL SET u8 0 256"),
        *("BITFIELD k OVERFLOW FAIL SET u8 0 256", "BITFIELD k INCRBY u8 0 0", "BITFIELD_RO k GET u8 0"),
    ],
)
def test_what_changes_a_watched_key(pair: Pair, command: str) -> None:
    pair.flush()
    for key in ("k", "none"):
        pair.pipeline([["SET", "k", "foobar"], ["WATCH", key], command.split(), ["MULTI"], ["EXEC"]])


def test_the_longest_string(pair: Pair) -> None:
    """The last bit of 512 MB may be set; and a field that begins at it."""
    pair.flush()
    pair.run("SETBIT", "k", 2**32 - 1, 1)
    pair.run("STRLEN", "k")
    pair.run("GETBIT", "k", 2**32 - 1)
    pair.run("BITCOUNT", "k")
    pair.run("BITPOS", "k", 1)
    pair.run("BITPOS", "k", 0, 2**32 - 1, -1, "BIT")
    pair.run("BITFIELD", "k", "SET", "i64", 2**32 - 1, -1)
    pair.run("STRLEN", "k")
    pair.run("BITPOS", "k", 0, 2**29 - 1)
    pair.run("APPEND", "k", "x")
    pair.run("DEL", "k")


def test_a_limit_of_ones_own(server: Instance, valkey: Instance) -> None:
    same = {"proto-max-bulk-len": 2 << 20}
    with Pair(server, valkey) as pair, server.configured(**same), valkey.configured(**same):
        pair.flush()
        for at in ((2 << 23) - 1, 2 << 23):
            pair.run("SETBIT", "k", at, 1)
            pair.run("GETBIT", "k", at)
            pair.run("BITFIELD", "k", "GET", "u8", at)
            pair.run("BITFIELD", "k", "SET", "u8", f"#{at // 8}", 7)
            pair.run("STRLEN", "k")


# ---- BITOP's operations of Redis 8.2 ---------------------------------------------------------------

X, Y1, Y2 = b"\xf0\xaa\xff\x0f", b"\x0f\xcc\x01", b"\x00\x99"
NEW = [  # operation, strings, result
    ("DIFF", [X, Y1], b"\xf0\x22\xfe\x0f"),
    ("DIFF", [X, Y1, Y2], b"\xf0\x22\xfe\x0f"),
    ("DIFF", [Y2, X, Y1], b"\x00\x11\x00\x00"),
    ("DIFF1", [X, Y1], b"\x0f\x44\x00\x00"),
    ("DIFF1", [X, Y1, Y2], b"\x0f\x55\x00\x00"),
    ("DIFF1", [Y2, X, Y1], b"\xff\x66\xff\x0f"),
    ("ANDOR", [X, Y1], b"\x00\x88\x01\x00"),
    ("ANDOR", [X, Y1, Y2], b"\x00\x88\x01\x00"),
    ("andor", [Y2, X, Y1], b"\x00\x88\x00\x00"),
    ("ONE", [X], X),
    ("ONE", [X, Y1], b"\xff\x66\xfe\x0f"),
    ("one", [X, Y1, Y2], b"\xff\x77\xfe\x0f"),
    ("ONE", [X, X, Y2], b"\x00\x11\x00\x00"),
    ("DIFF", [None, X], b"\0\0\0\0"),
    ("DIFF1", [None, X], X),
    ("DIFF", [X, None], X),
    ("ANDOR", [X, None], b"\0\0\0\0"),
    ("ONE", [None, None], b""),
]


@pytest.mark.parametrize(("name", "strings", "result"), NEW)
def test_newer_operations(client: Connection, name: str, strings: list[bytes | None], result: bytes) -> None:
    for i, text in enumerate(strings):
        if text is not None:
            client.call("SET", f"s{i}", text)
    client.call("SET", "d", "before", "EX", 1000)
    assert client.call("BITOP", name, "d", *(f"s{i}" for i in range(len(strings)))) == len(result)
    assert client.call("GET", "d") == (result or None)
    assert client.call("TTL", "d") == (-1 if result else -2)
    if result:
        assert client.call("OBJECT", "ENCODING", "d") == b"raw"


@pytest.mark.parametrize("name", ["DIFF", "diff1", "AndOr"])
def test_newer_operations_need_two_strings(client: Connection, name: str) -> None:
    text = f"ERR BITOP {name.upper()} must be called with at least two source keys."
    assert client.call("BITOP", name, "d", "s") == Error(text)


def test_newer_operations_by_other_ones(client: Connection, rng: random.Random) -> None:
    """On strings of all lengths, with the four old operations as judges."""
    for _ in range(100):
        names = [f"s{i}" for i in range(rng.randrange(2, 6))]
        for name in names:
            client.call("SET", name, rng.randbytes(rng.choice([0, 1, 7, 8, 100, 1024, 9000, 20_000])))
        for operation in ("DIFF", "DIFF1", "ANDOR", "ONE"):
            client.call("BITOP", operation, operation, *names)
        client.call("BITOP", "OR", "y", *names[1:])
        client.call("BITOP", "OR", "all", *names)
        client.call("BITOP", "AND", "andor", names[0], "y")
        client.call("BITOP", "XOR", "diff", names[0], "andor")
        client.call("BITOP", "XOR", "diff1", "y", "andor")
        for old, new in (("andor", "ANDOR"), ("diff", "DIFF"), ("diff1", "DIFF1")):
            client.call("BITOP", "XOR", "rest", old, new)
            assert client.call("BITCOUNT", "rest") == 0, (old, names)
        ones = sum(client.call("BITCOUNT", name) for name in names)
        client.call("BITOP", "XOR", "many", "all", "ONE")
        twice = client.call("BITCOUNT", "many")
        assert client.call("BITCOUNT", "ONE") + 2 * twice <= ones
        assert client.call("BITCOUNT", "all") == client.call("BITCOUNT", "ONE") + twice
