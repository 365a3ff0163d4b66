"""Both lanes over managed servers, in virtual time: a replica that hangs costs a failover nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import inf
from typing import Any

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.api.conditions import PRIMARY_HEALTHY
from cachefleet_operator.api.objects import Key, Object
from cachefleet_operator.execution.cycle import PATIENCE_S
from cachefleet_operator.execution.lanes import Lanes
from cachefleet_operator.execution.prober import Prober
from cachefleet_operator.planning.actions import FenceServer
from fleettest.fleetworld import STEP_S, FleetWorld
from fleettest.snapshots import SITE, cache
from fleettest.virtualtime import pass_time, run_virtual

KEY = ("shop", "orders")
AWAY_S = 0.3  # a process that ends, till its pod has another one


class Fleet:
    """A Cache of so many, looked after by both lanes while time passes for its servers, too."""

    def __init__(self, instances: int) -> None:
        self.world = FleetWorld(cache(instances=instances))
        self.world.rounds()
        self.told: list[str] = []
        self.slow: Any = self.world.ports[0]  # the objects, as the slow lane has them

    async def __aenter__(self) -> Fleet:
        prober = Prober(self.world.ports[1], every_s=1.0, alone_s=1.0, chance=lambda: 0.0)
        self.lanes = Lanes(
            self.slow, self.world.ports[0], self.world.ports[1], SITE,
            lambda _, type, word, note: self.told.append(word), prober=prober,
        )  # fmt: skip
        self.lanes.start([KEY])
        self._flow = asyncio.create_task(self._flows())
        await pass_time(5)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.lanes.stop(0.0)
        self._flow.cancel()
        await asyncio.gather(self._flow, return_exceptions=True)
        assert len(asyncio.all_tasks()) == 1, "who was left is waited for by nobody"

    async def _flows(self) -> None:
        while True:
            await pass_time(STEP_S)
            self.world.flow(STEP_S)

    def leads(self, above: int) -> bool:
        """Whether who is the primary by a record above this epoch reigns, and clients are led to it alone."""
        record = self.world.cache.status.topology
        assert record is not None
        pods = {key.name: obj for key, obj in self.world.objects.items() if key.kind == "Pod"}
        led = [name for name, pod in pods.items() if pod["metadata"]["labels"].get(names.LABEL_ROLE) == "primary"]
        reign = self.world.machine(record.primary.pod).machine.reign
        answers = record.primary.pod not in self.world.hung
        return record.epoch > above and answers and reign is not None and led == [record.primary.pod]

    async def failover_s(self) -> float:
        """The primary's process ends, and another one is there soon: how long there is no primary."""
        record = self.world.cache.status.topology
        assert record is not None
        before = record.primary.pod
        self.world.end(before)
        self.lanes.wake(KEY)
        await pass_time(AWAY_S)
        self.world.back(before)
        self.lanes.wake(KEY)
        return AWAY_S + await self.led_again_s(record.epoch)

    async def led_again_s(self, above: int) -> float:
        began = asyncio.get_running_loop().time()
        while not self.leads(above):
            await pass_time(0.01)
            self.lanes.wake(KEY)  # whenever that is, by whatever
            assert asyncio.get_running_loop().time() - began < 60, "there is no primary again"
        return asyncio.get_running_loop().time() - began


def failover_s(instances: int, lags: Mapping[str, float], since_s: float = 0.5) -> float:
    its = Fleet(instances)

    async def main() -> float:
        async with its:
            its.world.lags.update(lags)
            its.world.writes.clear()
            await pass_time(since_s)
            took_s = await its.failover_s()
            hung = [pod for pod, lag_s in lags.items() if lag_s == inf]
            assert all(its.world.writes.count(f"tell {pod}") == 1 for pod in hung), "asked while it is being asked"
            return took_s

    return run_virtual(main())


@pytest.mark.parametrize("since_s", [0.0, 0.5, 1.5])
@pytest.mark.parametrize(("instances", "hung"), [(3, "orders-2"), (3, "orders-1"), (5, "orders-4")])
def test_a_replica_that_hangs_holds_up_no_failover(instances: int, hung: str, since_s: float) -> None:
    assert failover_s(instances, {hung: inf}, since_s) <= failover_s(instances, {}, since_s) + 2 * PATIENCE_S


class Hanging:
    """Objects of an API that takes no Apply."""

    def __init__(self, objects: Any) -> None:
        self._objects = objects

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    async def apply(self, namespace: str, obj: Object) -> Object:
        return await asyncio.get_running_loop().create_future()


def test_the_fast_lane_alone_replaces_the_primary_of_a_cache_that_was_never_had_whole() -> None:
    its = Fleet(3)
    its.slow = Hanging(its.world.ports[0])
    for key in (Key("ConfigMap", "orders-accepted"), Key("Service", "orders-ro")):
        del its.world.objects[key]

    async def main() -> None:
        async with its:
            assert its.lanes.slow.waiting()
            await its.failover_s()
            assert Key("Service", "orders-ro") not in its.world.objects, "nobody knows that it was there"

    run_virtual(main())


def test_one_that_says_no_keeps_no_other_from_being_asked() -> None:
    world = FleetWorld(cache(instances=3))
    world.rounds()
    world.end("orders-0")
    world.flow(3.0)
    world.refuse = lambda action: (
        ("orders-1", "promise", "2", "no") if isinstance(action, FenceServer) and action.pod == "orders-1" else None
    )
    world.cycle()
    promised = [world.machine(pod).machine.state(world.now, 0)["promise"] for pod in ("orders-1", "orders-2")]
    assert promised == [1, 2]


def test_who_answers_late_counts() -> None:
    """Two must promise: the one that hangs is left, and the slow one is waited for, as long as it takes."""
    slow_s = 6 * PATIENCE_S
    took_s = failover_s(3, {"orders-0": slow_s, "orders-1": slow_s, "orders-2": inf})
    assert took_s < failover_s(3, {}) + 12 * slow_s


@pytest.mark.parametrize("after_s", [0.0, 0.5, 0.8])
def test_one_that_hangs_as_soon_as_it_is_the_primary_is_replaced(after_s: float) -> None:
    """What it said before its members had found it is old: by that it would go on without them, and for ever."""
    its = Fleet(3)

    async def main() -> None:
        async with its:
            its.world.apart = set(its.world.servers)
            await its.failover_s()
            await pass_time(after_s)
            record = its.world.cache.status.topology
            assert record is not None
            its.world.hang(record.primary.pod)
            its.world.apart.clear()
            assert await its.led_again_s(record.epoch) < 12

    run_virtual(main())


def test_a_server_that_can_do_nothing_holds_up_no_status() -> None:
    """A server says ERR however often it is asked: what is known is told meanwhile."""
    world = FleetWorld(cache(instances=3))
    world.rounds()
    world.end("orders-0")
    world.flow(3.0)
    world.refuse_family = lambda pod: "ERR epoch 2 is too far above the promise 1" if pod == "orders-1" else ""
    world.rounds(30)
    assert any("is too far above" in words for words in world.failures)
    healthy = next(c for c in world.cache.status.conditions if c.type == PRIMARY_HEALTHY)
    assert healthy.status == "False", "the status was written"
