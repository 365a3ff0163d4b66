"""Objects (execution/ports.py) of a cluster: known from the store, which watches fill, written by the client.

Every answer to a write goes into the store at once, so that the next plan knows what this one did even if the watch is
late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cachefleet_operator.api.objects import Key, Object
from cachefleet_operator.api.v1alpha1 import KIND, CacheKey
from cachefleet_operator.execution.kube.client import ApiError, Kube
from cachefleet_operator.execution.kube.store import Store


class KubeObjects:
    def __init__(self, kube: Kube, store: Store) -> None:
        self._kube, self._store = kube, store

    def cache(self, key: CacheKey) -> Object | None:
        return self._store.cache(key)

    def known(self, key: CacheKey) -> Mapping[Key, Object]:
        return self._store.objects(key)

    async def get(self, namespace: str, key: Key) -> Object | None:
        found = await self._kube.get(key.kind, namespace, key.name)
        return found if found is None else self._seen(found)

    async def apply(self, namespace: str, obj: Object) -> Object:
        return self._seen(await self._kube.apply(namespace, obj))

    async def create(self, namespace: str, obj: Object) -> Object:
        return self._seen(await self._kube.create(namespace, obj))

    async def patch(self, namespace: str, key: Key, patch: Object, subresource: str = "") -> Object:
        try:
            return self._seen(await self._kube.merge(key.kind, namespace, key.name, patch, subresource))
        except ApiError as error:
            if error.code == 404:
                error.conflict = True
                gone = self._store.cache(CacheKey(namespace, key.name)) if key.kind == KIND else None
                if gone is not None:
                    self._store.remove(gone)  # The watch has missed its end.
            raise

    async def delete(self, namespace: str, key: Key, uid: str, *, orphan: bool = False) -> None:
        await self._kube.delete(key.kind, namespace, key.name, uid, orphan=orphan)

    async def events_of(self, namespace: str, uid: str, reason: str) -> Sequence[Object]:
        return await self._kube.events_of(namespace, uid, reason)

    def _seen(self, live: Object) -> Object:
        self._store.put(live)
        return live
