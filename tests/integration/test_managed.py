"""Managed failover with real processes: a start is fenced, a record opens it, replicas follow by records, leases run
out and come back, a primary that died does not come back by itself, a handover loses nothing."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
from functools import partial
from pathlib import Path

import pytest

from fleettest.client import Error, encode
from fleettest.instance import Instance, StartError
from fleettest.managedfleet import DATA, Begin, Fleet, ask, fields, in_tenure, refused, state, writes
from fleettest.replicas import assert_same_data
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

def test_without_the_parameter(tmp_path: Path) -> None:
    with Instance(directory=tmp_path) as server:
        for words in (("STATE",), ("FENCE", "d", 1), ("PAUSE", "d", 1, 1), ("RESUME", "d", 1)):
            assert ask(server, *words) == Error("ERR This server is not managed.")
        assert server.call("REPLCONF", "cachefleet", "1", "d") == Error("ERR syntax error"), "as Valkey"
        assert writes(server)
    assert not (tmp_path / "managed.json").exists()


def test_a_start_is_fenced_and_the_first_record_opens_it(fleet: Begin) -> None:
    servers = fleet(1).servers
    (server,) = servers
    assert refused(server)
    assert state(server)["role"] == "fenced"
    assert server.call("GET", "k") is None, "reading is not refused"
    one = Fleet(servers)
    one.decide("first", server, state(server), acks=0, members=[one.disk(server)])
    assert one.tell(server, "x" * 40).startswith("WRONGDISK ")
    assert one.tell(server) == "OK"
    assert one.tell(server) == "OK"
    assert writes(server)
    said = state(server)
    assert (said["role"], said["reign"], said["tenure"], said["lease"]) == ("primary", "1", "1", "none")
    assert (said["solo-epoch"], said["data-set"], said["keys"]) == ("1", DATA, "1")
    kept = json.loads((server.directory / "managed.json").read_text())
    assert (kept["disk"], kept["promise"]) == (said["disk"], 1)


def test_replicaof_is_not_for_people(fleet: Begin, tmp_path: Path) -> None:
    server = fleet(1).servers[0]
    assert "is managed" in server.call("REPLICAOF", "127.0.0.1", 1)
    assert "is managed" in server.call("REPLICAOF", "NO", "ONE")
    assert "is managed" in server.call("FAILOVER")
    assert "is managed" in server.call("PSYNC", "a" * 40, "1", "FAILOVER")
    both = Instance(directory=tmp_path / "both", options={"managed": "yes", "replicaof": ["127.0.0.1", "1"]})
    with pytest.raises(StartError, match="exclude each other"):
        both.start()


def test_replicas_follow_by_record(fleet: Begin) -> None:
    three = fleet(3).begin(acks=2)
    primary, *replicas = three.servers
    primary.call("SET", "a", "1")
    for replica in replicas:
        assert_same_data(primary, replica)
        said = assert_eventually(partial(in_tenure, replica, "1"))
        assert (said["role"], said["link"], said["primary"]) == ("replica", "up", three.primary_disk)
        assert refused(replica)
    assert_eventually(lambda: state(primary)["confirmations"].count("=1:") == 2)
    assert state(primary)["lease"] == "held"


def test_failover(fleet: Begin) -> None:
    three = fleet(3).begin()
    old, *replicas = three.servers
    old.call("SET", "a", "1")
    for replica in replicas:
        assert_same_data(old, replica)
    old.kill()
    answers = {server: three.fence(server) for server in replicas}
    best = max(replicas, key=lambda s: (int(answers[s]["tenure"]), int(answers[s]["offset"])))
    three.decide("elected", best, answers[best])
    three.tell_all()
    assert_eventually(lambda: writes(best))
    assert best.call("GET", "a") == b"1"
    old.start()
    assert refused(old)
    assert state(old)["role"] == "fenced"
    stale = Fleet(three.servers)
    stale.__dict__.update(three.__dict__, epoch=1, tenure=1, kind="first", primary=old, primary_disk=three.disk(old))
    assert stale.tell(best).startswith("STALE ")
    assert stale.tell(old).startswith("WRONGRUN "), "it was the primary of that record, in another run"
    assert three.tell(old) == "OK"
    assert_same_data(best, old)
    assert_eventually(lambda: state(old)["tenure"] == "2")


def test_a_lease_runs_out_and_comes_back(fleet: Begin) -> None:
    two = fleet(2).begin()
    primary, replica = two.servers
    os.kill(replica.pid, signal.SIGSTOP)
    try:
        assert_eventually(lambda: refused(primary))
        assert state(primary)["lease"] == "lost"
        assert primary.call("CONFIG", "SET", "min-replicas-to-write", "0") == "OK"
        assert refused(primary)
        assert primary.call("GET", "k") == b"v"
    finally:
        os.kill(replica.pid, signal.SIGCONT)
    assert_eventually(lambda: writes(primary))


def test_a_primary_that_was_stopped_executes_nothing_when_it_wakes(fleet: Begin) -> None:
    """What came meanwhile is executed in the first tick, before any timer."""
    two = fleet(2).begin()
    primary, replica = two.servers
    assert_eventually(lambda: state(replica)["beat-age-ms"])
    with primary.connect() as connection:
        connection.call("SET", "before", "1")
        os.kill(primary.pid, signal.SIGSTOP)
        age = assert_eventually(lambda: int(state(replica)["beat-age-ms"]) > 2600 or None)
        assert age
        connection.send_command("SET", "late", "1")
        os.kill(primary.pid, signal.SIGCONT)
        assert isinstance(connection.read(), Error)
    assert primary.call("EXISTS", "late") == 0
    assert_eventually(lambda: writes(primary))


def test_members_share_their_password(fleet: Begin) -> None:
    primary, replica = fleet(2).begin().servers
    assert_eventually(lambda: state(replica)["link"] == "up", replica.log_tail)
    with primary.connect() as ours, replica.connect() as theirs:
        for connection in (ours, theirs):
            assert connection.call("CONFIG", "SET", "requirepass", "secret") == "OK"
        assert ours.call("CLIENT", "KILL", "TYPE", "replica") == 1
        assert_eventually(lambda: b"sync_partial_ok:1" in ours.call("INFO", "stats"), replica.log_tail)
        assert_eventually(lambda: ours.call("SET", "k", "v") == "OK")


def test_solo_opens_itself(fleet: Begin) -> None:
    one = fleet(1).begin(acks=0)
    (server,) = one.servers
    server.call("SET", "a", "1")
    disk = one.disk(server)
    server.restart(kill=True)
    assert writes(server)
    assert server.call("GET", "a") == b"1"
    assert one.disk(server) == disk
    assert one.fence(server)["reign"] == "1"
    server.restart()
    assert refused(server), "it has promised something"


def test_a_new_disk_id_where_nothing_is_proved(fleet: Begin) -> None:
    one = fleet(1).begin(acks=0)
    (server,) = one.servers
    disk = one.disk(server)
    server.stop()
    (server.directory / "managed.json").write_text("{")
    server.start()
    assert one.disk(server) != disk
    assert refused(server)
    wrong = ask(server, "FENCE", disk, 9)
    assert wrong.startswith("WRONGDISK ")


def test_what_was_not_kept_once(fleet: Begin, tmp_path: Path) -> None:
    one = fleet(1, **{"enable-protected-configs": "yes"}).begin(acks=0)
    (server,) = one.servers
    disk = one.disk(server)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert server.call("CONFIG", "SET", "dir", str(elsewhere)) == "OK"
    assert json.loads((elsewhere / "managed.json").read_text())["disk"] == disk
    assert not (server.directory / "managed.json").exists(), "what is left behind is a copy"
    assert server.call("CONFIG", "SET", "dir", str(server.directory)) == "OK"
    server.restart()
    assert one.disk(server) == disk
    for value in ("no", "yes"):
        assert server.call("CONFIG", "SET", "appendonly", value) == "OK"
    server.restart()
    assert one.disk(server) != disk
    assert "this is a new disk" in server.log_text()


def test_prepare(fleet: Begin) -> None:
    """From one server to two: the second one has all before it counts."""
    two = fleet(2)
    primary, joining = two.servers
    two.decide("first", primary, state(primary), acks=0, members=[two.disk(primary)])
    two.tell_all()
    assert writes(primary)
    both = f"{two.disk(primary)},{two.disk(joining)}"
    assert_eventually(lambda: ask(primary, "PREPARE", two.disk(primary), 1, both, 1) == "OK")
    assert state(primary)["prepared"].startswith("1 1 ")
    assert ask(primary, "PREPARE", two.disk(primary), 1, f"{two.disk(primary)},{'e' * 40}", 1).startswith("BUSY ")
    two.decide("continued", primary, state(primary), acks=1, members=both.split(","))
    two.tell_all()
    assert_eventually(lambda: writes(primary))
    assert (state(primary)["prepared"], state(primary)["epoch"], state(primary)["reign"]) == ("", "2", "1")


def test_a_handover_loses_nothing(fleet: Begin) -> None:
    two = fleet(2).begin()
    old, new = two.servers
    acknowledged: list[int] = []
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            try:
                with two.primary.connect() as connection:
                    while isinstance(reply := connection.call("RPUSH", "list", "x"), int) and not over.is_set():
                        acknowledged.append(reply)
            except (OSError, EOFError):
                continue  # cut by the FENCE

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        assert_eventually(lambda: len(acknowledged) > 100)
        disk = two.disk(old)
        assert ask(old, "PAUSE", disk, two.epoch, 2000) == "OK"
        assert_eventually(lambda: state(old)["offset"] == state(new)["offset"])
        facts = two.fence(old)
        assert facts["reign"] == "1"
        at = state(new)
        assert (at["tenure"], at["offset"]) == (facts["tenure"], facts["offset"])
        two.decide("handover", new, at)
        two.tell_all()
        before = len(acknowledged)
        assert_eventually(lambda: len(acknowledged) > before + 100)
    finally:
        over.set()
        thread.join()
    assert all(one < next for one, next in itertools.pairwise(acknowledged)), "one that is lost is counted again"
    assert new.call("LLEN", "list") >= acknowledged[-1]
    assert_same_data(new, old)


def test_a_primary_that_was_stopped_in_the_middle_of_a_tick_says_nothing(fleet: Begin) -> None:
    two = fleet(2).begin()
    primary = two.primary
    with primary.connect() as connection:
        assert connection.pipeline([("SET", "a", "1"), ("DEBUG", "SLEEP", "0.1")]) == ["OK", "OK"]
        connection.send(encode("SET", "a", "2") + encode("DEBUG", "SLEEP", "2.7"))
        assert connection.closed_by_server()
    assert_eventually(lambda: writes(primary))
    assert primary.call("GET", "a") == b"2", "nobody could say what became of it"


def test_a_promise_that_cannot_be_stored_is_none(fleet: Begin) -> None:
    one = fleet(1).begin(acks=0)
    (server,) = one.servers
    in_the_way = server.directory / "managed.json.new"
    in_the_way.mkdir()
    disk = one.disk(server)
    assert ask(server, "FENCE", disk, 2).startswith("ERR the state cannot be stored: ")
    assert refused(server), "what it knows and what it keeps differ: it does nothing"
    in_the_way.rmdir()
    assert fields(ask(server, "FENCE", disk, 2))["disk"] == disk
    assert json.loads((server.directory / "managed.json").read_text())["promise"] == 2


def test_a_replica_that_was_killed_goes_on(fleet: Begin) -> None:
    two = fleet(2).begin()
    primary, replica = two.servers
    primary.call("SET", "a", "1")
    assert_same_data(primary, replica)
    assert_eventually(partial(in_tenure, replica, "1"))
    disk = two.disk(replica)
    full = primary.info("stats")["sync_full"]
    replica.restart(kill=True)
    said = state(replica)
    assert (said["disk"], said["role"], said["tenure"], said["link"]) == (disk, "fenced", "1", "none")
    assert said["confirmed-age-ms"] != ""
    assert two.tell(replica) == "OK"
    assert_eventually(lambda: writes(primary))
    assert_same_data(primary, replica)
    assert primary.info("stats")["sync_full"] == full, replica.log_text()


def masterdown(reply: object) -> bool:
    return isinstance(reply, Error) and reply.startswith("MASTERDOWN ")


def test_a_lease_that_is_over_ends_reads_where_they_must_not_be_stale(fleet: Begin) -> None:
    """Another one may be the primary by then. `replica-serve-stale-data yes`: it is read on, as above."""
    two = fleet(2).begin()
    primary, replica = two.servers
    assert primary.call("CONFIG", "SET", "replica-serve-stale-data", "no") == "OK"
    assert primary.call("GET", "k") == b"v"
    os.kill(replica.pid, signal.SIGSTOP)
    try:
        assert_eventually(lambda: masterdown(primary.call("GET", "k")))
        assert state(primary)["lease"] == "lost", "whoever looks, may"
        assert primary.call("INFO", "server")
        with primary.connect() as connection:
            assert connection.pipeline([("MULTI",), ("GET", "k")])[0] == "OK"
            assert isinstance(connection.call("EXEC"), Error)
        assert primary.call("CONFIG", "SET", "replica-serve-stale-data", "yes") == "OK"
        assert primary.call("GET", "k") == b"v"
        assert primary.call("CONFIG", "SET", "replica-serve-stale-data", "no") == "OK"
        assert masterdown(primary.call("GET", "k"))
    finally:
        os.kill(replica.pid, signal.SIGCONT)
    assert_eventually(lambda: primary.call("GET", "k") == b"v")


def test_who_begins_without_a_lease_is_followed_by_those_who_bring_it(fleet: Begin) -> None:
    """To follow is no read, nor is what the operator asks."""
    two = fleet(2)
    for server in two.servers:
        assert server.call("CONFIG", "SET", "replica-serve-stale-data", "no") == "OK"
    two.begin()
    primary, replica = two.servers
    assert primary.call("PING") == "PONG"
    assert_eventually(lambda: replica.call("GET", "k") == b"v")
    os.kill(replica.pid, signal.SIGSTOP)
    try:
        assert_eventually(lambda: masterdown(primary.call("GET", "k")))
        assert primary.call("PING") == "PONG"
    finally:
        os.kill(replica.pid, signal.SIGCONT)


def test_a_primary_that_was_stopped_in_the_middle_of_a_tick_reads_nothing_behind_it(fleet: Begin) -> None:
    """The lease is looked at before each read, not once a tick."""
    primary = fleet(2).begin().primary
    with primary.connect() as connection:
        assert connection.call("CONFIG", "SET", "replica-serve-stale-data", "no") == "OK"
        assert_eventually(lambda: connection.call("GET", "k") == b"v")
        before, slept, after = connection.pipeline([("GET", "k"), ("DEBUG", "SLEEP", "2.7"), ("GET", "k")])
        assert (before, slept) == (b"v", "OK")
        assert masterdown(after)
    assert_eventually(lambda: primary.call("GET", "k") == b"v")


def test_who_needs_nobody_is_read_by_itself(fleet: Begin) -> None:
    one = fleet(1)
    (server,) = one.servers
    assert server.call("CONFIG", "SET", "replica-serve-stale-data", "no") == "OK"
    assert masterdown(server.call("GET", "k")), "fenced"
    one.begin(acks=0)
    assert server.call("GET", "k") == b"v"
    one.fence(server)
    assert masterdown(server.call("GET", "k"))
