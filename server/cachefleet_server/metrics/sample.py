"""One consistent reading of everything that INFO and /metrics show.

A `Sampler` asks its sources (each a callable that returns a flat mapping) and the operating system, once per INFO or
scrape; nothing is counted here. Keys are the engine's counter names, or the INFO field names that a subsystem's
`status()` uses. Derived values, such as rates per second, come from `Rates`, which cron feeds.
"""

from __future__ import annotations

import os
import platform
import resource
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Source = Callable[[], Mapping[str, Any]]
PAGE = os.sysconf("SC_PAGE_SIZE")
RATE_SAMPLES = 16  # of 100 ms each, as in Redis


@dataclass
class Rates:
    """Averages over the last RATE_SAMPLES calls of `track`."""

    history: dict[str, deque[float]] = field(default_factory=dict)
    last: dict[str, tuple[float, float]] = field(default_factory=dict)

    def track(self, now: float, counters: Mapping[str, float]) -> None:
        for name, value in counters.items():
            before = self.last.get(name)
            if before is not None and now > before[0]:
                rate = max(0.0, (value - before[1]) / (now - before[0]))
                self.history.setdefault(name, deque(maxlen=RATE_SAMPLES)).append(rate)
            self.last[name] = (now, value)

    def per_second(self, name: str) -> float:
        values = self.history.get(name)
        return sum(values) / len(values) if values else 0.0


def process_status() -> dict[str, Any]:
    """What the kernel says about this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    thread = resource.getrusage(resource.RUSAGE_THREAD)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    rss_pages = int(Path("/proc/self/statm").read_text().split()[1])
    uname = platform.uname()
    return {
        "process_id": os.getpid(),
        "used_memory_rss": rss_pages * PAGE,
        "total_system_memory": os.sysconf("SC_PHYS_PAGES") * PAGE,
        "used_cpu_sys": usage.ru_stime,
        "used_cpu_user": usage.ru_utime,
        "used_cpu_sys_children": children.ru_stime,
        "used_cpu_user_children": children.ru_utime,
        "used_cpu_sys_main_thread": thread.ru_stime,
        "used_cpu_user_main_thread": thread.ru_utime,
        "os": f"{uname.system} {uname.release} {uname.machine}",
    }


class Sampler:
    """Merges the sources into one mapping. `start_time` is Unix seconds."""

    def __init__(self, sources: list[Source], *, start_time: float | None = None) -> None:
        self.sources = [process_status, *sources]
        self.start_time = time.time() if start_time is None else start_time
        self.rates = Rates()

    def sample(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for source in self.sources:
            values.update(source())
        now = time.time()
        values["server_time_usec"] = int(now * 1_000_000)
        values["start_time"] = int(self.start_time)  # not derived from the uptime, which is a rounded difference
        values["uptime_in_seconds"] = int(now - self.start_time)
        values["instantaneous_ops_per_sec"] = int(self.rates.per_second("commands"))
        values["instantaneous_input_kbps"] = self.rates.per_second("net_in") / 1024
        values["instantaneous_output_kbps"] = self.rates.per_second("net_out") / 1024
        ticks = self.rates.per_second("ticks")
        values["instantaneous_eventloop_cycles_per_sec"] = int(ticks)
        values["instantaneous_eventloop_duration_usec"] = int(self.rates.per_second("tick_us") / ticks) if ticks else 0
        return values
