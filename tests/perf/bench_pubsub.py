"""Pub/sub beside the real Valkey: memory of a subscription, CPU of a delivery and of patterns.

    python tests/perf/bench_pubsub.py        about a minute; needs a quiet machine

CPU is the server's own, from /proc. A delivery at P=1 is mostly the kernel's write to a socket of its own; at P=16
messages share it.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from fleettest.client import Connection, encode
from fleettest.instance import Instance, Option
from fleettest.programs import Kind
from fleettest.wait import assert_eventually

CHANNELS = 100_000
LISTENERS = 1000
MORE = 50  # channels of each listener
PATTERNS = 10_000
SIZES = (32, 256, 1000, 2000, 4000, 5000, 20_000)
MESSAGES = 480
TICKS = os.sysconf("SC_CLK_TCK")
OPTIONS: dict[str, Option] = {"maxclients": 20_000, "client-output-buffer-limit": "pubsub 0 0 0"}


def cpu_us(server: Instance) -> float:
    fields = Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS * 1e6


def memory(c: Connection) -> int:
    """Asked on one connection: another one would be seen in it."""
    text = c.call("INFO", "memory").decode()
    return int(text.split("used_memory:", 1)[1].split("\r\n", 1)[0])


def settled(c: Connection) -> int:
    """The memory, once buffers of the beginning were given back."""
    readings: list[int] = []

    def still() -> bool:
        readings.append(memory(c))
        return len(readings) > 50 and max(readings[-50:]) - min(readings[-50:]) < 100_000

    assert_eventually(still, pause_s=0.02, deadline_s=60)
    return readings[-1]


def listen(c: Connection, command: str, names: Sequence[str]) -> None:
    for at in range(0, len(names), 1000):
        c.send_command(command, *names[at : at + 1000])
        for _ in names[at : at + 1000]:
            c.read()


def drain(sockets: Sequence[socket.socket], size: int) -> None:
    left = {s.fileno(): size for s in sockets}
    by_fd = {s.fileno(): s for s in sockets}
    poll = select.epoll()
    for fd in left:
        poll.register(fd, select.EPOLLIN)
    while left:
        for fd, _ in poll.poll(5):
            left[fd] -= len(by_fd[fd].recv(1 << 20))
            if left[fd] <= 0:
                del left[fd]
                poll.unregister(fd)
    poll.close()


def measured(kind: Kind) -> Iterator[tuple[str, float]]:
    with Instance(kind, options=OPTIONS) as server, server.connect() as publisher:
        with server.connect() as c:
            before = memory(publisher)
            listen(c, "SUBSCRIBE", [f"channel:{n:06}" for n in range(CHANNELS)])
            yield "bytes a channel of one client", (memory(publisher) - before) / CHANNELS
        with server.connect() as c:
            before = settled(publisher)  # the one before it has gone
            listen(c, "PSUBSCRIBE", [f"user:{n}:*" for n in range(PATTERNS)])
            yield "bytes a pattern", (memory(publisher) - before) / PATTERNS
            before_us = cpu_us(server)
            for n in range(MESSAGES):
                publisher.call("PUBLISH", f"user:{n}:x", "m")
            yield f"us a message beside {PATTERNS} patterns", (cpu_us(server) - before_us) / MESSAGES
        yield from deliveries(server, publisher)


def deliveries(server: Instance, publisher: Connection) -> Iterator[tuple[str, float]]:
    assert not isinstance(server.address, str)
    sockets = [socket.create_connection(server.address) for _ in range(LISTENERS)]
    for s in sockets:
        s.sendall(encode("SUBSCRIBE", "news"))
        s.recv(1000)
        s.setblocking(False)
    before = settled(publisher)
    for n in range(MORE):
        for s in sockets:
            s.sendall(encode("SUBSCRIBE", f"more:{n:02}"))
        drain(sockets, len(b"*3\r\n$9\r\nsubscribe\r\n$7\r\nmore:00\r\n:2\r\n"))
    yield "bytes of one more channel of a thousand clients", (settled(publisher) - before) / LISTENERS / MORE
    for size in SIZES:
        frame = len(encode("message", "news", "x" * size))
        for pipeline in (1, 16):
            if size * pipeline > 80_000:
                continue
            before_us = cpu_us(server)
            rounds = MESSAGES // 16
            for _ in range(rounds):
                publisher.send(encode("PUBLISH", "news", "x" * size) * pipeline)
                for _ in range(pipeline):
                    assert publisher.read() == LISTENERS
                drain(sockets, frame * pipeline)
            us = (cpu_us(server) - before_us) / rounds / pipeline / LISTENERS
            yield f"us a delivery of {size} bytes, P={pipeline}", us
    for s in sockets:
        s.close()


def main() -> None:
    ours, theirs = dict(measured("cachefleet")), dict(measured("valkey"))
    for name, value in ours.items():
        print(f"{name:50} {value:10.2f} {theirs[name]:10.2f} {value / theirs[name]:6.2f}")


if __name__ == "__main__":
    main()
