"""The CustomResourceDefinition of Caches, generated from the models: `crd()`, and its template of the chart.

The models' JSON schema becomes a structural one: references are put in place, titles and nulls dropped (an optional
field is one that is not required), free-form objects keep what they hold. Every default of a spec is one of the API
server's. An object that is not required defaults to its fields' defaults: {} would do to fill them in, but the API
server judges a default by the object's rules as it stands. A status has none, for it is written whole.

`python -m cachefleet_operator.api.crd FILE` (`make generated`) writes the template; a test regenerates it and compares.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cachefleet_operator.api.v1alpha1 import GROUP, KIND, PLURAL, VERSION, Cache

Schema = dict[str, Any]

NAME = f"{PLURAL}.{GROUP}"
NAMES = {
    "kind": KIND,
    "listKind": f"{KIND}List",
    "plural": PLURAL,
    "singular": KIND.lower(),
    "shortNames": ["cfc"],  # cc is Cluster API's
    "categories": ["all", "cachefleet"],
}
SUBRESOURCES = {
    "status": {},
    "scale": {
        "specReplicasPath": ".spec.instances",
        "statusReplicasPath": ".status.instances",
        "labelSelectorPath": ".status.selector",
    },
}
# Name, path, type, priority: 1 is shown by -o wide only.
COLUMNS: tuple[tuple[str, str, str, int], ...] = (
    ("Phase", ".status.phase", "string", 0),
    ("Ready", ".status.ready", "string", 0),
    ("Primary", ".status.primary", "string", 0),
    ("Version", ".status.version", "string", 0),
    ("Memory", ".status.memory", "string", 0),
    ("Age", ".metadata.creationTimestamp", "date", 0),
    ("Persistence", ".spec.persistence.mode", "string", 1),
    ("Config", ".status.conditions[?(@.type=='ConfigApplied')].reason", "string", 1),
    ("Endpoint", ".status.endpoint", "string", 1),
    ("Image", ".status.image", "string", 1),
    ("Message", ".status.message", "string", 1),
)
KEPT = (
    "type", "description", "default", "enum", "format", "pattern", "minimum", "maximum", "minLength", "maxLength",
    "minItems", "maxItems", "maxProperties", "required",
)  # fmt: skip
NULL = {"type": "null"}

OPENING = """\
{{- include "cachefleet.check" . -}}
{{- if .Values.crds.install }}
# Generated from the models by `make generated`; edit operator/cachefleet_operator/api/v1alpha1.py.
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: %s
  labels: {{- include "cachefleet.labels" . | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
"""
CLOSING = "{{- end }}\n"


def crd() -> Schema:
    """The definition as the API takes it."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": NAMES,
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema()},
                    "subresources": SUBRESOURCES,
                    "additionalPrinterColumns": [_column(*column) for column in COLUMNS],
                }
            ],
        },
    }


def schema() -> Schema:
    """The structural schema of a Cache."""
    source = Cache.model_json_schema(by_alias=True)
    root = _structural(source, source["$defs"])
    root["properties"]["metadata"] = {"type": "object"}  # the API server knows it, and CEL its name
    root["properties"]["status"] = _without_defaults(root["properties"]["status"])
    return root


def template() -> str:
    """The definition as a template of the chart."""
    text: str = yaml.dump({"spec": crd()["spec"]}, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    if "{{" in text or "}}" in text:
        raise ValueError("helm would read double braces in the CRD as its own")
    return OPENING % NAME + text + CLOSING


class _Dumper(yaml.SafeDumper):
    """Without anchors, which tables that occur twice would get."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _column(name: str, path: str, kind: str, priority: int) -> Schema:
    return {"name": name, "jsonPath": path, "type": kind, **({"priority": priority} if priority else {})}


def _structural(source: Mapping[str, Any], models: Mapping[str, Any]) -> Schema:
    """A node of the models' JSON schema as the API server wants it."""
    source = _resolved(source, models)
    node = {key: value for key, value in source.items() if key in KEPT or key.startswith("x-kubernetes-")}
    if "description" in node:
        node["description"] = " ".join(node["description"].split())
    if node.get("x-kubernetes-int-or-string"):
        node["anyOf"] = source["anyOf"]
    if "items" in source:
        node["items"] = _structural(source["items"], models)
    if "properties" in source:
        node["properties"] = {name: _structural(field, models) for name, field in source["properties"].items()}
        for name, field in source["properties"].items():
            if node["properties"][name].get("type") == "object" and not _has_no_default(name, field, source):
                node["properties"][name].setdefault("default", _defaults(node["properties"][name]))
    values = source.get("additionalProperties")
    if isinstance(values, Mapping):
        node["additionalProperties"] = _structural(values, models)
    elif values:
        node["x-kubernetes-preserve-unknown-fields"] = True
    return node


def _defaults(node: Schema) -> Schema:
    fields = node.get("properties", {})
    return {name: field["default"] for name, field in fields.items() if "default" in field}


def _has_no_default(name: str, field: Mapping[str, Any], parent: Mapping[str, Any]) -> bool:
    return name in parent.get("required", ()) or NULL in field.get("anyOf", ())


def _resolved(source: Mapping[str, Any], models: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself instead of a reference or of "that or null"; what stands beside either wins."""
    if NULL in source.get("anyOf", ()):
        (other,) = (branch for branch in source["anyOf"] if branch != NULL)
        beside = {key: value for key, value in source.items() if key not in ("anyOf", "default")}
        return _resolved({**other, **beside}, models)
    if "$ref" in source:
        beside = {key: value for key, value in source.items() if key != "$ref"}
        return {**models[source["$ref"].removeprefix("#/$defs/")], **beside}
    return source


def _without_defaults(node: Schema) -> Schema:
    """A copy of a structural schema."""
    copy = {key: value for key, value in node.items() if key != "default"}
    for key in ("items", "additionalProperties"):
        if key in copy:
            copy[key] = _without_defaults(copy[key])
    if "properties" in copy:
        copy["properties"] = {name: _without_defaults(field) for name, field in copy["properties"].items()}
    return copy


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(template(), encoding="utf-8")
