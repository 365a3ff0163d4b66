"""maxmemory from the memory limit, and quantities as Kubernetes reads them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_operator.api.derived import maxmemory_bytes
from cachefleet_operator.api.quantity import parse, to_bytes
from fleettest.snapshots import cache

pytestmark = pytest.mark.unit
MIB = 1 << 20


@pytest.mark.parametrize(
    ("limit", "percent", "expected"),
    [
        ("256Mi", 85, 208 * MIB * 85 // 100),
        ("96Mi", 10, 48 * MIB // 10),
        ("1Gi", 95, (1024 - 48) * MIB * 95 // 100),
        (268435456, 50, 104 * MIB),
        ("48Mi", 85, MIB),  # refused elsewhere; never 0, which means no limit to a server
        ("1", 85, MIB),
    ],
)
def test_maxmemory(limit: str | int, percent: int, expected: int) -> None:
    assert maxmemory_bytes(cache(memory={"limit": limit, "maxmemoryPercent": percent}).spec) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1Gi", 1 << 30), ("1.5k", 1500), ("100m", Fraction(1, 10)), ("1.", 1), (".5", Fraction(1, 2)), ("+1", 1),
        ("-1Ki", -1024), ("1E", 10**18), ("1E3", 1000), ("1e-3", Fraction(1, 1000)), ("1Ei", 1 << 60), ("0", 0),
        ("1n", Fraction(1, 10**9)),
    ],
)  # fmt: skip
def test_quantities(text: str, value: Fraction | int) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    "text", ["", ".", "1 Gi", "1gi", "1KI", "1Gi\n", "e3", "0x1", "1_0", "٣", "1" * 65, "1e25", "1e" + "9" * 50, "1Gi1"]
)
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="quantit"):
        parse(text)


@given(st.integers(0, 10**12), st.sampled_from(["m", "", "Ki"]))
def test_bytes_are_rounded_up(number: int, suffix: str) -> None:
    exact = parse(f"{number}{suffix}")
    assert 0 <= to_bytes(f"{number}{suffix}") - exact < 1
