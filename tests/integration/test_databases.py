"""Databases that nobody uses cost nothing, however many are configured; a used one is as any."""

from __future__ import annotations

import pytest

from fleettest.client import Error
from fleettest.instance import Instance
from fleettest.process import cpu_seconds
from fleettest.programs import Kind

pytestmark = pytest.mark.server

INT_MAX = (1 << 31) - 1


def _used(kind: Kind, databases: int) -> int:
    with Instance(kind, options={"save": "", "databases": databases}) as server:
        return int(server.info("memory")["used_memory_startup"])


def test_an_unused_database_takes_no_memory() -> None:
    more = _used("cachefleet", 1_000_000) - _used("cachefleet", 16)
    assert abs(more) < 4096, "bytes for 999 984 databases"
    assert more < _used("valkey", 1_000_000) - _used("valkey", 16)


def test_as_many_as_there_can_be() -> None:
    """What goes over all databases goes over those in use: the start, INFO, expiry, FLUSHALL, snapshots."""
    with Instance("cachefleet", options={"save": "", "databases": INT_MAX, "enable-debug-command": "yes"}) as server:
        before = cpu_seconds(server)
        with server.connect() as client:
            numbers = [INT_MAX - 1, 3, 1_000_000, 0, 7]
            for n in numbers:
                assert client.call("SELECT", n) == "OK"
                client.call("SET", f"k{n}", n, "PX", 3_600_000)
            assert client.call("SELECT", INT_MAX) == Error("ERR DB index is out of range")
            assert list(server.info("keyspace")) == [f"db{n}" for n in sorted(numbers)]
            client.call("SWAPDB", 3, 4_000_000)
            client.call("MOVE", "k7", 12)
            client.call("DEBUG", "RELOAD")
            client.call("SELECT", 4_000_000)
            assert client.call("GET", "k3") == b"3"
            client.call("FLUSHDB")
            client.call("SELECT", 12)
            assert client.call("GET", "k7") == b"7"
            client.call("FLUSHALL")
            assert not server.info("keyspace")
        assert cpu_seconds(server) - before < 2
