"""The Caches whose objects are kept as goldens.

    pytest tests/unit/resources --update-goldens     then read the diff: a change of a pod template restarts every pod
"""

from __future__ import annotations

from typing import Any

import pytest

from cachefleet_operator.api.objects import Object, Site
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.resources.desired import desired
from fleettest.snapshots import SITE, cache

IMAGE = "registry.test/cachefleet-server:1.0.0"
MONITORED = Site(SITE.default_image, SITE.default_version, kinds=frozenset(("PodMonitor", "ServiceMonitor")))

FULL: dict[str, Any] = {
    "image": "mirror.test/cachefleet:2.0",
    "instances": 3,
    "memory": {"limit": "4Gi", "maxmemoryPercent": 90, "evictionPolicy": "allkeys-lfu"},
    "persistence": {
        "mode": "snapshot",
        "schedule": [{"seconds": 900, "changes": 1}, {"seconds": 60, "changes": 1000}],
        "storage": {"size": "20Gi", "storageClassName": "fast", "reclaimPolicy": "Delete"},
    },
    "auth": {"mode": "secret", "secretRef": {"name": "orders-login", "key": "pw"}},
    "config": {"timeout": "300", "databases": "4", "notify-keyspace-events": "KEx", "loglevel": "verbose"},
    "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"cpu": "2"}},
    "podTemplate": {
        "labels": {"team": "shop"},
        "annotations": {"sidecar.test/inject": "true"},
        "spec": {
            "priorityClassName": "high",
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "cache", "operator": "Exists", "effect": "NoSchedule"}],
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "topology.kubernetes.io/zone",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": {"cachefleet.io/cache": "orders"}},
                }
            ],
            "imagePullSecrets": [{"name": "mirror"}],
            "containers": [
                {"name": "server", "env": [{"name": "TZ", "value": "Europe/Berlin"}]},
                {
                    "name": "logs",
                    "image": "mirror.test/logs:1",
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "spool", "mountPath": "/spool"}],
                },
            ],
            "volumes": [{"name": "spool", "emptyDir": {}}],
        },
    },
    "services": {
        "primary": {
            "type": "LoadBalancer",
            "labels": {"team": "shop"},
            "annotations": {"lb.test/internal": "true"},
            "loadBalancerClass": "lb.test/internal",
            "loadBalancerSourceRanges": ["10.0.0.0/8", "fd00::/8"],
            "externalTrafficPolicy": "Local",
        },
        "replicas": {"type": "NodePort", "externalTrafficPolicy": "Cluster"},
    },
    "monitoring": {"interval": "15s", "labels": {"release": "prometheus"}},
    "networkPolicy": {"clients": [{"podSelector": {"matchLabels": {"app": "shop"}}}]},
}

CACHES: dict[str, tuple[Cache, Site]] = {
    "default": (cache(), SITE),
    "full": (cache(**FULL), MONITORED),
    "none": (cache(persistence={"mode": "none"}), MONITORED),
    "open": (cache(auth={"mode": "none"}, networkPolicy={"enabled": False}, monitoring={"enabled": False}), MONITORED),
}


def objects_of(name: str) -> tuple[Object, ...]:
    of, site = CACHES[name]
    return desired(of, site, of.spec.image or IMAGE)


@pytest.fixture(params=sorted(CACHES))
def named(request: pytest.FixtureRequest) -> tuple[str, tuple[Object, ...]]:
    """(name, objects) of each Cache."""
    return request.param, objects_of(request.param)


@pytest.fixture
def full() -> Cache:
    return CACHES["full"][0]
