"""PodDisruptionBudget <name>: how many pods a drain may take at once.

A single pod may go: a node that cannot be drained is worse than a cache that is away for a restart. Of several, one at
a time. Pods that are not healthy may always go; keeping one protects nothing.
"""

from __future__ import annotations

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.resources.metadata import metadata


def pod_disruption_budget(cache: Cache) -> Object:
    others = cache.spec.instances - 1
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(cache, cache.metadata.name),
        "spec": {
            **({"minAvailable": others} if others else {"maxUnavailable": 1}),
            "selector": {"matchLabels": names.shard_labels(cache.metadata.name)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
