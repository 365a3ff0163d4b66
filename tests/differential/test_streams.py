"""Streams beside the real Valkey: each reply, at several limits of blocks, which decide what trims remove."""

from __future__ import annotations

import random

import pytest

from fleettest.grammar_streams import STREAM_READS, STREAM_TIMES, STREAM_WRITES, stream_key
from fleettest.instance import Pool
from fleettest.reference import Pair
from fleettest.rounds import Kind, compare, moves

pytestmark = [pytest.mark.server, pytest.mark.differential]

KEYS = [b"k%d" % i for i in range(24)]
KINDS: list[Kind] = [(0.65, STREAM_WRITES), (0.05, moves(stream_key)), (0.3, [*STREAM_READS, *STREAM_TIMES])]


def known(pair: Pair, key: bytes) -> None:
    pair.run("TYPE", key)
    pair.run("XINFO", "STREAM", key, "FULL", "COUNT", 0)


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("limit", ["100", "1", "3", "0"])
def test_replies(fresh: Pool, rng: random.Random, resp: int, limit: str) -> None:
    compare(fresh, rng, resp, KINDS, KEYS, options={"stream-node-max-entries": limit}, more=known)
