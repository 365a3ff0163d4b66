"""Our server as a replica: of Valkey 9.1, of Debian's Redis 7.0 and of itself, with a proxy in between."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from fleettest.client import Error
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.proxy import Proxy
from fleettest.replicas import (
    SYNC_S,
    Start,
    Writer,
    assert_follows,
    assert_link,
    assert_same_data,
    assert_sound,
    link_is,
    other_types,
)
from fleettest.seeder import Seeder, digest, fill, run
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

KINDS: tuple[Kind, ...] = ("valkey", "redis", "cachefleet")
DEBUG = {"enable-debug-command": "yes"}


@pytest.mark.parametrize("kind", KINDS)
def test_all_types_a_stream_and_cuts(kind: Kind, start: Start, rng: random.Random) -> None:
    primary = start(kind)
    seeder = Seeder(rng, keys=300)
    with primary.connect() as connection, Proxy(primary.address) as proxy:
        fill(connection, seeder)
        other_types(connection)
        replica = start(of=proxy)
        assert_same_data(primary, replica)
        run(connection, seeder.mutate(2000))
        other_types(connection)
        assert_same_data(primary, replica)
        for _ in range(3):
            proxy.close_door()
            proxy.cut()
            run(connection, seeder.mutate(500))
            proxy.open_door()
            assert_same_data(primary, replica)
        for _ in range(5):
            run(connection, seeder.mutate(100))
            run(connection, seeder.upheave())
        run(connection, seeder.fill())
        assert_same_data(primary, replica)
    stats = primary.info("stats")
    assert (stats["sync_full"], int(stats["sync_partial_ok"]) >= 3) == ("1", True), replica.log_text()
    assert_sound(replica)


@pytest.mark.parametrize("kind", KINDS)
def test_a_synchronisation_under_write_load_and_cuts(kind: Kind, start: Start, rng: random.Random) -> None:
    primary = start(kind, repl_backlog_size="1gb", client_output_buffer_limit="replica 0 0 0")
    with primary.connect() as connection:
        fill(connection, Seeder(rng, keys=300))
        connection.call("DEBUG", "POPULATE", 30_000, "key", 500)
    with Proxy(primary.address) as proxy, Writer(primary, rng) as writer:
        replica = start(of=proxy)
        assert_link(replica, "up")
        for _ in range(5):
            steps = writer.steps
            assert_eventually(lambda steps=steps: writer.steps > steps, "writes go on", deadline_s=SYNC_S)
            proxy.cut()
            assert_link(replica, "up")
    replica.call("REPLICAOF", *map(str, primary.address))
    assert_same_data(primary, replica)
    assert primary.info("stats")["sync_full"] == "1", primary.log_tail() + replica.log_tail()
    assert_sound(replica)


def test_each_stage_of_a_synchronisation_is_cut(start: Start, rng: random.Random) -> None:
    """After so many bytes from the primary, whatever they are; what was there before stays until the end."""
    primary = start()
    replica = start()
    for server, value in ((primary, "new"), (replica, "old")):
        server.call("SET", "which", value)
    with primary.connect() as connection:
        fill(connection, Seeder(rng, keys=100))
    with Proxy(primary.address) as proxy:
        for limit in (1, 6, 7, 12, 17, 22, 30, 40, 70, 80, 100, 140, 200, 1000, 5000):
            before = proxy.connections
            proxy.limit_bytes = limit
            replica.call("REPLICAOF", *map(str, proxy.address))
            assert_eventually(
                lambda before=before: proxy.connections > before and replica.call("ROLE")[3] == b"connect",
                replica.log_tail,
                deadline_s=SYNC_S,
            )
            assert replica.call("GET", "which") == b"old"
            assert link_is(replica, "down")
            replica.call("REPLICAOF", "NO", "ONE")
        proxy.limit_bytes = None
        replica.call("REPLICAOF", *map(str, proxy.address))
        assert_same_data(primary, replica)
        assert replica.call("GET", "which") == b"new"
    assert not [path for path in replica.directory.iterdir() if path.name.startswith("temp-repl")]
    assert_sound(replica)


def test_a_snapshot_that_cannot_be_loaded_changes_nothing(start: Start) -> None:
    """A database that is not configured here."""
    primary, replica = start(), start(databases=4)
    replica.call("SET", "a", "old")
    with primary.connect() as connection:
        connection.pipeline([("SET", "a", "new"), ("SELECT", 9), ("SET", "b", "x")])
    replica.call("REPLICAOF", *map(str, primary.address))
    assert_eventually(lambda: "its snapshot cannot be loaded" in replica.log_text())
    assert (link_is(replica, "down"), replica.call("GET", "a")) == (True, b"old")
    primary.call("FLUSHALL")
    assert_same_data(primary, replica)
    assert replica.call("GET", "a") is None
    with primary.connect() as connection:
        connection.pipeline([("SELECT", 9), ("SET", "b", "x")])
    assert_eventually(lambda: "its command failed here: select: ERR DB index is out of range" in replica.log_text())
    primary.call("FLUSHALL")
    primary.call("SET", "after", "1")
    assert_eventually(lambda: replica.call("GET", "after") == b"1", replica.log_tail, deadline_s=SYNC_S)
    assert_same_data(primary, replica)


@pytest.mark.parametrize("kind", KINDS)
def test_the_others_go_on_from_one_that_is_promoted(kind: Kind, start: Start, rng: random.Random) -> None:
    seeder = Seeder(rng, keys=100)
    primary = start(kind)
    with primary.connect() as connection:
        fill(connection, seeder)
        replicas = [start(of=primary), start(of=primary), start("valkey" if kind == "cachefleet" else kind, of=primary)]
        run(connection, seeder.mutate(300))
        for replica in replicas:
            assert_same_data(primary, replica)
    chosen, *others = replicas
    primary.kill()
    assert chosen.call("REPLICAOF", "NO", "ONE") == "OK"
    info = chosen.info("replication")
    assert (info["role"], info["second_repl_offset"]) == ("master", str(int(info["master_repl_offset"]) + 1))
    with chosen.connect() as connection:
        for other in others:
            assert other.call("REPLICAOF", *map(str, chosen.address)) == "OK"
        run(connection, seeder.mutate(300))
        for other in others:
            assert_same_data(chosen, other)
            assert other.info("replication")["master_replid"] == info["master_replid"]
    stats = chosen.info("stats")
    assert (stats["sync_full"], stats["sync_partial_ok"]) == ("0", "2"), chosen.log_text()
    for server in (chosen, others[0]):
        assert_sound(server)


def test_a_primary_that_is_demoted_goes_on_from_its_replica(start: Start, rng: random.Random) -> None:
    one, seeder = start(), Seeder(rng, keys=100)
    other = start(of=one)
    with one.connect() as connection:
        fill(connection, seeder)
    for _ in range(3):
        assert_same_data(one, other)
        other.call("REPLICAOF", "NO", "ONE")
        one.call("REPLICAOF", *map(str, other.address))
        one, other = other, one
        with one.connect() as connection:
            run(connection, seeder.mutate(100))
    assert_same_data(one, other)
    assert [int(server.info("stats")["sync_full"]) for server in (one, other)].count(0) == 1
    assert sum(int(server.info("stats")["sync_partial_ok"]) for server in (one, other)) == 3


@pytest.mark.parametrize(("kind", "last"), [(a, b) for a in KINDS for b in KINDS if {a, b} != {"redis", "valkey"}])
def test_a_chain(kind: Kind, last: Kind, start: Start, rng: random.Random) -> None:
    """The replica's replica gets the primary's bytes: ids and offsets are the same everywhere, in all databases. (Redis
    and Valkey do not read each other's snapshots.)"""
    primary, seeder = start(kind), Seeder(rng, keys=100)
    with primary.connect() as connection:
        fill(connection, seeder)
        middle = start(of=primary)
        assert_follows(primary, middle)
        connection.pipeline([("SELECT", 5), ("SET", "in", "five")])
        assert_follows(primary, middle)
        with Proxy(middle.address) as proxy:
            end = start(last, of=proxy)
            assert_follows(middle, end)
            connection.call("SET", "in", "five again")
            connection.call("SELECT", 0)
            run(connection, seeder.mutate(300))
            assert_same_data(primary, end)
            proxy.cut()
            run(connection, seeder.mutate(300))
            assert_same_data(primary, end)
    infos = [server.info("replication") for server in (primary, middle, end)]
    assert len({info["master_replid"] for info in infos}) == 1
    assert middle.info("stats")["sync_full"] == "1"
    assert_sound(middle)


def test_a_chain_whose_middle_turns_to_another(start: Start) -> None:
    one, two = start(), start("valkey")
    for server in (one, two):
        server.call("SET", "who", str(server.port))
    middle = start(of=one)
    end = start(of=middle)
    assert_follows(one, end)
    assert middle.call("REPLICAOF", *map(str, two.address)) == "OK"
    assert_eventually(lambda: end.call("GET", "who") == str(two.port).encode(), end.log_tail, deadline_s=SYNC_S)
    assert_same_data(two, end)


@pytest.mark.parametrize("kind", KINDS)
def test_keys_end_by_the_primarys_word_alone(kind: Kind, start: Start) -> None:
    primary = start(kind)
    with Proxy(primary.address) as proxy:
        replica = start(of=proxy)
        assert_follows(primary, replica)
        with primary.connect() as connection:
            connection.pipeline([("SET", f"k{i}", "v", "PX", 300 + i) for i in range(50)])
            connection.pipeline([("SADD", "s", "a", "b"), ("PEXPIRE", "s", 400), ("SET", "stays", "1")])
        assert_follows(primary, replica)
        proxy.hold()
        with replica.connect() as there:
            assert_eventually(lambda: there.call("GET", "k0") is None and there.call("SCARD", "s") == 0)
            assert_eventually(lambda: there.pipeline([("EXISTS", f"k{i}") for i in range(50)]) == [0] * 50)
            assert there.call("DBSIZE") == 52, "hidden, and not deleted"
            assert there.call("TTL", "k0") == -2
            assert [key for key in there.call("SCAN", 0, "COUNT", 1000)[1] if key != b"stays"] == []
            assert replica.info("stats")["expired_keys"] == "0"
        assert_eventually(lambda: primary.call("DBSIZE") == 1)
        proxy.release()
        assert_eventually(lambda: replica.call("DBSIZE") == 1)
        assert_same_data(primary, replica)


def test_it_is_full_and_evicts_nothing(start: Start) -> None:
    primary = start("valkey")
    primary.call("DEBUG", "POPULATE", 20_000, "key", 300)  # which Valkey tells no replica
    replica = start(of=primary, maxmemory="3mb", maxmemory_policy="allkeys-lru")
    assert_same_data(primary, replica)
    with primary.connect() as connection:
        connection.pipeline([("SET", f"more:{i}", "x" * 500) for i in range(2000)])
    assert_same_data(primary, replica)
    assert replica.info("stats")["evicted_keys"] == "0"
    assert replica.call("GET", "more:0") == b"x" * 500
    replica.call("REPLICAOF", "NO", "ONE")
    assert_eventually(lambda: replica.info("stats")["evicted_keys"] != "0")


def test_big_values_and_transactions_in_pieces(start: Start) -> None:
    """Never half a transaction; values that do not come in one piece."""
    primary = start("valkey", proto_max_bulk_len="512mb")
    with Proxy(primary.address) as proxy, primary.connect(timeout_s=60) as connection:
        replica = start(of=proxy, proto_max_bulk_len="1mb")
        assert_follows(primary, replica)
        connection.call("SET", "big", "x" * 20_000_000)
        connection.call("RPUSH", "list", *["y" * 100_000] * 20)
        assert_same_data(primary, replica)
        for turn in range(5):
            words = [("SET", f"pair:{i}", f"{turn}" * 40_000) for i in range(20)]
            connection.pipeline([("MULTI",), *words, ("EXEC",)])
            proxy.cut()
            with replica.connect() as there:
                for _ in range(20):
                    values = set(there.call("MGET", *[f"pair:{i}" for i in range(20)]))
                    assert len(values) == 1, "all or nothing"
            assert_same_data(primary, replica)
    assert primary.info("stats")["sync_full"] == "1"


@pytest.mark.parametrize("policy", ["everysec", "always"])
@pytest.mark.parametrize("killed", [True, False])
def test_a_replica_with_an_append_only_file_comes_back(
    killed: bool, policy: str, start: Start, rng: random.Random
) -> None:
    primary, seeder = start("valkey"), Seeder(rng, keys=100)
    replica = start(appendonly="yes", appendfsync=policy)
    replica.call("SET", "mine", "alone")
    replica.call("REPLICAOF", *map(str, primary.address))
    with primary.connect() as connection:
        fill(connection, seeder)
        assert_follows(primary, replica)
        run(connection, seeder.mutate(300))
        assert_same_data(primary, replica)
        assert connection.pipeline([("SET", "last", "1"), ("WAITAOF", 0, 1, 20_000)]) == ["OK", [0, 1]]
        expected = digest(connection)
        assert_follows(primary, replica)
        if killed:
            replica.kill()
        else:
            assert replica.stop() == 0
        alone = Instance(directory=replica.directory, options={**replica.options, "appendonly": "yes"})
        with alone:
            with alone.connect() as there:
                assert digest(there) == expected
                assert there.call("GET", "mine") is None
                assert there.call("SET", "mine", "1") == "OK"
            assert alone.stop() == 0
    assert_sound(replica)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("killed", [True, False])
def test_a_restart_with_an_append_only_file_costs_no_synchronisation(kind: Kind, killed: bool, start: Start) -> None:
    """Also in which database the stream was is in the file."""
    primary = start(kind)
    replica = start(of=primary, appendonly="yes", appendfsync="always")
    with primary.connect() as connection:
        for turn in range(3):
            connection.pipeline([("SELECT", 5), ("SET", "a", turn), ("RPUSH", "l", turn)])
            assert_same_data(primary, replica)
            if killed:
                replica.kill()
            else:
                assert replica.stop() == 0
            connection.pipeline([("SET", "b", turn), ("RPUSH", "l", "away")])
            replica.start()
            assert_same_data(primary, replica)
        with replica.connect() as there:
            there.call("SELECT", 5)
            assert there.call("LLEN", "l") == 6
    stats = primary.info("stats")
    assert (stats["sync_full"], stats["sync_partial_ok"]) == ("1", "3"), replica.log_text()


def test_a_snapshot_becomes_the_file_where_there_are_save_points(start: Start) -> None:
    primary = start("valkey")
    primary.call("SET", "a", "1")
    replica = start(of=primary, save="3600 1000000")
    assert_follows(primary, replica)
    assert replica.info("persistence")["rdb_changes_since_last_save"] == "0"
    replica.kill()
    alone = Instance(directory=replica.directory, options=DEBUG)
    with alone:
        assert alone.call("GET", "a") == b"1"


def test_without_a_persistent_file_nothing_is_left_behind(start: Start) -> None:
    primary = start("valkey")
    replica = start(of=primary)
    assert_follows(primary, replica)
    assert [path.name for path in replica.directory.iterdir() if path.suffix == ".rdb"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_with_a_password(kind: Kind, start: Start) -> None:
    primary = start(kind, requirepass="secret")
    primary_client = primary.connect()
    primary_client.call("AUTH", "secret")
    replica = start()
    replica.call("REPLICAOF", *map(str, primary.address))
    assert_eventually(lambda: "NOAUTH" in replica.log_text(), replica.log_tail)
    assert link_is(replica, "down")
    replica.call("CONFIG", "SET", "primaryauth", "wrong")
    assert_eventually(lambda: "it refuses our credentials" in replica.log_text(), replica.log_tail)
    replica.call("CONFIG", "SET", "masterauth", "secret")
    assert_link(replica, "up")
    primary_client.call("SET", "a", "1")
    assert_eventually(lambda: replica.call("GET", "a") == b"1")
    assert "secret" not in replica.log_text()
    primary_client.close()


def test_a_primary_that_hangs(start: Start) -> None:
    primary = start("valkey")
    with Proxy(primary.address) as proxy:
        replica = start(of=proxy, repl_timeout=2)
        assert_follows(primary, replica)
        proxy.hold()
        assert_link(replica, "down")
        assert "it has sent nothing for" in replica.log_text()
        assert replica.info("replication")["master_link_down_since_seconds"] in ("0", "1", "2", "3")
        proxy.release()
        proxy.cut()
        primary.call("SET", "a", "1")
        assert_same_data(primary, replica)


def test_stale_data(start: Start) -> None:
    primary = start("valkey")
    primary.call("SET", "a", "1")
    replica = start(of=primary)
    assert_follows(primary, replica)
    primary.kill()
    assert_link(replica, "down")
    assert replica.call("GET", "a") == b"1"
    with replica.configured(replica_serve_stale_data="no"), replica.connect() as connection:
        refused = connection.call("GET", "a")
        assert isinstance(refused, Error)
        assert refused.startswith("MASTERDOWN ")
        assert connection.call("INFO", "server")
        primary.start()
        assert_link(replica, "up")
        assert connection.call("GET", "a") is None


def test_while_a_snapshot_is_loaded_clients_are_served(start: Start) -> None:
    primary = start("valkey")
    primary.call("DEBUG", "POPULATE", 20_000, "key", 10)
    replica = start()
    replica.call("SET", "old", "1")
    with replica.configured(key_load_delay=50):
        replica.call("REPLICAOF", *map(str, primary.address))
        assert_eventually(lambda: replica.info("replication").get("master_sync_in_progress") == "1")
        assert_eventually(lambda: "Loading DB in memory" in replica.log_text())
        began = time.monotonic()
        assert replica.call("GET", "old") == b"1"
        assert replica.call("ROLE")[3] == b"sync"
        persistence = replica.info("persistence")
        assert (persistence["loading"], persistence["async_loading"]) == ("0", "1")
        assert time.monotonic() - began < 2

        def some_is_loaded() -> bool:
            now = replica.info("persistence")
            return 0 < int(now["loading_loaded_bytes"]) < int(now["loading_total_bytes"])

        assert_eventually(some_is_loaded, pause_s=0)
    assert_same_data(primary, replica)
    assert replica.call("GET", "old") is None
    assert (replica.call("ROLE")[3], replica.info("persistence")["async_loading"]) == (b"connected", "0")


def test_what_touches_the_folder_while_a_snapshot_is_loaded(start: Start, tmp_path: Path) -> None:
    """The first save looks for files that others have left; the folder may be another one afterwards."""
    primary, replica = start(), start(save="", enable_protected_configs="yes")
    primary.call("DEBUG", "POPULATE", 20_000, "key", 10)
    with replica.configured(key_load_delay=50):
        replica.call("REPLICAOF", *map(str, primary.address))
        assert_eventually(lambda: replica.info("persistence")["async_loading"] == "1")
        (replica.directory / "temp-1.rdb").write_text("left by somebody")
        assert replica.call("BGSAVE") == "Background saving started"
        assert_eventually(lambda: replica.info("persistence")["rdb_bgsave_in_progress"] == "0")
        assert replica.call("CONFIG", "SET", "dir", str(tmp_path)) == "OK"
        assert replica.info("persistence")["async_loading"] == "1"
    assert_same_data(primary, replica)
    assert primary.info("stats")["sync_full"] == "1", replica.log_text()
    assert [path.name for path in replica.directory.iterdir() if path.name.startswith("temp-")] == []


def test_who_waits_is_sent_away_when_the_server_becomes_a_replica(start: Start) -> None:
    primary, replica = start(), start()
    with replica.connect() as waits, replica.connect() as also:
        waits.send_command("BLPOP", "l", 0)
        also.send_command("WAIT", 1, 0)
        assert_eventually(lambda: replica.info("clients")["blocked_clients"] == "2")
        replica.call("REPLICAOF", *map(str, primary.address))
        for connection in (waits, also):
            assert str(connection.read()).startswith("UNBLOCKED force unblock from blocking operation")
            assert connection.closed_by_server()
    assert_same_data(primary, replica)


def test_clients_of_a_replica_hear_what_the_stream_does(start: Start) -> None:
    """Waiting readers, watched keys and subscriptions."""
    primary = start("valkey")
    replica = start(of=primary)
    assert_follows(primary, replica)
    with replica.connect() as reads, replica.connect() as watches, replica.connect() as listens:
        assert listens.call("SUBSCRIBE", "news")
        assert watches.pipeline([("WATCH", "k"), ("MULTI",), ("GET", "k")]) == ["OK", "OK", "QUEUED"]
        reads.send_command("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
        assert_eventually(lambda: replica.info("clients")["blocked_clients"] == "1")
        with primary.connect() as connection:
            connection.pipeline([("SET", "k", "v"), ("XADD", "s", "1-1", "a", "b"), ("PUBLISH", "news", "today")])
        assert reads.read() == [[b"s", [[b"1-1", [b"a", b"b"]]]]]
        assert listens.read() == [b"message", b"news", b"today"]
        assert watches.call("EXEC") is None


def test_a_writable_replica_keeps_its_writes_to_itself(start: Start) -> None:
    primary = start()
    middle = start(of=primary, replica_read_only="no", appendonly="yes")
    end = start(of=middle)
    assert_follows(primary, end)
    before = int(middle.info("replication")["master_repl_offset"])
    assert middle.call("SET", "local", "1") == "OK"
    primary.call("SET", "everywhere", "1")
    assert_eventually(lambda: end.call("GET", "everywhere") == b"1")
    assert (middle.call("GET", "local"), end.call("GET", "local")) == (b"1", None)
    assert int(middle.info("replication")["master_repl_offset"]) > before
    assert_follows(primary, end)


def test_what_a_primary_sends_that_cannot_be_executed_brings_all_data_anew(start: Start) -> None:
    """Valkey propagates what its functions are, which do not exist here."""
    primary = start("valkey")
    replica = start(of=primary)
    assert_follows(primary, replica)
    code = "#!lua name=lib\nserver.register_function('f', function() return 1 end)"
    assert primary.call("FUNCTION", "LOAD", code) == b"lib"
    assert_eventually(lambda: "its command failed here" in replica.log_text(), replica.log_tail)
    assert_eventually(lambda: "its snapshot cannot be loaded" in replica.log_text(), replica.log_tail)
    primary.call("FUNCTION", "FLUSH")
    primary.call("SET", "a", "1")
    assert_eventually(lambda: replica.call("GET", "a") == b"1", replica.log_tail, deadline_s=SYNC_S)
    assert_same_data(primary, replica)
