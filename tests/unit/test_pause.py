"""CLIENT PAUSE of an engine whose cron never runs: ticks alone hold requests and let them go."""

from __future__ import annotations

import select
import socket

from cachefleet_server.engine import Engine


def test_what_a_pause_held_goes_with_the_next_tick() -> None:
    ours, theirs = socket.socketpair()
    engine = Engine()
    try:
        ours.setblocking(False)
        engine.add_client(ours.detach())
        engine.pause_for(3_600_000, True)
        theirs.sendall(b"PING\r\n" * 3)
        for _ in range(3):
            engine.tick()
        assert not select.select([theirs], [], [], 0)[0], "answered during the pause"
        engine.pause_for(0, True)
        engine.tick()
        engine.tick()  # what was resumed
        assert theirs.recv(100) == b"+PONG\r\n" * 3
    finally:
        theirs.close()
        engine.close()
