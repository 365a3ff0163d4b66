"""Which changes of the status are events, and that those that take turns are no storm."""

from __future__ import annotations

import asyncio
from itertools import cycle, islice

import pytest

from cachefleet_operator.api.v1alpha1 import CacheStatus, Condition, ConditionStatus, Metadata
from cachefleet_operator.execution.kube.client import Kube
from cachefleet_operator.execution.kube.events import REPEAT_S, Events
from cachefleet_operator.planning.notices import Notice, notices
from fleettest.virtualtime import pass_time, run_virtual

AT = "2026-01-01T00:00:00Z"


def condition(kind: str, status: ConditionStatus, reason: str, message: str = "") -> CacheStatus:
    found = Condition(type=kind, status=status, reason=reason, message=message, last_transition_time=AT)
    return CacheStatus(conditions=(found,))


def degraded(reason: str, message: str) -> CacheStatus:
    return condition("Degraded", "True", reason, message)


WELL = condition("Degraded", "False", "AsExpected")
POD, DISK = degraded("PodFailing", "it crashes"), degraded("ServerFailing", "disk full")
READY, WAITS = condition("Ready", "True", "Serving", "serves"), condition("Ready", "False", "NotServing", "starts")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        pytest.param(CacheStatus(), WELL, None, id="new and well"),
        pytest.param(CacheStatus(), WAITS, None, id="new and not ready yet"),
        pytest.param(CacheStatus(), POD, ("Warning", "PodFailing", "it crashes"), id="new and wrong"),
        pytest.param(WAITS, READY, ("Normal", "Serving", "serves"), id="ready"),
        pytest.param(READY, WAITS, ("Warning", "NotServing", "starts"), id="not ready any more"),
        pytest.param(WAITS, condition("Ready", "False", "Loading"), None, id="not ready for another reason"),
        pytest.param(WELL, POD, ("Warning", "PodFailing", "it crashes"), id="wrong"),
        pytest.param(POD, POD, None, id="still wrong"),
        pytest.param(POD, DISK, ("Warning", "ServerFailing", "disk full"), id="wrong for another reason"),
        pytest.param(POD, degraded("PodFailing", "it crashes, too"), None, id="the same in other words"),
        pytest.param(
            degraded("SpecRefused", "a; b"), degraded("SpecRefused", "b"), ("Warning", "SpecRefused", "b"),
            id="a spec that is mended in part",
        ),
        pytest.param(POD, WELL, ("Normal", "AsExpected", "nothing is wrong any more"), id="well again"),
    ],
)  # fmt: skip
def test_what_is_news(old: CacheStatus, new: CacheStatus, told: tuple[str, str, str] | None) -> None:
    assert notices(old, new) == ((Notice(*told),) if told else ())  # type: ignore[arg-type]


def test_reasons_that_take_turns_are_told_once_in_a_while() -> None:
    sent: list[str] = []

    class Api(Kube):
        def __init__(self) -> None: ...

        async def create(self, namespace: str, obj: object) -> object:  # type: ignore[override]
            assert isinstance(obj, dict)
            sent.append(obj["reason"])
            return obj

    async def main() -> None:
        events = Events(Api(), "pod-1", asyncio.get_running_loop().time)
        events.start()
        before = WELL
        for now in islice(cycle((POD, DISK)), int(REPEAT_S) - 10):
            for kind, word, message in notices(before, now):
                events.tell(Metadata(name="orders", uid="u-1"), kind, word, message)
            before = now
            await pass_time(1)
        await events.stop()

    run_virtual(main())
    assert sent == ["PodFailing", "ServerFailing"]
