"""SUBSCRIBE and its kind, PUBLISH, PUBSUB: who gets what, who is refused what, and who is too slow.

Random commands of several clients beside the real Valkey are in tests/differential/test_pubsub.py, the structure
against a model in tests/unit/keyspace/test_channels_model.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cachefleet_server.engine import Engine
from fleettest.client import Connection, Push
from fleettest.instance import Instance
from fleettest.listeners import Several
from fleettest.reference import Pair
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server


@pytest.fixture
def both(server: Instance, valkey: Instance) -> Iterator[Several]:
    made = Several(server, valkey, 4)
    yield made
    made.close()


def stat(server: Instance, name: str, section: str = "everything") -> int:
    return int(server.info(section)[name])


@pytest.mark.differential
@pytest.mark.parametrize(
    "row",
    ["PUBSUB", "PUBSUB CHANNELS", "PUBSUB CHANNELS a b", "PUBSUB channels a b c", "PUBSUB SHARDCHANNELS a b",
     "PUBSUB NUMSUB", "PUBSUB NUMSUB a b", "PUBSUB NUMPAT", "PUBSUB NUMPAT x", "PUBSUB SHARDNUMSUB a", "PUBSUB NONE",
     "PUBSUB HELP", "PUBSUB HELP x", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "UNSUBSCRIBE a b",
     "PUNSUBSCRIBE", "PUNSUBSCRIBE a*", "SUNSUBSCRIBE", "SUNSUBSCRIBE x", "PUBLISH", "PUBLISH a", "PUBLISH a b c",
     "PUBLISH a b", "SPUBLISH a", "SPUBLISH a b"],
)  # fmt: skip
def test_replies_of_who_does_not_listen(both: Several, row: str) -> None:
    if row == "PUBSUB HELP":
        with Pair(*both.servers) as pair:
            pair.run(*row.split(" "))
        return
    both.run(0, row.split(" "))
    both.run(1, ["HELLO", "3"], row.split(" "))


@pytest.mark.differential
def test_of_resp2_only_few_commands_may_follow(both: Several) -> None:
    allowed = [["PING"], ["PING", "x"], ["SUBSCRIBE", "b"], ["PSUBSCRIBE", "p*"], ["SSUBSCRIBE", "s"],
               ["UNSUBSCRIBE", "b"], ["PUNSUBSCRIBE", "p*"], ["SUNSUBSCRIBE", "s"]]  # fmt: skip
    refused = [["GET", "k"], ["SET", "k", "v"], ["CONFIG", "GET", "maxmemory"], ["MULTI"], ["EXEC"], ["HELLO", "3"],
               ["PUBLISH", "a", "m"], ["CLIENT", "GETNAME"], ["NONE"], ["GET"], ["PING", "x", "y"],
               ["WATCH", "k"]]  # fmt: skip
    for first in (["SUBSCRIBE", "a"], ["PSUBSCRIBE", "a"], ["SSUBSCRIBE", "a"]):
        both.run(0, first, *allowed, *refused)
        both.run(0, [first[0].replace("SUB", "UNSUB")], ["PING"], ["GET", "k"])
        both.run(0, first, ["RESET"], ["GET", "k"], ["PING"])
        both.run(1, ["HELLO", "3"], first, *allowed, *refused, ["HELLO", "2"], ["GET", "k"], ["PING"], ["RESET"])
    both.run(0, ["SUBSCRIBE", "a"], ["QUIT"], ["PING"])


@pytest.mark.differential
def test_a_transaction_of_who_begins_to_listen(both: Several) -> None:
    for hello in ("2", "3"):
        both.run(0, ["HELLO", hello], ["MULTI"], ["SUBSCRIBE", "a"], ["PUBLISH", "a", "m"], ["GET", "k"], ["PING"],
                 ["PSUBSCRIBE", "*"], ["PUBLISH", "a", "n"], ["UNSUBSCRIBE", "b"], ["EXEC"], ["PING"])  # fmt: skip
        both.run(1, ["PUBLISH", "a", "to both"])
        both.run(0, ["RESET"])


@pytest.mark.differential
def test_who_wants_no_replies_gets_messages(both: Several) -> None:
    both.run(0, ["HELLO", "3"], ["CLIENT", "REPLY", "OFF"], ["SUBSCRIBE", "a"], ["GET", "k"])
    both.run(1, ["PUBLISH", "a", "m"])
    both.run(0, ["PUBLISH", "a", "own"], ["CLIENT", "REPLY", "ON"])
    both.run(0, ["CLIENT", "REPLY", "SKIP"], ["PUBLISH", "a", "skipped"], ["PUBLISH", "a", "not"])


@pytest.mark.differential
def test_a_pause_of_writes_and_messages(both: Several) -> None:
    both.run(0, ["SUBSCRIBE", "a"], ["SSUBSCRIBE", "a"])
    both.run(1, ["CLIENT", "PAUSE", "100000", "WRITE"], ["PUBLISH", "a", "m"])
    both.run(2, ["SPUBLISH", "a", "m"])
    both.run(3, ["CLIENT", "UNPAUSE"])


@pytest.mark.differential
def test_monitor_shows_what_is_done(both: Several) -> None:
    for side in (0, 1):
        with both.servers[side].connect() as monitor, both.servers[side].connect(resp=3) as c:
            assert monitor.call("MONITOR") == "OK"
            c.send_command("SUBSCRIBE", "a")
            c.read()
            c.call("PUBLISH", "a", "m")
            lines = [monitor.read().split("] ", 1)[1] for _ in range(2)]
            assert lines == ['"SUBSCRIBE" "a"', '"PUBLISH" "a" "m"']


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 4095, 4096, 5000, 16_384, 100_000, 3_000_000])
def test_messages_of_all_sizes(server: Instance, size: int) -> None:
    text = bytes(range(256)) * (size // 256) + bytes(size % 256)
    with server.connect() as two, server.connect(resp=3) as three, server.connect() as publisher:
        for c in (two, three):
            for row in (("SUBSCRIBE", "a", "b"), ("PSUBSCRIBE", "?")):
                c.send_command(*row)
                for _ in row[1:]:
                    c.read()
        for kept in (False, True):  # an argument that lies in memory of its own, or in a queued request's
            if kept:
                assert publisher.pipeline([("MULTI",), ("PUBLISH", "a", text), ("EXEC",)])[-1] == [4]
            else:
                assert publisher.call("PUBLISH", "a", text) == 4
            for c in (two, three):
                got = [c.read(), c.read()]
                assert got == [[b"message", b"a", text], [b"pmessage", b"?", b"a", text]]
                assert all(isinstance(row, Push) == (c is three) for row in got)


def test_a_long_message_is_one_for_all(server: Instance) -> None:
    """Of receivers that do not read yet, each holds a reference."""
    size, receivers = 1_000_000, 40
    with server.connect() as publisher:
        listeners = [server.connect(resp=2 + i % 2) for i in range(receivers)]
        for c in listeners:
            c.send_command("SUBSCRIBE", "a")
            c.read()
        before = stat(server, "used_memory")
        sent = 8  # more than sockets take
        for _ in range(sent):
            assert publisher.call("PUBLISH", "a", b"x" * size) == receivers
        assert stat(server, "used_memory") - before < (sent + 2) * size
        for c in listeners:
            for _ in range(sent):
                assert c.read() == [b"message", b"a", b"x" * size]
            c.close()
        assert_eventually(lambda: stat(server, "pubsub_clients") == 0)


def test_who_does_not_read_is_disconnected(server: Instance) -> None:
    with server.configured(client_output_buffer_limit="pubsub 4mb 0 0"), server.connect() as publisher:
        slow, quick = server.connect(resp=3), server.connect(resp=3)
        for c in (slow, quick):
            c.send_command("SUBSCRIBE", "a")
            c.read()
        before = stat(server, "client_output_buffer_limit_disconnections")
        while stat(server, "client_output_buffer_limit_disconnections") == before:
            publisher.call("PUBLISH", "a", b"x" * 500_000)
            assert quick.read() == [b"message", b"a", b"x" * 500_000]
        assert_eventually(lambda: publisher.call("PUBSUB", "NUMSUB", "a") == [b"a", 1])
        slow.close()
        quick.close()


def test_a_message_beyond_the_limit_disconnects(server: Instance) -> None:
    """At once, and nothing of it stays."""
    with server.configured(client_output_buffer_limit="pubsub 1mb 0 0"), server.connect() as publisher:
        before = stat(server, "used_memory")
        listeners = [server.connect() for _ in range(10)]
        for c in listeners:
            c.send_command("SUBSCRIBE", "a")
            c.read()
        assert publisher.call("PUBLISH", "a", b"x" * 50_000_000) == 10
        assert all(c.closed_by_server() for c in listeners)
        assert_eventually(lambda: publisher.call("PUBSUB", "CHANNELS") == [])
        assert stat(server, "used_memory") - before < 5_000_000


def test_idle_listeners_stay(server: Instance) -> None:
    with server.configured(timeout=1), server.connect() as listener, server.connect() as idle:
        listener.send_command("SUBSCRIBE", "a")
        listener.read()
        assert idle.closed_by_server()
        assert server.call("PUBLISH", "a", "m") == 1
        assert listener.read() == [b"message", b"a", b"m"]


def test_kill_by_type(server: Instance, client: Connection) -> None:
    with server.connect() as listener:
        listener.send_command("PSUBSCRIBE", "*")
        listener.read()
        assert b" flags=P " in client.call("CLIENT", "LIST", "TYPE", "pubsub")
        assert client.call("CLIENT", "KILL", "TYPE", "pubsub") == 1
        assert listener.closed_by_server()


def test_in_process_nobody_listens() -> None:
    engine = Engine()
    assert engine.execute(b"SUBSCRIBE", b"a") == "ERR SUBSCRIBE isn't allowed for a DENY BLOCKING client"
    assert engine.execute(b"PUBLISH", b"a", b"m") == 0
    engine.close()


def test_many_channels_of_one_client(server: Instance, client: Connection) -> None:
    """Leaving one, or all, costs no walk through the others."""
    count = 100_000
    with server.connect(resp=3) as listener:
        for start in range(0, count, 1000):
            listener.send_command("SUBSCRIBE", *(f"channel:{n}" for n in range(start, start + 1000)))
            for _ in range(1000):
                listener.read()
        assert client.call("PUBLISH", "channel:99999", "m") == 1
        assert listener.read() == [b"message", b"channel:99999", b"m"]
        listener.send_command("UNSUBSCRIBE", "channel:5", "channel:50000", "none")
        assert [listener.read()[2] for _ in range(3)] == [count - 1, count - 2, count - 2]
        listener.send_command("UNSUBSCRIBE")
        assert sorted(listener.read()[2] for _ in range(count - 2)) == list(range(count - 2))
        assert client.call("PUBSUB", "CHANNELS") == []


def test_many_patterns(server: Instance, client: Connection) -> None:
    with server.connect(resp=3) as listener:
        listener.send_command("PSUBSCRIBE", *(f"user:{n}:*" for n in range(10_000)))
        for _ in range(10_000):
            listener.read()
        assert client.call("PUBSUB", "NUMPAT") == 10_000
        assert client.call("PUBLISH", "user:77:events", "m") == 1
        assert listener.read() == [b"pmessage", b"user:77:*", b"user:77:events", b"m"]
        assert client.call("PUBLISH", "user:x", "m") == 0
