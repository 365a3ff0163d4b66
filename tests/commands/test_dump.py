"""DUMP and RESTORE against the real Valkey: replies, errors, and payloads in both directions."""

from __future__ import annotations

import random
import time

import pytest

from fleettest.client import Error
from fleettest.instance import Instance
from fleettest.rdbfile import dump, length, string
from fleettest.reference import Pair

pytestmark = [pytest.mark.server, pytest.mark.differential]

GOOD = dump(b"\x00\x05hello")
VALUES = [b"", b"text", b"12", b"-5", b"70000", b"3000000000", b"1" * 19, b"ab" * 400, b"x" * 30, bytes(range(256)) * 8]


def test_dump_is_the_same_but_for_its_version(pair: Pair) -> None:
    for i, value in enumerate(VALUES):
        key = f"k{i}"
        pair.run("SET", key, value)
        ours, theirs = pair.ours.call("DUMP", key), pair.theirs.call("DUMP", key)
        assert ours[-10:-8] == b"\x0a\x00"
        assert theirs[-10:-8] == b"\x50\x00"
        if b"\xc3" not in ours[1:2]:  # two compressors need not find the same references
            assert ours[:-10] == theirs[:-10]
        for payload in (ours, theirs):
            assert pair.run("RESTORE", "copy", 0, payload, "REPLACE") == "OK"
            assert pair.run("GET", "copy") == value
            pair.run("OBJECT", "ENCODING", "copy")
    assert pair.run("DUMP", "nokey") is None
    pair.run("DUMP")
    pair.run("DUMP", "a", "b")


def test_redis_reads_our_payloads(server: Instance, redis70: Instance) -> None:
    with server.connect() as ours, redis70.connect() as redis:
        for i, value in enumerate(VALUES):
            ours.call("SET", i, value)
            redis.call("SET", i, value)
            assert redis.call("RESTORE", "copy", 0, ours.call("DUMP", i), "REPLACE") == "OK"
            assert redis.call("GET", "copy") == value
            assert ours.call("RESTORE", "copy", 0, redis.call("DUMP", i), "REPLACE") == "OK"
            assert ours.call("GET", "copy") == value


@pytest.mark.parametrize("version", [*range(12), 16, 79, 80, 81, 255, 256, 65535])
def test_versions(pair: Pair, version: int) -> None:
    pair.run("RESTORE", "k", 0, dump(b"\x00\x05hello", version))
    pair.run("GET", "k")


@pytest.mark.parametrize("version", [12, 13, 14, 15])
def test_versions_of_newer_redis(server: Instance, version: int) -> None:
    """Valkey refuses these; we read what we know."""
    assert server.call("RESTORE", "k", 0, dump(b"\x00\x05hello", version)) == "OK"
    assert server.call("GET", "k") == b"hello"


def test_errors(pair: Pair) -> None:
    pair.run("SET", "there", "v")
    for key in ("there", "new"):
        for ttl in ("-1", "x", "", "9223372036854775808", " 1", "1.5"):
            pair.run("RESTORE", key, ttl, GOOD)
            pair.run("RESTORE", key, ttl, "bad")
            pair.run("RESTORE", key, ttl, GOOD, "REPLACE")
        for payload in (b"", b"bad", GOOD[:-1], GOOD + b"x", b"\x01" + GOOD[1:], dump(b""), dump(b"\x00")):
            pair.run("RESTORE", key, 0, payload)
            pair.run("RESTORE", key, 0, payload, "REPLACE")
        pair.run("GET", key)


@pytest.mark.parametrize(
    "options",
    [
        ["FOO"], ["REPLACE", "FOO"], ["IDLETIME"], ["FREQ"], ["IDLETIME", "x"], ["IDLETIME", "-1"], ["IDLETIME", ""],
        ["FREQ", "-1"], ["FREQ", "256"], ["FREQ", "255"], ["FREQ", "x"], ["FREQ", "1", "IDLETIME", "1"],
        ["IDLETIME", "1", "FREQ", "1"], ["IDLETIME", "1", "IDLETIME", "2000"], ["FREQ", "1", "FREQ", "2"],
        ["replace", "absttl", "idletime", "77"], ["ABSTTL", "ABSTTL", "REPLACE", "REPLACE"],
        ["IDLETIME", "99999999999"], ["IDLETIME", "9223372036854775807"], ["IDLETIME", "9223372036854775808"],
    ],
)  # fmt: skip
def test_options(pair: Pair, options: list[str]) -> None:
    for payload in (GOOD, b"bad"):
        pair.run("RESTORE", "k", 0, payload, *options)
        pair.run("RESTORE", "k", 0, payload, *options)
    pair.run("GET", "k")
    pair.run("OBJECT", "IDLETIME", "k")


def test_expiry(pair: Pair) -> None:
    later = int(time.time() * 1000) + 100_000
    for ttl, options in [
        (50_000, []), (later, ["ABSTTL"]), (1, ["ABSTTL"]), (1000, ["ABSTTL"]), (0, ["ABSTTL"]),
        (9223372036854775807, []), (9223372036854775807, ["ABSTTL"]), (1 << 62, []),
    ]:  # fmt: skip
        for before in (None, "v"):
            pair.run("DEL", "k")
            if before:
                pair.run("SET", "k", before)
            pair.run("RESTORE", "k", ttl, GOOD, *options)
            pair.run("RESTORE", "k", ttl, GOOD, "REPLACE", *options)
            pair.run("EXISTS", "k")
            pair.run("PTTL", "k")
            pair.run("PEXPIRETIME", "k")


def test_frequency(pair: Pair) -> None:
    try:
        pair.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
        for options in (["FREQ", "200"], ["IDLETIME", "5"], []):
            pair.run("RESTORE", "k", 0, GOOD, "REPLACE", *options)
            pair.run("OBJECT", "FREQ", "k")
    finally:
        pair.run("CONFIG", "SET", "maxmemory-policy", "noeviction")


@pytest.mark.parametrize("kind", [26, 27])
def test_types_are_refused_by_name(server: Instance, kind: int) -> None:
    """Streams of Redis 8.2 and later."""
    reply = server.call("RESTORE", "k", 0, dump(bytes([kind, 0]), 14))
    assert isinstance(reply, Error)
    assert reply == "ERR Bad data format: values of type stream are not supported by this version"
    assert server.call("EXISTS", "k") == 0


def test_mutated_payloads(pair: Pair, rng: random.Random) -> None:
    """Strings with a right checksum and broken insides. What Valkey reads into its own footer is an error here."""
    seeds = [b"\x00" + string(value) for value in VALUES if len(value) < 100]
    packed = b"\x00a" + b"\xe0" + bytes([255]) + b"\x00"
    seeds.append(b"\x00\xc3" + length(len(packed)) + length(265) + packed)
    for _ in range(400):
        body = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(3)):
            body[rng.randrange(1, len(body))] ^= 1 << rng.randrange(8)
        payload = dump(bytes(body))
        ours = pair.ours.call("RESTORE", "k", 0, payload, "REPLACE")
        theirs = pair.theirs.call("RESTORE", "k", 0, payload, "REPLACE")
        if ours == "OK":
            assert theirs == "OK", payload
            assert pair.run("GET", "k") is not None
        else:
            assert ours == "ERR Bad data format", payload


def test_what_is_replaced_does_not_expire_first(pair: Pair) -> None:
    payload = dump(b"\0" + string(b"w"))
    for instance in pair.instances:
        instance.call("CONFIG", "RESETSTAT")
    pair.run("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    try:
        for ttl in (0, 1):  # 1 is a time in the past
            pair.run("SET", "k", "v", "PX", 1)
            pair.run("DEBUG", "SLEEP", 0.005)
            pair.run("RESTORE", "k", ttl, payload, "REPLACE", "ABSTTL")
            pair.run("EXISTS", "k")
    finally:
        pair.run("DEBUG", "SET-ACTIVE-EXPIRE", 1)
    assert [instance.info("stats")["expired_keys"] for instance in pair.instances] == ["0", "0"]
