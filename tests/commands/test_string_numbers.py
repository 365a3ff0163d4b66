"""INCR and its kin, and ranges of strings, against the real Valkey: every edge with every other."""

from __future__ import annotations

import itertools
import random
import struct

import pytest

from fleettest.instance import Instance
from fleettest.reference import Pair
from fleettest.scripts import Command, script

pytestmark = [pytest.mark.server, pytest.mark.differential]

INT_MAX = 9223372036854775807
INT_MIN = -9223372036854775808

INTEGERS: tuple[int | str, ...] = (0, 1, -1, 9, 10, INT_MAX, INT_MIN, INT_MAX - 1, INT_MIN + 1, INT_MAX // 2, 1 << 62)
NOT_INTEGERS: tuple[int | str, ...] = (
    "", " ", "abc", "1 ", " 1", "+1", "-0", "00", "01", "-01", "1.0", "1e3", "0x10", "9223372036854775808",
    "-9223372036854775809", "99999999999999999999999", "1\0", "-", "--1", "\n1",
)  # fmt: skip


def test_integer_arithmetic(pair: Pair) -> None:
    commands: list[Command] = []
    for value, delta in itertools.product((*INTEGERS, *NOT_INTEGERS), repeat=2):
        for name in ("INCRBY", "DECRBY"):
            commands += [("SET", "k", value), (name, "k", delta), ("GET", "k")]
    for value in (*INTEGERS, *NOT_INTEGERS):
        commands += [("SET", "k", value), ("INCR", "k"), ("DECR", "k"), ("DECR", "k"), ("OBJECT", "ENCODING", "k")]
    pair.flush()
    pair.pipeline(commands)


FLOATS = (
    "0", "-0", "1", "-1", "0.1", "-0.1", "1e3", "1E3", "1e-30", "3.0e3", "5.0", ".5", "5.", "1e", "e1", "+1", " 1",
    "1 ", "", "abc", "inf", "-inf", "INF", "infinity", "-Infinity", "nan", "-nan", "NAN(1)", "0x10", "0x1p4", "0x.8",
    "1e400", "-1e400", "1e4932", "1.18973149535723176502e+4932", "1.2e4932", "1e5000", "1e-4950", "1e-5000",
    "123456789012345678", "9223372036854775807", "9223372036854775808", "18446744073709551616",
    "1234567890123456789012", "0.30000000000000004", "3.14159265358979323846264338327950288", "1.0000000000000000001",
    "1\0", "1,5", "1_0", "--1", "1e+2", "1e 2", "0x", "0.000000000000000005", "-0.000000000000000004",
    "99999999999999999999.5", "4.9e-324", "17179869184.0000001",
)  # fmt: skip


def test_float_arithmetic(pair: Pair) -> None:
    commands: list[Command] = []
    for value, delta in itertools.product(FLOATS, repeat=2):
        commands += [("SET", "k", value), ("INCRBYFLOAT", "k", delta), ("GET", "k")]
    for delta in FLOATS:
        commands += [("DEL", "k"), ("INCRBYFLOAT", "k", delta), ("INCRBYFLOAT", "k", delta), ("STRLEN", "k")]
    pair.flush()
    pair.pipeline(commands)


def random_float(rng: random.Random) -> str:
    kind = rng.randrange(5)
    if kind == 0:
        return repr(struct.unpack("d", rng.randbytes(8))[0])
    if kind == 1:
        return f"{rng.randrange(-(10**6), 10**6)}.{rng.randrange(10**9)}"
    if kind == 2:
        return f"{rng.uniform(-9, 9):.{rng.randrange(40)}f}e{rng.randrange(-40, 40)}"
    if kind == 3:
        return "".join(rng.choice("0123456789") for _ in range(rng.randrange(1, 30)))
    return "".join(rng.choice("0123456789.eE+-") for _ in range(rng.randrange(1, 12)))


def test_float_arithmetic_at_random(pair: Pair, rng: random.Random) -> None:
    commands: list[Command] = []
    for _ in range(3000):
        if rng.random() < 0.3:
            commands.append(("SET", "k", random_float(rng)))
        commands.append(("INCRBYFLOAT", "k", random_float(rng)))
    pair.flush()
    pair.pipeline(commands)


# ---- parts --------------------------------------------------------------------------------------------

OFFSETS = (0, 1, 2, 4, 5, 6, 100, -1, -2, -5, -6, -100, INT_MAX, INT_MIN, INT_MIN + 1)


def test_ranges(pair: Pair) -> None:
    commands: list[Command] = []
    for value in (b"", b"1", b"12345", b"hello", b"x" * 200):
        commands.append(("SET", "k", value))
        for start, end in itertools.product(OFFSETS, repeat=2):
            commands += [("GETRANGE", "k", start, end), ("SUBSTR", "k", start, end)]
        for offset, part in itertools.product(OFFSETS, (b"", b"7", b"abc")):
            if offset < 1 << 30 or part == b"" or offset == INT_MAX:
                commands += [("SET", "k", value), ("SETRANGE", "k", offset, part), ("GET", "k"), ("STRLEN", "k")]
    pair.flush()
    pair.pipeline(commands)


def test_length_limit(pair: Pair) -> None:
    """512 MB is the limit; the string itself stays small here, so only refusals are compared."""
    pair.flush()
    commands = script("""
        SET k hello
        SETRANGE k 536870908 12345
        SETRANGE k 536870912 1
        SETRANGE k 536870911 12
        SETRANGE n 536870912 1
        EXISTS n
        GET k
        """)
    pair.pipeline(commands)


@pytest.mark.slow("half a gigabyte of string")
def test_largest_string(server: Instance, valkey: Instance) -> None:
    """512 MB exactly, and not a byte more."""
    with Pair(server, valkey) as pair:
        try:
            pair.pipeline(
                script("""
                SETRANGE k 536870911 x
                STRLEN k
                APPEND k y
                GETRANGE k -3 -1
                SETRANGE k 536870911 zz
                """)
            )
        finally:
            pair.flush()
