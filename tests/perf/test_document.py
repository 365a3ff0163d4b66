"""docs/performance.md shows the published run."""

from __future__ import annotations

import json

import document
import pytest


def test_the_page_shows_the_published_run() -> None:
    text = document.PAGE.read_text(encoding="utf-8")
    run = json.loads(document.PUBLISHED.read_text())
    assert text == document.page(text, run), "python tests/perf/document.py writes it"
    assert len(run["cases"]) > 50, "a quick run is not published"


def test_a_published_run_can_be_published() -> None:
    run = json.loads(document.PUBLISHED.read_text(encoding="utf-8"))
    assert document.together([run]) == run
    other = {**run, "machine": {**run["machine"], "tree": "another"}}
    with pytest.raises(SystemExit, match="differ in tree"):
        document.together([run, other])
