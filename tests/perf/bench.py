"""`make bench`: CPU per operation of our server beside the real Valkey 9.1, Redis 7.0 and the kernel's floor.

Servers take turns in short rounds within one run, so what the machine does meanwhile hits all alike; a ratio is the
median of the rounds' paired ratios. A missed budget is marked and changes nothing: this never fails on time. It
does fail when a peer cannot start, or when a server replies with an error.

    python tests/perf/bench.py [--quick] [--group strings,memory] [--compare build/bench/earlier.json]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "support")]

import cases  # noqa: E402
from cases import Case, DataSet  # noqa: E402
from measure import Floor, Load, Result, compile_c, memory_bytes, reply_to  # noqa: E402
from report import Report  # noqa: E402
from snapshot import measure_snapshot  # noqa: E402

from fleettest import tree  # noqa: E402
from fleettest.instance import Instance, Kind, Option  # noqa: E402

PEERS: tuple[Kind, ...] = ("valkey", "redis")
WARM_UP_S = 0.1
STEADY_RATE = 20_000


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often."""

    seconds: float
    rounds: int
    snapshot_keys: int
    snapshot_seconds: float


QUICK = Plan(seconds=0.15, rounds=5, snapshot_keys=300_000, snapshot_seconds=2.0)
FULL = Plan(seconds=0.4, rounds=7, snapshot_keys=1_000_000, snapshot_seconds=5.0)


# What --group may name: cases of CPU per operation, and the other parts.
PARTS = ("memory", "steady", "snapshot")
GROUPS = (*cases.GROUPS, *PARTS)


class Bench:
    def __init__(self, subject: Kind, plan: Plan, load: Load, floor: Path, report: Report) -> None:
        self.subject, self.plan, self.load, self.floor, self.report = subject, plan, load, floor, report
        self.kinds: tuple[Kind, ...] = (subject, *(k for k in PEERS if k != subject))

    # -- CPU per operation

    def cpu(self, todo: Sequence[Case]) -> None:
        for data, group in itertools.groupby(todo, key=lambda case: case.data):
            with contextlib.ExitStack() as stack:
                servers = {kind: self.start(stack, kind, data) for kind in self.kinds}
                for case in group:
                    self.report.case(case, self.rounds(case, servers))

    def start(self, stack: contextlib.ExitStack, kind: Kind, data: DataSet) -> Instance:
        options: dict[str, Option] = {"appendonly": "yes", "appendfsync": "everysec"} if data.aof else {}
        server = stack.enter_context(Instance(kind, options=options))
        pin(server.pid, 0)
        self.load.fill(server, data.keys, data.value_bytes)
        counters = ("INCR", "counter:__key__")
        self.load.finish(self.load.start(server, counters, pipeline=100, ops=data.keys, keys=data.keys, seq=1))
        return server

    def rounds(self, case: Case, servers: dict[Kind, Instance]) -> dict[str, list[Result]]:
        floor = Floor(self.floor, case.request_bytes, reply_to(servers["valkey"], case.first))
        try:
            pin(floor.pid, 0)
            targets: dict[str, Instance | Floor] = {str(kind): server for kind, server in servers.items()}
            return self.take_turns(case, targets | {"floor": floor})
        finally:
            floor.close()

    def take_turns(self, case: Case, targets: dict[str, Instance | Floor]) -> dict[str, list[Result]]:
        results: dict[str, list[Result]] = {name: [] for name in targets}
        order = list(targets)
        for number in range(-1, self.plan.rounds):
            seconds = WARM_UP_S if number < 0 else self.plan.seconds
            for name in order:
                result = self.run(targets[name], case, seconds, number + 2)
                if number >= 0:
                    results[name].append(result)
            order = order[1:] + order[:1]
        return results

    def run(self, target: Instance | Floor, case: Case, seconds: float, seed: int) -> Result:
        return self.load.run(
            target,
            case.words,
            pipeline=case.pipeline,
            keys=case.data.keys,
            seconds=seconds,
            seed=seed,
            inline=int(case.inline),
        )

    # -- memory

    def memory(self, todo: Sequence[cases.MemoryCase]) -> None:
        for case in todo:
            row: dict[str, tuple[float, float]] = {}
            for kind in self.kinds:
                with Instance(kind) as server:
                    used, resident = used_memory(server), memory_bytes(server.pid, "Rss")
                    self.load.fill(server, case.keys, case.value_bytes)
                    used, resident = used_memory(server) - used, memory_bytes(server.pid, "Rss") - resident
                row[kind] = (used / case.keys, resident / case.keys)
            self.report.memory(case, row)

    # -- latency

    def steady(self) -> None:
        """p99.9 of an open load that all servers can carry."""
        data = DataSet(100_000, 64)
        with contextlib.ExitStack() as stack:
            servers = {kind: self.start(stack, kind, data) for kind in self.kinds}
            for case in (Case(data, "GET", 1), Case(data, "SET", 1)):
                results: dict[str, list[Result]] = {kind: [] for kind in self.kinds}
                for number in range(self.plan.rounds):
                    for kind, server in servers.items():
                        seconds = max(1.0, self.plan.seconds)
                        options = {"keys": data.keys, "seconds": seconds, "rate": STEADY_RATE, "seed": number + 1}
                        results[kind].append(self.load.run(server, case.words, **options))
                self.report.steady(case.test, STEADY_RATE, results)

    def snapshots(self) -> None:
        for kind in self.kinds:
            with Instance(kind) as server:
                options = {"keys": self.plan.snapshot_keys, "rate": STEADY_RATE}
                self.report.snapshot(
                    kind, measure_snapshot(server, self.load, seconds=self.plan.snapshot_seconds, **options)
                )


def used_memory(server: Instance) -> int:
    return int(server.info("memory")["used_memory"])


def pin(pid: int, cpu: int) -> None:
    """Servers on one core and the load on the rest, where there are several: the scheduler then adds no noise."""
    if (os.cpu_count() or 1) > 1:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {cpu})


def describe_machine(subject: Kind) -> dict[str, str]:
    model = next((li for li in Path("/proc/cpuinfo").read_text().splitlines() if li.startswith("model name")), "?:?")
    return {
        "subject": subject,
        "tree": tree.digest(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": model.split(":", 1)[1].strip(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer cases and shorter rounds (under 3 minutes)")
    parser.add_argument("--group", default="", help="only these, e.g. strings,memory: " + ", ".join(GROUPS))
    parser.add_argument("--subject", default="cachefleet", choices=["cachefleet", "redis"], help="who is compared")
    parser.add_argument("--only", default="", help="only tests with these names, e.g. GET,SET; skips the other parts")
    parser.add_argument("--out", type=Path, help="where the JSON goes; build/bench/last.json or that of the groups")
    parser.add_argument("--compare", type=Path, help="an earlier JSON file")
    options = parser.parse_args(arguments)
    if unknown := set(filter(None, options.group.split(","))) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}. There are {', '.join(GROUPS)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    plan = QUICK if options.quick else FULL
    build = ROOT / "build" / "bench"
    load = Load(build)
    report = Report(describe_machine(options.subject))
    bench = Bench(options.subject, plan, load, compile_c(HERE / "floor.c", build), report)
    groups = options.group.split(",") if options.group else list(GROUPS)
    chosen = [case for name, group in cases.GROUPS.items() if name in groups for case in group]
    todo = cases.quick() if options.quick else chosen
    if options.only:
        todo = [case for case in todo if case.test in options.only.split(",")]
        groups = [name for name in groups if name not in PARTS]
    if set(groups) - set(PARTS):
        bench.cpu(todo)
    if "memory" in groups:
        bench.memory(cases.memory(options.quick))
    if "steady" in groups:
        bench.steady()
    if "snapshot" in groups:
        bench.snapshots()
    earlier: dict[str, Any] | None = json.loads(options.compare.read_text()) if options.compare else None
    report.end(earlier)
    out = options.out or build / f"{options.group.replace(',', '-') or 'last'}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report.data, indent=1) + "\n")
    print(f"\nwritten: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
