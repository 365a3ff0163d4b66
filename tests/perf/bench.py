"""`make bench`: CPU per operation of our server beside the real Valkey 9.1, Redis 7.0 and the kernel's floor.

Servers take turns in short rounds within one run, so what the machine does meanwhile hits all alike; a ratio is the
median of the rounds' paired ratios. A missed budget is marked and changes nothing: this never fails on time. It
does fail when a peer cannot start, or when a server replies with an error. What our server does not have yet is named.

    python tests/perf/bench.py [--quick] [--group lists,latency] [--compare build/bench/earlier.json]

The group of a type measures its CPU and its memory; `memory` is that of all types.
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
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests" / "support")]

import cases  # noqa: E402
import cases_memory  # noqa: E402
import cases_types  # noqa: E402
from big_value import ACTIONS, VALUES, BigValue, measure_big  # noqa: E402
from cases import LARGE_REPLY_BYTES, Case, DataSet  # noqa: E402
from cases_memory import MemoryCase  # noqa: E402
from measure import Floor, Load, LoadError, Result, compile_c, jemalloc, memory_bytes, reply_to  # noqa: E402
from report import Report  # noqa: E402
from snapshot import measure_snapshot  # noqa: E402

from fleettest import tree  # noqa: E402
from fleettest.instance import Instance, Option  # noqa: E402
from fleettest.programs import Kind  # noqa: E402

PEERS: tuple[Kind, ...] = ("valkey", "redis")
WARM_UP_S = 0.1
STEADY_RATE = 20_000
POLL_S = 0.1
GIVE_BACK_S = 10.0  # for which memory that was deleted may be waited


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often."""

    seconds: float
    rounds: int
    snapshot_keys: int
    snapshot_seconds: float
    big_elements: int


QUICK = Plan(seconds=0.15, rounds=5, snapshot_keys=300_000, snapshot_seconds=2.0, big_elements=1_000_000)
FULL = Plan(seconds=0.4, rounds=7, snapshot_keys=1_000_000, snapshot_seconds=5.0, big_elements=10_000_000)


# What --group may name: cases of CPU per operation, and the other parts.
CPU_GROUPS = {**cases.GROUPS, **cases_types.GROUPS}
PARTS = ("memory", "steady", "snapshot", "latency")
GROUPS = (*CPU_GROUPS, *PARTS)


class Bench:
    def __init__(self, subject: Kind, plan: Plan, load: Load, floor: Path, report: Report, asked: Instance) -> None:
        self.asked = asked  # what the subject's commands are
        self.known: dict[str, bool] = {}
        self.subject, self.plan, self.load, self.floor, self.report = subject, plan, load, floor, report
        self.kinds: tuple[Kind, ...] = (subject, *(k for k in PEERS if k != subject))

    # -- what there is

    def there(self, case: Case | MemoryCase | BigValue, label: str) -> bool:
        """Has our server all commands of a row? Says so if not."""
        for name in case.command_names - self.known.keys():
            self.known[name] = self.asked.call("COMMAND", "INFO", name)[0] is not None
        if missing := sorted(name for name in case.command_names if not self.known[name]):
            self.report.absent(label, missing)
        return not missing

    # -- CPU per operation

    def cpu(self, todo: Sequence[Case]) -> None:
        todo = [case for case in todo if self.there(case, f"{case.data.label}: {case.test} P={case.pipeline}")]
        for data, group in itertools.groupby(todo, key=lambda case: case.data):
            with contextlib.ExitStack() as stack:
                servers = {kind: self.start(stack, kind, data) for kind in self.kinds}
                for case in group:
                    self.report.case(case, self.rounds(case, servers))

    def start(self, stack: contextlib.ExitStack, kind: Kind, data: DataSet) -> Instance:
        options: dict[str, Option] = {"appendonly": "yes", "appendfsync": "everysec"} if data.aof else {}
        server = stack.enter_context(Instance(kind, options=options))
        pin(server.pid, 0)
        for fill in data.fills:
            self.load.make(server, fill)
        return server

    def rounds(self, case: Case, servers: dict[Kind, Instance]) -> dict[str, list[Result]]:
        for fill in case.before:
            self.load.make(servers["valkey"], fill)
        reply = case.reply or b"".join(reply_to(servers["valkey"], words) for words in case.first)
        if (len(reply) > LARGE_REPLY_BYTES) != case.large:
            raise LoadError(f"{case.data.label}: {case.test}: a reply of {len(reply)} bytes; is the case marked so?")
        floor = Floor(self.floor, case.request_bytes, reply)
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
        if isinstance(target, Instance):
            for fill in case.before:
                self.load.make(target, fill)
        return self.load.run(
            target,
            case.commands,
            case.partner,
            conns=case.connections,
            pipeline=case.pipeline * len(case.commands),
            keys=case.data.keys,
            seconds=seconds,
            ops=case.ops,
            seed=seed,
            inline=int(case.inline),
        )

    # -- memory

    def memory(self, todo: Sequence[MemoryCase]) -> None:
        """Valkey comes twice: with the allocator of its wheel and with the one that others are built with."""
        servers: dict[str, tuple[Kind, dict[str, str]]] = {str(kind): (kind, {}) for kind in self.kinds}
        servers["valkey, jemalloc"] = ("valkey", {"LD_PRELOAD": jemalloc()})
        plain: dict[str, float] = {}
        for case in todo:
            if not self.there(case, case.label):
                continue
            mine = {self.subject: servers[self.subject]} if case.beyond is not None else servers
            found = {name: self.taken(case, *server) for name, server in mine.items()}
            row = {name: figures for name, figures in found.items() if figures is not None}
            self.report.memory(case, row, plain)
            plain = {name: figures[0] for name, figures in row.items()}

    def taken(self, case: MemoryCase, kind: Kind, env: dict[str, str]) -> tuple[float, float, float] | None:
        """Bytes an item, used and resident; and the share of the resident ones that stays when all is deleted. None of
        a peer that does not have the commands."""
        with Instance(kind, env=env) as server:
            if None in (server.call("COMMAND", "INFO", name)[0] for name in case.command_names):
                return None
            self.load.make(server, cases.Fill(("PING", "x" * 100), 100_000))  # buffers that any traffic fills
            used, resident = used_memory(server), memory_bytes(server.pid, "Rss")
            for fill in case.fills:
                self.load.make(server, fill)
            if (keys := server.call("DBSIZE")) != case.keys:
                raise LoadError(f"{server}: {case.label}: {keys} keys after the fill, not {case.keys}")
            used, taken = used_memory(server) - used, memory_bytes(server.pid, "Rss") - resident
            self.load.make(server, cases.Fill(("DEL", "__key__"), case.keys, case.keys))
            kept = 1.0
            end = time.monotonic() + GIVE_BACK_S
            while kept > cases_memory.LIMIT_KEPT and time.monotonic() < end:
                time.sleep(POLL_S)
                kept = (memory_bytes(server.pid, "Rss") - resident) / taken
        return used / case.items, taken / case.items, kept

    # -- latency

    def steady(self) -> None:
        """p99.9 of an open load that all servers can carry."""
        data = cases.strings(100_000, 64)
        with contextlib.ExitStack() as stack:
            servers = {kind: self.start(stack, kind, data) for kind in self.kinds}
            for test, words in (("GET", ("GET", "__key__")), ("SET", data.fills[0].words)):
                results: dict[str, list[Result]] = {kind: [] for kind in self.kinds}
                for number in range(self.plan.rounds):
                    for kind, server in servers.items():
                        seconds = max(1.0, self.plan.seconds)
                        options = {"keys": data.keys, "seconds": seconds, "rate": STEADY_RATE, "seed": number + 1}
                        results[kind].append(self.load.run(server, [words], **options))
                self.report.steady(test, STEADY_RATE, results)

    def snapshots(self) -> None:
        for kind in self.kinds:
            with Instance(kind) as server:
                options = {"keys": self.plan.snapshot_keys, "rate": STEADY_RATE}
                self.report.snapshot(
                    kind, measure_snapshot(server, self.load, seconds=self.plan.snapshot_seconds, **options)
                )


    def big_values(self) -> None:
        for value in VALUES:
            if not self.there(value, f"a {value.name} of {self.plan.big_elements} elements"):
                continue
            for action in ACTIONS:
                for kind in (self.subject, "valkey"):
                    result = measure_big(kind, self.load, value, action, self.plan.big_elements)
                    self.report.big(value.name, action, kind, result)


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
    quick = "shorter rounds; without --group, a few cases of CPU and memory alone (under 3 minutes)"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--group", default="", help="only these, e.g. strings,memory: " + ", ".join(GROUPS))
    parser.add_argument("--subject", default="cachefleet", choices=["cachefleet", "redis"], help="who is compared")
    parser.add_argument("--only", default="", help="only rows with these names, e.g. 'GET;set of 10'")
    parser.add_argument("--out", type=Path, help="where the JSON goes; build/bench/last.json or that of the groups")
    parser.add_argument("--compare", type=Path, help="an earlier JSON file")
    options = parser.parse_args(arguments)
    if unknown := set(filter(None, options.group.split(","))) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}. There are {', '.join(GROUPS)}")
    return options


def measure(bench: Bench, options: argparse.Namespace, groups: Sequence[str]) -> None:
    quick = options.quick and not options.group
    chosen = [case for name, group in CPU_GROUPS.items() if name in groups for case in group]
    memory = [case for case in cases_memory.memory(quick) if "memory" in groups or case.group in groups]
    if options.only:
        words = options.only.split(";")
        bench.cpu([case for case in chosen if case.test in words])
        bench.memory([case for case in memory if case.label in words])
        return
    bench.cpu(cases.quick() if quick else chosen)
    bench.memory(memory)
    if quick:
        return
    if "steady" in groups:
        bench.steady()
    if "snapshot" in groups:
        bench.snapshots()
    if "latency" in groups:
        bench.big_values()


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    plan = QUICK if options.quick else FULL
    build = ROOT / "build" / "bench"
    load = Load(build)
    report = Report(describe_machine(options.subject))
    groups = options.group.split(",") if options.group else list(GROUPS)
    with Instance(options.subject) as asked:
        bench = Bench(options.subject, plan, load, compile_c(HERE / "floor.c", build), report, asked)
        measure(bench, options, groups)
    earlier: dict[str, Any] | None = json.loads(options.compare.read_text()) if options.compare else None
    report.end(earlier)
    out = options.out or build / f"{options.group.replace(',', '-') or 'last'}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report.data, indent=1) + "\n")
    print(f"\nwritten: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
