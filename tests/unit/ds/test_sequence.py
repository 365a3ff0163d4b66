"""Sequences against Python lists: several owners at once, each of which sees its own state for ever.

Few elements a block make trees of several levels; large ones make blocks of their own. `check()` runs after every step.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cachefleet_server.ds._testing_sequence import Heap, Sequence, entry
from fleettest.examples import examples

pytestmark = pytest.mark.unit

OWNERS_MAX = 4
FILLS = [1, 3, 128, -1, -2, 0]
HEADER_BYTES_MAX = 128

KINDS: list[Callable[[int], bytes]] = [
    lambda k: b"%d" % (k % 200 - 100),
    lambda k: b"%d" % (k * 2654435761 % 2**66 - 2**65),
    lambda k: b"e%d" % (k % 10),
    lambda k: b"",
    lambda k: bytes([k % 256, 0, 255, 13, 10]) * (k % 30),
    lambda k: b"same text " * (k % 40),
    lambda k: random.Random(k).randbytes(k % 3000),
    lambda k: b"large" * (k % 2000),
]
ELEMENTS = st.builds(lambda kind, k: KINDS[kind](k), st.integers(0, len(KINDS) - 1), st.integers(0, 10**6))
PLACES = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))


class Owners(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.heap = Heap()
        self.before = self.heap.used
        self.owners: list[tuple[Sequence, list[bytes]]] = []

    @initialize(fill=st.sampled_from(FILLS), depth=st.integers(0, 3), n=st.sampled_from([0, 10, 300]))
    def start(self, fill: int, depth: int, n: int) -> None:
        self.owners = [(Sequence(self.heap, fill, depth), [])]
        self.push_many(0, n, 7, False, 0)

    def pick(self, owner: int) -> tuple[Sequence, list[bytes]]:
        return self.owners[owner % len(self.owners)]

    # -- writing

    @rule(owner=st.integers(0, 9), element=ELEMENTS, front=st.booleans())
    def push(self, owner: int, element: bytes, front: bool) -> None:
        s, model = self.pick(owner)
        s.push(element, front)
        model.insert(0 if front else len(model), element)

    @rule(
        owner=st.integers(0, 9),
        n=st.integers(1, 300),
        k=st.integers(0, 10**6),
        front=st.booleans(),
        kind=st.sampled_from([0, 0, 1, 2, 4, 5]),
    )
    def push_many(self, owner: int, n: int, k: int, front: bool, kind: int) -> None:
        s, model = self.pick(owner)
        for i in range(n):
            element = KINDS[kind](k + i)
            s.push(element, front)
            model.insert(0 if front else len(model), element)

    @rule(owner=st.integers(0, 9), n=st.integers(1, 100), front=st.booleans())
    def pop(self, owner: int, n: int, front: bool) -> None:
        s, model = self.pick(owner)
        for _ in range(min(n, len(model))):
            assert s.pop(front) == model.pop(0 if front else -1)

    @rule(
        owner=st.integers(0, 9),
        where=PLACES,
        after=st.booleans(),
        elements=st.lists(ELEMENTS, min_size=1, max_size=20),
    )
    def insert(self, owner: int, where: float, after: bool, elements: list[bytes]) -> None:
        s, model = self.pick(owner)
        for element in elements:
            i = int(where * len(model))
            s.insert(i, element, after)
            model.insert(i, element)
            s.check()

    @rule(owner=st.integers(0, 9), where=PLACES, element=ELEMENTS)
    def set(self, owner: int, where: float, element: bytes) -> None:
        s, model = self.pick(owner)
        if model:
            i = min(int(where * len(model)), len(model) - 1)
            s.set(i, element)
            model[i] = element

    @rule(owner=st.integers(0, 9), where=PLACES, n=st.integers(1, 20))
    def remove(self, owner: int, where: float, n: int) -> None:
        s, model = self.pick(owner)
        for _ in range(min(n, len(model))):
            i = min(int(where * len(model)), len(model) - 1)
            s.remove(i, i + 1)
            del model[i]
            s.check()

    @rule(owner=st.integers(0, 9), a=PLACES, b=PLACES)
    def remove_range(self, owner: int, a: float, b: float) -> None:
        s, model = self.pick(owner)
        i, j = sorted((int(a * len(model)), int(b * len(model))))
        s.remove(i, j)
        del model[i:j]

    @rule(owner=st.integers(0, 9), source=st.integers(0, 9), fill=st.sampled_from(FILLS))
    def append_file(self, owner: int, source: int, fill: int) -> None:
        """What another list with other limits saves, as far as 400 elements go."""
        s, model = self.pick(owner)
        other = Sequence(self.heap, fill, 0)
        elements = self.pick(source)[1][:400]
        for element in elements:
            other.push(element)
        for plain, data, _ in other.save():
            if plain:
                s.push(data)
            else:
                assert s.append_listpack(data)
        model += elements

    # -- owners

    @rule(owner=st.integers(0, 9))
    def share(self, owner: int) -> None:
        s, model = self.pick(owner)
        if len(self.owners) < OWNERS_MAX:
            self.owners.append((s.share(), model[:]))

    @rule(owner=st.integers(0, 9), budget=st.sampled_from([0, 1, 3, 1000]))
    def let_go(self, owner: int, budget: int) -> None:
        if len(self.owners) > 1:
            s, _ = self.owners.pop(owner % len(self.owners))
            if budget:
                s.drain(budget)
            else:
                s.close()

    # -- reading

    @rule(owner=st.integers(0, 9), where=PLACES, n=st.integers(0, 400), back=st.booleans())
    def read(self, owner: int, where: float, n: int, back: bool) -> None:
        s, model = self.pick(owner)
        i = int(where * len(model))
        if back:
            assert s.read(i, n, True) == (model[: i + 1][::-1][:n] if i < len(model) else [])
        else:
            assert s.read(i, n) == model[i : i + n]

    @rule(owner=st.integers(0, 9), where=PLACES, of=PLACES, back=st.booleans(), most=st.sampled_from([0, 1, 50, 10**6]))
    def find(self, owner: int, where: float, of: float, back: bool, most: int) -> None:
        s, model = self.pick(owner)
        i = int(where * len(model))
        wanted = model[int(of * (len(model) - 1))] if model else b"12"
        looked_at = (model[: i + 1][::-1] if back else model[i:])[:most] if i < len(model) else []
        assert s.find(wanted, i, back, most) == ([k for k, e in enumerate(looked_at) if e == wanted], len(looked_at))

    # -- always

    @invariant()
    def holds(self) -> None:
        for s, model in self.owners:
            s.check()
            assert len(s) == len(model)
            assert s.read(0, len(model) + 1) == model

    def teardown(self) -> None:
        for s, model in self.owners:
            assert s.read(max(len(model), 1) - 1, len(model) + 1, True) == model[::-1]
            assert s.memory <= s.bytes + HEADER_BYTES_MAX + s.blocks * 64
            s.close()
        assert self.heap.used == self.before


TestOwners = Owners.TestCase
TestOwners.settings = examples(50, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("fill", [1, 3, -1])
def test_deep_trees(fill: int, depth: int, rng: random.Random) -> None:
    """Three levels, changed everywhere, beside an owner that keeps what was."""
    heap = Heap()
    before = heap.used
    s = Sequence(heap, fill, depth)
    model: list[bytes] = []
    n = 9000 if fill > 0 else 60_000
    for i in range(n):
        s.push(b"element %d" % i, i % 3 == 0)
        model.insert(0 if i % 3 == 0 else len(model), b"element %d" % i)
    s.check()
    assert s.levels == 3 if fill == 1 else s.levels >= 2
    kept, keeps = s.share(), model[:]
    for step in range(3000):
        i = rng.randrange(len(model))
        match rng.randrange(6):
            case 0:
                s.set(i, b"%d" % step)
                model[i] = b"%d" % step
            case 1 | 2:
                s.insert(i, b"new %d" % step, step % 2 == 0)
                model.insert(i, b"new %d" % step)
            case 3 | 4:
                s.remove(i, i + 1)
                del model[i]
            case 5 if step % 20 == 0:
                j = min(i + rng.randrange(400), len(model))
                s.remove(i, j)
                del model[i:j]
        if step % 50 == 0:
            s.check()
    assert s.read(0, len(model) + 1) == model
    kept.check()
    assert kept.read(0, n + 1) == keeps
    while len(model) > 10:
        a = rng.randrange(len(model))
        b = min(len(model), a + 1 + rng.randrange(len(model) // 4 + 1))
        s.remove(a, b)
        del model[a:b]
        s.check()
        assert s.read(0, len(model) + 1) == model
    kept.close()
    s.close()
    assert heap.used == before


@pytest.mark.parametrize("fill", [1, -2])
def test_a_queue_of_any_length_keeps_its_memory(fill: int) -> None:
    heap = Heap()
    s = Sequence(heap, fill)
    for i in range(5000):
        s.push(b"task %06d" % i)
    full = heap.used
    for i in range(5000, 20_000):
        assert s.pop(True) == b"task %06d" % (i - 5000)
        s.push(b"task %06d" % i)
    s.check()
    assert heap.used < 1.1 * full + 8192  # the last block's room
    for i in range(15_000, 19_990):
        assert s.pop(True) == b"task %06d" % i
    s.check()
    assert heap.used < full / 5 + 2000


def test_small_blocks_are_joined_when_elements_leave(rng: random.Random) -> None:
    heap = Heap()
    s = Sequence(heap)
    for i in range(100_000):
        s.push(b"x%09d" % i)
    for _ in range(95_000):
        i = rng.randrange(len(s))
        s.remove(i, i + 1)
    s.check()
    assert s.blocks * 8192 < 4 * s.bytes
    assert heap.used < 2 * s.bytes


def test_small_blocks_are_joined_when_elements_shrink() -> None:
    s = Sequence(Heap(), -1)
    for _ in range(90):
        s.push(b"x" * 1300)
    assert s.blocks == 30
    for i in range(90):
        s.set(i, b"y")
        s.check()
    assert s.blocks < 6


@pytest.mark.parametrize("front", [False, True])
def test_a_small_end_is_joined_when_it_moves_into_the_tree(front: bool) -> None:
    s = Sequence(Heap(), 100)
    for i in range(1000):
        s.push(b"%d" % i)
    places = [(101, 200), (1, 100)] if front else [(801, 900), (801, 900)]
    for a, b in places:
        s.remove(a, b)
        s.check()
    assert s.blocks == 10
    s.push(b"x" * 9000, front)
    s.check()
    assert s.blocks == 10


def test_nodes_shrink_with_the_tree() -> None:
    heap = Heap()
    before = heap.used
    s = Sequence(heap, 1)
    for i in range(5000):
        s.push(b"%d" % i)
    s.remove(2, 4995)
    s.check()
    assert s.levels == 1
    assert heap.used - before < 5 * 130 + 600
    for i in range(3000):
        s.insert(3, b"%d" % i)
    s.check()


def test_memory_of_many_small_elements() -> None:
    """12 bytes of ten, and little beside: what the theory promises."""
    for front in (False, True):
        heap = Heap()
        before = heap.used
        s = Sequence(heap)
        for i in range(200_000):
            s.push(b"x%09x" % i, front)
        assert s.bytes == 200_000 * 12
        assert (heap.used - before) / 200_000 < 12.25
        assert abs(s.memory - (heap.used - before)) < 0.01 * s.memory + 8192


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_depth_keeps_ends_and_compresses_the_rest(depth: int) -> None:
    s = Sequence(Heap(), -1, depth)
    for i in range(5000):
        s.push(b"element number %d" % i)
    compressed = [was for _, _, was in s.save()]
    assert len(compressed) > 10
    assert compressed == [depth <= k < len(compressed) - depth for k in range(len(compressed))]
    assert s.memory < s.bytes / 2
    s.set(2500, b"changed")
    assert [was for _, _, was in s.save()] == compressed
    s.remove(0, 4900)
    s.check()


def test_depth_when_two_blocks_come_at_once() -> None:
    s = Sequence(Heap(), -1, 3)
    for i in range(5000):
        s.push(b"element number %d" % i)
    for i in (350, 5000 - 350, 100):
        s.insert(i, b"p" * 5000)
        s.check()


def test_what_does_not_compress_stays(rng: random.Random) -> None:
    s = Sequence(Heap(), -1, 1)
    for _ in range(400):
        s.push(rng.randbytes(100))
    s.check()
    assert not any(was for _, _, was in s.save())
    kept = s.share()
    s.set(200, b"x")
    s.check()
    kept.check()


@pytest.mark.parametrize(("fill", "limit"), [(-1, 4096), (-2, 8192), (-5, 65536), (-9, 65536), (128, 8192)])
def test_large_elements_are_plain(fill: int, limit: int) -> None:
    s = Sequence(Heap(), fill)
    sizes = [10, 10, limit - 20, limit, 100_000, 10, 3 * limit, 10]
    for size in sizes:
        s.push(b"x" * size)
    assert [len(data) for plain, data, _ in s.save() if plain] == [limit, 100_000, 3 * limit]
    assert all(len(data) <= limit for plain, data, _ in s.save() if not plain)
    for i in range(len(sizes)):
        s.set(i, b"y" * sizes[-1 - i])
        s.check()
    assert [len(e) for e in s.read(0, 100)] == sizes[::-1]
    s.insert(7, b"z" * limit)
    s.check()
    assert s.read(7, 1) == [b"z" * limit]


def test_a_saved_block_is_a_listpack() -> None:
    s = Sequence(Heap(), 3)
    for element in (b"a", b"12", b"-5000", b"b" * 70):
        s.push(element)
    body = b"".join(entry(e)[0] for e in (b"a", b"12", b"-5000"))
    assert s.save() == [
        (False, (len(body) + 7).to_bytes(4, "little") + b"\x03\x00" + body + b"\xff", False),
        (False, b"\x50\x00\x00\x00\x01\x00\xe0\x46" + b"b" * 70 + b"\x48\xff", False),
    ]


def test_untrusted_listpacks_leave_a_list_as_it_was() -> None:
    s = Sequence(Heap())
    s.push(b"a")
    for data in (b"", b"\x07\x00\x00\x00\x01\x00\xff", b"\x09\x00\x00\x00\x01\x00\x05\x02\xff"):
        assert not s.append_listpack(data)
    assert s.append_listpack(b"\x07\x00\x00\x00\x00\x00\xff")
    assert s.read(0, 9) == [b"a"]
    assert s.append_listpack(b"\x0b\x00\x00\x00\x01\x00\x8212\x03\xff")
    assert s.find(b"12", 0, False, 9) == ([1], 2)
    s.check()


def test_draining_is_done_in_steps() -> None:
    heap = Heap()
    before = heap.used
    s = Sequence(heap, 1)
    for i in range(1000):
        s.push(b"%d" % i)
    other = s.share()
    assert s.drain(1) == 1
    other.check()
    other.set(500, b"x")
    assert other.drain(100) > 9
    assert heap.used == before
