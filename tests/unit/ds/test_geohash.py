"""Geohash against a second, slower way to compute it. What the real Valkey says: tests/differential."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cachefleet_server.ds._testing_hllgeo import (
    Search,
    bits_of_score,
    decode,
    distance,
    distance_text,
    encode,
    hash_text,
)
from fleettest.examples import examples

pytestmark = pytest.mark.unit

Point = tuple[float, float]

LAT, EARTH_M = 85.05112878, 6372797.560856
ALPHABET = "0123456789bcdefghjkmnpqrstuvwxyz"
lons = st.floats(-180, 180, exclude_max=True)
lats = st.floats(-LAT, LAT, exclude_max=True)


def interleaved(lon: int, lat: int) -> int:
    return int("".join(a + b for a, b in zip(f"{lon:026b}", f"{lat:026b}", strict=True)), 2)


def place(v: float, most: float) -> int:
    return math.floor((Fraction(v) + Fraction(most)) / (2 * Fraction(most)) * 2**26)


@given(lons, lats)
@examples(200)
def test_encode_and_decode(lon: float, lat: float) -> None:
    bits = encode(lon, lat)
    assert bits is not None
    wanted = interleaved(place(lon, 180), place(lat, LAT))
    x, y = decode(bits)
    if bits != wanted:  # a place on an edge, as doubles have it
        x, y = decode(wanted)
    assert abs(x - lon) <= 180 / 2**26 * 1.000001
    assert abs(y - lat) <= LAT / 2**26 * 1.000001
    assert encode(x, y) in (bits, wanted)


@pytest.mark.parametrize(
    ("lon", "lat"), [(180.1, 0), (-180.1, 0), (0, 85.0512), (0, -85.0512), (math.nan, 0), (0, math.nan), (math.inf, 0)]
)
def test_no_such_position(lon: float, lat: float) -> None:
    assert encode(lon, lat) is None


def test_documented_examples() -> None:
    palermo, catania = encode(13.361389, 38.115556), encode(15.087269, 37.502669)
    assert (palermo, catania) == (3479099956230698, 3479447370796909)
    assert palermo is not None
    assert catania is not None
    assert (hash_text(palermo), hash_text(catania)) == (b"sqc8b49rny0", b"sqdtr74hyu0")
    assert distance_text(distance(decode(palermo), decode(catania))) == b"166274.1516"


def test_upper_ends_are_a_bit_too_many() -> None:
    assert encode(180, -LAT) == 1 << 53
    assert encode(-180, LAT) == 1 << 52
    assert decode(1 << 53 | 1 << 52) == (180, LAT)


@given(lons, lats)
def test_text(lon: float, lat: float) -> None:
    """Halving intervals, as the geohash of the world is defined."""
    bits = encode(lon, lat)
    assert bits is not None
    at = decode(bits)
    assume(at[0] < 180)  # rounded up to there it needs a 53rd bit: see above
    sides, digits = [[-180.0, 180.0], [-90.0, 90.0]], ""
    for i in range(50):
        side, v = sides[i % 2], at[i % 2]
        middle = (side[0] + side[1]) / 2
        digits += "1" if v >= middle else "0"
        side[v < middle] = middle
    wanted = "".join(ALPHABET[int(digits[i : i + 5], 2)] for i in range(0, 50, 5))
    assert hash_text(bits) == wanted.encode() + b"0"


def angle(a: Point, b: Point) -> float:
    """By vectors, not by the haversine."""
    (x, y), (u, v) = (tuple(map(math.radians, p)) for p in (a, b))
    p, q = ((math.cos(la) * math.cos(lo), math.cos(la) * math.sin(lo), math.sin(la)) for lo, la in ((x, y), (u, v)))
    cross = (p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0])
    return math.atan2(math.hypot(*cross), sum(i * j for i, j in zip(p, q, strict=True)))


@given(lons, lats, lons, lats)
def test_distance(x: float, y: float, u: float, v: float) -> None:
    wanted = EARTH_M * angle((x, y), (u, v))
    assert distance((x, y), (u, v)) == pytest.approx(wanted, rel=1e-6, abs=1e-3)
    assert distance((x, y), (u, v)) == distance((u, v), (x, y))


@pytest.mark.parametrize(
    ("metres", "text"),
    [
        (0.0, b"0.0000"),
        (1.0, b"1.0000"),
        (0.00005, b"0.0000"),  # to even
        (0.00025, b"0.0002"),
        (0.00035, b"0.0004"),
        (0.99996, b"1.0000"),
        (20015086.79602, b"20015086.7960"),
        (123.4567, b"123.4567"),
    ],
)
def test_distance_text(metres: float, text: bytes) -> None:
    assert distance_text(metres) == text


@pytest.mark.parametrize(
    ("score", "bits"),
    [
        (0.0, 0),
        (1.9, 1),
        (-0.9, 0),
        (-5.0, 2**64 - 5),
        (2.0**53, 2**53),
        (2.0**63, 2**63),
        (1.5 * 2.0**63, 3 << 62),
        (-(2.0**63), 2**63),
        (2.0**64, 0),
        (math.inf, 0),
        (-1e300, 2**63),
        (-math.inf, 2**63),
    ],
)
def test_scores_that_are_no_positions(score: float, bits: int) -> None:
    assert bits_of_score(score) == bits


def test_ranges_hold_all_that_is_within(rng: random.Random) -> None:
    """Away from poles and date line, where peers miss nothing either."""
    for _ in range(300):
        centre = (rng.uniform(-120, 120), rng.uniform(-55, 55))
        size = 10 ** rng.uniform(0, 6)
        kind, degrees = rng.randrange(3), size / 1e5
        corners = [(centre[0] + math.cos(i) * degrees, centre[1] + math.sin(i) * degrees) for i in range(6)]
        search = [
            Search(centre, 1, size),
            Search(centre, 1, width=size, height=2 * size),
            Search(centre, 1, vertices=corners),
        ][kind]
        assert 1 <= len(search.ranges) <= 9
        found = 0
        for _ in range(200):
            bits = encode(rng.gauss(centre[0], degrees), max(-LAT, min(LAT, rng.gauss(centre[1], degrees))))
            if bits is None:
                continue
            inside = any(low <= bits < high for low, high in search.ranges)
            metres = search.within(bits)
            assert inside or metres is None
            if kind == 0:
                assert (metres is not None) == (distance(centre, decode(bits)) <= size)
            found += metres is not None
        assert found
