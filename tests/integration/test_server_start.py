"""The composition root in this process: what happens while a subsystem loads, and when one fails."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from cachefleet_server.config.config import Config
from cachefleet_server.config.parser import option_lines
from cachefleet_server.errors import DataError
from cachefleet_server.log import Log
from cachefleet_server.server import Server, Subsystem
from fleettest.instance import free_port

pytestmark = pytest.mark.server

DEADLINE_S = 30.0


class Slow(Subsystem):
    """Loads for ever, or fails."""

    def __init__(self, failure: Exception | None) -> None:
        self.failure = failure
        self.loading = asyncio.Event()
        self.events: list[str] = []

    async def start(self) -> None:
        self.events.append("start")
        if self.failure is not None:
            raise self.failure
        self.loading.set()
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self.events.append("stop")


class LoadingServer(Server):
    """A server with one more subsystem, and hooks for the test."""

    slow: Slow

    def _compose(self) -> None:
        super()._compose()
        self._subsystems.append(self.slow)


def run(tmp_path: Path, failure: Exception | None, act: Callable[[Slow, int], object] | None) -> tuple[int, Slow, str]:
    """Runs the server, calls `act` while it loads; exit code, the subsystem and the log."""
    port = free_port()
    options = {"port": str(port), "bind": "127.0.0.1", "dir": str(tmp_path), "logfile": str(tmp_path / "log"),
               "crash-log-enabled": "no", "save": "3600 1"}  # fmt: skip
    config = Config()
    config.load(option_lines([word for name, value in options.items() for word in ("--" + name, value)]), {})
    log = Log()

    async def main() -> tuple[int, Slow]:
        server = LoadingServer(config, log, sources=list)
        server.slow = Slow(failure)
        running = asyncio.ensure_future(server.run())
        if act is not None:
            await asyncio.wait_for(server.slow.loading.wait(), DEADLINE_S)
            result = act(server.slow, port)
            if asyncio.iscoroutine(result):
                await asyncio.wait_for(result, DEADLINE_S)
        return await asyncio.wait_for(running, DEADLINE_S), server.slow

    code, slow = uvloop.run(main())
    log.close()
    return code, slow, (tmp_path / "log").read_text()


def test_a_signal_ends_the_load_without_saving(tmp_path: Path) -> None:
    code, slow, log = run(tmp_path, None, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert (code, slow.events) == (0, ["start", "stop"])
    assert "Ready to accept" not in log
    assert not (tmp_path / "dump.rdb").exists()


def test_clients_are_told_that_it_loads(tmp_path: Path) -> None:
    async def ask(_: Slow, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET k\r\nCONFIG GET port\r\n")
        assert (await reader.readline()).startswith(b"-LOADING ")
        assert await reader.readline() == b"*2\r\n"
        writer.write(b"SHUTDOWN SAVE\r\n")
        assert b"-" not in await reader.read()
        writer.close()

    code, slow, _ = run(tmp_path, None, ask)
    assert (code, slow.events) == (0, ["start", "stop"])
    assert not (tmp_path / "dump.rdb").exists()


def test_a_failure_stops_the_start(tmp_path: Path) -> None:
    code, slow, log = run(tmp_path, DataError("the file is damaged; do this"), None)
    assert (code, slow.events) == (1, ["start", "stop"])
    assert "# the file is damaged; do this" in log
