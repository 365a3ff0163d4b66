"""Pods of the local kubelet for tests: a store, a kubelet on it, and a server that is a small script.

    @in_world
    async def test_x(world: World) -> None:
        world.start()
        await world.ready()

The server answers /readyz as its folder says, and is told by its environment to misbehave.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Object
from cachefleet_operator.execution.local.kubelet import Kubelet
from cachefleet_operator.execution.local.store import Store
from cachefleet_operator.execution.local.tcp_ports import PortBook, Ports
from cachefleet_operator.planning.pods import is_ready
from fleettest.instance import free_port

NS, CACHE, POD = "default", "orders", "orders-0"
DEADLINE_S = 20.0

# Ready unless the file `unready` exists; `stubborn` in the environment makes it ignore SIGTERM, `broken` end at once.
SERVER = textwrap.dedent("""
    import os, signal, socket, sys
    if "broken" in os.environ:
        sys.exit("Fatal: no such parameter")
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in os.environ else lambda *_: os._exit(0))
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    while True:
        peer, _ = listener.accept()
        peer.recv(4096)
        unready = os.path.exists("unready")
        peer.sendall(b"HTTP/1.0 503 X\\r\\n\\r\\nbusy\\n" if unready else b"HTTP/1.0 200 OK\\r\\n\\r\\nok\\n")
        peer.close()
""")


def statefulset(*, replicas: int = 1, grace_s: int = 10, env: tuple[str, ...] = (), label: str = "") -> dict[str, Any]:
    container = {
        "name": "server", "image": "i:1", "command": [sys.executable, "-c", SERVER],
        "args": ["$(SERVER_METRICS_PORT)", "$(SERVER_DATA_DIR)"],
        "env": [{"name": name, "value": "1"} for name in env],
    }  # fmt: skip
    template = {
        "metadata": {"labels": {**names.labels(CACHE), **({"label": label} if label else {})}},
        "spec": {
            "containers": [container], "terminationGracePeriodSeconds": grace_s,
            "volumes": [{"name": "config", "configMap": {"name": "orders-config"}}],
        },
    }  # fmt: skip
    claim = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    return {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": CACHE, "labels": names.labels(CACHE)},
        "spec": {"replicas": replicas, "selector": {"matchLabels": names.selector_labels(CACHE)},
                 "template": template, "volumeClaimTemplates": [claim]},
    }  # fmt: skip


def configmap(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": {"name": "orders-config", "labels": names.labels(CACHE)}}  # fmt: skip


class World:
    """A store, a kubelet on it, and short questions."""

    def __init__(self, data: Path) -> None:
        self.heard: list[str] = []
        self.store = Store(data, time.time)
        self.kubelet = Kubelet(
            self.store, PortBook(data, Ports(free_port(), free_port())), lambda *event: self.heard.append(event[-1]),
            time.time,
        )  # fmt: skip
        self.home = data / NS / CACHE

    def pod(self, name: str = POD) -> Object:
        return self.store.get(NS, "Pod", name) or {"metadata": {}, "status": {}}

    def pid(self) -> int:
        states = self.pod()["status"].get("containerStatuses", [{}])
        return int(states[0].get("containerID", "process://0").removeprefix("process://"))

    def statefulset(self, field: str) -> Any:
        """A field of the StatefulSet's status."""
        return (self.store.get(NS, "StatefulSet", CACHE) or {}).get("status", {}).get(field)

    async def ready(self) -> Object:
        await eventually(lambda: is_ready(self.pod()))
        return self.pod()

    def start(self, **how: Any) -> None:
        self.store.apply(NS, configmap(**{"cachefleet.conf": "a\n"}))
        self.store.apply(NS, statefulset(**how))


async def eventually(condition: Callable[[], Any]) -> None:
    """As fleettest.wait, in the event loop."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


def in_world(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs a test with a World of its own as `world`, and ends its processes. Other arguments are pytest's."""

    @wraps(test)
    def run(tmp_path: Path, **others: Any) -> None:
        async def body() -> None:
            async with world(tmp_path / "data") as made:
                await test(made, **others)

        asyncio.run(body())

    del vars(run)["__wrapped__"]  # pytest would see the arguments of `test`
    first, *others = inspect.signature(test).parameters.values()
    assert first.name == "world"
    tmp_path = inspect.Parameter("tmp_path", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    vars(run)["__signature__"] = inspect.Signature([tmp_path, *others])
    return run


@contextlib.asynccontextmanager
async def world(data: Path) -> AsyncIterator[World]:
    made = World(data)
    try:
        yield made
    finally:
        await made.kubelet.stop()
