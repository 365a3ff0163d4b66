"""INCREX, which Redis 8.8 has and Valkey 9.1 lacks. Expectations are literal: (value before, arguments, reply).

`None` before: no key. A reply of [old, 0] without SATURATE must leave value and expiry alone.
"""

from __future__ import annotations

from typing import Any

import pytest

from fleettest.client import Connection, Error

pytestmark = pytest.mark.server

MAX = 9223372036854775807
MIN = -MAX - 1
SYNTAX = Error("ERR syntax error")
BOUNDS = Error("ERR LBOUND can't be greater than UBOUND")
OVERFLOW = Error("ERR applied increment would overflow")
TOO_FAR = Error("ERR applied increment would be Infinity")


INTEGERS: list[tuple[Any, str, Any]] = [
    (None, "", [1, 1]),
    (10, "", [11, 1]),
    (100, "BYINT 5", [105, 5]),
    (100, "byint -10", [90, -10]),
    (95, "BYINT 0", [95, 0]),
    (50, "BYINT 100 UBOUND 80", [50, 0]),
    (50, "BYINT 100 UBOUND 80 SATURATE", [80, 30]),
    (10, "BYINT -100 LBOUND 0", [10, 0]),
    (10, "SATURATE LBOUND 0 BYINT -100", [0, -10]),
    (5, "BYINT 5 UBOUND 10", [10, 5]),
    (5, "BYINT -5 LBOUND 0", [0, -5]),
    (5, "BYINT 1 LBOUND 0 UBOUND 10", [6, 1]),
    (MAX - 7, f"BYINT {MAX}", [MAX - 7, 0]),
    (MAX - 7, f"BYINT {MAX} SATURATE", [MAX, 7]),
    (MAX - 7, f"BYINT {MAX} UBOUND {MAX}", [MAX - 7, 0]),
    (MIN + 8, f"BYINT {MIN} SATURATE", [MIN, -8]),
    (MIN + 8, f"BYINT {MIN} LBOUND {MIN}", [MIN + 8, 0]),
    (50, "BYINT 5 UBOUND 30", [50, 0]),
    (50, "BYINT 5 UBOUND 30 SATURATE", [30, -20]),
    (-50, "BYINT -5 LBOUND -30 SATURATE", [-30, 20]),
    (50, "BYINT -25 UBOUND 30", [25, -25]),
    (None, "BYINT 5 LBOUND 10", [0, 0]),
    (None, "LBOUND 5 SATURATE", [5, 5]),
    (None, "UBOUND 0 SATURATE", [0, 0]),
    (MAX - 7, f"BYINT 1 SATURATE UBOUND {MIN}", OVERFLOW),
    (MAX, f"BYINT -5 UBOUND {MIN} SATURATE", OVERFLOW),
    ("abc", "", Error("ERR value is not an integer or out of range")),
    ("1.5", "", Error("ERR value is not an integer or out of range")),
    (1, "BYINT abc", Error("ERR Increment is not an integer or out of range")),
    (1, "BYINT 1.5", Error("ERR Increment is not an integer or out of range")),
    (1, "LBOUND abc", Error("ERR LBOUND is not an integer or out of range")),
    (1, "UBOUND 12.5", Error("ERR UBOUND is not an integer or out of range")),
    (1, "UBOUND inf", Error("ERR UBOUND is not an integer or out of range")),
    (1, "BYINT 1 LBOUND 10 UBOUND 5", BOUNDS),
    (1, "BYINT 1 LBOUND 10 UBOUND 5 SATURATE", BOUNDS),
]
FLOATS: list[tuple[Any, str, Any]] = [
    (None, "BYFLOAT 5.5", ["5.5", "5.5"]),
    ("1.5", "BYFLOAT 0.25", ["1.75", "0.25"]),
    (10, "BYFLOAT 0.1", ["10.1", "0.1"]),
    (10, "BYFLOAT 100 UBOUND 42.5 SATURATE", ["42.5", "32.5"]),
    (0, "BYFLOAT -100 LBOUND -5.5 SATURATE", ["-5.5", "-5.5"]),
    ("10.0", "BYFLOAT 10 UBOUND 15.5", ["10", "0"]),
    ("10.0", "BYFLOAT -10 LBOUND 5.5 SATURATE", ["5.5", "-4.5"]),
    ("5.0", "BYFLOAT 5 UBOUND 10.0", ["10", "5"]),
    ("50.5", "BYFLOAT 5.5 UBOUND 30", ["50.5", "0"]),
    ("50.5", "BYFLOAT 5.5 UBOUND 30 SATURATE", ["30", "-20.5"]),
    (50, "BYFLOAT -25 UBOUND 30", ["25", "-25"]),
    (None, "BYFLOAT -0.5 UBOUND -1.5", ["0", "0"]),
    (10, "BYFLOAT 1 UBOUND inf", ["11", "1"]),
    (10, "BYFLOAT 1 LBOUND -inf", ["11", "1"]),
    (10, "BYFLOAT 1 LBOUND -inf UBOUND -inf", ["10", "0"]),
    (10, "BYFLOAT 1 LBOUND inf UBOUND inf", ["10", "0"]),
    (10, "BYFLOAT 1 LBOUND inf UBOUND inf SATURATE", TOO_FAR),
    (10, "BYFLOAT 1 LBOUND -inf UBOUND -inf SATURATE", TOO_FAR),
    (10, "BYFLOAT 1e4932 UBOUND 100 SATURATE", ["100", "90"]),
    (10, "BYFLOAT 1 UBOUND -inf", BOUNDS),
    (10, "BYFLOAT 1 LBOUND inf", BOUNDS),
    (10, "BYFLOAT 0.5 LBOUND 10.5 UBOUND 1.5", BOUNDS),
    (0, "BYFLOAT +inf", Error("ERR BYFLOAT increment cannot be Infinity")),
    (0, "BYFLOAT -inf", Error("ERR BYFLOAT increment cannot be Infinity")),
    ("inf", "BYFLOAT 1", Error("ERR value cannot be Infinity")),
    ("hello", "BYFLOAT 1", Error("ERR value is not a valid float")),
    (1, "BYFLOAT abc", Error("ERR Increment is not a valid float")),
    (1, "BYFLOAT 1 LBOUND abc", Error("ERR LBOUND is not a valid float")),
    (1, "BYFLOAT 1 UBOUND abc", Error("ERR UBOUND is not a valid float")),
]
WRONG = [
    "FOO", "BYINT 1 FOO", "BYINT", "BYFLOAT", "LBOUND", "UBOUND", "EX", "BYINT 1 BYFLOAT 1.5", "BYFLOAT 1 BYINT 1",
    "BYINT 1 BYINT 2", "BYFLOAT 1 BYFLOAT 2", "LBOUND 0 LBOUND 1", "UBOUND 9 UBOUND 8", "SATURATE SATURATE", "SAT",
    "ENX ENX EX 10", "PERSIST PERSIST", "EX 10 EX 20", "EX 10 PX 5000", "EX 10 EXAT 9999999999", "EX 10 PERSIST",
    "PERSIST EX 10", "PERSIST ENX", "ENX PERSIST", "KEEPTTL", "NX", "GET",
]  # fmt: skip


def prepare(c: Connection, before: Any) -> None:
    if before is not None:
        c("SET", "k", before)


def as_text(value: Any) -> Any:
    """A float's reply: a bulk string in RESP2, a double in RESP3."""
    return value.decode() if isinstance(value, bytes) else f"{value:g}"


@pytest.mark.parametrize(("before", "arguments", "expected"), INTEGERS)
def test_integers(c: Connection, before: Any, arguments: str, expected: Any) -> None:
    prepare(c, before)
    assert c("INCREX", "k", *arguments.split()) == expected
    if isinstance(expected, Error) or (expected[1] == 0 and "SATURATE" not in arguments):
        assert c("GET", "k") == (None if before is None else str(before).encode())
    else:
        assert c("GET", "k") == str(expected[0]).encode()
        assert c("OBJECT", "ENCODING", "k") == b"int"


@pytest.mark.parametrize(("before", "arguments", "expected"), FLOATS)
def test_floats(c: Connection, before: Any, arguments: str, expected: Any) -> None:
    prepare(c, before)
    reply = c("INCREX", "k", *arguments.split())
    if isinstance(expected, Error):
        assert reply == expected
    else:
        assert [as_text(value) for value in reply] == expected
    if isinstance(expected, Error) or (expected[1] == "0" and "SATURATE" not in arguments):
        assert c("GET", "k") == (None if before is None else str(before).encode())
    else:
        assert c("GET", "k") == expected[0].encode()


@pytest.mark.parametrize("arguments", WRONG)
def test_syntax_errors(c: Connection, arguments: str) -> None:
    assert c("INCREX", "k", *arguments.split()) == SYNTAX


def test_other_errors(c: Connection) -> None:
    assert c("INCREX") == Error("ERR wrong number of arguments for 'increx' command")
    assert c("INCREX", "k", "ENX") == Error("ERR ENX flag requires an expiration")
    for unit, time in (("EX", 0), ("PX", -1), ("EX", MAX), ("EXAT", 0)):
        assert c("INCREX", "k", unit, time) == Error("ERR invalid expire time in 'increx' command")
    assert c("INCREX", "k", "PX", "abc") == Error("ERR value is not an integer or out of range")


@pytest.mark.parametrize("by", ["BYINT", "BYFLOAT"])
def test_expiry(c: Connection, by: str) -> None:
    far = 9999999999
    steps: list[tuple[str, int]] = [
        ("", -1), (f"EXAT {far}", far * 1000), ("", far * 1000), (f"PXAT {far}5 ENX", far * 1000), ("PERSIST", -1),
        ("PERSIST", -1), (f"PXAT {far}005 ENX", far * 1000 + 5), (f"UBOUND 1 EXAT {far}", far * 1000 + 5),
        (f"UBOUND 1 SATURATE EXAT {far}", far * 1000), ("EXAT 1 ENX", far * 1000),
    ]  # fmt: skip
    for arguments, expires_ms in steps:
        assert not isinstance(c("INCREX", "k", by, 1, *arguments.split()), Error)
        assert c("PEXPIRETIME", "k") == expires_ms, arguments
    assert c("GET", "k") == b"2"


def test_a_time_in_the_past_deletes(c: Connection) -> None:
    c("SET", "k", 10)
    assert c("INCREX", "k", "EXAT", 1) == [11, 1]
    assert c("EXISTS", "k") == 0
    assert c("INCREX", "k", "PXAT", 1) == [1, 1]
    assert c("EXISTS", "k") == 0
