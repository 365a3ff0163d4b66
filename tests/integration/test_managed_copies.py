"""Durability replicated, with real processes: a write is replied when enough members of the record's set have it, or
its outcome is said to be unknown; whoever is elected has all that was replied."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
import redis

from fleettest.client import Connection, encode
from fleettest.instance import Instance
from fleettest.managedfleet import Begin, Fleet, ask, fields, managed_servers, state
from fleettest.replicas import assert_same_data
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

UNKNOWN = "UNKNOWNOUTCOME "


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Begin]:
    with ExitStack() as stack:

        def begin(count: int, acks: int = 1, **options: str) -> Fleet:
            servers = stack.enter_context(managed_servers(tmp_path, count, **options))
            begun = Fleet(servers, "replicated").begin(acks)
            for server in servers[1:]:
                assert_eventually(partial(confirms, begun, server))
            return begun

        yield begin


def confirms(fleet: Fleet, server: Instance) -> bool:
    return f"{fleet.disk(server)}=" in state(fleet.primary)["confirmations"]


@contextmanager
def stopped(server: Instance) -> Iterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def held(server: Instance) -> int:
    return int(server.info("clients")["held_replies"])


def nothing_comes(connection: Connection) -> bool:
    """After something else was asked and answered, which a tick took in which it could have come."""
    connection.sock.settimeout(0.1)
    try:
        connection.sock.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.sock.settimeout(30)
    return False


def test_a_reply_waits_for_the_copy(fleet: Begin) -> None:
    two = fleet(2)
    primary, replica = two.servers
    assert primary.call("SET", "a", "1") == "OK"
    with primary.connect() as writer, primary.connect() as reader:
        with stopped(replica):
            writer.send_command("SET", "a", "2")
            assert_eventually(lambda: held(primary) == 1)
            assert nothing_comes(writer)
            assert reader.call("GET", "a") == b"2", "others see what is not confirmed yet"
            assert state(primary)["role"] == "primary"
        assert writer.read() == "OK"
    assert held(primary) == 0
    assert replica.call("GET", "a") == b"2"


def test_it_needs_no_lease_to_be_replied(fleet: Begin) -> None:
    """The replica is away for longer than a lease; what it confirms then was written under one."""
    two = fleet(2)
    primary, replica = two.servers
    with primary.connect() as writer:
        with stopped(replica):
            writer.send_command("SET", "a", "2")
            assert_eventually(lambda: state(primary)["lease"] == "lost")
            assert held(primary) == 1
        assert writer.read() == "OK"


def test_too_long(fleet: Begin) -> None:
    two = fleet(2, **{"durability-timeout": "400"})
    primary, replica = two.servers
    with primary.connect() as plain, primary.connect() as transaction, primary.connect() as popping:
        with stopped(replica):
            popping.send_command("BLPOP", "list", 0)
            plain.send(encode("SET", "a", 1) + encode("GET", "a") + encode("RPUSH", "list", 1) + encode("PING"))
            transaction.send(encode("MULTI") + encode("SET", "b", 1) + encode("INCR", "c") + encode("EXEC"))
            assert plain.read().startswith(UNKNOWN)
            assert plain.read() == b"1"
            assert plain.read().startswith(UNKNOWN)
            assert plain.read() == "PONG"
            assert [transaction.read() for _ in range(3)] == ["OK", "QUEUED", "QUEUED"]
            assert transaction.read().startswith(UNKNOWN)
            assert popping.read().startswith(UNKNOWN)
        assert_eventually(lambda: plain.call("SET", "a", 2) == "OK")
        assert transaction.call("GET", "b") == b"1"
    assert primary.info("stats")["unknown_outcomes"] == "4"
    assert primary.info("errorstats")["errorstat_UNKNOWNOUTCOME"] == "count=4"
    assert_same_data(primary, replica)


def test_clients_do_not_try_again(fleet: Begin) -> None:
    """A client that did would count twice."""
    two = fleet(2, **{"durability-timeout": "300"})
    primary, replica = two.servers
    client = redis.Redis(port=primary.port)
    try:
        with stopped(replica), pytest.raises(redis.ResponseError, match="UNKNOWNOUTCOME"):
            client.incr("n")
        assert_eventually(lambda: primary.call("SET", "k", "v") == "OK")
        assert client.get("n") == b"1"
    finally:
        client.close()


def test_no_reply_and_messages(fleet: Begin) -> None:
    two = fleet(2)
    primary, replica = two.servers
    with primary.connect() as silent, primary.connect(resp=3) as listener, primary.connect() as publisher:
        listener.send_command("SUBSCRIBE", "c")
        assert listener.read() == [b"subscribe", b"c", 1]
        with stopped(replica):
            silent.send(encode("CLIENT", "REPLY", "OFF") + encode("SET", "a", 1) + encode("CLIENT", "REPLY", "ON"))
            assert silent.read() == "OK", "nothing of it was held"
            listener.send_command("SET", "b", 1)
            assert_eventually(lambda: held(primary) == 1)
            assert publisher.call("PUBLISH", "c", "word") == 1, "a message is no write"
            assert nothing_comes(listener), "its stream is one, and nothing overtakes"
        assert listener.read() == "OK"
        assert listener.read() == [b"message", b"c", b"word"]


def test_fewer_copies_let_go(fleet: Begin) -> None:
    """The set shrinks: the operator's word, with which the reply goes at once."""
    two = fleet(2)
    primary, replica = two.servers
    with primary.connect() as writer, stopped(replica):
        writer.send_command("SET", "a", "2")
        assert_eventually(lambda: held(primary) == 1)
        two.decide("continued", primary, state(primary), acks=0, members=[two.disk(primary)])
        assert two.tell(primary) == "OK"
        assert writer.read() == "OK"


def test_a_prepared_set_counts_too(fleet: Begin) -> None:
    three = fleet(3)
    primary, _, joining = three.servers
    disks = [three.disk(server) for server in three.servers]
    with primary.connect() as writer, stopped(joining):
        assert writer.call("SET", "a", "1") == "OK", "one of two is enough"
        assert ask(primary, "PREPARE", disks[0], three.epoch, f"{disks[0]},{disks[2]}", 1) in ("OK", "WAITING")
        writer.send_command("SET", "a", "2")
        assert_eventually(lambda: held(primary) == 1)
        assert nothing_comes(writer)
        three.decide("continued", primary, state(primary), acks=1, members=disks)
        assert three.tell(primary) == "OK"
        assert writer.read() == "OK", "it is not prepared any more"


def test_who_waits_when_it_is_fenced_is_told_nothing(fleet: Begin) -> None:
    """Whoever fences it, too."""
    two = fleet(2)
    primary, replica = two.servers
    disk = two.disk(primary)
    with primary.connect() as writer, primary.connect() as both, stopped(replica):
        writer.send_command("SET", "a", "2")
        both.send_command("SET", "b", "2")
        assert_eventually(lambda: held(primary) == 2)
        both.send_command("CACHEFLEET", "FENCE", disk, two.epoch + 1)
        assert writer.closed_by_server()
        assert both.closed_by_server()
        for connection in (writer, both):
            with pytest.raises((EOFError, ConnectionError)):
                connection.read()
    assert fields(ask(primary, "STATE"))["role"] == "fenced"


def test_both_the_disk_and_the_copy(fleet: Begin) -> None:
    two = fleet(2, appendfsync="always")
    primary, replica = two.servers
    with primary.connect() as writer:
        assert writer.pipeline([("INCR", "n")] * 100) == list(range(1, 101))
        with stopped(replica):
            writer.send_command("INCR", "n")
            assert_eventually(lambda: held(primary) == 1)
        assert writer.read() == 101


def test_ticks_are_confirmed_not_beats(fleet: Begin) -> None:
    """Two hundred round trips, one after the other, take less than as many beats."""
    two = fleet(2)
    primary = two.primary
    beats = int(state(primary)["offset"])
    with primary.connect() as writer:
        for n in range(200):
            assert writer.call("SET", "a", n) == "OK"
    end = int(state(primary)["offset"])
    written = 200 * len(encode("SET", "a", 100))
    assert end - beats < written + 60 * len(encode("PING", f"cachefleet:{two.epoch}:promptly")), "12 s of beats"


@pytest.mark.parametrize("acks", [1, 2])
def test_whoever_is_elected_has_all_that_was_replied(fleet: Begin, acks: int) -> None:
    three = fleet(3, acks)
    old, *replicas = three.servers
    replied: list[list[int]] = [[], []]

    def write(mine: list[int], name: str) -> None:
        with old.connect() as connection:
            try:
                while isinstance(reply := connection.call("RPUSH", name, "x"), int):
                    mine.append(reply)
            except (OSError, EOFError):
                return

    threads = [threading.Thread(target=write, args=(replied[i], f"list{i}"), daemon=True) for i in range(2)]
    for thread in threads:
        thread.start()
    assert_eventually(lambda: len(replied[0]) > 200 and len(replied[1]) > 200)
    old.kill()
    for thread in threads:
        thread.join()
    voters = replicas[: 3 - acks]  # so many promises are enough
    answers = {server: three.fence(server) for server in voters}
    best = max(voters, key=lambda s: (int(answers[s]["tenure"]), int(answers[s]["offset"])))
    three.decide("elected", best, answers[best])
    three.tell_all()
    for i in range(2):
        assert best.call("LLEN", f"list{i}") >= replied[i][-1]
    assert_eventually(lambda: best.call("SET", "k", "v") == "OK")
