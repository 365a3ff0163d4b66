"""ds/ beside the real servers: how numbers print and read, what globs match, LZF streams both ways.

The functions are called directly, so that a difference points at them and not at a command.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachefleet_server.ds._testing import (
    compress,
    crc,
    decompress,
    double_text,
    longdouble_sum_text,
    parse_bound,
    parse_double,
    parse_int64,
    parse_uint64,
)
from cachefleet_server.ds.glob import glob_matches as glob
from fleettest.client import Arg, Error
from fleettest.instance import Instance
from fleettest.rdbfile import length
from fleettest.rdbfile import parse as parse_rdb

pytestmark = pytest.mark.differential

BATCH = 1000


def random_double(rng: random.Random) -> float:
    kind = rng.randrange(6)
    if kind == 0:
        v = float(struct.unpack("d", rng.randbytes(8))[0])
    elif kind == 1:
        v = round(rng.uniform(-1e6, 1e6), rng.randrange(8))
    elif kind == 2:
        v = float(rng.randrange(-(2**65), 2**65))
    elif kind == 3:
        v = rng.randrange(1000) * 10.0 ** rng.randrange(-30, 30)
    elif kind == 4:
        v = math.nextafter(math.ldexp(rng.choice([-1.0, 1.0]), rng.randrange(-1070, 1024)), rng.choice([0, math.inf]))
    else:
        v = math.nextafter(float(rng.randrange(10 ** rng.randrange(1, 20))), rng.choice([0, math.inf]))
    return v if math.isfinite(v) else 0.0


def random_text(rng: random.Random) -> str:
    """Numbers in many spellings, and things that nearly are numbers."""
    kind = rng.randrange(7)
    if kind == 0:
        return f"{rng.uniform(-1e6, 1e6):.{rng.randrange(20)}f}"
    if kind == 1:
        return repr(random_double(rng))
    if kind == 2:
        return str(rng.randrange(-(10 ** rng.randrange(1, 40)), 10 ** rng.randrange(1, 40)))
    if kind == 3:
        return f"{rng.randrange(10**19)}e{rng.randrange(-340, 320)}"
    if kind == 4:
        return "".join(rng.choices("0123456789.e+- xXinfatyINF", k=rng.randrange(1, 8)))
    if kind == 5:
        return f"{rng.randrange(10 ** rng.randrange(1, 20))}.{rng.randrange(10 ** rng.randrange(1, 25))}"
    edges = "1e4932 1.2e4932 1e-4951 1e-5000 0x1p-3 0x.8 infinity -nan -0 0e0 +1 1. .5 . 1e 9223372036854775807"
    more = "9223372036854775808 18446744073709551615 18446744073709551616 -9223372036854775808 1e17 0.00000000000000001"
    return rng.choice([*edges.split(), *more.split(), " 1", "1 ", "1\0", "\t1", "", "-007", "+7", "-"])


def test_doubles_print_as_in_valkey(valkey: Instance, rng: random.Random) -> None:
    with valkey.connect() as two, valkey.connect(resp=3) as three:
        for _ in range(20):
            values = [random_double(rng) for _ in range(BATCH)]
            pairs: list[Arg] = []
            for i, v in enumerate(values):
                pairs += [repr(v), f"m{i}"]
            two.call("DEL", "z")
            two.call("ZADD", "z", *pairs)
            members = [f"m{i}" for i in range(BATCH)]
            assert two.call("ZMSCORE", "z", *members) == [double_text(v) for v in values]
            wire = b"".join(b",%b\r\n" % double_text(v) for v in values)
            assert three.raw("ZMSCORE", "z", *members) == b"*%d\r\n%b" % (BATCH, wire)


def test_numbers_read_as_in_valkey(valkey: Instance, rng: random.Random) -> None:
    """ZADD reads a double, INCRBY an integer, SCAN an unsigned one, INCRBYFLOAT two long doubles."""
    with valkey.connect() as c:
        for _ in range(10):
            texts = [(random_text(rng), random_text(rng)) for _ in range(BATCH)]
            for a, b in texts:
                answers = c.pipeline(
                    [
                        *(("DEL", "z"), ("ZADD", "z", a, "m"), ("ZSCORE", "z", "m")),
                        *(("SET", "i", a), ("INCRBY", "i", 0)),
                        *(("SCAN", a), ("SET", "f", a), ("INCRBYFLOAT", "f", b), ("GET", "f")),
                    ]
                )
                score, integer, cursor, total = answers[2], answers[4], answers[5], answers[8]
                double = parse_double(a.encode())
                assert score == (None if double is None else double_text(double + 0)), a  # -0 is 0 in a listpack
                assert (None if isinstance(integer, Error) else integer) == parse_int64(a.encode()), a
                assert isinstance(cursor, Error) == (parse_uint64(a.encode()) is None), a
                mine = longdouble_sum_text(a.encode(), b.encode())
                if mine is None:
                    assert answers[7] == Error("ERR value is not a valid float"), (a, b)
                elif mine in (b"inf", b"-inf", b"nan"):
                    assert answers[7] == Error("ERR increment would produce NaN or Infinity"), (a, b)
                else:
                    assert total == mine, (a, b)


def test_bounds_read_as_in_valkey(valkey: Instance, rng: random.Random) -> None:
    """Of ranges of scores: how many of these are at least that."""
    scores = [-math.inf, -1e300, -1.0, -0.5, 0.0, 5e-324, 1e-5, 1.0, 9.0, 1e5, 2.0**53 - 1, 1e18, 1e300, math.inf]
    with valkey.connect() as c:
        c.call("DEL", "z")
        c.call("ZADD", "z", *(word for score in scores for word in (repr(score), repr(score))))
        texts = [random_text(rng) for _ in range(10 * BATCH)] + ["", "1\0x", "\0", "1e400", "-1e400", "1e-400", "nan"]
        answers = c.pipeline([("ZCOUNT", "z", text, "+inf") for text in texts])
        for text, answer in zip(texts, answers, strict=True):
            bound = parse_bound(text.encode())
            found = None if isinstance(answer, Error) else answer
            assert found == (None if bound is None else sum(score >= bound for score in scores)), text


def test_globs_match_as_in_valkey(valkey: Instance, rng: random.Random) -> None:
    with valkey.connect() as c:
        for _ in range(40):
            alphabet = rng.choice([b"ab", b"abcABC", b"a-]^[\\*?b", b"aZ\xff\x00-"])
            keys = {bytes(rng.choices(alphabet, k=rng.randrange(7))) for _ in range(200)}
            c.call("FLUSHALL")
            c.call("MSET", *[word for key in keys for word in (key, b"1")])
            for _ in range(150):
                pattern = bytes(rng.choices(alphabet + b"**??[]^-\\", k=rng.randrange(9)))
                if pattern != b"*":  # KEYS * is all keys, the empty one too
                    assert set(c.call("KEYS", pattern)) == {key for key in keys if glob(pattern, key)}, pattern


def test_globs_without_case_match_as_in_valkey(valkey: Instance, rng: random.Random) -> None:
    with valkey.connect() as c:
        names = [name.decode() for name in c.call("CONFIG", "GET", "*")[::2]]
        for _ in range(500):
            letters = list(rng.choice(names))
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(len(letters))
                same = letters[at]
                letters[at] = rng.choice(["*", "?", "[A-M]", "[^a-f]", "[N-z]", same.upper(), "\\" + same])
            pattern = "".join(letters)
            found = {name.decode() for name in c.call("CONFIG", "GET", pattern)[::2]}
            if any(mark in pattern for mark in "*?["):  # without one, CONFIG GET looks the name up
                assert found == {name for name in names if glob(pattern.encode(), name.encode(), True)}, pattern


# ---- LZF -----------------------------------------------------------------------------------------


def values(rng: random.Random) -> Iterator[bytes]:
    """Compressible values of all lengths up to some kilobytes."""
    words = [rng.randbytes(rng.randrange(1, 12)) for _ in range(8)]
    for n in [*range(21, 120), *(int(2 ** rng.uniform(7, 16)) for _ in range(200))]:
        yield b"".join(rng.choices(words, k=n))[:n]


@pytest.mark.parametrize("kind", ["redis70", "valkey"])
def test_strings_that_they_compressed(kind: str, request: pytest.FixtureRequest, rng: random.Random) -> None:
    """A real file: our CRC-64 agrees with its trailer, and each compressed string is read."""
    instance: Instance = request.getfixturevalue(kind)
    stored = {b"%d" % i: value for i, value in enumerate(values(rng))}
    with instance.connect() as c:
        c.call("MSET", *[word for pair in stored.items() for word in pair])
        c.call("SAVE")
    data = Path(instance.directory, "dump.rdb").read_bytes()
    assert crc(data[:-8]) == int.from_bytes(data[-8:], "little")
    file = parse_rdb(data, decompress)
    assert {record.key: record.value for record in file.records} == stored
    assert file.compressed > len(stored) / 2  # the rest are short, or have no repetitions


@pytest.mark.parametrize("kind", ["redis70", "valkey"])
def test_strings_that_we_compressed(kind: str, request: pytest.FixtureRequest, rng: random.Random) -> None:
    """RESTORE takes our streams and our CRC-64."""
    instance: Instance = request.getfixturevalue(kind)
    with instance.connect() as c:
        restored = 0
        for i, value in enumerate(values(rng)):
            packed = compress(value, len(value) - 4)
            if not packed:
                continue
            body = b"\0\xc3" + length(len(packed)) + length(len(value)) + packed + b"\x0a\0"
            assert c.call("RESTORE", f"k{i}", 0, body + crc(body).to_bytes(8, "little")) == "OK"
            assert c.call("GET", f"k{i}") == value
            restored += 1
        assert restored > 200
