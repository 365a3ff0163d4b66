"""What producers of streams sent (ds/stream_idmp.pxd), in an engine whose clock the test moves, against a model.

Copies share all of it until one is written to. The engine looks at every invariant; nothing is left in the end.
"""

from __future__ import annotations

import random

import pytest

from cachefleet_server._testing import advance, now_ms
from cachefleet_server.engine import Engine
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.unit

Sent = dict[bytes, dict[bytes, tuple[bytes, int]]]  # producer -> iid -> id and time, in order


class Model:
    def __init__(self, duration_ms: int = 100_000, most: int = 100) -> None:
        self.duration_ms = duration_ms
        self.most = most
        self.sent: Sent = {}

    def copy(self) -> Model:
        new = Model(self.duration_ms, self.most)
        new.sent = {pid: dict(iids) for pid, iids in self.sent.items()}
        return new

    def known(self, pid: bytes, iid: bytes, now: int) -> bytes | None:
        id, when = self.sent.get(pid, {}).get(iid, (b"", 0))
        return id if id and now - when < self.duration_ms else None

    def add(self, pid: bytes, iid: bytes, id: bytes, now: int) -> None:
        iids = self.sent.setdefault(pid, {})
        for old in [one for one, (_, when) in iids.items() if now - when >= self.duration_ms]:
            del iids[old]
        iids[iid] = (id, now)
        while len(iids) > self.most:
            del iids[next(iter(iids))]

    def counts(self, now: int) -> tuple[int, int]:
        alive = [sum(now - when < self.duration_ms for _, when in iids.values()) for iids in self.sent.values()]
        return sum(n > 0 for n in alive), sum(alive)


def _counts(engine: Engine, key: bytes) -> tuple[int, int]:
    info = engine.execute(b"XINFO", b"STREAM", key)
    pairs = dict(zip(info[::2], info[1::2], strict=True))
    return pairs.get(b"pids-tracked", 0), pairs.get(b"iids-tracked", 0)


def _work(engine: Engine, rng: random.Random) -> None:
    models = {b"k": Model()}
    engine.execute(b"XADD", b"k", b"*", b"f", b"v")
    for _ in range(4000):
        key = rng.choice(sorted(models))
        model = models[key]
        action = rng.random()
        if action < 0.03:
            other = b"k%d" % rng.randrange(3)
            if other != key:
                assert engine.execute(b"COPY", key, other, b"REPLACE") == 1
                models[other] = model.copy()
        elif action < 0.05:
            payload = engine.execute(b"DUMP", key)
            engine.execute(b"RESTORE", key, b"0", payload, b"REPLACE")
        elif action < 0.06:
            duration, most = rng.choice([(100, 100), (30, 3), (5, 1), (86_400, 40)])
            engine.execute(b"XCFGSET", key, b"IDMP-DURATION", b"%d" % duration, b"IDMP-MAXSIZE", b"%d" % most)
            if (duration * 1000, most) != (model.duration_ms, model.most):
                models[key] = Model(duration * 1000, most)
        elif action < 0.2:
            advance(engine, rng.choice([1, 100, 2000, 20_000]))
        else:
            pid, iid = b"p%d" % rng.randrange(rng.choice([2, 40])), b"%d" % rng.randrange(rng.choice([3, 150]))
            known = model.known(pid, iid, now_ms(engine))
            id = engine.execute(b"XADD", key, b"IDMP", pid, iid, b"MAXLEN", b"5", b"*", b"f", iid)
            assert id == (known or id)
            if known is None:
                model.add(pid, iid, id, now_ms(engine))
        if rng.random() < 0.02:
            assert engine.check() == []
            assert _counts(engine, key) == models[key].counts(now_ms(engine))
    for key in models:
        engine.execute(b"DEL", key)
    assert engine.check() == []


def test_random_against_a_model(rng: random.Random) -> None:
    engine = Engine()
    used = engine.stats()["used_memory"]
    for _ in range(3):
        _work(engine, rng)

    def left() -> int:
        """Large values are freed by a helper thread."""
        engine.tick()
        return engine.stats()["used_memory"] - used

    assert_eventually(lambda: left() < 32_768)


def test_producers_that_send_no_more_go(rng: random.Random) -> None:
    """Each that comes looks at some; so those of which all is over go, however many came once."""
    engine = Engine()
    for n in range(3000):
        engine.execute(b"XADD", b"k", b"IDMP", b"once%d" % n, b"1", b"MAXLEN", b"1", b"*", b"f", b"v")
    full = engine.stats()["used_memory"]
    advance(engine, 101_000)
    assert _counts(engine, b"k") == (0, 0)
    for n in range(3000):
        engine.execute(b"XADD", b"k", b"IDMP", b"again", b"%d" % n, b"MAXLEN", b"1", b"*", b"f", b"v")
    assert engine.check() == []
    assert _counts(engine, b"k") == (1, 100)
    assert engine.stats()["used_memory"] < full - 3000 * 200
