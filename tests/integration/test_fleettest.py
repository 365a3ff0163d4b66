"""The harness against the real servers: it starts them, compares them, and finds differences."""

from pathlib import Path

import pytest

from fleettest.instance import Instance, Pool, StartError
from fleettest.programs import Kind
from fleettest.reference import Mismatch, Pair

pytestmark = pytest.mark.differential


def test_real_valkey_is_version_9_1(valkey: Instance) -> None:
    assert valkey.info("server")["valkey_version"].startswith("9.1.")
    assert valkey.connect(resp=3).call("HELLO")[b"proto"] == 3


def test_valkey_agrees_with_itself_but_not_with_redis_about_newer_commands(servers: Pool) -> None:
    valkey = servers.get("valkey")
    with Pair(valkey, valkey) as same:
        assert same.run("SET", "k", "1") == "OK"
        assert same.pipeline([("GET", "k"), ("LPUSH", "k", 1)])[0] == b"1"
        assert same.run("TIME")
    with Pair(servers.get("redis"), valkey) as pair, pytest.raises(Mismatch, match="DELIFEQ"):
        pair.run("DELIFEQ", "k", "1")


def test_restart_keeps_folder_and_port(tmp_path: Path) -> None:
    with Instance("valkey", directory=tmp_path, options={"appendonly": "yes"}) as server:
        port = server.port
        assert server.call("SET", "k", "v") == "OK"
        server.restart()
        assert server.port == port
        assert server.call("GET", "k") == b"v"


def test_a_refused_start_shows_the_log(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no-such-parameter"):
        Instance("valkey", directory=tmp_path, options={"no-such-parameter": "1"}).start()


def test_configured_restores(valkey: Instance) -> None:
    with valkey.configured(maxmemory_samples=7):
        assert valkey.call("CONFIG", "GET", "maxmemory-samples") == [b"maxmemory-samples", b"7"]
    assert valkey.call("CONFIG", "GET", "maxmemory-samples") == [b"maxmemory-samples", b"5"]


@pytest.mark.parametrize("kind", ["cachefleet", "valkey", "redis"])
def test_the_pool_tells_what_was_left_and_ends_that_server(kind: Kind) -> None:
    pool = Pool()
    try:
        server = pool.get(kind)
        with server.configured(hz=33):
            pass
        assert pool.changed() == []
        pool.get(kind).call("CONFIG", "SET", "hz", 33, "timeout", 9)
        assert sorted(pool.changed()) == [f"{kind}: hz b'10' -> b'33'", f"{kind}: timeout b'0' -> b'9'"]
        assert pool.changed() == [], "told once"
        assert pool.get(kind).call("CONFIG", "GET", "hz") == [b"hz", b"10"]
        pool.get(kind).call("CONFIG", "SET", "requirepass", "x")
        assert len(pool.changed()) == 1
    finally:
        pool.close()
