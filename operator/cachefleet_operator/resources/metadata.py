"""Metadata that every object of a Cache has: our labels, and its owner. The one place that sets them.

The owner is what deletes: Kubernetes' garbage collector takes all objects when the Cache goes, with no operator
running.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object, Site
from cachefleet_operator.api.v1alpha1 import API_VERSION, KIND, Cache


def metadata(
    cache: Cache, name: str, *, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """`labels` are the user's: ours win."""
    owner = cache.metadata
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": {**(labels or {}), **names.labels(owner.name)},
        **({"annotations": dict(annotations)} if annotations else {}),
        "ownerReferences": [{**owner_reference(cache), "controller": True, "blockOwnerDeletion": True}],
    }


def inherited(cache: Cache, site: Site) -> dict[str, str]:
    """The labels that all that it owns has from the Cache. Not in the pod template: no pod is restarted for one that
    somebody changes; planning/roles.py labels pods as they run."""
    own = cache.metadata.labels
    return {key: own[key] for key in site.defaults.inherited_labels if key in own}


def labelled(obj: Object, cache: Cache, site: Site) -> Object:
    """With the platform's labels and the Cache's; those that it has already win."""
    found = obj["metadata"]
    given = {**site.defaults.labels, **inherited(cache, site)}
    return {**obj, "metadata": {**found, "labels": {**given, **found["labels"]}}}


def owner_reference(cache: Cache) -> dict[str, Any]:
    owner = cache.metadata
    return {"apiVersion": API_VERSION, "kind": KIND, "name": owner.name, "uid": owner.uid}
