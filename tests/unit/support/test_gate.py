"""The gate's own words: one closing line for all stages, the table in CONTRIBUTING.md, the order of the files."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from fleettest import costs, gate, spread, tree
from fleettest.costs import Cost

TESTS = [
    Cost("tests/a/test_x.py::test_1", "passed", call_s=2.5, cpu_s=2.4),
    Cost("tests/a/test_x.py::test_2", "skipped"),
    Cost("tests/a/test_y.py::test_3", "failed", why="two fsyncs", call_s=30.0, cpu_s=0.1),
    Cost("tests/b/test_z.py::test_4", "passed", setup_s=4.0, call_s=1.0),
    Cost("tests/b/test_z.py::test_5", "passed", call_s=9.0, cpu_s=1.0),
]
ADD = "import os, sys; open(os.environ['CACHEFLEET_COSTS'], 'a').write(sys.argv[1]); sys.exit(int(sys.argv[2]))"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(gate, "FOLDER", tmp_path)
    return tmp_path


def stage(name: str, code: int, *outcomes: str, seed: bool = False) -> gate.Stage:
    lines = "".join(json.dumps({"test": f"t.py::{name}", "outcome": outcome}) + "\n" for outcome in outcomes)
    return gate.Stage(name, "what", [sys.executable, "-c", ADD, lines, "{seed}" if seed else str(code)])


def test_one_line_closes_for_all_stages(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stages = [stage("one", 0, "passed", "passed"), stage("two", 0), stage("three", 0, "skipped", "passed")]
    assert gate.run(stages, 7) == 0
    last = capfd.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"=+ 3 passed, 1 skipped in \d+\.\d\ds \(\d+:\d\d\) =+", last)


def test_a_stage_that_fails_keeps_none_from_running(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert gate.run([stage("one", 1, "failed", "passed"), stage("two", 3), stage("three", 0, "passed")], 7) == 1
    lines = capfd.readouterr().out.splitlines()
    assert " 1 failed, 2 passed, 1 errors in " in lines[-1]
    assert [line for line in lines if line.startswith("FAILED: ")] == [
        "FAILED: one (exit code 1); it alone: make test ONLY=one SEED=7",
        "FAILED: two (exit code 3); it alone: make test ONLY=two SEED=7",
    ]
    rows = json.loads((folder / "last.json").read_text())["stages"]
    assert [(row["name"], row["code"], row["tests"]) for row in rows] == [("one", 1, 2), ("two", 3, 0), ("three", 0, 1)]


def test_without_what_all_need_nothing_runs(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert gate.run([stage("one", 1)._replace(needed=True), stage("two", 0, "passed")], 7) == 1
    assert " 0 passed, 1 errors in " in capfd.readouterr().out.splitlines()[-1]


def test_nothing_ran(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    gate.run([stage("one", 0)], 7)
    assert " 0 passed in " in capfd.readouterr().out.splitlines()[-1]


def test_stages_get_the_seed(folder: Path) -> None:
    assert gate.run_stage(stage("one", 0, seed=True), 5)[0].code == 5


def test_what_runs_beside_others(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One stage waits in the background for a file that the next one makes, and is over before one that is alone."""
    word = folder / "word"
    until = f"import os, time\nwhile not os.path.exists({str(word)!r}): time.sleep(0.01)\nprint('seen')"
    stages = [
        gate.Stage("waits", "", [sys.executable, "-c", until], beside=True),
        gate.Stage("makes", "", [sys.executable, "-c", f"open({str(word)!r}, 'w')"]),
        gate.Stage("alone", "", [sys.executable, "-c", "print('by itself')"], alone=True),
    ]
    assert gate.run(stages, 7) == 0
    lines = capfd.readouterr().out.splitlines()
    begun = max(lines.index("=== waits: "), lines.index("=== makes: "))
    assert begun < lines.index("seen") < lines.index("by itself")


def test_why_tests_are_slow() -> None:
    lines = list(costs.slowest(TESTS))
    assert [line.split("CPU  ")[1] for line in lines] == [
        "tests/a/test_y.py::test_3: two fsyncs",
        "tests/b/test_z.py::test_5: waits",
        "tests/b/test_z.py::test_4: its fixtures start and end something",
        "tests/a/test_x.py::test_1: computes",
    ]
    assert len(list(costs.slowest(TESTS * 20))) == costs.SHOWN


def test_long_files_first() -> None:
    assert gate.files(TESTS) == {"tests/a/test_y.py": 30.0, "tests/b/test_z.py": 14.0, "tests/a/test_x.py": 2.5}
    assert list(gate.files(TESTS)) == ["tests/a/test_y.py", "tests/b/test_z.py", "tests/a/test_x.py"]
    assert spread.unit("tests/kube/test_crd.py::test_x[a/b::c]") == "tests/kube"
    assert spread.unit("tests/unit/ds/test_x.py::Test::test_y") == "tests/unit/ds/test_x.py"


def test_unknown_stages_are_named() -> None:
    assert [s.name for s in gate.chosen("tests, alone", "")] == ["tests", "alone"]
    assert len(gate.chosen("", "lint,bench")) == len(gate.STAGES) - 2
    with pytest.raises(SystemExit, match="no stage tets; there are dev, kubernetes, "):
        gate.chosen("tets", "")


def test_the_page_has_the_published_run() -> None:
    if not gate.PUBLISHED.exists():
        assert gate.BEGIN + gate.END in gate.PAGE.read_text(encoding="utf-8"), "no run is published, and so no table"
        return
    run = json.loads(gate.PUBLISHED.read_text())
    assert [(row["name"], row["what"]) for row in run["stages"]] == [(s.name, s.what) for s in gate.STAGES], (
        "other stages: publish a run of them (make gate-table RUN=build/gate/last.json)"
    )
    assert not [row["name"] for row in run["stages"] if row["code"]], "a run that passed is published"
    text = gate.PAGE.read_text(encoding="utf-8")
    assert gate.page(text, run) == text, "make gate-table"


def test_the_files_that_are_ordered_are_there() -> None:
    run = json.loads(gate.PUBLISHED.read_text()) if gate.PUBLISHED.exists() else {"files": {}}
    assert [file for file in run["files"] if not (tree.ROOT / file).is_file()] == []
