"""A steady load before and during a snapshot: latency, CPU and memory, beside a server that forks.

The load is open (load.c with a rate), so a stall shows in full. Snapshots follow each other for the whole measured
time. Memory is looked at in a run of its own, since reading smaps stalls the process that is read.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import Load, children, cpu_seconds, memory_bytes

from fleettest.instance import Instance

COMMANDS = (("SET", "__key__", "x" * 64),)
POLL_S = 0.005
MEMORY_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class SnapshotResult:
    p999_before_us: float
    p999_during_us: float
    cpu_before_us: float  # per operation
    cpu_during_us: float  # per operation, forked children included
    snapshots: int
    rss_growth: float  # share of the memory before; a forked child's own pages included


def measure_snapshot(server: Instance, load: Load, *, keys: int, rate: int, seconds: float) -> SnapshotResult:
    """The server is filled by this function."""
    load.fill(server, keys, 64)
    options = {"keys": keys, "rate": rate, "seconds": seconds}
    load.run(server, COMMANDS, **{**options, "seconds": 0.5})
    before = load.run(server, COMMANDS, **options)
    spent = _cpu_with_children(server.pid)
    process = load.start(server, COMMANDS, **options)
    snapshots = _snapshots_until(server, process, None)
    report = load.finish(process)
    _wait_idle(server)
    spent = _cpu_with_children(server.pid) - spent
    return SnapshotResult(
        p999_before_us=before.p999_us,
        p999_during_us=report["p999_us"],
        cpu_before_us=before.cpu_us,
        cpu_during_us=spent * 1e6 / report["ops"],
        snapshots=snapshots,
        rss_growth=_memory_growth(server, load, options),
    )


def _memory_growth(server: Instance, load: Load, options: dict[str, Any]) -> float:
    start = memory_bytes(server.pid)
    peaks = [start]
    process = load.start(server, COMMANDS, **options)
    _snapshots_until(server, process, peaks)
    load.finish(process, errors_allowed=True)
    _wait_idle(server)
    return max(peaks) / start - 1


def _snapshots_until(server: Instance, process: subprocess.Popen[bytes], peaks: list[int] | None) -> int:
    """BGSAVE again and again until the load ends; samples memory into `peaks` when given."""
    count = 0
    with server.connect(timeout_s=120) as connection:
        while process.poll() is None:
            if not _saving(connection.call("INFO", "persistence")):
                reply = connection.call("BGSAVE")
                count += str(reply).startswith("Background saving")
            if peaks is not None:
                peaks.append(memory_bytes(server.pid) + sum(memory_bytes(child) for child in children(server.pid)))
            time.sleep(POLL_S if peaks is None else MEMORY_POLL_S)
    return count


def _saving(info: bytes) -> bool:
    return b"rdb_bgsave_in_progress:1" in info


def _wait_idle(server: Instance) -> None:
    with server.connect(timeout_s=120) as connection:
        while _saving(connection.call("INFO", "persistence")):
            time.sleep(POLL_S)


def _cpu_with_children(pid: int) -> float:
    """CPU of the process and of its children that ended, in seconds (children in ticks of 10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return cpu_seconds(pid) + (int(fields[13]) + int(fields[14])) / 100
