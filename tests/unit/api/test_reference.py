"""Generated pages: in step with what they describe, and sound Markdown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cachefleet_operator.api import conditions
from cachefleet_operator.api.parameters import PARAMETERS
from cachefleet_operator.api.reference import PAGES

pytestmark = pytest.mark.unit

DOCS = Path(__file__).resolve().parents[3] / "docs"
CELL = re.compile(r"(?<!\\)\|")


@pytest.mark.parametrize("file", PAGES)
def test_a_page_is_up_to_date(file: str) -> None:
    assert (DOCS / file).read_text() == PAGES[file](), "make generated"


def test_the_row_of_the_conditions_names_all_of_them() -> None:
    (row,) = (line for line in PAGES["api.md"]().splitlines() if line.startswith("| `conditions`"))
    assert [name for name in (*conditions.TYPES, *conditions.FLEET_TYPES) if name not in row] == []
    assert {reason.condition for reason in conditions.REASONS} == {*conditions.TYPES, *conditions.FLEET_TYPES}


@pytest.mark.parametrize("file", PAGES)
def test_tables_have_as_many_cells_in_each_row(file: str) -> None:
    width = 0
    for line in PAGES[file]().splitlines():
        cells = len(CELL.findall(line)) if line.startswith("|") else 0
        assert not width or not cells or cells == width, line
        width = cells


@pytest.mark.parametrize("file", PAGES)
def test_links_lead_somewhere(file: str) -> None:
    text = PAGES[file]()
    anchors = {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in re.findall("(?m)^#+ (.*)$", text)}
    for target in re.findall(r"\]\((.*?)\)", text):
        assert target.removeprefix("#") in anchors if target.startswith("#") else target in PAGES, target


def test_every_parameter_and_reason_is_there() -> None:
    text = PAGES["parameters.md"]()
    assert [p.name for p in PARAMETERS if f"`{p.name}`" not in text] == []
    assert "| `maxclients` | `10000` | live |" in text
    assert "| `databases` | `16` | restart |" in text
    rows = PAGES["conditions.md"]()
    assert [p for p in conditions.PHASES if f"| `{p.name}` | {p.meaning} |" not in rows] == []
    assert [r for r in conditions.REASONS if f"| `{r.name}` | {r.status} | {r.meaning} |" not in rows] == []


def test_conditions_are_unambiguous() -> None:
    """A reason says the status, and comes once in a condition."""
    keys = [(reason.condition, reason.name) for reason in conditions.REASONS]
    assert len(keys) == len(set(keys))
    for reason in conditions.REASONS:
        assert reason.status in ("True", "False") and reason.meaning.endswith(".")
        assert re.fullmatch(r"[A-Z][A-Za-z]{0,63}", reason.name)
