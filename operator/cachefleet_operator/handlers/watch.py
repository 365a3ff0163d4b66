"""kopf: watches of every kind we own, by label, and of the Caches. Each event goes into the store; that is all.

Only `on.event` is used: kopf then writes nothing (no finalizer, no annotation), and a Cache can be deleted while no
operator runs. Which kinds exist is asked by us (handlers/supervisor.py), so kopf need not watch CRDs and namespaces,
and the operator needs no right to. Streams end and begin anew by themselves: after SERVER_S, after SILENCE_S without so
much as a bookmark, and with a short pause for as long as the API server is away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import kopf

from cachefleet_operator.api.names import FIELD_MANAGER
from cachefleet_operator.execution.kube.client import SELECTOR
from cachefleet_operator.execution.kube.kinds import CACHE, Kind

SERVER_S, CLIENT_S, SILENCE_S, CONNECT_S, REQUEST_S = 600, 660.0, 70.0, 10.0, 30.0
PAUSES_S = (0.5, 1.0) + (2.0,) * 60
# Only peering, which is off, would show it. Left to itself kopf asks for the user's name; in a pod no user has one.
IDENTITY: Any = FIELD_MANAGER

See = Callable[[str | None, dict[str, Any]], None]  # type of the event, object


def registry(kinds: Iterable[Kind], see: See) -> kopf.OperatorRegistry:
    found = kopf.OperatorRegistry()
    kopf.on.login(registry=found)(login)

    async def feed(event: kopf.RawEvent, **_: Any) -> None:
        see(event["type"], dict(event["object"]))

    for kind in kinds:
        kopf.on.event(kind.group, kind.version, kind.plural, registry=found, id=kind.name)(feed)
    return found


def login(**known: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(**known) or kopf.login_with_kubeconfig(**known)


class NoDiffs(kopf.DiffBaseStorage):
    """Of each object that it sees kopf makes a deep copy, to tell what changed; nobody asks it. And the copy recurses:
    one Cache whose free-form fields are nested deep enough would end the watches of all."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None: ...


def settings(kinds: Iterable[Kind]) -> kopf.OperatorSettings:
    found = kopf.OperatorSettings()
    found.persistence.diffbase_storage = NoDiffs()
    found.posting.enabled = False
    found.peering.standalone = True
    found.process.ultimate_exiting_timeout = None  # It would kill us ten minutes after watches were started anew.
    found.scanning.disabled = True
    found.watching.server_timeout, found.watching.client_timeout = SERVER_S, CLIENT_S
    found.watching.inactivity_timeout, found.watching.connect_timeout = SILENCE_S, CONNECT_S
    found.networking.request_timeout, found.networking.connect_timeout = REQUEST_S, CONNECT_S
    found.networking.error_backoffs = PAUSES_S
    found.queueing.idle_timeout = 0.5  # A task an object, for as long.
    for kind in kinds:
        if kind != CACHE:
            found.watching.label_selectors[kind.group, kind.version, kind.plural] = SELECTOR
    return found


async def watch(
    kinds: tuple[Kind, ...], namespaces: tuple[str, ...], see: See, begun: Callable[[], None]
) -> None:
    """Runs the watches until cancelled; ends or raises only if one breaks for good.

    kopf takes SIGTERM and SIGINT for itself: `begun` is called at once after that.
    """
    tasks = await kopf.spawn_tasks(
        registry=registry(kinds, see),
        settings=settings(kinds),
        identity=IDENTITY,
        namespaces=namespaces,
        clusterwide=not namespaces,
    )
    begun()
    # Not kopf.run_tasks: it would cancel every task of this loop, ours too.
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
