"""What a test cost, in wall-clock time and CPU, and the words for why it is slow.

`fleettest.costing` measures under pytest and adds a line of JSON for each test to the file that `CACHEFLEET_COSTS`
names; `fleettest.gate` reads them. The standard library is enough here: the gate begins before there is an environment.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

VARIABLE: Final = "CACHEFLEET_COSTS"
SHOWN: Final = 30
SHOWN_S: Final = 1.0  # shorter ones are not listed after a small run
_TICK: Final = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """Seconds. `why` is what the test says of itself; `queue_s` is how long its process could run and had no core."""

    test: str
    outcome: str
    why: str = ""
    setup_s: float = 0.0
    call_s: float = 0.0
    teardown_s: float = 0.0
    cpu_s: float = 0.0
    queue_s: float = 0.0

    @property
    def wall_s(self) -> float:
        return self.setup_s + self.call_s + self.teardown_s

    def reason(self) -> str:
        if self.queue_s > 0.5 * self.wall_s:
            return "waits for a core: the machine was busy"
        if self.why:
            return self.why
        if self.setup_s + self.teardown_s > self.call_s:
            return "its fixtures start and end something"
        if self.cpu_s > 0.6 * self.wall_s:
            return "computes"
        return "waits"


def slowest(costs: Iterable[Cost]) -> Iterator[str]:
    """A line each: wall, CPU, test, reason."""
    ordered = sorted(costs, key=lambda cost: -cost.wall_s)
    for cost in [cost for cost in ordered if cost.wall_s >= SHOWN_S][:SHOWN]:
        yield f"{cost.wall_s:7.1f} s {cost.cpu_s:7.1f} s CPU  {cost.test}: {cost.reason()}"


def read(file: Path) -> list[Cost]:
    return [Cost(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []


# -- CPU time of a tree of processes


def queue_seconds() -> float:
    """How long this thread was ready to run and did not, since it began."""
    with open("/proc/thread-self/schedstat") as schedstat:
        return int(schedstat.read().split()[1]) / 1e9


def cpu_seconds() -> float:
    """Of this process and all below it, with those that ended and were waited for."""
    ticks, todo = 0, [os.getpid()]
    while todo:
        pid = todo.pop()
        try:
            with open(f"/proc/{pid}/stat", "rb") as stat:
                ticks += sum(map(int, stat.read().rpartition(b")")[2].split()[11:15]))
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children", "rb") as children:
                    todo += map(int, children.read().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return ticks / _TICK
