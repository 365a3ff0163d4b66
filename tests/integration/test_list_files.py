"""Lists in files and payloads: those of Valkey and Redis here, ours there, equal digests; old and hostile forms."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fleettest.client import Connection
from fleettest.encodings import listpack, ziplist
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.rdbfile import dump, length, string
from fleettest.typefiles import aof_base, damaged, digest, files_both_ways, left_out, names, payloads_both_ways, refused

pytestmark = [pytest.mark.server]

REDIS70 = 10


def fill(connection: Connection, rng: random.Random) -> None:
    """Both names, each form of an element, one node and many, elements that are nodes alone."""
    connection.call("RPUSH", "one", "x")
    connection.call("RPUSH", "numbers", *(sign * (1 << bits) for bits in range(63) for sign in (1, -1)), 0)
    connection.call("RPUSH", "sizes", *(b"v" * n for n in (0, 1, 62, 63, 64, 65, 125, 126, 127, 128, 1000)))
    connection.call("RPUSH", "odd", b"007", b"-0", b"+1", b"\0", b"\xff" * 70, b"1.5", b"99999999999999999999")
    connection.call("RPUSH", "middle", *(rng.randbytes(30) for _ in range(200)))
    connection.call("RPUSH", "many", *(b"element:%d" % i for i in range(5000)))
    connection.call("LPUSH", "huge", *(rng.randbytes(n) for n in (10, 4095, 4096, 8180, 8192, 20_000, 300_000, 10)))
    connection.call("RPUSH", "repetitive", *[b"abc" * 1000] * 50)
    connection.call("RPUSH", "expires", "a")
    connection.call("PEXPIREAT", "expires", 99_999_999_999_999)


@pytest.mark.differential
@pytest.mark.parametrize("compressed", ["yes", "no"])
@pytest.mark.parametrize("other", ["valkey", "redis", "redis8"])
def test_files_both_ways(tmp_path: Path, rng: random.Random, other: Kind, compressed: str) -> None:
    looks = [digest, *([names] if other == "valkey" else [])]
    files_both_ways(tmp_path, rng, other, fill, looks, rdbcompression=compressed, **{"list-compress-depth": 1})


@pytest.mark.differential
def test_payloads_both_ways(server: Instance, valkey: Instance, rng: random.Random) -> None:
    with server.connect() as ours, valkey.connect() as theirs:
        payloads_both_ways(ours, theirs, rng, fill)


def node(kind: int, data: bytes) -> bytes:
    return length(kind) + string(data)


GOOD = {
    "strings": (b"\x01" + length(3) + string(b"a") + string(b"12") + b"\xc0\x07", [b"a", b"12", b"7"]),
    "ziplist": (
        b"\x0a" + string(ziplist([b"a", 5, -70000, b"x" * 300, b"z"])),
        [b"a", b"5", b"-70000", b"x" * 300, b"z"],
    ),
    "ziplists": (
        b"\x0e" + length(3) + string(ziplist([b"a", b"b"])) + string(ziplist([])) + string(ziplist([b"c", 1])),
        [b"a", b"b", b"c", b"1"],
    ),
    "listpacks": (
        b"\x12" + length(3) + node(2, listpack(b"a", b"12")) + node(1, b"plain") + node(2, listpack(b"", b"z")),
        [b"a", b"12", b"plain", b"", b"z"],
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_every_form_is_read(server: Instance, valkey: Instance, name: str) -> None:
    value, elements = GOOD[name]
    for instance in (server, valkey):
        with instance.connect() as c:
            c.call("DEL", "k")
            assert c.call("RESTORE", "k", 0, dump(value, REDIS70)) == "OK"
            assert c.call("LRANGE", "k", 0, -1) == elements
    with server.connect() as ours, valkey.connect() as theirs:
        assert ours.call("OBJECT", "ENCODING", "k") == theirs.call("OBJECT", "ENCODING", "k")
        assert ours.call("RPUSH", "k", "more") == len(elements) + 1
        assert ours.call("DEBUG", "RELOAD") == "OK"
        assert ours.call("LRANGE", "k", 0, -1) == [*elements, b"more"]


BAD = {
    "no elements": b"\x01" + length(0),
    "no nodes": b"\x12" + length(0),
    "an empty ziplist": b"\x0a" + string(ziplist([])),
    "empty nodes": b"\x12" + length(2) + node(2, listpack()) * 2,
    "a node of no kind": b"\x12" + length(1) + node(3, listpack(b"a")),
    "fewer nodes": b"\x12" + length(2) + node(2, listpack(b"a")),
    "many strings": b"\x01" + length(1 << 40) + string(b"a"),
    "a cut listpack": b"\x12" + length(1) + node(2, listpack(b"a")[:-1]),
    "a ziplist as listpack": b"\x12" + length(1) + node(2, ziplist([b"a"])),
    "a listpack as ziplist": b"\x0a" + string(listpack(b"a")),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_list_is_refused(server: Instance, client: Connection, name: str) -> None:
    refused(client, BAD[name], REDIS70)


@pytest.mark.parametrize("kind", ["cachefleet", "valkey"])
def test_keys_without_elements_are_left_out(tmp_path: Path, kind: Kind) -> None:
    empty = b"\x0a" + string(b"gone") + string(ziplist([])) + b"\x12" + string(b"gone too") + length(0)
    left_out(tmp_path, kind, empty)


def test_damaged_payloads_never_crash(server: Instance, client: Connection, rng: random.Random) -> None:
    def use() -> None:
        n = client.call("LLEN", "k")
        assert len(client.call("LRANGE", "k", 0, -1)) == n > 0
        client.call("LINSERT", "k", "AFTER", "a", "b")
        client.call("RPOP", "k")

    damaged(client, rng, [value for value, _ in GOOD.values()], REDIS70, use)


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_bases_of_an_aof(tmp_path: Path, rng: random.Random, preamble: str) -> None:
    def change(c: Connection) -> None:
        for i in range(500):
            c.call("LPUSH", "many", b"new:%d" % i)
            c.call("LMOVE", "many", "other", "RIGHT", "LEFT")
            c.call("LSET", "huge", 3, rng.randbytes(50))

    aof_base(tmp_path, preamble, lambda c: fill(c, rng), change, digest)
