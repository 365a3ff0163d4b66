"""CLIENT TRACKING and its kind: the rules of modes, what happens by itself, limits, and clients that go away.

Random commands of several clients beside the real Valkey are in tests/differential/test_tracking.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from cachefleet_server.admin.client_cmd import ClientCommands
from cachefleet_server.admin.tracking import TrackingCommands
from cachefleet_server.engine import Engine
from fleettest.client import Connection
from fleettest.instance import Instance
from fleettest.listeners import Several, without_ids
from fleettest.peers import Peer, connecting
from fleettest.reference import Pair
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server


@pytest.fixture
def both(server: Instance, valkey: Instance) -> Iterator[Several]:
    made = Several(server, valkey, 3, without_ids)
    yield made
    made.close()


def told(connection: Connection) -> list[object]:
    """The keys that it was told; None for all."""
    assert connection.call("PING") == "PONG"
    found = [push[1] for push in connection.pushes if push[0] == b"invalidate"]
    connection.pushes.clear()
    return [key for keys in found for key in (keys if keys is not None else [None])]


@pytest.mark.differential
@pytest.mark.parametrize("hello", ["2", "3"])
def test_replies_and_errors(both: Several, hello: str) -> None:
    both.run(0, ["HELLO", hello])
    for row in (
        "", " x", " on REDIRECT 99999", " on REDIRECT x", " on REDIRECT", " on REDIRECT 0", " on REDIRECT -1",
        " on foo", " on PREFIX a", " on PREFIX", " on BCAST PREFIX", " on BCAST OPTIN", " on OPTIN OPTOUT", " off x",
        " off OPTIN", " on REDIRECT {1} REDIRECT {1}", " on", "INFO", " on BCAST", " on OPTIN", "INFO", " on OPTOUT",
        " on OPTIN OPTIN",
        " off", "INFO", " on OPTOUT NOLOOP", "INFO", " on NOLOOP", "INFO", " off", " on BCAST PREFIX a PREFIX ab",
        " on BCAST PREFIX b PREFIX a", " on BCAST PREFIX bc", " on BCAST PREFIX b", " on BCAST PREFIX c", "INFO",
        " on bcast", "INFO", " on BCAST PREFIX x", " on", " off", "INFO x", " on noloop Prefix a bcast", "INFO",
    ):  # fmt: skip
        both.run(0, f"CLIENT TRACKING{row}".split(" "))
    for state in ("off", "on", "on OPTIN", "off", "on OPTOUT"):
        both.run(0, ["CLIENT", "TRACKING", *state.split(" ")])
        for row in ("CACHING", "CACHING x", "CACHING yes", "TRACKINGINFO", "CACHING no", "TRACKINGINFO", "GETREDIR"):
            both.run(0, ["CLIENT", *row.split(" ")])
    for row in ("off", "on OPTIN"):
        both.run(0, ["CLIENT", "TRACKING", *row.split(" ")])
    both.run(0, ["CLIENT", "CACHING", "yes"], ["CLIENT", "TRACKING", "on", "OPTIN", "NOLOOP"],
             ["CLIENT", "TRACKINGINFO"], ["GET", "a"], ["CLIENT", "TRACKINGINFO"])  # fmt: skip
    both.run(1, ["SET", "a", "1"])


@pytest.mark.differential
def test_its_own_changes_come_behind_messages_and_replies(both: Several) -> None:
    for side in (0, 1):
        both.admins[side].call("CONFIG", "SET", "notify-keyspace-events", "KEA")
    try:
        both.run(0, ["HELLO", "3"], ["PSUBSCRIBE", "__key*"], ["CLIENT", "TRACKING", "on"])
        both.run(0, ["MGET", "a", "b"], ["MSET", "a", "1", "b", "2"], ["PING"])
        both.run(0, ["MGET", "a", "b"], ["MULTI"], ["SET", "a", "1"], ["PUBLISH", "__keyx", "m"], ["DEL", "b"],
                 ["EXEC"], ["PING"])  # fmt: skip
        both.run(1, ["HELLO", "3"], ["CLIENT", "TRACKING", "on", "BCAST"], ["MULTI"], ["SET", "z", "1"], ["DEL", "a"],
                 ["SET", "z", "2"], ["EXEC"])  # fmt: skip
    finally:
        for side in (0, 1):
            both.admins[side].call("CONFIG", "SET", "notify-keyspace-events", "")


@pytest.mark.differential
def test_redirection_to_a_listener_in_resp2(both: Several) -> None:
    both.run(1, ["SUBSCRIBE", "__redis__:invalidate"])
    both.run(0, ["CLIENT", "TRACKING", "on", "REDIRECT", "{1}"], ["GET", "a"], ["MGET", "b", "c"])
    both.run(2, ["MSET", "a", "1", "c", "3"])
    both.run(2, ["FLUSHALL"])
    both.run(0, ["CLIENT", "TRACKING", "off"], ["CLIENT", "TRACKING", "on", "BCAST", "REDIRECT", "{1}"])
    both.run(2, ["MSET", "a", "1", "c", "3", "b", "1"])
    both.run(1, ["UNSUBSCRIBE"])
    both.run(2, ["SET", "a", "2"])
    both.run(0, ["HELLO", "3"], ["CLIENT", "TRACKINGINFO"])
    both.run(1, ["QUIT"])
    got = both.run(2, ["SET", "a", "3"])
    assert got[0][0][0] == b"tracking-redir-broken"


def test_expiry_is_told(server: Instance) -> None:
    with server.connect(resp=3) as c, server.connect(resp=3) as wide:
        c.call("CLIENT", "TRACKING", "on")
        wide.call("CLIENT", "TRACKING", "on", "BCAST", "NOLOOP", "PREFIX", "k")
        server.call("SET", "k", "v", "PX", 30)
        assert told(wide) == [b"k"]
        c.call("GET", "k")
        found: list[object] = []

        def came() -> bool:
            found.extend(told(c))
            return found == [b"k"]

        assert_eventually(came)
        assert_eventually(lambda: told(wide) == [b"k"])


def test_eviction_is_told(server: Instance) -> None:
    with server.connect(resp=3) as c, server.connect() as writer:
        c.call("CLIENT", "TRACKING", "on")
        keys = 2000
        writer.pipeline([("SET", f"key:{n}", "x" * 1000) for n in range(keys)])
        c.pipeline([("GET", f"key:{n}") for n in range(keys)])
        used = int(server.info("memory")["used_memory"])
        with server.configured(maxmemory=used - 500_000, maxmemory_policy="allkeys-random"):
            writer.call("SET", "one", "more")
            assert_eventually(lambda: int(server.info("memory")["used_memory"]) <= used - 500_000)
            gone = told(c)
            left = writer.call("DBSIZE") - writer.call("EXISTS", "one")
        assert len(gone) == len(set(map(str, gone))) == keys - left > 100


def test_the_table_has_a_limit(server: Instance) -> None:
    with server.configured(tracking_table_max_keys=100), server.connect(resp=3) as c:
        c.call("CLIENT", "TRACKING", "on")
        c.pipeline([("GET", f"key:{n}") for n in range(1000)])
        assert_eventually(lambda: int(server.info("stats")["tracking_total_keys"]) <= 100)
        gone = told(c)
        assert len(gone) == len(set(map(str, gone))) == 900
        server.call("MSET", *(word for n in range(1000) for word in (f"key:{n}", "v")))
        assert sorted(map(str, gone + told(c))) == sorted(str(b"key:%d" % n) for n in range(1000))


def test_many_keys_of_one_command_and_many_readers_of_one_key(server: Instance) -> None:
    readers = [server.connect(resp=3) for _ in range(50)]
    for c in readers:
        c.call("CLIENT", "TRACKING", "on")
        c.call("MGET", *(f"k{n}" for n in range(300)))
    info = server.info("stats")
    assert (info["tracking_total_keys"], info["tracking_total_items"]) == ("300", "15000")
    server.call("SET", "k299", "v")
    for c in readers:
        assert told(c) == [b"k299"]
        c.close()
    server.call("MSET", *(word for n in range(300) for word in (f"k{n}", "v")))
    info = server.info("stats")
    assert (info["tracking_total_keys"], info["tracking_total_items"]) == ("0", "0")


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    ClientCommands(made, 16).register()
    TrackingCommands(made).register()
    yield made
    assert made.check() == []
    made.close()


@pytest.fixture
def connect(engine: Engine) -> Iterator[Callable[..., Peer]]:
    with connecting(engine) as make:
        yield make


def test_clients_that_go_leave_nothing(engine: Engine, connect: Callable[..., Peer]) -> None:
    """Whatever they read, were told, or told others through; and the engine agrees with itself all the time."""
    target, *rest = (connect(3) for _ in range(4))
    for i, peer in enumerate(rest):
        more = (f" REDIRECT {target.id}", " BCAST PREFIX k PREFIX l", " NOLOOP")[i]
        assert peer.send(f"CLIENT TRACKING on{more}") == b"+OK\r\n"
        assert peer.send("MGET k1 k2 k3", "SET k1 v").startswith(b"*3\r\n")
        assert engine.check() == []
    target.socket.close()
    for peer in rest:
        peer.send("SET k2 v", "GET k2")
        assert engine.check() == []
        peer.socket.close()
        engine.tick()
        assert engine.check() == []
    connect(3).send("MSET k1 v k2 v k3 v", "FLUSHALL")
    stats = engine.stats()
    assert (stats["tracking_clients"], stats["tracking_keys"], stats["tracking_prefixes"]) == (0, 0, 0)


@pytest.mark.differential
def test_the_prefix_that_overlaps_is_the_first_by_its_bytes(pair: Pair) -> None:
    pair.run("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "b")
    pair.run("CLIENT", "TRACKING", "ON", "BCAST")
    pair.run("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "b")
    pair.run("CLIENT", "TRACKING", "OFF")
