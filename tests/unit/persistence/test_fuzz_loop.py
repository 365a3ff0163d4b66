"""The native fuzz loop: it finds what is wrong, an input can be made again, and old and new forms are accepted."""

from __future__ import annotations

import random
import struct

import pytest
from cachefleet_server.persistence._testing_fuzz import NAMES, Fuzz

from cachefleet_server.engine import Engine
from fleettest.encodings import intset, listpack, ziplist, zipmap
from fleettest.rdbfile import length, string

pytestmark = pytest.mark.unit

SHOWN = 32_768
GOOD = {
    "listpack": listpack(b"a", -70_000, 5, b"x" * 5000),
    "ziplist": ziplist([b"a", -70_000, 5, b"x" * 300]),
    "zipmap": zipmap([(b"f", b"v"), (b"", b"w" * 260)], unused=1),
    "intset": intset([1, -70_000, 1 << 40]),
    "pack": listpack(b"f", b"v", 7, 8),
    "sequence": listpack(b"a", 7),
    "lzf": struct.pack("<H", 300) + b"\x00a\xe0\xff\x00",
    "value": b"\x12" + length(2) + length(2) + string(listpack(b"a", 7)) + length(1) + string(b"alone"),
    "packed": b"\x0a" + ziplist([b"a", 5]),
    "hll": b"HYLL\x01" + bytes(11) + b"\x7f\xff",
    "geo": struct.pack("<6d", 1e15, 10.0, 45.0, 1000.0, 1.0, 2.0),
}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(databases=1)


def fuzz(engine: Engine, name: str) -> tuple[Fuzz, memoryview]:
    shown = memoryview(bytearray(SHOWN))
    return Fuzz(engine, name, [GOOD[name]], shown), shown


@pytest.mark.parametrize("name", NAMES)
def test_a_good_input_is_accepted_and_mutated_ones_do_no_harm(engine: Engine, name: str, rng: random.Random) -> None:
    target, _ = fuzz(engine, name)
    assert target.decode(GOOD[name]) == 1
    assert target.decode(b"") == 0
    accepted = target.run(rng.getrandbits(60), 0, 3000)
    assert 0 < accepted < 3000


def test_an_input_is_its_number_and_seed(engine: Engine) -> None:
    made = []
    for first, count in ((0, 1000), (999, 1), (0, 999)):
        target, shown = fuzz(engine, "listpack")
        target.run(7, first, count)
        made.append(bytes(shown[4 : 4 + int.from_bytes(shown[:4], "little")]))
    assert made[0] == made[1] != made[2]
