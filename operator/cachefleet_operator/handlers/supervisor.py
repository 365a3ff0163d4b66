"""What runs when. All parts of the operator are made and tied together here.

    watches      which kinds are there -> kopf's watches -> store, audited. They start again when a CRD came or went,
                 when one broke, when the audit finds one dead; until the cluster knows Caches, they wait.
    lease        all operators keep their store warm; the one that has the Lease runs the two lanes and the prober
                 (execution/lanes.py), once the store is complete
    the rest     events are sent, health and metrics served

SIGTERM: the lanes finish what they are doing, the Lease is given back, events are flushed. A lost Lease ends the
process at once with an error: what follows must begin from a clean start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import secrets
import signal
from dataclasses import replace
from typing import Any

from kubernetes.aio.client.api_client import ApiClient

from cachefleet_operator.api.objects import Defaults, Site
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.kube.audit import Auditor, Stale
from cachefleet_operator.execution.kube.client import Kube, connect
from cachefleet_operator.execution.kube.events import Events
from cachefleet_operator.execution.kube.kinds import CACHE, OPTIONAL, WATCHED
from cachefleet_operator.execution.kube.lease import Elector, Lost
from cachefleet_operator.execution.kube.objects import KubeObjects
from cachefleet_operator.execution.kube.servers import KubeServers
from cachefleet_operator.execution.kube.store import Store
from cachefleet_operator.execution.lanes import Lanes
from cachefleet_operator.execution.prober import Prober
from cachefleet_operator.execution.reconciler import STOP_S
from cachefleet_operator.handlers import http, watch
from cachefleet_operator.metrics import Fleet, Metrics
from cachefleet_operator.settings import Settings, own_version

DISCOVER_S = 120.0  # how often we look for CRDs that came or went
AGAIN_S, AGAIN_S_MAX = 1.0, 30.0  # between starts of the watches
CLOSE_S = 3.0

log = logging.getLogger(__name__)


class Supervisor:
    def __init__(self, client: ApiClient, swift: ApiClient, lease: ApiClient, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self._kube = Kube(client, allowed=lambda: self._elector.leads(), counted=self._metrics.requested)
        # Connections of their own: neither survival nor a renewal must queue behind what 500 Caches ask for.
        self._swift_kube = Kube(swift, allowed=lambda: self._elector.leads(), counted=self._metrics.requested)
        self._lease_kube = Kube(lease, counted=self._metrics.requested)
        me = f"{settings.pod_name}_{secrets.token_hex(4)}"
        self._elector = Elector(self._lease_kube, settings.pod_namespace, me)
        self._store = Store()
        self._events = Events(self._kube, settings.pod_name)
        site = Site(
            default_image=settings.server_image,
            default_version=settings.server_version,
            version=own_version(),
            operator_namespace=settings.pod_namespace,
            cluster_domain=settings.cluster_domain,
            defaults=Defaults(
                settings.image_pull_secrets, settings.storage_class, settings.priority_class, settings.labels,
                settings.inherited_labels, settings.fixed_user,
            ),
        )
        objects, swift_objects = (KubeObjects(kube, self._store) for kube in (self._kube, self._swift_kube))
        servers = KubeServers(self._kube.must_lead)
        self._prober = Prober(
            servers, every_s=settings.probe_s, alone_s=settings.probe_single_s,
            servers_max=resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2,
        )  # fmt: skip
        self._lanes = Lanes(
            objects, swift_objects, servers, site, self._events.tell,
            prober=self._prober, concurrency=settings.concurrency, meter=self._metrics,
        )  # fmt: skip
        self._store.listen(self._lanes.wake)
        self._synced = asyncio.Event()
        self._stop = asyncio.Event()
        fleet = Fleet(
            lambda: self._store.caches().values(), self._elector.leads, self._lanes.slow.waiting, self._synced.is_set,
            self._prober.servers,
        )  # fmt: skip
        self._metrics.registry.register(fleet)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises Lost."""
        self._take_signals()
        app = http.application(self._metrics.registry, self._late, self._unready)
        server = await http.serve(app, self._settings.http_host, self._settings.http_port)
        self._events.start()
        watches = asyncio.create_task(self._watch_always(), name="watches")
        election = asyncio.create_task(self._elector.run(self._lead), name="election")
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait((watches, election, stopped), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            log.info("stopping", extra={"reason": "Stopping"})
            await _end(election)
            await self._events.stop()
            await _end(watches, stopped)
            await server.cleanup()
            await self._kube.close()
            await self._swift_kube.close()
            await self._lease_kube.close()

    # -- health

    def _late(self) -> str:
        late_s = self._lanes.slow.late_s()
        return f"a reconcile has been due for {late_s:.0f} s" if late_s > http.LATE_S else ""

    def _unready(self) -> str:
        return "" if self._synced.is_set() else "it does not know yet all that there is"

    # -- signals

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

    # -- leading

    async def _lead(self) -> None:
        await self._synced.wait()
        self._lanes.start(self._store.caches())
        try:
            await asyncio.Event().wait()
        finally:
            await self._lanes.stop(STOP_S if self._elector.leads() else 0.0)

    # -- watching

    async def _watch_always(self) -> None:
        pause_s = AGAIN_S
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._watch_once()
            except (ExecutionError, Stale) as error:
                log.warning("watches: %s; again in %.0f s", error, pause_s)
            except Exception:
                # Whatever kopf raises: the watches start anew, what runs goes on.
                log.exception("watches broke; again in %.0f s", pause_s)
            if asyncio.get_running_loop().time() - began > AGAIN_S_MAX:
                pause_s = AGAIN_S
            await asyncio.sleep(pause_s)
            pause_s = min(AGAIN_S_MAX, pause_s * 2)

    async def _watch_once(self) -> None:
        """Watches the kinds that exist now; returns when others do."""
        served = await self._kube.served()
        if CACHE.name not in served:
            raise ExecutionError(f"the cluster does not know {CACHE.plural}.{CACHE.group} yet: its CRD is missing")
        self._lanes.observer.site = replace(self._lanes.observer.site, kinds=served & OPTIONAL)
        for kind in OPTIONAL - served:
            self._store.drop(kind)  # It went with its CRD, and nobody will say so.
        kinds = tuple(kind for kind in WATCHED if not kind.optional or kind.name in served)
        namespaces = self._settings.namespaces
        auditor = Auditor(self._kube, self._store, kinds, namespaces or None)

        def see(event_type: str | None, obj: dict[str, Any]) -> None:
            self._store.see(event_type, obj)
            if event_type is None:
                auditor.ask(obj["kind"])

        tasks = (
            asyncio.create_task(watch.watch(kinds, namespaces, see, self._take_signals), name="kopf"),
            asyncio.create_task(auditor.run(), name="audit"),
            asyncio.create_task(self._changed(served), name="discovery"),
            asyncio.create_task(self._mark_synced(auditor), name="synced"),
        )
        try:
            done, _ = await asyncio.wait(tasks[:3], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _end(*tasks)

    async def _mark_synced(self, auditor: Auditor) -> None:
        await auditor.ready.wait()
        self._synced.set()

    async def _changed(self, served: frozenset[str]) -> None:
        """Returns when the cluster serves other kinds."""
        while True:
            await asyncio.sleep(DISCOVER_S)
            with contextlib.suppress(ExecutionError):
                now = await self._kube.served()
                if now != served:
                    log.info("kinds changed: %s", ", ".join(sorted(now ^ served)))
                    return


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=STOP_S + CLOSE_S)


async def run(settings: Settings) -> None:
    """Raises Lost."""
    await Supervisor(await connect(), await connect(), await connect(), settings).run()


__all__ = ["Lost", "run"]
