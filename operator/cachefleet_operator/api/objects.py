"""Objects of the Kubernetes API as plain data, and the site they live at. No client library, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cachefleet_operator.api import names

Object = Mapping[str, Any]  # as the API carries it; nobody changes one that was read


class Key(NamedTuple):
    """An object in the Cache's own namespace. Of a Cache itself: v1alpha1.CacheKey."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def key_of(obj: Object) -> Key:
    return Key(obj["kind"], obj["metadata"]["name"])


def server_container(pod: Object) -> Mapping[str, Any]:
    """The server's container in a pod or a pod template; {} where there is none."""
    containers = pod.get("spec", {}).get("containers", ())
    return next((dict(c) for c in containers if c.get("name") == names.CONTAINER), {})


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the platform gives to Caches whose spec says nothing about it."""

    image_pull_secrets: tuple[str, ...] = ()
    storage_class: str = ""  # empty: the cluster's own default
    priority_class: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)  # of pods and objects
    inherited_labels: tuple[str, ...] = ()  # keys of labels that pods and objects have from their Cache
    fixed_user: bool = True  # False where the cluster gives each namespace users of its own


NO_DEFAULTS = Defaults()


@dataclass(frozen=True, slots=True)
class Site:
    """Where this operator runs: what plan and builders must know of it, decided at its start."""

    default_image: str  # repository, without a tag
    default_version: str
    operator_namespace: str = "cachefleet-system"
    operator_labels: Mapping[str, str] = field(default_factory=lambda: {names.LABEL_APP: "cachefleet-operator"})
    kinds: frozenset[str] = frozenset()  # optional kinds that exist here: PodMonitor, ServiceMonitor
    cluster_domain: str = "cluster.local"
    defaults: Defaults = NO_DEFAULTS
    version: str = ""  # this operator's own: the server of the same version has our table of parameters
