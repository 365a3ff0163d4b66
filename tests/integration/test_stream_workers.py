"""A fleet of workers of one consumer group, killed at random as the server is: each job is done, and done once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fleettest.instance import ROOT, Instance, free_port
from fleettest.stream_worker import GROUP, STREAM
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server]

WORKERS = 4
BATCH = 50  # jobs between two kills
KILLS = 12


class Fleet:
    def __init__(self, port: int) -> None:
        self.port = port
        self.made = 0
        self.workers: list[subprocess.Popen[bytes]] = []

    def add(self) -> None:
        self.made += 1
        words = [sys.executable, "-m", "fleettest.stream_worker", str(self.port), f"worker-{self.made}"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "support")}
        self.workers.append(subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL))

    def kill(self, rng: random.Random) -> None:
        worker = self.workers.pop(rng.randrange(len(self.workers)))
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()


def _add(server: Instance, first: int, count: int) -> None:
    with server.connect() as c:
        c.pipeline([("XADD", STREAM, f"{job + 1}-1", "job", job) for job in range(first, first + count)])


def _done(server: Instance) -> int:
    with server.connect() as c:
        return len(c.call("KEYS", "count:*"))


def _wait_for(server: Instance, jobs: int) -> None:
    assert_eventually(lambda: _done(server) >= jobs, f"{jobs} jobs are done", deadline_s=60)


@pytest.mark.slow("waits for what was killed to be taken over, many times")
def test_no_job_is_lost_or_done_twice(tmp_path: Path, rng: random.Random) -> None:
    options = {"appendonly": "yes", "appendfsync": "always"}
    with Instance("cachefleet", directory=tmp_path, port=free_port(), options=options) as server:
        server.call("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
        fleet = Fleet(server.port)
        try:
            for _ in range(WORKERS):
                fleet.add()
            for i in range(KILLS):
                _add(server, i * BATCH, BATCH)
                _wait_for(server, i * BATCH + rng.randrange(BATCH))
                if i % 4 == 3:
                    server.restart(kill=True)
                fleet.kill(rng)
                fleet.add()
            _wait_for(server, KILLS * BATCH)
            assert_eventually(lambda: server.call("XPENDING", STREAM, GROUP)[0] == 0, deadline_s=60)
            with server.connect() as c:
                counts = c.pipeline([("GET", f"count:{job}") for job in range(KILLS * BATCH)])
                assert counts == [b"1"] * (KILLS * BATCH)
                row = c.call("XINFO", "GROUPS", STREAM)[0]
                group = dict(zip(row[::2], row[1::2], strict=True))
                assert (group[b"lag"], group[b"pending"], group[b"entries-read"]) == (0, 0, KILLS * BATCH)
        finally:
            fleet.close()
