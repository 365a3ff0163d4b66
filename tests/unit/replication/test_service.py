"""What a client says of itself before it follows: kept as far as it makes a difference."""

from __future__ import annotations

import pytest

from cachefleet_server.config.config import Config
from cachefleet_server.engine import Engine
from cachefleet_server.log import Log
from cachefleet_server.persistence.rdb import Rdb
from cachefleet_server.replication.service import CAPABILITIES, Replication

pytestmark = pytest.mark.unit


def test_only_capabilities_that_are_known_are_kept() -> None:
    """Who repeats ever new ones takes no memory that nobody counts."""
    engine, config, log = Engine(), Config(), Log()
    replication = Replication(engine, config, log, Rdb(engine, config, log, lambda: None))
    replication.register()
    for i in range(100):
        assert engine.execute(b"REPLCONF", b"capa", b"%d" % i, b"CAPA", b"EOF") == "OK"
    (peer,) = replication._peers.values()
    assert peer.capabilities == {b"eof"} <= CAPABILITIES
