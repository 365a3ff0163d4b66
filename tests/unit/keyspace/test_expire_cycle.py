"""The active expiry: what is past its time goes by itself, once, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cachefleet_server._testing import advance
from cachefleet_server.engine import Engine
from fleettest.forms import work_until

pytestmark = pytest.mark.unit


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(databases=4)
    yield engine
    assert engine.check() == []
    engine.close()


@pytest.mark.parametrize("keys", [1, 3, 40, 700])
def test_each_key_expires_once(engine: Engine, keys: int) -> None:
    for i in range(keys):
        for db in (0, 3):
            engine.execute(b"SET", b"goes:%d" % i, b"v", b"PX", b"5", db=db)
            engine.execute(b"SET", b"stays:%d" % i, b"v", b"PX", b"1000000", db=db)
    advance(engine, 10)
    work_until(engine, lambda: engine.stats()["expired_keys"] == 2 * keys)
    for db in (0, 3):
        assert sorted(engine.execute(b"KEYS", b"*", db=db)) == sorted(b"stays:%d" % i for i in range(keys))
        assert engine.execute(b"DBSIZE", db=db) == keys
