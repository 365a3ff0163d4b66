"""Holds the store against the API's own listing: at the start, now and then, and when a watch began anew.

    at the start     the reconciler must not plan on half a listing. A listing of the metadata of each kind says what
                     there is; when the watches have told all of it, `ready` is set.
    begun anew       a watch that was away for too long lists again, and says nothing of what was deleted meanwhile
    now and then     every EVERY_S, should a watch have died in silence, or have listed nothing at all

What is in the store and not in the listing is dropped; what is in the listing and does not come by the watch within
PATIENCE_S means that the watch is dead: `Stale` ends the watches, and they start again. These are the only reads in
steady state: one a kind and namespace in EVERY_S, however many Caches there are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.kube.client import Kube
from cachefleet_operator.execution.kube.kinds import Kind
from cachefleet_operator.execution.kube.store import Store

EVERY_S = 600.0
SOON_S = 1.0  # after a watch began anew: one audit for all that it tells
LISTING_S = 5.0  # then the listing itself is too old: it is made again
PATIENCE_S = 60.0
POLL_S = 0.1

log = logging.getLogger(__name__)


class Stale(Exception):
    """A watch does not tell what there is."""


class Auditor:
    """`namespaces`: those whose objects are watched; None for all."""

    def __init__(self, kube: Kube, store: Store, kinds: Iterable[Kind], namespaces: tuple[str, ...] | None) -> None:
        self._kube, self._store = kube, store
        self._scopes = [(kind.name, place) for kind in kinds for place in namespaces or (None,)]
        self._asked: set[str] = set()
        self._wanted = asyncio.Event()
        self.ready = asyncio.Event()

    def ask(self, kind: str) -> None:
        """The watch of this kind began anew. Before the first audit is through, there is nothing to ask."""
        if self.ready.is_set():
            self._asked.add(kind)
            self._wanted.set()

    async def run(self) -> None:
        """Never returns. Raises Stale, and ExecutionError where the API does not answer at the start."""
        await self._audit(self._scopes)
        self.ready.set()
        while True:
            try:
                await asyncio.wait_for(self._wanted.wait(), EVERY_S)
                await asyncio.sleep(SOON_S)
            except TimeoutError:
                self._asked.update(kind for kind, _ in self._scopes)
            kinds, self._asked = self._asked, set()
            self._wanted.clear()
            try:
                await self._audit([scope for scope in self._scopes if scope[0] in kinds])
            except ExecutionError as error:
                log.warning("audit: %s", error)
                self._asked |= kinds
                self._wanted.set()

    async def _audit(self, scopes: list[tuple[str, str | None]]) -> None:
        for kind, namespace in scopes:
            end = _now() + PATIENCE_S
            while not await self._is_complete(kind, namespace):
                if _now() > end:
                    raise Stale(f"the watch of {kind} in {namespace or 'all namespaces'} tells nothing")

    async def _is_complete(self, kind: str, namespace: str | None) -> bool:
        """Makes one listing and waits for the watch to have told it."""
        listed, version = await self._kube.list_metadata(kind, namespace)
        ghosts, unseen = self._store.compare(kind, namespace, listed, version)
        for ghost in ghosts:
            log.info("%s %s is gone; no watch said so", kind, ghost["metadata"]["name"])
            self._store.remove(ghost)
        end = _now() + LISTING_S
        while unseen and _now() < end:
            await asyncio.sleep(POLL_S)
            _, unseen = self._store.compare(kind, namespace, listed, version)
        return not unseen


def _now() -> float:
    return asyncio.get_running_loop().time()
