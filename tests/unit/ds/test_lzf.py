"""LZF: round trips, streams by hand, corrupt input. What Redis writes is read in tests/differential."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_server.ds._testing import compress, decompress

pytestmark = pytest.mark.unit

LITERAL_MAX, MATCH_MAX, DISTANCE_MAX = 32, 264, 8192


def worst(n: int) -> int:
    """Bytes that n incompressible ones take."""
    return n + -(-n // LITERAL_MAX)


def round_trip(data: bytes) -> bytes:
    packed = compress(data, worst(len(data)))
    assert decompress(packed, len(data)) == data
    return packed


@given(st.binary(max_size=400))
def test_round_trip_of_bytes(data: bytes) -> None:
    round_trip(data)


@given(st.lists(st.sampled_from([b"a", b"bc", b"abc", b"\0", b"xyzzy" * 9]), max_size=200).map(b"".join))
def test_round_trip_of_repetitions(data: bytes) -> None:
    round_trip(data)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 33, 264, 265, 266, 267, 8191, 8192, 8193, 100_000])
def test_runs_of_one_byte(n: int) -> None:
    packed = round_trip(b"x" * n)
    assert len(packed) <= 8 + 3 * (n // MATCH_MAX + 1)


@pytest.mark.parametrize("gap", [DISTANCE_MAX - 2, DISTANCE_MAX - 1, DISTANCE_MAX, DISTANCE_MAX + 1])
def test_matches_at_the_farthest_distance(gap: int, rng: random.Random) -> None:
    head = rng.randbytes(50)
    round_trip(head + rng.randbytes(gap - 50) + head)


def test_ratio_on_usual_values() -> None:
    record = b'{"id": %d, "name": "user-%d", "active": true, "tags": ["alpha", "beta"]}'
    data = b"[" + b", ".join(record % (i, i) for i in range(500)) + b"]"
    assert len(round_trip(data)) < len(data) * 0.3


def test_incompressible_data_does_not_fit(rng: random.Random) -> None:
    data = rng.randbytes(5000)
    assert compress(data, len(data) - 4) == b""


def test_capacity_is_exact(rng: random.Random) -> None:
    """It fits into what it takes, and into nothing less."""
    for n in range(1, 400):
        data = bytes(rng.choices(b"abc", k=n))
        packed = round_trip(data)
        assert compress(data, len(packed)) == packed
        assert compress(data, len(packed) - 1) == b""


@pytest.mark.parametrize(
    ("stream", "plain"),
    [
        (b"\x00a", b"a"),
        (b"\x02abc\x20\x02", b"abcabc"),  # length 3, distance 3
        (b"\x00a\x80\x00", b"aaaaaaa"),  # overlapping copy: length 6, distance 1
        (b"\x01ab\xe0\x00\x01", b"ab" + b"ab" * 4 + b"a"),  # length 9
        (b"\x00a\xe0\xff\x00", b"a" * 265),
    ],
)
def test_streams_by_hand(stream: bytes, plain: bytes) -> None:
    assert decompress(stream, len(plain)) == plain


@pytest.mark.parametrize(
    "stream",
    [
        b"\x00",  # a literal without its byte
        b"\x1fabc",  # a run of 32 with three
        b"\x20\x00",  # a copy from before the beginning
        b"\x02abc\x20\x03",  # one byte too far back
        b"\x02abc\x20",  # no distance
        b"\x02abc\xe0",  # no length
        b"\x02abc\xe0\x01",  # length, no distance
        b"\x00a\xe0\xff\x00",  # does not fit
    ],
)
def test_corrupt_streams(stream: bytes) -> None:
    assert decompress(stream, 100) == b""


@given(st.binary(max_size=60), st.integers(0, 300))
def test_garbage_never_overruns(stream: bytes, cap: int) -> None:
    """Under the address sanitizer this proves the bounds."""
    assert len(decompress(stream, cap)) <= cap


def test_damaged_streams_never_overrun(rng: random.Random) -> None:
    for _ in range(2000):
        data = bytes(rng.choices(b"abcd", k=rng.randrange(1, 300)))
        packed = bytearray(compress(data, worst(len(data))))
        packed[rng.randrange(len(packed))] = rng.randrange(256)
        assert len(decompress(bytes(packed), len(data))) <= len(data)
