"""Events are gathered, told once, bounded; and never in the way. In virtual time."""

from __future__ import annotations

import asyncio
import logging

import pytest

from cachefleet_operator.api.objects import Object
from cachefleet_operator.api.v1alpha1 import Metadata
from cachefleet_operator.execution.kube import events as events_module
from cachefleet_operator.execution.kube.client import ApiError
from cachefleet_operator.execution.kube.events import Events
from fleettest.virtualtime import pass_time, run_virtual

ORDERS = Metadata(name="orders", namespace="shop", uid="u-1")


class Api:
    def __init__(self) -> None:
        self.made: list[Object] = []
        self.broken = False
        self.delay_s = 0.0

    async def create(self, namespace: str, obj: Object) -> Object:
        await pass_time(self.delay_s)
        if self.broken:
            raise ApiError("no")
        assert namespace == obj["metadata"]["namespace"]
        self.made.append(obj)
        return obj

    def notes(self) -> list[str]:
        return [event["note"] for event in self.made]


def started(api: Api) -> Events:
    found = Events(api, "pod-1", asyncio.get_running_loop().time)  # type: ignore[arg-type]
    found.start()
    return found


def test_one_event_as_the_api_wants_it() -> None:
    async def main() -> None:
        api = Api()
        events = started(api)
        await pass_time(1.5)
        events.tell(ORDERS, "Warning", "PodFailing", "it broke")
        await pass_time(1)
        (event,) = api.made
        assert event["metadata"]["name"].startswith("orders.")
        assert {k: v for k, v in event.items() if k != "metadata"} == {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "eventTime": "1970-01-01T00:00:02.000000Z",
            "type": "Warning",
            "reason": "PodFailing",
            "action": "PodFailing",
            "note": "it broke",
            "regarding": {
                "apiVersion": "cachefleet.io/v1alpha1", "kind": "Cache", "namespace": "shop", "name": "orders",
                "uid": "u-1",
            },
            "reportingController": "cachefleet.io/operator",
            "reportingInstance": "pod-1",
        }  # fmt: skip
        await events.stop()

    run_virtual(main())


def test_what_is_said_together_is_one_event() -> None:
    async def main() -> None:
        api = Api()
        events = started(api)
        for name in ("a", "b", "c"):
            events.tell(ORDERS, "Normal", "Applied", f"created {name}")
            events.tell(ORDERS, "Normal", "Deleted", f"deleted {name}")
        await pass_time(1)
        assert api.notes() == ["created a; created b; created c", "deleted a; deleted b; deleted c"]
        await events.stop()

    run_virtual(main())


def test_the_same_words_are_told_once_in_a_while() -> None:
    async def main() -> None:
        api = Api()
        events = started(api)
        for _ in range(10):
            events.tell(ORDERS, "Warning", "Failed", "quota")
            await pass_time(events_module.REPEAT_S / 8)
        assert api.notes() == ["quota", "quota"]
        await events.stop()

    run_virtual(main())


def test_a_cache_that_talks_all_the_time_is_cut_short_and_another_is_not(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        api = Api()
        events = started(api)
        for number in range(1000):
            events.tell(ORDERS, "Normal", "Applied", f"again {number}")
            await pass_time(1)
        expected = events_module.BURST + 1000 / events_module.EVERY_S
        assert expected * 0.8 <= len(api.made) <= expected + 1
        events.tell(Metadata(name="carts", namespace="shop", uid="u-2"), "Normal", "Applied", "hello")
        await pass_time(1)
        assert api.notes()[-1] == "hello"
        await events.stop()

    with caplog.at_level(logging.WARNING):
        run_virtual(main())
    assert "events were dropped: too many at once" in caplog.text


def test_what_is_held_is_bounded() -> None:
    async def main() -> None:
        api = Api()
        api.delay_s = 3600
        events = started(api)
        for number in range(3 * events_module.PENDING_MAX):
            events.tell(Metadata(name="c", uid=f"u{number}"), "Normal", "Applied", "x")
        for number in range(1000):
            events.tell(Metadata(name="c", uid="u0"), "Normal", "Applied", f"{number} " + "x" * 100)
        assert len(events._pending) == events_module.PENDING_MAX
        assert len(next(iter(events._pending.values()))) == events_module.NOTES_MAX
        api.delay_s = 0
        await pass_time(1)
        assert max(map(len, api.notes())) == events_module.NOTE_BYTES_MAX
        await events.stop()

    run_virtual(main())


@pytest.mark.parametrize("note", ["x" * 100_000, "é" * 1000, "e" + "é" * 1000, "\ud800" * 2000])
def test_a_long_note_is_cut_by_bytes(note: str) -> None:
    """The API counts them, and refuses an event with more."""

    async def main() -> None:
        api = Api()
        events = started(api)
        events.tell(Metadata(name="c", uid="u"), "Normal", "Applied", note)
        assert all(len(told) <= events_module.NOTE_BYTES_MAX for _, _, told in events._told), "held as long as it came"
        await pass_time(1)
        (shown,) = api.notes()
        assert events_module.NOTE_BYTES_MAX - 1 <= len(shown.encode()) <= events_module.NOTE_BYTES_MAX
        assert shown.endswith("...")
        await events.stop()

    run_virtual(main())


def test_an_api_that_fails_or_hangs_is_nobodys_trouble() -> None:
    async def main() -> None:
        api = Api()
        events = started(api)
        api.broken = True
        events.tell(ORDERS, "Normal", "Applied", "lost")
        await pass_time(1)
        api.broken = False
        events.tell(ORDERS, "Normal", "Applied", "told")
        await pass_time(1)
        assert api.notes() == ["told"]
        api.delay_s = 3600
        events.tell(ORDERS, "Normal", "Applied", "too late")
        before = asyncio.get_running_loop().time()
        await events.stop(2.0)
        assert asyncio.get_running_loop().time() - before == pytest.approx(2.0)
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main())


def test_a_stop_sends_what_is_pending() -> None:
    async def main() -> None:
        api = Api()
        events = started(api)
        events.tell(ORDERS, "Normal", "Applied", "last words")
        await events.stop()
        assert api.notes() == ["last words"]

    run_virtual(main())
