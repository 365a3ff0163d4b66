"""NetworkPolicy <name>: who may connect to the pods. What is not listed here is closed.

    redis port     the clients of the spec, else every pod of the cluster; everybody if a Service leads out of the
                   cluster and the spec names nobody, because such clients are no pods
                   the operator; the Cache's other pods, which replicate
    metrics port   everybody: a Prometheus has no address that we could know, and its pages hold counters only

The kubelet's probes come from the pod's own node, which no policy keeps out.
"""

from __future__ import annotations

from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object, Site
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.resources.metadata import metadata

_EVERY_POD: dict[str, Any] = {"namespaceSelector": {}}


def network_policy(cache: Cache, site: Site) -> Object | None:
    if not cache.spec.network_policy.enabled:
        return None
    own = names.selector_labels(cache.metadata.name)
    rules = [_rule(names.PORT, _clients(cache)), _rule(names.PORT, [_operator(site)])]
    if cache.spec.instances > 1:
        rules.append(_rule(names.PORT, [{"podSelector": {"matchLabels": own}}]))
    rules.append(_rule(names.METRICS_PORT, []))
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(cache, cache.metadata.name),
        "spec": {"podSelector": {"matchLabels": own}, "policyTypes": ["Ingress"], "ingress": rules},
    }


def _clients(cache: Cache) -> list[dict[str, Any]]:
    if cache.spec.network_policy.clients:
        return list(cache.spec.network_policy.clients)
    services = cache.spec.services
    return [_EVERY_POD] if services.primary.type == services.replicas.type == "ClusterIP" else []


def _operator(site: Site) -> dict[str, Any]:
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": site.operator_namespace}},
        "podSelector": {"matchLabels": dict(site.operator_labels)},
    }


def _rule(port: int, peers: list[dict[str, Any]]) -> dict[str, Any]:
    """No peers: everybody."""
    return {"ports": [{"port": port, "protocol": "TCP"}], **({"from": peers} if peers else {})}
