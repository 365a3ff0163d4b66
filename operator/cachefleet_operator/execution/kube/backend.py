"""The backend for Kubernetes: facts from the store and from the servers, acts through the API and the admin client.

Nothing is read from the API in steady state, but for one Secret a cycle where spec.auth.secretRef names one: it carries
no label of ours, and a watch of its own would hold a connection a Cache. So a changed password is noticed with the next
cycle, at most planning.plan.STEADY_S later. So is the end of a foreign object that has the name of one of ours. Of
events only those are read that say why a StatefulSet has no pod.

Every answer to a write goes into the store at once, so that the next plan knows what this one did even if the watch is
late. An object is ours if this Cache is its controller, or nobody is and it carries our labels (left by a Cache that
was deleted with its objects orphaned); what is somebody else's is neither shown to the planner nor overwritten.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object, Site, key_of
from cachefleet_operator.api.parse import Malformed, parse
from cachefleet_operator.api.v1alpha1 import KIND, Cache, CacheStatus, Metadata
from cachefleet_operator.execution import admin, passwords
from cachefleet_operator.execution.errors import ExecutionError, Refused
from cachefleet_operator.execution.kube.client import ApiError, Kube
from cachefleet_operator.execution.kube.events import WORDS, Events
from cachefleet_operator.execution.kube.store import CacheKey, Store
from cachefleet_operator.planning import actions as act
from cachefleet_operator.planning import auth
from cachefleet_operator.planning.objects import DRIFT_SHOWN_MAX, applied_hash
from cachefleet_operator.planning.pods import is_ready
from cachefleet_operator.planning.refusals import NAME, OBJECT, STORAGE, taken
from cachefleet_operator.planning.snapshot import Server, Snapshot
from cachefleet_operator.resources.diff import drift

log = logging.getLogger(__name__)

MADE_BY_OTHERS = frozenset(("Pod", "PersistentVolumeClaim"))  # kinds that controllers make of our StatefulSet


class KubeBackend:
    """Backend (execution/backend.py) of all Caches of a cluster. `site` may be replaced between cycles."""

    def __init__(self, kube: Kube, store: Store, events: Events, site: Site) -> None:
        self._kube, self._store, self._events = kube, store, events
        self.site = site
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
        }

    def cache(self, key: CacheKey) -> Cache | None:
        """The Cache of a key, as the reconciler asks for it. Whose body is none has no status: an event says so."""
        found = self._store.cache(key)
        if found is None:
            return None
        try:
            return parse(found)
        except Malformed as error:
            # No plan is made for it, and so no status: an event is all that its user sees.
            words = f"this Cache cannot be read: {error}"
            self._events.tell(Metadata.model_validate(found["metadata"]), "Warning", "Unreadable", words)
            raise ExecutionError(words) from None

    # -- Backend

    async def observe(self, cache: Cache) -> Snapshot:
        objects = {key: obj for key, obj in self._store.objects(cache.key).items() if _shown(cache, obj)}
        if cache.spec.auth.secret_ref is not None:
            secret = await self._kube.get("Secret", cache.metadata.namespace, cache.spec.auth.secret_ref.name)
            if secret is not None:
                objects[key_of(secret)] = secret
        known = passwords.known(cache, lambda name: objects.get(Key("Secret", name)))
        asked = [obj for key, obj in objects.items() if key.kind == "Pod" and _address(obj)]
        answers = await asyncio.gather(*(_inspect(pod, known) for pod in asked))
        servers = {server.pod: server for server in answers}
        unmade = await self._unmade(cache, objects)
        return Snapshot(cache, self.site, objects, servers, await self._foreign(cache), unmade)

    async def execute(self, cache: Cache, action: act.Action) -> None:
        await self._do[type(action)](cache, action)

    async def write_status(self, cache: Cache, status: CacheStatus) -> None:
        namespace, name = cache.key
        seen = {"resourceVersion": cache.metadata.resource_version, "uid": cache.metadata.uid}
        try:
            patch = {"metadata": seen, "status": status.wire()}
            self._store.put(await self._kube.merge(KIND, namespace, name, patch, "status"))
        except ApiError as error:
            gone = self._store.cache(cache.key)
            if error.code == 404 and gone is not None:
                self._store.remove(gone)  # The watch has missed its end.
            raise

    async def event(self, cache: Cache, action: act.Action) -> None:
        if isinstance(action, act.Notice):
            self._events.tell(cache.metadata, action.type, action.word, action.reason)
        else:
            self._events.tell(cache.metadata, "Normal", WORDS[type(action)], action.reason)

    # -- objects

    async def _apply(self, cache: Cache, action: act.Apply) -> None:
        if action.create:
            await self._own(cache, action.object)
        wish = applied_hash(action.object)
        with _refusals(action.key, OBJECT, wish):
            live = await self._kube.apply(cache.metadata.namespace, action.object)
        self._store.put(live)
        # A field behind a feature gate that is off, or a webhook with a will of its own: not to be written for ever.
        if lost := drift(action.object, live):
            words = f"the API server did not keep what was written: {'; '.join(lost[:DRIFT_SHOWN_MAX])}"
            raise Refused(words, target=str(action.key), subject=OBJECT, wish=wish)

    async def _delete(self, cache: Cache, action: act.Delete) -> None:
        kind, name = action.key
        await self._kube.delete(kind, cache.metadata.namespace, name, action.uid, orphan=action.orphan)

    async def _restart_pod(self, cache: Cache, action: act.RestartPod) -> None:
        await self._kube.delete("Pod", cache.metadata.namespace, action.pod, action.uid)

    async def _label_pod(self, cache: Cache, action: act.LabelPod) -> None:
        patch = {"metadata": {"labels": dict(action.labels)}}
        self._store.put(await self._kube.merge("Pod", cache.metadata.namespace, action.pod, patch))

    async def _resize_claim(self, cache: Cache, action: act.ResizeClaim) -> None:
        key = Key("PersistentVolumeClaim", action.claim)
        patch = {"spec": {"resources": {"requests": {"storage": action.size}}}}
        with _refusals(key, STORAGE, action.size):
            self._store.put(await self._kube.merge(key.kind, cache.metadata.namespace, key.name, patch))

    async def _own_claim(self, cache: Cache, action: act.OwnClaim) -> None:
        patch = {"metadata": {"resourceVersion": action.version, "ownerReferences": list(action.owners)}}
        claim = await self._kube.merge("PersistentVolumeClaim", cache.metadata.namespace, action.claim, patch)
        self._store.put(claim)

    async def _foreign(self, cache: Cache) -> frozenset[Key]:
        """Whether it made way is told by no watch: an object of somebody else's carries no label of ours."""
        found = {key: await self._kube.get(key.kind, cache.metadata.namespace, key.name) for key in taken(cache.status)}
        return frozenset(key for key, live in found.items() if live is not None and not _is_ours(live, cache))

    async def _unmade(self, cache: Cache, objects: Mapping[Key, Object]) -> str:
        """What the StatefulSet's controller says of pods that it cannot make: its status has no word for it."""
        statefulset = objects.get(Key("StatefulSet", names.statefulset(cache.metadata.name)))
        # The status knew of a pod: its controller has only begun to make the next one, and old words may be around.
        if statefulset is None or cache.status.pods or any(key.kind == "Pod" for key in objects):
            return ""
        try:
            said = await self._kube.events_of(cache.metadata.namespace, statefulset["metadata"]["uid"], "FailedCreate")
        except ApiError as error:
            log.debug("no events can be read: %s", error, extra={"cache": "/".join(cache.key)})
            return ""
        return str(said[-1].get("note", "")) if said else ""

    async def _own(self, cache: Cache, wanted: Object) -> Object | None:
        """The live object that `wanted` would replace. Raises Refused if it is somebody else's."""
        key = key_of(wanted)
        live = await self._kube.get(key.kind, cache.metadata.namespace, key.name)
        if live is None:
            return None
        if _is_ours(live, cache):
            self._store.put(live)
            return live
        owner = _controller(live) or {}
        if live["metadata"].get("deletionTimestamp") or (owner.get("kind"), owner.get("name")) == (KIND, cache.key[1]):
            raise ExecutionError(f"{key} of an earlier Cache is still being deleted")
        whose = f"belongs to {owner['kind']} {owner['name']}" if owner else "does not belong to this Cache"
        raise Refused(f"{key} exists and {whose}", target=str(key), subject=NAME, wish="")

    # -- passwords

    async def _generate_secret(self, cache: Cache, action: act.GenerateSecret) -> None:
        namespace, live = cache.metadata.namespace, await self._own(cache, action.object)
        if not auth.is_blank(passwords.value(live, action.field)):
            return
        secret = passwords.with_data(action.object, {action.field: passwords.generate()})
        with _refusals(key_of(secret), OBJECT, ""):
            if live is None:
                self._store.put(await self._kube.create(namespace, secret))
            else:  # Somebody emptied it. It must not have been filled meanwhile.
                seen = {"resourceVersion": live["metadata"]["resourceVersion"]}
                patch = {"metadata": seen, "data": secret["data"]}
                self._store.put(await self._kube.merge("Secret", namespace, live["metadata"]["name"], patch))

    async def _copy_secret(self, cache: Cache, action: act.CopySecret) -> None:
        value = await self._wish(cache, action.source)
        old = await self._own(cache, action.object)
        secret = passwords.with_data(action.object, passwords.copied(old, action.field, value))
        with _refusals(key_of(secret), OBJECT, ""):
            self._store.put(await self._kube.apply(cache.metadata.namespace, secret))

    async def _set_password(self, cache: Cache, action: act.SetPassword) -> None:
        new = admin.as_password(await self._wish(cache, action.source))
        host, known = await self._server(cache, action.pod)
        self._kube.must_lead()
        await admin.set_password(action.pod, host, names.PORT, known, new)

    async def _wish(self, cache: Cache, source: tuple[str, str] | None) -> bytes:
        """The password that a Secret holds; empty for no password."""
        if source is None:
            return b""
        name, key = source
        found = passwords.value(await self._secret(cache, name), key)
        if found is None:
            raise ExecutionError(f"Secret {name} has no {key}", conflict=True)
        return found

    async def _secret(self, cache: Cache, name: str) -> Object | None:
        own = self._store.get(cache.key, "Secret", name)
        return own if own is not None else await self._kube.get("Secret", cache.metadata.namespace, name)

    # -- servers

    async def _config_set(self, cache: Cache, action: act.ConfigSet) -> None:
        host, known = await self._server(cache, action.pod)
        self._kube.must_lead()
        await admin.config_set(action.pod, host, names.PORT, known, action.parameters)

    async def _server(self, cache: Cache, pod: str) -> tuple[str, list[bytes]]:
        """Address of a pod's server, and the passwords to try."""
        host = _address(self._store.get(cache.key, "Pod", pod) or {})
        if not host:
            raise ExecutionError(f"{pod} has no server now", conflict=True)
        source = auth.source(cache)
        wished = {source[0]: await self._secret(cache, source[0])} if source is not None else {}
        known = passwords.known(cache, lambda name: wished.get(name) or self._store.get(cache.key, "Secret", name))
        return host, known


async def _inspect(pod: Object, known: list[bytes]) -> Server:
    """Asks twice where Kubernetes says that it is ready: one slow answer is no news."""
    name, ip = pod["metadata"]["name"], _address(pod)
    server = await admin.inspect(name, ip, names.PORT, known)
    if server.error and is_ready(pod):
        server = await admin.inspect(name, ip, names.PORT, known)
    return server


def _address(pod: Object) -> str:
    """Where its server can be asked; empty while nothing runs."""
    status = pod.get("status", {})
    return str(status.get("podIP", "")) if status.get("phase") == "Running" else ""


def _controller(obj: Object) -> Mapping[str, Any] | None:
    return next((owner for owner in obj["metadata"].get("ownerReferences", ()) if owner.get("controller")), None)


def _is_ours(obj: Object, cache: Cache) -> bool:
    """By its controller; without one, by our labels: more than the watches select by, for users may set those, too."""
    owner = _controller(obj)
    if owner is not None:
        return bool(owner["uid"] == cache.metadata.uid)
    labels = obj["metadata"].get("labels", {})
    ours = {names.LABEL_CACHE: cache.metadata.name, names.LABEL_MANAGED_BY: names.FIELD_MANAGER}
    return all(labels.get(name) == value for name, value in ours.items())


def _shown(cache: Cache, obj: Object) -> bool:
    """Whether the planner sees it: anybody can put our labels on anything."""
    name, kind, owner = cache.metadata.name, obj["kind"], _controller(obj)
    if kind in MADE_BY_OTHERS:
        stem = names.pod(name, 0) if kind == "Pod" else names.claim(name, 0)
        ordinal = obj["metadata"]["name"].removeprefix(stem.removesuffix("0"))
        return ordinal.isdecimal() and (owner is None or owner["kind"] == "StatefulSet")
    return _is_ours(obj, cache)


@contextmanager
def _refusals(key: Key, subject: str, wish: str) -> Iterator[None]:
    """A refusal for good becomes a Refused; every other error stays what it is."""
    try:
        yield
    except ApiError as error:
        if not error.for_good:
            raise
        raise Refused(str(error), target=str(key), subject=subject, wish=wish) from None
