"""One small HTTP port: /healthz, /readyz and /metrics.

    /healthz    alive: this loop turns, and no reconcile has been due for LATE_S
    /readyz     it knows all that there is (leading or not)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

LATE_S = 300.0
CONNECTIONS_MAX = 64

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


class Server:
    """Listens from `open` to `cleanup`, on `addresses`.

    aiohttp waits without end for the first request of a connection, and for as many as come: silent ones would take
    the operator's memory, and its probes would fail. So a connection that comes when there are CONNECTIONS_MAX closes
    the oldest; a probe's lives for milliseconds.
    """

    def __init__(self, app: web.Application) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self._listener: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> None:
        await self._runner.setup()
        self._listener = await asyncio.get_running_loop().create_server(self._accept, host, port)

    def _accept(self) -> asyncio.Protocol:
        server = self._runner.server
        assert server is not None
        connections = server.connections
        for oldest in connections[: max(0, len(connections) + 1 - CONNECTIONS_MAX)]:
            oldest.force_close()
        return server()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [sock.getsockname()[:2] for sock in self._listener.sockets] if self._listener is not None else []

    async def cleanup(self) -> None:
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()


async def serve(app: web.Application, host: str, port: int) -> Server:
    """Listens until `cleanup` of what it returns."""
    server = Server(app)
    await server.open(host, port)
    return server
