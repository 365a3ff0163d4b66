"""Sorted sets in files and payloads: those of Valkey and Redis here, ours there; old and hostile forms."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from fleettest.client import Arg, Connection, Error
from fleettest.encodings import listpack, ziplist
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.rdbfile import dump, length, string
from fleettest.typefiles import aof_base, damaged, digest, files_both_ways, left_out, names, payloads_both_ways, refused

pytestmark = [pytest.mark.server]

REDIS70 = 10


def fill(connection: Connection, rng: random.Random) -> None:
    """Both forms, each code of a member and of a score, ties, infinities, and what no listpack holds."""

    def add(key: str, *pairs: Arg) -> None:
        assert not isinstance(connection.call("ZADD", key, *pairs), Error)

    add("one", 1, "x")
    powers = [sign * (1 << bits) for bits in range(63) for sign in (1, -1)]
    add("numbers", *(word for n in powers for word in (n, n)))
    add("floats", *(word for _ in range(100) for word in (repr(rng.uniform(-1e9, 1e9)), rng.randbytes(8))))
    add("odd", "inf", "top", "-inf", "bottom", "-0", "zero", "1e300", "", "5e-324", b"\0\xff", "0.1", "007")
    add("ties", *(word for i in range(100) for word in (i % 3, b"m%d" % i)))
    add("long", 1, "x" * 65, "-0", "minus", 0, "zero", "inf", "top", "-inf", "bottom")
    add("sizes", *(word for n in (1, 62, 63, 64, 125, 1000, 5000, 300_000) for word in (n, b"v" * n)))
    for at in range(0, 20_000, 1000):
        add("many", *(word for i in range(at, at + 1000) for word in (repr(rng.random()), b"member:%d" % i)))
    add("expires", 1, "a")
    connection.call("PEXPIREAT", "expires", 99_999_999_999_999)


def orders(connection: Connection) -> dict[bytes, list[tuple[bytes, float]]]:
    def order(key: bytes) -> list[tuple[bytes, float]]:
        found = connection.call("ZRANGE", key, 0, -1, "WITHSCORES")
        return [(member, float(score)) for member, score in zip(found[::2], found[1::2], strict=True)]

    return {key: order(key) for key in connection.call("KEYS", "*")}


@pytest.mark.differential
@pytest.mark.parametrize("compressed", ["yes", "no"])
@pytest.mark.parametrize("other", ["valkey", "redis", "redis8"])
def test_files_both_ways(tmp_path: Path, rng: random.Random, other: Kind, compressed: str) -> None:
    # Redis 7.0 writes a score with other digits into its digest.
    looks = [names, orders, *([digest] if other == "valkey" else [])]
    files_both_ways(tmp_path, rng, other, fill, looks, rdbcompression=compressed)


@pytest.mark.differential
def test_payloads_both_ways(server: Instance, valkey: Instance, rng: random.Random) -> None:
    with server.connect() as ours, valkey.connect() as theirs:
        payloads_both_ways(ours, theirs, rng, fill)


def text_score(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def byte_score(score: float) -> bytes:
    return struct.pack("<d", score)


GOOD = {
    "text scores": (
        b"\x03" + length(5) + string(b"b") + text_score(b"2.5") + string(b"a") + text_score(b"-17")
        + b"\xc0\x07" + text_score(b"17976931348623157e292") + string(b"top") + b"\xfe" + string(b"low") + b"\xff",
        [b"low", b"-inf", b"a", b"-17", b"b", b"2.5", b"7", b"1.7976931348623157e+308", b"top", b"inf"],
    ),
    "byte scores": (
        b"\x05" + length(3) + string(b"b") + byte_score(1) + string(b"a") + byte_score(1) + b"\xc0\x07"
        + byte_score(-0.5),
        [b"7", b"-0.5", b"a", b"1", b"b", b"1"],
    ),
    "many byte scores": (
        b"\x05" + length(300) + b"".join(string(b"m%03d" % i) + byte_score(-i) for i in range(300)),
        [word for i in reversed(range(300)) for word in (b"m%03d" % i, b"%d" % -i)],
    ),
    "ziplist": (
        b"\x0c" + string(ziplist([b"a", 1, b"x" * 300, 5, 7, b"7.5", b"z", b"inf"])),
        [b"a", b"1", b"x" * 300, b"5", b"7", b"7.5", b"z", b"inf"],
    ),
    "many in a ziplist": (
        b"\x0c" + string(ziplist([word for i in range(200) for word in (b"m%03d" % i, 100 + i)])),
        [word for i in range(200) for word in (b"m%03d" % i, b"%d" % (100 + i))],
    ),
    "listpack": (b"\x11" + string(listpack(b"a", b"1", b"b", b"2.25")), [b"a", b"1", b"b", b"2.25"]),
    "many in a listpack": (
        b"\x11" + string(listpack(*(b"%03d" % word for i in range(200) for word in (i, i)))),
        [word for i in range(200) for word in (b"%03d" % i, b"%d" % i)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_every_form_is_read(server: Instance, valkey: Instance, name: str) -> None:
    value, members = GOOD[name]
    for instance in (server, valkey):
        with instance.connect() as c:
            c.call("DEL", "k")
            assert c.call("RESTORE", "k", 0, dump(value, REDIS70)) == "OK"
            assert c.call("ZRANGE", "k", 0, -1, "WITHSCORES") == members
    with server.connect() as ours, valkey.connect() as theirs:
        assert ours.call("OBJECT", "ENCODING", "k") == theirs.call("OBJECT", "ENCODING", "k")
        assert ours.call("ZADD", "k", "+inf", "zzz") == 1
        assert ours.call("DEBUG", "RELOAD") == "OK"
        assert ours.call("ZRANGE", "k", 0, -1, "WITHSCORES") == [*members, b"zzz", b"inf"]


BAD = {
    "no members": b"\x05" + length(0),
    "no members of text": b"\x03" + length(0),
    "an empty ziplist": b"\x0c" + string(ziplist([])),
    "an empty listpack": b"\x11" + string(listpack()),
    "not a number": b"\x05" + length(1) + string(b"a") + byte_score(float("nan")),
    "not a number as text": b"\x03" + length(1) + string(b"a") + b"\xfd",
    "no number as text": b"\x03" + length(1) + string(b"a") + text_score(b"abc"),
    "no text": b"\x03" + length(1) + string(b"a") + text_score(b""),
    "a cut score": b"\x05" + length(1) + string(b"a") + byte_score(1)[:-1],
    "a cut text": b"\x03" + length(1) + string(b"a") + b"\x05" + b"12",
    "a member twice": b"\x05" + length(2) + (string(b"a") + byte_score(1)) * 2,
    "a member twice as text": b"\x03" + length(2) + string(b"7") + text_score(b"1") + b"\xc0\x07" + text_score(b"1"),
    "fewer members": b"\x05" + length(2) + string(b"a") + byte_score(1),
    "many members": b"\x05" + length(1 << 40) + string(b"a") + byte_score(1),
    "a member alone": b"\x11" + string(listpack(b"a", b"1", b"b")),
    "a member alone in a ziplist": b"\x0c" + string(ziplist([b"a", 1, b"b"])),
    "a score that is none": b"\x11" + string(listpack(b"a", b"b")),
    "nan in a listpack": b"\x11" + string(listpack(b"a", b"nan")),
    "a score that is none in a ziplist": b"\x0c" + string(ziplist([b"a", b""])),
    "a member twice in a listpack": b"\x11" + string(listpack(b"a", b"1", b"a", b"2")),
    "a member twice in a ziplist": b"\x0c" + string(ziplist([b"7", 1, 7, 2])),
    "a cut listpack": b"\x11" + string(listpack(b"a", b"1")[:-1]),
    "a ziplist as listpack": b"\x11" + string(ziplist([b"a", 1])),
    "a listpack as ziplist": b"\x0c" + string(listpack(b"a", b"1")),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_sorted_set_is_refused(server: Instance, client: Connection, name: str) -> None:
    refused(client, BAD[name], REDIS70)


@pytest.mark.parametrize("kind", ["cachefleet", "valkey"])
def test_keys_without_members_are_left_out(tmp_path: Path, kind: Kind) -> None:
    empty = b"\x0c" + string(b"gone") + string(ziplist([])) + b"\x05" + string(b"gone too") + length(0)
    left_out(tmp_path, kind, empty)


def test_damaged_payloads_never_crash(server: Instance, client: Connection, rng: random.Random) -> None:
    def use() -> None:
        n = client.call("ZCARD", "k")
        assert len(client.call("ZRANGE", "k", 0, -1)) == n == client.call("ZCOUNT", "k", "-inf", "+inf") > 0
        client.call("ZINCRBY", "k", 1, "a")
        client.call("ZREMRANGEBYRANK", "k", 0, 1)

    damaged(client, rng, [value for value, _ in GOOD.values()], REDIS70, use)


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_bases_of_an_aof(tmp_path: Path, rng: random.Random, preamble: str) -> None:
    def change(c: Connection) -> None:
        for i in range(500):
            c.call("ZADD", "many", rng.random(), b"new:%d" % i)
            c.call("ZREM", "many", b"member:%d" % rng.randrange(20_000))
            c.call("ZINCRBY", "many", 0.25, b"member:%d" % rng.randrange(20_000))
            c.call("ZREMRANGEBYRANK", "many", i, i + 1)
            c.call("ZADD", "floats", i, b"new:%d" % i)

    aof_base(tmp_path, preamble, lambda c: fill(c, rng), change, lambda c: (digest(c), orders(c)))
