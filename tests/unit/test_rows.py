"""Rows in Python: views of clients that outlive the row or the client, and who may wait."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Awaitable, Iterator

import pytest

from cachefleet_server.command_spec import CommandSpec, row
from cachefleet_server.engine import Client, Engine
from cachefleet_server.errors import ClientGone
from cachefleet_server.replies import Error, Reply

pytestmark = pytest.mark.unit


def spec(name: str, flags: str = "loading stale") -> CommandSpec:
    return row(name, -1, flags, "", "", "server 1.0.0 O(1)", "", "")


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture
def peer(engine: Engine) -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    engine.add_client(ours.detach())
    with theirs:
        theirs.settimeout(5)
        yield theirs


class Failures(list[BaseException]):
    def __init__(self, engine: Engine) -> None:
        engine.on_row_failed = lambda client, argv, error: self.append(error)


# ---- views


def test_there_is_one_view_of_a_client(engine: Engine, peer: socket.socket) -> None:
    first = engine.clients()[0]
    assert engine.client(first.id) is first
    id = first.id
    del first
    gc.collect()
    assert engine.clients()[0].id == id, "a new one, when nobody held the old one"


def test_a_view_outlives_its_row_but_not_its_client(engine: Engine, peer: socket.socket) -> None:
    kept: list[Client] = []

    def keep(client: Client, argv: list[bytes]) -> Reply:
        kept.append(client)
        return client.id

    engine.register(spec("keep"), keep)
    for _ in range(2):
        peer.sendall(b"keep\r\n")
        engine.tick()
    assert peer.recv(100) == b":%d\r\n" % kept[0].id * 2
    assert kept[0] is kept[1] and not kept[0].gone
    kept[0].name = b"still there"
    peer.close()
    engine.tick()
    assert engine.client_count == 0 and kept[0].gone
    for use in (
        lambda c: c.id, lambda c: c.name, lambda c: c.peer(), lambda c: c.close(), lambda c: c.set_flag(1, True),
        lambda c: setattr(c, "name", b"x"), lambda c: setattr(c, "resp", 3), lambda c: c.close_after_reply(),
        lambda c: c.memory, lambda c: c.last_command, lambda c: c.argument_bytes,
    ):  # fmt: skip
        with pytest.raises(ClientGone):
            use(kept[0])


def test_views_of_an_engine_that_is_closed() -> None:
    engine = Engine()
    ours, theirs = socket.socketpair()
    with theirs:
        engine.add_client(ours.detach())
        view = engine.clients()[0]
        engine.close()
        with pytest.raises(ClientGone):
            view.flags  # noqa: B018
        del view
        gc.collect()


def test_views_of_requests_inside_requests(engine: Engine) -> None:
    kept: list[Client] = []

    def inner(client: Client, argv: list[bytes]) -> Reply:
        kept.append(client)
        if len(argv) > 1:
            engine.execute(b"inner")
        return client.id

    engine.register(spec("inner"), inner)
    engine.execute(b"inner", b"again")
    assert kept[0] is not kept[1]
    assert kept[0].db == 0, "who runs requests in-process stays"
    with pytest.raises(ClientGone):
        kept[1].db  # noqa: B018


# ---- waiting


def wait(client: Client, argv: list[bytes]) -> Awaitable[Reply]:
    async def reply() -> Reply:
        await asyncio.sleep(0)
        return argv[1]

    return reply()


@pytest.mark.parametrize("flags", ["", "no_multi", "noscript"])
def test_who_may_wait_must_be_alone(engine: Engine, flags: str) -> None:
    with pytest.raises(ValueError, match="no_multi and noscript"):
        engine.register(spec("waits", flags), wait, may_wait=True)
    assert engine.execute(b"waits", b"x") == Error("ERR unknown command 'waits', with args beginning with: 'x' ")


async def until_replied(engine: Engine, peer: socket.socket) -> bytes:
    peer.setblocking(False)
    while True:
        engine.tick()
        try:
            return peer.recv(1000)
        except BlockingIOError:
            await asyncio.sleep(0.001)


def test_the_client_waits_and_not_the_engine(engine: Engine, peer: socket.socket) -> None:
    engine.register(spec("waits", "no_multi noscript"), wait, may_wait=True)

    async def scenario() -> bytes:
        peer.sendall(b"waits x\r\nPING\r\n")
        engine.tick()
        assert engine.stats()["blocked_clients"] == 1
        assert engine.execute(b"PING") == "PONG"
        return await until_replied(engine, peer)

    assert asyncio.run(asyncio.wait_for(scenario(), 10)) == b"$1\r\nx\r\n+PONG\r\n"


def test_who_leaves_while_waiting(engine: Engine, peer: socket.socket) -> None:
    gone = []
    go_on = asyncio.Event()

    def stays(client: Client, argv: list[bytes]) -> Awaitable[Reply]:
        async def reply() -> Reply:
            await go_on.wait()
            with pytest.raises(ClientGone):
                client.id  # noqa: B018
            gone.append(True)
            return b"to nobody"

        return reply()

    engine.register(spec("stays", "no_multi noscript"), stays, may_wait=True)

    async def scenario() -> None:
        peer.sendall(b"stays\r\n")
        engine.tick()
        await asyncio.sleep(0)
        peer.close()
        engine.tick()
        go_on.set()
        for _ in range(3):
            await asyncio.sleep(0)
            engine.tick()

    asyncio.run(scenario())
    assert gone == [True] and engine.client_count == 0


def test_it_is_not_run_where_nobody_can_wait(engine: Engine) -> None:
    ran = []

    def waits(client: Client, argv: list[bytes]) -> Awaitable[Reply]:
        ran.append(argv)
        return wait(client, argv)

    engine.register(spec("waits", "no_multi noscript"), waits, may_wait=True)
    refusal = Error("ERR this command waits, which is not possible here")
    assert engine.execute(b"waits", b"x") == engine.execute_own(b"waits", b"x") == refusal
    engine.execute(b"MULTI")
    assert engine.execute(b"waits", b"x") == Error("ERR Command 'waits' not allowed inside a transaction")
    assert str(engine.execute(b"EXEC")).startswith("EXECABORT")
    assert ran == []


def test_an_awaitable_of_another_row_is_an_error_of_ours(engine: Engine, peer: socket.socket) -> None:
    failures = Failures(engine)
    engine.register(spec("waits"), wait)
    error = Error("ERR internal error: RuntimeError")
    assert engine.execute(b"waits", b"x") == error
    engine.execute(b"MULTI")
    engine.execute(b"waits", b"x")
    engine.execute(b"PING")
    assert engine.execute(b"EXEC") == [error, "PONG"]
    peer.sendall(b"waits x\r\nPING\r\n")
    engine.tick()
    assert peer.recv(1000) == b"-ERR internal error: RuntimeError\r\n+PONG\r\n"
    assert engine.stats()["blocked_clients"] == 0
    assert ["not registered as one that may wait" in str(failure) for failure in failures] == [True] * 3
