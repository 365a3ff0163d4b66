"""Small collections and lists beside the real server: what DUMP writes of them after the same changes, byte by byte."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator

import pytest

from cachefleet_server.ds._testing_pack import HASH, SET, ZSET, IntSet, Pack, pack_of_listpack
from cachefleet_server.ds._testing_sequence import Heap, Sequence
from fleettest.client import Connection
from fleettest.instance import Instance
from fleettest.rdbfile import nodes_of_list

pytestmark = pytest.mark.differential

RDB_INTSET, RDB_HASH, RDB_ZSET, RDB_LIST, RDB_SET = 11, 16, 17, 18, 20
TAIL = 10  # bytes of version and checksum
# Lengths of strings at which codes and back-lengths change; Redis 7.0 differs from Valkey at 16 378.
LENGTHS = (0, 1, 63, 64, 65, 125, 126, 127, 4093, 4094, 4095, 4096, 16377, 16378, 16379, 16380)
LIMITS = {"hash-max-listpack-value": 100_000, "set-max-listpack-value": 100_000, "zset-max-listpack-value": 100_000}
LIST_FILL = -5  # nodes of 64 KB: all LENGTHS fit
COUNTS = {"hash-max-listpack-entries": 1000, "set-max-listpack-entries": 1000, "zset-max-listpack-entries": 1000}


@pytest.fixture
def peer(valkey: Instance) -> Iterator[Connection]:
    fill = {"list-max-listpack-size": LIST_FILL}
    with valkey.configured(rdbcompression="no", **LIMITS, **COUNTS, **fill), valkey.connect() as connection:
        yield connection


def dumped(peer: Connection, key: str) -> tuple[int, bytes]:
    """(type, the one string) of a dump."""
    data: bytes = peer.call("DUMP", key)
    kind, first = data[0], data[1]
    if first >> 6 == 0:
        start, n = 2, first
    elif first >> 6 == 1:
        start, n = 3, (first & 63) << 8 | data[2]
    else:
        start, n = 6, int.from_bytes(data[2:6], "big")
    assert start + n + TAIL == len(data)
    return kind, data[start : start + n]


def text(rng: random.Random, number: int) -> bytes:
    """The same text for the same number, whatever the seed."""
    kind = number % 4
    if kind == 0:
        return b"%d" % ((-3) ** (number % 41) + number)
    if kind == 1:
        return b"x" * LENGTHS[number // 4 % len(LENGTHS)] + b"%d" % (number // 256)
    return b"name%d" % number


def score(rng: random.Random) -> float:
    kind = rng.randrange(4)
    if kind == 0:
        return float(rng.randrange(-300, 300))
    if kind == 1:
        return rng.choice([-0.0, 0.5, math.inf, -math.inf, 2.0**53, 5e18, -5e18, 2.0**62, 2.0**63, 1e300, 5e-324])
    return rng.uniform(-100, 100) if kind == 2 else float(rng.randrange(-(2**62), 2**62))


def test_hashes(peer: Connection, rng: random.Random) -> None:
    for keys in (5, 30, 120):
        peer.call("DEL", "h")
        pack = Pack(HASH)
        for _ in range(keys * 4):
            field, value = text(rng, rng.randrange(keys)), text(rng, rng.randrange(200))
            if rng.random() < 0.7:
                peer.call("HSET", "h", field, value)
                pack.put(field, value)
            else:
                assert peer.call("HDEL", "h", field) == pack.remove(field)
            if len(pack):
                lp = pack.listpack()
                assert dumped(peer, "h") == (RDB_HASH, lp)
                again = pack_of_listpack(lp, HASH)
                assert isinstance(again, Pack)
                assert again.data == pack.data


def test_sets(peer: Connection, rng: random.Random) -> None:
    for keys in (5, 30, 120):
        peer.call("DEL", "s")
        peer.call("SADD", "s", "no integer")
        pack = Pack(SET)
        pack.put(b"no integer", None)
        for _ in range(keys * 4):
            member = text(rng, rng.randrange(keys))
            if rng.random() < 0.7:
                peer.call("SADD", "s", member)
                pack.put(member, None)
            else:
                assert peer.call("SREM", "s", member) == pack.remove(member)
            assert dumped(peer, "s") == (RDB_SET, pack.listpack())


def test_sorted_sets(peer: Connection, rng: random.Random) -> None:
    for keys in (5, 30, 120):
        peer.call("DEL", "z")
        pack = Pack(ZSET)
        for _ in range(keys * 4):
            member, value = text(rng, rng.randrange(keys)), score(rng)
            if rng.random() < 0.7:
                peer.call("ZADD", "z", repr(value), member)
                pack.score(member, value)
            else:
                assert peer.call("ZREM", "z", member) == pack.remove(member)
            if len(pack):
                lp = pack.listpack()
                assert dumped(peer, "z") == (RDB_ZSET, lp)
                again = pack_of_listpack(lp, ZSET)
                assert isinstance(again, Pack)
                assert again.data == pack.data
                found = pack.find(member)
                assert peer.call("ZRANK", "z", member) == (found and found[0])


def test_sets_of_integers(peer: Connection, rng: random.Random) -> None:
    for bits in (8, 16, 31, 32, 63):
        peer.call("DEL", "i")
        ours = IntSet()
        for _ in range(200):
            v = rng.randrange(-(2**bits), 2**bits) if rng.random() < 0.5 else rng.randrange(-20, 20)
            if rng.random() < 0.7:
                assert peer.call("SADD", "i", v) == ours.add(v)
            elif len(ours.items()) > 1:
                assert peer.call("SREM", "i", v) == ours.remove(v)
            else:
                continue
            assert dumped(peer, "i") == (RDB_INTSET, ours.data)


def entries(nodes: Iterable[tuple[bool, bytes]]) -> bytes:
    """Of all nodes of a list: where one ends and the next begins is a server's own choice."""
    return b"".join(data if plain else data[6:-1] for plain, data in nodes)


def test_lists(peer: Connection, rng: random.Random) -> None:
    peer.call("DEL", "l")
    ours = Sequence(Heap(), LIST_FILL)
    for _ in range(500):
        front = rng.random() < 0.4
        if len(ours) < 2 or rng.random() < 0.8:
            element = text(rng, rng.randrange(400))
            peer.call("LPUSH" if front else "RPUSH", "l", element)
            ours.push(element, front)
        else:
            assert peer.call("LPOP" if front else "RPOP", "l") == ours.pop(front)
        kind, *value = peer.call("DUMP", "l")[:-TAIL]
        assert kind == RDB_LIST
        assert entries(nodes_of_list(bytes(value))) == entries(node[:2] for node in ours.save())
