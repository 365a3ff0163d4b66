"""Large values are sent from where they lie: what happens to them while a reply waits must not be seen in it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from fleettest.client import encode
from fleettest.instance import Instance
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

MB = 1 << 20
REPLIES = 24  # of 1 MB: more than the kernel's socket buffers take


@pytest.fixture
def server() -> Iterator[Instance]:
    with Instance("cachefleet", options={"save": ""}) as server:
        yield server


def used(server: Instance) -> int:
    return int(server.info("memory")["used_memory"])


def gets(server: Instance) -> int:
    """How many GETs were executed."""
    stats = server.info("commandstats").get("cmdstat_get", "calls=0,")
    return int(stats.split("calls=")[1].split(",")[0])


def pending(server: Instance) -> int:
    """Bytes of replies that wait, over all clients."""
    clients = server.call("CLIENT", "LIST").decode().splitlines()
    return sum(int(field[5:]) for line in clients for field in line.split() if field.startswith("omem="))


CHANGES = [
    (("SET", "big", "y" * MB),),
    (("SET", "big", "1"),),
    (("APPEND", "big", "more"),),
    (("SETRANGE", "big", "500", "part"),),
    (("DEL", "big"),),
    (("UNLINK", "big"),),
    (("RENAME", "big", "other"), ("SET", "other", "y" * MB)),
    (("PEXPIRE", "big", "1"),),
    (("FLUSHALL", "SYNC"),),
    (("FLUSHALL", "ASYNC"),),
    (("CONFIG", "SET", "maxmemory", "1mb", "maxmemory-policy", "allkeys-lru"), ("SET", "a", "b")),
    (("BGSAVE",), ("SETRANGE", "big", "0", "y"), ("DEL", "big")),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change[0][0] + "-" + str(change[0][-1])[:8])
def test_a_waiting_reply_keeps_its_bytes(server: Instance, change: tuple[tuple[str, ...], ...]) -> None:
    value = random.Random(1).randbytes(MB)
    for i in range(100):  # a lazy flush is then the helper thread's work
        server.call("SET", f"k{i}", "v")
    server.call("SET", "big", value)
    with server.connect(timeout_s=30) as slow:
        slow.send(encode("GET", "big") * REPLIES)
        assert_eventually(lambda: gets(server) == REPLIES)
        assert pending(server) > MB
        for command in change:
            server.call(*command)
        assert_eventually(lambda: server.info("persistence")["rdb_bgsave_in_progress"] == "0")
        assert [slow.read() == value for _ in range(REPLIES)] == [True] * REPLIES


def test_changes_in_the_same_pipeline(server: Instance) -> None:
    value = "x" * MB
    with server.connect(timeout_s=30) as client:
        for command in ("APPEND big z", "SETRANGE big 0 z", f"SET big {'y' * MB}", "DEL big"):
            client.call("SET", "big", value)
            before, _, after = client.pipeline([("GET", "big"), command.split(), ("GET", "big")])
            assert before == value.encode()
            assert after != before
        client.call("SET", "big", value)
        commands = (("SET", "big", "y" * MB, "GET"), ("GETSET", "big", value), ("GETDEL", "big"), ("EXISTS", "big"))
        assert client.pipeline(commands) == [value.encode(), b"y" * MB, value.encode(), 0]


def test_parts_and_many(server: Instance, rng: random.Random) -> None:
    value = rng.randbytes(100_000)
    with server.connect() as client:
        client.call("SET", "big", value)
        for _ in range(50):
            start, end = sorted(rng.randrange(100_000) for _ in range(2))
            assert client.call("GETRANGE", "big", start, end) == value[start : end + 1]
        assert client.call("MGET", "big", "none", "big") == [value, None, value]
        transaction = [("MULTI",), ("GET", "big"), ("GETEX", "big", "PERSIST"), ("EXEC",)]
        assert client.pipeline(transaction)[-1] == [value, value]


def test_waiting_replies_cost_no_copies_and_leave_nothing(server: Instance) -> None:
    server.call("SET", "big", "x" * MB)
    before = server.settled_memory()
    slow = [server.connect() for _ in range(8)]
    for connection in slow:
        connection.send(encode("GET", "big") * REPLIES)
    assert_eventually(lambda: pending(server) > 8 * MB)
    assert used(server) - before < MB
    server.call("DEL", "big")
    assert before - used(server) < MB // 2, "the replies still hold it"
    with server.connect() as admin:  # connections that ended just now may still be there
        assert_eventually(lambda: b"connected_clients:9\r\n" in admin.call("INFO", "clients"))
        assert admin.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") == 8
    assert_eventually(lambda: before - used(server) > MB // 2)
    for connection in slow:
        connection.close()
