"""Numbers to text and back: against Python's exact arithmetic and tables of texts.

What the real Valkey prints and accepts is compared in tests/differential/test_texts.py.
"""

from __future__ import annotations

import contextlib
import locale
import math
import random
import re
import struct
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_server.ds._testing import (
    double_text,
    int_text,
    longdouble_sum_text,
    parse_double,
    parse_int64,
    parse_uint64,
)

pytestmark = pytest.mark.unit

INT64_MAX, INT64_MIN, UINT64_MAX = 2**63 - 1, -(2**63), 2**64 - 1
NUMBER_CHARS_MAX = 5120
DIGITS_17 = re.compile(rb"^-?(\d+)(?:\.(\d+))?(?:e[+-]\d+)?$")


@given(st.integers(INT64_MIN, UINT64_MAX))
def test_integers_print_as_python_does(v: int) -> None:
    assert int_text(v) == b"%d" % v


@pytest.mark.parametrize("power", range(20))
def test_integers_around_powers_of_ten(power: int) -> None:
    for v in (10**power - 1, 10**power, 10**power + 1, -(10**power)):
        if INT64_MIN <= v <= UINT64_MAX:
            assert int_text(v) == b"%d" % v


@given(st.integers(-(2**65), 2**65))
def test_integers_read_back(v: int) -> None:
    text = b"%d" % v
    assert parse_int64(text) == (v if INT64_MIN <= v <= INT64_MAX else None)
    assert parse_int64(b"0" + text) is None
    assert parse_int64(b"+" + text) is None
    assert parse_int64(text + b"\0") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"0", 0),
        (b"-1", -1),
        (b"9223372036854775807", INT64_MAX),
        (b"-9223372036854775808", INT64_MIN),
        (b"9223372036854775808", None),
        (b"-9223372036854775809", None),
        (b"18446744073709551616", None),
        (b"99999999999999999999", None),
        (b"100000000000000000000", None),
        (b"", None),
        (b"-", None),
        (b"-0", None),
        (b"00", None),
        (b"01", None),
        (b"-01", None),
        (b" 1", None),
        (b"1 ", None),
        (b"1.0", None),
        (b"1e3", None),
        (b"0x1", None),
        (b"1/", None),
        (b"1:", None),
    ],
)
def test_strict_integers(text: bytes, value: int | None) -> None:
    assert parse_int64(text) == value


@given(st.binary(max_size=24))
def test_strict_integers_accept_only_what_prints(text: bytes) -> None:
    v = parse_int64(text)
    assert v is None or int_text(v) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"18446744073709551615", UINT64_MAX),
        (b"18446744073709551616", None),
        (b"007", 7),
        (b" \t\n7", 7),
        (b"+7", 7),
        (b"-7", None),
        (b"-0", 0),
        (b"-007", 2**64 - 7),
        (b"-18446744073709551615", 1),
        (b"7\0 anything", 7),
        (b"7 ", None),
        (b"", None),
        (b"+", None),
        (b"+-7", None),
        (b"0x7", None),
    ],
)
def test_lenient_unsigned(text: bytes, value: int | None) -> None:
    """Cursors and stream ids: what strtoull takes, plain negative numbers excepted."""
    assert parse_uint64(text) == value


# ---- doubles -------------------------------------------------------------------------------------


def doubles(rng: random.Random, n: int) -> Iterator[float]:
    for _ in range(n):
        kind = rng.randrange(5)
        if kind == 0:
            v = struct.unpack("d", rng.randbytes(8))[0]
        elif kind == 1:
            v = round(rng.uniform(-1e6, 1e6), rng.randrange(8))
        elif kind == 2:
            v = float(rng.randrange(-(2**64), 2**64))
        elif kind == 3:
            v = math.ldexp(rng.choice([-1.0, 1.0]), rng.randrange(-1074, 1024))
        else:
            v = math.nextafter(10.0 ** rng.randrange(-300, 300), rng.choice([0.0, math.inf]))
        if math.isfinite(v):
            yield v


def test_doubles_read_back_and_are_short(rng: random.Random) -> None:
    """Every text reads back as the same double; few are longer than the shortest, none is longer than 18 digits."""
    longer = total = 0
    for v in doubles(rng, 40_000):
        text = double_text(v)
        assert float(text) == v, (v, text)
        assert parse_double(text) == v
        if abs(v) >= 2**53 and v == int(v):
            continue  # integers print in full up to 2^62
        match = DIGITS_17.match(text)
        assert match is not None, text
        digits = (match[1] + (match[2] or b"")).strip(b"0")
        shortest = repr(abs(v)).split("e")[0].replace(".", "").strip("0")
        assert len(digits) <= 18
        total += 1
        longer += len(digits) > len(shortest)
    assert longer < total / 100


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, b"0"),
        (-0.0, b"-0"),
        (1.0, b"1"),
        (-1.5, b"-1.5"),
        (0.1, b"0.1"),
        (3.0e-5, b"0.00003"),
        (1e-7, b"1e-7"),
        (1.5e-7, b"1.5e-7"),
        (1e15, b"1000000000000000"),
        (2.0**53, b"9007199254740992"),
        (2.0**62, b"4611686018427387904"),
        (2.0**62 + 1024, b"4611686018427389000"),
        (2.0**63, b"9223372036854776000"),
        (1e21, b"1e+21"),
        (1.7976931348623157e308, b"1.7976931348623157e+308"),
        (5e-324, b"5e-324"),
        (math.inf, b"inf"),
        (-math.inf, b"-inf"),
        (math.nan, b"nan"),
    ],
)
def test_layout_of_doubles(value: float, text: bytes) -> None:
    assert double_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_of_python_are_read_exactly(v: float) -> None:
    assert parse_double(repr(v).encode()) == v


@given(st.integers(-(10**40), 10**40), st.integers(-340, 320))
def test_decimals_are_rounded_correctly(mantissa: int, exponent: int) -> None:
    text = b"%de%d" % (mantissa, exponent)
    expected = float(text)
    if math.isinf(expected) or (expected == 0 and mantissa):
        assert parse_double(text) is None
    else:
        assert parse_double(text) == expected


def test_halfway_decimals_round_to_even() -> None:
    for bits in range(200):
        low = math.nextafter(1.0 + bits * 0.37, 2)
        high = math.nextafter(low, math.inf)
        half = (Fraction(low) + Fraction(high)) / 2
        places = half.denominator.bit_length() - 1  # a power of two: exactly so many decimal places
        text = b"%d" % (half * 10**places)
        text = text[:-places] + b"." + text[-places:]
        assert parse_double(text) == float(half)
        assert parse_double(text + b"00001") == high


@pytest.mark.parametrize(
    "text", [b"1", b"+1", b"1.", b"1e0", b"01", b"10e-1", b"0.1e1", b".1e+1", b"1" + b"0" * 30 + b"e-30"]
)
def test_spellings_of_one(text: bytes) -> None:
    assert parse_double(text) == 1.0


@pytest.mark.parametrize("sign", [b"", b"+", b"-"])
@pytest.mark.parametrize("word", [b"inf", b"INF", b"Infinity", b"iNfInItY"])
def test_infinity(sign: bytes, word: bytes) -> None:
    assert parse_double(sign + word) == (-math.inf if sign == b"-" else math.inf)


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b" 1", b"1 ", b"\t1", b"1\0", b".", b"-", b"+", b"e5", b"1e", b"1e+", b"1e5.", b"1..2", b"1.2.3"),
        *(b"--1", b"+-1", b"0x10", b"0x1p3", b"nan", b"-nan", b"nan(1)", b"infin", b"in", b"infinityy", b"1_0", b"1,5"),
        *(b"1d5", b"1f", b"1e309", b"-1e400", b"2e-324", b"1e-400", b"1e99999999999", b"1" * NUMBER_CHARS_MAX),
    ],
)
def test_what_is_no_double(text: bytes) -> None:
    assert parse_double(text) is None


def test_long_inputs_up_to_the_limit() -> None:
    assert parse_double(b"0." + b"0" * 5000 + b"1e5001") == 1.0
    assert parse_double(b"1" * (NUMBER_CHARS_MAX - 1)) is None  # too large a value, not too long a text
    assert parse_double(b"0." + b"3" * (NUMBER_CHARS_MAX - 3)) == 1 / 3


# ---- long doubles --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "total"),
    [
        (b"10.5", b"0.1", b"10.6"),
        (b"5.0e3", b"2.0e2", b"5200"),
        (b"3", b"-3", b"0"),
        (b"-0", b"-0", b"0"),
        (b"0", b"-0.000000000000000001", b"0"),
        (b"0.00000000000000001", b"0", b"0.00000000000000001"),
        (b"0x10", b"0x.8", b"16.5"),
        (b"1e18", b"1", b"1000000000000000001"),
        (b"inf", b"1", b"inf"),
        (b"-inf", b"1", b"-inf"),
        (b"inf", b"-inf", b"nan"),
        (b" 1", b"0", None),
        (b"1 ", b"0", None),
        (b"", b"0", None),
        (b"nan", b"0", None),
        (b"1e5000", b"0", None),
        (b"1e-5000", b"0", None),
        (b"1\0", b"0", None),
        (b"abc", b"0", None),
        (b"1" * NUMBER_CHARS_MAX, b"0", None),
    ],
)
def test_incrbyfloat_sums(a: bytes, b: bytes, total: bytes | None) -> None:
    assert longdouble_sum_text(a, b) == total


@given(st.integers(-(2**42), 2**42), st.integers(0, 2**17 - 1))
def test_sums_of_exact_binary_fractions(whole: int, parts: int) -> None:
    """At most 60 significant bits are exact on x86 as on machines with wider long doubles; 17 places hold them all."""
    fraction = f"{Decimal(parts) / 2**17:f}".encode()
    text = longdouble_sum_text(b"%d" % whole, fraction)
    assert text is not None
    assert Fraction(text.decode()) == whole + Fraction(parts, 2**17)


def test_no_locale_changes_anything() -> None:
    """An embedding program may have set one whose radix character is a comma. Tries those that are installed."""
    before = locale.setlocale(locale.LC_NUMERIC)
    try:
        for name in ("C", "de_DE.UTF-8", "fr_FR.UTF-8", "nl_NL.UTF-8", "de_DE"):
            with contextlib.suppress(locale.Error):
                locale.setlocale(locale.LC_NUMERIC, name)
            assert longdouble_sum_text(b"10.5", b"0.25") == b"10.75"
            assert parse_double(b"0." + b"3" * 40) == 1 / 3
            assert parse_double(b"0,5") is None
            assert double_text(0.5) == b"0.5"
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)
