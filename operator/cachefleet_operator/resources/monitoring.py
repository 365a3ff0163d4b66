"""PodMonitor <name>, or a ServiceMonitor where that is all there is: tells the Prometheus Operator to scrape the pods.

Every series gets a label `cache`, by which dashboards and alerts choose.
"""

from __future__ import annotations

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object, Site
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.resources.metadata import metadata

KINDS = {"PodMonitor": "podMetricsEndpoints", "ServiceMonitor": "endpoints"}  # in the order of preference


def monitor(cache: Cache, site: Site) -> Object | None:
    kind = next((kind for kind in KINDS if kind in site.kinds), None)
    if kind is None or not cache.spec.monitoring.enabled:
        return None
    endpoint = {
        "port": names.METRICS_PORT_NAME,
        "path": "/metrics",
        "interval": cache.spec.monitoring.interval,
        "relabelings": [{"action": "replace", "targetLabel": "cache", "replacement": cache.metadata.name}],
    }
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": kind,
        "metadata": metadata(cache, cache.metadata.name, labels=cache.spec.monitoring.labels),
        "spec": {
            "selector": {"matchLabels": names.selector_labels(cache.metadata.name)},
            KINDS[kind]: [endpoint],
        },
    }
