"""What a copy costs: round trip and CPU of a write that is replied when a replica has it, beside Valkey's WAIT 1.

    python tests/perf/bench_copies.py [writes]

One client writes, one request at a time, and then fifty do, each with one request under way. Ours replies when the
replica has written it to its file (both servers run with an AOF, everysec); of Valkey each SET is followed by WAIT 1 in
the same packet, and its reply counts. `async` is ours without copies, for what the wire alone takes. Times are medians
in microseconds, CPU is user and system time of both processes for a write.
"""

from __future__ import annotations

import os
import selectors
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from fleettest.client import Connection, encode
from fleettest.instance import Instance
from fleettest.managedfleet import Fleet, managed_servers
from fleettest.wait import assert_eventually

CLIENTS = 50
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
SET = encode("SET", "key:0001", "x" * 64)
WAIT = encode("WAIT", 1, 0)


def cpu_s(server: Instance) -> float:
    fields = Path(f"/proc/{server.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


@contextmanager
def ours(folder: Path, durability: str) -> Iterator[list[Instance]]:
    with managed_servers(folder, 2) as servers:
        Fleet(servers, durability).begin()
        yield servers


@contextmanager
def valkey(folder: Path) -> Iterator[list[Instance]]:
    with ExitStack() as stack:
        first = stack.enter_context(Instance("valkey", directory=folder / "0", options={"appendonly": "yes"}))
        of = ["127.0.0.1", str(first.port)]
        options = {"appendonly": "yes", "replicaof": of}
        second = stack.enter_context(Instance("valkey", directory=folder / "1", options=options))
        assert_eventually(lambda: first.info("replication")["connected_slaves"] == "1")
        assert_eventually(lambda: second.info("replication")["master_link_status"] == "up")
        yield [first, second]


def one(server: Instance, request: bytes, replies: int, writes: int) -> float:
    times = []
    with server.connect() as client:
        for _ in range(writes):
            start = time.perf_counter()
            client.send(request)
            for _ in range(replies):
                client.read_raw()
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def many(server: Instance, request: bytes, size: int, writes: int) -> None:
    """`size`: bytes of the replies to one request."""
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        got: dict[Connection, int] = {}
        for _ in range(CLIENTS):
            client = stack.enter_context(server.connect())
            selector.register(client.sock, selectors.EVENT_READ, client)
            got[client] = 0
            client.send(request)
        left = writes
        while left > 0:
            for key, _ in selector.select():
                client = key.data
                got[client] += len(client.sock.recv(1 << 16))
                if got[client] >= size:
                    got[client] -= size
                    left -= 1
                    client.send(request)


def measure(name: str, servers: list[Instance], request: bytes, replies: int, writes: int) -> None:
    size = len(b"+OK\r\n") + (len(b":1\r\n") if replies == 2 else 0)
    one(servers[0], request, replies, writes // 20)
    median = one(servers[0], request, replies, writes // 4)
    rows = []
    for run in (lambda: one(servers[0], request, replies, writes), lambda: many(servers[0], request, size, writes * 4)):
        rows.append(cpu(servers, run, writes * (4 if rows else 1)))
    words = "   ".join(f"{a:6.1f} {b:6.1f}" for a, b in rows)
    print(f"{name:22} {median:8.0f}   {words}")


def cpu(servers: list[Instance], run: Callable[[], object], writes: int) -> tuple[float, ...]:
    before = [cpu_s(server) for server in servers]
    run()
    return tuple((cpu_s(server) - then) / writes * 1e6 for server, then in zip(servers, before, strict=True))


def main() -> None:
    writes = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(f"{'':22} {'median':>8}   {'CPU, 1 client':13}   CPU, {CLIENTS} clients (primary, replica)")
    with tempfile.TemporaryDirectory() as folder:
        for durability in ("async", "replicated"):
            with ours(Path(folder) / durability, durability) as servers:
                measure(f"ours, {durability}", servers, SET, 1, writes)
        with valkey(Path(folder) / "valkey") as servers:
            measure("Valkey, WAIT 1", servers, SET + WAIT, 2, writes)


if __name__ == "__main__":
    main()
