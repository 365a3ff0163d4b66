"""Clients that mean harm, or are just broken: the server's memory stays bounded and others are served meanwhile."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from fleettest.client import Connection, Error, encode
from fleettest.instance import Instance
from fleettest.process import main_thread_cpu_seconds, open_files, rss_bytes
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

MB = 1 << 20
SERVED_WITHIN_S = 1.0  # a stall shows as seconds


def used(server: Instance) -> int:
    """Reply chunks kept free, at most 8 MB, are given back within seconds."""
    return int(server.info("memory")["used_memory"])


def stat(server: Instance, name: str) -> int:
    return int(server.info("stats")[name])


@pytest.fixture
def victim() -> Iterator[Instance]:
    with Instance("cachefleet", options={"enable-debug-command": "yes"}) as server:
        server.call("PING")
        yield server


class Bystander:
    """Another client that works all the time: how it was served, and whether it failed.

    A single request may wait for the machine as long as that pleases. What counts is how much the server's thread
    worked on other things before it answered; where it slept or waited instead, many requests are slow.
    """

    def __init__(self, server: Instance) -> None:
        self.times_s: list[float] = []
        self.most_work_s = 0.0
        self.requests = 0
        self._failure: BaseException | None = None
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Bystander:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None and error[0] is None:
            raise AssertionError(f"a bystander was not served: {self._failure!r}") from self._failure
        if error[0] is None:
            assert self.most_work_s < SERVED_WITHIN_S
            assert sorted(self.times_s)[len(self.times_s) * 9 // 10] < SERVED_WITHIN_S

    def _work(self) -> None:
        try:
            with self._server.connect() as connection:
                while not self._stop.is_set() or self.requests == 0:  # harm may be over before a thread has begun
                    start, worked = time.monotonic(), main_thread_cpu_seconds(self._server)
                    assert connection.call("SET", "bystander", self.requests) == "OK"
                    assert connection.call("GET", "bystander") == str(self.requests).encode()
                    self.times_s.append(time.monotonic() - start)
                    self.most_work_s = max(self.most_work_s, main_thread_cpu_seconds(self._server) - worked)
                    self.requests += 1
        except BaseException as error:
            self._failure = error


def test_slow_senders(victim: Instance) -> None:
    """Slow-loris: many connections, each sending a request byte by byte and never to its end."""
    count = 500
    before = used(victim)
    request = encode("SET", "key", "v" * 300)
    with Bystander(victim):
        connections = [victim.connect() for _ in range(count)]
        for byte in request[:-1]:
            for connection in connections:
                connection.send(bytes([byte]))
        assert_eventually(lambda: int(victim.info("clients")["connected_clients"]) >= count)
        assert used(victim) - before < count * 3000
        for connection in connections[::2]:
            connection.send(request[-1:])
            assert connection.read() == "OK"
        for connection in connections:
            connection.close()
    assert_eventually(lambda: used(victim) - before < 100_000)


def test_promises_are_not_paid_for(victim: Instance) -> None:
    """Counts and lengths are only announced; nothing comes."""
    count = 200
    before, rss = used(victim), rss_bytes(victim)
    with Bystander(victim):
        connections = [victim.connect() for _ in range(count)]
        for i, connection in enumerate(connections):
            connection.send(b"*1048576\r\n$3\r\nSET\r\n$512000000\r\n" if i % 2 else b"*2147483647\r\n$3\r\nSET\r\n")
        assert_eventually(lambda: int(victim.info("clients")["connected_clients"]) >= count)
        assert used(victim) - before < count * 1.1 * MB
        assert rss_bytes(victim) - rss < 16 * MB, "announced memory is not touched"
        for connection in connections:
            connection.close()
    assert_eventually(lambda: used(victim) - before < 100_000)


@pytest.mark.parametrize("limit", ["hard", "soft"])
def test_who_never_reads_is_closed(victim: Instance, limit: str) -> None:
    value = "normal 16mb 0 0" if limit == "hard" else "normal 0 4mb 1"
    assert victim.call("CONFIG", "SET", "client-output-buffer-limit", value) == "OK"
    victim.call("SET", "big", "x" * MB)
    before, rss = used(victim), rss_bytes(victim)
    with Bystander(victim), victim.connect() as deaf:
        with contextlib.suppress(OSError):  # it may be closed while still sending
            for _ in range(30):  # the kernel's socket buffers take some
                deaf.send_command("GET", "big")
            if limit == "hard":
                deaf.send(encode("GET", "big") * 2500)
        assert_eventually(lambda: stat(victim, "client_output_buffer_limit_disconnections") == 1, deadline_s=15)
        assert rss_bytes(victim) - rss < 100 * MB
        assert deaf.closed_by_server()
    assert_eventually(lambda: used(victim) - before < MB)


def test_limits_go_by_class(victim: Instance) -> None:
    """The limit of another class does not concern a normal client."""
    assert victim.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 1mb 1 replica 1mb 1mb 1") == "OK"
    victim.call("SET", "big", "x" * MB)
    with victim.connect() as slow:
        slow.send(encode("GET", "big") * 30)
        assert_eventually(lambda: int(victim.info("clients")["client_recent_max_output_buffer"]) > 20 * MB)
        assert [len(slow.read()) for _ in range(30)] == [MB] * 30
    assert stat(victim, "client_output_buffer_limit_disconnections") == 0


def test_a_pipeline_of_large_replies_is_served_in_turns(victim: Instance) -> None:
    """1 GB of replies from one read: others do not wait for them."""
    victim.call("SET", "big", "x" * MB)
    with Bystander(victim), victim.connect() as reader:
        reader.send(encode("GET", "big") * 1000)
        got = 0
        while got < 1000 * (MB + 12):
            got += len(reader.sock.recv(MB))
    assert got == 1000 * (MB + 12)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\r\n" * 500_000,
        b"a b c\r\n" * 100_000,
        b"*0\r\n" * 200_000,
        b"*1\r\n$0\r\n\r\n" * 50_000,
        b"a " * 1_000_000,
        b"x" * 10_000_000,
        b'"' * 1_000_000 + b"\r\n",
        b"*1000000\r\n" + b"$0\r\n\r\n" * 1_000_000,
        b"*" + b"1" * 1_000_000,
        random.Random(1).randbytes(2_000_000),
    ],
    ids=lambda data: repr(data[:12]),
)
def test_nonsense(victim: Instance, nonsense: bytes) -> None:
    before, rss = used(victim), rss_bytes(victim)
    with Bystander(victim), Connection(victim.address) as connection:
        reader = threading.Thread(target=drain, args=[connection.sock])
        reader.start()
        with contextlib.suppress(OSError):  # refused while still sending
            connection.send(nonsense)
            connection.sock.shutdown(socket.SHUT_WR)
        reader.join()
    assert_eventually(lambda: used(victim) - before < 100_000)
    assert rss_bytes(victim) - rss < 100 * MB


def drain(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sock.recv(1 << 18):
            pass


def test_half_open_connections_time_out(victim: Instance) -> None:
    assert victim.call("CONFIG", "SET", "timeout", 1) == "OK"
    connections = [victim.connect() for _ in range(50)]
    connections[0].send(b"*2\r\n$3\r\nGE")
    for connection in connections:
        assert connection.closed_by_server()
    assert victim.call("CONFIG", "SET", "timeout", 0) == "OK"
    with victim.connect() as patient:
        assert not patient.closed_by_server(timeout_s=2.5)


def test_query_buffer_limit(victim: Instance) -> None:
    assert victim.call("CONFIG", "SET", "client-query-buffer-limit", "1mb") == "OK"
    value = b"x" * (4 * MB)
    attacks = (
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4194304\r\n" + value + b"\r\n",
        b"*1000000\r\n" + b"$10\r\naaaaaaaaaa\r\n" * 250_000,
        encode("MULTI") + encode("SET", "k", "x" * 100_000) * 40,
        encode("MULTI") + encode("PING") * 500_000,
    )
    for number, attack in enumerate(attacks, 1):
        before = used(victim)
        with Bystander(victim), Connection(victim.address) as connection:
            with contextlib.suppress(OSError):
                connection.send(attack)
            assert connection.closed_by_server()
            assert stat(victim, "client_query_buffer_limit_disconnections") == number
        assert_eventually(lambda limit=before + 100_000: used(victim) < limit)
    assert victim.call("SET", "k", "x" * (MB // 2)) == "OK"
    assert victim.call("GET", "k") == b"x" * (MB // 2)


def test_input_after_the_last_reply_is_dropped(victim: Instance) -> None:
    """After a protocol error only the replies before it are still owed; who does not take them cannot fill memory."""
    victim.call("SET", "big", "x" * MB)
    with Bystander(victim), victim.connect() as deaf:
        deaf.send(encode("GET", "big") * 30 + b"*x\r\n")
        assert_eventually(lambda: int(victim.info("clients")["client_recent_max_output_buffer"]) > 20 * MB)
        full = used(victim)
        for _ in range(100):
            deaf.send(encode("SET", "k", "v") * 30_000)
        assert used(victim) < full + MB
        assert [len(deaf.read()) for _ in range(30)] == [MB] * 30
        assert deaf.read() == "ERR Protocol error: invalid multibulk length"
        assert deaf.closed_by_server()
    assert victim.call("EXISTS", "k") == 0


def reset(connection: Connection) -> None:
    """Closes with RST instead of FIN."""
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_vanishing_clients(victim: Instance, rng: random.Random) -> None:
    """Connections that end at any moment, by FIN or RST, in a transaction, a pipeline, a big argument or a pause."""
    victim.call("SET", "big", "x" * MB)
    starts = [
        b"", b"PING\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\nxxxx",
        encode("MULTI") + encode("SET", "a", "b" * 100_000),
        encode("WATCH", "a", "b") + encode("MULTI") + encode("GET", "a"), encode("GET", "big") * 50,
        encode("CLIENT", "REPLY", "OFF"), encode("WAIT", 1, 0), encode("PING") * 1000, b"*x\r\n",
        encode("QUIT") + encode("PING") * 10, encode("DEBUG", "SLEEP", "0.01"),
    ]  # fmt: skip
    before, files = used(victim), open_files(victim)
    with Bystander(victim):
        for _ in range(600):
            connection = victim.connect()
            data = rng.choice(starts)
            connection.send(data[: rng.choice([len(data), rng.randint(0, len(data))])])
            (reset if rng.random() < 0.5 else Connection.close)(connection)
    assert_eventually(lambda: int(victim.info("clients")["connected_clients"]) == 1)
    assert_eventually(lambda: used(victim) - before < 300_000)
    assert open_files(victim) <= files + 1


def test_too_many_connections(victim: Instance) -> None:
    assert victim.call("CONFIG", "SET", "maxclients", 50) == "OK"
    connections = [Connection(victim.address) for _ in range(80)]
    replies = [connection.call("PING") if i < 40 else None for i, connection in enumerate(connections)]
    assert replies[:40] == ["PONG"] * 40
    # Connections are accepted in the order in which they were made.
    assert_eventually(lambda: len(select.select([c.sock for c in connections[40:]], [], [], 0)[0]) >= 30)
    refused = [c for c in connections[40:] if c.closed_by_server(timeout_s=0.2)]
    assert 30 <= len(refused) <= 32
    assert isinstance(refused[0].read(), Error)
    for connection in connections:
        connection.close()
    assert_eventually(lambda: victim.call("PING") == "PONG")
    assert stat(victim, "rejected_connections") >= 30
