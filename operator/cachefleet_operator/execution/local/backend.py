"""The backend for processes on this machine: objects in a Store, pods by the Kubelet, servers by the admin client.

It does to the Store what kube.py asks of the API server. What differs is said to the planner where Kubernetes would say
it, too: a Service carries the address of its server as an annotation, because there is no DNS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object, Site, key_of
from cachefleet_operator.api.v1alpha1 import KIND, Cache, CacheStatus
from cachefleet_operator.execution import admin, passwords
from cachefleet_operator.execution.errors import ExecutionError, Refused
from cachefleet_operator.execution.local.kubelet import Kubelet
from cachefleet_operator.execution.local.podspec import ConfigError, read
from cachefleet_operator.execution.local.store import Store, owner
from cachefleet_operator.execution.local.tcp_ports import HOST, Ports
from cachefleet_operator.planning import actions as act
from cachefleet_operator.planning import auth
from cachefleet_operator.planning.objects import applied_hash
from cachefleet_operator.planning.refusals import NAME, OBJECT, taken
from cachefleet_operator.planning.snapshot import Server, Snapshot


class LocalBackend:
    """Backend (execution/backend.py) of all Caches of one data folder."""

    def __init__(self, store: Store, kubelet: Kubelet, site: Site) -> None:
        self._store, self._kubelet, self._site = store, kubelet, site
        self._do: dict[type[act.Action], Callable[[Cache, Any], Awaitable[None]]] = {
            act.Apply: self._apply,
            act.Delete: self._delete,
            act.GenerateSecret: self._generate_secret,
            act.CopySecret: self._copy_secret,
            act.LabelPod: self._label_pod,
            act.RestartPod: self._restart_pod,
            act.ResizeClaim: self._resize_claim,
            act.OwnClaim: self._own_claim,
            act.ConfigSet: self._config_set,
            act.SetPassword: self._set_password,
            act.Notice: self._notice,
        }

    # -- Backend

    async def observe(self, cache: Cache) -> Snapshot:
        snapshot = self._objects(cache)
        known = passwords.known(cache, partial(snapshot.get, "Secret"))
        asked = [(pod["metadata"]["name"], ports) for pod in snapshot.pods() if (ports := self._address(cache, pod))]
        answers = await asyncio.gather(*(admin.inspect(pod, HOST, ports.redis, known) for pod, ports in asked))
        servers: dict[str, Server] = {server.pod: server for server in answers}
        return replace(snapshot, servers=servers)

    async def execute(self, cache: Cache, action: act.Action) -> None:
        await self._do[type(action)](cache, action)

    async def write_status(self, cache: Cache, status: CacheStatus) -> None:
        self._store.change(cache.metadata.namespace, KIND, cache.metadata.name, {"status": status.wire()})

    async def event(self, cache: Cache, action: act.Action) -> None:
        if isinstance(action, act.Apply) and action.create:
            return  # what a Cache consists of matters to nobody here; the log has it
        kind, word = (action.type, action.word) if isinstance(action, act.Notice) else ("Normal", type(action).__name__)
        self._kubelet.tell(*cache.key, kind, word, action.reason)

    # -- what there is

    def _objects(self, cache: Cache) -> Snapshot:
        """The snapshot without the servers."""
        namespace, name = cache.key
        found = self._store.owned(namespace, name)
        if cache.spec.auth.secret_ref is not None:
            secret = self._store.get(namespace, "Secret", cache.spec.auth.secret_ref.name)
            if secret is not None:
                found[key_of(secret)] = secret
        for service in (names.service_rw(name), names.service_ro(name)):
            key = Key("Service", service)
            ports = self._kubelet.ports.of(namespace, name, names.pod(name, 0))
            if key in found and ports is not None:
                found[key] = _with_endpoint(found[key], f"{HOST}:{ports.redis}")
        refused = {key: self._store.get(namespace, *key) for key in taken(cache.status)}
        foreign = frozenset(key for key, live in refused.items() if live is not None and owner(live) != name)
        return Snapshot(cache, self._site, found, {}, foreign)

    def _address(self, cache: Cache, pod: Object) -> Ports | None:
        """Where a pod's server listens; None while it has no process: somebody else may be there."""
        states = pod.get("status", {}).get("containerStatuses", ())
        if not any("running" in status["state"] for status in states):
            return None
        return self._kubelet.ports.of(*cache.key, pod["metadata"]["name"])

    def _server(self, cache: Cache, name: str) -> tuple[int, list[bytes]]:
        """Port of a pod's server, and the passwords to try."""
        pod = self._store.get(cache.metadata.namespace, "Pod", name)
        ports = self._address(cache, pod) if pod is not None else None
        if ports is None:
            raise ExecutionError(f"{name} has no server now", conflict=True)
        return ports.redis, passwords.known(cache, partial(self._objects(cache).get, "Secret"))

    # -- what is done

    async def _apply(self, cache: Cache, action: act.Apply) -> None:
        self._own(cache, action.object)
        if action.key.kind == "StatefulSet":
            _admit(action.object)
        self._store.apply(cache.metadata.namespace, action.object)

    async def _delete(self, cache: Cache, action: act.Delete) -> None:
        namespace = cache.metadata.namespace
        found = self._store.get(namespace, *action.key)
        if found is None or found["metadata"]["uid"] != action.uid:
            return
        self._store.delete(namespace, action.key)
        if action.key.kind == "StatefulSet" and not action.orphan:
            await self._kubelet.stop_cache(*cache.key)

    async def _generate_secret(self, cache: Cache, action: act.GenerateSecret) -> None:
        if auth.is_blank(passwords.value(self._own(cache, action.object), action.field)):
            secret = passwords.with_data(action.object, {action.field: passwords.generate()})
            self._store.apply(cache.metadata.namespace, secret)

    async def _copy_secret(self, cache: Cache, action: act.CopySecret) -> None:
        value = self._wish(cache, action.source)
        old = self._own(cache, action.object)
        data = passwords.copied(old, action.field, value)
        self._store.apply(cache.metadata.namespace, passwords.with_data(action.object, data))

    async def _label_pod(self, cache: Cache, action: act.LabelPod) -> None:
        self._store.label(cache.metadata.namespace, "Pod", action.pod, labels=dict(action.labels))

    async def _restart_pod(self, cache: Cache, action: act.RestartPod) -> None:
        pod = self._store.get(cache.metadata.namespace, "Pod", action.pod)
        if pod is not None and pod["metadata"]["uid"] == action.uid:
            self._kubelet.delete_pod(cache.metadata.namespace, action.pod)

    async def _resize_claim(self, cache: Cache, action: act.ResizeClaim) -> None:
        namespace, kind = cache.metadata.namespace, "PersistentVolumeClaim"
        claim = self._store.get(namespace, kind, action.claim)
        if claim is not None:
            requests = {**claim["spec"]["resources"]["requests"], "storage": action.size}
            resources = {**claim["spec"]["resources"], "requests": requests}
            status = {**claim.get("status", {}), "capacity": {"storage": action.size}}
            parts = {"spec": {**claim["spec"], "resources": resources}, "status": status}
            self._store.change(namespace, kind, action.claim, parts)

    async def _own_claim(self, cache: Cache, action: act.OwnClaim) -> None:
        """Noted, as in a cluster; what becomes of data is `down`'s to say here."""
        namespace, kind = cache.metadata.namespace, "PersistentVolumeClaim"
        claim = self._store.get(namespace, kind, action.claim)
        if claim is not None:
            metadata = {**claim["metadata"], "ownerReferences": [dict(owner) for owner in action.owners]}
            self._store.change(namespace, kind, action.claim, {"metadata": metadata})

    async def _config_set(self, cache: Cache, action: act.ConfigSet) -> None:
        port, known = self._server(cache, action.pod)
        await admin.config_set(action.pod, HOST, port, known, action.parameters)

    async def _set_password(self, cache: Cache, action: act.SetPassword) -> None:
        port, known = self._server(cache, action.pod)
        new = admin.as_password(self._wish(cache, action.source))
        await admin.set_password(action.pod, HOST, port, known, new)

    async def _notice(self, cache: Cache, action: act.Notice) -> None:
        """Nothing but its event."""

    def _own(self, cache: Cache, wanted: Object) -> Object | None:
        """The live object that `wanted` would replace. Raises Refused if it is somebody else's."""
        key = key_of(wanted)
        live = self._store.get(cache.metadata.namespace, *key)
        if live is not None and owner(live) != cache.metadata.name:
            words = f"{key} exists and does not belong to this Cache"
            raise Refused(words, target=str(key), subject=NAME, wish="")
        return live

    def _wish(self, cache: Cache, source: tuple[str, str] | None) -> bytes:
        """The password that a Secret holds; empty for no password."""
        if source is None:
            return b""
        name, key = source
        value = passwords.value(self._store.get(cache.metadata.namespace, "Secret", name), key)
        if value is None:
            raise ExecutionError(f"Secret {name} has no {key}", conflict=True)
        return value


def _admit(statefulset: Object) -> None:
    """Refuses pods that cannot be read, as the API server does: what runs goes on as it is."""
    try:
        read(statefulset["spec"]["template"]["spec"])
    except ConfigError as error:
        key, wish = key_of(statefulset), applied_hash(statefulset)
        raise Refused(f"spec.template.{error}", target=str(key), subject=OBJECT, wish=wish) from None


def _with_endpoint(service: Object, endpoint: str) -> Object:
    annotations = {**service["metadata"].get("annotations", {}), names.ANNOTATION_ENDPOINT: endpoint}
    return {**service, "metadata": {**service["metadata"], "annotations": annotations}}
