"""The world (world.py) with managed servers: the server's own machines (managedworld.py) behind its simulated port.

`flow` lets time pass and the streams run; `end` kills a server's process and has its kubelet say so, `back` starts it
again; `hang` stops one for ever. Nothing here is random.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import hiredis

from cachefleet_operator.api.objects import Key
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.execution.ports import Command, Reply
from cachefleet_server.errors import CommandError
from cachefleet_server.managed import actions as a
from cachefleet_server.managed import events as e
from cachefleet_server.managed import words
from cachefleet_server.managed.machine import Machine
from cachefleet_server.managed.state import Stored
from fleettest import managedworld
from fleettest.world import World

STEP_S = 0.1
PARSES: dict[bytes, words.Parse] = {
    b"RECORD": words.record, b"FENCE": words.fence, b"PREPARE": words.prepare, b"PAUSE": words.pause,
    b"RESUME": words.resume,
}  # fmt: skip


class Peers:
    """What a managedworld.Server knows of its world: the servers of one Cache, and the time."""

    replicated = True

    def __init__(self, now: Callable[[], float], seed: int = 1) -> None:
        self._now, self.rng = now, random.Random(seed)
        self.servers: list[Peer] = []
        self.acknowledged: dict[int, int] = {}

    @property
    def now(self) -> float:
        return self._now()

    def make(self, stored: Stored | None, run: str, draw: Callable[[], str]) -> Machine:
        return Machine(stored, run=run.replace(" ", "-"), draw=draw)

    def draw(self) -> str:
        return f"{self.rng.getrandbits(160):040x}"


class Peer(managedworld.Server):
    """One of them, which answers the family as a server does."""

    heard_at: float | None = None

    def _perform(self, action: a.Action) -> None:
        if isinstance(action, a.Follow):
            self.wanted, self.link = self.ordinal(action.host), None
        else:
            super()._perform(action)

    def ordinal(self, host: str) -> int:
        return int(host.rsplit("-", 1)[-1])

    def step(self, *, apart: bool) -> None:
        """A moment passes, in which the stream arrives and is confirmed."""
        self.tell(e.Passed())
        if apart:
            self.link = None
        elif self.link is None:
            self.connect()
        self.apply()
        if self.link is not None:
            self.heard_at = self.world.now
            self.link.slow_until = 0.0
            for _ in self.link.acks[:]:
                self.deliver()

    def answer(self, command: Command) -> Reply:
        """To one of the family."""
        if command[1] == b"STATE":
            heard = self.heard_at if self.machine.primary else None
            beat = "" if heard is None else 100 + int((self.world.now - heard) * 1000)
            said = {"keys": self.end, "link": "up" if self.link else "down", "loading": 0, "beat-age-ms": beat}
            return _flat({**self.machine.state(self.world.now, self.end), **said})
        try:
            made = words.reply(self.tell(words.event(PARSES[command[1]], list(command), self.end)))
        except CommandError as refused:
            return hiredis.ReplyError(str(refused))
        return _flat(made) if isinstance(made, dict) else str(made).encode()


class FleetWorld(World):
    def __init__(self, cache: Cache) -> None:
        super().__init__(cache)
        self.fleet = Peers(lambda: self.now)
        self.apart: set[str] = set()  # pods that do not reach their primary
        self.hung: set[str] = set()
        self.refuse_family: Callable[[str], str] = lambda pod: ""  # a server's error to what it is told

    def controllers(self) -> None:
        super().controllers()
        for name, server in sorted(self.servers.items()):
            ordinal = int(name.rsplit("-", 1)[-1])
            if ordinal == len(self.fleet.servers):
                self.fleet.servers.append(Peer(self.fleet, ordinal))  # type: ignore[arg-type]
            managed = self.fleet.servers[ordinal]
            if "machine" not in server:
                managed.start()
                server["machine"] = True
                server["run"] = managed.machine.run
                server["parameters"] = {**server["parameters"], "managed": "yes"}

    def machine(self, pod: str) -> Peer:
        return self.fleet.servers[int(pod.rsplit("-", 1)[-1])]

    def flow(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += STEP_S
            for name, server in ((f"orders-{s.name}", s) for s in self.fleet.servers):
                if name in self.ended | self.hung:
                    continue
                server.step(apart=name in self.apart or f"orders-{server.wanted}" in self.hung)

    def end(self, pod: str) -> None:
        self.ended.add(pod)
        managed = self.machine(pod)
        managed.machine.handle(e.StoreFailed(), self.now)  # it says nothing more, and reigns no more
        managed.wanted = managed.link = None
        state = {"terminated": {"exitCode": 137}}
        self._container(pod).update(ready=False, state=state)

    def hang(self, pod: str) -> None:
        self.hung.add(pod)
        self.lags[pod] = math.inf

    def back(self, pod: str) -> None:
        self.ended.discard(pod)
        del self.servers[pod]["machine"]
        self._container(pod).update(ready=True, state={"running": {}})
        self.controllers()

    def rounds(self, count: int = 12, between_s: float = 0.3) -> None:
        """Cycles of the operator while time passes."""
        for _ in range(count):
            self.cycle()
            self.now -= self.history[-1].wake_after_s
            self.flow(between_s)

    def _container(self, pod: str) -> dict[str, Any]:
        found: dict[str, Any] = self.objects[Key("Pod", pod)]["status"]["containerStatuses"][0]
        return found

    def reply(self, pod: str, command: Command) -> Reply:
        if command[0] != b"CACHEFLEET":
            machine = self.machine(pod).machine
            self.servers[pod]["role"] = "master" if machine.reign is not None else "slave"
            return super().reply(pod, command)
        if command[1] != b"STATE" and (refusal := self.refuse_family(pod)):
            return hiredis.ReplyError(refusal)
        made = self.machine(pod).answer(command)
        if command[1] == b"PAUSE":  # who paused it looks again soon
            self.flow(STEP_S)
        return made


def _flat(fields: dict[str, Any]) -> Reply:
    return [str(word).encode() for pair in fields.items() for word in pair]
