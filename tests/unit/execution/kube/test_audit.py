"""The audit: ready only when the watches have told all; ghosts go; a dead watch is found. In virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object
from cachefleet_operator.execution.kube import audit as audit_module
from cachefleet_operator.execution.kube.audit import Auditor, Stale
from cachefleet_operator.execution.kube.client import ApiError
from cachefleet_operator.execution.kube.kinds import KINDS
from cachefleet_operator.execution.kube.store import Store
from fleettest.virtualtime import pass_time, run_virtual

SCOPE = (KINDS["Service"], KINDS["ConfigMap"])


def obj(kind: str, name: str, version: int) -> dict[str, Any]:
    labels = {names.LABEL_CACHE: "orders"}
    about = {"name": name, "namespace": "shop", "uid": name, "resourceVersion": str(version), "labels": labels}
    return {"kind": kind, "metadata": about}


class Api:
    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = 0
        self.listed: list[tuple[str, str | None]] = []
        self.away = False

    def has(self, kind: str, name: str) -> dict[str, Any]:
        self.version += 1
        self.objects[name] = obj(kind, name, self.version)
        return self.objects[name]

    async def list_metadata(self, kind: str, namespace: str | None) -> tuple[list[Object], str]:
        if self.away:
            raise ApiError("the API server does not answer")
        self.listed.append((kind, namespace))
        return [o for o in self.objects.values() if o["kind"] == kind], str(self.version)


def auditor(api: Api, store: Store, namespaces: tuple[str, ...] | None = None) -> tuple[Auditor, asyncio.Task[None]]:
    found = Auditor(api, store, SCOPE, namespaces)  # type: ignore[arg-type]
    return found, asyncio.create_task(found.run())


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_ready_when_the_watches_have_told_all() -> None:
    async def main() -> None:
        api, store = Api(), Store()
        seen = [api.has("Service", "a"), api.has("ConfigMap", "b"), api.has("ConfigMap", "c")]
        found, task = auditor(api, store)
        for one in seen:
            await pass_time(1)
            assert not found.ready.is_set()
            store.put(one)
        await pass_time(1)
        assert found.ready.is_set()
        await end(task)

    run_virtual(main())


def test_an_empty_cluster_is_known_at_once() -> None:
    async def main() -> None:
        found, task = auditor(Api(), Store())
        await pass_time(0.1)
        assert found.ready.is_set()
        await end(task)

    run_virtual(main())


def test_what_was_deleted_before_the_watch_listed_does_not_keep_us_waiting() -> None:
    async def main() -> None:
        api, store = Api(), Store()
        api.has("Service", "a")
        found, task = auditor(api, store)
        await pass_time(1)
        del api.objects["a"]
        await pass_time(audit_module.LISTING_S)
        assert found.ready.is_set()
        await end(task)

    run_virtual(main())


def test_a_watch_that_tells_nothing_is_stale() -> None:
    async def main() -> None:
        api = Api()
        api.has("Service", "a")
        found, task = auditor(api, Store())
        with pytest.raises(Stale, match="the watch of Service in all namespaces tells nothing"):
            await task
        assert not found.ready.is_set()

    run_virtual(main())


def test_ghosts_go_when_a_watch_began_anew() -> None:
    async def main() -> None:
        api, store = Api(), Store()
        store.put(api.has("Service", "a"))
        found, task = auditor(api, store)
        await pass_time(1)
        api.listed.clear()
        del api.objects["a"]
        api.version += 1
        for _ in range(20):
            found.ask("Service")
        await pass_time(2 * audit_module.SOON_S)
        assert not store.objects(("shop", "orders"))
        assert api.listed == [("Service", None)]
        await end(task)

    run_virtual(main())


def test_an_api_that_is_away_ends_the_start_but_not_what_runs() -> None:
    async def main() -> None:
        api, store = Api(), Store()
        api.away = True
        _, task = auditor(api, store)
        with pytest.raises(ApiError):
            await task
        api.away = False
        store.put(api.has("Service", "a"))
        found, task = auditor(api, store)
        await pass_time(1)
        api.away = True
        del api.objects["a"]
        found.ask("Service")
        await pass_time(60)
        assert not task.done()
        assert store.objects(("shop", "orders"))
        api.away = False
        await pass_time(2 * audit_module.SOON_S)
        assert not store.objects(("shop", "orders"))
        await end(task)

    run_virtual(main())


def test_now_and_then_all_is_looked_at_and_a_dead_watch_found() -> None:
    async def main() -> None:
        api, store = Api(), Store()
        _, task = auditor(api, store)
        await pass_time(1)
        api.listed.clear()
        await pass_time(2 * audit_module.EVERY_S)
        assert len(api.listed) == 2 * len(SCOPE)
        api.has("ConfigMap", "b")
        with pytest.raises(Stale, match="ConfigMap"):
            await asyncio.wait_for(task, 2 * audit_module.EVERY_S)

    run_virtual(main())


def test_each_namespace_is_listed_by_itself() -> None:
    async def main() -> None:
        api = Api()
        _, task = auditor(api, Store(), ("one", "two"))
        await pass_time(1)
        assert api.listed == [("Service", "one"), ("Service", "two"), ("ConfigMap", "one"), ("ConfigMap", "two")]
        await end(task)

    run_virtual(main())
