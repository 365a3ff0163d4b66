"""DEBUG: refused by default; signatures equal to Valkey's; reload keeps the data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from fleettest.client import Error
from fleettest.instance import Instance

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[redis.Redis, redis.Redis]]:
    with (
        Instance("cachefleet", options={"enable-debug-command": "yes"}) as ours,
        Instance("valkey", options={"enable-debug-command": "yes"}) as theirs,
    ):
        yield redis.Redis(port=ours.port), redis.Redis(port=theirs.port)


def fill(client: redis.Redis) -> None:
    client.flushall()
    client.set("a", "1")
    client.set("b", b"\x00\xff" * 40)
    client.set("c", "x", px=1_000_000)
    for size in (0, 53, 54, 55, 56, 63, 64, 65, 118, 119, 120, 128):  # where SHA-1's blocks end
        client.set(f"size:{size}", "y" * size)
    client.execute_command("SELECT", 3)
    client.set("d", "x" * 5000)
    client.execute_command("SELECT", 0)


def test_signatures(pair: tuple[redis.Redis, redis.Redis]) -> None:
    digests = []
    for client in pair:
        fill(client)
        values = client.execute_command("DEBUG", "DIGEST-VALUE", "a", "b", "c", "nosuch")
        digests.append((client.execute_command("DEBUG", "DIGEST"), values))
    assert digests[0] == digests[1]
    assert set(digests[0][0]) != {ord("0")}


def test_reload_keeps_the_data(pair: tuple[redis.Redis, redis.Redis]) -> None:
    client = pair[0]
    fill(client)
    before = client.execute_command("DEBUG", "DIGEST")
    assert client.execute_command("DEBUG", "RELOAD") in (b"OK", True)
    assert client.execute_command("DEBUG", "DIGEST") == before


@pytest.mark.parametrize("content", [None, b"", b"NORDB0010", b"REDIS9999"])
def test_reload_without_a_good_file_drops_nothing(tmp_path: Path, content: bytes | None) -> None:
    with Instance(options={"enable-debug-command": "yes"}, directory=tmp_path) as server:
        server.call("SET", "k", "v")
        if content is not None:
            (tmp_path / "dump.rdb").write_bytes(content)
        error = Error("ERR Error trying to load the RDB dump, check server logs.")
        assert server.call("DEBUG", "RELOAD", "NOSAVE") == error
        assert server.call("GET", "k") == b"v"


def test_populate(pair: tuple[redis.Redis, redis.Redis]) -> None:
    sizes = []
    for client in pair:
        client.flushall()
        client.execute_command("DEBUG", "POPULATE", 20, "p", 10)
        sizes.append((client.dbsize(), client.get("p:7"), client.get("p:19")))
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("mode", ["WRITE", "ALL"])
def test_a_clients_pause_holds_no_work_of_the_servers_own(pair: tuple[redis.Redis, redis.Redis], mode: str) -> None:
    """What is asked for before the pause, in one transaction with it, is done."""
    sizes = []
    for client in pair:
        client.flushall()
        transaction = client.pipeline(transaction=True)
        transaction.execute_command("CLIENT", "PAUSE", 3_600_000, mode)
        transaction.execute_command("DEBUG", "POPULATE", 20, "p", 10)
        transaction.execute_command("DBSIZE")
        transaction.execute_command("CLIENT", "UNPAUSE")
        sizes.append(transaction.execute()[1:3])
    assert sizes == [[b"OK", 20]] * 2


def test_work_of_the_servers_own_is_not_counted() -> None:
    """Neither in statistics nor for MONITOR."""
    with Instance("cachefleet", options={"enable-debug-command": "yes"}) as server, server.connect() as monitor:
        assert monitor.call("MONITOR") == "OK"
        for words in (("POPULATE", "20", "p"), ("DIGEST",), ("OBJECT", "p:1")):
            server.call("DEBUG", *words)
        server.call("PING", "the end")
        lines = [monitor.read()]
        while "the end" not in lines[-1]:
            lines.append(monitor.read())
        assert len(lines) == 1
        assert not {"cmdstat_set", "cmdstat_get", "cmdstat_dump", "cmdstat_keys"} & set(server.info("commandstats"))


def test_refused_by_default() -> None:
    with Instance(kind="cachefleet") as server:
        client = redis.Redis(port=server.port)
        with pytest.raises(redis.ResponseError, match="DEBUG command not allowed"):
            client.execute_command("DEBUG", "SLEEP", "0")


@pytest.mark.parametrize(
    "words", [("NOSUCH",), ("SLEEP",), ("SLEEP", "x", "y"), ("ERROR", "OOPS mine"), ("OBJECT", "nokey")]
)
def test_errors(pair: tuple[redis.Redis, redis.Redis], words: tuple[str, ...]) -> None:
    texts = []
    for client in pair:
        with pytest.raises(redis.ResponseError) as info:
            client.execute_command("DEBUG", *words)
        texts.append(str(info.value))
    assert texts[0] == texts[1]
