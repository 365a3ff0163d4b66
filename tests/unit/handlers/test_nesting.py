"""A Cache that is nested as deep as the API server takes it (10,000) ends no watch: others are looked after."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

import kopf
import pytest
from aiohttp import web

from cachefleet_operator import __main__ as operator
from cachefleet_operator.api.parse import parse
from cachefleet_operator.api.v1alpha1 import API_VERSION, GROUP, KIND, PLURAL, VERSION
from cachefleet_operator.api.validation import DEPTH_MAX, problems
from cachefleet_operator.execution.kube.kinds import CACHE
from cachefleet_operator.handlers import watch
from cachefleet_operator.settings import SettingsError

pytestmark = pytest.mark.asyncio

DEEP = 9_900
VERBS = ["list", "watch"]
RESOURCE = {"name": PLURAL, "singularName": "cache", "kind": KIND, "namespaced": True, "verbs": VERBS}
NAMESPACES = {**RESOURCE, "name": "namespaces", "singularName": "namespace", "kind": "Namespace", "namespaced": False}


@pytest.fixture(autouse=True)
def _as_the_operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def stop(environment: Any) -> None:
        raise SettingsError("enough")

    monkeypatch.setattr(operator, "read", stop)
    before = sys.getrecursionlimit()
    assert operator.main([]) == 2
    yield
    sys.setrecursionlimit(before)


def text(name: str, depth: int) -> str:
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": "7"}
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": {"podTemplate": {"spec": "deep"}}}
    return json.dumps(body).replace('"deep"', '{"a":' * depth + "1" + "}" * depth)


async def test_it_is_read_and_refused() -> None:
    (said,) = problems(parse(json.loads(text("orders", DEEP))))
    assert said.endswith(f"is nested more than {DEPTH_MAX} deep")


class Api:
    """Serves Caches: a deep one by the listing, then a deep one and another as events."""

    def __init__(self) -> None:
        group = {"name": GROUP, "versions": [{"version": VERSION}], "preferredVersion": {"version": VERSION}}
        self.bodies: dict[str, Any] = {
            "/api": {"versions": ["v1"]},
            "/api/v1": {"groupVersion": "v1", "resources": [NAMESPACES]},
            "/apis": {"groups": [group]},
            f"/apis/{GROUP}/{VERSION}": {"groupVersion": API_VERSION, "resources": [RESOURCE]},
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path in self.bodies:
            return web.json_response(self.bodies[request.path])
        if "watch" not in request.query:
            listing = {"apiVersion": API_VERSION, "kind": f"{KIND}List", "metadata": {"resourceVersion": "7"}}
            body = json.dumps({**listing, "items": ["deep"]}).replace('"deep"', text("listed", DEEP))
            return web.Response(text=body, content_type="application/json")
        stream = web.StreamResponse()
        await stream.prepare(request)
        for name, depth in (("nested", DEEP), ("after", 1)):
            await stream.write(f'{{"type": "ADDED", "object": {text(name, depth)}}}\n'.encode())
        await asyncio.Event().wait()
        return stream

    async def start(self) -> tuple[web.AppRunner, str]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        return runner, f"http://{host}:{port}"


async def test_the_watch_of_caches_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()
    all_seen = asyncio.Event()

    def see(kind: str | None, obj: dict[str, Any]) -> None:
        seen.add(obj["metadata"]["name"])
        if seen == {"listed", "nested", "after"}:
            all_seen.set()

    runner, url = await Api().start()
    monkeypatch.setattr(watch, "login", lambda **known: kopf.ConnectionInfo(server=url))
    watching = asyncio.create_task(watch.watch((CACHE,), (), see, lambda: None))
    waiting = asyncio.create_task(all_seen.wait())
    try:
        await asyncio.wait((watching, waiting), timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert all_seen.is_set(), f"only {sorted(seen)}"
    finally:
        for task in (watching, waiting):
            task.cancel()
        await asyncio.gather(watching, waiting, return_exceptions=True)
        await runner.cleanup()
