"""Leader election: the decision as a table, and electors against an API in memory, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from cachefleet_operator.api.objects import Object
from cachefleet_operator.execution.kube import lease as lease_module
from cachefleet_operator.execution.kube.client import ApiError
from cachefleet_operator.execution.kube.lease import (
    DURATION_S,
    RENEW_S,
    RETRY_S,
    Elector,
    Lost,
    Seen,
    Step,
    decide,
    observe,
)
from fleettest.virtualtime import pass_time, run_virtual


def held(holder: str | None, renewed: str = "1", duration: int | None = 15) -> dict[str, Any]:
    return {"spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": duration}}


@pytest.mark.parametrize(
    ("lease", "seen_at", "now", "step"),
    [
        (None, 0, 0, Step.TAKE),
        ({}, 0, 0, Step.TAKE),
        (held(""), 0, 0, Step.TAKE),
        (held(None), 0, 0, Step.TAKE),
        (held("me"), 0, 1000, Step.RENEW),
        (held("other"), 0, 14.9, Step.WAIT),
        (held("other"), 0, 15, Step.TAKE),
        (held("other", duration=60), 0, 15, Step.WAIT),
        (held("other", duration=None), 0, 15, Step.TAKE),
    ],
)
def test_decide(lease: Object | None, seen_at: float, now: float, step: Step) -> None:
    assert decide(observe(Seen(), lease, seen_at), "me", now) is step


def test_only_a_change_of_the_lease_moves_its_time() -> None:
    first = observe(Seen(), held("other", "1"), 10)
    assert observe(first, held("other", "1"), 20) == first
    assert observe(first, held("other", "2"), 20).at == 20
    assert observe(first, held("another", "1"), 20).at == 20


class Api:
    """Leases with resourceVersions; `cut` fails requests of a client, `delay_s` slows all."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.cut: set[str] = set()
        self.delay_s = 0.01
        self.writes = 0

    def client(self, name: str) -> Client:
        return Client(self, name)


class Client:
    def __init__(self, api: Api, name: str) -> None:
        self._api, self._name = api, name

    async def _reach(self) -> None:
        await pass_time(self._api.delay_s)
        if self._name in self._api.cut:
            raise ApiError("the API server does not answer")

    async def get(self, kind: str, namespace: str, name: str) -> Object | None:
        await self._reach()
        return self._api.lease

    async def create(self, namespace: str, obj: Object) -> Object:
        await self._reach()
        if self._api.lease is not None:
            raise ApiError("already exists", 409)
        return self._store(obj)

    async def replace(self, namespace: str, obj: Object) -> Object:
        await self._reach()
        if self._api.lease is None or obj["metadata"]["resourceVersion"] != str(self._api.version):
            raise ApiError("the object has been modified", 409)
        return self._store(obj)

    def _store(self, obj: Object) -> Object:
        self._api.version += 1
        self._api.writes += 1
        metadata = {**obj["metadata"], "resourceVersion": str(self._api.version)}
        self._api.lease = {**obj, "metadata": metadata}
        return self._api.lease


class Process:
    """One operator: an elector and the time at which it began to lead."""

    def __init__(self, api: Api, name: str) -> None:
        self.name = name
        clock = asyncio.get_running_loop().time
        self.elector = Elector(api.client(name), "ns", name, clock=clock)  # type: ignore[arg-type]
        self.began = list[float]()
        self.ended = False
        self.task = asyncio.create_task(self.elector.run(self._lead))

    async def _lead(self) -> None:
        self.began.append(asyncio.get_running_loop().time())
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True

    async def stop(self) -> BaseException | None:
        """As SIGTERM does."""
        self.task.cancel()
        return (await asyncio.gather(self.task, return_exceptions=True))[0]


async def leader_and_follower(api: Api) -> tuple[Process, Process]:
    first = Process(api, "a")
    await pass_time(5)
    second = Process(api, "b")
    await pass_time(5)
    return first, second


def leaders(processes: list[Process]) -> list[str]:
    return [p.name for p in processes if p.elector.leads()]


def test_one_of_two_leads_and_renews() -> None:
    async def main() -> None:
        api = Api()
        both = [Process(api, "a"), Process(api, "b")]
        await pass_time(100)
        assert len(leaders(both)) == 1
        assert 40 <= api.writes <= 55  # A renewal every RETRY_S, and nothing else.
        await asyncio.gather(*(p.stop() for p in both))

    run_virtual(main())


def test_a_clean_stop_hands_over_at_once() -> None:
    async def main() -> None:
        api = Api()
        a, b = await leader_and_follower(api)
        assert leaders([a, b]) == ["a"]
        stopped_at = asyncio.get_running_loop().time()
        assert isinstance(await a.stop(), asyncio.CancelledError)
        assert a.ended
        await pass_time(RETRY_S + 0.1)
        assert b.began[0] - stopped_at <= RETRY_S + 0.1
        await b.stop()

    run_virtual(main())


def test_a_killed_leader_is_followed_when_its_lease_has_expired() -> None:
    async def main() -> None:
        api = Api()
        a, b = await leader_and_follower(api)
        api.cut.add("a")
        cut_at = asyncio.get_running_loop().time()
        a.task.cancel()  # Cut off, it cannot give the Lease back.
        await pass_time(DURATION_S - RETRY_S - 1)
        assert leaders([b]) == []
        await pass_time(2 * RETRY_S + 1)
        assert leaders([b]) == ["b"]
        assert b.began[0] - cut_at <= DURATION_S + RETRY_S + 0.5
        await b.stop()

    run_virtual(main())


def test_a_leader_that_cannot_renew_stops_before_another_begins() -> None:
    async def main() -> None:
        api = Api()
        a, b = await leader_and_follower(api)
        api.cut.add("a")
        while not b.began:
            assert len(leaders([a, b])) <= 1
            await pass_time(0.05)
        assert a.ended
        (result,) = await asyncio.gather(a.task, return_exceptions=True)
        assert isinstance(result, Lost)
        assert "ns/cachefleet-operator could not be renewed" in str(result)
        await b.stop()

    run_virtual(main())


def steal(api: Api) -> None:
    assert api.lease is not None
    api.client("thief")._store({**api.lease, "spec": {**api.lease["spec"], "holderIdentity": "thief"}})


def delete(api: Api) -> None:
    api.lease = None


# What happens to a leader, for how long -> whether it still leads. If not, it has ended: as Lost, at that moment.
@pytest.mark.parametrize(
    ("trouble", "for_s", "leads"),
    [
        pytest.param(lambda api: api.cut.add("a"), RENEW_S - 2 * RETRY_S, True, id="a short outage"),
        pytest.param(lambda api: api.cut.add("a"), RENEW_S + 0.2, False, id="a long outage"),
        # An answer that comes after the time it was good for is not taken for a renewal that lasts.
        pytest.param(lambda api: setattr(api, "delay_s", RENEW_S + 5), RENEW_S + 0.2, False, id="a slow API"),
        pytest.param(steal, 2 * RETRY_S + 0.5, False, id="stolen"),
        pytest.param(delete, 10, True, id="deleted"),
    ],
)
def test_a_leader_in_trouble(trouble: Callable[[Api], None], for_s: float, leads: bool) -> None:
    async def main() -> None:
        api = Api()
        a = Process(api, "a")
        await pass_time(10)
        trouble(api)
        await pass_time(for_s)
        assert leaders([a]) == (["a"] if leads else [])
        if leads:
            api.cut.clear()
            await pass_time(100)
            assert leaders([a]) == ["a"]
            assert api.lease is not None
            assert len(a.began) == 1
            await a.stop()
        else:
            assert isinstance((await asyncio.gather(a.task, return_exceptions=True))[0], Lost)

    run_virtual(main())


def test_an_end_of_the_work_is_an_end() -> None:
    async def main() -> None:
        async def broken() -> None:
            raise ValueError("a bug")

        api = Api()
        elector = Elector(api.client("a"), "ns", "a", clock=asyncio.get_running_loop().time)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="a bug"):
            await elector.run(broken)
        assert not elector.leads()

    run_virtual(main())


def test_never_two_whatever_happens(rng: random.Random) -> None:
    """Cuts, kills, clean stops and starts at random; at each moment at most one believes that it leads."""

    async def main() -> None:
        api = Api()
        serial = 0
        processes = list[Process]()
        led = set[str]()
        for _ in range(3000):
            await pass_time(rng.uniform(0.01, 1.5))
            assert len(leaders(processes)) <= 1
            led.update(leaders(processes))
            await asyncio.gather(*(p.task for p in processes if p.task.done()), return_exceptions=True)
            processes = [p for p in processes if not p.task.done()]
            draw = rng.random()
            if draw < 0.05 and len(processes) < 3:
                serial += 1
                processes.append(Process(api, f"p{serial}"))
            elif processes and draw < 0.07:
                await rng.choice(processes).stop()
            elif processes and draw < 0.09:
                victim = rng.choice(processes)
                api.cut.add(victim.name)  # For good: it is dead.
                victim.task.cancel()
            elif processes and draw < 0.15:
                api.cut ^= {rng.choice(processes).name}
            elif draw < 0.2:
                api.delay_s = rng.choice((0.01, 0.5, 4.0))
        await asyncio.gather(*(p.stop() for p in processes))
        await asyncio.gather(*(p.task for p in processes), return_exceptions=True)
        assert len(led) > 5

    run_virtual(main())


def test_the_times_leave_a_margin() -> None:
    from cachefleet_operator.execution.kube import client as kube

    assert RETRY_S < RENEW_S < DURATION_S
    assert kube.WRITE_S <= DURATION_S - RENEW_S, "a write that began under the Lease ends before another can lead"
    assert lease_module.NAME == "cachefleet-operator"  # The chart's Role names it.
