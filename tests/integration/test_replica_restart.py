"""A primary or a replica that restarts, with a file, goes on where it was: nobody is sent all data."""

from __future__ import annotations

import random

import pytest

from fleettest.client import Connection, Error
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.proxy import Proxy
from fleettest.replicas import Start, assert_follows, assert_same_data, assert_sound, caught_up
from fleettest.seeder import Seeder, fill, run
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

KINDS: tuple[Kind, ...] = ("valkey", "redis", "cachefleet")
SAVE = "3600 1000000"  # only at the end
FILES: dict[str, dict[str, str]] = {"rdb": {"save": SAVE}, "aof": {"appendonly": "yes"}}


def counts(server: Instance) -> tuple[int, int]:
    """Synchronisations that it gave: full and partial ones."""
    stats = server.info("stats")
    return int(stats["sync_full"]), int(stats["sync_partial_ok"])


def saved(replica: Instance) -> None:
    replica.call("BGSAVE")
    assert_eventually(lambda: replica.info("persistence")["rdb_bgsave_in_progress"] == "0")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("killed", [True, False])
def test_a_replica_without_append_only_file(kind: Kind, killed: bool, start: Start, rng: random.Random) -> None:
    """It goes on from its last snapshot, in the database where the stream was."""
    primary, seeder = start(kind), Seeder(rng, keys=100)
    with primary.connect() as connection:
        fill(connection, seeder)
        replica = start(of=primary, save=SAVE)
        assert_same_data(primary, replica)
        for turn in range(3):
            connection.pipeline([("SELECT", 5), ("RPUSH", "l", turn)])
            assert_follows(primary, replica)
            if killed:
                saved(replica)
                connection.pipeline([("RPUSH", "l", "again"), ("SELECT", 0), *seeder.mutate(50), ("SELECT", 5)])
                assert_follows(primary, replica)
                replica.kill()
            else:
                assert replica.stop() == 0
            connection.pipeline([("RPUSH", "l", "away")])
            replica.start()
            assert_same_data(primary, replica)
            connection.call("SELECT", 0)
    assert counts(primary) == (1, 3), replica.log_text()
    assert_sound(replica)


def test_a_replica_of_a_replica_finds_it_again(start: Start) -> None:
    """The history is the primary's, so the end of the chain has nothing to notice."""
    primary = start()
    middle = start(of=primary, save=SAVE)
    end = start(of=middle, save=SAVE)
    primary.call("SET", "a", "1")
    assert_same_data(primary, end)
    middle.restart()
    primary.call("SET", "a", "2")
    assert_same_data(primary, end)
    assert (counts(primary), counts(middle)) == ((1, 1), (0, 1)), middle.log_text()


def test_a_replica_that_is_promoted_before_it_has_seen_its_primary_again(start: Start) -> None:
    """What it writes then is no part of the history of its file."""
    primary = start()
    one, other = start(of=primary, save=SAVE), start(of=primary, save=SAVE)
    primary.call("SET", "a", "1")
    for replica in (one, other):
        assert_follows(primary, replica)
    primary.kill()
    one.restart()
    assert one.info("replication")["master_link_status"] == "down"
    one.call("REPLICAOF", "NO", "ONE")
    one.call("SET", "a", "2")
    other.call("REPLICAOF", *map(str, one.address))
    assert_same_data(one, other)
    assert counts(one) == (0, 1), one.log_text()


def expiring(connection: Connection) -> None:
    connection.pipeline([("SET", f"short{i}", "v", "PX", 300) for i in range(20)])
    connection.pipeline([("SADD", "s", "a"), ("PEXPIRE", "s", 300)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", FILES)
def test_a_primary(kind: Kind, file: str, start: Start, rng: random.Random) -> None:
    """Its replicas go on, also where keys have expired while it was away: it does not load those."""
    primary, seeder = start(**FILES[file]), Seeder(rng, keys=100)
    replica = start(kind, of=primary)
    for turn in range(2):
        with primary.connect() as connection:
            fill(connection, seeder)
            run(connection, seeder.mutate(200))
            connection.pipeline([("SELECT", 3), ("RPUSH", "l", turn)])
            expiring(connection)
        assert_follows(primary, replica)
        assert primary.stop() == 0
        with replica.connect() as there:
            there.call("SELECT", 3)
            assert_eventually(lambda there=there: there.call("EXISTS", "short19", "s") == 0)
        primary.start()
        assert_same_data(primary, replica)
        with primary.connect() as connection:
            connection.pipeline([("SELECT", 3), ("RPUSH", "l", "on")])
        assert_same_data(primary, replica)
        with replica.connect() as there:
            there.call("SELECT", 3)
            assert_eventually(lambda there=there: there.call("DBSIZE") == 1, replica.log_tail)
        assert counts(primary) == (0, 1), primary.log_text()
    assert_sound(primary)


def test_a_primary_that_restarts_twice_before_they_are_back(start: Start) -> None:
    primary = start(save=SAVE)
    with Proxy(primary.address) as proxy:
        replica = start(of=proxy)
        primary.call("SET", "a", "1")
        assert_follows(primary, replica)
        proxy.close_door()
        for _ in range(3):
            primary.restart()
        proxy.open_door()
        assert_same_data(primary, replica)
    assert counts(primary)[0] == 0, primary.log_text()


def test_a_primary_that_lost_what_its_replicas_have(start: Start) -> None:
    """Its file is older than they are: they get all of what it has now."""
    primary = start(save=SAVE)
    replica = start(of=primary)
    primary.call("SET", "a", "1")
    saved(primary)
    primary.call("SET", "b", "lost")
    assert_follows(primary, replica)
    primary.kill()
    primary.start()
    primary.call("SET", "c", "1")
    assert_same_data(primary, replica)
    assert replica.call("EXISTS", "b") == 0
    assert counts(primary)[0] == 1, primary.log_text()


def _history(server: Instance) -> dict[str, str]:
    info = server.info("replication")
    return {name: value for name, value in info.items() if name.startswith(("master_repl", "second_repl", "repl_back"))}


@pytest.mark.parametrize("kind", ["valkey", "cachefleet"])
def test_what_a_primary_says_of_its_history_after_a_restart(kind: Kind, start: Start) -> None:
    """The same as Valkey: a new id, and the one before it up to what was saved."""
    primary = start(kind, save=SAVE, repl_ping_replica_period=1000)
    replica = start("valkey", of=primary)
    assert_follows(primary, replica)
    primary.call("SET", "a", "1")
    assert_follows(primary, replica)
    replica.kill()
    assert_eventually(lambda: primary.info("replication")["connected_slaves"] == "0")
    before = _history(primary)
    primary.restart()
    after = _history(primary)
    assert after.pop("master_replid") != before["master_replid"]
    assert after == {
        "master_replid2": before["master_replid"],
        "master_repl_offset": before["master_repl_offset"],
        "second_repl_offset": str(int(before["master_repl_offset"]) + 1),
        "repl_backlog_active": "1",
        "repl_backlog_size": before["repl_backlog_size"],
        "repl_backlog_first_byte_offset": str(int(before["master_repl_offset"]) + 1),
        "repl_backlog_histlen": "0",
    }


def test_without_replicas_a_file_names_no_history(start: Start) -> None:
    server = start(save=SAVE)
    server.call("SET", "a", "1")
    server.restart()
    info = server.info("replication")
    assert (info["repl_backlog_active"], info["master_replid2"]) == ("0", "0" * 40)


def test_the_backlog_of_a_start_ends_when_nobody_comes(start: Start) -> None:
    primary = start(save=SAVE, repl_backlog_ttl=1)
    replica = start(of=primary)
    primary.call("SET", "a", "1")
    assert_follows(primary, replica)
    assert caught_up(primary, replica)
    replica.kill()
    primary.restart()
    assert_eventually(lambda: primary.info("replication")["repl_backlog_active"] == "0")


# -- an orderly end


def held(primary: Instance) -> Connection:
    """A client that has asked for a shutdown, which waits."""
    connection = primary.connect()
    connection.send_command("SHUTDOWN")
    assert_eventually(lambda: primary.info("clients")["paused_reason"] == "shutdown_in_progress")
    return connection


FAILED = Error("ERR Errors trying to SHUTDOWN. Check logs.")


@pytest.mark.parametrize("kind", ["valkey", "cachefleet"])
def test_a_shutdown_waits_for_a_replica_and_can_be_aborted(kind: Kind, start: Start) -> None:
    primary = start(kind, shutdown_timeout=60, repl_timeout=600)
    assert primary.call("SHUTDOWN", "ABORT") == Error("ERR No shutdown in progress.")
    with Proxy(primary.address) as proxy:
        replica = start(of=proxy, save=SAVE)
        assert_follows(primary, replica)
        proxy.hold()
        primary.call("SET", "a", "1")
        with held(primary) as asking, primary.connect() as other, held(primary) as joining, primary.connect() as writer:
            assert other.call("GET", "a") == b"1"
            writer.send_command("SET", "b", "1")
            assert_eventually(lambda: other.call("CLIENT", "LIST", "FLAGS", "b").count(b"cmd=set") == 1)
            assert other.call("SHUTDOWN", "ABORT") == "OK"
            assert (asking.read(), joining.read(), writer.read()) == (FAILED, FAILED, "OK")
        with held(primary) as asking:
            proxy.release()
            with pytest.raises(EOFError):
                asking.read()
            assert primary.wait_exit() == 0
        with replica.connect() as there:
            assert there.call("MGET", "a", "b") == [b"1", b"1"]


@pytest.mark.parametrize("words", ["", "NOW"])
def test_a_shutdown_waits_no_longer_than_it_may(words: str, start: Start) -> None:
    primary = start(shutdown_timeout=1 if not words else 600)
    with Proxy(primary.address) as proxy:
        replica = start(of=proxy)
        assert_follows(primary, replica)
        proxy.hold()
        primary.call("SET", "a", "1")
        with primary.connect() as connection, pytest.raises(EOFError):
            connection.call("SHUTDOWN", *words.split())
        assert primary.wait_exit() == 0
    assert ("has not confirmed all at the exit" in primary.log_text()) == (not words)
