"""Where lists lie: in the entry, in a sequence, shared with copies, snapshots and replies; and what that costs."""

from __future__ import annotations

import pytest

from cachefleet_server.engine import Engine
from fleettest.client import encode, parse
from fleettest.forms import KEY_SIZES, expire_all, grow_and_shrink, move_about, two_keys, used
from fleettest.peers import Peer

pytestmark = pytest.mark.unit


def whole(engine: Engine, key: bytes) -> list[bytes]:
    found = engine.execute(b"LRANGE", key, b"0", b"-1")
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("size", KEY_SIZES)
def test_keys_of_all_lengths(engine: Engine, size: int) -> None:
    """A list in its entry survives a longer and a shorter key, an expiry that comes and goes, and growing out of it."""
    key, other = two_keys(size)
    for count in (1, 10, 100, 900):
        elements = [b"%d" % i for i in range(count)]
        engine.execute(b"DEL", key, other)
        engine.execute(b"RPUSH", key, *elements)
        move_about(engine, key, other)
        assert whole(engine, key) == whole(engine, other) == elements
        engine.execute(b"LPUSH", other, b"first")
        engine.execute(b"LPOP", key)
        assert whole(engine, other) == [b"first", *elements]
        assert whole(engine, key) == elements[1:]


@pytest.mark.parametrize("size", [3, 60, 5000])
def test_growing_and_shrinking_gives_memory_back(engine: Engine, size: int) -> None:
    grow_and_shrink(engine, 500, lambda i: (b"RPUSH", b"k", b"v" * size), lambda i: (b"LPOP", b"k"))


def test_a_small_list_costs_its_bytes(engine: Engine) -> None:
    before = used(engine)
    for i in range(1000):
        engine.execute(b"RPUSH", b"key:%03d" % i, *[b"0123456789"] * 10)
    assert used(engine) - before < 1000 * (8 + 7 + 7 + 10 * 12 + 80)


def test_a_copy_shares_until_it_changes(engine: Engine) -> None:
    elements = [b"element:%06d" % i for i in range(100_000)]
    engine.execute(b"RPUSH", b"k", *elements)
    before = used(engine)
    assert engine.execute(b"COPY", b"k", b"copy") == 1
    assert used(engine) - before < 1000
    engine.execute(b"LSET", b"copy", b"50000", b"other")
    engine.execute(b"LPUSH", b"k", b"first")
    engine.execute(b"RPOP", b"copy", b"10")
    assert used(engine) - before < 100_000
    assert whole(engine, b"k") == [b"first", *elements]
    assert whole(engine, b"copy") == [*elements[:50_000], b"other", *elements[50_001:-10]]
    engine.execute(b"DEL", b"k")
    assert whole(engine, b"copy")[0] == elements[0]


def test_replies_outlive_what_they_show(engine: Engine) -> None:
    """Long elements are sent from where they lie."""
    elements = [bytes([65 + i]) * 100_000 for i in range(20)]
    engine.execute(b"RPUSH", b"k", *elements)
    peer = Peer(engine)
    before = used(engine)
    peer.socket.sendall(encode("LRANGE", "k", 0, -1) + encode("LSET", "k", 1, b"z" * 100_000) + encode("LPOP", "k"))
    for _ in range(10):
        engine.tick()
    assert engine.execute(b"LLEN", b"k") == 19
    assert used(engine) - before < 1_000_000  # of two million bytes
    engine.execute(b"DEL", b"k")
    engine.execute(b"RPUSH", b"k", *[b"!" * 100_000] * 30)
    got = b""
    while got.count(b"\r\n") < 44:
        got += peer.read()
    replies, at = [], 0
    while at < len(got):
        value, at = parse(got, at)
        replies.append(value)
    assert replies == [elements, "OK", elements[0]]
    peer.socket.close()


def test_expiry_frees_lists_of_both_forms(engine: Engine) -> None:
    before = used(engine)
    for i in range(100):
        engine.execute(b"RPUSH", b"k%d" % i, *[b"v" * 30] * (5 if i % 2 else 5000))
    expire_all(engine, before)
