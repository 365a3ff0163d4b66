"""One cycle over ports that do nothing but write down, and fail as they are told: who is done, told and remembered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefleet_operator.api.objects import Key, Object
from cachefleet_operator.api.v1alpha1 import API_VERSION, KIND, Cache, CacheKey, CacheStatus, Metadata
from cachefleet_operator.execution.cycle import Cycle, NoMeter, Result
from cachefleet_operator.execution.errors import ExecutionError, Refused
from cachefleet_operator.execution.interpreter import Interpreter
from cachefleet_operator.execution.mergepatch import between, merged
from cachefleet_operator.execution.observer import Observer
from cachefleet_operator.execution.wire import Wire
from cachefleet_operator.planning.actions import Action, Apply, EventType
from cachefleet_operator.planning.plan import Plan
from cachefleet_operator.planning.snapshot import Snapshot
from fleettest import snapshots

pytestmark = pytest.mark.asyncio

Fail = Callable[[str], Exception | None]


class Nowhere(Wire):
    def address(self, pod: Object) -> tuple[str, int] | None:
        return None


class Place:
    """Objects (execution/ports.py) of one Cache, and the cycle over them."""

    def __init__(self, *actions: Action, status: CacheStatus | None = None) -> None:
        self.cached, self.done = snapshots.cache(), list[str]()
        self.fail: Fail = lambda what: None
        self.counted: list[Action] = []
        meter = NoMeter()
        meter.acted = self.counted.append  # type: ignore[method-assign]

        def planner(snapshot: Snapshot, now: float) -> Plan:
            old = snapshot.cache.status

            def stopped(words: str, failed: str) -> CacheStatus:
                return old.model_copy(update={"phase": f"stopped: {words}"})

            return Plan(actions, status if status is not None else old, 7.0, stopped)

        servers = Nowhere()
        self.cycle = Cycle(
            self, Observer(self, servers, snapshots.SITE), Interpreter(self, servers), self._tell,
            planner=planner, clock=lambda: snapshots.NOW, meter=meter,
        )  # fmt: skip

    async def run(self) -> tuple[Result, float]:
        return await self.cycle.run(self.cached)

    def _tell(self, cache: Metadata, type: EventType, word: str, note: str) -> None:
        self.done.append(f"event {note}")

    def _do(self, what: str) -> None:
        self.done.append(what)
        if error := self.fail(what):
            raise error

    # -- the port

    def cache(self, key: CacheKey) -> Object | None:
        return {"apiVersion": API_VERSION, "kind": KIND, **self.cached.wire()}

    def known(self, key: CacheKey) -> Mapping[Key, Object]:
        return {}

    async def get(self, namespace: str, key: Key) -> Object | None:
        return None

    async def apply(self, namespace: str, obj: Object) -> Object:
        self._do(obj["metadata"]["name"])
        return obj

    async def create(self, namespace: str, obj: Object) -> Object:
        return await self.apply(namespace, obj)

    async def patch(self, namespace: str, key: Key, patch: Object, subresource: str = "") -> Object:
        self._do(subresource)
        assert key == Key(KIND, "orders")
        assert patch["metadata"]["uid"] == self.cached.metadata.uid
        body = merged(self.cached.wire(), {"status": patch["status"]})
        self.cached = Cache.model_validate(body)
        return {"apiVersion": API_VERSION, "kind": KIND, **body}

    async def delete(self, namespace: str, key: Key, uid: str, *, orphan: bool = False) -> None:
        raise AssertionError

    async def events_of(self, namespace: str, uid: str, reason: str) -> Sequence[Object]:
        return ()


def apply(name: str, *needs: str) -> Apply:
    obj = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": {}}}
    return Apply(name, obj, needs=frozenset(f"Service/{need}" for need in needs))


def failing(name: str, error: Exception) -> Fail:
    return lambda what: error if what == name else None


async def test_actions_then_events_then_the_status_once() -> None:
    place = Place(apply("a"), apply("b"), status=CacheStatus(phase="done"))
    assert await place.run() == ("acted", 7.0)
    assert place.done == ["a", "event a", "b", "event b", "status"]
    assert [action.reason for action in place.counted] == ["a", "b"]
    place = Place(status=CacheStatus(phase="done"))
    assert (await place.run())[0] == "acted"
    assert (await place.run())[0] == "unchanged"
    assert place.done == ["status"]


REFUSED = Refused("too small", target="orders-0", subject="maxmemory", wish="1")


async def test_a_refusal_is_remembered_and_what_does_not_need_it_is_done() -> None:
    place = Place(apply("a"), apply("b"), apply("c", "b"), apply("d", "c"), apply("e", "a"))
    place.fail = failing("b", REFUSED)
    assert (await place.run())[0] == "refused"
    assert place.done == [
        "a", "event a", "b", "e", "event e", "event orders-0 refused maxmemory 1: too small", "status",
    ]  # fmt: skip
    (found,) = place.cached.status.refusals
    assert (found.target, found.subject, found.wish, found.message) == ("orders-0", "maxmemory", "1", "too small")
    assert place.cached.status.phase == "stopped: too small", "what was planned after it is not told as done"


async def test_a_failure_is_told_and_what_does_not_need_it_is_done() -> None:
    place = Place(apply("a"), apply("b", "a"), apply("c"))
    place.fail = failing("a", ExecutionError("a webhook is away"))
    with pytest.raises(ExecutionError, match="a webhook is away"):
        await place.run()
    assert place.done == ["a", "c", "event c", "status", "event a webhook is away"]
    assert place.cached.status.phase == "stopped: a webhook is away"


async def test_where_nothing_can_be_done_nothing_more_is_tried() -> None:
    place = Place(apply("a"), apply("b"))
    place.fail = failing("a", ExecutionError("the API server does not answer", final=True))
    with pytest.raises(ExecutionError, match="does not answer"):
        await place.run()
    assert "b" not in place.done


async def test_old_facts_are_no_failure_and_no_news() -> None:
    place = Place(apply("a"), apply("b"), status=CacheStatus(phase="done"))
    place.fail = failing("a", ExecutionError("changed meanwhile", conflict=True))
    with pytest.raises(ExecutionError) as error:
        await place.run()
    assert error.value.conflict
    assert place.done == ["a", "b", "event b"]


async def test_what_the_status_has_no_more_is_cleared() -> None:
    """A field that an older operator wrote, too."""
    place = Place(status=CacheStatus(phase="done"))
    status = {"phase": "x", "nodes": {"a": 1}, "lastWords": "y"}
    old = {**(place.cache(CacheKey("shop", "orders")) or {}), "status": status}
    place.cache = lambda key: old  # type: ignore[method-assign]
    patches: list[Object] = []

    async def patch(namespace: str, key: Key, patch: Object, subresource: str = "") -> Object:
        patches.append(patch)
        return old

    place.patch = patch  # type: ignore[method-assign]
    await place.run()
    (sent,) = patches
    assert merged(old["status"], sent["status"]) == CacheStatus(phase="done").wire()
    assert (sent["status"]["nodes"], sent["status"]["lastWords"]) == (None, None)


VALUES = st.recursive(
    st.none().map(lambda _: 0) | st.text(max_size=2) | st.lists(st.integers(0, 1), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=6,
)  # fmt: skip
MAPS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@given(MAPS, MAPS)
async def test_a_patch_makes_the_new_of_the_old(old: Mapping[str, object], new: Mapping[str, object]) -> None:
    assert merged(old, between(old, new)) == new
    assert between(new, new) == {}


