"""The observer with a prober, over the simulated cluster and in virtual time: whom it asks, and whom it need not."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest

from cachefleet_operator.api.objects import Key
from cachefleet_operator.api.v1alpha1 import CacheKey
from cachefleet_operator.execution.cycle import Cycle
from cachefleet_operator.execution.interpreter import Interpreter
from cachefleet_operator.execution.observer import Observer
from cachefleet_operator.execution.prober import Prober, Target
from cachefleet_operator.planning.snapshot import Server
from fleettest.snapshots import SITE, cache
from fleettest.virtualtime import pass_time, run_virtual
from fleettest.world import World, settled

POD = "orders-0"


class Probed:
    """A settled world whose Cache is looked after by cycles with a prober."""

    def __init__(self, world: World) -> None:
        self.world, self.began = world, world.now
        self.prober = Prober(world.ports[1], every_s=1.0, alone_s=1.0, clock=self.clock)
        self.observer = Observer(*world.ports, SITE, self.prober, self.clock)
        interpreter = Interpreter(*world.ports, told=self.prober.told)
        self.cycle = Cycle(world.ports[0], self.observer, interpreter, lambda *event: None, clock=self.clock)

    def clock(self) -> float:
        return self.began + asyncio.get_running_loop().time()

    async def run(self) -> None:
        await self.cycle.run(self.world.cache)
        self.world.controllers()

    async def server(self) -> Server:
        return (await self.observer.observe(self.world.cache)).servers[POD]


def probed(story: Callable[[Probed], Coroutine[Any, Any, None]], **wanted: Any) -> None:
    async def main() -> None:
        its = Probed(world)
        await its.run()
        await pass_time(2)
        world.questions.clear()
        world.writes.clear()
        try:
            await story(its)
        finally:
            await its.prober.stop()

    world = settled(**wanted)
    run_virtual(main())


def test_what_the_prober_knows_is_not_asked_and_nothing_is_written() -> None:
    async def story(its: Probed) -> None:
        for _ in range(60):
            await its.run()
            await pass_time(1)
            assert its.clock() - (await its.server()).seen_at < 2
        assert its.world.questions["ask"] == 0
        assert its.world.questions["call"] <= 3
        assert 55 <= its.world.questions["glance"] <= 70
        assert not its.world.writes

    probed(story)


def test_a_server_that_hangs_holds_nobody_up() -> None:
    async def story(its: Probed) -> None:
        its.world.hangs = True
        for _ in range(100):
            began = its.clock()
            found = await its.server()
            assert its.clock() == began
            await pass_time(0.1)
        assert found.error
        assert found.failures >= 3
        assert 9 < its.clock() - found.seen_at < 12
        its.world.hangs = False
        await pass_time(1.1)
        assert not (await its.server()).error

    probed(story)


def test_a_server_that_was_told_something_is_asked_and_told_once() -> None:
    async def story(its: Probed) -> None:
        its.world.edit(cache(config={"maxclients": "600"}))
        for _ in range(10):
            await its.run()
        assert its.world.servers[POD]["parameters"]["maxclients"] == "600"
        assert its.world.writes.count(f"tell {POD}") == 1

    probed(story)


def test_a_change_of_the_password_goes_through() -> None:
    async def story(its: Probed) -> None:
        auth = its.world.objects[Key("Secret", "orders-auth")]
        auth["data"] = {"password": b64encode(b"another").decode()}
        for _ in range(10):
            await its.run()
        assert its.world.servers[POD]["password"] == b"another"
        assert its.world.writes.count(f"tell {POD}") == 1
        await pass_time(1)
        assert (await its.server()).password_is_current
        its.world.writes.clear()
        await pass_time(60)
        await its.run()
        assert not its.world.writes

    probed(story)


@pytest.mark.parametrize("by", ["restart", "hand"])
def test_another_process_and_another_value_are_seen_in_time(by: str) -> None:
    async def story(its: Probed) -> None:
        heard: list[float] = []
        its.prober.listen(lambda key: heard.append(its.clock()))
        began = its.clock()
        if by == "restart":
            its.world.servers[POD]["run"] = "another"
        else:
            its.world.servers[POD]["parameters"]["maxclients"] = "7"
        await pass_time(2 if by == "restart" else 32)
        assert heard
        found = await its.server()
        assert (found.run_id == "another", found.parameters["maxclients"] == "7") == (by == "restart", by == "hand")
        assert its.world.questions["ask"] == 0
        assert began < heard[0]

    probed(story)


def test_of_a_cache_that_is_gone_no_server_is_asked() -> None:
    async def story(its: Probed) -> None:
        assert its.prober.servers()
        its.world.ports[0].cache = lambda key: None  # type: ignore[method-assign]
        assert its.cycle.cache(("shop", "orders")) is None
        assert not its.prober.servers()

    probed(story)


@pytest.mark.parametrize(("pods", "wanted", "alone"), [(1, 1, True), (3, 3, False), (2, 1, False), (1, 2, False)])
def test_who_is_alone_is_asked_less_often(pods: int, wanted: int, *, alone: bool) -> None:
    """By what is wished and by what is there: one that is to go, or to come, is not nobody."""
    watched: list[bool] = []

    class Recording(Prober):
        def watch(self, key: CacheKey, targets: Mapping[str, Target], *, alone: bool = False) -> None:
            watched.append(alone)

    async def main() -> None:
        prober = Recording(world.ports[1])
        await Observer(*world.ports, SITE, prober).observe(world.cache)

    world = settled(instances=pods)
    world.edit(cache(instances=wanted))
    run_virtual(main())
    assert watched == [alone]
