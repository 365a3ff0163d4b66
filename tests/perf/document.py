"""The tables of docs/performance.md, from the published run of `make bench`.

    python tests/perf/document.py [run.json ...]    publishes that run, or the groups of one tree together
                                                    (tests/perf/published.json), and writes the tables

A test fails when the page does not hold what the published run gives.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]

import cases  # noqa: E402

PUBLISHED = HERE / "published.json"
PAGE = HERE.parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- made by tests/perf/document.py -->\n", "<!-- end of what is made -->\n"

Run = dict[str, Any]


def tables(run: Run) -> str:
    parts = (_cpu, _absent, _memory, _steady, _snapshots, _big)
    return "\n".join([*_machine(run["machine"]), *(line for part in parts for line in part(run))])


def _machine(machine: dict[str, str]) -> Iterator[str]:
    yield f"## Results, {machine['time'][:10]}\n"
    words = "One run on {cpu}, {cores} cores, Linux {kernel}, Python {python}.\n"
    yield words.format(**machine)


def _cpu(run: Run) -> Iterator[str]:
    yield "CPU per operation, ours / Valkey 9.1; / Redis 7.0 at P=16; / floor where it was measured.\n"
    columns = [f"P={p}" for p in cases.PIPELINES]
    floors = ", ".join(str(p) for p in cases.PIPELINES)
    yield _row(["data", "test", *columns, "/ Redis, P=16", f"/ floor, P={floors}"])
    yield _row(["---"] * (4 + len(columns)))
    rows: dict[tuple[str, str], dict[int, Any]] = {}
    for case in run["cases"]:
        rows.setdefault((case["data"], case["test"]), {})[case["pipeline"]] = case
    for (data, test), by_depth in rows.items():
        found = [by_depth.get(p) for p in cases.PIPELINES]
        ratios = [_cpu_judged(c) if c else "-" for c in found]
        redis = by_depth.get(16, {}).get("ratio_redis")
        floor = [f"{c['ratio_floor']:.2f}" for c in found if c and c["ratio_floor"]]
        yield _row([data, test, *ratios, f"{redis:.2f}" if redis else "-", " ".join(floor) or "-"])


def _absent(run: Run) -> Iterator[str]:
    if found := sorted({name for row in run["absent"] for name in row["commands"]}):
        yield f"\nNot measured, since the server did not have them yet: rows that need {', '.join(found)}."


def _memory(run: Run) -> Iterator[str]:
    yield "\nMemory, `used_memory` and resident bytes: per key of a string, with a key of 16 bytes, and per element of"
    yield "the other types. Of Valkey with libc's and with jemalloc's allocator the smaller figure counts.\n"
    yield _row(["value", "ours", "Valkey 9.1", "with jemalloc", "Redis 7.0", "ours / Valkey", "kept after deleting"])
    yield _row(["---"] * 7)
    names = (run["machine"]["subject"], "valkey", "valkey, jemalloc", "redis")
    for row in run["memory"]:
        found = [row["bytes"].get(name) for name in names]
        servers = ["{:.1f}, {:.1f}".format(*figures) if figures else "-" for figures in found]
        worst = max(row["ratios"], default=0.0)
        missed = " (missed)" if row["limit"] is not None and worst > row["limit"] else ""
        ratios = ", ".join(f"{ratio:.2f}" for ratio in row["ratios"])
        kept = f"{found[0][2]:.0%}" if found[0] and len(found[0]) > 2 else "-"
        yield _row([row["label"], *servers, (ratios or "-") + missed, kept])


def _steady(run: Run) -> Iterator[str]:
    if not run["steady"]:
        return
    found = ", ".join(f"{row['test']} {_judged(row['ratio_p999'], 1.0)}" for row in run["steady"])
    yield f"\np99.9 at a steady {run['steady'][0]['rate']} ops/s, ours / Valkey: {found}.\n"


def _snapshots(run: Run) -> Iterator[str]:
    if not run["snapshot"]:
        return
    yield "Snapshots one after the other under 20 000 SETs a second:\n"
    yield _row(["server", "p99.9 before -> during, ms", "memory growth", "snapshots"])
    yield _row(["---"] * 4)
    for row in run["snapshot"]:
        before, during = row["p999_before_us"] / 1000, row["p999_during_us"] / 1000
        ours = row["server"] == run["machine"]["subject"]
        missed = " (missed)" if ours and during - before > cases.BUDGET_SNAPSHOT_P999_MS else ""
        yield _row(
            [row["server"], f"{before:.1f} -> {during:.1f}{missed}", f"{row['rss_growth']:.1%}", str(row["snapshots"])]
        )


def _big(run: Run) -> Iterator[str]:
    if not run["latency"]:
        return
    yield "\nA value of ten million elements beside 20 000 commands a second on other keys:\n"
    yield _row(["value", "what happens", "server", "p99.9 before -> during, ms", "longest, ms"])
    yield _row(["---"] * 5)
    for row in run["latency"]:
        before, during = row["p999_before_us"] / 1000, row["p999_during_us"] / 1000
        ours = row["server"] == run["machine"]["subject"]
        missed = " (missed)" if ours and during - before > cases.BUDGET_SNAPSHOT_P999_MS else ""
        longest = f"{row['max_during_us'] / 1000:.1f}"
        yield _row([row["value"], row["action"], row["server"], f"{before:.1f} -> {during:.1f}{missed}", longest])


def _cpu_judged(case: Any) -> str:
    """What is within its budget of the kernel's floor is not missed, unless both must hold."""
    floor = case["ratio_floor"]
    near_floor = floor is not None and floor <= case.get("budget_floor", 0.0)
    return _judged(case["ratio"], None if near_floor and not case["both"] else case["budget"])


def _judged(ratio: float, budget: float | None) -> str:
    return f"{ratio:.2f}" + (" (missed)" if budget is not None and ratio > budget else "")


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def together(runs: list[Run]) -> Run:
    """Groups that were measured one by one as one run; they must be of one tree and machine."""
    first = runs[0]
    for run in runs:
        for key in ("tree", "cpu", "subject"):
            if run["machine"][key] != first["machine"][key]:
                raise SystemExit(f"the runs differ in {key}: {first['machine'][key]} and {run['machine'][key]}")
    parts = ("absent", "cases", "memory", "steady", "snapshot", "latency", "missed")
    return {"machine": first["machine"], **{part: [row for run in runs for row in run[part]] for part in parts}}


def page(text: str, run: Run) -> str:
    """The page with its tables from that run."""
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{tables(run)}\n\n{END}{rest.partition(END)[2]}"


def main() -> None:
    if len(sys.argv) > 1:
        runs = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
        PUBLISHED.write_text(json.dumps(together(runs), indent=1) + "\n")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), json.loads(PUBLISHED.read_text())), encoding="utf-8")


if __name__ == "__main__":
    main()
