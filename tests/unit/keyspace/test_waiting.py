"""Clients that wait for keys: order, what makes a key ready, how a wait ends, and what must not come in between.

The commands are those of the tests' own data type (persistence/_testing): BAGADD adds, BBAGPOP waits as BLPOP does,
BBAGMOVE as BLMOVE, BBAGCOUNT as XREADGROUP. tests/differential/test_waiting.py runs the same against the real Valkey.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from cachefleet_server._testing import Condition, advance
from cachefleet_server.engine import POLICIES, ClientFlag, Engine
from cachefleet_server.persistence._testing import plug_bag
from fleettest.peers import Peer, bag_engine

pytestmark = pytest.mark.unit

Connect = Callable[[], Peer]
OK = b"+OK\r\n"
QUEUED = b"+QUEUED\r\n"
NIL = b"*-1\r\n"


def bulk(*words: str) -> bytes:
    return b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words)


def popped(key: str, member: str = "m") -> bytes:
    return b"*2\r\n" + bulk(key, member)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with bag_engine() as made:
        yield made


@pytest.fixture
def writer(connect: Connect) -> Peer:
    return connect()


@pytest.fixture
def waiter(connect: Connect) -> Peer:
    return connect()


def blocking_keys(engine: Engine) -> tuple[int, int]:
    stats = engine.stats()
    return stats["blocking_keys"], stats["blocking_keys_on_nokey"]


def test_what_is_there_is_taken_at_once(writer: Peer) -> None:
    assert writer.send("BAGADD k m", "BBAGPOP k 0", "PING") == b":1\r\n" + popped("k") + b"+PONG\r\n"


def test_a_pipeline_cannot_steal(engine: Engine, writer: Peer, waiter: Peer) -> None:
    assert waiter.send("BBAGPOP k 0", "PING") == b""
    assert blocking_keys(engine) == (1, 0)
    assert engine.stats()["blocked_clients"] == 1
    assert writer.send("BAGADD k m", "BBAGPOP k 100", "PING") == b":1\r\n", "it waits in its turn"
    assert waiter.read() == popped("k") + b"+PONG\r\n"
    assert engine.check() == []


def test_first_come_first_served(engine: Engine, connect: Connect, writer: Peer) -> None:
    waiters = [connect() for _ in range(5)]
    for peer in reversed(waiters):  # not the order of connecting
        assert peer.send("BBAGPOP k 0") == b""
    assert writer.send("BAGADD k m m") == b":2\r\n"
    assert [peer.read() for peer in reversed(waiters)] == [popped("k")] * 2 + [b""] * 3
    for peer in reversed(waiters[:3]):
        assert engine.execute(b"BAGADD", b"k", b"x") == 1
        assert peer.read() == popped("k", "x")
    assert blocking_keys(engine) == (0, 0)


def test_exec_serves_as_a_whole(writer: Peer, waiter: Peer) -> None:
    assert waiter.send("BBAGPOP k 0") == b""
    rows = ("MULTI", "BAGADD k m", "DEL k", "BAGADD k n", "EXEC")
    assert writer.send(*rows) == OK + QUEUED * 3 + b"*3\r\n:1\r\n:1\r\n:1\r\n"
    assert waiter.read() == popped("k", "n")
    assert waiter.send("BBAGPOP k 0") == b""
    assert writer.send("MULTI", "BAGADD k m", "DEL k", "EXEC") == OK + QUEUED * 2 + b"*2\r\n:1\r\n:1\r\n"
    assert waiter.read() == b"", "nothing is left"


def test_where_nobody_may_wait_there_is_nothing(engine: Engine, writer: Peer) -> None:
    assert writer.send("MULTI", "BBAGPOP k 0", "PING", "EXEC") == OK + QUEUED * 2 + b"*2\r\n" + NIL + b"+PONG\r\n"
    assert engine.execute(b"BBAGPOP", b"k", b"0") is None
    assert blocking_keys(engine) == (0, 0)


def test_several_keys_and_one_twice(engine: Engine, writer: Peer, waiter: Peer) -> None:
    assert waiter.send("BBAGPOP a b a b c 0") == b""
    assert blocking_keys(engine) == (3, 0)
    assert engine.check() == []
    assert writer.send("MULTI", "BAGADD c 3", "BAGADD b 2", "EXEC") == OK + QUEUED * 2 + b"*2\r\n:1\r\n:1\r\n"
    assert waiter.read() == popped("b", "2"), "the request's order decides"
    assert blocking_keys(engine) == (0, 0)
    assert writer.send("BBAGPOP c 0") == popped("c", "3")


def test_chains_go_on_until_nothing_is_ready(engine: Engine, connect: Connect, writer: Peer) -> None:
    first, second, third = connect(), connect(), connect()
    assert third.send("BBAGPOP c 0") == b""
    assert second.send("BBAGMOVE b c 0") == b""
    assert first.send("BBAGMOVE a b 0") == b""
    assert writer.send("BAGADD a m") == b":1\r\n"
    assert (first.read(), second.read(), third.read()) == (bulk("m"), bulk("m"), popped("c"))
    assert engine.execute(b"EXISTS", b"a", b"b", b"c") == 0


def test_a_circle_ends(engine: Engine, connect: Connect, writer: Peer) -> None:
    peers = [connect() for _ in range(4)]
    for n, peer in enumerate(peers):
        assert peer.send(f"BBAGMOVE {n} {(n + 1) % 4} 0") == b""
    assert peers[3].send("PING") == b""
    assert writer.send("BAGADD 0 m") == b":1\r\n"
    assert [peer.read() for peer in peers] == [bulk("m")] * 3 + [bulk("m") + b"+PONG\r\n"]
    assert engine.execute(b"EXISTS", b"0", b"1", b"2", b"3") == 1


def test_who_waits_on_keeps_its_place(engine: Engine, connect: Connect, writer: Peer) -> None:
    """A request that runs again and finds too little is behind nobody who came later; its time-out is the old one."""
    many, few, last = connect(), connect(), connect()
    engine.execute(b"BAGADD", b"k", b"m")
    assert many.send("BBAGCOUNT k 3 1000") == few.send("BBAGCOUNT k 2 0") == last.send("BBAGCOUNT k 3 0") == b""
    assert blocking_keys(engine) == (1, 1)
    advance(engine, 600)
    assert writer.send("BAGADD k m") == b":2\r\n"
    assert (many.read(), few.read(), last.read()) == (b"", b":2\r\n", b"")
    advance(engine, 500)
    assert (many.read(), last.read()) == (NIL, b"")
    engine.check()
    assert writer.send("BAGADD k m") == b":3\r\n"
    assert last.read() == b":3\r\n"


def test_time_outs(engine: Engine, connect: Connect) -> None:
    short, long, ever = connect(), connect(), connect()
    assert short.send("BBAGPOP k 5000", "PING") == long.send("BBAGPOP k 20000") == ever.send("BBAGPOP k 0") == b""
    assert engine.stats()["clients_in_timeout_table"] == 2
    advance(engine, 5001)
    assert (short.read(), long.read(), ever.read()) == (NIL + b"+PONG\r\n", b"", b"")
    advance(engine, 15_000)
    assert (long.read(), ever.read()) == (NIL, b"")
    engine.execute(b"BAGADD", b"k", b"m")
    assert ever.read() == popped("k")


# ---- the end of a wait by others ----------------------------------------------------------------------------


def test_unblock(engine: Engine, writer: Peer, waiter: Peer) -> None:
    for how, reply in (("", NIL), (" TIMEOUT", NIL), (" ERROR", b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n")):
        assert waiter.send("BBAGPOP k j 0") == b""
        assert writer.send(f"CLIENT UNBLOCK {waiter.id}{how}") == b":1\r\n"
        assert waiter.read() == reply
        assert blocking_keys(engine) == (0, 0)
    assert writer.send(f"CLIENT UNBLOCK {waiter.id}") == b":0\r\n"
    (stats,) = [row for row in engine.command_stats() if row[0] == "bbagpop"]
    assert (stats[1], *stats[3:5]) == (3, 1, 0), "calls, rejected, failed"
    assert engine.error_stats() == {"UNBLOCKED": 1}


def test_who_was_killed_gets_nothing(engine: Engine, writer: Peer, waiter: Peer) -> None:
    """In one pipeline: it is still there, but its reply would be lost with what it took."""
    assert waiter.send("BBAGPOP k 0") == b""
    assert writer.send(f"CLIENT KILL ID {waiter.id}", "BAGADD k m", "EXISTS k") == b":1\r\n:1\r\n:1\r\n"
    assert waiter.read() == b"<closed>"
    assert engine.check() == []
    assert blocking_keys(engine) == (0, 0)


def test_who_goes_leaves_the_queue(engine: Engine, connect: Connect, writer: Peer) -> None:
    peers = [connect() for _ in range(3)]
    for peer in peers:
        assert peer.send("BBAGPOP k j 0") == b""
    peers[1].socket.close()
    engine.tick()
    assert engine.check() == []
    assert writer.send("BAGADD k m m") == b":2\r\n"
    assert (peers[0].read(), peers[2].read()) == (popped("k"), popped("k"))


def test_an_engine_ends_while_somebody_waits() -> None:
    engine = Engine()
    plug_bag(engine)
    peer = Peer(engine)
    assert peer.send("WATCH k", "BBAGPOP k j 0") == OK
    engine.close()
    peer.socket.close()


# ---- what makes a key ready -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [
        ("BAGADD x m", "RENAME x k"),
        ("BAGADD x m", "RENAMENX x k"),
        ("BAGADD x m", "COPY x k"),
        ("SELECT 3", "BAGADD k m", "MOVE k 0"),
        ("SELECT 3", "BAGADD k m", "SWAPDB 3 0"),
        ("SELECT 3", "BAGADD k m", "SWAPDB 0 3"),
        ("SET k s", "DEL k", "BAGADD k m"),
    ],
)
def test_all_ways_for_a_key_to_come(writer: Peer, waiter: Peer, rows: tuple[str, ...]) -> None:
    assert waiter.send("BBAGPOP k 0") == b""
    assert b"-" not in writer.send(*rows)
    assert waiter.read() == popped("k")


def test_restore(engine: Engine, waiter: Peer) -> None:
    engine.execute(b"BAGADD", b"x", b"m")
    dump = engine.execute(b"DUMP", b"x")
    assert waiter.send("BBAGPOP k 0") == b""
    assert engine.execute(b"RESTORE", b"k", b"0", dump) == "OK"
    assert waiter.read() == popped("k")


def test_a_keyspace_that_takes_its_place(engine: Engine, writer: Peer, waiter: Peer) -> None:
    """As a replica's full synchronisation or DEBUG RELOAD does: outside of any command."""
    engine.execute(b"BAGADD", b"k", b"m")
    spare = engine.new_keyspace()
    engine.take_keyspace(spare)
    assert waiter.send("BBAGPOP k 0") == b""
    assert engine.execute(b"BAGADD", b"j", b"m") == 1
    other = engine.new_keyspace()
    engine.take_keyspace(other)
    assert engine.check() == []
    assert waiter.read() == b""
    assert writer.send("BAGADD k n") == b":1\r\n"
    assert waiter.read() == popped("k", "n")


def test_waiters_belong_to_a_database_not_to_its_content(writer: Peer, waiter: Peer) -> None:
    assert waiter.send("SELECT 1", "BBAGPOP k 0") == OK
    assert writer.send("BAGADD k m", "SWAPDB 0 2", "SWAPDB 1 3", "EXISTS k") == b":1\r\n" + OK * 2 + b":0\r\n"
    assert waiter.read() == b""
    assert writer.send("SELECT 1", "BAGADD k n") == OK + b":1\r\n"
    assert waiter.read() == popped("k", "n")


def test_another_type_is_not_what_it_waits_for(engine: Engine, writer: Peer, waiter: Peer) -> None:
    assert waiter.send("BBAGPOP k 0") == b""
    assert writer.send("SET k s", "APPEND k t") == OK + b":2\r\n"
    assert waiter.read() == b""
    assert blocking_keys(engine) == (1, 0)
    assert writer.send("DEL k", "BAGADD k m") == b":1\r\n:1\r\n"
    assert waiter.read() == popped("k")


@pytest.mark.parametrize(
    ("rows", "reply"),
    [
        (("DEL k",), b"-NOGROUP no such bag\r\n"),
        (("BAGREM k m",), b"-NOGROUP no such bag\r\n"),
        (("SET k s",), b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        (("FLUSHALL",), b"-NOGROUP no such bag\r\n"),
        (("FLUSHDB ASYNC",), b"-NOGROUP no such bag\r\n"),
        (("SWAPDB 0 5",), b"-NOGROUP no such bag\r\n"),
        (("RENAME k j",), b"-NOGROUP no such bag\r\n"),
        (("MOVE k 7",), b"-NOGROUP no such bag\r\n"),
        (("PEXPIRE k 0",), b"-NOGROUP no such bag\r\n"),
        (("MULTI", "DEL k", "BAGADD k m m m", "EXEC"), b":3\r\n"),
    ],
)
def test_who_wants_to_know_of_the_end(
    engine: Engine, writer: Peer, connect: Connect, rows: tuple[str, ...], reply: bytes
) -> None:
    writer.send("BAGADD k m")
    counts, pops = connect(), connect()
    assert counts.send("BBAGCOUNT k 3 0") == b""
    assert pops.send("BBAGPOP j2 0") == b""
    writer.send(*rows)
    assert counts.read() == reply
    assert pops.read() == b""
    assert blocking_keys(engine) == (1, 0)


def test_expiry_ends_such_a_wait(engine: Engine, writer: Peer, waiter: Peer) -> None:
    engine.set_param("active_expire_enabled", 1)
    writer.send("BAGADD k m", "PEXPIRE k 100")
    assert waiter.send("BBAGCOUNT k 3 0") == b""
    advance(engine, 200)
    engine.cron()
    assert waiter.read() == b"-NOGROUP no such bag\r\n"


def test_eviction_ends_such_a_wait(engine: Engine, writer: Peer, waiter: Peer) -> None:
    writer.send("BAGADD k m")
    assert waiter.send("BBAGCOUNT k 3 0") == b""
    engine.set_param("maxmemory_policy", POLICIES["allkeys-lru"])
    engine.set_param("maxmemory", 1)
    assert writer.send("PING") == b"+PONG\r\n"
    assert waiter.read() == b"-NOGROUP no such bag\r\n"


# ---- gates --------------------------------------------------------------------------------------------------


def test_memory_is_asked_as_for_any_command(engine: Engine, writer: Peer, connect: Connect) -> None:
    """As in Valkey: who would grow is refused and waits no more; who only takes is served."""
    mover, popper = connect(), connect()
    assert mover.send("BBAGMOVE k j 0") == popper.send("BBAGPOP k 0") == b""
    engine.set_param("maxmemory", 1)
    assert engine.execute_own(b"BAGADD", b"k", b"m", b"m") == 2
    assert mover.read() == b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
    assert popper.read() == popped("k")
    engine.set_param("maxmemory", 0)
    assert writer.send("EXISTS k j") == b":1\r\n"


@pytest.mark.parametrize("mode", ["WRITE", "ALL"])
def test_nothing_passes_a_pause(engine: Engine, writer: Peer, connect: Connect, mode: str) -> None:
    first, second, reader = connect(), connect(), connect()
    writer.send("BAGADD r m")
    assert first.send("BBAGPOP k 300") == second.send("BBAGPOP k 0") == reader.send("BBAGCOUNT r 2 0") == b""
    rows = ("MULTI", f"CLIENT PAUSE 1000 {mode}", "BAGADD k m", "BAGADD r m", "EXEC")
    assert writer.send(*rows) == OK + QUEUED * 3 + b"*3\r\n" + OK + b":1\r\n:2\r\n"
    assert (first.read(), second.read()) == (b"", b"")
    assert reader.read() == (b":2\r\n" if mode == "WRITE" else b""), "a read passes a pause of writes"
    advance(engine, 500)
    assert first.read() == b"", "its time-out does not come while it is held back"
    advance(engine, 501)
    assert (first.read(), second.read()) == (popped("k"), b"")
    assert reader.read() == (b"" if mode == "WRITE" else b":2\r\n")
    assert writer.send("BAGADD k m") == b":1\r\n"
    assert second.read() == popped("k")


def test_who_was_held_back_and_finds_nothing_times_out_then(engine: Engine, writer: Peer, connect: Connect) -> None:
    first, second = connect(), connect()
    assert first.send("BBAGPOP k 0") == second.send("BBAGPOP k 300") == b""
    writer.send("MULTI", "CLIENT PAUSE 1000 WRITE", "BAGADD k m", "EXEC")
    advance(engine, 400)
    assert second.read() == b""
    assert writer.send("CLIENT UNPAUSE") == OK
    assert (first.read(), second.read()) == (popped("k"), NIL)


def test_a_pause_that_ends_early_takes_its_time_outs_along(engine: Engine, writer: Peer, connect: Connect) -> None:
    """A time-out that came while the wait was held back comes with the pause's end, not when that was to be."""
    first, second, third = connect(), connect(), connect()
    assert first.send("BBAGPOP k 0") == second.send("BBAGPOP k 300") == third.send("BBAGPOP k 50000") == b""
    writer.send("MULTI", "CLIENT PAUSE 1000000 WRITE", "BAGADD k m", "EXEC")
    advance(engine, 400)
    assert (first.read(), second.read(), third.read()) == (b"", b"", b"")
    assert writer.send("CLIENT UNPAUSE") == OK
    assert (first.read(), second.read(), third.read()) == (popped("k"), NIL, b"")
    advance(engine, 50_000)
    assert third.read() == NIL
    assert engine.check() == []


def test_cron_before_the_tick_at_the_end_of_a_pause(engine: Engine, writer: Peer, connect: Connect) -> None:
    """Whose time was up in the pause, or between its end and that tick, is served first all the same."""
    first, second, third = connect(), connect(), connect()
    assert first.send("BBAGPOP k 300") == second.send("BBAGPOP k 1050") == third.send("BBAGPOP k 1060") == b""
    writer.send("MULTI", "CLIENT PAUSE 1000 WRITE", "BAGADD k m m", "EXEC")
    advance(engine, 400)
    assert (first.read(), second.read(), third.read()) == (b"", b"", b"")
    assert engine.check() == []
    advance(engine, 700)
    engine.cron()
    assert (first.read(), second.read(), third.read()) == (popped("k"), popped("k"), NIL)


def test_a_time_that_is_up_in_a_pause_is_not_asked_for_again(engine: Engine, writer: Peer, waiter: Peer) -> None:
    assert waiter.send("BBAGPOP k 300") == b""
    writer.send("MULTI", "CLIENT PAUSE 100000 WRITE", "BAGADD k m", "EXEC")
    assert engine.stats()["clients_in_timeout_table"] == 1
    advance(engine, 400)
    assert waiter.read() == b""
    assert engine.stats()["clients_in_timeout_table"] == 0
    assert writer.send("CLIENT UNPAUSE") == OK
    assert waiter.read() == popped("k")


def test_expired_for_one_and_not_for_the_next(engine: Engine, writer: Peer, connect: Connect) -> None:
    """In import-mode keys past their time are there for the import's source, wherever in the queue it is."""
    engine.set_param("import_mode", 1)
    first, source, last = connect(), connect(), connect()
    assert source.send("CLIENT IMPORT-SOURCE ON") == writer.send("CLIENT IMPORT-SOURCE ON") == OK
    assert first.send("BBAGPOP k 0") == source.send("BBAGPOP k 0") == last.send("BBAGPOP k 0") == b""
    rows = ("MULTI", "BAGADD k m m", "PEXPIREAT k 1000", "EXEC")
    assert writer.send(*rows) == OK + QUEUED * 2 + b"*2\r\n:2\r\n:1\r\n"
    assert (first.read(), source.read(), last.read()) == (b"", popped("k"), b"")
    assert writer.send("PERSIST k") == b":1\r\n"
    assert (first.read(), last.read()) == (popped("k"), b"")


def test_nobody_is_served_while_data_loads(engine: Engine, writer: Peer, waiter: Peer) -> None:
    assert waiter.send("BBAGPOP k 0") == b""
    engine.set_persist("loading", 1)
    engine.execute_own(b"BAGADD", b"k", b"m")
    assert waiter.read() == b""
    engine.set_persist("loading", 0)
    assert waiter.read() == popped("k")


def test_nobody_steals_what_a_load_brought(engine: Engine, writer: Peer, waiter: Peer) -> None:
    """It ends outside of any command, and who asks first afterwards comes behind those who wait."""
    assert waiter.send("BBAGPOP k 0") == b""
    engine.set_persist("loading", 1)
    engine.execute_own(b"BAGADD", b"k", b"m")
    engine.set_persist("loading", 0)
    assert writer.send("BBAGPOP k 0", "PING") == b""
    assert waiter.read() == popped("k")


# ---- a second look -------------------------------------------------------------------------------------------------

CLAIM = "XREADGROUP GROUP g {} BLOCK {} CLAIM {} STREAMS s >"


@pytest.fixture
def pending(writer: Peer) -> Peer:
    """A stream's only entry, delivered to the consumer a now."""
    writer.send("XADD s 1-1 f v", "XGROUP CREATE s g 0", "XREADGROUP GROUP g a STREAMS s >")
    return writer


def _has_it(reply: bytes) -> bool:
    return reply.startswith(b"*1") and b"1-1" in reply


def test_who_waits_looks_again_at_a_time(engine: Engine, connect: Connect, pending: Peer) -> None:
    ever, short, first = connect(), connect(), connect()
    assert ever.send(CLAIM.format("ever", 0, 30_000)) == b""
    assert short.send(CLAIM.format("short", 40_000, 30_000)) == b""
    assert first.send(CLAIM.format("first", 20_000, 30_000)) == b""
    assert engine.stats()["clients_in_timeout_table"] == 3
    advance(engine, 21_000)
    assert (ever.read(), short.read(), first.read()) == (b"", b"", NIL)
    advance(engine, 10_000)
    assert _has_it(ever.read())
    assert (short.read(), engine.stats()["clients_in_timeout_table"]) == (b"", 1)
    assert engine.check() == []
    advance(engine, 10_000)
    assert short.read() == NIL
    assert blocking_keys(engine) == (0, 0)


def test_who_looks_too_early_looks_again(engine: Engine, pending: Peer, waiter: Peer) -> None:
    assert waiter.send(CLAIM.format("b", 0, 30_000), "PING") == b""
    advance(engine, 20_000)
    assert b"1-1" in pending.send("XREADGROUP GROUP g a STREAMS s 0"), "delivered once more"
    advance(engine, 20_000)
    assert waiter.read() == b""
    assert pending.send("XACK s g 1-1", "XADD s 2-1 f v") == b":1\r\n" + bulk("2-1")
    assert b"2-1" in waiter.read()
    assert waiter.send(CLAIM.format("b", 0, 30_000)) == b""
    advance(engine, 31_000)
    assert b"2-1" in waiter.read(), "its own"


def test_who_looks_for_what_is_gone(engine: Engine, pending: Peer, waiter: Peer) -> None:
    assert waiter.send(CLAIM.format("b", 50_000, 30_000)) == b""
    pending.send("XACK s g 1-1")
    advance(engine, 31_000)
    assert waiter.read() == b""
    advance(engine, 20_000)
    assert waiter.read() == NIL


@pytest.mark.parametrize(
    "deliver", ["XCLAIM s g a 0 1-1 FORCE IDLE 29000", "XGROUP SETID s g 0; XREADGROUP GROUP g a STREAMS s >"]
)
def test_who_waits_hears_of_what_is_pending_since(engine: Engine, pending: Peer, waiter: Peer, deliver: str) -> None:
    pending.send("XACK s g 1-1")
    assert waiter.send(CLAIM.format("b", 0, 30_000)) == b""
    assert b"1-1" in pending.send(*deliver.split("; "))
    assert waiter.read() == b""
    advance(engine, 31_000)
    assert _has_it(waiter.read())
    assert engine.check() == []


def test_who_waits_for_entries_alone_is_not_told_of_times(engine: Engine, pending: Peer, waiter: Peer) -> None:
    pending.send("XACK s g 1-1")
    assert waiter.send("XREADGROUP GROUP g b BLOCK 0 STREAMS s >") == b""
    advance(engine, 1000)
    pending.send("XCLAIM s g a 0 1-1 FORCE IDLE 29000")
    idle = re.findall(rb"idle\r\n:(\d+)", pending.send("XINFO CONSUMERS s g"))
    assert [int(ms) >= 1000 for ms in idle] == [False, True]
    assert waiter.read() == b""


def test_a_second_look_in_a_pause_is_held_back(engine: Engine, pending: Peer, waiter: Peer) -> None:
    assert waiter.send(CLAIM.format("b", 0, 30_000)) == b""
    pending.send("MULTI", "CLIENT PAUSE 100000 WRITE", "EXEC")
    advance(engine, 31_000)
    assert waiter.read() == b""
    assert pending.send("CLIENT UNPAUSE") == OK
    assert _has_it(waiter.read())


# ---- counted, shown, held, silent --------------------------------------------------------------------------------


def test_a_wait_is_one_call_and_one_line(engine: Engine, connect: Connect, writer: Peer, waiter: Peer) -> None:
    def calls() -> int:
        return sum(row[1] for row in engine.command_stats() if row[0] == "bbagpop")

    monitor = connect()
    assert monitor.send("MONITOR") == OK
    assert waiter.send("BBAGPOP k 0") == b""
    assert monitor.read().count(b"BBAGPOP") == 1
    assert calls() == 0
    total = engine.counters()["commands"]
    writer.send("BAGADD k m")
    assert (calls(), engine.counters()["commands"] - total) == (1, 2)
    assert waiter.read() == popped("k")
    assert b"BBAGPOP" not in monitor.read()
    waiter.send("BBAGPOP k 10")
    advance(engine, 20)
    assert waiter.read() == NIL
    assert calls() == 2


def test_a_served_write_is_held(engine: Engine, writer: Peer, waiter: Peer) -> None:
    assert waiter.send("BBAGPOP k 0") == b""
    condition = Condition(engine)
    assert writer.send("BAGADD k m") == b""
    assert waiter.read() == b""
    condition.confirm_all()
    assert (writer.read(), waiter.read()) == (b":1\r\n", popped("k"))
    condition.remove()


def test_reply_skip_silences_the_command_that_waits(engine: Engine, writer: Peer, waiter: Peer) -> None:
    assert waiter.send("CLIENT REPLY SKIP", "BBAGPOP k 0", "PING") == b""
    writer.send("BAGADD k m")
    assert waiter.read() == b"+PONG\r\n"
    assert waiter.send("CLIENT REPLY SKIP", "BBAGPOP k 10000", "PING") == b""
    advance(engine, 20_000)
    assert waiter.read() == b"+PONG\r\n"
    assert waiter.send("CLIENT REPLY SKIP", "WAIT 1 10000", "PING") == b""
    advance(engine, 20_000)
    assert waiter.read() == b"+PONG\r\n"


def test_how_a_waiting_client_looks(engine: Engine, waiter: Peer) -> None:
    idle = next(c for c in engine.clients() if c.id == waiter.id).memory
    assert waiter.send("BBAGPOP " + "k" * 500 + " 0") == b""
    (client,) = [c for c in engine.clients() if c.id == waiter.id]
    assert client.flags & ClientFlag.BLOCKED
    assert client.last_command == "bbagpop"
    assert client.memory >= idle + 500


def test_watchers_and_waiters_of_one_key(engine: Engine, writer: Peer, connect: Connect) -> None:
    watcher, waiter = connect(), connect()
    assert watcher.send("WATCH k") == OK
    assert waiter.send("BBAGPOP k 0") == b""
    assert engine.check() == []
    assert writer.send("BAGADD k m") == b":1\r\n"
    assert waiter.read() == popped("k")
    assert watcher.send("MULTI", "PING", "EXEC") == OK + QUEUED + NIL
    assert engine.check() == []
