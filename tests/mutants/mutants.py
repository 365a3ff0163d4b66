"""`make mutants`: breaks the code in one place at a time and lists what no test notices.

    python tests/mutants/mutants.py keyspace [--seeds 1-40,47] [--minutes 40]
    python tests/mutants/mutants.py keyspace --again       the survivors so far, after tests were added

A mutant is one changed operator, number, condition or call in one line of a .pyx or .py file of the area; the seed
chooses it, so a range of seeds is a sample that can be repeated and added to. For each the module is built, and the
area's tests run until the first failure, those first whose names share a word with the file's. A mutant that no test
notices is a survivor: a test is missing, or the line is not needed, or nobody could tell (equivalent.py says why).
What was tried is appended to build/mutants/<area>.jsonl, one line a trial; of several of one mutant the last counts.

It works in a copy of the tree (build/mutants/tree-<area>), so the working tree stays as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from equivalent import EQUIVALENT

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "build" / "mutants"
TEST_S_MAX, RUN_S_MAX = 300, 1800  # on a busy machine; what loops for ever ends by the processor's time
CPU_S_MORE: Final = 10  # than the unbroken tree takes
MEMORY_MAX: Final = 6 << 30
# The copy's setup.py: one module, and quickly.
BUILD_LESS: Final = (('sorted(ROOT.rglob("*.pyx"))', '[Path(os.environ["BROKEN"])]'), ('"-O2", "-g1"', '"-O1", "-g0"'))
COPIED: Final = ("server", "operator", "tests", "charts", "deploy", "docs")
LONG: Final = ("test_converges", "test_skew")
SERVER, OPERATOR = "server/cachefleet_server", "operator/cachefleet_operator"


@dataclass(frozen=True, slots=True)
class Area:
    """Files that are broken, and the tests that must notice."""

    name: str
    files: str  # glob below the root
    tests: tuple[str, ...]

    @property
    def tree(self) -> Path:
        return FOLDER / f"tree-{self.name}"


_ENGINE = ("tests/unit/keyspace", "tests/unit/test_engine_machine.py", "tests/unit/core")
AREAS: Final = {
    area.name: area
    for area in (
        Area("ds", f"{SERVER}/ds/*.pyx", ("tests/unit/ds", *_ENGINE)),
        Area("keyspace", f"{SERVER}/keyspace/*.pyx", (*_ENGINE, "tests/unit/persistence")),
        Area("persistence", f"{SERVER}/persistence/*.py*", ("tests/unit/persistence",)),
        Area("planning", f"{OPERATOR}/planning/*.py", ("tests/unit/planning",)),
        Area("resources", f"{OPERATOR}/resources/*.py", ("tests/unit/resources", "tests/unit/planning")),
    )
}

# (pattern in a line, what takes its place). The first group is what changes.
CHANGES: Final = (
    (r"( < )", " <= "),
    (r"( <= )", " < "),
    (r"( > )", " >= "),
    (r"( >= )", " > "),
    (r"( == )", " != "),
    (r"( != )", " == "),
    (r"( \+ )", " - "),
    (r"( - )", " + "),
    (r"( \+= )", " -= "),
    (r"( -= )", " += "),
    (r"( and )", " or "),
    (r"( or )", " and "),
    (r"\bif (not )", ""),
    (r"\b(True)\b", "False"),
    (r"\b(False)\b", "True"),
    (r"(?<![\w.])(1)(?![\w.])", "2"),
    (r"(?<![\w.])(0)(?![\w.])", "1"),
    (r"^\s+(break)$", "pass"),
    (r"^\s+(continue)$", "pass"),
    (r"^\s+((?:[a-z_]+\.)*[a-z_]+\(.*\))$", "pass"),  # a call for its effect
    (r"^\s+((?:[a-z_]+\.)+[a-z_]+(?:\[.*\])? = .*[^(\\,])$", "pass"),  # a field that is set
)
NOT_CODE: Final = re.compile(
    r"^\s*(#|cdef enum|cdef extern|cimport|from|import|@|class |cdef class|cdef struct)|\"\"\""
)


@dataclass(frozen=True, slots=True)
class Mutant:
    file: str
    line: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def key(self) -> tuple[str, str]:
        """For equivalent.py."""
        return self.file.split("/", 1)[1], self.after.strip()


@dataclass(frozen=True, slots=True)
class Outcome:
    seed: int
    mutant: Mutant
    noticed: str  # "test", "build", "equivalent", "time" (by nobody, if the machine was busy), or "" for a survivor
    by: str  # the test, with what it said


# -- finding them


def code_lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines of code: no comments, docstrings or declarations without a value."""
    inside = False
    for number, line in enumerate(text.split("\n"), 1):
        quotes = line.count('"""')
        if not inside and not quotes and line.strip() and not NOT_CODE.search(line):
            yield number, line
        if quotes % 2:
            inside = not inside


def mutants_of(file: Path) -> list[Mutant]:
    found = []
    name = file.relative_to(ROOT).as_posix()
    for number, line in code_lines(file.read_text()):
        code = line.split("  # ")[0].rstrip()
        for pattern, replacement in CHANGES:
            for match in re.finditer(pattern, code):
                after = code[: match.start(1)] + replacement + code[match.end(1) :]
                found.append(Mutant(name, number, line, after))
    return found


def all_mutants(area: Area) -> list[Mutant]:
    files = (p for p in sorted(ROOT.glob(area.files)) if p.suffix in (".py", ".pyx") and not p.stem.startswith("_"))
    return [mutant for file in files for mutant in mutants_of(file)]


# -- trying one


def copy_tree(tree: Path) -> None:
    """The working tree with what is built in it; the environment is shared."""
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for name in COPIED:
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"):
        shutil.copy2(ROOT / name, tree / name)
    if (ROOT / "build" / "cython").exists():
        shutil.copytree(ROOT / "build" / "cython", tree / "build" / "cython")
    setup = (ROOT / "setup.py").read_text()
    for whole, part in BUILD_LESS:
        assert whole in setup, whole
        setup = setup.replace(whole, part)
    (tree / "setup.py").write_text(setup)


def run(tree: Path, command: Sequence[str], cpu_s: int | None = None, broken: str = "") -> tuple[int | None, str]:
    """The exit code, None when it took too long, and what was written."""
    paths = {"PYTHONPATH": f"{tree / 'server'}:{tree / 'operator'}", "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {**os.environ, **paths, "BROKEN": broken, "CYTHON_CACHE_DIR": "", "COLUMNS": "300"}

    def bound() -> None:
        if cpu_s is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))

    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, timeout=RUN_S_MAX, preexec_fn=bound
        )
    except subprocess.TimeoutExpired:
        return None, ""
    killed = done.returncode in (-signal.SIGXCPU, -signal.SIGKILL)
    return None if killed else done.returncode, done.stdout.decode(errors="replace")


def build(tree: Path, file: str) -> bool:
    code, _ = run(tree, [sys.executable, "setup.py", "-q", "build_ext", "--inplace"], broken=file)
    if code is None:
        raise SystemExit("the machine is too busy: a build does not end")
    return code == 0


def test_files(area: Area, broken: str) -> list[str]:
    """Those whose names share words with the file's come first, those that play long games last."""
    words = set(Path(broken).stem.split("_"))
    found = [p for name in area.tests for p in (sorted((ROOT / name).glob("test_*.py")) or [ROOT / name])]
    found.sort(key=lambda path: (path.stem in LONG, -len(words & set(path.stem.split("_")))))
    return [path.relative_to(ROOT).as_posix() for path in found]


def notice(mutant: Mutant, area: Area, cpu_s: int | None = None) -> tuple[str, str]:
    """How it is noticed, and by which test; the tree is as before afterwards."""
    file = area.tree / mutant.file
    kept = {path: path.read_bytes() for path in (file, *file.parent.glob(f"{file.stem}.*.so"))}
    lines = kept[file].decode().split("\n")
    lines[mutant.line - 1] = mutant.after
    file.write_text("\n".join(lines))
    try:
        if file.suffix == ".pyx" and not build(area.tree, mutant.file):
            return "build", ""
        words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--seed", "1"]
        words += ["-o", f"timeout={TEST_S_MAX}", "--hypothesis-profile", "mutants", *test_files(area, mutant.file)]
        code, output = run(area.tree, words, cpu_s)
        found = re.search(r"^(?:FAILED|ERROR) (.*)", output, re.MULTILINE)
        by = found[1] if found else f"exit code {code}"
        return "" if code == 0 else "time" if code is None or "Timeout" in by else "test", by
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


def check_unbroken(area: Area) -> int:
    """The tests pass on the tree as it is: in this time of the processor, in whole seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    candidate = all_mutants(area)[0]
    noticed, by = notice(Mutant(candidate.file, candidate.line, candidate.before, candidate.before), area)
    if noticed:
        raise SystemExit(f"the tests fail on the tree as it is: {by}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) + 1


def drawn(name: str, seeds: Sequence[int]) -> list[tuple[int, Mutant]]:
    candidates = all_mutants(AREAS[name])
    return [(seed, random.Random(f"{name}:{seed}").choice(candidates)) for seed in seeds]


def survivors(name: str) -> list[tuple[int, Mutant]]:
    """Of all trials so far, where their lines are now."""
    last: dict[tuple[str, str, str], tuple[int, Mutant, str]] = {}
    for line in (FOLDER / f"{name}.jsonl").read_text().splitlines():
        row = json.loads(line)
        mutant = Mutant(**row["mutant"])
        last[mutant.file, mutant.before, mutant.after] = (row["seed"], mutant, row["noticed"])
    now = {(m.file, m.before, m.after): m for m in all_mutants(AREAS[name])}
    return [(seed, now[key]) for key, (seed, mutant, noticed) in last.items() if not noticed and key in now]


def session(name: str, trials: Sequence[tuple[int, Mutant]], minutes: float) -> list[Outcome]:
    area = AREAS[name]
    end = time.monotonic() + minutes * 60
    outcomes: list[Outcome] = []
    copy_tree(area.tree)
    cpu_s = check_unbroken(area) + CPU_S_MORE
    with (FOLDER / f"{name}.jsonl").open("a") as out:
        for seed, mutant in trials:
            if time.monotonic() > end:
                break
            noticed, by = ("equivalent", "") if mutant.key in EQUIVALENT else notice(mutant, area, cpu_s)
            outcome = Outcome(seed, mutant, noticed, by)
            outcomes.append(outcome)
            print(f"{seed} {mutant} {outcome.noticed or 'SURVIVED'}: {mutant.after.strip()}", flush=True)
            out.write(json.dumps(asdict(outcome)) + "\n")
            out.flush()
    return outcomes


def seeds_of(text: str) -> list[int]:
    """Of `1-20,33`."""
    ends = [part.partition("-") for part in text.split(",")]
    return [seed for first, _, last in ends for seed in range(int(first), int(last or first) + 1)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("area", choices=AREAS)
    parser.add_argument("--seeds", default="1-20")
    parser.add_argument("--again", action="store_true", help="the survivors of all trials so far")
    parser.add_argument("--minutes", type=float, default=40)
    options = parser.parse_args(arguments)
    trials = survivors(options.area) if options.again else drawn(options.area, seeds_of(options.seeds))
    outcomes = session(options.area, trials, options.minutes)
    left = [outcome for outcome in outcomes if not outcome.noticed]
    equal = sum(outcome.noticed == "equivalent" for outcome in outcomes)
    print(f"\n{len(outcomes)} mutants, {len(left)} survivors, {equal} that nobody could tell")
    for outcome in left:
        print(f"  {outcome.mutant}\n    - {outcome.mutant.before}\n    + {outcome.mutant.after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
