"""Our server as the primary of real replicas: Valkey 9.1 and Debian's Redis 7.0, with a proxy that cuts in between."""

from __future__ import annotations

import contextlib
import random
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleettest import rdbfile
from fleettest.client import encode
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.proxy import Proxy
from fleettest.replicas import SYNC_S, Writer, assert_follows, assert_same_data, other_types
from fleettest.seeder import Seeder, fill, run
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

KINDS: tuple[Kind, ...] = ("valkey", "redis")
DEBUG = {"enable-debug-command": "yes"}


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Instance]:
    options = {**DEBUG, "repl-ping-replica-period": 1}
    with Instance(directory=tmp_path / "primary", options=options) as server:
        yield server


@pytest.fixture
def proxy(primary: Instance) -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", primary.port)) as between:
        yield between


@pytest.fixture
def follow(proxy: Proxy, tmp_path: Path) -> Iterator[Callable[..., Instance]]:
    """Starts a replica of a kind, through the proxy."""
    started: list[Instance] = []

    def start(kind: Kind, **options: str | int) -> Instance:
        named = {name.replace("_", "-"): value for name, value in options.items()}
        replica = Instance(
            kind,
            directory=tmp_path / f"replica{len(started)}",
            options={**DEBUG, "replicaof": proxy.address, "repl-timeout": 20, **named},
        )
        started.append(replica.start())
        return replica

    yield start
    for replica in started:
        replica.close()


@pytest.mark.parametrize("kind", KINDS)
def test_all_types_a_stream_and_a_cut(
    kind: Kind, primary: Instance, proxy: Proxy, follow: Callable[..., Instance], rng: random.Random
) -> None:
    seeder = Seeder(rng, keys=300)
    with primary.connect() as connection:
        fill(connection, seeder)
        other_types(connection)
        replica = follow(kind)
        assert_same_data(primary, replica)
        run(connection, seeder.mutate(2000))
        other_types(connection)
        assert_same_data(primary, replica)
        assert primary.info("stats")["sync_full"] == "1"
        for _ in range(3):
            before = int(primary.info("stats")["sync_partial_ok"])
            proxy.close_door()
            proxy.cut()
            run(connection, seeder.mutate(500))
            proxy.open_door()
            assert_eventually(
                lambda before=before: int(primary.info("stats")["sync_partial_ok"]) == before + 1, deadline_s=SYNC_S
            )
            run(connection, seeder.mutate(200))
            assert_same_data(primary, replica)
    stats = primary.info("stats")
    assert (stats["sync_full"], stats["sync_partial_err"]) == ("1", "0")


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_synchronisation_under_write_load(
    kind: Kind, primary: Instance, proxy: Proxy, follow: Callable[..., Instance], rng: random.Random
) -> None:
    with primary.connect() as connection:
        fill(connection, Seeder(rng, keys=300))
        connection.call("DEBUG", "POPULATE", 50_000, "key", 500)
        connection.call("CONFIG", "SET", "repl-backlog-size", "1gb")  # the writer is faster than the replica
    with Writer(primary, rng) as writer:
        replica = follow(kind)
        assert_eventually(
            lambda: replica.info("replication")["master_link_status"] == "up", replica.log_tail, deadline_s=SYNC_S
        )
        steps = writer.steps
        assert_eventually(lambda: writer.steps > steps, "writes go on", deadline_s=SYNC_S)
        proxy.cut()
        assert_eventually(
            lambda: primary.info("replication").get("slave0", "").find("state=online") > 0, deadline_s=SYNC_S
        )
        steps = writer.steps
        assert_eventually(lambda: writer.steps > steps, "writes go on", deadline_s=SYNC_S)
    assert_same_data(primary, replica)
    assert primary.info("stats")["sync_full"] == "1", primary.log_tail() + replica.log_tail()


def test_several_replicas_and_who_says_what_of_them(primary: Instance, follow: Callable[..., Instance]) -> None:
    primary.call("SET", "a", "1")
    replicas = [follow("valkey"), follow("redis"), follow("valkey", replica_announce_ip="10.1.2.3")]
    for replica in replicas:
        assert_follows(primary, replica)

    def shown() -> dict[str, dict[str, str]]:
        info = primary.info("replication")
        assert info["connected_slaves"] == "3"
        lines = [dict(pair.split("=", 1) for pair in info[f"slave{i}"].split(",")) for i in range(3)]
        return {line["port"]: line for line in lines}

    def all_online() -> bool:
        lines = shown().values()
        return all(line["state"] == "online" and int(line["offset"]) > 0 for line in lines)

    assert_eventually(all_online)
    lines = shown()
    assert set(lines) == {str(replica.port) for replica in replicas}
    line = lines[str(replicas[0].port)]
    assert list(line) == ["ip", "port", "state", "offset", "lag", "type"]
    assert (line["ip"], line["type"]) == ("127.0.0.1", "replica")
    assert int(line["lag"]) <= 2
    assert lines[str(replicas[2].port)]["ip"] == "10.1.2.3"
    role, offset, rows = primary.call("ROLE")
    assert (role, offset > 0) == (b"master", True)
    assert {row[1] for row in rows} == {str(replica.port).encode() for replica in replicas}
    assert all(0 < int(row[2]) <= primary.call("ROLE")[1] for row in rows)
    info = primary.info("replication")
    assert info["repl_backlog_active"] == "1"
    assert info["master_replid"] == replicas[0].info("replication")["master_replid"]
    assert int(info["repl_backlog_histlen"]) <= int(info["master_repl_offset"])
    listed = primary.call("CLIENT", "LIST", "TYPE", "replica").decode().splitlines()
    assert len(listed) == 3
    assert all(" flags=S " in line for line in listed)


def test_wait(primary: Instance, proxy: Proxy, follow: Callable[..., Instance]) -> None:
    replica = follow("valkey")
    assert_follows(primary, replica)
    with primary.connect() as connection:
        for i in range(20):
            assert connection.pipeline([("SET", "k", i), ("WAIT", 1, 10_000)]) == ["OK", 1]
            assert replica.call("GET", "k") == b"%d" % i
        proxy.hold()
        assert connection.pipeline([("SET", "k", "late"), ("WAIT", 1, 100)]) == ["OK", 0]
        connection.send(encode("WAIT", 1, 0))
        proxy.release()
        assert connection.read() == 1
        assert connection.call("WAIT", 2, 50) == 1
        assert connection.pipeline([("MULTI",), ("SET", "k", "x"), ("WAIT", 1, 0), ("EXEC",)])[-1][0] == "OK"


def test_waitaof_of_a_replica(primary: Instance, follow: Callable[..., Instance]) -> None:
    replica = follow("valkey", appendonly="yes", appendfsync="always")
    assert_follows(primary, replica)
    with primary.connect() as connection:
        assert connection.pipeline([("SET", "k", "v"), ("WAITAOF", 0, 1, 20_000)]) == ["OK", [0, 1]]


def test_writes_need_good_replicas(primary: Instance, proxy: Proxy, follow: Callable[..., Instance]) -> None:
    with primary.configured(min_replicas_to_write=1, min_replicas_max_lag=2), primary.connect() as connection:
        refused = "NOREPLICAS Not enough good replicas to write."
        assert connection.call("SET", "a", "1") == refused
        follow("valkey")
        assert_eventually(lambda: connection.call("SET", "a", "1") == "OK", deadline_s=SYNC_S)
        assert primary.info("replication")["min_slaves_good_slaves"] == "1"
        proxy.hold()
        assert_eventually(lambda: connection.call("SET", "a", "1") == refused, deadline_s=SYNC_S)
        assert connection.call("GET", "a") == b"1"
        proxy.release()
        assert_eventually(lambda: connection.call("SET", "a", "1") == "OK", deadline_s=SYNC_S)


def test_a_backlog_that_is_too_short(primary: Instance, proxy: Proxy, follow: Callable[..., Instance]) -> None:
    with primary.configured(repl_backlog_size=16384), primary.connect() as connection:
        replica = follow("redis")
        assert_follows(primary, replica)
        proxy.close_door()
        proxy.cut()
        connection.call("SET", "a", b"x" * 100_000)
        connection.call("SET", "b", b"x" * 100_000)
        assert_eventually(lambda: primary.info("replication")["connected_slaves"] == "0")
        connection.call("SET", "c", b"x" * 10_000)
        proxy.open_door()
        assert_eventually(lambda: primary.info("stats")["sync_full"] == "2", deadline_s=SYNC_S)
        assert_same_data(primary, replica)
        assert primary.info("stats")["sync_partial_err"] == "1"


def test_fields_that_expire_are_for_those_who_can_read_them(primary: Instance, follow: Callable[..., Instance]) -> None:
    """Redis 7.0 would not even know the commands: it would go on without them, and be another."""
    new, old = follow("valkey"), follow("redis")
    for replica in (new, old):
        assert_follows(primary, replica)
    with primary.connect() as connection:
        connection.pipeline([("HSET", "h", "f", "v", "g", "w"), ("HEXPIRE", "h", 10_000, "FIELDS", 1, "f")])
        assert_same_data(primary, new)
        assert_eventually(lambda: old.info("replication")["master_link_status"] == "down")
        assert "the data hold what it cannot read: members that expire" in primary.log_text()
        refused = "the data hold members that expire, or producers of streams, which it cannot read"
        assert_eventually(lambda: refused in primary.log_text())
        late = follow("valkey")
        assert_same_data(primary, late)
        connection.call("HPERSIST", "h", "FIELDS", 1, "f")
        assert_same_data(primary, old)
        connection.pipeline([("SADD", "s", "a", "b"), ("SEXPIRE", "s", 10_000, "MEMBERS", 1, "a")])
        for replica in (old, new, late):
            assert_eventually(lambda replica=replica: replica.info("replication")["master_link_status"] == "down")
        connection.call("DEL", "s")
        for replica in (old, new, late):
            assert_same_data(primary, replica)


def test_a_slow_replica_is_let_go(primary: Instance, proxy: Proxy, follow: Callable[..., Instance]) -> None:
    """It costs its limit, and neither the primary's other clients nor its maxmemory."""
    limits = "replica 8mb 0 0"
    with primary.configured(client_output_buffer_limit=limits, repl_backlog_size="1mb"):
        replica = follow("valkey")
        assert_follows(primary, replica)
        before = primary.settled_memory()
        proxy.hold()
        with primary.connect() as connection:
            value = random.Random(0).randbytes(200_000)
            for _ in range(200):
                assert connection.call("SET", "k", value) == "OK"
            assert_eventually(lambda: primary.info("replication")["connected_slaves"] == "0")
            assert int(primary.info("stats")["client_output_buffer_limit_disconnections"]) == 1
            connection.call("SET", "k", "small")
        proxy.release()
        proxy.cut()
        assert_same_data(primary, replica)
        assert primary.settled_memory() < before + 4_000_000


def test_keys_expire_by_the_primarys_word(primary: Instance, follow: Callable[..., Instance]) -> None:
    replica = follow("valkey")
    assert_follows(primary, replica)
    with primary.connect() as connection:
        connection.pipeline([("SET", f"k{i}", "v", "PX", 200 + 10 * i) for i in range(100)])
        assert_eventually(lambda: connection.call("DBSIZE") == 0)
    assert_same_data(primary, replica)
    assert replica.call("DBSIZE") == 0


def test_flushes_and_exchanges(primary: Instance, follow: Callable[..., Instance], rng: random.Random) -> None:
    seeder = Seeder(rng, keys=100)
    replica = follow("redis")
    assert_follows(primary, replica)
    with primary.connect() as connection:
        for _ in range(10):
            run(connection, seeder.mutate(100))
            run(connection, seeder.upheave())
        run(connection, seeder.fill())
        assert_same_data(primary, replica)


@pytest.mark.parametrize("kind", KINDS)
def test_with_an_append_only_file(kind: Kind, primary: Instance, follow: Callable[..., Instance]) -> None:
    """What is in the stream for replicas alone lies in the file, too, and every server loads it."""
    with primary.configured(appendonly="yes"):
        replica = follow(kind)
        assert_follows(primary, replica)
        with primary.connect() as connection:
            connection.pipeline([("SET", "a", "1"), ("WAIT", 1, 10_000)])
            assert_eventually(lambda: b"PING" in b"".join(f.read_bytes() for f in primary.directory.glob("*/*.incr.*")))
            assert connection.call("DEBUG", "LOADAOF") == "OK"
        assert_same_data(primary, replica)
        assert primary.call("GET", "a") == b"1"


@pytest.mark.parametrize("killed", [True, False])
def test_a_primary_that_ends_and_comes_back(killed: bool, primary: Instance, follow: Callable[..., Instance]) -> None:
    replica = follow("valkey")
    primary.call("SET", "a", "1")
    assert_follows(primary, replica)
    if killed:
        primary.kill()
    else:
        assert primary.stop() == 0
        assert "Traceback" not in primary.log_text()
    primary = Instance(directory=primary.directory, options=primary.options, port=primary.port)
    with primary:
        primary.call("SET", "b", "2")
        assert_same_data(primary, replica)
        assert replica.call("KEYS", "*") == [b"b"], "another history, without what was not on a disk"


def test_saves_and_synchronisations_wait_for_each_other(primary: Instance, follow: Callable[..., Instance]) -> None:
    with primary.connect() as connection:
        connection.call("DEBUG", "POPULATE", 1000)
        connection.call("CONFIG", "SET", "rdb-key-save-delay", 1000)
        assert connection.call("BGSAVE") == "Background saving started"
        replicas = [follow("valkey"), follow("valkey")]
        assert_eventually(lambda: primary.info("replication")["connected_slaves"] == "2")
        assert "state=wait_bgsave" in primary.info("replication")["slave0"]
        connection.call("CONFIG", "SET", "rdb-key-save-delay", 0)
        for replica in replicas:
            assert_same_data(primary, replica)


def test_redis_cli_fetches_a_snapshot(primary: Instance, tmp_path: Path) -> None:
    with primary.connect() as connection:
        connection.call("DEBUG", "POPULATE", 1000)
        path = tmp_path / "fetched.rdb"
        words = ["redis-cli", "-p", str(primary.port), "--rdb", str(path)]
        done = subprocess.run(words, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done
        file = rdbfile.parse(path.read_bytes())
        assert len(file.databases()[0]) == 1000
        assert_eventually(lambda: primary.info("replication")["connected_slaves"] == "0")


def test_redis_cli_shows_the_stream(primary: Instance, tmp_path: Path) -> None:
    """It asks by SYNC and never confirms again, so repl-timeout does not concern it."""
    shown = tmp_path / "shown"
    with primary.configured(repl_timeout=1), shown.open("wb") as output:
        process = subprocess.Popen(["redis-cli", "-p", str(primary.port), "--replica"], stdout=output, stderr=output)
        try:
            assert_eventually(lambda: "state=online" in primary.info("replication").get("slave0", ""))
            assert_eventually(lambda: "lag=3" in primary.info("replication")["slave0"])
            primary.call("SET", "late", "1")
            assert_eventually(lambda: b'"SET","late","1"' in shown.read_bytes())
        finally:
            process.kill()
            process.wait()


def test_the_backlog_goes_when_there_is_nobody(primary: Instance, follow: Callable[..., Instance]) -> None:
    with primary.configured(repl_backlog_ttl=1):
        replica = follow("redis")
        assert_follows(primary, replica)
        replica.stop()
        assert_eventually(lambda: primary.info("replication")["repl_backlog_active"] == "0")
        assert primary.info("memory")["mem_replication_backlog"] == "0"
        replica.start()
        assert_follows(primary, replica)


def test_a_silent_replica_is_disconnected(primary: Instance, proxy: Proxy, follow: Callable[..., Instance]) -> None:
    replica = follow("valkey")
    assert_follows(primary, replica)
    with primary.configured(repl_timeout=2):
        proxy.hold()
        assert_eventually(lambda: primary.info("replication")["connected_slaves"] == "0")
        assert re.search(r"it has said nothing for \d seconds \(repl-timeout\)", primary.log_text())
    proxy.release()


def test_requests_that_make_no_sense(primary: Instance, valkey: Instance) -> None:
    """Valkey's words, and ours where we want more of a replica than it does."""
    with primary.connect() as ours, valkey.connect() as theirs:
        for words in (
            ("REPLCONF",), ("REPLCONF", "capa"), ("REPLCONF", "foo", "bar"), ("REPLCONF", "version", "x"),
            ("REPLCONF", "version", "9.1.2"), ("REPLCONF", "listening-port", "x"), ("REPLCONF", "rdb-only", "2"),
            ("REPLCONF", "capa", "eof", "capa", "psync2", "listening-port", "1"), ("REPLCONF", "ip-address", "x" * 300),
            ("PSYNC", "?", "x"), ("PSYNC", "?"), ("SYNC", "x"), ("MULTI",), ("PSYNC", "?", "-1"), ("EXEC",),
        ):  # fmt: skip
            assert repr(ours.call(*words)) == repr(theirs.call(*words)), words
        (_, offset, _), (_, other, _) = roles = ours.call("ROLE"), theirs.call("ROLE")
        assert isinstance(offset, int) and isinstance(other, int)
        assert roles == ([b"master", offset, []], [b"master", other, []])
    with primary.connect() as connection:
        assert "capa eof" in connection.call("PSYNC", "?", "-1")
        assert "capa eof" in connection.call("SYNC")
    assert primary.info("replication")["connected_slaves"] == "0"


def test_an_odd_replica(primary: Instance) -> None:
    """One that talks while it is sent a snapshot, goes in the middle of it, or asks twice."""
    with primary.connect() as connection:
        connection.call("DEBUG", "POPULATE", 100_000, "key", 1000)
    for way in range(3):
        with primary.connect() as connection:
            connection.call("REPLCONF", "capa", "eof")
            connection.send(encode("PSYNC", "?", "-1"))
            assert_eventually(lambda: primary.info("replication")["connected_slaves"] == "1")
            if way:
                with contextlib.suppress(OSError):
                    connection.send(encode("PSYNC", "?", "-1") + encode("GET", "key:1") + encode("QUIT"))
            if way == 2:
                assert_eventually(lambda: "state=send_bulk" in primary.info("replication").get("slave0", ""))
        assert_eventually(lambda: primary.info("replication")["connected_slaves"] == "0")
        assert_eventually(lambda: primary.info("persistence")["rdb_bgsave_in_progress"] == "0")
    assert "Traceback" not in primary.log_text()
    with primary.connect() as connection:
        connection.call("REPLCONF", "capa", "eof")
        connection.send(encode("PSYNC", "?", "-1"))
        assert_eventually(lambda: "state=send_bulk" in primary.info("replication").get("slave0", ""))
        assert primary.stop(deadline_s=10) == 0, "it waits for no reader"
    assert "Traceback" not in primary.log_text()
