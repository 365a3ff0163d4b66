"""Streams in files and payloads: those of Valkey and Redis here, ours there, equal digests; old and hostile forms."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fleettest.client import Connection, Error
from fleettest.encodings import listpack
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.rdbfile import dump, length, string
from fleettest.typefiles import aof_base, damaged, digest, files_both_ways, payloads_both_ways, refused
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server]

REDIS70 = 10


def fill(connection: Connection, rng: random.Random) -> None:
    """Blocks of one entry and of many, entries of the same fields and of others, deleted ones, none at all."""
    call = connection.call
    call("XADD", "one", "1-1", "f", "v")
    call("XADD", "highest", "18446744073709551615-18446744073709551614", "f", "v")
    for i in range(500):
        call("XADD", "many", f"{1_700_000_000_000 + i // 3}-{i % 3}", "f", f"value:{i}")
        words = [w for k in range(rng.randrange(1, 4)) for w in (b"%d" % k, rng.randbytes(rng.randrange(90)))]
        call("XADD", "others", f"{i + 1}-{rng.randrange(1000)}", *words)
        if i % 5 == 0:
            call("XDEL", "many", f"{1_700_000_000_000 + i // 3}-{i % 3}")
    call("XADD", "huge", "1-1", "f", rng.randbytes(300_000), "g" * 9000, "")
    call("XADD", "huge", "1-2", "f", b"abc" * 5000)
    call("XTRIM", "others", "MAXLEN", 333)
    call("XADD", "emptied", "7-7", "f", "v")
    call("XDEL", "emptied", "7-7")
    call("XADD", "expires", "1-1", "f", "v")
    call("PEXPIREAT", "expires", 99_999_999_999_999)


@pytest.mark.differential
@pytest.mark.parametrize("compressed", ["yes", "no"])
@pytest.mark.parametrize("other", ["valkey", "redis"])
def test_files_both_ways(tmp_path: Path, rng: random.Random, other: Kind, compressed: str) -> None:
    files_both_ways(tmp_path, rng, other, fill, [digest], rdbcompression=compressed)


@pytest.mark.differential
def test_payloads_both_ways(server: Instance, valkey: Instance, rng: random.Random) -> None:
    with server.connect() as ours, valkey.connect() as theirs:
        payloads_both_ways(ours, theirs, rng, fill)


def raw_id(ms: int, seq: int) -> bytes:
    return ms.to_bytes(8, "big") + seq.to_bytes(8, "big")


def block(*entries: bytes | int) -> bytes:
    """Of two entries with the field f, the second one deleted."""
    return listpack(*(entries or (1, 1, 1, b"f", 0, 2, 0, 0, b"v", 4, 3, 0, 1, b"w", 4)))


def record(kind: int, blocks: bytes, groups: bytes = length(0), numbers: bytes | None = None) -> bytes:
    """One block with the id 5-5; the stream's last id is 9-9."""
    if numbers is None:
        numbers = length(1) + length(9) + length(9)
        if kind >= 19:
            numbers += length(5) + length(5) + length(5) + length(6) + length(2)
    return bytes([kind]) + length(1) + string(raw_id(5, 5)) + string(blocks) + numbers + groups


def group(kind: int, pending: bytes, consumers: bytes, read: int = 1) -> bytes:
    counter = length(read) if kind >= 19 else b""
    return length(1) + string(b"g") + length(5) + length(5) + counter + pending + consumers


def consumer(kind: int, *ids: bytes) -> bytes:
    times = (1_700_000_000_000).to_bytes(8, "little") * (2 if kind >= 21 else 1)
    return string(b"c") + times + length(len(ids)) + b"".join(ids)


def pending(*ids: bytes) -> bytes:
    return length(len(ids)) + b"".join(id + (1_700_000_000_000).to_bytes(8, "little") + length(3) for id in ids)


def full(kind: int) -> bytes:
    one = raw_id(5, 5)
    return record(kind, block(), group(kind, pending(one), length(1) + consumer(kind, one)))


@pytest.mark.parametrize("kind", [15, 19, 21])
def test_old_types(client: Connection, valkey: Instance, kind: int) -> None:
    payload = dump(full(kind), REDIS70 + (kind == 21))
    with valkey.connect() as theirs:
        theirs.call("FLUSHALL")
        for connection in (client, theirs):
            assert connection.call("RESTORE", "k", 0, payload) == "OK"
            assert connection.call("XRANGE", "k", "-", "+") == [[b"5-5", [b"f", b"v"]]]
        for words in (("XINFO", "GROUPS", "k"), ("XPENDING", "k", "g"), ("DEBUG", "DIGEST-VALUE", "k")):
            assert client.call(*words) == theirs.call(*words)
        ours, its = (dict(zip(row[::2], row[1::2], strict=True)) for row in (
            client.call("XINFO", "STREAM", "k", "FULL"), theirs.call("XINFO", "STREAM", "k", "FULL")))
        assert ours[b"groups"] == its[b"groups"]
        assert ours[b"entries-added"] == its[b"entries-added"]


def test_when_consumers_were_active(server: Instance, valkey: Instance) -> None:
    """A payload has it, if it is not when they were seen."""
    with server.connect() as ours, valkey.connect() as theirs:
        for source, target in ((ours, theirs), (theirs, ours)):
            source.call("FLUSHALL")
            target.call("FLUSHALL")
            source.call("XADD", "k", "1-1", "f", "v")
            source.call("XGROUP", "CREATE", "k", "g", "0")
            source.call("XGROUP", "CREATECONSUMER", "k", "g", "never")
            source.call("XREADGROUP", "GROUP", "g", "once", "STREAMS", "k", ">")
            assert target.call("RESTORE", "k", 0, source.call("DUMP", "k")) == "OK"
            rows = [dict(zip(row[::2], row[1::2], strict=True)) for row in target.call("XINFO", "CONSUMERS", "k", "g")]
            assert [(row[b"name"], row[b"inactive"] == -1) for row in rows] == [(b"never", True), (b"once", False)]


ONE = raw_id(5, 5)
BROKEN = {
    "no listpack": record(21, b"abc"),
    "no id": bytes([21]) + length(1) + string(b"short") + string(block()),
    "count": record(21, block(2, 1, 1, b"f", 0, 2, 0, 0, b"v", 4, 3, 0, 1, b"w", 4)),
    "deleted": record(21, block(1, 0, 1, b"f", 0, 2, 0, 0, b"v", 4, 3, 0, 1, b"w", 4)),
    "fields": record(21, block(1, 1, 99, b"f", 0, 2, 0, 0, b"v", 4, 3, 0, 1, b"w", 4)),
    "negative fields": record(21, block(1, 1, -1, b"f", 0, 2, 0, 0, b"v", 4, 3, 0, 1, b"w", 4)),
    "no terminator": record(21, block(1, 1, 1, b"f", 1, 2, 0, 0, b"v", 4, 3, 0, 1, b"w", 4)),
    "flags": record(21, block(1, 1, 1, b"f", 0, 4, 0, 0, b"v", 4, 3, 0, 1, b"w", 4)),
    "size": record(21, block(1, 1, 1, b"f", 0, 2, 0, 0, b"v", 5, 3, 0, 1, b"w", 4)),
    "falling ids": record(21, block(1, 1, 1, b"f", 0, 2, 0, 1, b"v", 4, 3, 0, 0, b"w", 4)),
    "equal ids": record(21, block(1, 1, 1, b"f", 0, 2, 0, 1, b"v", 4, 3, 0, 1, b"w", 4)),
    "own fields": record(21, block(1, 0, 1, b"f", 0, 0, 0, 0, 7, b"g", b"v", 6)),
    "a text for a number": record(21, block(b"x", 1, 1, b"f", 0, 2, 0, 0, b"v", 4, 3, 0, 1, b"w", 4)),
    "length": record(21, block(), numbers=length(2) + length(9) * 2 + length(5) * 4 + length(6)),
    "last id": record(21, block(), numbers=length(1) + length(5) * 2 + length(5) * 4 + length(6)),
    "nobody's": record(21, block(), group(21, pending(ONE), length(0))),
    "not pending": record(21, block(), group(21, pending(), length(1) + consumer(21, ONE))),
    "pending twice": record(21, block(), group(21, pending(ONE, ONE), length(1) + consumer(21, ONE))),
    "of one twice": record(21, block(), group(21, pending(ONE), length(1) + consumer(21, ONE, ONE))),
    "a consumer twice": record(21, block(), group(21, pending(), length(2) + consumer(21) * 2)),
    "a group twice": record(21, block(), length(2) + group(21, pending(), length(0))[1:] * 2),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_payloads(client: Connection, name: str) -> None:
    refused(client, BROKEN[name], 11)


def test_damaged_payloads(server: Instance, client: Connection, rng: random.Random) -> None:
    with server.configured(rdbcompression="no"):
        fill(client, rng)
        values = [full(15), full(19), full(21), *(client.call("DUMP", key)[:-10] for key in ("one", "many", "emptied"))]

    def use() -> None:
        client.call("XRANGE", "k", "-", "+")
        client.call("XREVRANGE", "k", "+", "-")
        last = client.call("XREVRANGE", "k", "+", "-", "COUNT", 1)
        if last:
            client.call("XDEL", "k", last[0][0])
        client.call("XADD", "k", "18446744073709551615-*", "f", "v")
        assert client.call("DEBUG", "RELOAD") == "OK"
        client.call("XTRIM", "k", "MAXLEN", 1)
        client.call("DEL", "k")

    damaged(client, rng, values, 11, use)


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_aof_base(tmp_path: Path, rng: random.Random, preamble: str) -> None:
    def change(c: Connection) -> None:
        for i in range(200):
            c.call("XADD", "many", "*", "f", i)
            c.call("XDEL", "others", f"{i}-1")
        c.call("XTRIM", "many", "MAXLEN", "~", 300)

    aof_base(tmp_path, preamble, lambda c: fill(c, rng), change, digest)


def test_a_large_stream_while_it_changes(tmp_path: Path) -> None:
    """Held by the snapshot, changed everywhere meanwhile: the file has what was when it began."""
    options = {"enable-debug-command": "yes", "rdbcompression": "no"}
    with Instance("cachefleet", directory=tmp_path, options=options) as server, server.connect() as c:
        c.pipeline([("XADD", "k", f"{i}-1", "f", "v" * 50, "n", i) for i in range(1, 50_001)])
        expected = c.call("DEBUG", "DIGEST-VALUE", "k")
        replies = c.pipeline([
            ("BGSAVE",), *(("XDEL", "k", f"{i}-1") for i in range(1, 50_000, 7)),
            *(("XADD", "k", "*", "g", i) for i in range(1000)), ("XTRIM", "k", "MAXLEN", 20_000), ("COPY", "k", "l"),
            ("DEL", "k"),
        ])  # fmt: skip
        assert not [reply for reply in replies if isinstance(reply, Error)]
        assert c.call("DEBUG", "DIGEST-VALUE", "l") != expected
        assert_eventually(lambda: server.info("persistence")["rdb_bgsave_in_progress"] == "0")
        server.restart(kill=True)
        assert server.call("KEYS", "*") == [b"k"]
        assert server.call("DEBUG", "DIGEST-VALUE", "k") == expected
