"""A replica of ours and Valkey's, of the same primary: what they refuse, show and say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettest.client import Connection
from fleettest.instance import Instance
from fleettest.replicas import assert_follows
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

Replicas = tuple[Instance, Instance]


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    options = {"repl-diskless-sync-delay": 0}
    with Instance("valkey", directory=tmp_path_factory.mktemp("primary"), options=options) as server:
        with server.connect() as connection:
            connection.pipeline([("SET", "s", "1"), ("RPUSH", "l", "a"), ("SET", "ttl", "v", "EX", "1000")])
        yield server


@pytest.fixture
def replicas(primary: Instance, tmp_path: Path) -> Iterator[Replicas]:
    options = {"replicaof": primary.address, "enable-debug-command": "yes"}
    with (
        Instance(directory=tmp_path / "ours", options=options) as ours,
        Instance("valkey", directory=tmp_path / "theirs", options=options) as theirs,
    ):
        for replica in (ours, theirs):
            assert_follows(primary, replica)
        yield ours, theirs


@pytest.fixture
def both(replicas: Replicas) -> Iterator[tuple[Connection, Connection]]:
    ours, theirs = replicas
    with ours.connect() as one, theirs.connect() as other:
        yield one, other


WRITES = [
    ("SET", "s", "2"), ("GETEX", "s"), ("GETDEL", "s"), ("DEL", "none"), ("EXPIRE", "s", 10), ("LPOP", "l"),
    ("BLPOP", "l", 1), ("BLMPOP", 1, 1, "l", "LEFT"), ("HSET", "h", "f", "v"), ("FLUSHALL",), ("SWAPDB", 0, 1),
    ("SORT", "l", "ALPHA", "STORE", "d"), ("RESTORE", "x", 0, "x"), ("COPY", "s", "t"), ("XADD", "x", "*", "a", "b"),
    ("PFADD", "p", "a"), ("SETRANGE", "s", 0, ""), ("GEOADD", "g", 0, 0, "a"), ("MOVE", "s", 1), ("INCR", "s"),
]  # fmt: skip
READS = [
    ("GET", "s"), ("PING",), ("PFCOUNT", "p"), ("SORT_RO", "l", "ALPHA"), ("GETRANGE", "s", 0, -1), ("EXISTS", "s"),
    ("PUBLISH", "c", "m"), ("SPUBLISH", "c", "m"), ("SELECT", 1), ("GET", "s"), ("SELECT", 0),
    ("XREAD", "STREAMS", "x", 0), ("TYPE", "l"), ("OBJECT", "ENCODING", "l"), ("ECHO", "e"), ("TTL", "s"),
    ("DBSIZE",),
]  # fmt: skip
TRANSACTIONS = [
    ("MULTI",), ("GET", "s"), ("EXEC",), ("MULTI",), ("SET", "s", "2"), ("EXEC",), ("MULTI",), ("DISCARD",),
    ("WATCH", "s"), ("MULTI",), ("PING",), ("EXEC",),
]  # fmt: skip
REPLICATION = [
    ("WAIT", 0, 0), ("WAIT", 1, 1), ("WAITAOF", 0, 0, 0), ("REPLICAOF", "h", "x"), ("REPLICAOF", "h", "-1"),
    ("REPLICAOF", "h", "65536"), ("REPLICAOF", "no"), ("SLAVEOF", "no", "x"), ("REPLCONF", "GETACK", "*", "x"),
    ("CONFIG", "SET", "replicaof", "h 1"), ("COMMAND", "GETKEYS", "REPLICAOF", "a", "1"),
]  # fmt: skip


@pytest.mark.parametrize(
    "commands", [WRITES, READS, TRANSACTIONS, REPLICATION], ids=["writes", "reads", "transactions", "replication"]
)
def test_what_a_replica_answers(commands: list[tuple[str | int, ...]], both: tuple[Connection, Connection]) -> None:
    ours, theirs = both
    for words in commands:
        assert repr(ours.call(*words)) == repr(theirs.call(*words)), words


def test_what_it_says_while_its_data_are_stale(replicas: Replicas, both: tuple[Connection, Connection]) -> None:
    for replica in replicas:
        replica.call("CONFIG", "SET", "replica-serve-stale-data", "no")
        replica.call("REPLICAOF", "127.0.0.1", 1)
    ours, theirs = both
    for words in [
        *WRITES, *READS, *TRANSACTIONS, ("CONFIG", "GET", "replicaof"), ("CONFIG", "GET", "slaveof"), ("ROLE",),
        ("INFO", "cluster"), ("COMMAND", "COUNT", "x"), ("SUBSCRIBE", "c"), ("GET", "s"), ("UNSUBSCRIBE",),
        ("PSYNC", "?", "-1"), ("SYNC",),
    ]:  # fmt: skip
        if words == ("ROLE",):  # theirs may be between two attempts
            assert ours.call("ROLE")[:3] == theirs.call("ROLE")[:3] == [b"slave", b"127.0.0.1", 1]
        else:
            assert repr(ours.call(*words)) == repr(theirs.call(*words)), words


def fields(info: dict[str, str]) -> list[str]:
    return list(info)


def test_info_role_and_who_is_connected(primary: Instance, replicas: Replicas) -> None:
    ours, theirs = replicas
    said, other = ours.info("replication"), theirs.info("replication")
    assert fields(said) == fields(other)
    same = set(said) - {"slave_read_repl_offset", "slave_repl_offset", "master_repl_offset"}
    same -= {"master_last_io_seconds_ago", "repl_backlog_first_byte_offset", "repl_backlog_histlen"}
    assert {name: said[name] for name in same} == {name: other[name] for name in same}
    roles = [replica.call("ROLE") for replica in replicas]
    assert roles[0][:4] == roles[1][:4] == [b"slave", b"127.0.0.1", primary.port, b"connected"]
    links = [replica.call("CLIENT", "LIST", "TYPE", "primary").decode() for replica in replicas]
    for link in links:
        assert f"addr=127.0.0.1:{primary.port} " in link
        assert " flags=M " in link
        assert " user=(superuser) " in link
    assert [replica.info("clients")["connected_clients"] for replica in replicas] == ["2", "2"]
    for replica in replicas:
        with replica.connect(resp=3) as connection:
            assert connection.call("HELLO")[b"role"] == b"replica"
    lines = [value for name, value in primary.info("replication").items() if name.startswith("slave")]
    assert {line.split("port=")[1].split(",")[0] for line in lines} == {str(replica.port) for replica in replicas}


def test_info_while_the_link_is_down_and_after_a_promotion(replicas: Replicas) -> None:
    for replica in replicas:
        replica.call("REPLICAOF", "127.0.0.1", 1)
    said, other = (replica.info("replication") for replica in replicas)
    assert fields(said) == fields(other)
    assert said["master_link_status"] == other["master_link_status"] == "down"
    for replica in replicas:
        assert replica.call("REPLICAOF", "NO", "ONE") == replica.call("SLAVEOF", "no", "one") == "OK"
    said, other = (replica.info("replication") for replica in replicas)
    assert fields(said) == fields(other)
    assert said["master_replid2"] == other["master_replid2"] != "0" * 40
    assert said["master_replid"] != said["master_replid2"]
    assert int(said["second_repl_offset"]) == int(said["master_repl_offset"]) + 1
    assert replicas[0].call("SET", "s", "mine") == "OK"


def test_the_configuration_file_follows(primary: Instance, tmp_path: Path) -> None:
    for kind in ("cachefleet", "valkey"):
        folder = tmp_path / kind
        folder.mkdir()
        config = folder / "x.conf"
        config.write_text("# mine\n")
        with Instance(kind, directory=folder, config=config) as server:  # type: ignore[arg-type]
            server.call("REPLICAOF", "127.0.0.1", primary.port)
            assert server.call("REPLICAOF", "127.0.0.1", primary.port) == "OK Already connected to specified master"
            server.call("CONFIG", "REWRITE")
            assert f"replicaof 127.0.0.1 {primary.port}" in config.read_text()
            assert server.restart().info("replication")["role"] == "slave"
            assert_follows(primary, server)
            server.call("REPLICAOF", "NO", "ONE")
            server.call("CONFIG", "REWRITE")
            assert "replicaof" not in config.read_text()
            assert_eventually(lambda server=server: server.info("replication")["role"] == "master")
