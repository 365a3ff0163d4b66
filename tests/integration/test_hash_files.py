"""Hashes in files and payloads: those of Valkey and Redis here, ours there, equal digests; old and hostile forms."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from fleettest.client import Connection, Error
from fleettest.disk import wait_rewritten
from fleettest.encodings import listpack, ziplist, zipmap
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.rdbfile import dump, length, string
from fleettest.typefiles import aof_base, damaged, digest, files_both_ways, left_out, names, payloads_both_ways, refused
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server]

REDIS70 = 10


def fill(connection: Connection, rng: random.Random) -> None:
    """Both encodings, each form of a word, few fields and many."""
    connection.call("HSET", "one", "x", "y")
    connection.call("HSET", "numbers", *(v for bits in range(63) for v in (1 << bits, -(1 << bits))))
    connection.call("HSET", "sizes", *(b"v" * n for n in (0, 1, 2, 61, 62, 63, 64, 64)))
    connection.call("HSET", "odd", b"007", b"-0", b"+1", b"\0", b"\xff" * 60, b"1.5", b"99999999999999999999", b"")
    connection.call("HSET", "middle", *(rng.randbytes(30) for _ in range(400)))
    connection.call("HSET", "full", *(b"field:%d" % (i // 2) for i in range(1024)))
    connection.call("HSET", "many", *(b"field:%d" % i for i in range(10_000)))
    connection.call("HSET", "huge", *(rng.randbytes(n) for n in (10, 253, 254, 4095, 4096, 20_000, 300_000, 10)))
    connection.call("HSET", "repetitive", *(b"abc" * 1000 + b"%d" % i for i in range(40)))
    connection.call("HSET", "expires", "a", "b")
    connection.call("PEXPIREAT", "expires", 99_999_999_999_999)


@pytest.mark.differential
@pytest.mark.parametrize("compressed", ["yes", "no"])
@pytest.mark.parametrize("other", ["valkey", "redis", "redis8"])
def test_files_both_ways(tmp_path: Path, rng: random.Random, other: Kind, compressed: str) -> None:
    files_both_ways(tmp_path, rng, other, fill, [digest, names], rdbcompression=compressed)


@pytest.mark.differential
def test_payloads_both_ways(server: Instance, valkey: Instance, rng: random.Random) -> None:
    with server.connect() as ours, valkey.connect() as theirs:
        payloads_both_ways(ours, theirs, rng, fill)


def zipmap_of(words: list[bytes]) -> bytes:
    """Each value with two unused bytes behind it."""
    return zipmap(list(zip(words[::2], words[1::2], strict=True)), unused=2)


PAIRS = [b"a", b"1", b"b", b"", b"12", b"x" * 60, b"", b"empty"]
LONG = [b"a", b"x" * 70]
GOOD = {
    "pairs": (b"\x04" + length(4) + b"".join(map(string, PAIRS)), PAIRS),
    "long pairs": (b"\x04" + length(1) + b"".join(map(string, LONG)), LONG),
    "coded": (b"\x04\x02" + b"\xc0\x07" + b"\xc1\x00\x01" + string(b"a") + b"\xc0\xff", [b"7", b"256", b"a", b"-1"]),
    "zipmap": (b"\x09" + string(zipmap_of(PAIRS)), PAIRS),
    "long zipmap": (b"\x09" + string(zipmap_of(LONG)), LONG),
    "ziplist": (b"\x0d" + string(ziplist(PAIRS)), PAIRS),
    "listpack": (b"\x10" + string(listpack(*PAIRS)), PAIRS),
    "many pairs": (
        b"\x04" + length(600) + b"".join(string(b"%d" % (i // 2)) for i in range(1200)),
        [b"%d" % (i // 2) for i in range(1200)],
    ),
    "many in a listpack": (
        b"\x10" + string(listpack(*(b"%d" % (i // 2) for i in range(1200)))), [b"%d" % (i // 2) for i in range(1200)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_every_form_is_read(server: Instance, valkey: Instance, name: str) -> None:
    value, words = GOOD[name]
    expected = dict(zip(words[::2], words[1::2], strict=True))
    found = []
    for instance in (server, valkey):
        with instance.connect(resp=3) as c:
            c.call("DEL", "k")
            assert c.call("RESTORE", "k", 0, dump(value, REDIS70)) == "OK"
            assert c.call("HGETALL", "k") == expected
            found.append((c.call("OBJECT", "ENCODING", "k"), c.call("DEBUG", "DIGEST-VALUE", "k")))
    assert found[0] == found[1]
    with server.connect(resp=3) as ours:
        assert ours.call("HSET", "k", "more", "than before") == 1
        assert ours.call("DEBUG", "RELOAD") == "OK"
        assert ours.call("HGETALL", "k") == {**expected, b"more": b"than before"}


TWICE = [b"a", b"1", b"a", b"2"]
BAD = {
    "no fields": b"\x04" + length(0),
    "an empty ziplist": b"\x0d" + string(ziplist([])),
    "an empty listpack": b"\x10" + string(listpack()),
    "an empty zipmap": b"\x09" + string(zipmap_of([])),
    "fewer pairs": b"\x04" + length(3) + string(b"a") * 4,
    "half a pair": b"\x04" + length(1) + string(b"a"),
    "an odd listpack": b"\x10" + string(listpack(b"a", b"b", b"c")),
    "an odd ziplist": b"\x0d" + string(ziplist([b"a", b"b", b"c"])),
    "many pairs": b"\x04" + length(1 << 40) + string(b"a"),
    "a cut listpack": b"\x10" + string(listpack(b"a", b"b")[:-1]),
    "a ziplist as listpack": b"\x10" + string(ziplist([b"a", b"b"])),
    "a listpack as ziplist": b"\x0d" + string(listpack(b"a", b"b")),
    "a listpack as zipmap": b"\x09" + string(listpack(b"a", b"b")),
    "twice, pairs": b"\x04" + length(2) + b"".join(map(string, TWICE)),
    "twice, long pairs": b"\x04" + length(3) + b"".join(map(string, [*LONG, *TWICE])),
    "twice, listpack": b"\x10" + string(listpack(*TWICE)),
    "twice, ziplist": b"\x0d" + string(ziplist(TWICE)),
    "twice, zipmap": b"\x09" + string(zipmap_of(TWICE)),
    "twice, many": b"\x10" + string(listpack(*(b"%d" % (i % 1100) for i in range(1200)))),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_hash_is_refused(server: Instance, client: Connection, name: str) -> None:
    refused(client, BAD[name], REDIS70)


@pytest.mark.parametrize("kind", ["cachefleet", "valkey"])
def test_keys_without_fields_are_left_out(tmp_path: Path, kind: Kind) -> None:
    empty = b"\x0d" + string(b"gone") + string(ziplist([])) + b"\x04" + string(b"gone too") + length(0)
    left_out(tmp_path, kind, empty)


def test_damaged_payloads_never_crash(server: Instance, client: Connection, rng: random.Random) -> None:
    def use() -> None:
        n = client.call("HLEN", "k")
        found = client.call("HGETALL", "k")
        assert len(found) == 2 * n > 0
        assert client.call("HMGET", "k", *found[::2]) == found[1::2]
        client.call("HSET", "k", "a", "b", "more", "x" * 20)
        client.call("HDEL", "k", found[0])

    damaged(client, rng, [value for value, _ in GOOD.values()], REDIS70, use)


# ---- fields that expire ------------------------------------------------------------------------------

FAR = 99_999_999_999_000


def fill_timed(connection: Connection) -> None:
    connection.call("HSET", "few", *(b"%d" % (i // 2) for i in range(20)))
    connection.call("HPEXPIREAT", "few", FAR, "FIELDS", 3, 0, 5, 9)
    connection.call("HSET", "all", *(b"f%d" % i for i in range(20)))
    connection.call("HPEXPIREAT", "all", FAR + 1, "FIELDS", 10, *(b"f%d" % i for i in range(0, 20, 2)))
    connection.call("HSET", "many", *(b"field:%d" % i for i in range(6000)))
    for i in range(0, 6000, 6):
        connection.call("HPEXPIREAT", "many", FAR + i, "FIELDS", 1, b"field:%d" % i)
    connection.call("HSET", "plain", "a", "b")


def times(connection: Connection) -> dict[bytes, dict[bytes, tuple[bytes, int]]]:
    found = {}
    for key in connection.call("KEYS", "*"):
        words = connection.call("HGETALL", key)
        names = words[::2]
        expires = connection.call("HPEXPIRETIME", key, "FIELDS", len(names), *names)
        found[key] = dict(zip(names, zip(words[1::2], expires, strict=True), strict=True))
    return found


@pytest.mark.differential
@pytest.mark.parametrize("source", ["valkey", "cachefleet"])
def test_files_with_times(tmp_path: Path, source: Kind) -> None:
    """In Valkey's dialect, both ways; without such fields the file is one that Redis 7.0 reads."""
    options = {"enable-debug-command": "yes"}
    with Instance(source, directory=tmp_path, options=options) as server, server.connect() as c:
        fill_timed(c)
        expected, before = times(c), names(c)
        c.call("SAVE")
        assert (tmp_path / "dump.rdb").read_bytes().startswith(b"VALKEY080")
        if source == "cachefleet":
            c.call("DEL", "few", "all", "many")
            c.call("BGSAVE")
            assert_eventually(lambda: (tmp_path / "dump.rdb").read_bytes().startswith(b"REDIS0010"))
            fill_timed(c)
            c.call("SAVE")
    target: Kind = "cachefleet" if source == "valkey" else "valkey"
    with Instance(target, directory=tmp_path, options=options) as server, server.connect() as c:
        assert times(c) == expected
        assert names(c) == before


@pytest.mark.differential
@pytest.mark.parametrize("files", ["an RDB file", "an AOF with an RDB base", "an AOF of commands", "payloads"])
def test_times_of_redis8(tmp_path: Path, files: str) -> None:
    """Its own record types; it reads none of ours with times, which are in Valkey's dialect, and says so."""
    kept, preamble = ("yes" if part in files else "no" for part in ("AOF", "RDB base"))
    options = {"appendonly": kept, "aof-use-rdb-preamble": preamble}
    with Instance("redis8", directory=tmp_path, options=options) as server, server.connect() as c:
        fill_timed(c)
        expected = times(c)
        payloads = {key: c.call("DUMP", key) for key in expected}
        if "AOF" in files:
            assert not isinstance(c.call("BGREWRITEAOF"), Error)
            wait_rewritten(server)
            c.call("HPEXPIREAT", "few", FAR + 7, "FIELDS", 1, 1)
            expected = times(c)
        elif "RDB" in files:
            assert c.call("SAVE") == "OK"
        assert server.stop() == 0
    with Instance("cachefleet", directory=tmp_path, options=options) as server, server.connect() as c:
        if files == "payloads":
            for key, payload in payloads.items():
                assert c.call("RESTORE", key, 0, payload) == "OK"
        assert times(c) == expected


@pytest.mark.differential
def test_payloads_with_times(server: Instance, valkey: Instance) -> None:
    with server.connect() as ours, valkey.connect() as theirs:
        for source, target in ((ours, theirs), (theirs, ours)):
            source.call("FLUSHALL")
            target.call("FLUSHALL")
            fill_timed(source)
            for key in source.call("KEYS", "*"):
                assert target.call("RESTORE", key, 0, source.call("DUMP", key)) == "OK"
            assert times(target) == times(source)
            assert names(target) == names(source)


def le(n: int) -> bytes:
    return n.to_bytes(8, "little", signed=True)


def timed_listpack(*triples: tuple[bytes, bytes, int]) -> bytes:
    entries = b""
    for name, value, at in triples:
        entries += b"".join(bytes([0x80 | len(e)]) + e + bytes([1 + len(e)]) for e in (name, value))
        entries += b"\xf4" + le(at) + b"\x09"
    return struct.pack("<IH", 7 + len(entries), 3 * len(triples)) + entries + b"\xff"


VALKEY = 80
REDIS74 = 12
TIMED = {
    "valkey": (VALKEY, b"\x16\x02" + string(b"a") + string(b"1") + le(FAR) + string(b"b") + string(b"2") + le(-1)),
    "redis": (REDIS74, b"\x18" + le(FAR - 10) + b"\x02\x0b\x01a\x011" + b"\0\x01b\xc0\2"),
    "redis listpack": (REDIS74, b"\x19" + le(FAR) + string(timed_listpack((b"a", b"1", FAR), (b"b", b"2", 0)))),
}  # fmt: skip


@pytest.mark.parametrize("name", TIMED)
def test_every_form_with_times_is_read(server: Instance, client: Connection, name: str) -> None:
    version, value = TIMED[name]
    assert client.call("RESTORE", "k", 0, dump(value, version)) == "OK"
    assert client.call("HMGET", "k", "a", "b") == [b"1", b"2"]
    assert client.call("HPEXPIRETIME", "k", "FIELDS", 2, "a", "b") == [FAR, -1]
    assert client.call("DEBUG", "RELOAD") == "OK"
    assert client.call("HPEXPIRETIME", "k", "FIELDS", 2, "a", "b") == [FAR, -1]


BAD_TIMED = {
    "no fields": (VALKEY, b"\x16\0"),
    "an early time": (VALKEY, b"\x16\x01" + string(b"a") + string(b"1") + le(-2)),
    "twice": (VALKEY, b"\x16\x02" + (string(b"a") + string(b"1") + le(FAR)) * 2),
    "cut": (VALKEY, b"\x16\x01" + string(b"a") + string(b"1") + le(FAR)[:7]),
    "redis' own 22": (REDIS74, TIMED["valkey"][1]),
    "24 of valkey": (VALKEY, TIMED["redis"][1]),
    "beyond time": (REDIS74, b"\x18" + le(2**63 - 2) + b"\x01\x0b" + string(b"a") + string(b"1")),
    "a base below zero": (REDIS74, b"\x18" + le(-5) + b"\x01\x0b" + string(b"a") + string(b"1")),
    "no triples": (REDIS74, b"\x19" + le(FAR) + string(listpack(b"a", b"b"))),
    "a time that is text": (REDIS74, b"\x19" + le(FAR) + string(listpack(b"a", b"b", b"c"))),
    "a time below zero": (REDIS74, b"\x19" + le(FAR) + string(timed_listpack((b"a", b"b", -1)))),
}


@pytest.mark.parametrize("name", BAD_TIMED)
def test_what_has_no_times_is_refused(server: Instance, client: Connection, name: str) -> None:
    version, value = BAD_TIMED[name]
    refused(client, value, version)


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_bases_of_an_aof_with_times(tmp_path: Path, preamble: str) -> None:
    def change(c: Connection) -> None:
        for i in range(0, 3000, 2):
            c.call("HPEXPIREAT", "many", FAR + 7, "FIELDS", 1, b"field:%d" % i)
            c.call("HSET", "many", b"field:%d" % (2 * i), "changed")
            c.call("HINCRBY", "few", 5, 1)

    aof_base(tmp_path, preamble, fill_timed, change, times)


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_bases_of_an_aof(tmp_path: Path, rng: random.Random, preamble: str) -> None:
    def change(c: Connection) -> None:
        for i in range(500):
            c.call("HSET", "many", b"field:%d" % (2 * i), b"changed", b"new:%d" % i, i)
            c.call("HDEL", "many", b"field:%d" % (4000 + 2 * i))
            c.call("HINCRBYFLOAT", "full", b"new", 0.5)
            c.call("HSET", "huge", "field", rng.randbytes(50))

    aof_base(tmp_path, preamble, lambda c: fill(c, rng), change, digest)
