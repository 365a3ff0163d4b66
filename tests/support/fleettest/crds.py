"""CRDs of the Prometheus Operator, as bare as an API server takes them: the real schemas are that project's to keep."""

from __future__ import annotations

from typing import Any

GROUP = "monitoring.coreos.com"


def _bare(plural: str, kind: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {"kind": kind, "plural": plural},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


PODMONITORS = _bare("podmonitors", "PodMonitor")
SERVICEMONITORS = _bare("servicemonitors", "ServiceMonitor")
PROMETHEUSRULES = _bare("prometheusrules", "PrometheusRule")
