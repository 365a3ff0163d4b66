"""Both lanes over the simulated cluster, in virtual time: whatever holds up the slow one, what is lost comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from cachefleet_operator.api import names
from cachefleet_operator.api.objects import Key, Object
from cachefleet_operator.execution.errors import ExecutionError
from cachefleet_operator.execution.lanes import Lanes
from cachefleet_operator.execution.prober import Prober
from fleettest.snapshots import SITE, cache, secret
from fleettest.virtualtime import pass_time, run_virtual
from fleettest.world import World, settled

KEY, OTHER = ("shop", "orders"), ("shop", "other")
SERVICE = Key("Service", "orders-rw")
NAMES = ("auth", "server-password", "binding")  # of Secrets


class Port:
    """A lane's objects: the world's, as far as they answer."""

    def __init__(self, world: World) -> None:
        self._objects = world.ports[0]
        self.hangs = self.fails = False
        self.takes_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    async def apply(self, namespace: str, obj: Object) -> Object:
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.fails:
            raise ExecutionError("a webhook says no")
        await pass_time(self.takes_s)
        return await self._objects.apply(namespace, obj)


class Looked:
    """After a settled world, by both lanes; the slow one has a single place."""

    def __init__(self, world: World) -> None:
        self.world, self.slow, self.fast = world, Port(world), Port(world)
        self.told: list[str] = []
        prober = Prober(world.ports[1], every_s=1.0, alone_s=1.0)
        self.lanes = Lanes(
            self.slow, self.fast, world.ports[1], SITE, lambda _, type, word, note: self.told.append(word),
            prober=prober, concurrency=1,
        )  # fmt: skip

    async def back_s(self, key: Key = SERVICE) -> float:
        """Deletes an object, the Service, and how long it is away."""
        began = asyncio.get_running_loop().time()
        self.world.objects.pop(key, None)
        self.lanes.wake(KEY)
        while key not in self.world.objects:
            await pass_time(0.01)
            assert asyncio.get_running_loop().time() - began < 300, "it does not come back"
        return asyncio.get_running_loop().time() - began


def looked(story: Callable[[Looked], Coroutine[Any, Any, None]], world: World | None = None) -> None:
    async def main() -> None:
        its = Looked(found)
        its.lanes.start([KEY])
        await pass_time(3)
        found.writes.clear()
        found.questions.clear()
        try:
            await story(its)
        finally:
            await its.lanes.stop(0.0)
        assert len(asyncio.all_tasks()) == 1

    found = world or settled()
    run_virtual(main())


@pytest.mark.parametrize("slow_s", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("fast_s", [0.0, 0.05, 1.0])
def test_what_both_lanes_find_lost_is_made_once(slow_s: float, fast_s: float) -> None:
    async def story(its: Looked) -> None:
        its.slow.takes_s, its.fast.takes_s = slow_s, fast_s
        assert await its.back_s() < 1.1
        await pass_time(60)
        assert [write for write in its.world.writes if "status" not in write] == [f"apply {SERVICE}"]

    looked(story)


def test_what_one_lane_cannot_do_the_other_does() -> None:
    async def story(its: Looked) -> None:
        its.fast.fails = True
        assert await its.back_s() < 2.5
        assert its.told == ["Created"]
        its.fast.fails, its.slow.fails = False, True
        await pass_time(10)
        assert await its.back_s() < 6

    looked(story)


def test_in_steady_state_both_lanes_write_nothing() -> None:
    async def story(its: Looked) -> None:
        for _ in range(20):
            its.lanes.wake(KEY)
            await pass_time(30)
        assert not its.world.writes
        assert its.world.questions["ask"] == 0, "the prober knows it all"

    looked(story)


async def hung_api(its: Looked) -> None:
    its.slow.hangs = True
    its.world.edit(cache(memory={"limit": "2Gi"}))


async def back_off(its: Looked) -> None:
    its.slow.fails = True
    its.world.edit(cache(memory={"limit": "2Gi"}))
    its.lanes.wake(KEY)
    await pass_time(300)


async def no_place(its: Looked) -> None:
    await hung_api(its)
    its.lanes.slow.wake(OTHER)
    await pass_time(1)
    its.slow.hangs = False


async def hung_server(its: Looked) -> None:
    its.world.hangs = True
    its.world.objects[Key("Pod", "orders-0")]["metadata"]["uid"] = "another"  # of which nobody has facts


@pytest.mark.parametrize("key", [SERVICE, *(Key("Secret", f"orders-{name}") for name in NAMES)], ids=str)
@pytest.mark.parametrize("trouble", [hung_api, back_off, no_place, hung_server])
def test_nothing_that_holds_up_the_slow_lane_holds_up_the_fast_one(
    trouble: Callable[[Looked], Coroutine[Any, Any, None]], key: Key
) -> None:
    async def story(its: Looked) -> None:
        await trouble(its)
        its.lanes.wake(KEY)
        await pass_time(1)
        if trouble is not back_off:
            assert its.lanes.slow.waiting()
        for _ in range(3):
            assert await its.back_s(key) < 0.1

    looked(story)


def test_a_role_follows_the_record_at_once_and_not_what_the_server_says() -> None:
    async def story(its: Looked) -> None:
        await hung_api(its)
        its.world.servers["orders-0"]["role"] = "slave"
        await pass_time(2)
        labels = its.world.objects[Key("Pod", "orders-0")]["metadata"]["labels"]
        assert labels[names.LABEL_ROLE] == names.ROLE_PRIMARY
        its.world.objects[Key("PersistentVolumeClaim", "data-orders-0")]["metadata"]["uid"] = "another"
        del labels[names.LABEL_ROLE]
        its.lanes.wake(KEY)
        await pass_time(0.1)
        record = its.world.cache.status.topology
        assert record is not None
        assert record.epoch == 2
        assert its.world.objects[Key("Pod", "orders-0")]["metadata"]["labels"][names.LABEL_ROLE] == names.ROLE_PRIMARY

    looked(story)


def test_a_password_that_must_be_fetched_is_kept_for_the_fast_lane() -> None:
    async def story(its: Looked) -> None:
        for _ in range(20):
            its.lanes.wake(KEY)
            await pass_time(1)
        assert its.world.questions["call"] <= 1, "the same connection all the time"
        its.world.objects[Key("Secret", "mine")] = secret("mine", password="two")
        await pass_time(60)
        assert its.world.servers["orders-0"]["password"] == b"two"

    world = World(cache(auth={"mode": "secret", "secretRef": {"name": "mine"}}))
    world.objects[Key("Secret", "mine")] = secret("mine", password="one")
    world.settle()
    looked(story, world)


def test_of_a_cache_that_is_gone_nothing_is_left() -> None:
    async def story(its: Looked) -> None:
        its.world.ports[0].cache = lambda key: None  # type: ignore[method-assign]
        its.lanes.wake(KEY)
        await pass_time(0.2)
        assert not its.lanes.slow.waiting()
        before = its.world.questions.total()
        await pass_time(60)
        assert its.world.questions.total() == before

    looked(story)
