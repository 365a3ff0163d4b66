"""An operator in the simulation: the product's own prober, lanes, cycles, interpreter and witness, in virtual time.

    theirs   Prober, Reconciler, Cycle, Interpreter, Ledger, Witness, Observer's way with servers, failover and rollout
    ours     the wiring of lanes.py; the ports: a server is asked and told over the simulated network, the API stores
             records and deletes pods. And both plans, `slow` and `fast`: what they have of planning.plan for a primary,
             since the rest of it (objects, Secrets, the status) costs ten times as much and decides nothing here

What an operator knows is as old as the network makes it, and what it says may arrive when nobody waits for the answer
any more. Nothing but the compare-and-swap of the record keeps two of them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from simclock import Place
from simloop import Loop

from cachefleet_operator.api.objects import Key, Object, Site
from cachefleet_operator.api.v1alpha1 import Cache, CacheKey, CacheStatus
from cachefleet_operator.execution import admin
from cachefleet_operator.execution.cycle import Cycle, Planner, Result
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.interpreter import Interpreter
from cachefleet_operator.execution.lanes import FAST, Glances
from cachefleet_operator.execution.ledger import Ledger
from cachefleet_operator.execution.observer import Observer
from cachefleet_operator.execution.ports import Command, Endpoint, Reply
from cachefleet_operator.execution.prober import Prober
from cachefleet_operator.execution.reconciler import EVERYBODY, Reconciler
from cachefleet_operator.execution.wire import TIMEOUT_S, NotListening
from cachefleet_operator.execution.witness import Witnesses
from cachefleet_operator.planning import managed, plan, rollout
from cachefleet_operator.planning.acting import Acting
from cachefleet_operator.planning.actions import Action
from cachefleet_operator.planning.failover.moves import Move
from cachefleet_operator.planning.plan import CONVERGING_S, STEADY_S, Plan
from cachefleet_operator.planning.pods import is_ready
from cachefleet_operator.planning.snapshot import Server, Snapshot
from cachefleet_operator.planning.step import Step

if TYPE_CHECKING:
    from simfleet import Fleet

POLL_S, API_S = 1.0, 2.0
PORT = 6379
SITE = Site(default_image="cachefleet-server", default_version="1.0.0", version="1.0.0")
MANAGED = {"managed": "yes"}


# -- the plans of both lanes, as far as they are about a primary


def slow(snapshot: Snapshot, now: float) -> Plan:
    return planned(snapshot, *plan.failover(snapshot), restarts=True)


def fast(snapshot: Snapshot, now: float) -> Plan:
    if snapshot.cache.status.topology is None:  # the first record is the other's
        return planned(snapshot, None, None, restarts=False)
    return planned(snapshot, *plan.failover(snapshot), restarts=False)


def planned(snapshot: Snapshot, made: Move | None, record: Any, *, restarts: bool) -> Plan:
    status, told = snapshot.cache.status, managed.step(snapshot, record, made)
    decided = record if record is not status.topology else None
    steps: tuple[Step, ...] = (told,)
    if restarts and not told.actions and decided is None:
        steps = told, rollout.step(snapshot, made)
    actions = tuple(action for step in steps for action in step.actions)
    going = bool(actions) or decided is not None or any(step.waiting or step.progress for step in steps)
    wake_after_s = min(CONVERGING_S if going and restarts else STEADY_S, plan._again_s(made))
    new = status.model_copy(update={"topology": record}) if decided is not None else status
    return Plan(actions, new, wake_after_s, lambda words, failed: new, decided)


# -- the product over simulated ports


class Asks(Prober):
    def __init__(self, operator: Operator, chance: Callable[[], float]) -> None:
        super().__init__(operator, clock=operator.loop.time, chance=chance)  # type: ignore[arg-type]
        self._operator = operator

    async def _glance(self, probe: Any, now: float) -> Server | None:
        return None

    async def _inspect(self, probe: Any, now: float) -> Server:
        told = probe.told
        server = await self._operator.asked(probe.server.pod)
        probe.inspected = told
        return server


class Sees(Observer):
    def __init__(self, operator: Operator, prober: Prober, witnesses: Witnesses) -> None:
        ports: Any = operator
        super().__init__(ports, ports, SITE, prober, clock=operator.loop.time, witnesses=witnesses)
        self._operator = operator

    def glance(self, cache: Cache) -> Snapshot:
        objects = self._operator.objects
        self._watch(cache, self._asked(cache, objects))
        return self._seen(cache, objects, self._facts(cache.key))

    async def observe(self, cache: Cache) -> Snapshot:
        objects = self._operator.objects
        return self._seen(cache, objects, await self._servers_of(cache, self._asked(cache, objects)))

    def _seen(self, cache: Cache, objects: Mapping[Key, Object], servers: Mapping[str, Server]) -> Snapshot:
        evidence = self._evidence(cache, objects, servers)
        acts = Acting("asked", cache, cache, (), is_lost=False)
        return Snapshot(cache, acts, SITE, objects, servers, evidence=evidence)

    def _asked(self, cache: Cache, objects: Mapping[Key, Object]) -> list[tuple[Object, Endpoint]]:
        return [(pod, _endpoint(key.name)) for key, pod in objects.items() if key.kind == "Pod"]

    async def _inspect(self, pod: Object, endpoint: Endpoint) -> Server:
        server = await self._ask(endpoint.host)
        if server.error and is_ready(pod):
            server = await self._ask(endpoint.host)
        return server if server.error else replace(server, seen_at=self._clock())

    async def _ask(self, pod: str) -> Server:
        try:
            return await self._operator.asked(pod)
        except ExecutionError as problem:
            return admin.silent(pod, problem)


class Does(Cycle):
    """A Cycle whose Cache is there parsed, and whose status is the record alone."""

    def __init__(
        self, operator: Operator, observer: Any, planner: Planner, ledger: Ledger, orders: Interpreter
    ) -> None:
        ports: Any = operator
        super().__init__(
            ports, observer, orders, lambda *_: None, planner=self._note, clock=operator.loop.time, ledger=ledger
        )
        self._operator, self._planner = operator, planner
        self._found: Snapshot | None = None

    def _note(self, snapshot: Snapshot, now: float) -> Plan:
        self._found = snapshot
        made = self._planner(snapshot, now)
        self._operator.fleet.decided += 1
        self._operator.last = [action.reason for action in made.actions] or made.record
        return made

    def cache(self, key: CacheKey) -> Cache | None:
        return self._operator.cache

    async def _write_status(self, cache: Cache, status: CacheStatus) -> Cache:
        record = status.topology
        if record is None or record == cache.status.topology:
            return cache
        server = self._found.servers.get(record.primary.pod) if self._found is not None else None
        seen = server is not None and not server.error and not server.failures
        operator = self._operator
        stored, found = await operator.api_call(
            lambda: operator.fleet.store(cache.metadata.resource_version, record, seen=seen)
        )
        operator.watched(*found)
        if not stored:
            raise ExecutionError("the Cache is another one now", conflict=True)
        written: Cache = found[1]
        return written


class Orders(Interpreter):
    async def _endpoint(self, cache: Cache, name: str) -> Endpoint:
        return _endpoint(name)


def _endpoint(pod: str) -> Endpoint:
    return Endpoint(pod, PORT, (b"",))


class Operator(Place):
    """The process, and the ports that it has (ports.py)."""

    def __init__(self, name: str, fleet: Fleet) -> None:
        super().__init__(name, fleet.clock.rng)
        self.fleet = fleet
        self.start()

    # -- life

    def start(self) -> None:
        self.gone = self.hung = False
        self.waiting = []
        self.loop = Loop(self, self.fleet.clock)
        self.cache: Cache | None = None
        self.objects: Mapping[Key, Object] = {}
        self.version = -1
        self.last: Any = None  # what it wanted
        self.lanes: tuple[Reconciler, ...] = ()
        self.loop.call_soon(self._begin)

    def _begin(self) -> None:
        """As lanes.py does it."""
        ports: Any = self
        ledger, seen, chance = Ledger(), Witnesses(self.loop.time), self.fleet.rng.random
        prober = Asks(self, chance)
        observer = Sees(self, prober, seen)
        orders = [Orders(ports, ports, told=prober.told, witnesses=seen) for _ in range(2)]
        cycles = (
            Does(self, observer, slow, ledger, orders[0]),
            Does(self, Glances(observer), fast, ledger, orders[1]),
        )
        self.lanes = (
            Reconciler(cycles[1], concurrency=EVERYBODY, pace=FAST, meter=self, chance=chance),
            Reconciler(cycles[0], meter=self, chance=chance),
        )
        prober.listen(lambda key: self.wake())
        for lane in self.lanes:
            lane.start(())
        self._poll()

    def stop(self) -> None:
        self.gone = True
        self.loop.kill()

    # -- the meter

    def reconciled(self, result: Result, duration_s: float) -> None:
        if result == "bug":
            self.fleet.bugs.append(f"{self.name}: a cycle broke")

    def acted(self, action: Action) -> None:
        pass

    # -- what it knows

    def _poll(self) -> None:
        """What the watch has lost."""
        clock = self.fleet.clock
        clock.call(self, self.fleet.api, self.fleet.listed, lambda found: self.watched(*found), _nothing, API_S)
        self.loop.call_later(POLL_S, self._poll)

    def watched(self, version: int, cache: Cache, objects: Mapping[Key, Object]) -> None:
        if version <= self.version:
            return
        self.version, self.cache, self.objects = version, cache, objects
        self.loop.call_soon(self.wake)

    def wake(self) -> None:
        if self.cache is not None:
            for lane in self.lanes:
                lane.wake(self.cache.key)

    # -- ports: the API

    async def api_call(self, what: Callable[[], Any]) -> Any:
        return await self._called(self.fleet.api, what, API_S)

    async def delete(self, namespace: str, key: Key, uid: str) -> None:
        await self.api_call(lambda: self.fleet.delete(key.name, uid))

    def known(self, key: CacheKey) -> Mapping[Key, Object]:
        return self.objects

    # -- ports: servers

    def address(self, pod: Object) -> tuple[str, int]:
        return pod["metadata"]["name"], PORT

    async def asked(self, pod: str) -> Server:
        server = self.fleet.servers[pod]
        run, state = await self._called(server, lambda: (server.run, server.state()), TIMEOUT_S)
        return Server(pod, run_id=run, parameters=MANAGED, managed=state)

    async def tell(self, endpoint: Endpoint, run_id: str, commands: Sequence[Command]) -> list[Reply]:
        server = self.fleet.servers[endpoint.host]

        def at_server() -> list[Reply] | None:
            return [server.command(command) for command in commands] if server.run == run_id else None

        replies: list[Reply] | None = await self._called(server, at_server, TIMEOUT_S)
        if replies is None:
            raise ExecutionError("another process than that one", conflict=True)
        return replies

    async def _called(self, to: Place, what: Callable[[], Any], timeout_s: float) -> Any:
        future = self.loop.create_future()

        def answered(found: Any) -> None:
            if not future.done():
                future.set_result(found)

        def failed(refused: bool) -> None:
            if not future.done():
                error = NotListening("nothing listens") if refused else ExecutionError("no answer")
                future.set_exception(error)

        self.fleet.clock.call(self, to, what, answered, failed, timeout_s)
        return await future


def _nothing(refused: bool) -> None:
    pass
