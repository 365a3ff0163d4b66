"""Id trees against Python dicts: several owners at once, each of which sees its own state for ever."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cachefleet_server.ds._testing_stream import Heap, IdTree
from fleettest.examples import examples

pytestmark = pytest.mark.unit

Id = tuple[int, int]
OWNERS_MAX = 4
IDS = st.tuples(st.integers(0, 40), st.integers(0, 40))
EDGES = st.sampled_from([(0, 0), (0, 2**64 - 1), (2**64 - 1, 0), (2**64 - 1, 2**64 - 1)])


class Owners(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.heap = Heap()
        self.before = self.heap.used
        self.owners: list[tuple[IdTree, dict[Id, int]]] = [(IdTree(self.heap), {})]

    @initialize(n=st.sampled_from([0, 60, 5000]))
    def start(self, n: int) -> None:
        self.put_many(0, n, 0)

    def pick(self, owner: int) -> tuple[IdTree, dict[Id, int]]:
        return self.owners[owner % len(self.owners)]

    @rule(owner=st.integers(0, 9), id=IDS | EDGES, value=st.integers(0, 2**64 - 1))
    def put(self, owner: int, id: Id, value: int) -> None:
        t, model = self.pick(owner)
        assert t.put(id, value) == (id not in model)
        model[id] = value

    @rule(owner=st.integers(0, 9), n=st.integers(1, 600), seed=st.integers(0, 99))
    def put_many(self, owner: int, n: int, seed: int) -> None:
        """Rising ids for even seeds, else anywhere."""
        t, model = self.pick(owner)
        rng = Random(seed)
        last = max(model, default=(0, 0))[0]
        for i in range(n):
            id = (min(last + i + 1, 2**64 - 1), 7) if seed % 2 == 0 else (rng.randrange(40), rng.randrange(400))
            assert t.put(id, i) == (id not in model)
            model[id] = i

    @rule(owner=st.integers(0, 9), value=st.integers(0, 99))
    def put_last(self, owner: int, value: int) -> None:
        t, model = self.pick(owner)
        assert t.put_last(value) == bool(model)
        if model:
            model[max(model)] = value

    @rule(owner=st.integers(0, 9), id=IDS | EDGES)
    def remove(self, owner: int, id: Id) -> None:
        t, model = self.pick(owner)
        assert t.remove(id) == (model.pop(id, None) is not None)

    @rule(owner=st.integers(0, 9), share=st.floats(0, 1), where=st.sampled_from(["first", "last", "any"]))
    def remove_many(self, owner: int, share: float, where: str) -> None:
        t, model = self.pick(owner)
        n = int(share * len(model))
        ids: Iterable[Id] = sorted(model)
        if where == "any":
            ids = Random(n).sample(sorted(model), n)
        for id in list(reversed(list(ids)) if where == "last" else ids)[:n]:
            assert t.remove(id)
            del model[id]

    @rule(owner=st.integers(0, 9))
    def share(self, owner: int) -> None:
        t, model = self.pick(owner)
        if len(self.owners) < OWNERS_MAX:
            self.owners.append((t.share(), dict(model)))

    @rule(owner=st.integers(0, 9))
    def leave(self, owner: int) -> None:
        if len(self.owners) > 1:
            del self.owners[owner % len(self.owners)]

    @rule(owner=st.integers(0, 9), id=IDS | EDGES, n=st.integers(1, 200))
    def seek(self, owner: int, id: Id, n: int) -> None:
        t, model = self.pick(owner)
        assert t.get(id) == model.get(id)
        order = sorted(model.items())
        assert t.walk_from(id, False, n) == [item for item in order if item[0] >= id][:n]
        assert t.walk_from(id, True, n) == [item for item in reversed(order) if item[0] <= id][:n]

    @invariant()
    def same(self) -> None:
        for t, model in self.owners:
            t.check()
            assert len(t) == len(model)
            assert t.walk() == sorted(model.items())
            assert t.walk(back=True) == sorted(model.items(), reverse=True)

    def teardown(self) -> None:
        self.owners.clear()
        assert self.heap.used == self.before


TestOwners = Owners.TestCase
TestOwners.settings = examples(30, stateful_step_count=25, suppress_health_check=list(HealthCheck))


def test_rising_ids_make_full_nodes() -> None:
    heap = Heap()
    before = heap.used
    t = IdTree(heap)
    for i in range(100_000):
        t.put((i, 0), i)
    assert (heap.used - before) / 100_000 < 25  # of records of 24


def test_a_queue_leaves_no_nodes_behind() -> None:
    """Added at the end and taken from the front, as groups' pending entries are."""
    heap = Heap()
    t = IdTree(heap)
    for i in range(20_000):
        t.put((i, 0), i)
        if i >= 100:
            assert t.remove((i - 100, 0))
    t.check()
    assert len(t) == 100
    assert heap.used < 20_000
