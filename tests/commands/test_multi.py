"""Transactions against the real Valkey, and what they leave in the journal."""

from __future__ import annotations

import random

import pytest

from fleettest.client import Connection, Error
from fleettest.instance import Instance, Pool
from fleettest.reference import Pair
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]


def test_plain(pair: Pair) -> None:
    pair.run("MULTI")
    assert pair.run("SET", "a", 1) == "QUEUED"
    pair.run("INCR", "a")
    pair.run("GET", "a")
    pair.run("GET", "nokey")
    pair.run("EXPIRE", "a", 100)
    pair.run("TTL", "a")
    assert pair.run("EXEC") == ["OK", 2, b"2", None, 1, 100]
    pair.run("MULTI")
    assert pair.run("EXEC") == []


def test_misuse(pair: Pair) -> None:
    pair.run("EXEC")
    pair.run("DISCARD")
    pair.run("UNWATCH")
    pair.run("WATCH")
    for words in (("MULTI", "x"), ("EXEC", "x"), ("DISCARD", "x"), ("UNWATCH", "x")):
        pair.run(*words)
        pair.run("MULTI")
        pair.run(*words)
        pair.run("EXEC")
        pair.run("EXEC")


@pytest.mark.parametrize(
    "bad",
    [("MULTI",), ("WATCH", "a"), ("GET",), ("NOSUCHCOMMAND", "x"), ("OBJECT", "NOSUCH"), ("SET", "a"), ("EXEC", "x")],
    ids=lambda words: " ".join(words),
)
def test_errors_while_queueing_abort(pair: Pair, bad: tuple[str, ...]) -> None:
    pair.run("SET", "a", "before")
    pair.run("MULTI")
    pair.run("SET", "a", "after")
    pair.run(*bad)
    pair.run("SET", "b", "after")
    pair.run("EXEC")
    assert pair.run("GET", "a") == (b"after" if False else b"before")
    pair.run("EXEC")


def test_errors_while_running_do_not_abort(pair: Pair) -> None:
    pair.run("MULTI")
    pair.run("SET", "a", "text")
    pair.run("INCR", "a")
    pair.run("EXPIRE", "a", "x")
    pair.run("SET", "b", "done")
    reply = pair.run("EXEC")
    assert [isinstance(part, Error) for part in reply] == [False, True, True, False]
    assert pair.run("GET", "b") == b"done"


def test_discard(pair: Pair) -> None:
    pair.run("SET", "a", 1)
    pair.run("WATCH", "a")
    pair.run("MULTI")
    pair.run("SET", "a", 2)
    assert pair.run("DISCARD") == "OK"
    assert pair.run("GET", "a") == b"1"
    pair.run("MULTI")
    pair.run("NOSUCHCOMMAND")
    pair.run("DISCARD")
    pair.run("MULTI")
    assert pair.run("EXEC") == []


CHANGES = [
    ("SET", "k", "new"), ("DEL", "k"), ("EXPIRE", "k", 100), ("PERSIST", "k"), ("APPEND", "k", "x"), ("FLUSHDB",),
    ("FLUSHALL",), ("RENAME", "k", "y"), ("RENAME", "other", "k"), ("COPY", "other", "k", "REPLACE"), ("MOVE", "k", 2),
    ("SWAPDB", 0, 1), ("GETDEL", "k"), ("INCR", "n"), ("GET", "k"), ("TOUCH", "k"), ("SET", "unrelated", 1),
    ("DEL", "nokey"), ("SETRANGE", "k", 0, ""), ("EXPIRE", "nokey", 1), ("SET", "k", "x", "NX"), ("COPY", "k", "y"),
    ("SELECT", 1), ("SWAPDB", 0, 0), ("EXPIRE", "k", -1), ("RENAMENX", "other", "k"), ("MSET", "y", 1, "k", 2),
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda words: " ".join(map(str, words)))
@pytest.mark.parametrize("watched", ["k", "nokey", "n"])
def test_watch(pair: Pair, change: tuple[str | int, ...], watched: str) -> None:
    pair.run("MSET", "k", "v", "other", "o", "n", 1)
    pair.run("WATCH", watched)
    for instance in pair.instances:
        with instance.connect() as another:
            another.call(*change)
    pair.run("MULTI")
    pair.run("PING")
    pair.run("EXEC")
    pair.run("MULTI")
    assert pair.run("EXEC") == []


def test_own_changes_count_too_and_unwatch_forgets(pair: Pair) -> None:
    pair.run("WATCH", "k")
    pair.run("SET", "k", 1)
    pair.run("MULTI")
    assert pair.run("EXEC") is None
    pair.run("WATCH", "k")
    pair.run("SET", "k", 2)
    pair.run("UNWATCH")
    pair.run("MULTI")
    assert pair.run("EXEC") == []
    pair.run("WATCH", "k", "k", "j")
    pair.run("MULTI")
    pair.run("UNWATCH")
    pair.run("SET", "k", 3)
    assert pair.run("EXEC") == ["OK", "OK"]


def test_watch_is_per_database(pair: Pair) -> None:
    pair.run("WATCH", "k")
    pair.run("SELECT", 1)
    pair.run("SET", "k", 1)
    pair.run("MULTI")
    assert pair.run("EXEC") == []
    pair.run("WATCH", "k")
    pair.run("SELECT", 0)
    pair.run("SET", "k", 1)
    pair.run("MULTI")
    pair.run("GET", "k")
    assert pair.run("EXEC") == [b"1"]


def test_watched_key_expires(pair: Pair) -> None:
    """A key that runs out while watched makes EXEC fail, also before anything has deleted it."""
    for active in (0, 1):
        pair.run("DEBUG", "SET-ACTIVE-EXPIRE", active)
        for _ in range(20):
            pair.run("SET", "k", 1, "PX", 500)
            pair.run("SET", "probe", 1, "PX", 1000)
            pair.run("WATCH", "k")
            if min(pair.ours.call("PTTL", "k"), pair.theirs.call("PTTL", "k")) > 0:
                break
            pair.run("UNWATCH")  # the machine stopped for longer than that
        assert_eventually(lambda: pair.ours.call("EXISTS", "probe") + pair.theirs.call("EXISTS", "probe") == 0)
        pair.run("MULTI")
        assert pair.run("EXEC") is None


def test_watched_key_that_was_expired_already(pair: Pair) -> None:
    pair.run("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    try:
        pair.run("SET", "k", 1, "PX", 1)
        pair.run("SET", "probe", 1, "PX", 20)
        assert_eventually(lambda: pair.ours.call("EXISTS", "probe") + pair.theirs.call("EXISTS", "probe") == 0)
        pair.run("WATCH", "k")
        pair.run("GET", "k")  # deletes it: absent before, absent now
        pair.run("MULTI")
        assert pair.run("EXEC") == []
    finally:
        pair.run("DEBUG", "SET-ACTIVE-EXPIRE", 1)


def test_select_inside(pair: Pair) -> None:
    pair.run("MULTI")
    pair.run("SET", "a", 0)
    pair.run("SELECT", 3)
    pair.run("SET", "a", 3)
    pair.run("EXEC")
    assert pair.run("GET", "a") == b"3"
    pair.run("SELECT", 0)
    assert pair.run("GET", "a") == b"0"


def test_pipelined_with_large_arguments(pair: Pair, rng: random.Random) -> None:
    """Queued arguments are copies: the input buffer is reused long before EXEC."""
    values = [rng.randbytes(rng.choice((0, 1, 50, 5_000, 40_000, 200_000))) for _ in range(40)]
    for value in values:
        pair.run("PING", value)  # fills the input buffer with something else in between
    pair.run("MULTI")
    for i, value in enumerate(values):
        assert pair.run("SET", f"k{i}", value) == "QUEUED"
        if i % 7 == 0:
            pair.run("PING", value[::-1])
    pair.run("EXEC")
    for i, value in enumerate(values):
        assert pair.run("GET", f"k{i}") == value


def test_many_commands_in_one_write(client: Connection) -> None:
    commands: list[tuple[str, ...]] = [("MULTI",), *([("INCR", "n")] * 5000), ("EXEC",)]
    replies = client.pipeline(commands)
    assert replies[1:-1] == ["QUEUED"] * 5000
    assert replies[-1] == list(range(1, 5001))


def test_inline_commands_queue(pair: Pair) -> None:
    assert pair.raw(b"MULTI\r\nSET a 1\r\nGET a\r\nEXEC\r\n", 4)[-1] == b"*2\r\n+OK\r\n$1\r\n1\r\n"


def test_memory_is_given_back(server: Instance, client: Connection) -> None:
    def used() -> int:
        return int(server.info("memory")["used_memory"])

    def cycle(end: str) -> None:
        client.call("MULTI")
        client.pipeline([("SET", "k", "x" * 1000)] * 1000)
        client.call(end)

    for end in ("DISCARD", "EXEC"):
        cycle(end)
        before = used()
        for _ in range(5):
            cycle(end)
        assert used() < before + 100_000, end
    before = used()
    for _ in range(5):  # a connection that goes away in the middle
        with server.connect() as another:
            another.call("WATCH", "a", "b")
            another.call("MULTI")
            another.pipeline([("SET", "k", "x" * 1000)] * 1000)
    assert_eventually(lambda: used() < before + 100_000)


def test_reset_and_quit_leave_the_transaction(pair: Pair) -> None:
    pair.run("MULTI")
    pair.run("SET", "a", 1)
    pair.run("RESET")
    assert pair.run("GET", "a") is None


def test_client_list_shows_it(server: Instance, client: Connection) -> None:
    client.call("WATCH", "a", "b")
    client.call("MULTI")
    client.pipeline([("PING",)] * 3)
    mine = next(line for line in server.call("CLIENT", "LIST").decode().splitlines() if "multi=3" in line)
    fields = dict(part.split("=", 1) for part in mine.split())
    assert fields["watch"] == "2"
    assert int(fields["multi-mem"]) > 0
    client.call("EXEC")


def test_denied_commands_at_exec(servers: Pool) -> None:
    """What needs memory is refused while queueing, and at EXEC when memory ran out only then."""
    ours, theirs = servers.get("cachefleet", maxmemory=0), servers.get("valkey", maxmemory=0)
    with Pair(ours, theirs) as pair, pair.instances[0].connect() as a, pair.instances[1].connect() as b:

        def limit(value: int) -> None:
            assert a.call("CONFIG", "SET", "maxmemory", value) == b.call("CONFIG", "SET", "maxmemory", value) == "OK"

        try:
            pair.run("MULTI")
            pair.run("SET", "a", 1)
            limit(1)
            pair.run("GET", "a")
            pair.run("EXEC")
            limit(0)
            pair.run("MULTI")
            pair.run("SET", "a", 1)
            limit(1)
            pair.run("EXEC")
            pair.run("EXEC")
            limit(0)
            pair.run("MULTI")
            pair.run("GET", "a")
            limit(1)
            pair.run("EXEC")
            pair.run("MULTI")
            pair.run("SET", "a", 1)
            pair.run("DISCARD")
        finally:
            limit(0)


@pytest.mark.parametrize("lag", ["10", "0"])
@pytest.mark.parametrize("replicas", ["1", "0"])
def test_too_few_replicas(pair: Pair, server: Instance, valkey: Instance, replicas: str, lag: str) -> None:
    """Writes are refused where replicas are wanted and a lag is set; what is queued fails at EXEC at the latest."""
    pair.run("SET", "old", "1")
    pair.run("CONFIG", "SET", "min-replicas-to-write", "0", "min-replicas-max-lag", lag)
    pair.run("MULTI")
    pair.run("SET", "late", "1")
    for side in (server, valkey):
        side.call("CONFIG", "SET", "min-replicas-to-write", replicas)
    try:
        pair.run("EXEC")
        fields = [[line.split(":")[0] for line in side.call("INFO", "replication").decode().split("\r\n")[:5]]
                  for side in (server, valkey)]  # fmt: skip
        assert fields[0] == fields[1]
        for words in (
            "SET k v", "GET old", "DEL old", "EXPIRE old 100", "PING", "EXEC", "MULTI", "SET k v", "EXEC", "MULTI",
            "GET old", "EXEC", "FLUSHALL", "PERSIST old", "GETEX old PERSIST", "TYPE old", "SAVE x", "DBSIZE", "SET k",
        ):  # fmt: skip
            pair.run(*words.split())
    finally:
        pair.run("DISCARD")
        pair.run("CONFIG", "SET", "min-replicas-to-write", "0", "min-replicas-max-lag", "10")
