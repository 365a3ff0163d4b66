"""`Engine.check()` on engines that have been through a lot."""

from __future__ import annotations

import random

import pytest

from cachefleet_server.engine import Engine

pytestmark = pytest.mark.unit


def test_random_commands_leave_nothing_broken(rng: random.Random) -> None:
    engine = Engine(databases=4)
    engine.set_param("maxmemory_policy", 1 | 4)
    empty = engine.stats()["used_memory"]
    keys = [b"key:%d" % i for i in range(300)]
    for step in range(20_000):
        key, other = rng.choice(keys), rng.choice(keys)
        command = rng.choice(
            (
                (b"SET", key, b"v" * rng.choice((3, 40, 300, 9000))),
                (b"SET", key, b"%d" % step, b"PX", b"%d" % rng.randrange(1, 50)),
                (b"APPEND", key, b"x" * rng.randrange(50)),
                (b"DEL", key, other),
                (b"RENAME", key, other),
                (b"COPY", key, other, b"DB", b"%d" % rng.randrange(4), b"REPLACE"),
                (b"PERSIST", key),
                (b"GETEX", key, b"EX", b"100"),
                (b"GETDEL", key),
                (b"SWAPDB", b"0", b"1") if rng.random() < 0.1 else (b"GET", key),
                (b"FLUSHALL", b"ASYNC") if rng.random() < 0.002 else (b"EXISTS", key),
            )
        )
        engine.execute(*command, db=rng.randrange(4))
        if step == 10_000:
            engine.set_param("maxmemory", empty + 100_000)  # the data are several times that, but after a FLUSHALL
        if step % 1000 == 0:
            engine.cron()
            assert engine.check() == []
    assert engine.stats()["evicted_keys"] > 0
    assert engine.check() == []
    engine.close()
