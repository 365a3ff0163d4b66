"""The benchmark's output: one line per case as it is measured, and the same numbers as JSON.

Columns: CPU of the server in us per operation, ours and each peer's; `/valkey` the paired ratio with the spread of
the rounds; the budget, and MISSED where the ratio is above it.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import cases
import cases_memory
from big_value import BigResult
from cases import Case
from cases_memory import MemoryCase
from measure import Result
from snapshot import SnapshotResult

NAMES = ("ours", "valkey", "redis", "floor")
NAME_WIDTH = 32
CHANGE_SHOWN = 0.05  # --compare lists ratios that moved by more


def paired(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Median, lowest and highest of the rounds' ratios."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True) if b > 0]
    return statistics.median(ratios), min(ratios), max(ratios)


def verdict(value: float, budget: float | None) -> str:
    if budget is None:
        return ""
    return f"<= {budget:.2f}" + ("  MISSED" if value > budget else "")


class Report:
    def __init__(self, machine: Mapping[str, str]) -> None:
        self.subject = machine["subject"]
        parts = ("absent", "cases", "memory", "steady", "snapshot", "latency")
        self.data: dict[str, Any] = {"machine": dict(machine), **{part: [] for part in parts}}
        self.missed: list[str] = []
        self._heading = ""
        print("  ".join(f"{key}: {value}" for key, value in machine.items()))

    def heading(self, title: str, columns: str) -> None:
        if title != self._heading:
            self._heading = title
            print(f"\n{title}\n{columns}")

    def line(self, name: str, text: str, value: float, budget: float | None) -> None:
        print(f"{name:<{NAME_WIDTH}}{text}  {verdict(value, budget)}", flush=True)
        if budget is not None and value > budget:
            self.missed.append(f"{self._heading}: {name.strip()} {value:.2f} > {budget:.2f}")

    def absent(self, label: str, commands: Sequence[str]) -> None:
        """A row that cannot be measured, since our server has no such commands."""
        print(f"NOT THERE YET: {label} (needs {', '.join(commands)})", flush=True)
        self.data["absent"].append({"row": label, "commands": list(commands)})

    # -- one method per part

    def case(self, case: Case, results: dict[str, list[Result]]) -> None:
        self.heading(
            f"CPU us/op, {case.data.label}",
            f"{'test':<{NAME_WIDTH}}"
            + "".join(f"{n:>8}" for n in NAMES)
            + "   /valkey (spread)      /redis  /floor  budget",
        )
        cpu = {name: [result.cpu_us for result in rounds] for name, rounds in results.items()}
        ratio, low, high = paired(cpu[self.subject], cpu["valkey"])
        ratio_redis = paired(cpu[self.subject], cpu["redis"])[0] if "redis" in cpu else None
        ratio_floor = paired(cpu[self.subject], cpu["floor"])[0] if "floor" in cpu else None
        middle = {name: statistics.median(values) for name, values in cpu.items()}
        columns = (self.subject, *NAMES[1:])
        cells = "".join(f"{middle[n]:>8.3f}" if n in middle else f"{'-':>8}" for n in columns)
        rest = f"{ratio_redis or 0:>8.2f}" + (f"{ratio_floor:>8.2f}" if ratio_floor else f"{'-':>8}")
        name = f"{case.test} P={case.pipeline}"
        text = f"{cells}   {ratio:.2f} ({low:.2f}-{high:.2f})  {rest}"
        both = case.both and case.pipeline == 1
        if not both and ratio > case.budget and ratio_floor is not None and ratio_floor <= case.budget_floor:
            self.line(name, f"{text}  floor", ratio_floor, case.budget_floor)
        else:
            self.line(name, text, ratio, case.budget)
        if both and ratio_floor and ratio_floor > case.budget_floor:
            self.line(f"{name} /floor", f"{'':>63}{ratio_floor:>8.2f}", ratio_floor, case.budget_floor)
        self.data["cases"].append(
            {
                "data": case.data.label,
                "test": case.test,
                "pipeline": case.pipeline,
                "cpu_us": middle,
                "ratio": ratio,
                "spread": [low, high],
                "ratio_redis": ratio_redis,
                "ratio_floor": ratio_floor,
                "budget": case.budget,
                "budget_floor": case.budget_floor,
                "both": both,
                "load_share": {n: statistics.median(r.load_share for r in rounds) for n, rounds in results.items()},
            }
        )

    def memory(
        self, case: MemoryCase, row: Mapping[str, tuple[float, float, float]], plain: Mapping[str, float]
    ) -> None:
        """`plain`: used bytes of the row before, to which one of something beyond the peers is compared."""
        columns = "".join(f"{name:>22}" for name in row)
        self.heading(
            "memory, bytes per key of a string, per element of another type: used, resident, kept when all is deleted",
            f"{'':<{NAME_WIDTH}}{columns}   / the smaller Valkey: used, resident",
        )
        cells = "".join(f"{used:>9.1f}{resident:>8.1f}{kept:>5.0%}" for used, resident, kept in row.values())
        used, _, kept = row[self.subject]
        ratios: list[float] = []
        if case.beyond is not None:
            more = used - plain.get(self.subject, 0.0)
            self.line(case.label, f"{cells}   {more:+.1f} B", more, float(case.beyond))
        else:
            valkeys = [figures for name, figures in row.items() if name.startswith("valkey")]
            ratios = [row[self.subject][i] / min(figures[i] for figures in valkeys) for i in (0, 1)]
            self.line(case.label, f"{cells}   {ratios[0]:.2f}  {ratios[1]:.2f}", max(ratios), case.limit)
        if kept > cases_memory.LIMIT_KEPT:
            self.line(f"{case.label}, kept", f"{cells}   {kept:.0%}", kept, cases_memory.LIMIT_KEPT)
        self.data["memory"].append(
            {"label": case.label, "bytes": row, "ratios": ratios, "limit": case.limit, "beyond": case.beyond}
        )

    def steady(self, test: str, rate: int, results: Mapping[str, list[Result]]) -> None:
        title = f"latency at a steady {rate} ops/s, us (median of rounds)"
        self.heading(title, f"{'test':<{NAME_WIDTH}}p50 / p99 / p99.9")
        middle = {
            name: [statistics.median(getattr(r, f) for r in rounds) for f in ("p50_us", "p99_us", "p999_us")]
            for name, rounds in results.items()
        }
        cells = "".join(f"   {name} " + " / ".join(f"{v:.0f}" for v in values) for name, values in middle.items())
        ratio = paired([r.p999_us for r in results[self.subject]], [r.p999_us for r in results["valkey"]])[0]
        self.line(test, f"{cells}   p99.9 /valkey {ratio:.2f}", ratio, cases.BUDGET_STEADY_P999)
        self.data["steady"].append({"test": test, "rate": rate, "latency_us": middle, "ratio_p999": ratio})

    def snapshot(self, kind: str, result: SnapshotResult) -> None:
        self.heading(
            "snapshots under a steady load of SET (forked children counted)",
            f"{'server':<{NAME_WIDTH}}p99.9 before -> during, ms    CPU us/op before -> during    memory growth   "
            "snapshots",
        )
        rise_ms = (result.p999_during_us - result.p999_before_us) / 1000
        latency = f"{result.p999_before_us / 1000:.2f} -> {result.p999_during_us / 1000:.2f} ({rise_ms:+.2f})"
        cpu = f"{result.cpu_before_us:.2f} -> {result.cpu_during_us:.2f}"
        growth = f"{result.rss_growth:+.1%}"
        ours = kind == self.subject
        text = f"{latency:<30}{cpu:<30}{growth:<16}{result.snapshots}"
        self.line(kind, text, rise_ms, cases.BUDGET_SNAPSHOT_P999_MS if ours else None)
        if ours:
            self.line("  memory", growth, result.rss_growth, cases.BUDGET_SNAPSHOT_RSS)
        self.data["snapshot"].append({"server": kind, **dataclasses.asdict(result)})

    def big(self, value: str, action: str, kind: str, result: BigResult) -> None:
        self.heading(
            "a value of millions of elements beside a steady load",
            f"{'value, what happens, server':<{NAME_WIDTH}}p99.9 before -> during, longest, ms",
        )
        rise_ms = (result.p999_during_us - result.p999_before_us) / 1000
        text = f"{result.p999_before_us / 1000:.2f} -> {result.p999_during_us / 1000:.2f} ({rise_ms:+.2f})"
        budget = cases.BUDGET_SNAPSHOT_P999_MS if kind == self.subject else None
        self.line(f"{value} {action}, {kind}", f"{text}   {result.max_during_us / 1000:.1f}", rise_ms, budget)
        self.data["latency"].append({"value": value, "action": action, "server": kind, **dataclasses.asdict(result)})

    def end(self, earlier: Mapping[str, Any] | None) -> None:
        if earlier is not None:
            self._compare(earlier)
        if self.data["absent"]:
            print(f"\n{len(self.data['absent'])} rows NOT MEASURED: our server has not all of their commands yet")
        print(f"\n{len(self.missed)} budgets missed" + "".join(f"\n  {text}" for text in self.missed))
        self.data["missed"] = self.missed

    def _compare(self, earlier: Mapping[str, Any]) -> None:
        print(f"\nratios to Valkey that moved by more than {CHANGE_SHOWN:.0%} since {earlier['machine']['time']}")
        before = {(c["data"], c["test"], c["pipeline"]): c["ratio"] for c in earlier["cases"]}
        for c in self.data["cases"]:
            old = before.get((c["data"], c["test"], c["pipeline"]))
            if old and abs(c["ratio"] / old - 1) > CHANGE_SHOWN:
                print(f"  {c['data']}, {c['test']} P={c['pipeline']}: {old:.2f} -> {c['ratio']:.2f}")
