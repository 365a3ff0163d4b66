"""ConfigMap <name>-accepted: the last spec that was had whole, as people and the operator read it
(planning/accepted.py)."""

from __future__ import annotations

import json

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.resources.metadata import metadata

SPEC = "spec.json"


def accepted(cache: Cache) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(cache, names.configmap_accepted(cache.metadata.name)),
        "data": {SPEC: json.dumps(cache.spec.wire(), indent=1, sort_keys=True) + "\n"},
    }
