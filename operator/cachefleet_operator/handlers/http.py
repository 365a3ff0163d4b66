"""One small HTTP port: /healthz, /readyz and /metrics.

    /healthz    alive: this loop turns, and no reconcile has been due for LATE_S
    /readyz     it knows all that there is (leading or not)
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

LATE_S = 300.0

Trouble = Callable[[], str]  # what is wrong; empty = nothing


def application(registry: CollectorRegistry, alive: Trouble, ready: Trouble) -> web.Application:
    async def healthz(request: web.Request) -> web.Response:
        return _answer(alive())

    async def readyz(request: web.Request) -> web.Response:
        return _answer(ready())

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


def _answer(trouble: str) -> web.Response:
    return web.Response(text=f"{trouble or 'ok'}\n", status=503 if trouble else 200)


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Listens until `cleanup` of what it returns."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
