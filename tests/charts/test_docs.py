"""The pages for operators: links lead somewhere, examples are valid, every reason of a condition has a section."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml

from cachefleet_operator.api.conditions import (
    CONFIG_APPLIED,
    DEGRADED,
    PRIMARY_HEALTHY,
    PROGRESSING,
    READY,
    REASONS,
    REPLICATION_HEALTHY,
)
from cachefleet_operator.api.parse import parse
from cachefleet_operator.api.v1alpha1 import API_VERSION, KIND
from cachefleet_operator.api.validation import problems
from cachefleet_operator.execution.cycle import Result
from cachefleet_operator.metrics import PREFIX, Fleet, Metrics
from fleettest.docs import anchors, blocks, links
from fleettest.helm import CHARTS, ROOT, Helm

PAGES = [
    ROOT / "docs" / "operator.md", ROOT / "docs" / "troubleshooting.md", ROOT / "deploy" / "README.md",
    CHARTS / "cachefleet" / "README.md",
]  # fmt: skip
SCHEMA = json.loads((CHARTS / "cache" / "values.schema.json").read_text())["properties"]["spec"]
GOOD = {
    (READY, "Serving"), (PROGRESSING, "UpToDate"), (DEGRADED, "AsExpected"), (CONFIG_APPLIED, "Applied"),
    (PRIMARY_HEALTHY, "Reigning"), (REPLICATION_HEALTHY, "InSync"),
}  # fmt: skip

EXAMPLES = [block for page in PAGES for block in blocks(page.read_text(), "yaml")]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    found = links(page.read_text())
    assert found
    for link in found:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_headings_are_unique(page: Path) -> None:
    found = anchors(page.read_text())
    assert sorted(set(found)) == sorted(found)


def test_every_reason_has_a_section() -> None:
    here = anchors((ROOT / "docs" / "troubleshooting.md").read_text())
    assert [r.name for r in REASONS if (r.condition, r.name) not in GOOD and r.name.lower() not in here] == []
    assert "unreadable" in here, "the event of a Cache that can have no status"


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_are_valid(text: str) -> None:
    body: dict[str, Any] = yaml.safe_load(text)
    if set(body) == {"spec"}:
        body |= {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "orders"}}
    if body.get("kind") == KIND:
        assert problems(parse(body)) == ()
        jsonschema.validate(body["spec"], SCHEMA)


def test_there_are_examples_of_each_area() -> None:
    shown = set().union(*(yaml.safe_load(text).get("spec", {}) for text in EXAMPLES))
    assert shown >= set(SCHEMA["properties"]) - {"instances", "image", "monitoring"}


def test_the_operators_metrics_are_all_there() -> None:
    metrics = Metrics()
    metrics.registry.register(Fleet(list, lambda: True, lambda: 0, lambda: True))
    ends = {"counter": "_total"}
    exposed = {f.name + ends.get(f.type, "") for f in metrics.registry.collect() if f.name.startswith(PREFIX)}
    text = (ROOT / "docs" / "operator.md").read_text()
    table = text[text.index(f"| series of `{PREFIX}_`") :].split("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines()[2:]]
    assert {f"{PREFIX}_{name}" for row in rows for name in re.findall(r"`(\w+)`", row)} == exposed
    assert all(result in table for result in get_args(Result))


def test_values_that_are_named_exist(helm: Helm) -> None:
    """Every --set of the pages is one that the chart knows."""
    words = " ".join(page.read_text() for page in PAGES).replace("\\\n", " ").split()
    given = [words[i + 1].strip("`'.,") for i, word in enumerate(words) if word.strip("`(") == "--set"]
    assert len(given) >= 4
    for flag in given:
        helm.template("cachefleet", "default", "--set", flag)


@pytest.mark.parametrize("text", blocks((CHARTS / "cachefleet" / "README.md").read_text(), "yaml"))
def test_values_of_the_charts_page_are_taken(helm: Helm, tmp_path: Path, text: str) -> None:
    (file := tmp_path / "values.yaml").write_text(text)
    helm.template("cachefleet", "default", "--values", str(file))
