"""Eviction on a keyspace alone: what the pool of candidates remembers must never be taken for another key."""

from __future__ import annotations

import random

import pytest
from cachefleet_server.keyspace._testing import Keyspace

from cachefleet_server.engine import POLICIES

pytestmark = pytest.mark.unit

ALLKEYS_LRU, ALLKEYS_LFU, VOLATILE_TTL = (POLICIES[name] for name in ("allkeys-lru", "allkeys-lfu", "volatile-ttl"))


def test_the_smallest_limit_is_one_byte_and_none_is_no_limit() -> None:
    ks = Keyspace()
    for name in (b"a", b"b", b"c"):
        ks.set(0, name, b"v" * 200)
    assert ks.evict(0, ALLKEYS_LRU) == 0
    assert ks.evict(1, ALLKEYS_LRU) == 3
    assert not ks.rows(0)
    assert ks.close() == 0


@pytest.mark.parametrize("policy", [ALLKEYS_LRU, ALLKEYS_LFU, VOLATILE_TTL])
def test_a_candidate_whose_address_another_key_took(policy: int, rng: random.Random) -> None:
    """Keys of one size come and go, so that the allocator gives addresses again at once, to keys of the same chain too;
    some of them are candidates from an earlier round."""
    ks = Keyspace(databases=2, seed=rng.randrange(1 << 30))
    names = [b"key:%03d" % i for i in range(400)]
    limit = ks.used + 40_000
    for step in range(60_000):
        ks.now = 1_000_000 + step * 10
        db = rng.randrange(2)
        if rng.random() < 0.4:
            for name in rng.sample(names, 2):
                ks.delete(db, name)
        else:
            expiry = ks.now + rng.randrange(100_000, 10_000_000) if policy == VOLATILE_TTL or rng.random() < 0.2 else -1
            ks.set(db, rng.choice(names), b"v" * rng.choice((200, 201, 5000)), expire_ms=expiry)
        evicted = ks.evict(limit, policy)
        if step % 1000 == 0:
            ks.check()
    assert evicted > 1000
    assert ks.used <= limit
    ks.check()
    assert ks.close() == 0
