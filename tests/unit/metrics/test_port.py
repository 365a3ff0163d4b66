"""The metrics port's sockets, without a server: who is closed when, and what is left open."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import uvloop
from prometheus_client.registry import CollectorRegistry

from cachefleet_server.metrics import port as module
from cachefleet_server.metrics.http import Pages
from cachefleet_server.metrics.port import ACCEPTS_MAX, CONNECTIONS_MAX, DESCRIPTORS, HEAD_BYTES_MAX, Port
from fleettest.instance import free_port

pytestmark = pytest.mark.unit

PROBE = b"GET /healthz HTTP/1.1\r\n\r\n"


def failed(error: Exception) -> None:
    raise error


def run(body: Callable[[Port, int], Awaitable[None]]) -> None:
    """`body` with an open port and its number, on the server's kind of loop; every descriptor is given back."""

    async def main() -> None:
        port, number = Port(Pages(CollectorRegistry(), dict, failed)), free_port()
        port.open("127.0.0.1", number)
        before = descriptors()
        try:
            await body(port, number)
            await turns()
            assert descriptors() == before + len(port.connections)
        finally:
            port.close()
        assert not port.connections

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def turns() -> None:
    """Until the port has seen what was sent: each turn of the loop looks at every socket."""
    for _ in range(2 * (CONNECTIONS_MAX + ACCEPTS_MAX)):
        await asyncio.sleep(0)


def dial(number: int, request: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", number), source_address=(source, 0))
    sock.sendall(request)
    sock.setblocking(False)
    return sock


def received(sock: socket.socket) -> bytes | None:
    """What has come; b"" = closed, None = nothing yet."""
    with suppress(BlockingIOError):
        return sock.recv(65536)
    return None


def test_the_oldest_of_the_busiest_address_makes_room() -> None:
    async def body(port: Port, number: int) -> None:
        first = dial(number, b"GET ", "127.0.0.3")
        others = [dial(number, b"", "127.0.0.2") for _ in range(CONNECTIONS_MAX - 1)]
        await turns()
        assert len(port.connections) == CONNECTIONS_MAX
        new = [dial(number, source=f"127.0.1.{i}") for i in range(1, 6)]
        await turns()
        assert len(port.connections) == CONNECTIONS_MAX
        assert [received(sock) for sock in others] == [b""] * 5 + [None] * (len(others) - 5)
        assert [received(sock) for sock in (first, *new)] == [None] * 6
        first.sendall(b"/healthz HTTP/1.1\r\n\r\n")
        await turns()
        assert (received(first) or b"").startswith(b"HTTP/1.1 200 ")
        for sock in (first, *others, *new):
            sock.close()
        await turns()
        assert not port.connections

    run(body)


def test_a_probe_is_answered_as_it_is_accepted() -> None:
    """However many newer ones wait behind it in the queue."""

    async def body(port: Port, number: int) -> None:
        socks = [dial(number) for _ in range(100)]
        probe = dial(number, PROBE)
        socks += [dial(number) for _ in range(100)]
        await turns()
        assert (received(probe) or b"").startswith(b"HTTP/1.1 200 ")
        for sock in (*socks, probe):
            sock.close()

    run(body)


def test_descriptors_are_bounded() -> None:
    """What comes in one burst is not open all at once."""

    async def body(port: Port, number: int) -> None:
        before = descriptors()
        socks = [dial(number, b"GET /metrics HTTP/1.1\r\n\r\n") for _ in range(200)]
        dialled = descriptors()
        assert dialled == before + len(socks)
        for _ in range(100):
            await asyncio.sleep(0)
            assert descriptors() - dialled <= DESCRIPTORS
        for sock in socks:
            sock.close()

    run(body)


def test_who_is_silent_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECTION_SECONDS_MAX", 0.01)

    async def body(port: Port, number: int) -> None:
        idle, half = dial(number), dial(number, PROBE[:-1])
        loop = asyncio.get_running_loop()
        for sock in (idle, half):
            assert await asyncio.wait_for(loop.sock_recv(sock, 100), 10) == b""
            sock.close()

    run(body)


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (PROBE, True), (PROBE + b"more", True), (b"x" * (HEAD_BYTES_MAX + 1), False),
        (b"GET /healthz HTTP/1.1\r\n" + b"x" * HEAD_BYTES_MAX + b"\r\n\r\n", False),
        (b"GET /healthz HTTP/1.1\r\nx: " + b"x" * (HEAD_BYTES_MAX - 100) + b"\r\n\r\n", True),
    ],
)  # fmt: skip
def test_a_head_has_a_bound(sent: bytes, answered: bool) -> None:
    async def body(port: Port, number: int) -> None:
        sock = dial(number)
        sock.sendall(sent)
        await turns()
        try:
            came = received(sock)
        except ConnectionResetError:  # what was not read is told so
            came = b""
        assert came is not None and came.startswith(b"HTTP/1.1 200 ") is answered
        assert not port.connections
        sock.close()

    run(body)


def test_a_head_may_come_in_pieces_and_its_sender_may_stop_sending() -> None:
    async def body(port: Port, number: int) -> None:
        sock = dial(number)
        for i in range(len(PROBE)):
            assert received(sock) is None
            sock.sendall(PROBE[i : i + 1])
            await turns()
        assert (received(sock) or b"").startswith(b"HTTP/1.1 200 ")
        sock.close()
        half_closed = dial(number, PROBE)
        half_closed.shutdown(socket.SHUT_WR)
        await turns()
        assert (received(half_closed) or b"").startswith(b"HTTP/1.1 200 ")
        half_closed.close()

    run(body)


def test_a_name_that_leads_nowhere_and_a_port_that_is_taken() -> None:
    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = Port(Pages(CollectorRegistry(), dict, failed))
            before = descriptors()
            for host in ("127.0.0.1", "no such host", "x" * 70_000, "../x", "\udcff", ""):
                with pytest.raises(OSError):
                    port.open(host, taken.getsockname()[1])
            assert descriptors() == before

    asyncio.run(main())
