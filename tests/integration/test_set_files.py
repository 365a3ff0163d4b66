"""Sets in files and payloads: those of Valkey and Redis here, ours there, equal digests; old and hostile forms."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from fleettest.client import Connection, Error
from fleettest.encodings import listpack
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.rdbfile import dump, length, string
from fleettest.typefiles import aof_base, damaged, digest, files_both_ways, left_out, names, payloads_both_ways, refused

pytestmark = [pytest.mark.server]

REDIS70 = 10


def fill(connection: Connection, rng: random.Random) -> None:
    """All encodings, at their limits and beyond; members of all sizes; integers of all widths."""
    connection.call("SADD", "one", "x")
    connection.call("SADD", "small", 1, 2, -3, 30000)
    connection.call("SADD", "middle", 70000, *range(-200, 200))
    connection.call("SADD", "wide", *(sign * (1 << bits) for bits in range(63) for sign in (1, -1)), 0)
    connection.call("SADD", "border", *range(512))
    connection.call("SADD", "beyond", *range(513))
    connection.call("SADD", "listpack", *(b"m%d" % i for i in range(128)))
    connection.call("SADD", "odd", b"007", b"-0", b"+1", b"\0", b"", b"\xff" * 64, b"1.5", b"99999999999999999999", 5)
    connection.call("SADD", "long", *(b"v" * n for n in (0, 1, 62, 63, 64, 65, 128, 253, 254, 300, 5000)))
    connection.call("SADD", "binary", *(rng.randbytes(30) for _ in range(1000)))
    connection.call("SADD", "many", *(b"member:%d" % i for i in range(20_000)))
    connection.call("SADD", "expires", "a")
    connection.call("PEXPIREAT", "expires", 99_999_999_999_999)


@pytest.mark.differential
@pytest.mark.parametrize("compressed", ["yes", "no"])
@pytest.mark.parametrize("other", ["valkey", "redis", "redis8"])
def test_files_both_ways(tmp_path: Path, rng: random.Random, other: Kind, compressed: str) -> None:
    looks = [digest, *([names] if other == "valkey" else [])]
    files_both_ways(tmp_path, rng, other, fill, looks, rdbcompression=compressed)


@pytest.mark.differential
def test_payloads_both_ways(server: Instance, valkey: Instance, rng: random.Random) -> None:
    with server.connect() as ours, valkey.connect() as theirs:
        payloads_both_ways(ours, theirs, rng, fill)


def intset(width: int, *numbers: int) -> bytes:
    body = b"".join(n.to_bytes(width, "little", signed=True) for n in numbers)
    return struct.pack("<II", width, len(numbers)) + body


GOOD = {
    "strings": (b"\x02" + length(3) + string(b"a") + string(b"12") + b"\xc0\x07", [b"a", b"12", b"7"]),
    "integers": (b"\x02" + length(2) + string(b"12") + b"\xc0\x07", [b"7", b"12"]),
    "intset": (b"\x0b" + string(intset(2, -3, 0, 9)), [b"-3", b"0", b"9"]),
    "wide": (b"\x0b" + string(intset(8, -(1 << 40), 9)), [b"-1099511627776", b"9"]),
    "needlessly wide": (b"\x0b" + string(intset(4, 1, 2)), [b"1", b"2"]),
    "listpack": (b"\x14" + string(listpack(b"a", b"12", b"")), [b"a", b"12", b""]),
    "long members": (b"\x14" + string(listpack(b"a" * 63, b"b" * 63)), [b"a" * 63, b"b" * 63]),
    "many members": (
        b"\x14" + string(listpack(*(b"m%d" % i for i in range(300)))),
        [b"m%d" % i for i in range(300)],
    ),
    "many integers": (b"\x0b" + string(intset(2, *range(600))), [b"%d" % i for i in range(600)]),
}


@pytest.mark.parametrize("name", GOOD)
def test_every_form_is_read(server: Instance, valkey: Instance, name: str) -> None:
    value, members = GOOD[name]
    for instance in (server, valkey):
        with instance.connect() as c:
            c.call("DEL", "k")
            assert c.call("RESTORE", "k", 0, dump(value, 11 if value[0] == 20 else REDIS70)) == "OK"
            found = c.call("SMEMBERS", "k")
            assert found == members if c.call("OBJECT", "ENCODING", "k") != b"hashtable" else sorted(members)
    with server.connect() as ours, valkey.connect() as theirs:
        assert ours.call("OBJECT", "ENCODING", "k") == theirs.call("OBJECT", "ENCODING", "k")
        assert ours.call("SADD", "k", "more", members[0]) == 1
        assert ours.call("DEBUG", "RELOAD") == "OK"
        assert sorted(ours.call("SMEMBERS", "k")) == sorted([*members, b"more"])


BAD = {
    "no members": b"\x02" + length(0),
    "an empty intset": b"\x0b" + string(intset(2)),
    "an empty listpack": b"\x14" + string(listpack()),
    "fewer members": b"\x02" + length(2) + string(b"a"),
    "far more members": b"\x02" + length(1 << 40) + string(b"a"),
    "a member twice": b"\x02" + length(2) + string(b"a") * 2,
    "a number twice": b"\x02" + length(2) + string(b"7") + b"\xc0\x07",
    "a member twice in a table": b"\x02" + length(600) + b"".join(string(b"%d" % (i % 599)) for i in range(600)),
    "a member twice in a listpack": b"\x14" + string(listpack(b"a", b"b", b"a")),
    "a number twice in a listpack": b"\x14" + string(listpack(b"7") [:-1] + b"\x07\x01\xff"),
    "a number twice in an intset": b"\x0b" + string(intset(2, 1, 1)),
    "numbers out of order": b"\x0b" + string(intset(2, 2, 1)),
    "numbers of no width": b"\x0b" + string(struct.pack("<II", 3, 1) + b"abc"),
    "a cut intset": b"\x0b" + string(intset(2, 1, 2)[:-1]),
    "a cut listpack": b"\x14" + string(listpack(b"a")[:-1]),
    "an intset as listpack": b"\x14" + string(intset(2, 1)),
    "a listpack as intset": b"\x0b" + string(listpack(b"a")),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_set_is_refused(server: Instance, client: Connection, name: str) -> None:
    refused(client, BAD[name], 11)


def test_a_listpack_with_more_members_than_a_small_set_holds(server: Instance, client: Connection) -> None:
    members = [b"%05x" % i for i in range(70_000)]
    packed = listpack(*members)
    with server.configured(**{"set-max-listpack-entries": 100_000}):
        assert client.call("RESTORE", "k", 0, dump(b"\x14" + string(packed), 11)) == "OK"
        assert sorted(client.call("SMEMBERS", "k")) == members
        twice = listpack(*members, members[0])
        assert isinstance(client.call("RESTORE", "other", 0, dump(b"\x14" + string(twice), 11)), Error)
        assert client.call("EXISTS", "other") == 0


@pytest.mark.parametrize("kind", ["cachefleet", "valkey"])
def test_keys_without_members_are_left_out(tmp_path: Path, kind: Kind) -> None:
    empty = b"\x02" + string(b"gone") + length(0) + b"\x02" + string(b"gone too") + length(0)
    left_out(tmp_path, kind, empty)


def test_damaged_payloads_never_crash(server: Instance, client: Connection, rng: random.Random) -> None:
    def use() -> None:
        n = client.call("SCARD", "k")
        assert len(set(client.call("SMEMBERS", "k"))) == n > 0
        client.call("SADD", "k", "a", 1)
        client.call("SPOP", "k")

    values = [value for name, (value, _) in GOOD.items() if not name.startswith("many")]
    damaged(client, rng, values, 11, use)


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_bases_of_an_aof(tmp_path: Path, rng: random.Random, preamble: str) -> None:
    def change(c: Connection) -> None:
        for i in range(500):
            c.call("SADD", "many", b"new:%d" % i)
            c.call("SREM", "many", b"member:%d" % (i * 7))
            c.call("SMOVE", "many", "other", b"member:%d" % (i * 11))
            c.call("SPOP", "binary")
            c.call("SPOP", "many", 3)
        c.call("SPOP", "binary", 450)
        c.call("SUNIONSTORE", "border", "border", "small")

    aof_base(tmp_path, preamble, lambda c: fill(c, rng), change, digest)
