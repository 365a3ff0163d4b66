"""Every kind of the Kubernetes API that we touch, and what we do with it: one row each.

The API client knows no other kind (kube.py), the watches (handlers/watch.py) and the permissions that the chart grants
(permissions.py) come from here.
"""

from __future__ import annotations

from typing import NamedTuple

from cachefleet_operator.api.v1alpha1 import API_VERSION, KIND, PLURAL

READ = ("get", "list", "watch")
WRITE = ("create", "patch")  # server-side apply needs both


class Kind(NamedTuple):
    name: str
    api_version: str
    plural: str
    verbs: tuple[str, ...]
    optional: bool = False  # a CRD that the cluster may lack

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        return self.api_version.rpartition("/")[2]


# The Cache itself, and by label everything that it has.
CACHE = Kind(KIND, API_VERSION, PLURAL, READ)
WATCHED: tuple[Kind, ...] = (
    CACHE,
    Kind("ServiceAccount", "v1", "serviceaccounts", (*READ, *WRITE)),
    Kind("ConfigMap", "v1", "configmaps", (*READ, *WRITE)),
    Kind("Secret", "v1", "secrets", (*READ, *WRITE)),
    Kind("Service", "v1", "services", (*READ, *WRITE)),
    Kind("Pod", "v1", "pods", (*READ, "patch", "delete")),
    Kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims", (*READ, "patch")),
    Kind("StatefulSet", "apps/v1", "statefulsets", (*READ, *WRITE, "delete")),
    Kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets", (*READ, *WRITE)),
    Kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies", (*READ, *WRITE, "delete")),
    Kind("PodMonitor", "monitoring.coreos.com/v1", "podmonitors", (*READ, *WRITE, "delete"), optional=True),
    Kind("ServiceMonitor", "monitoring.coreos.com/v1", "servicemonitors", (*READ, *WRITE, "delete"), optional=True),
)
EVENT = Kind("Event", "events.k8s.io/v1", "events", ("create", "list"))
LEASE = Kind("Lease", "coordination.k8s.io/v1", "leases", ("create", "get", "update"))

KINDS: dict[str, Kind] = {kind.name: kind for kind in (*WATCHED, EVENT, LEASE)}
OPTIONAL: frozenset[str] = frozenset(kind.name for kind in WATCHED if kind.optional)
