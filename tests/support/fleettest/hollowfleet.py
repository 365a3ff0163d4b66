"""Managed servers of many Caches in one process: the server's own machines (managedworld.py) behind real connections,
for an operator that is a real process.

    with HollowFleet(caches=100, instances=3, file=text) as fleet:     text: the ConfigMap's, which each has read
        run_pods(kube, namespace, fleet.addresses())
        fleet.hang(7, fleet.primary(7))

A thread has them all: each listens at an address of its own, at the port of a pod; time passes for all in steps of
STEP_S, and the stream of a primary reaches its replicas in them. `hang`: it answers nobody any more, hears nobody and
says nothing; its connections stay, as those of a process that is stopped, or of a node without a cable.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final

import hiredis
from api import Api

from cachefleet_operator.api import names, parameters
from cachefleet_operator.execution.ports import Reply
from cachefleet_server.config.parser import text_lines
from fleettest.fleetworld import Peer, Peers
from fleettest.kube import Kube
from fleettest.world import Build, reply

STEP_S: Final = 0.2
START_S: Final = 60.0
NETWORK: Final = 90  # 127.90.0.0 and the next hundred: one for each process that has such a fleet


class Server(Peer):
    """One of them, and what it says when it is asked what anybody is asked."""

    addresses: Mapping[str, int]  # of the servers of its Cache
    hung = False

    def ordinal(self, host: str) -> int:
        return self.addresses[host]

    def said(self, build: Build, file: Mapping[str, str]) -> dict[str, Any]:
        role = "master" if self.machine.reign is not None else "slave"
        return {"build": build, "parameters": file, "password": b"", "run": self.machine.run, "role": role}


class HollowFleet:
    def __init__(self, caches: int, instances: int, file: str) -> None:
        defaults = {p.name: p.default for p in parameters.PARAMETERS}
        self._build = Build("0.1.0", defaults)
        self._file = {**defaults, **{line.words[0]: line.words[1] for line in text_lines(file, names.CONFIG_FILE)}}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="hollow fleet")
        self._listening, self._over = threading.Event(), asyncio.Event()
        self._caches = [self._cache(number, instances) for number in range(caches)]

    def __enter__(self) -> HollowFleet:
        self._thread.start()
        assert self._listening.wait(START_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    # -- what a test sees and does

    def addresses(self) -> dict[str, str]:
        """By pod, of the Caches c0, c1, ..."""
        found = enumerate(self._caches)
        return {f"c{n}-{ordinal}": host for n, cache in found for host, ordinal in cache[0].addresses.items()}

    def primary(self, cache: int) -> int | None:
        """The ordinal of who reigns, and is there."""
        reigning = [s for s in self._caches[cache] if s.machine.reign is not None and not s.hung]
        return max(reigning, key=lambda s: s.machine.epoch).name if reigning else None

    def hang(self, cache: int, ordinal: int) -> None:
        self._caches[cache][ordinal].hung = True

    # -- the thread

    def _cache(self, number: int, instances: int) -> list[Server]:
        network = NETWORK + os.getpid() % 100
        addresses = {f"127.{network}.{number // 64}.{number % 64 * 4 + n + 1}": n for n in range(instances)}
        peers = Peers(time.monotonic, number)
        made = [Server(peers, n) for n in range(instances)]  # type: ignore[arg-type]
        peers.servers.extend(made)
        for server in made:
            server.addresses = addresses
            server.start()
        return made

    def _run(self) -> None:
        self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self) -> None:
        listeners = [
            await asyncio.start_server(self._talks_for(server), host, names.PORT)
            for cache in self._caches for server, host in zip(cache, cache[0].addresses, strict=True)
        ]  # fmt: skip
        self._listening.set()
        flow = asyncio.create_task(self._flow())
        await self._over.wait()
        for listener in listeners:
            listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(flow, *others, return_exceptions=True)

    async def _flow(self) -> None:
        """Caches one after the other within a step, so that nobody waits long for an answer."""
        order = random.Random(1).sample(self._caches, len(self._caches))
        while True:
            for cache in order:
                for server in cache:
                    if not server.hung:
                        server.step(apart=server.wanted is not None and cache[server.wanted].hung)
                await asyncio.sleep(STEP_S / len(order))

    def _talks_for(self, server: Server) -> Any:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            commands = hiredis.Reader()
            try:
                while data := await reader.read(1 << 16):
                    commands.feed(data)
                    while (command := commands.gets()) is not False:
                        if server.hung:
                            await self._over.wait()
                        writer.write(_encode(self._answer(server, tuple(command))))
            except (ConnectionError, asyncio.CancelledError):
                pass
            finally:
                writer.close()

        return talk

    def _answer(self, server: Server, command: tuple[bytes, ...]) -> Reply:
        if command[0] == b"CACHEFLEET":
            return server.answer(command)
        return reply(server.said(self._build, self._file), command)


def _encode(made: Reply) -> bytes:
    if isinstance(made, hiredis.ReplyError):
        return b"-%s\r\n" % str(made).encode()
    if isinstance(made, list):
        return b"*%d\r\n%s" % (len(made), b"".join(map(_encode, made)))
    assert isinstance(made, bytes), made
    return b"$%d\r\n%s\r\n" % (len(made), made)


def run_pods(kube: Kube, namespace: str, addresses: Mapping[str, str]) -> None:
    """Says of these pods that they run there and are ready."""
    condition = [{"type": kind, "status": "True"} for kind in ("PodScheduled", "Ready")]
    container = {"name": names.CONTAINER, "ready": True, "restartCount": 0, "image": "", "imageID": "",
                 "state": {"running": {}}}  # fmt: skip
    api, root = Api(kube.kubeconfig, agent="fleet"), f"/api/v1/namespaces/{namespace}/pods"

    def run(pod: str) -> None:
        ip = addresses[pod]
        status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": condition,
                  "containerStatuses": [container]}  # fmt: skip
        api.patch(f"{root}/{pod}/status", {"status": status})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, addresses))
