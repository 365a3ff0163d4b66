"""Checksums against known vectors and other implementations (hashlib, the xxhash wheel)."""

from __future__ import annotations

import hashlib
import random

import pytest
import xxhash

from cachefleet_server.ds._testing import crc, sha1, xxh3

pytestmark = pytest.mark.unit

POLYNOMIAL = 0x95AC9329AC4BC9B5  # ad93d23594c935a9 reflected
# Each limit of XXH3's branches, its stripes (64) and blocks (1024), and one to either side.
LENGTHS = sorted({n + d for n in (0, 1, 4, 8, 16, 128, 240, 256, 1024, 2048, 4096) for d in (-1, 0, 1) if n + d >= 0})


def crc_by_bits(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
    return value


def test_crc64_check_value() -> None:
    assert crc(b"123456789") == 0xE9C6D914C4B8D9CA
    assert crc(b"") == 0


def test_crc64_of_any_length_and_in_parts(rng: random.Random) -> None:
    for n in range(70):
        data = rng.randbytes(n)
        cut = rng.randrange(n + 1)
        assert crc(data) == crc_by_bits(data)
        assert crc(data[cut:], crc(data[:cut])) == crc(data)


@pytest.mark.parametrize("n", LENGTHS)
def test_xxh3(n: int, rng: random.Random) -> None:
    for data in (bytes(n), rng.randbytes(n), rng.randbytes(n)):
        assert xxh3(data) == xxhash.xxh3_64_intdigest(data)


def test_xxh3_of_random_lengths(rng: random.Random) -> None:
    for _ in range(300):
        data = rng.randbytes(int(2 ** rng.uniform(0, 17)))
        assert xxh3(data) == xxhash.xxh3_64_intdigest(data)


def test_sha1_known_vectors() -> None:
    assert sha1([b""]).hex() == "da39a3ee5e6b4b0d3255bfef95601890afd80709"
    assert sha1([b"abc"]).hex() == "a9993e364706816aba3e25717850c26c9cd0d89d"
    assert sha1([b"a" * 1_000_000]).hex() == "34aa973cd4c4daa4f61eeb2bdbad27316534016f"


def test_sha1_in_parts(rng: random.Random) -> None:
    for _ in range(300):
        parts = [rng.randbytes(rng.choice([0, 1, 8, 55, 56, 63, 64, 65, 200])) for _ in range(rng.randrange(6))]
        assert sha1(parts) == hashlib.sha1(b"".join(parts)).digest()
