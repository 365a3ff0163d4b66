"""On whose behalf a request runs: in-process, the server's own work, and both inside other requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from cachefleet_server.command_spec import row
from cachefleet_server.engine import Client, Engine
from cachefleet_server.replies import Error, Reply

pytestmark = pytest.mark.unit

FOREVER_MS = 1 << 40


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


def calls(engine: Engine) -> dict[str, int]:
    return {name: calls for name, calls, *_ in engine.command_stats()}


def register(engine: Engine, name: str, function: Callable[[Client, list[bytes]], Reply]) -> None:
    engine.register(row(name, -1, "loading stale", "", "", "server 1.0.0 O(1)", "", ""), function)


@pytest.mark.parametrize("everything", [False, True])
def test_a_pause_refuses_whom_it_cannot_hold(engine: Engine, everything: bool) -> None:
    engine.pause("client", FOREVER_MS, everything=everything)
    assert engine.execute(b"SET", b"k", b"v") == Error("ERR The server is paused, and this request cannot wait")
    assert engine.stats()["blocked_clients"] == 0
    assert engine.execute_own(b"SET", b"k", b"own") == "OK"
    engine.unpause("client")
    assert engine.execute(b"GET", b"k") == b"own"


def test_while_data_loads(engine: Engine) -> None:
    engine.set_persist("loading", 1)
    assert str(engine.execute(b"SET", b"k", b"v")).startswith("LOADING ")
    assert engine.execute_own(b"SET", b"k", b"own") == "OK"


def test_when_memory_is_full(engine: Engine) -> None:
    engine.set_param("maxmemory", 1)
    engine.set_param("maxmemory_policy", 32)  # noeviction
    assert str(engine.execute(b"SET", b"k", b"v")).startswith("OOM ")
    assert engine.execute_own(b"SET", b"k", b"own") == "OK"


def test_a_password_is_for_connections(engine: Engine) -> None:
    engine.set_param("auth_required", 1)
    assert engine.execute(b"SET", b"k", b"v") == "OK"


def test_nobody_waits_who_cannot(engine: Engine) -> None:
    assert engine.execute(b"WAIT", b"1", b"0") == 0
    engine.execute(b"MULTI")
    engine.execute(b"WAIT", b"1", b"0")
    assert engine.execute(b"EXEC") == [0]
    assert engine.execute(b"WAIT", b"1", b"0") == 0, "nor after EXEC"
    assert engine.stats()["blocked_clients"] == 0


def test_the_servers_own_work_is_not_counted(engine: Engine) -> None:
    before = calls(engine)
    engine.execute_own(b"SET", b"k", b"v")
    assert engine.execute_own(b"INCR", b"k") == Error("ERR value is not an integer or out of range")
    assert calls(engine) == before
    assert engine.error_stats() == {}
    engine.execute(b"INCR", b"k")
    assert calls(engine)["incr"] == 1


def test_requests_inside_requests(engine: Engine) -> None:
    """Each has its own reply, and the outer one is the running one again."""
    seen: list[Reply] = []

    def outer(client: Client, argv: list[bytes]) -> Reply:
        before = client.argument_bytes
        seen.append(engine.execute(b"inner", b"a"))
        seen.append(engine.execute_own(b"inner", b"b"))
        assert client.argument_bytes == before > 0, "no longer the running one"
        return [argv[1], client.db]

    def inner(client: Client, argv: list[bytes]) -> Reply:
        return [engine.execute_own(b"ECHO", argv[1] * 3), client.db]

    register(engine, "outer", outer)
    register(engine, "inner", inner)
    assert engine.execute(b"outer", b"x", db=2) == [b"x", 2]
    assert seen == [[b"aaa", 0], [b"bbb", 0]]
    engine.execute(b"MULTI")
    for word in (b"y", b"z"):
        engine.execute(b"outer", word)
    assert engine.execute(b"EXEC") == [[b"y", 0], [b"z", 0]]
    assert seen == [[b"aaa", 0], [b"bbb", 0]] * 3


def test_a_stranger_in_process_closes_nothing(engine: Engine) -> None:
    """A browser's words end a connection; here there is none."""
    assert str(engine.execute(b"POST", b"/")).startswith("ERR unknown command")
    assert engine.stats()["browsers"] == 0
