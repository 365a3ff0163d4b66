"""The API's objects in the simulation, as far as failover and rollout read them: a Cache, a StatefulSet, pods, claims.

A Pod here is what a kubelet and the StatefulSet's controller know of one. Objects are made anew when something of them
is otherwise, and then nobody changes them: all operators share them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object
from cachefleet_operator.api.v1alpha1 import Cache, CacheStatus, Topology
from cachefleet_operator.planning.failover.facts import Wish

NAME = "c"
DELETED_AT = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class Pod:
    uid: str
    revision: int = 1
    ended: bool = False  # its container has
    going: bool = False
    ready: bool = True


def cache_of(wish: Wish) -> Cache:
    body = {
        "metadata": {"name": NAME, "namespace": "s", "uid": "sim", "generation": 1},
        "spec": {
            "instances": wish.instances,
            "durability": {
                "mode": wish.durability, "copies": wish.copies, "whenMissing": wish.when_missing,
                "onDiskLoss": wish.on_disk_loss,
            },
        },
    }  # fmt: skip
    return Cache.model_validate(body)


def with_record(cache: Cache, record: Topology | None, version: int) -> Cache:
    metadata = cache.metadata.model_copy(update={"resource_version": str(version)})
    return cache.model_copy(update={"metadata": metadata, "status": CacheStatus(topology=record)})


def objects_of(pods: Mapping[str, Pod], revision: int, instances: int) -> dict[Key, Object]:
    found: dict[Key, Object] = {Key("StatefulSet", NAME): _statefulset(revision, instances)}
    for ordinal, (name, pod) in enumerate(pods.items()):
        claim = names.claim(NAME, ordinal)
        found[Key("Pod", name)] = _pod(name, pod)
        found[Key("PersistentVolumeClaim", claim)] = {"metadata": {"name": claim, "uid": f"claim-{name}"}}
    return found


def _statefulset(revision: int, instances: int) -> Object:
    return {
        "metadata": {"name": NAME, "uid": "s-1", "generation": revision},
        "spec": {"replicas": instances, "template": {"metadata": {}, "spec": {"containers": [_container(revision)]}}},
        "status": {"observedGeneration": revision, "updateRevision": str(revision)},
    }


def _pod(name: str, pod: Pod) -> Object:
    state = {"terminated": {"exitCode": 1}} if pod.ended else {"running": {}}
    found: Object = {
        "metadata": {"name": name, "uid": pod.uid, "labels": {"controller-revision-hash": str(pod.revision)}},
        "spec": {"containers": [_container(pod.revision)]},
        "status": {
            "containerStatuses": [{"name": names.CONTAINER, "state": state}],
            "conditions": [{"type": "Ready", "status": str(pod.ready)}],
        },
    }
    if pod.going:
        found["metadata"]["deletionTimestamp"] = DELETED_AT
    return found


def _container(revision: int) -> Object:
    return {"name": names.CONTAINER, "image": f"server:{revision}"}
