"""PUBLISH reaches who listens at replicas, in any direction, and leaves no trace where only data belong."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettest.capture import Reader
from fleettest.client import Connection
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.replicas import Start, assert_follows
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

LARGE = "m" * 1000  # longer than the note that stands for it
DIRECTIONS: list[tuple[Kind, Kind]] = [
    ("cachefleet", "cachefleet"), ("cachefleet", "valkey"), ("cachefleet", "redis"),
    ("valkey", "cachefleet"), ("redis", "cachefleet"),
]  # fmt: skip


def listen(server: Instance, *words: str) -> Connection:
    connection = server.connect()
    connection.call(*words)
    return connection


def written(server: Instance) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(Path(server.directory).glob("appendonlydir/*.incr.aof")))


@pytest.mark.parametrize(("kind", "of"), DIRECTIONS)
def test_who_listens_at_a_replica_hears_it(kind: Kind, of: Kind, start: Start) -> None:
    primary = start(of)
    replica = start(kind, of=primary)
    assert_follows(primary, replica)
    with (
        listen(replica, "SUBSCRIBE", "news") as channel, listen(replica, "PSUBSCRIBE", "n*") as pattern,
        listen(replica, "SSUBSCRIBE", "shard") as shard, primary.connect() as c,
    ):  # fmt: skip
        assert c.call("PUBLISH", "news", "one") == 0  # nobody here
        c.pipeline([("MULTI",), ("SET", "a", "1"), ("PUBLISH", "news", "two"), ("EXEC",)])
        c.pipeline([("MULTI",), ("PUBLISH", "news", "three"), ("EXEC",)])
        c.pipeline([("SELECT", 3), ("PUBLISH", "news", LARGE), ("SPUBLISH", "shard", "four")])
        for message in (b"one", b"two", b"three", LARGE.encode()):
            assert channel.read() == [b"message", b"news", message]
            assert pattern.read() == [b"pmessage", b"n*", b"news", message]
        assert shard.read() == [b"smessage", b"shard", b"four"]
    assert_follows(primary, replica)
    with replica.connect() as c:
        assert c.call("GET", "a") == b"1"


def test_a_chain_hears_it_and_a_replicas_own_stays_there(start: Start) -> None:
    primary = start()
    middle = start(of=primary)
    end = start(of=middle)
    assert_follows(middle, end)
    with listen(end, "SUBSCRIBE", "news") as last, listen(primary, "SUBSCRIBE", "news") as first:
        assert middle.call("PUBLISH", "news", "of the middle") == 0
        assert primary.call("PUBLISH", "news", "of the first") == 1
        assert first.read() == [b"message", b"news", b"of the first"]
        assert last.read() == [b"message", b"news", b"of the first"]


def test_without_replicas_nothing_is_kept_of_it(start: Start) -> None:
    primary = start(appendonly="yes")
    with primary.connect() as c:
        c.pipeline([("SET", "a", "1"), ("PUBLISH", "news", "short"), ("PUBLISH", "news", LARGE), ("SET", "b", "1")])
        assert c.call("WAITAOF", 1, 0, 0) == [1, 0]
    assert b"PUBLISH" not in written(primary)


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_large_ones_are_not_in_the_append_only_file(fsync: str, start: Start) -> None:
    """But their place is: whoever waits for the disk behind one has an answer, and small ones may be there."""
    primary = start(appendonly="yes", appendfsync=fsync)
    replica = start(of=primary)
    assert_follows(primary, replica)
    with primary.connect() as c:
        c.pipeline([("SET", "a", "1"), ("PUBLISH", "news", LARGE), ("PUBLISH", "news", "x"), ("SET", "b", "1"),
                    ("PUBLISH", "news", LARGE)])  # fmt: skip
        assert c.call("WAITAOF", 1, 0, 0) == [1, 0]
        assert c.call("PUBLISH", "news", LARGE) == 0
        assert c.call("WAITAOF", 1, 0, 0) == [1, 0]
    assert LARGE.encode() not in written(primary)
    primary.restart(kill=True)
    with primary.connect() as c:
        assert c.call("MGET", "a", "b") == [b"1", b"1"]


@pytest.mark.parametrize("killed", [True, False])
def test_a_primary_that_ends_behind_one_goes_on_where_it_was(killed: bool, start: Start) -> None:
    primary = start(appendonly="yes")
    replica = start(of=primary)
    assert_follows(primary, replica)
    for turn in range(3):
        with primary.connect() as c:
            c.pipeline([("SET", "turn", turn), *[("PUBLISH", "news", LARGE)] * 5])
        assert_follows(primary, replica)
        primary.restart(kill=killed)
        assert_follows(primary, replica)
        assert replica.call("GET", "turn") == str(turn).encode()
    assert primary.info("stats")["sync_full"] == "0", primary.log_text()


def test_readers_of_changes_see_none_of_it(start: Start) -> None:
    """Nor PINGs, and any position that they have been given stays one."""
    primary = start(appendonly="yes", cdc_retention_bytes="1gb")
    replica = start(of=primary, appendonly="yes", cdc_retention_bytes="1gb")
    assert_follows(primary, replica)
    reader, there = Reader(primary), Reader(replica)
    positions = []
    with primary.connect() as c:
        for i in range(20):
            c.pipeline([("PUBLISH", "news", LARGE), ("SET", f"k{i}", "v"), ("PUBLISH", "news", "x"),
                        ("PUBLISH", "news", LARGE)])  # fmt: skip
            positions.append((i, c.call("CDC", "READ", "$")[0]))
        offset = int(primary.info("replication")["master_repl_offset"])
        assert_eventually(lambda: int(primary.info("replication")["master_repl_offset"]) > offset)  # a PING
        keys = [f"k{i}".encode() for i in range(20)]
        assert [words[1] for _, words in reader.more()] == keys
        for i, position in positions:
            changes = c.call("CDC", "READ", position, "COUNT", 100)[1]
            assert [change[-1][1] for change in changes] == keys[i + 1 :]
    assert_follows(primary, replica)
    assert [words[1] for _, words in there.more()] == keys
