"""Pushes: where they land beside replies, who gets them, and what they count for. PUSHTO and PUSHSELF are for tests.

What Valkey does with PUBLISH and SUBSCRIBE of a client in RESP3 is the same, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from cachefleet_server._testing import Condition, advance, plug_pushes
from cachefleet_server.engine import Engine
from fleettest.peers import Peer, bag_engine

pytestmark = pytest.mark.unit

Connect = Callable[..., Peer]
OK, PONG, QUEUED, ONE = b"+OK\r\n", b"+PONG\r\n", b"+QUEUED\r\n", b":1\r\n"


def push(*words: str, resp: int = 2) -> bytes:
    head = b"%c%d\r\n" % (b">"[0] if resp == 3 else b"*"[0], len(words))
    return head + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with bag_engine(plug_pushes) as made:
        yield made


@pytest.mark.parametrize("resp", [2, 3])
def test_to_another_client(connect: Connect, resp: int) -> None:
    a, b = connect(), connect(resp)
    assert a.send(f"PUSHTO {b.id} x y") == ONE
    assert b.read() == push("x", "y", resp=resp)
    assert a.send("PUSHTO 999 x") == b":0\r\n"


@pytest.mark.parametrize("resp", [2, 3])
def test_to_itself_comes_behind_the_reply(connect: Connect, resp: int) -> None:
    a = connect(resp)
    assert a.send(f"PUSHTO {a.id} x", "PING") == ONE + push("x", resp=resp) + PONG


@pytest.mark.parametrize("resp", [2, 3])
def test_not_between_the_elements_of_exec(connect: Connect, resp: int) -> None:
    a, b = connect(resp), connect(resp)
    got = a.send("MULTI", "PING", f"PUSHTO {a.id} 1", f"PUSHTO {b.id} b", "PING", f"PUSHTO {a.id} 2", "EXEC", "PING")
    elements = PONG + ONE + ONE + PONG + ONE
    assert got == OK + QUEUED * 5 + b"*5\r\n" + elements + push("1", resp=resp) + push("2", resp=resp) + PONG
    assert b.read() == push("b", resp=resp)


def test_a_push_that_is_the_reply_is_in_its_place(connect: Connect) -> None:
    a = connect(3)
    assert a.send("MULTI", "PING", "PUSHSELF x", "PING", "EXEC") == (
        OK + QUEUED * 3 + b"*3\r\n" + PONG + push("x", resp=3) + PONG)  # fmt: skip


def test_reply_off_and_skip_are_no_matter(connect: Connect) -> None:
    a, b = connect(3), connect(3)
    assert b.send("CLIENT REPLY OFF", "PING") == b""
    assert a.send(f"PUSHTO {b.id} x") == ONE
    assert b.read() == push("x", resp=3)
    assert b.send(f"PUSHTO {b.id} own", "PUSHSELF in place") == push("own", resp=3) + push("in", "place", resp=3)
    assert b.send("CLIENT REPLY ON") == OK
    assert b.send("CLIENT REPLY SKIP", f"PUSHTO {b.id} x", "PING") == push("x", resp=3) + PONG


def test_of_a_request_inside_another(engine: Engine, connect: Connect) -> None:
    """What a Python row runs in-process may push to the client whose row it is."""
    from cachefleet_server.command_spec import row

    def nested(client: object, argv: list[bytes]) -> list[object]:
        inner = engine.execute(b"PUSHTO", argv[1], b"deep")
        return [inner, engine.execute(b"PING")]

    engine.register(row("nested", 2, "admin", "", "", "server 1.0.0 O(1)", "Runs commands.", ""), nested)
    a, b = connect(3), connect(3)
    assert a.send("MULTI", f"NESTED {a.id}", f"NESTED {b.id}", f"PUSHTO {b.id} flat", "EXEC") == (
        OK + QUEUED * 3 + b"*3\r\n" + (b"*2\r\n" + ONE + PONG) * 2 + ONE + push("deep", resp=3))  # fmt: skip
    assert b.read() == push("deep", resp=3) + push("flat", resp=3)


def test_from_outside_of_any_connection(engine: Engine, connect: Connect) -> None:
    a = connect(3)
    assert engine.execute(b"PUSHTO", b"%d" % a.id, b"x") == 1
    assert a.read() == push("x", resp=3)


def test_to_who_waits(engine: Engine, connect: Connect) -> None:
    a, waits = connect(), connect(3)
    assert waits.send("BBAGPOP k 0") == b""
    assert a.send(f"PUSHTO {waits.id} x", "BAGADD k m", f"PUSHTO {waits.id} y") == ONE * 3
    assert waits.read() == push("x", resp=3) + push("k", "m") + push("y", resp=3)
    assert waits.send("CLIENT PAUSE 1000 ALL", "PING") == OK
    assert engine.execute(b"BAGADD", b"k", b"m") is not None
    assert a.send("PING") == b""
    engine.unpause("client")
    assert (waits.read(), a.read()) == (PONG, PONG)


def test_to_who_is_paused(engine: Engine, connect: Connect) -> None:
    a, held = connect(), connect(3)
    engine.pause("client", 10_000, everything=False)
    assert held.send("SET k v") == b""
    assert a.send(f"PUSHTO {held.id} x") == ONE
    assert held.read() == push("x", resp=3)
    advance(engine, 10_001)
    assert held.read() == OK


def test_to_who_closes(engine: Engine, connect: Connect) -> None:
    a, b, c = connect(), connect(), connect()
    assert a.send(f"CLIENT KILL ID {b.id}", f"PUSHTO {b.id} x") == ONE + b":0\r\n"
    assert b.read() == b"<closed>"
    assert c.send(f"PUSHTO {c.id} x", "QUIT", f"PUSHTO {c.id} y") == ONE + push("x") + OK + b"<closed>"
    kills = f"CLIENT KILL ID {a.id} SKIPME no"
    assert a.send("MULTI", f"PUSHTO {a.id} x", kills, "EXEC").endswith(b"*2\r\n" + ONE + ONE + b"<closed>")


def test_they_count_for_the_output_limit_at_once(engine: Engine, connect: Connect) -> None:
    engine.set_param("output_limit_hard.2", 30_000)
    a, slow = connect(), connect(3)
    assert slow.send("SETCLASS 2") == OK
    big = "x" * 20_000
    assert a.send(*[f"PUSHTO {slow.id} {big}"] * 3) == ONE * 2 + b":0\r\n"
    assert slow.read() == b"<closed>"
    own = connect(3)
    rows = ["SETCLASS 2", "MULTI", *[f"PUSHTO {own.id} {big}"] * 3, "PING", "EXEC"]
    assert own.send(*rows).endswith(b"<closed>")
    assert engine.counters()["output_buffer_disconnections"] == 2
    assert engine.stats()["clients_pubsub"] == 0


def test_large_ones_keep_their_order(connect: Connect) -> None:
    a = connect(3)
    big, large = "x" * 9_000, "y" * 30_000
    rows = ["MULTI", f"PUSHTO {a.id} small", f"PUSHTO {a.id} {big}", f"PUSHTO {a.id} {large}", "EXEC", "PING"]
    expected = OK + QUEUED * 3 + b"*3\r\n" + ONE * 3
    expected += push("small", resp=3) + push(big, resp=3) + push(large, resp=3) + PONG
    assert a.send(*rows) == expected
    assert a.send(f"PUSHTO {a.id} {large}", "PING") == ONE + push(large, resp=3) + PONG


def test_nothing_overtakes_what_is_held(engine: Engine, connect: Connect) -> None:
    a, b = connect(), connect(3)
    condition = Condition(engine)
    assert b.send("SET k v", f"PUSHTO {b.id} own") == b""
    assert a.send(f"PUSHTO {b.id} x") == ONE
    assert b.read() == b""
    condition.confirm_all()
    assert b.read() == OK + ONE + push("own", resp=3) + push("x", resp=3)
    condition.remove()


def test_classes_are_counted(engine: Engine, connect: Connect) -> None:
    def classes() -> tuple[int, ...]:
        stats = engine.stats()
        return stats["clients_normal"], stats["clients_replica"], stats["clients_pubsub"]

    a, b = connect(), connect()
    engine.set_param("maxmemory_clients", 1 << 30)
    assert a.send("SETCLASS 2", "SETCLASS 2") == OK * 2
    assert classes() == (1, 0, 1)
    assert b.send("SETCLASS 1") == OK
    assert classes() == (0, 1, 1)
    assert a.send("RESET") == b"+RESET\r\n"
    assert classes() == (1, 1, 0)
    assert [c.cls for c in engine.clients()] == [0, 1]
    for peer in (a, b):
        peer.socket.close()
    engine.tick()
    engine.tick()
    assert classes() == (0, 0, 0)


def test_monitor_is_counted_once(engine: Engine, connect: Connect) -> None:
    a, b = connect(), connect()
    assert a.send("MONITOR", "MONITOR") == OK
    assert b.send("MONITOR") == OK
    assert engine.stats()["monitors"] == 2
    assert a.send("RESET") == b"+RESET\r\n"
    assert engine.stats()["monitors"] == 1
    b.socket.close()
    engine.tick()
    engine.tick()
    assert engine.stats()["monitors"] == 0


def test_monitor_lines_are_no_pushes(connect: Connect) -> None:
    """As in Valkey: in place, also inside EXEC, and nothing for who wants no replies."""
    a = connect()
    assert a.send("MONITOR") == OK
    lines = a.send("MULTI", "PING", "EXEC").split(b"\r\n")
    assert [line.split(b'"')[1] if b'"' in line else line for line in lines] == [
        b"+OK", b"MULTI", b"+QUEUED", b"*1", b"+PONG", b"PING", b"EXEC", b""]  # fmt: skip
    assert a.send("CLIENT REPLY OFF", "PING") == b""
