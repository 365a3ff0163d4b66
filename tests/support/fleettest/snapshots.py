"""Facts for tests of the planner: short makers of Caches, objects, servers and snapshots."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object, Site, key_of
from cachefleet_operator.api.v1alpha1 import Cache, CacheStatus, Member, RecordedPrimary, Topology
from cachefleet_operator.planning.acting import acting
from cachefleet_operator.planning.snapshot import Server, Snapshot

NOW = 1_800_000_000.0
SITE = Site(default_image="registry.test/cachefleet-server", default_version="1.0.0", version="1.0.0")


def cache(*, status: CacheStatus | None = None, metadata: Mapping[str, Any] | None = None, **spec: Any) -> Cache:
    body = {
        "metadata": {"name": "orders", "namespace": "shop", "uid": "u-1", "generation": 1, **(metadata or {})},
        "spec": spec,
    }
    found = Cache.model_validate(body)
    return found.model_copy(update={"status": status}) if status is not None else found


def secret(name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}"},
        "data": {key: b64encode(value.encode()).decode() for key, value in data.items()},
    }


def server(pod: str = "orders-0", **facts: Any) -> Server:
    return Server(**{"pod": pod, "run_id": "r1", "role": "master", "version": "1.0.0", **facts})


def record(primary: str = "orders-0", *others: str, **more: Any) -> Topology:
    """Of pods without volumes."""
    facts = {"epoch": 1, "tenure": 1, "kind": "first", "acks": 0, **more}
    members = tuple(Member(pod=name, disk="") for name in (primary, *others))
    return Topology(primary=RecordedPrimary(pod=primary, disk="", run="r1"), members=members, **facts)


def pod(ordinal: int = 0, *, ready: bool = True, revision: str = "r1", **more: Any) -> dict[str, Any]:
    """A pod as a kubelet reports it. `more` is merged over its status."""
    name = names.pod("orders", ordinal)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "labels": {**names.labels("orders"), "controller-revision-hash": revision},
        },
        "spec": {"containers": [{"name": names.CONTAINER, "image": "registry.test/cachefleet-server:1.0.0"}]},
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Ready", "status": "True" if ready else "False"},
            ],
            "containerStatuses": [
                {"name": names.CONTAINER, "ready": ready, "restartCount": 0, "state": {"running": {}}}
            ],
            **more,
        },
    }


def snapshot(of: Cache, *objects: Object, servers: Iterable[Server] = (), site: Site = SITE) -> Snapshot:
    known = {key_of(o): o for o in objects}
    return Snapshot(of, acting(of, known), site, known, {s.pod: s for s in servers})
