"""The dashboards of deploy/dashboards as tests read them: panels, queries, the metrics in a query."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from fleettest.helm import ROOT

FOLDER: Final = ROOT / "deploy" / "dashboards"
VARIABLE: Final = re.compile(r"\$\{?(\w+)\}?")
# Words of PromQL that are followed by no parenthesis and are no metric.
KEYWORDS: Final = {"and", "or", "unless", "on", "ignoring", "group_left", "group_right", "by", "without", "bool"}

Json = dict[str, Any]


class PanelQuery(NamedTuple):
    board: str
    panel: str
    expression: str
    legend: str

    @property
    def name(self) -> str:
        return f"{self.board}: {self.panel}: {self.expression}"


def boards() -> dict[str, Json]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels(board: Json) -> list[Json]:
    """Without the rows, which are titles."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries() -> Iterator[PanelQuery]:
    for name, board in boards().items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield PanelQuery(name, panel["title"], target["expr"], target["legendFormat"])


def filled(text: str, values: Mapping[str, str]) -> str:
    """With values for the variables. KeyError for one that has none."""
    return VARIABLE.sub(lambda found: found[0] if found[1].isdigit() else values[found[1]], text)


def metrics(expression: str) -> set[str]:
    """The names of the metrics in a query."""
    text = re.sub(r'"[^"]*"', "", expression)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", text)
    return set(re.findall(r"\b([a-zA-Z_:][\w:]*)\b(?!\s*\()", text)) - KEYWORDS
