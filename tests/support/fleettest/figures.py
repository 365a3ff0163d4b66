"""Long figures (kills, inputs, commands), reached over many sessions: seeds in, one row of docs/figures.md out.

    make figures KIND=kills [SEEDS=100-119] [MINUTES=40]

runs the kind's command once per seed, from the first seed that no row has (or through the range given), until the next
one would end after the minutes. What was done is one row, written anew after each seed, so that a session can be
stopped at any time; the sums above the rows are made from them. A run that fails ends the session, and its row names
the seed.

What runs counts itself: `count(3)` adds to the figure of the run around it, if there is one, from any process.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fleettest import tree

VARIABLE: Final = "CACHEFLEET_FIGURE"
PAGE: Final = tree.ROOT / "docs" / "figures.md"
MINUTES_MAX: Final = 45.0
MINUTES: Final = 40.0
SUMS: Final = "| kind | what is counted | seeds | count | minutes | failed |\n| --- | --- | --- | --- | --- | --- |\n"
ROWS: Final = "| date | tree | kind | seeds | count | minutes | failed |\n| --- | --- | --- | --- | --- | --- | --- |\n"


Run = Callable[[list[str]], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Kind:
    counted: str
    command: Callable[[int], list[str]]


def _pytest(*words: str) -> Callable[[int], list[str]]:
    options = ["-q", "--timeout", "2700", "--seed"]
    return lambda seed: [sys.executable, "-m", "pytest", *words, *options, str(seed)]


KINDS: Final = {
    "kills": Kind(
        "kills of a server at a call or a random moment, each followed by a start that lost nothing",
        _pytest("tests/integration", "-m", "exhaustive"),
    ),
    "operator-kills": Kind(
        "kills of the operator before or after an act, each healed by the next one",
        _pytest("tests/kube/test_operator_crashes.py", "-m", "exhaustive"),
    ),
    "inputs": Kind(
        "inputs to parser, RESTORE and RDB loader under sanitizers", lambda seed: ["tests/fuzz.sh", "300", str(seed)]
    ),
    "decoders": Kind(
        "inputs to decoders of packed forms and of values of every type, by a native loop under sanitizers",
        lambda seed: ["tests/asan.sh", "python", "tests/fuzz/fuzz_native.py", "300", "--seed", str(seed)],
    ),
    "schedules": Kind(
        "schedules of faults under which servers and operators keep what failover promises",
        _pytest("tests/sim", "-m", "exhaustive"),
    ),
    "commands": Kind("random commands answered as by Valkey", _pytest("tests/differential/test_differential.py")),
}


def count(number: int = 1) -> None:
    if file := os.environ.get(VARIABLE):
        with open(file, "a") as out:  # short lines of several processes do not mix
            out.write(f"{number}\n")


# -- the page


@dataclass(frozen=True, slots=True)
class Row:
    date: str
    tree: str
    kind: str
    first: int
    last: int
    count: int
    minutes: float
    failed: str  # seeds, separated by blanks

    def __str__(self) -> str:
        words = [self.date, self.tree, self.kind, f"{self.first}-{self.last}"]
        return f"| {' | '.join(words)} | {self.count} | {self.minutes:.1f} | {self.failed or '-'} |"

    @classmethod
    def parse(cls, line: str) -> Row:
        date, digest, kind, seeds, number, minutes, failed = (cell.strip() for cell in line.strip("| \n").split("|"))
        first, last = map(int, seeds.split("-"))
        return cls(date, digest, kind, first, last, int(number), float(minutes), "" if failed == "-" else failed)


def rows(text: str) -> list[Row]:
    return [Row.parse(line) for line in text.partition(ROWS)[2].splitlines() if line.startswith("|")]


def sums(found: Iterable[Row]) -> str:
    """A row for each kind, in the order of KINDS; a kind that has none is not hidden."""
    found = list(found)
    lines = []
    for name, kind in KINDS.items():
        mine = [row for row in found if row.kind == name]
        seeds = len({seed for row in mine for seed in range(row.first, row.last + 1)})
        failed = sum(len(row.failed.split()) for row in mine)
        numbers = f"{seeds} | {sum(row.count for row in mine)} | {sum(row.minutes for row in mine):.0f} | {failed}"
        lines.append(f"| {name} | {kind.counted} | {numbers} |\n")
    return "".join(lines)


def page(text: str, found: Sequence[Row]) -> str:
    head = text.partition(SUMS)[0]
    between = text.partition(SUMS)[2].partition(ROWS)[0]
    prose = re.sub(r"\A(\|.*\n)*", "", between)
    return f"{head}{SUMS}{sums(found)}{prose}{ROWS}" + "".join(f"{row}\n" for row in found)


# -- a session


def session(name: str, seeds: Sequence[int], minutes: float, run: Run) -> Iterator[Row]:
    """Its row, after each seed. `run` gives the exit code and the count of a command."""
    today, digest = datetime.now(UTC).date().isoformat(), tree.digest()
    began, counted, longest_s = time.monotonic(), 0, 0.0
    for seed in seeds:
        before_s = time.monotonic() - began
        if seed != seeds[0] and before_s + longest_s > minutes * 60:
            return
        code, number = run(KINDS[name].command(seed))
        counted += number
        took_s = time.monotonic() - began
        longest_s = max(longest_s, took_s - before_s)
        print(f"{name}: seed {seed}: {number}, exit code {code}", flush=True)
        yield Row(today, digest, name, seeds[0], seed, counted, round(took_s / 60, 1), str(seed) if code else "")
        if code:
            return


def run_counted(command: list[str]) -> tuple[int, int]:
    with tempfile.NamedTemporaryFile("r", prefix="cachefleet-figure-") as file:
        code = subprocess.run(command, cwd=tree.ROOT, env={**os.environ, VARIABLE: file.name}).returncode
        return code, sum(map(int, file.read().split()))


def next_seed(found: Iterable[Row], name: str) -> int:
    return max((row.last for row in found if row.kind == name), default=0) + 1


def parse_seeds(text: str, first: int) -> range:
    """"5-9", "5-" or nothing: from the first that nobody ran."""
    if not text:
        return range(first, first + 1_000_000)
    match = re.fullmatch(r"(\d+)-(\d*)", text)
    if not match:
        sys.exit(f"seeds are FIRST-LAST, not {text}")
    return range(int(match[1]), int(match[2] or int(match[1]) + 1_000_000) + 1)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--seeds", default="")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    options = parser.parse_args(arguments)
    if options.minutes > MINUTES_MAX:
        parser.error(f"a session has at most {MINUTES_MAX:.0f} minutes")
    text = PAGE.read_text(encoding="utf-8")
    seeds = parse_seeds(options.seeds, next_seed(rows(text), options.kind))
    last = None
    for row in session(options.kind, seeds, options.minutes, run_counted):
        text = PAGE.read_text(encoding="utf-8")  # another session may have written meanwhile
        PAGE.write_text(page(text, [*(other for other in rows(text) if other != last), row]), encoding="utf-8")
        last = row
    print(f"{PAGE.relative_to(tree.ROOT)}: {last}")
    return int(last is None or bool(last.failed))


if __name__ == "__main__":
    sys.exit(main())
