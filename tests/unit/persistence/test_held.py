"""Held output: what a client reads of its writes, and when, with conditions that are confirmed by hand."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from cachefleet_server._testing import Condition
from cachefleet_server.admin.client_cmd import ClientCommands
from cachefleet_server.command_spec import row
from cachefleet_server.config.config import Config
from cachefleet_server.engine import Client, Engine
from cachefleet_server.replies import OK as OK_REPLY
from cachefleet_server.replies import Reply
from fleettest.client import parse
from fleettest.peers import Peer, connecting
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.unit

Connect = Callable[[], Peer]
OK = b"+OK\r\n"


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.close()


@pytest.fixture
def condition(engine: Engine) -> Condition:
    return Condition(engine)


def test_without_a_condition_nothing_is_held(connect: Connect) -> None:
    assert connect().send("SET k v", "GET k") == OK + b"$1\r\nv\r\n"


def test_what_comes_before_a_write_goes(connect: Connect, condition: Condition) -> None:
    peer = connect()
    assert peer.send("GET k", "SET k v", "GET k") == b"$-1\r\n"
    assert peer.send("GET k", "PING") == b"", "nothing overtakes"
    condition.confirm(condition.journal_end - 1)
    assert peer.read() == b""
    condition.confirm_all()
    assert peer.read() == OK + b"$1\r\nv\r\n" * 2 + b"+PONG\r\n"
    assert not condition.waiting
    assert peer.send("PING") == b"+PONG\r\n"


def test_each_tick_has_its_mark(connect: Connect, condition: Condition) -> None:
    peer, ends = connect(), []
    for n in range(4):
        assert peer.send(f"SET k {n}", f"INCRBY n {n + 1}", "PING") == b""
        ends.append(condition.journal_end)
    total = 0
    for n, end in enumerate(ends):
        total += n + 1
        condition.confirm(end - 1)
        assert peer.read() == b""
        condition.confirm(end)
        assert peer.read() == OK + b":%d\r\n" % total + b"+PONG\r\n"


def test_who_only_reads_is_not_held(connect: Connect, condition: Condition) -> None:
    writer, reader = connect(), connect()
    assert writer.send("SET k v") == b""
    assert reader.send("GET k") == b"$1\r\nv\r\n"
    assert reader.send("DEL nothing") == b":0\r\n", "a write that changed nothing"


def test_exec_is_held_as_a_whole(connect: Connect, condition: Condition) -> None:
    peer = connect()
    assert peer.send("MULTI", "GET k", "SET k v", "EXEC") == OK + b"+QUEUED\r\n" * 2
    condition.confirm_all()
    assert peer.read() == b"*2\r\n$-1\r\n" + OK
    assert peer.send("MULTI", "GET k", "EXEC") == OK + b"+QUEUED\r\n*1\r\n$1\r\nv\r\n"


def test_all_conditions_must_hold(engine: Engine, connect: Connect, condition: Condition) -> None:
    second = Condition(engine)
    peer = connect()
    assert peer.send("SET k v") == b""
    condition.confirm_all()
    assert peer.read() == b""
    second.confirm_all()
    assert peer.read() == OK
    assert peer.send("SET k v") == b""
    condition.confirm_all()
    second.remove()
    assert peer.read() == OK, "it does not count any more"
    assert peer.send("SET k v") == b""
    condition.remove()
    assert peer.read() == OK
    assert peer.send("SET k w") == OK


def test_a_condition_that_fails_disconnects_who_waits(engine: Engine, connect: Connect, condition: Condition) -> None:
    writer, other, reader = connect(), connect(), connect()
    assert writer.send("SET k v") == b""
    assert other.send("SET k w") == b""
    condition.confirm_all()
    assert other.read() == OK
    assert writer.read() == OK
    assert writer.send("SET k x") == b""
    condition.fail()
    assert writer.read() == b"<closed>"
    assert other.send("PING") == b"+PONG\r\n"
    assert reader.send("GET k") == b"$1\r\nx\r\n"
    assert engine.client_count == 2
    assert not condition.waiting


@pytest.mark.parametrize("mode", ["OFF", "SKIP"])
def test_no_reply_is_not_held(engine: Engine, connect: Connect, condition: Condition, mode: str) -> None:
    config = Config()
    ClientCommands(engine, config.number("databases")).register()
    peer = connect()
    assert peer.send(f"CLIENT REPLY {mode}", "SET k v") == b""
    assert not condition.waiting
    condition.fail()
    assert peer.send("PING" if mode == "SKIP" else "CLIENT REPLY ON") in (b"+PONG\r\n", OK)


def test_held_bytes_count_for_the_output_limit(engine: Engine, connect: Connect, condition: Condition) -> None:
    engine.set_param("output_limit_hard.0", 10_000)
    engine.execute(b"SET", b"big", b"x" * 6000)
    peer = connect()
    assert peer.send("SET k v") == b""
    assert peer.send("GET big") == b""
    assert engine.client_count == 1
    assert peer.send("GET big") == b"<closed>"


def test_who_is_held_is_not_idle(engine: Engine, connect: Connect, condition: Condition) -> None:
    engine.set_param("timeout", 1)
    held, idle = connect(), connect()
    assert held.send("SET k v") == b""

    def closed() -> bool:
        engine.cron()
        return idle.read() == b"<closed>"

    assert_eventually(closed)
    assert engine.client_count == 1
    condition.confirm_all()
    assert held.read() == OK


def test_clients_that_go_take_it_along(engine: Engine, connect: Connect, condition: Condition) -> None:
    peers = [connect() for _ in range(5)]
    for n, peer in enumerate(peers):
        assert peer.send(f"SET k{n} v") == b""
    for gone in (2, 0, 4):
        peers[gone].socket.close()
        engine.tick()
        engine.tick()
    assert engine.client_count == 2
    condition.confirm_all()
    assert [peers[n].read() for n in (1, 3)] == [OK, OK]


def test_quit_waits_for_its_turn(engine: Engine, connect: Connect, condition: Condition) -> None:
    peer = connect()
    assert peer.send("SET k v", "QUIT") == b""
    assert engine.client_count == 1
    condition.confirm_all()
    assert peer.read() == OK + OK + b"<closed>"


def test_large_output_is_cut_at_the_mark(engine: Engine, connect: Connect, condition: Condition) -> None:
    """Several chunks and shared values in front of the mark and behind it."""
    peer = connect()
    engine.execute(b"SET", b"big", b"x" * 50_000)
    big = b"$50000\r\n" + b"x" * 50_000 + b"\r\n"
    got = peer.send("GET big", "PING", "GET big", "SET k v", "GET big", "GET big")
    while part := peer.read():
        got += part
    assert got == big + b"+PONG\r\n" + big
    condition.confirm_all()
    got = b""
    while part := peer.read():
        got += part
    assert got == OK + big + big


def test_in_process_callers_are_not_held(engine: Engine, condition: Condition) -> None:
    assert engine.execute(b"SET", b"k", b"v") == "OK"
    assert not condition.waiting


def test_monitor_lines_go_to_others_at_once(engine: Engine, connect: Connect, condition: Condition) -> None:
    writer, watcher = connect(), connect()
    assert writer.send("SET k v") == b""
    engine.set_monitor(watcher.id)
    engine.feed_monitors(b"line")
    assert watcher.read() == b"$4\r\nline\r\n"


def test_who_is_disconnected_by_its_own_command(engine: Engine, connect: Connect, condition: Condition) -> None:
    """A reply's size is what the output grew by, so nothing may take away from it while a command runs."""

    def fail(client: Client, argv: list[bytes]) -> Reply:
        condition.fail()
        return OK_REPLY

    logged: list[int] = []
    engine.on_commandlog = lambda kind, client, argv, value: logged.append(value)
    engine.set_param("commandlog_reply_larger_than", 1000)
    engine.register(row("fail", 1, "", "", "", "server 1.0.0 O(1)", "", ""), fail)
    peer = connect()
    assert peer.send("SET k v", "FAIL") == b"<closed>"
    assert logged == []

# ---- what waits too long


UNKNOWN = (
    b"-UNKNOWNOUTCOME The write was executed here, but replicas have not confirmed it in time. "
    b"It may survive or not.\r\n"
)
WORDS = (
    "GET big", "GET small", "PING", "SET small x", "GETSET big {}", "GETRANGE big 100 20000", "INCR n", "DEL big"
)  # fmt: skip
WRITES = ("SET", "GETSET", "INCR", "DEL")


def too_late(engine: Engine, peer: Peer) -> bytes:
    """What comes when everything that waits has waited too long."""
    engine.set_param("durability_timeout", 1)

    def given_up() -> bool:
        engine.cron()
        return engine.stats()["held_clients"] == 0

    assert_eventually(given_up)
    engine.set_param("durability_timeout", 0)
    got = b""
    while part := peer.read():
        got += part
        if part.endswith(b"<closed>"):
            break
    assert engine.check() == []
    return got


def test_a_reply_that_waits_too_long_says_so(engine: Engine, connect: Connect, condition: Condition) -> None:
    peer = connect()
    assert peer.send("PING", "SET a 1", "INCR n", "GET a", "SET b 2", "PING") == b"+PONG\r\n"
    counts = engine.stats()
    assert (counts["held_clients"], counts["held_replies"]) == (1, 3)
    assert too_late(engine, peer) == UNKNOWN * 2 + b"$1\r\n1\r\n" + UNKNOWN + b"+PONG\r\n"
    assert engine.stats()["unknown_outcomes"] == 3
    assert engine.execute(b"GET", b"b") == b"2", "it was executed all the same"
    assert peer.send("GET a") == b"$1\r\n1\r\n"
    assert not condition.waiting


def test_a_transaction_is_one_request(engine: Engine, connect: Connect, condition: Condition) -> None:
    peer = connect()
    queued = OK + b"+QUEUED\r\n" * 3
    assert peer.send("MULTI", "SET a 1", "SET b 1", "GET a", "EXEC", "PING") == queued
    assert too_late(engine, peer) == UNKNOWN + b"+PONG\r\n"


def test_who_was_served_by_such_a_write(engine: Engine, connect: Connect, condition: Condition) -> None:
    waiting, pushing = connect(), connect()
    assert waiting.send("BLPOP list 0") == b""
    assert pushing.send("RPUSH list a") == b""
    assert waiting.read() == b""
    assert too_late(engine, waiting) == UNKNOWN
    assert pushing.read() == UNKNOWN


def test_what_was_written_later_waits_on(engine: Engine, connect: Connect, condition: Condition) -> None:
    peer = connect()
    assert peer.send("SET a 1", "PING") == b""

    def aged() -> bool:
        engine.tick()
        return engine.stats()["held_longest_ms"] >= 300

    assert_eventually(aged)
    assert peer.send("INCR n", "GET n") == b""
    engine.set_param("durability_timeout", 300)
    engine.cron()
    assert peer.read() == UNKNOWN + b"+PONG\r\n"
    assert condition.waiting
    condition.confirm_all()
    assert peer.read() == b":1\r\n$1\r\n1\r\n"


def test_quit_behind_it(engine: Engine, connect: Connect, condition: Condition) -> None:
    peer = connect()
    assert peer.send("SET k v", "QUIT") == b""
    assert too_late(engine, peer) == UNKNOWN + OK + b"<closed>"


def test_any_pipeline_stays_in_step(engine: Engine, condition: Condition, rng: random.Random) -> None:
    """Replies in chunks of all kinds, in any number of ticks, some confirmed, the others too late. Each write has its
    own reply or the error, everything else what it had without a condition."""
    usual = Engine()
    with connecting(usual) as make_usual, connecting(engine) as make:
        for _ in range(20):
            plain, peer = make_usual(), make()
            got = wanted = b""
            rows = []
            for _ in range(rng.randint(1, 6)):
                value = "y" * rng.choice((10, 9000, 40_000))
                part = [rng.choice(WORDS).format(value) for _ in range(rng.randint(1, 9))]
                rows += part
                got += peer.send(*part)
                wanted += plain.send(*part)
                while more := plain.read():
                    wanted += more
                if rng.random() < 0.3:
                    condition.confirm(rng.randint(0, condition.journal_end))
                if rng.random() < 0.3:
                    got += too_late(engine, peer)
            got += too_late(engine, peer)
            replies, at = zip_replies(got, wanted)
            assert at == len(rows)
            for row, (reply, without) in zip(rows, replies, strict=True):
                assert reply == without or (reply == UNKNOWN and row.split()[0] in WRITES), row
    usual.close()


def zip_replies(got: bytes, wanted: bytes) -> tuple[list[tuple[bytes, bytes]], int]:
    pairs, at, there = [], 0, 0
    while at < len(got):
        _, end = parse(got, at)
        _, until = parse(wanted, there)
        pairs.append((got[at:end], wanted[there:until]))
        at, there = end, until
    return pairs, len(pairs)
