"""String commands against the real Valkey, byte for byte, in both protocols: scripts, and one body over all sizes."""

from __future__ import annotations

import itertools
import random

import pytest

from fleettest.reference import Pair
from fleettest.scripts import Command, both_ways, script

pytestmark = [pytest.mark.server, pytest.mark.differential]

INT_MAX = 9223372036854775807
FUTURE_S = 9999999999

STATE = "GET k\nPEXPIRETIME k\nOBJECT ENCODING k\n"

SCRIPTS = {
    "set_errors": """
        SET
        SET k
        SET k v EX
        SET k v EX abc
        SET k v EX 1.5
        SET k v EX 0
        SET k v EX -1
        SET k v EX 9223372036854775807
        SET k v EX 9223372036854775808
        SET k v EX 9223372036854775
        SET k v EX 9223372036854776
        SET k v PX 0
        SET k v PX 9223372036854775807
        SET k v EXAT 0
        SET k v EXAT 9223372036854776
        SET k v PXAT -5
        SET k v PXAT 0
        SET k v EX 10 PX 20
        SET k v EX 10 EXAT 20
        SET k v NX XX
        SET k v XX NX
        SET k v NX IFEQ v
        SET k v IFEQ v NX
        SET k v XX IFEQ v
        SET k v IFEQ v XX
        SET k v IFEQ v IFEQ w
        SET k v IFEQ
        SET k v KEEPTTL EX 10
        SET k v EX 10 KEEPTTL
        SET k v PERSIST
        SET k v FOO
        SET k v ""
        SET k v \\x00
        SET k v KEEPTTLX
        SET k v GETGETGET
        SET k v EX abc FOO
        SET k v EX abc EX 10
        SET k v EX 0 NX
        GET k
        """,
    "set_options": f"""
        SET k v
        SET k w NX
        SET k w nx
        SET k w XX
        SET n w XX
        SET n w NX
        SET k v NX NX
        SET k v XX XX GET GET
        SET k v KEEPTTL KEEPTTL
        SET k v EX 10 EX {FUTURE_S}
        TTL k
        SET k v EXAT {FUTURE_S}
        PEXPIRETIME k
        SET k v2 KEEPTTL
        PEXPIRETIME k
        SET k v3 keepttl GET
        PEXPIRETIME k
        SET k v4
        PEXPIRETIME k
        SET k v5 PXAT {FUTURE_S}123
        PEXPIRETIME k
        SET k v6 ExAt {FUTURE_S} xX gEt
        {STATE}
        SET k v IFEQ v6
        SET k v IFEQ v6
        SET k w IFEQ v GET
        SET k w IFEQ v GET
        SET nokey w IFEQ v GET
        SET nokey w IFEQ v
        EXISTS nokey
        SET k v IFEQ w KEEPTTL
        SET k v IFEQ v PXAT {FUTURE_S}000 GET
        PEXPIRETIME k
        SET k 123
        SET k 124 IFEQ 123
        SET k 125 IFEQ 0124
        SET k "" IFEQ 124
        SET k v IFEQ ""
        SET k v PXAT {INT_MAX}
        PEXPIRETIME k
        SET k v EXAT 9223372036854775
        PEXPIRETIME k
        """,
    "set_past": """
        SET k v
        SET k w EXAT 1
        EXISTS k
        SET k w EXAT 1
        DBSIZE
        SET k w
        SET k x PXAT 1 GET
        EXISTS k
        SET k x PXAT 1 GET
        SET k x PXAT 1 NX
        EXISTS k
        SET k x
        SET k y PXAT 1 NX
        GET k
        SET k y PXAT 1 XX
        GET k
        SET k 5
        GETEX k EXAT 1
        GET k
        MSETEX 2 a 1 b 2 EXAT 1
        EXISTS a b
        SET k v PXAT 1 KEEPTTL
        """,
    "get": """
        GET
        GET k
        GET a b
        SET k ""
        GET k
        SET \\x00\\r\\n \\xff\\x00\\r\\n
        GET \\x00\\r\\n
        SET "" empty
        GET ""
        DEL ""
        GET ""
        """,
    "setnx_setex_getset": """
        SETNX k
        SETNX k 1
        SETNX k 2
        GET k
        SETEX k 10
        SETEX k 0 v
        SETEX k -1 v
        SETEX k abc v
        SETEX k 9223372036854775807 v
        SETEX k 1000 v
        GET k
        TTL k
        PSETEX k 0 v
        PSETEX k 9223372036854775807 v
        PSETEX k 1000000 12
        GET k
        TTL k
        GETSET k new
        TTL k
        GETSET k
        GETSET nokey v
        GETSET nokey v2
        GETDEL nokey
        GETDEL nokey
        GETDEL
        """,
    "getex": f"""
        GETEX
        GETEX k
        GETEX k EX 0
        GETEX k EX abc
        GETEX k FOO
        SET k v
        GETEX k
        GETEX k EX
        GETEX k EX 0
        GETEX k EX -1
        GETEX k PX 9223372036854775807
        GETEX k EX 10 PX 10
        GETEX k PERSIST EX 10
        GETEX k EX 10 PERSIST
        GETEX k KEEPTTL
        GETEX k NX
        GETEX k XX
        GETEX k GET
        GETEX k IFEQ v
        GETEX k EXAT {FUTURE_S}
        PEXPIRETIME k
        GETEX k PXAT {FUTURE_S}999
        PEXPIRETIME k
        GETEX k
        PEXPIRETIME k
        GETEX k PERSIST
        PEXPIRETIME k
        GETEX k persist PERSIST
        GETEX k EX 10 EX 1000
        TTL k
        GETEX k PX 100000
        TTL k
        """,
    "mget_mset": """
        MGET
        MGET a
        MSET
        MSET a
        MSET a 1 b
        MSET a 1
        MSET a 1 b 2 c "" d \\x00
        MGET a b c d e a
        MSET a 1 a 2 a 3
        GET a
        MSETNX a
        MSETNX a 1 b
        MSETNX x 1 a 2
        EXISTS x
        MSETNX x 1 x 2 y 3
        MGET x y
        MSETNX y 1
        """,
    "msetex": f"""
        MSETEX
        MSETEX 1 a
        MSETEX 0 a 1
        MSETEX -1 a 1
        MSETEX abc a 1
        MSETEX 1.0 a 1
        MSETEX 99999999999999 a 1
        MSETEX 2147483648 a 1
        MSETEX 2147483647 a 1
        MSETEX 9223372036854775807 a 1
        MSETEX 9223372036854775808 a 1
        MSETEX 4611686018427387904 a 1
        MSETEX 2 a 1
        MSETEX 2 a 1 b
        MSETEX 1 a 1 FOO
        MSETEX 1 a 1 GET
        MSETEX 1 a 1 IFEQ 1
        MSETEX 1 a 1 EX
        MSETEX 1 a 1 EX 0
        MSETEX 1 a 1 PX abc
        MSETEX 1 a 1 EX 10 PX 10
        MSETEX 1 a 1 KEEPTTL EX 10
        MSETEX 1 a 1 NX XX
        MSETEX 1 a 1 PERSIST
        MSETEX 1 a 1 b 2
        MSETEX 0 a 1 FOO
        MSETEX 1 a 1
        MSETEX 2 a 2 b 2 NX
        MGET a b
        MSETEX 2 a 2 b 2 XX
        MGET a b
        MSETEX 2 b 3 c 3 nx EXAT {FUTURE_S}
        PEXPIRETIME b
        MSETEX 2 b 4 c 4 xx KEEPTTL
        PEXPIRETIME b
        MSETEX 2 b 4 c 4 xx PXAT {FUTURE_S}500
        PEXPIRETIME c
        MSETEX 2 b 5 b 6
        GET b
        PEXPIRETIME b
        MSETEX 2 q 5 q 6 NX
        GET q
        MSETEX 2 a EX b PX EX 1000 XX
        MGET a b
        TTL a
        """,
    "append": """
        APPEND
        APPEND k
        APPEND k ""
        GET k
        EXISTS k
        APPEND k foo
        APPEND k bar
        APPEND k ""
        GET k
        APPEND n 12
        INCR n
        APPEND n 3
        GET n
        INCR n
        APPEND n x
        INCR n
        STRLEN n
        SET e v EXAT 9999999999
        APPEND e w
        PEXPIRETIME e
        """,
    "encodings": """
        SET k 1
        OBJECT ENCODING k
        APPEND k 2
        OBJECT ENCODING k
        INCR k
        OBJECT ENCODING k
        SETRANGE k 0 ""
        OBJECT ENCODING k
        SETRANGE k 0 5
        OBJECT ENCODING k
        SET k -0
        OBJECT ENCODING k
        SET k 01
        OBJECT ENCODING k
        SET k 9223372036854775807
        OBJECT ENCODING k
        SET k 9223372036854775808
        OBJECT ENCODING k
        SET k -9223372036854775808
        OBJECT ENCODING k
        SET k 5
        INCRBYFLOAT k 1
        OBJECT ENCODING k
        INCR k
        OBJECT ENCODING k
        INCRBYFLOAT new 3
        OBJECT ENCODING new
        INCRBYFLOAT new 1e80
        OBJECT ENCODING new
        INCRBYFLOAT new 1e200
        OBJECT ENCODING new
        INCRBYFLOAT new -1e200
        OBJECT ENCODING new
        SETRANGE r 2 x
        OBJECT ENCODING r
        APPEND a 12
        OBJECT ENCODING a
        APPEND a ""
        OBJECT ENCODING a
        APPEND b hello
        OBJECT ENCODING b
        APPEND b ""
        OBJECT ENCODING b
        GETSET b 77
        OBJECT ENCODING b
        SETNX c 78
        OBJECT ENCODING c
        MSET d 79 e x
        OBJECT ENCODING d
        SETEX f 1000 80
        OBJECT ENCODING f
        """,
    "setrange": """
        SETRANGE k 0
        SETRANGE k 0 ""
        EXISTS k
        SETRANGE k 5 ""
        SETRANGE k -1 ""
        SETRANGE k -1 x
        SETRANGE k abc x
        SETRANGE k 536870912 ""
        SETRANGE k 536870912 x
        SETRANGE k 536870911 xx
        SETRANGE k 4294967296 x
        SETRANGE k 9223372036854775807 x
        SETRANGE k 9223372036854775808 x
        SETRANGE k 3 foo
        GET k
        SETRANGE k 0 bar
        SETRANGE k 1 12345678
        GET k
        SETRANGE k 20 x
        GET k
        SET i 1234
        SETRANGE i 100 ""
        SETRANGE i 1 x
        GET i
        SET e v EXAT 9999999999
        SETRANGE e 1 w
        PEXPIRETIME e
        GET e
        """,
    "getrange_arguments": """
        GETRANGE k
        GETRANGE k 0
        GETRANGE k a b
        GETRANGE k 0 b
        GETRANGE k 0 9223372036854775808
        GETRANGE k 0 -1
        SUBSTR k 0 -1
        SUBSTR k 0
        STRLEN k
        STRLEN
        SET k ""
        GETRANGE k 0 0
        GETRANGE k 0 -1
        GETRANGE k -1 -1
        STRLEN k
        """,
    "incr_arguments": """
        INCR
        INCR a b
        INCRBY k
        INCRBY k 1.5
        INCRBY k +1
        INCRBY k 01
        INCRBY k ""
        INCRBY k 9223372036854775808
        DECRBY k -9223372036854775808
        DECRBY k -9223372036854775809
        EXISTS k
        INCR k
        INCRBY k 5
        DECR k
        DECRBY k -10
        DECRBY k 100
        INCRBY k -9223372036854775808
        INCRBY k 0
        SET e 5 EXAT 9999999999
        INCR e
        PEXPIRETIME e
        INCRBYFLOAT e 0.5
        PEXPIRETIME e
        SET s 0005
        INCR s
        APPEND t 7
        APPEND t 7
        INCR t
        """,
    "lcs": """
        LCS
        LCS a
        LCS a b
        LCS a b LEN
        LCS a b IDX
        MSET a ohmytext b mynewtext
        LCS a b
        LCS a b LEN
        LCS a b IDX
        LCS a b idx len
        LCS a b LEN IDX
        LCS a b IDX MINMATCHLEN 4
        LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN
        LCS a b IDX WITHMATCHLEN
        LCS a b WITHMATCHLEN
        LCS a b MINMATCHLEN 2
        LCS a b MINMATCHLEN
        LCS a b MINMATCHLEN abc
        LCS a b IDX MINMATCHLEN -5
        LCS a b IDX MINMATCHLEN 0
        LCS a b IDX MINMATCHLEN 100
        LCS a b FOO
        LCS a a
        LCS a a IDX
        LCS a nokey IDX
        LCS nokey a
        SET n 123
        SET m 1234
        LCS n m
        LCS n m IDX WITHMATCHLEN
        SET e ""
        LCS e a
        LCS e e IDX
        """,
    "delifeq": """
        DELIFEQ k
        DELIFEQ k v
        SET k v
        DELIFEQ k w
        DELIFEQ k V
        DELIFEQ k vv
        DELIFEQ k ""
        EXISTS k
        DELIFEQ k v
        EXISTS k
        SET k 123
        DELIFEQ k 0123
        DELIFEQ k 123
        EXISTS k
        SET k ""
        DELIFEQ k ""
        EXISTS k
        DELIFEQ k v w
        """,
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(pair: Pair, name: str) -> None:
    both_ways(pair, script(SCRIPTS[name]))


# ---- the same body over encodings -------------------------------------------------------------------

VALUES = {
    "empty": b"",
    "int": b"12345",
    "negative": b"-1",
    "int_max": b"9223372036854775807",
    "embstr": b"hello",
    "embstr_limit": b"x" * 112,
    "raw": b"y" * 113,
    "binary": bytes(range(256)),
    "embedded_limit": b"z" * 1023,
    "blob": b"b" * 1024,
    "big": b"B" * 40_000,
    "huge": random.Random(1).randbytes(2_000_000),
}


@pytest.mark.parametrize("name", VALUES)
def test_body_over_encodings(pair: Pair, name: str) -> None:
    v = VALUES[name]
    commands: list[Command] = [
        ("SET", "k", v), ("GET", "k"), ("STRLEN", "k"), ("OBJECT", "ENCODING", "k"),
        ("SET", "k", v), ("SET", "k", v, "GET"), ("GETSET", "k", v), ("GETEX", "k"), ("MGET", "k", "no", "k"),
        ("SET", "k", "new", "IFEQ", v), ("SET", "k", v, "IFEQ", "new", "GET"), ("GET", "k"),
        ("GETRANGE", "k", 0, -1), ("GETRANGE", "k", 1, 3), ("GETRANGE", "k", -3, -2), ("SUBSTR", "k", -1, -1),
        ("SETRANGE", "k", 1, "Q"), ("GET", "k"), ("OBJECT", "ENCODING", "k"), ("SETRANGE", "k", len(v) + 3, "end"),
        ("GET", "k"), ("SET", "k", v), ("APPEND", "k", v), ("GET", "k"), ("OBJECT", "ENCODING", "k"),
        ("APPEND", "k", "x"), ("STRLEN", "k"), ("SET", "k", v, "PXAT", f"{FUTURE_S}000"), ("PEXPIRETIME", "k"),
        ("APPEND", "k", "tail"), ("PEXPIRETIME", "k"), ("GET", "k"), ("SET", "k", v, "KEEPTTL"), ("PEXPIRETIME", "k"),
        ("OBJECT", "ENCODING", "k"), ("GETEX", "k", "PERSIST"), ("PEXPIRETIME", "k"), ("GET", "k"),
        ("INCR", "k"), ("SET", "k", v), ("INCRBYFLOAT", "k", "1.5"), ("SET", "k", v), ("SETNX", "k", v),
        ("SETNX", "k2", v), ("MSET", "a", v, "b", v, "a", v), ("MGET", "a", "b"), ("MSETNX", "c", v, "d", v),
        ("MSETEX", 2, "c", v, "d", v, "XX"), ("MGET", "c", "d", "k2"), ("SETEX", "e", 1000, v), ("GET", "e"),
        ("PSETEX", "e", 1000000, v), ("GET", "e"), ("DELIFEQ", "k", "other"), ("DELIFEQ", "k", v), ("EXISTS", "k"),
        ("APPEND", "k", v), ("GETDEL", "k"), ("GETDEL", "k"), ("SET", "k", v, "EXAT", 1), ("EXISTS", "k"),
        ("SET", v, v), ("GET", v), ("APPEND", v, "x"), ("STRLEN", v), ("DEL", v), ("DBSIZE",),
    ]  # fmt: skip
    both_ways(pair, commands)


def test_overwriting_any_size_by_any_other(pair: Pair) -> None:
    commands: list[Command] = []
    for first, second in itertools.product(VALUES.values(), repeat=2):
        if len(first) + len(second) > 100_000:
            continue
        for key in (b"k", b"K" * 300):
            commands += [("SET", key, first), ("SET", key, second), ("GET", key), ("OBJECT", "ENCODING", key)]
            commands += [("SET", key, first, "EX", 1000), ("SET", key, second, "KEEPTTL"), ("GET", key), ("TTL", key)]
            commands += [("APPEND", key, second), ("GET", key), ("OBJECT", "ENCODING", key)]
    pair.flush()
    pair.pipeline(commands)
