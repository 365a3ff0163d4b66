"""Waiting clients: deadlines fire in order and exactly once, whatever is woken or gone in between."""

from __future__ import annotations

import random

import pytest
from cachefleet_server.keyspace._testing import Keyspace

pytestmark = pytest.mark.unit


def test_a_wait_without_deadline_lasts_until_woken() -> None:
    ks = Keyspace()
    ks.block(0, 0)
    ks.now = 10**15
    ks.timeouts()
    assert ks.blocked(0) is None and ks.blocked_count() == 1
    ks.unblock(0, False)
    assert ks.blocked(0) == (1, True)  # woken, and its input goes on
    ks.unblock(0, False)  # once more does nothing
    assert ks.blocked_count() == 0
    assert ks.close() == 0


def test_a_client_that_leaves_is_not_replied_to() -> None:
    ks = Keyspace()
    gone = ks.client()
    ks.block(gone, 50)
    ks.leave(gone)
    ks.now = 100
    ks.timeouts()
    assert ks.blocked_count() == 0
    assert ks.close() == 0


def test_deadlines_against_a_model(rng: random.Random) -> None:
    ks = Keyspace()
    clients = [ks.client() for _ in range(60)]
    deadline: dict[int, int] = {}  # blocked clients
    for _ in range(3000):
        client = rng.choice(clients)
        action = rng.random()
        if action < 0.6 and client not in deadline:
            deadline[client] = ks.now + rng.choice([1, 2, 5, 40, 300]) if rng.random() < 0.9 else 0
            ks.block(client, deadline[client])
        elif action < 0.75 and client in deadline:
            timed_out = rng.random() < 0.3
            ks.unblock(client, timed_out)
            del deadline[client]
            assert ks.blocked(client) == (2 if timed_out else 1, True)
        else:
            ks.now += rng.randrange(10)
            ks.timeouts()
            for due in [c for c, at in deadline.items() if at and at <= ks.now]:
                del deadline[due]
                assert ks.blocked(due) == (2, True)
        ks.check()
        assert ks.blocked_count() == len(deadline)
        assert all(ks.blocked(c) is None for c in deadline)
    assert ks.close() == 0
