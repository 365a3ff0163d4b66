"""Long figures: seeds go on where the last session ended, a row is written after each, and sums are made of rows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fleettest import figures
from fleettest.figures import KINDS, Row

HEAD = f"# Long figures\n\nWords.\n\n{figures.SUMS}\nMore words.\n\n{figures.ROWS}"
ROWS = [
    Row("2026-11-29", "aa", "kills", 1, 3, 300, 12.0, ""),
    Row("2026-11-30", "bb", "inputs", 1, 1, 1000, 5.0, "1"),
    Row("2026-12-01", "cc", "kills", 4, 4, 100, 4.0, "4"),
]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "figures.md"
    file.write_text(HEAD)
    monkeypatch.setattr(figures, "PAGE", file)
    monkeypatch.setattr(figures.tree, "ROOT", tmp_path)
    (tmp_path / ".gitignore").write_text("")
    return file


def counting(monkeypatch: pytest.MonkeyPatch, number: int, bad: int = 0) -> None:
    """Runs of "kills" count `number`, from a process of their own; the one with seed `bad` fails."""
    code = f"import sys; from fleettest.figures import count; count({number}); sys.exit(sys.argv[1] == '{bad}')"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    kind = figures.Kind("kills", lambda seed: [sys.executable, "-c", code, str(seed)])
    monkeypatch.setitem(KINDS, "kills", kind)


def test_a_page_is_made_of_its_rows() -> None:
    text = figures.page(HEAD, ROWS)
    assert figures.rows(text) == ROWS
    assert figures.page(text, figures.rows(text)) == text
    assert f"| kills | {KINDS['kills'].counted} | 4 | 400 | 16 | 1 |\n" in text
    assert f"| commands | {KINDS['commands'].counted} | 0 | 0 | 0 | 0 |\n" in text
    assert "\nMore words.\n" in text


def test_sessions_go_on(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counting(monkeypatch, 7)
    assert figures.main(["kills", "--seeds", "1-2"]) == 0
    assert figures.main(["kills", "--minutes", "0"]) == 0, "one seed, however little time there is"
    rows = figures.rows(page.read_text())
    assert [(row.first, row.last, row.count, row.failed) for row in rows] == [(1, 2, 14, ""), (3, 3, 7, "")]


def test_a_failure_ends_the_session_and_is_named(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counting(monkeypatch, 1, bad=2)
    assert figures.main(["kills", "--seeds", "1-5"]) == 1
    (row,) = figures.rows(page.read_text())
    assert (row.first, row.last, row.count, row.failed) == (1, 2, 2, "2")


def test_a_session_that_is_stopped_keeps_what_it_did(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str]) -> tuple[int, int]:
        if command[-1] == "3":
            raise KeyboardInterrupt
        return 0, 5

    monkeypatch.setattr(figures, "run_counted", run)
    with pytest.raises(KeyboardInterrupt):
        figures.main(["kills", "--seeds", "1-5"])
    (row,) = figures.rows(page.read_text())
    assert (row.first, row.last, row.count) == (1, 2, 10)


def test_limits_and_words(page: Path) -> None:
    with pytest.raises(SystemExit):
        figures.main(["kills", "--minutes", "46"])
    with pytest.raises(SystemExit):
        figures.main(["lives"])
    with pytest.raises(SystemExit, match="FIRST-LAST"):
        figures.main(["kills", "--seeds", "x"])


def test_nothing_counts_outside_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(figures.VARIABLE, raising=False)
    figures.count(5)


def test_the_project_s_page_is_made_of_its_rows() -> None:
    text = figures.PAGE.read_text(encoding="utf-8")
    found = figures.rows(text)
    assert figures.page(text, found) == text
    assert {row.kind for row in found} <= KINDS.keys()
