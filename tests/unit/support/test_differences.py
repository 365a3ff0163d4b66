"""docs/differences.md is in step with what the tests forgive."""

from __future__ import annotations

import pytest

from fleettest.differences import page
from fleettest.tree import ROOT

pytestmark = pytest.mark.unit


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs/differences.md").read_text() == page(), "make generated"


def test_a_row_is_one_line_of_as_many_cells_as_its_head() -> None:
    width = 0
    for line in page().splitlines():
        cells = line.replace("\\|", "").count("|")
        assert not width or not cells or cells == width, line
        width = cells
