"""Objects (execution/ports.py) of this machine: a Store, whose pods are the kubelet's.

What differs from a cluster is said to the planner where Kubernetes would say it, too: a Service carries the address of
its server as an annotation, because there is no DNS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object, key_of
from cachefleet_operator.api.v1alpha1 import KIND, CacheKey
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.local.kubelet import Kubelet
from cachefleet_operator.execution.local.podspec import ConfigError, read
from cachefleet_operator.execution.local.store import Store, owner
from cachefleet_operator.execution.local.tcp_ports import HOST
from cachefleet_operator.execution.mergepatch import merged


class Invalid(ExecutionError):
    """What an API server would not take."""

    @property
    def for_good(self) -> bool:
        return True


class LocalObjects:
    def __init__(self, store: Store, kubelet: Kubelet) -> None:
        self._store, self._kubelet = store, kubelet

    def cache(self, key: CacheKey) -> Object | None:
        return self._store.get(key.namespace, KIND, key.name)

    def known(self, key: CacheKey) -> Mapping[Key, Object]:
        namespace, name = key
        found = self._store.owned(namespace, name)
        for service, label in ((names.service_rw(name), names.LABEL_ROLE), (names.service_ro(name), names.LABEL_READS)):
            at = Key("Service", service)
            ports = self._kubelet.ports.of(namespace, name, _leads_to(found, label) or names.pod(name, 0))
            if at in found and ports is not None:
                found[at] = _with_endpoint(found[at], f"{HOST}:{ports.redis}")
        return found

    async def get(self, namespace: str, key: Key) -> Object | None:
        return self._store.get(namespace, *key)

    async def apply(self, namespace: str, obj: Object) -> Object:
        if obj["kind"] == "StatefulSet":
            _admit(obj)
        return self._store.apply(namespace, obj)

    async def create(self, namespace: str, obj: Object) -> Object:
        if self._store.get(namespace, *key_of(obj)) is not None:
            raise ExecutionError(f"{key_of(obj)} exists", conflict=True)
        return self._store.apply(namespace, obj)

    async def patch(self, namespace: str, key: Key, patch: Object, subresource: str = "") -> Object:
        live = self._store.get(namespace, *key)
        if live is None:
            raise ExecutionError(f"{key} does not exist", conflict=True)
        seen, now = patch.get("metadata", {}), live["metadata"]
        if any(seen.get(name, now[name]) != now[name] for name in ("uid", "resourceVersion")):
            raise ExecutionError(f"{key} has been changed", conflict=True)
        new = merged(live, {**patch, "metadata": {**seen, "resourceVersion": now["resourceVersion"]}})
        if key.kind == "PersistentVolumeClaim":  # There is no provisioner: it has at once what it asks for.
            new["status"] = merged(live.get("status"), {"capacity": new["spec"]["resources"]["requests"]})
        parts = {name: new[name] for name in ("metadata", "spec", "status", "data") if name in new}
        changed = self._store.change(namespace, *key, parts)
        assert changed is not None
        return changed

    async def delete(self, namespace: str, key: Key, uid: str, *, orphan: bool = False) -> None:
        found = self._store.get(namespace, *key)
        if found is None or found["metadata"]["uid"] != uid:
            return
        if key.kind == "Pod":
            self._kubelet.delete_pod(namespace, key.name)
            return
        self._store.delete(namespace, key)
        if key.kind == "StatefulSet" and not orphan:
            await self._kubelet.stop_cache(namespace, owner(found))

    async def events_of(self, namespace: str, uid: str, reason: str) -> Sequence[Object]:
        return ()  # Pods that cannot be made say so themselves here.


def _admit(statefulset: Object) -> None:
    """Refuses pods that cannot be read, as the API server does: what runs goes on as it is."""
    try:
        read(statefulset["spec"]["template"]["spec"])
    except ConfigError as error:
        raise Invalid(f"spec.template.{error}") from None


def _leads_to(found: Mapping[Key, Object], label: str) -> str:
    """The first pod that a Service which selects by this label leads to; empty: none yet."""
    labels = {key.name: obj["metadata"].get("labels", {}).get(label) for key, obj in found.items() if key.kind == "Pod"}
    return min((pod for pod, value in labels.items() if value in (names.ROLE_PRIMARY, names.READS)), default="")


def _with_endpoint(service: Object, endpoint: str) -> Object:
    annotations = {**service["metadata"].get("annotations", {}), names.ANNOTATION_ENDPOINT: endpoint}
    return {**service, "metadata": {**service["metadata"], "annotations": annotations}}
