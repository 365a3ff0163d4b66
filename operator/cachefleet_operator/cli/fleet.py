"""The Caches of one data folder while `up` runs: the composition root of local mode.

`take` makes the manifests come true: all of them or, if one is invalid, none. It is called at the start and whenever
the files change. A Cache that is in no manifest any more is stopped; its data stay. Everything that happens is an
Event; `changed` is set with each change of what `report` would say.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object, Site
from cachefleet_operator.api.v1alpha1 import API_VERSION, KIND, Cache, CacheKey, Metadata
from cachefleet_operator.cli.failure import Exit, Failure
from cachefleet_operator.cli.manifests import Document, Manifests
from cachefleet_operator.execution.lanes import Lanes
from cachefleet_operator.execution.local.admission import Invalid, admit
from cachefleet_operator.execution.local.kubelet import Kubelet
from cachefleet_operator.execution.local.objects import LocalObjects
from cachefleet_operator.execution.local.servers import LocalServers
from cachefleet_operator.execution.local.store import Store, Where, owner
from cachefleet_operator.execution.local.tcp_ports import PortBook, PortTaken
from cachefleet_operator.execution.prober import Prober
from cachefleet_operator.planning.actions import CREATED
from cachefleet_operator.planning.moments import stamp

EVENTS_KEPT = 100


@dataclass(frozen=True, slots=True)
class Event:
    at: str
    namespace: str
    cache: str
    type: str  # Normal or Warning
    word: str
    message: str


class Fleet:
    """`first` are the ports that the user chose for the first pod of the first Cache, if he did."""

    def __init__(
        self,
        data: Path,
        ports: PortBook,
        version: str,
        heard: Callable[[Event], None],
        first: tuple[int | None, int | None] = (None, None),
    ) -> None:
        self.changed = True
        self.refused = ""  # why the manifests, as they are now, were not taken up
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._heard = heard
        self._wanted: dict[CacheKey, None] = {}  # in the manifests' order
        self.store = Store(data, time.time)
        self.store.watch(self._seen)
        self._ports, self._first = ports, first
        self._lags: dict[tuple[CacheKey, str], int] = {}  # as they were last seen
        self._kubelet = Kubelet(self.store, ports, self.tell, time.time)
        site = Site(default_image="this-machine/cachefleet-server", default_version=version, version=version)
        objects, servers = LocalObjects(self.store, self._kubelet), LocalServers(ports)
        self._prober = Prober(servers)
        self._lanes = Lanes(objects, objects, servers, site, self._told, prober=self._prober)

    # -- acts

    async def take(self, manifests: Manifests) -> None:
        """Raises Failure when one is invalid, ExecutionError when the folder cannot be written."""
        caches = self._admitted(manifests.caches)
        for words in manifests.skipped:
            self.tell("", "", "Normal", "Skipped", words)
        if not self._wanted:
            self._pin(caches[0])
        for secret in manifests.secrets:
            metadata = secret.body["metadata"]
            bare = {"name": metadata["name"]}  # labels would make it a Cache's own
            self.store.apply(str(metadata.get("namespace") or "default"), {**secret.body, "metadata": bare})
        for cache in caches:
            namespace, name = cache.key
            self.store.apply(namespace, {"apiVersion": API_VERSION, "kind": KIND, **cache.wire()})
            if cache.key not in self._wanted:
                self.store.change(namespace, KIND, name, {"status": _remembered(self.store.cache(namespace, name))})
        keys = dict.fromkeys(cache.key for cache in caches)
        dropped, self._wanted = [key for key in self._wanted if key not in keys], keys
        self._lanes.start(keys)
        for key in dropped:
            self.tell(*key, "Normal", "Dropped", f"{key[1]} is in no manifest any more: it stops, its data stay")
            self.store.forget(*key)
            self._prober.watch(key, {})
            await self._kubelet.stop_cache(*key)

    def hand_over(self, namespace: str, name: str, successor: str) -> None:
        """To `<pod>@<epoch>`, as the annotation says it on Kubernetes; it is not in the manifest, and ends with it."""
        found = self.store.get(namespace, KIND, name)
        if found is not None:
            old = found["metadata"]
            annotations = {**(old.get("annotations") or {}), names.ANNOTATION_FAILOVER: successor}
            self.store.change(namespace, KIND, name, {"metadata": {**old, "annotations": annotations}})
            self._lanes.wake(CacheKey(namespace, name))

    async def stop(self) -> None:
        """Servers save and end, each within the grace of its pod."""
        await self._lanes.stop()
        await self._kubelet.stop()
        self._ports.close()

    def kill(self) -> None:
        """While `stop` goes on: no more grace."""
        self._kubelet.kill()

    def tell(self, namespace: str, cache: str, type: str, word: str, message: str) -> None:
        event = Event(stamp(time.time()), namespace, cache, type, word, message)
        self.events.append(event)
        self.changed = True
        self._heard(event)

    # -- what is

    def caches(self) -> list[Cache]:
        return [cache for key in self._wanted if (cache := self.store.cache(*key)) is not None]

    def report(self) -> dict[str, Any]:
        """What `status` shows and `connect` needs; holds no password."""
        return {
            "caches": [self._describe(cache) for cache in self.caches()],
            "refused": self.refused,
            "events": [asdict(event) for event in self.events],
        }

    def _describe(self, cache: Cache) -> dict[str, Any]:
        namespace, name = cache.key
        known = {pod.name: self._ports.of(namespace, name, pod.name) for pod in cache.status.pods}
        return {
            "namespace": namespace, "name": name, "generation": cache.metadata.generation,
            "auth": cache.spec.auth.mode != "none", "folder": str(self.store.data / namespace / name),
            "ports": {pod: ports._asdict() for pod, ports in known.items() if ports is not None},
            "lags": self._lags_of(cache.key),
            "status": cache.status.wire(),
        }  # fmt: skip

    def look(self) -> None:
        """Whether a replica is later than it was: of that nobody tells us, and the status has samples alone."""
        found = {(key, pod): lag for key in self._wanted for pod, lag in self._lags_of(key).items()}
        if any(self._lags.get(its) != lag for its, lag in found.items()):
            self._lags |= found
            self.changed = True

    # -- inside

    def _lags_of(self, key: CacheKey) -> dict[str, int]:
        """Whole seconds since each replica heard its primary; of those that say so."""
        said = {pod: server.managed for pod, server in self._prober.facts(key).items() if not server.error}
        return {
            pod: int(state.beat_s) for pod, state in said.items()
            if state is not None and state.follows and state.beat_s is not None
        }  # fmt: skip

    def _told(self, cache: Metadata, type: str, word: str, message: str) -> None:
        if word != CREATED:  # What a Cache consists of matters to nobody here; the log has it.
            self.tell(cache.namespace, cache.name, type, word, message)

    def _pin(self, cache: Cache) -> None:
        namespace, name = cache.key
        try:
            self._ports.pin(namespace, name, names.pod(name, 0), *self._first)
        except PortTaken as error:
            raise Failure(Exit.BUSY, f"{error}: choose another with --port or --metrics-port") from None

    def _seen(self, where: Where, found: Object | None) -> None:
        self.changed = True
        if where.key.kind == KIND:
            return  # our own status; a new spec is woken by `take`
        cache = owner(found) if found is not None else ""
        for key in self._wanted:
            # A user's Secret has no owner, and what was deleted cannot say: anybody may be meant.
            if key[0] == where.namespace and cache in ("", key[1]):
                self._lanes.wake(key)

    def _admitted(self, documents: list[Document]) -> list[Cache]:
        found, faults = [], []
        for document in documents:
            try:
                found.append(self._admit(document))
            except Invalid as error:
                lines = "\n".join(f"  {fault}" for fault in error.faults)
                faults.append(f"{document.place}: {error.what} is invalid:\n{lines}")
        if faults:
            raise Failure(Exit.MANIFEST, "\n".join(faults))
        return found

    def _admit(self, document: Document) -> Cache:
        fresh = admit(document.body, None)
        self.store.load(*fresh.key)
        old = self.store.cache(*fresh.key)
        return admit(document.body, old) if old is not None else fresh


def _remembered(cache: Cache | None) -> dict[str, Any]:
    """What holds of the status of an earlier run, whose pods have ended: not that it is Ready."""
    status = cache.status.wire() if cache is not None else {}
    return {field: status[field] for field in ("image", "defaultVersion", "refusals", "topology") if field in status}
