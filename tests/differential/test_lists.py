"""Lists beside the real Valkey: each reply, and each name that OBJECT ENCODING gives, at several limits."""

from __future__ import annotations

import random

import pytest

from fleettest.grammar import LIST_READS, LIST_WRITES, Draw, words
from fleettest.instance import Pool
from fleettest.reference import Pair
from fleettest.rounds import Kind, compare, moves

pytestmark = [pytest.mark.server, pytest.mark.differential]

KEYS = [b"k%d" % i for i in range(16)]
D = Draw
SETTLING = [  # what makes lists long, and short again
    words(b"RPUSH", D.list_key, lambda d: [d.element() for _ in range(d.rng.randrange(1, 60))]),
    words(b"LPUSH", D.list_key, lambda d: [b"y" * d.rng.randrange(1, 600) for _ in range(d.rng.randrange(1, 20))]),
    words(b"LPOP", D.list_key, lambda d: b"%d" % d.rng.randrange(1, 50)),
    words(b"RPOP", D.list_key, lambda d: b"%d" % d.rng.randrange(1, 50)),
    *moves(D.list_key),
]


KINDS: list[Kind] = [(0.5, LIST_WRITES), (0.2, SETTLING), (0.3, LIST_READS)]


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("limit", ["-2", "-1", "4", "1", "20"])
def test_forms(fresh: Pool, rng: random.Random, resp: int, limit: str) -> None:
    options = {"list-max-listpack-size": limit}
    compare(fresh, rng, resp, KINDS, KEYS, options=options, named=KEYS[8:14])


@pytest.mark.parametrize("limit", ["4", "1", "-1"])
def test_an_inserted_element_joins_the_same_node(fresh: Pool, limit: str) -> None:
    """Of full nodes and their neighbours, at each place. DUMP shows the nodes; its last 10 bytes are the version and
    the checksum."""
    size = b"x" * 900 if limit == "-1" else b""
    cases = [
        (length, front, pivot, side)
        for length in range(2, 12)
        for front in (0, length // 2, length)
        for pivot in range(length)
        for side in (b"BEFORE", b"AFTER")
    ]
    options = {"list-max-listpack-size": limit}
    with Pair(fresh.get("cachefleet", **options), fresh.get("valkey", **options)) as pair:
        for at, (length, front, pivot, side) in enumerate(cases):
            key = b"k%d" % at
            pushes = [(b"RPUSH" if i < front else b"LPUSH", key, b"%d" % i + size) for i in range(length)]
            pair.pipeline([*pushes, (b"LINSERT", key, side, b"%d" % pivot + size, b"new")])
            ours, theirs = (client.call("DUMP", key)[:-10] for client in (pair.ours, pair.theirs))
            assert ours == theirs, (length, front, pivot, side)


def test_a_listpack_that_outgrows_its_limit_within_one_command(fresh: Pool) -> None:
    """A difference that is known: Valkey's is one node then, larger than the limit, and what comes next another one.
    Ours is split at once, so less has to go until it is a listpack again."""
    options = {"list-max-listpack-size": "-1"}
    sizes = (100, 300, 159, 372, 416, 522, 132, 493, 596, 401, 493, 72)
    with Pair(fresh.get("cachefleet", **options), fresh.get("valkey", **options)) as pair:
        pushed = (b"LPUSH", b"k", *(b"y" * size for size in sizes))
        pair.pipeline([pushed, (b"RPUSH", b"k", b"100"), (b"LPOP", b"k", b"10")])
        assert pair.ours.call("OBJECT", "ENCODING", "k") == b"listpack"
        assert pair.theirs.call("OBJECT", "ENCODING", "k") == b"quicklist"
