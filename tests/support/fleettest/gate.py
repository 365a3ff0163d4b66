"""The gate: all that a change must pass, stage by stage, what each stage costs, and one closing line for all tests.

    python -m fleettest.gate [--seed N] [--only tests,alone] [--skip lint]
    python -m fleettest.gate --publish [build/gate/last.json]          CONTRIBUTING.md's table from that run

`make test` and CI run it. A stage that fails keeps the others from running only where they need what it makes; the exit
code is 1 in the end. The seed of the random tests is a hash of the tree (`fleettest.tree`): each change draws its own
sample, and each run of it the same one.

CPU is that of a stage's processes, as far as they were waited for. The minutes of stages that run beside others do not
add up.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from fleettest import costs, tree

ROOT: Final = tree.ROOT
FOLDER: Final = ROOT / "build" / "gate"
PUBLISHED: Final = ROOT / "tests" / "gate.json"
PAGE: Final = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- made by the gate: fleettest.gate --publish -->\n", "<!-- end of what is made -->\n"
WORKERS: Final = (os.cpu_count() or 1) + 1  # what waits leaves room
FUZZ_S: Final = 60
FILE_S: Final = 2.0  # shorter files are not listed
PYTHON: Final = str(ROOT / os.environ.get("VENV", ".venv") / "bin" / "python")


class Stage(NamedTuple):
    name: str
    what: str
    command: Sequence[str]  # with {seed} where it takes one
    beside: bool = False  # runs beside those that follow, one such stage at a time; its output comes when it ends
    alone: bool = False  # nothing runs beside it
    after: str = ""  # a stage that must have ended
    needed: bool = False  # by all that follow
    root: bool = False


def _pytest(*words: str) -> list[str]:
    return [PYTHON, "-m", "pytest", "-q", "--seed={seed}", *words]


# What the stage `asan` runs.
SANITIZED: Final = [li for li in (ROOT / "tests" / "unit" / "sanitized").read_text().splitlines() if li[0] != "#"]
DIFFERENTIAL: Final = "tests/differential"  # once, too
BOUNDED: Final = ["-m", "not exhaustive and not alone"]
WIDE: Final = ["-n", str(WORKERS)]
RUN: Final = [PYTHON, "tests/scenarios/run.py"]
SCENARIOS: Final = [*RUN, "-q", "-m", "not exhaustive", "--seed={seed}"]
KUBERNETES: Final = "kubernetes"
STAGES: Final = (
    Stage("dev", "the environment, and the engine compiled", ["make", "dev"], alone=True, needed=True),
    Stage(KUBERNETES, "the programs of Kubernetes, when go.mod is new", ["make", "kubernetes"], beside=True),
    Stage("images", "wheels and container images, when sources are new", [*RUN, "build"], beside=True, root=True),
    Stage("scenarios", "a Kubernetes with nodes", SCENARIOS, beside=True, root=True),
    Stage("lint", "ruff, cython-lint, mypy, import-linter", ["make", "lint"]),
    Stage("dist", "source archive and wheels, built from a copy, installed and run", ["tests/dist.sh"]),
    Stage("asan", "unit tests of the engine under sanitizers", ["tests/asan.sh", "--seed={seed}"]),
    Stage(
        "differential",
        "random programs beside Valkey, with servers under sanitizers",
        ["tests/asan.sh", "--server", *_pytest("-p", "no:cacheprovider", *BOUNDED, *WIDE, DIFFERENTIAL)],
    ),
    Stage("fuzz", "parser, RESTORE, RDB loader, decoders under sanitizers", ["tests/fuzz.sh", str(FUZZ_S), "{seed}"]),
    Stage(
        "tests",
        "all that can run side by side",
        _pytest(
            "tests",
            "-m",
            "not exhaustive and not cluster and not alone",
            *WIDE,
            *(f"--ignore={folder}" for folder in (*SANITIZED, DIFFERENTIAL)),
        ),
        after=KUBERNETES,
    ),
    Stage("alone", "tests that measure time", _pytest("tests", "-m", "alone and not exhaustive"), alone=True),
    Stage("bench", "CPU beside the peers, few cases; fails when a server does", ["make", "bench-quick"], alone=True),
)


@dataclass(frozen=True, slots=True)
class Row:
    """What a stage took."""

    name: str
    what: str
    code: int
    wall_s: float
    cpu_s: float
    tests: int
    failed: int
    skipped: int


# -- running


def run_stage(stage: Stage, seed: int) -> tuple[Row, list[costs.Cost]]:
    _say(f"=== {stage.name}: {stage.what}")
    if stage.root and os.geteuid() != 0:
        _say(f"NOT RUN: {stage.name} needs root: sudo make test ONLY={stage.name}")
        return Row(stage.name, stage.what, int(bool(os.environ.get("CI"))), 0.0, 0.0, 0, 0, 0), []
    file, log = FOLDER / f"{stage.name}.jsonl", FOLDER / f"{stage.name}.log"
    file.unlink(missing_ok=True)
    command = [word.replace("{seed}", str(seed)) for word in stage.command]
    # Thousands of processes are started, and each would compile the operator and the tests for itself.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment, costs.VARIABLE: str(file)},
            stdin=subprocess.DEVNULL,
            stdout=out if stage.beside else None,
            stderr=subprocess.STDOUT if stage.beside else None,
        )
        _, status, usage = os.wait4(process.pid, 0)
    code = process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = round(time.monotonic() - began, 1)
    if stage.beside:
        _say(f"=== {stage.name} has ended, and said:\n{log.read_text(errors='replace')}")
    found = costs.read(file)
    outcomes = Counter(cost.outcome for cost in found)
    cpu_s = round(usage.ru_utime + usage.ru_stime, 1)
    return Row(stage.name, stage.what, code, wall_s, cpu_s, len(found), outcomes["failed"], outcomes["skipped"]), found


def run(stages: Sequence[Stage], seed: int) -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    results: dict[str, Future[tuple[Row, list[costs.Cost]]]] = {}
    with ThreadPoolExecutor(1) as front, ThreadPoolExecutor(1) as back:
        try:
            for stage in stages:
                wait([result for name, result in results.items() if stage.alone or name == stage.after])
                result = results[stage.name] = (back if stage.beside else front).submit(run_stage, stage, seed)
                if not stage.beside and result.result()[0].code and stage.needed:
                    break
        except KeyboardInterrupt:
            back.shutdown(cancel_futures=True)
            raise
    rows = [result.result()[0] for result in results.values()]
    tests = [cost for result in results.values() for cost in result.result()[1]]
    wall_s = round(time.monotonic() - began, 1)
    _say("=== the slowest tests, and why")
    _say("\n".join(costs.slowest(tests)))
    last = {
        "machine": describe_machine(),
        "seed": seed,
        "tree": tree.digest(),
        "wall_s": wall_s,
        "stages": [asdict(row) for row in rows],
        "files": files(tests),
    }
    (FOLDER / "last.json").write_text(json.dumps(last, indent=1) + "\n")
    _say("=== what each stage cost")
    _say("\n".join(table(last)))
    for row in rows:
        if row.code:
            _say(f"FAILED: {row.name} (exit code {row.code}); it alone: make test ONLY={row.name} SEED={seed}")
    _say(closing_line(rows, wall_s))
    return int(any(row.code for row in rows))


def files(tests: Sequence[costs.Cost]) -> dict[str, float]:
    """Seconds of each file of tests, the longest first: in that order they run (`fleettest.spread`)."""
    seconds: dict[str, float] = {}
    for cost in tests:
        file = cost.test.partition("::")[0]
        seconds[file] = seconds.get(file, 0.0) + cost.wall_s
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    return {file: round(took, 1) for file, took in ordered if took >= FILE_S}


def closing_line(rows: Sequence[Row], wall_s: float) -> str:
    """As pytest closes, for all stages; a stage that failed without a failing test is an error."""
    failed, skipped = sum(row.failed for row in rows), sum(row.skipped for row in rows)
    passed = sum(row.tests for row in rows) - failed - skipped
    errors = sum(1 for row in rows if row.code and not row.failed)
    counts = {"failed": failed, "passed": passed, "skipped": skipped, "errors": errors}
    words = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "passed")
    return f"============ {words} in {wall_s:.2f}s ({int(wall_s) // 60}:{int(wall_s) % 60:02}) ============"


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)


def describe_machine() -> dict[str, str]:
    model = next((li for li in Path("/proc/cpuinfo").read_text().splitlines() if li.startswith("model name")), "?:?")
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": model.split(":", 1)[1].strip(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


# -- the table


def table(run: dict[str, Any]) -> Iterator[str]:
    rows = run["stages"]
    yield "| stage | what | minutes | CPU, minutes | tests |"
    yield "| --- | --- | --- | --- | --- |"
    for row in rows:
        yield _cells(row["name"], row["what"], row["wall_s"], row["cpu_s"], row["tests"])
    yield _cells("all", "", run["wall_s"], sum(row["cpu_s"] for row in rows), sum(row["tests"] for row in rows))


def _cells(name: str, what: str, wall_s: float, cpu_s: float, tests: int) -> str:
    return f"| {name} | {what} | {wall_s / 60:.1f} | {cpu_s / 60:.1f} | {tests or ''} |"


def page(text: str, run: dict[str, Any]) -> str:
    """CONTRIBUTING.md with the table of that run."""
    head, _, rest = text.partition(BEGIN)
    words = "One run of {time:.10}, {cpu}, {cores} cores, caches warm.".format(**run["machine"])
    made = "\n".join([words, "", *table(run)])
    return f"{head}{BEGIN}\n{made}\n\n{END}{rest.partition(END)[2]}"


def publish(file: Path) -> None:
    if file != PUBLISHED:
        shutil.copyfile(file, PUBLISHED)
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), json.loads(PUBLISHED.read_text())), encoding="utf-8")


def chosen(only: str, skip: str) -> list[Stage]:
    names = {stage.name for stage in STAGES}
    wanted, unwanted = (set(re.split(r"[ ,]+", text.strip(", "))) - {""} for text in (only, skip))
    if unknown := (wanted | unwanted) - names:
        sys.exit(f"no stage {', '.join(sorted(unknown))}; there are {', '.join(stage.name for stage in STAGES)}")
    return [stage for stage in STAGES if stage.name not in unwanted and (not wanted or stage.name in wanted)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, help="of the random tests; default: the tree's")
    parser.add_argument("--only", default="", help="names of stages")
    parser.add_argument("--skip", default="", help="names of stages")
    parser.add_argument("--publish", nargs="?", type=Path, const=PUBLISHED, metavar="RUN", help="writes the table")
    options = parser.parse_args(arguments)
    if options.publish:
        publish(options.publish)
        return 0
    seed = tree.seed() if options.seed is None else options.seed
    _say(f"seed {seed} (repeat with make test SEED={seed})")
    return run(chosen(options.only, options.skip), seed)


if __name__ == "__main__":
    sys.exit(main())
