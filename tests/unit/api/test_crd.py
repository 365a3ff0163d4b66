"""The CRD as data: structural, documented, in step with the models and with the chart's template."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cachefleet_operator.api.crd import CLOSING, OPENING, crd, schema, template
from cachefleet_operator.api.v1alpha1 import Cache, Model

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE = ROOT / "charts" / "cachefleet" / "templates" / "crd-caches.yaml"

# What the API server knows in a structural schema, of what we use. Unknown keys are dropped there without a word.
KNOWN = {
    "type", "description", "default", "enum", "format", "pattern", "minimum", "maximum", "minLength", "maxLength",
    "maxItems", "maxProperties", "required", "properties", "items", "additionalProperties", "anyOf",
    "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
}  # fmt: skip


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in a schema, with its path: fields, items as [] and values of maps as {}."""
    yield path, node
    for name, field in node.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in node:
            yield from nodes(node[key], path + mark)


ALL = dict(nodes(schema()))


def test_the_template_is_up_to_date() -> None:
    assert TEMPLATE.read_text() == template(), "make generated"


def test_the_template_holds_the_definition() -> None:
    """Without helm's own lines it is what crd() gives."""
    text = "\n".join(line for line in template().splitlines() if "{{" not in line)
    found = yaml.safe_load(text)
    assert found["metadata"] == {"name": "caches.cachefleet.io", "annotations": {"helm.sh/resource-policy": "keep"}}
    assert {**found, "metadata": {"name": "caches.cachefleet.io"}} == crd()
    assert template().count("{{") == (OPENING + CLOSING).count("{{")


@pytest.mark.parametrize("path", [path for path in ALL if path not in ("", ".metadata") and not path.endswith("{}")])
def test_every_field_is_described(path: str) -> None:
    node = ALL[path]
    if path.endswith("[]") and node.get("type") != "object":
        return  # its list says it
    words = node.get("description", "")
    assert len(words) > 5 and words.rstrip("…").endswith((".", "...")), words
    assert "  " not in words and "\n" not in words


@pytest.mark.parametrize("path", ALL)
def test_every_node_is_structural(path: str) -> None:
    node = ALL[path]
    assert set(node) <= KNOWN
    assert ("type" in node) != ("x-kubernetes-int-or-string" in node)
    assert not ("properties" in node and "additionalProperties" in node)
    if node.get("type") == "object":
        holds = {"properties", "additionalProperties", "x-kubernetes-preserve-unknown-fields"} & set(node)
        assert len(holds) == 1 or path == ".metadata"
    if node.get("type") == "array":
        assert "items" in node
    if node.get("x-kubernetes-list-type") == "map":
        assert set(node["x-kubernetes-list-map-keys"]) <= set(node["items"]["required"])


def filled_in(node: dict[str, Any], value: Any) -> Any:
    """The value as the API server stores it: with defaults."""
    if isinstance(value, dict) and "properties" in node:
        fields = node["properties"].items()
        value = {**{name: field["default"] for name, field in fields if "default" in field}, **value}
        return {name: filled_in(node["properties"][name], inner) for name, inner in value.items()}
    return value


def test_defaults_are_those_of_the_models() -> None:
    stored = filled_in(schema(), {"metadata": {"name": "x"}})
    assert stored["spec"] == Cache.model_validate({"metadata": {"name": "x"}}).spec.wire()
    assert "status" not in stored
    assert not [path for path, node in ALL.items() if path.startswith(".status") and "default" in node]


def models(model: type[Model]) -> Iterator[type[Model]]:
    yield model
    for kind in model.__subclasses__():
        yield from models(kind)


def test_every_rule_of_the_models_is_in_the_schema() -> None:
    expected = {rule for model in models(Model) for rule in model.RULES}
    found = {(r["rule"], r["message"]) for node in ALL.values() for r in node.get("x-kubernetes-validations", ())}
    assert found == expected
    assert len(found) >= 8


def test_paths_of_columns_and_subresources_exist() -> None:
    (version,) = crd()["spec"]["versions"]
    columns = {column["name"]: column["jsonPath"] for column in version["additionalPrinterColumns"]}
    assert list(columns)[:6] == ["Phase", "Ready", "Primary", "Version", "Memory", "Age"]
    for path in (*columns.values(), *version["subresources"]["scale"].values()):
        plain = re.sub(r"\[\?.*?\]", "[]", path)
        assert plain in ALL or plain == ".metadata.creationTimestamp"


@pytest.mark.parametrize("path", [path for path, node in ALL.items() if "enum" in node and path.startswith(".spec")])
def test_no_word_needs_quotes_in_yaml(path: str) -> None:
    words = ALL[path]["enum"]
    assert yaml.safe_load("[" + ", ".join(words) + "]") == words


def test_double_braces_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cachefleet_operator.api.crd.crd", lambda: {"spec": {"description": "{{ .Values }}"}})
    with pytest.raises(ValueError, match="double braces"):
        template()
