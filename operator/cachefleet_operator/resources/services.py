"""Services: <name>-rw for writes, <name>-ro for reads, <name>-pods (headless) for the pods' own names.

Only where there are replicas do -rw and -ro select by labels that the operator sets (the role, and who is in time for
reads): a single pod must be reachable while no operator runs.
"""

from __future__ import annotations

from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object
from cachefleet_operator.api.v1alpha1 import Cache, ServiceSpec
from cachefleet_operator.resources.metadata import metadata


def service_rw(cache: Cache) -> Object:
    label = {names.LABEL_ROLE: names.ROLE_PRIMARY}
    return _for_clients(cache, names.service_rw(cache.metadata.name), label, cache.spec.services.primary)


def service_ro(cache: Cache) -> Object:
    label = {names.LABEL_READS: names.READS}
    return _for_clients(cache, names.service_ro(cache.metadata.name), label, cache.spec.services.replicas)


def service_headless(cache: Cache) -> Object:
    """Names for pods that are not ready too: whoever repairs one must find it. ServiceMonitors scrape through it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(cache, names.service_headless(cache.metadata.name)),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": names.selector_labels(cache.metadata.name),
            "ports": [_port(names.PORT_NAME, names.PORT), _port(names.METRICS_PORT_NAME, names.METRICS_PORT)],
        },
    }


def _for_clients(cache: Cache, name: str, label: dict[str, str], wished: ServiceSpec) -> Object:
    chosen = label if cache.spec.instances > 1 else {}
    outside = {
        "loadBalancerClass": wished.load_balancer_class,
        "loadBalancerSourceRanges": list(wished.load_balancer_source_ranges),
        "externalTrafficPolicy": wished.external_traffic_policy,
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(cache, name, labels=wished.labels, annotations=wished.annotations),
        "spec": {
            "type": wished.type,
            "selector": {**names.selector_labels(cache.metadata.name), **chosen},
            "ports": [_port(names.PORT_NAME, names.PORT)],
            **{field: value for field, value in outside.items() if value},
        },
    }


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "port": number, "protocol": "TCP", "targetPort": name}
