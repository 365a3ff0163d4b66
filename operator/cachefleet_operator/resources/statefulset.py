"""StatefulSet <name>: the pods and their volumes.

    OnDelete     the plan decides when a pod is replaced (planning/rollout.py), the StatefulSet never does
    Parallel     a pod that is not ready keeps no other from starting
    volumes      outlive it: somebody may delete it, and we do, to make them grow. Those that are to go with the Cache
                 are its own (planning/storage.py)

selector, serviceName, podManagementPolicy and volumeClaimTemplates cannot be changed in a StatefulSet that exists; only
the volume's size may differ in a new version of a Cache, and planning/storage.py replaces the StatefulSet then. It says
the class, too, where the Cache does not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.known import Known
from cachefleet_operator.api.objects import NO_DEFAULTS, Defaults, Object
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.resources.metadata import metadata
from cachefleet_operator.resources.podspec import GENERATIONS, pod_template

REVISIONS_KEPT = 3  # nobody rolls back by revision: the Cache's spec is the history that counts


def statefulset(
    cache: Cache, image: str, defaults: Defaults = NO_DEFAULTS, generation: int = 0, known: Known | None = None
) -> Object:
    """Its pods are of that generation of the template; 0 is the newest. `known` as in resources/configmap.py."""
    name = cache.metadata.name
    template = pod_template(cache, image, defaults, generation, known)
    made = {names.ANNOTATION_TEMPLATE: f"{generation or max(GENERATIONS)}-{template_hash(template)}"}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(cache, names.statefulset(name), annotations=made),
        "spec": {
            "replicas": cache.spec.instances,
            "serviceName": names.service_headless(name),
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "revisionHistoryLimit": REVISIONS_KEPT,
            "selector": {"matchLabels": names.shard_labels(name)},
            "template": template,
            **(_volumes(cache) if cache.spec.persistence.mode != "none" else {}),
        },
    }


def template_hash(template: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:16]


def _volumes(cache: Cache) -> dict[str, Any]:
    storage = cache.spec.persistence.storage
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": names.VOLUME_DATA},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage.size}},
            **({"storageClassName": storage.storage_class_name} if storage.storage_class_name else {}),
        },
    }
    return {
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "volumeClaimTemplates": [claim],
    }
