"""What keeps and what breaks each CEL rule of the CRD. The API server (kube/test_crd) and local mode
(unit/execution/local/test_admission) must say the same of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from cachefleet_operator.api.v1alpha1 import API_VERSION, KIND

Spec = Mapping[str, Any]

CLASS = "storage.storageClassName is immutable"
COPIES = "durability.copies above 1 go with mode replicated, and only there"
OTHERS = "durability.copies must be less than instances: the primary itself does not count"
SHARD_NAME = "metadata.name must not end with -shard- and a number: shards of other Caches are called so"
LB_CLASS = "loadBalancerClass goes with type LoadBalancer, and only there"
LB_RANGES = "loadBalancerSourceRanges go with type LoadBalancer, and only there"
TRAFFIC = "externalTrafficPolicy goes with types NodePort and LoadBalancer, and only there"
LB_CLASS_STAYS = "loadBalancerClass cannot change while type is LoadBalancer"
TO_NONE = "persistence.mode cannot change to or from none: the volume would appear or vanish"
LIMIT = "memory.limit must be at least 96Mi"
SECRET_REF = "auth.mode secret needs auth.secretRef, and only that mode has one"
IMAGE_AND_VERSION = "version is a tag of the default image: it cannot stand beside image"
LIMITS_MEMORY = "the memory limit is spec.memory.limit"
LONG_NAME = "metadata.name must be at most 40 characters: objects and pods add to it"
ODD_NAME = (
    "metadata.name must begin with a letter and have lower case letters, digits and inner dashes only, no dots: "
    "Services carry it"
)


class Case(NamedTuple):
    spec: Spec
    said: str = ""  # the message of the one rule that it breaks; empty: it keeps all
    at: str = ""  # the object that the rule is of
    before: Spec | None = None  # what is stored
    name: str = "orders"

    def manifest(self, namespace: str = "default") -> dict[str, Any]:
        return manifest(self.spec, namespace, self.name)


def manifest(spec: Spec, namespace: str = "default", name: str = "orders") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": dict(spec)}


def _service(which: str = "primary", **fields: Any) -> Spec:
    return {"services": {which: fields}}


def _storage(**fields: Any) -> Spec:
    return {"persistence": {"storage": fields}}


_BALANCED: Final = _service(type="LoadBalancer", loadBalancerClass="a/b")

CASES: Final = (
    *(Case({"memory": {"limit": limit}}, LIMIT, "spec.memory")
      for limit in ("95Mi", 99614719, 100663295, "-1Gi", "1e8", "0.09G")),
    *(Case({"memory": {"limit": limit}})
      for limit in ("96Mi", 100663296, "0.101G", "98304Ki", "1.1e8", "1Ei", "1E")),
    Case({"memory": {"limit": "1Mi"}}, LIMIT, "spec.memory", before={}),
    Case({"memory": {"limit": "96Mi"}}, before={"memory": {"limit": "1Gi"}}),
    Case({"auth": {"mode": "secret"}}, SECRET_REF, "spec.auth"),
    Case({"auth": {"secretRef": {"name": "x"}}}, SECRET_REF, "spec.auth"),
    Case({"auth": {"mode": "none", "secretRef": {"name": "x"}}}, SECRET_REF, "spec.auth"),
    Case({"auth": {"mode": "secret", "secretRef": {"name": "x"}}}, before={"auth": {"mode": "none"}}),
    Case({"resources": {"limits": {"memory": "1Gi"}}}, LIMITS_MEMORY, "spec.resources"),
    Case({"resources": {"limits": {"cpu": "2"}, "requests": {"memory": "1Gi"}}}),
    Case({"image": "mine:1", "version": "1"}, IMAGE_AND_VERSION, "spec"),
    Case({"image": "", "version": "1"}, before={"image": "mine:1"}),
    Case({"instances": 3, "durability": {"copies": 2}}, COPIES, "spec.durability"),
    Case({"instances": 2, "durability": {"mode": "replicated", "copies": 2}}, OTHERS, "spec"),
    Case({"durability": {"mode": "replicated"}}, OTHERS, "spec"),
    Case({"instances": 3, "durability": {"mode": "replicated", "copies": 2}}, before={}),
    Case(_service(loadBalancerClass="a/b"), LB_CLASS, "spec.services.primary"),
    Case(_service("replicas", type="NodePort", loadBalancerClass="a/b"), LB_CLASS, "spec.services.replicas"),
    Case(_service("replicas", type="NodePort", loadBalancerSourceRanges=["10.0.0.0/8"]), LB_RANGES,
         "spec.services.replicas"),
    Case(_service("replicas", type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8"])),
    Case(_service(externalTrafficPolicy="Local"), TRAFFIC, "spec.services.primary"),
    Case(_service(type="NodePort", externalTrafficPolicy="Local")),
    Case(_BALANCED, LB_CLASS_STAYS, "spec.services.primary", before=_service(type="LoadBalancer")),
    Case(_service(type="LoadBalancer"), LB_CLASS_STAYS, "spec.services.primary", before=_BALANCED),
    Case(_BALANCED, before=_service(type="NodePort")),
    Case({"persistence": {"mode": "aof"}}, TO_NONE, "spec.persistence", before={"persistence": {"mode": "none"}}),
    Case({"persistence": {"mode": "none"}}, TO_NONE, "spec.persistence", before={}),
    Case({"persistence": {"mode": "none"}}),
    Case({"persistence": {"mode": "aof"}}, before={"persistence": {"mode": "snapshot"}}),
    Case(_storage(storageClassName="fast"), CLASS, "spec.persistence.storage", before={}),
    *(Case(_storage(**after), CLASS, "spec.persistence.storage", before=_storage(storageClassName="slow"))
      for after in ({"storageClassName": "fast"}, {})),
    Case(_storage(storageClassName="slow", size="20Gi"), before=_storage(storageClassName="slow", size="20Ti")),
    Case(_storage(size=2**31), before=_storage(size="1Gi")),
    Case(_storage(reclaimPolicy="Delete"), before=_storage(reclaimPolicy="Retain")),
    Case({}, LONG_NAME, name="a" * 41),
    Case({}, name="a" * 40),
    *(Case({}, ODD_NAME, name=name) for name in ("9to5", "shop.orders")),
    *(Case({}, SHARD_NAME, name=f"orders-shard-{shard}") for shard in (1, 12)),
    *(Case({}, name=name) for name in ("orders-shard", "orders-shard-1a", "x")),
)  # fmt: skip


def name_of(case: Case) -> str:
    """In pytest's list."""
    return case.said or "kept"
