"""The metrics table: its laws, and the page that is made from it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from cachefleet_server.metrics.document import page
from cachefleet_server.metrics.sample import Sampler
from cachefleet_server.metrics.table import FAMILIES, TABLE

pytestmark = pytest.mark.unit

PAGE = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"


def test_the_page_is_what_the_tables_say() -> None:
    made = "python -m cachefleet_server.metrics.document > docs/metrics.md"
    assert PAGE.read_text() == page(), f"docs/metrics.md is stale: {made}"


def test_names() -> None:
    series = [row.series for row in TABLE if row.series] + list(FAMILIES)
    assert len(series) == len(set(series)), "a series has one row"
    assert all(re.fullmatch(r"(redis|cachefleet)_[a-z0-9_]+", name) for name in series)
    fields = [(row.section, row.field) for row in TABLE if row.section]
    assert len(fields) == len(set(fields)), "a line of INFO has one row"
    assert all(row.series and row.help for row in TABLE if not row.section), "series of our own say what they mean"
    ours = [name for name in series if name.startswith("cachefleet_")]
    assert not [name for name in ours if re.search(r"_(sec|ms|us|usec|kb|mb)(_|$)", name)], "base units only"
    counters = [row.series for row in TABLE if row.kind == "counter" and row.series.startswith("cachefleet_")]
    assert all(name.endswith("_total") for name in counters)


def test_the_start_time_does_not_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever part of a second the start and a scrape fall into."""
    (row,) = (row for row in TABLE if row.series == "redis_start_time_seconds")
    sampler = Sampler([], start_time=1000.7)
    seen = set()
    for now in (1000.8, 1001.1, 1001.69, 1001.71, 1002.999, 90000.5):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        seen.add(row.number(sampler.sample()))
    assert seen == {1000.0}
