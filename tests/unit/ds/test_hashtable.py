"""The hash table against a dict: any mix of operations, resizes both ways, scans and frozen iterations.

A few keys out of a small alphabet make collisions of keys likely; a bulk rule makes the table cross several sizes, so
that most examples run with a resize under way. `check()` runs after every step.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cachefleet_server.ds._testing import HashTable

pytestmark = pytest.mark.unit

GROW_LOAD = 9  # elements a bucket from which a table grows
NUMBERS = st.integers(0, 400)
HEADER_BYTES_MAX = 512
BUCKET, SLOTS = 64, 9  # bytes, elements


def key_of(number: int) -> bytes:
    return b"k" * (number % 40) + b"%d" % number


def scan_all(table: HashTable) -> Counter[tuple[bytes, int]]:
    seen: Counter[tuple[bytes, int]] = Counter()
    cursor = 0
    while True:
        cursor, chain = table.scan(cursor)
        seen.update(chain)
        if not cursor:
            return seen


class Table(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.table = HashTable()
        self.model: dict[bytes, int] = {}
        self.clock = 0
        self.frozen: dict[bytes, int] | None = None
        self.cursor = 0
        self.present: dict[bytes, None] = {}  # keys that have been there since the scan began
        self.scanned: set[bytes] = set()

    @initialize(a=st.integers(0, 2**64 - 1), b=st.integers(0, 2**64 - 1), n=st.integers(0, 60))
    def start(self, a: int, b: int, n: int) -> None:
        self.table = HashTable(a, b, a ^ b)
        self.insert_many(0, n)

    def tick(self) -> int:
        self.clock += 1
        return self.clock

    # -- mutations

    @rule(number=NUMBERS, move=st.booleans())
    def store(self, number: int, move: bool) -> None:
        key = key_of(number)
        if key in self.model:
            self.table.update(key, self.tick(), move)
        else:
            self.table.insert(key, self.tick())
        self.model[key] = self.clock

    @rule(first=NUMBERS, n=st.integers(1, 80))
    def insert_many(self, first: int, n: int) -> None:
        for number in range(first, first + n):
            if key_of(number) not in self.model:
                self.store(number, False)

    @rule(number=NUMBERS)
    def remove(self, number: int) -> None:
        key = key_of(number)
        assert self.table.remove(key) == self.model.pop(key, None)
        self.present.pop(key, None)

    @rule(first=NUMBERS, n=st.integers(1, 150))
    def remove_many(self, first: int, n: int) -> None:
        for number in range(first, first + n):
            self.remove(number)

    @rule(n=st.integers(0, 40))
    def rehash(self, n: int) -> None:
        more = self.table.rehash_steps(n)
        assert more == self.table.rehashing

    @rule()
    def cron(self) -> None:
        assert self.table.resize_if_needed() == self.table.rehashing

    @rule(n=st.integers(0, 1000))
    def reserve(self, n: int) -> None:
        self.table.reserve(n)
        assert self.table.slots >= n

    @precondition(lambda self: self.frozen is None)
    @rule()
    def clear(self) -> None:
        self.table.clear()
        self.model.clear()
        self.present.clear()

    # -- reading

    @rule(number=NUMBERS)
    def find(self, number: int) -> None:
        assert self.table.find(key_of(number)) == self.model.get(key_of(number))

    @rule()
    def pick(self) -> None:
        found = self.table.random()
        assert found in self.model.items() if found else not self.model

    @rule(n=st.integers(0, 30))
    def sample(self, n: int) -> None:
        found = self.table.sample(n)
        assert len(found) <= n
        assert len(set(found)) == len(found)
        assert set(found) <= self.model.items()
        assert found or not n or not self.model

    @rule()
    def scan_begin(self) -> None:
        self.cursor, chain = self.table.scan(0)
        self.present = dict.fromkeys(self.model)
        self.scanned = {key for key, _ in chain}
        self.scan_ended()

    @precondition(lambda self: self.cursor)
    @rule(n=st.integers(1, 20))
    def scan_on(self, n: int) -> None:
        for _ in range(n):
            if not self.cursor:
                break
            self.cursor, chain = self.table.scan(self.cursor)
            assert set(chain) <= self.model.items()
            self.scanned.update(key for key, _ in chain)
        self.scan_ended()

    def scan_ended(self) -> None:
        if not self.cursor:
            assert self.scanned >= self.present.keys()

    # -- freezing

    @precondition(lambda self: self.frozen is None)
    @rule()
    def freeze(self) -> None:
        self.frozen = dict(self.model)
        self.table.freeze_begin()

    @precondition(lambda self: self.frozen is not None)
    @rule(chains=st.integers(1, 40))
    def deliver(self, chains: int) -> None:
        if not self.table.freeze_step(chains):
            delivered = [pair for chain in self.table.freeze_end() for pair in chain]
            assert len(delivered) == len(dict(delivered))
            assert dict(delivered) == self.frozen
            self.frozen = None
            assert self.table.stale_versions == 0

    @precondition(lambda self: self.frozen is not None)
    @rule()
    def freeze_end_early(self) -> None:
        delivered = [pair for chain in self.table.freeze_end() for pair in chain]
        assert len(delivered) == len(dict(delivered))
        assert self.frozen is not None
        assert set(delivered) <= self.frozen.items()
        self.frozen = None

    # -- always

    @invariant()
    def holds(self) -> None:
        self.table.check()
        assert len(self.table) == len(self.model)

    def teardown(self) -> None:
        if self.frozen is not None:
            self.freeze_end_early()
        assert scan_all(self.table).keys() == self.model.items()
        assert self.table.close() == 0


TestTable = Table.TestCase
TestTable.settings = settings(
    max_examples=150, stateful_step_count=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def filled(n: int, seed: int = 1) -> HashTable:
    table = HashTable(seed, seed + 1, seed)
    for i in range(n):
        table.insert(b"key:%d" % i, i)
    return table


@pytest.mark.parametrize("n", [0, 1, 9, 10, 60, 5000])
def test_fill_and_empty_gives_everything_back(n: int) -> None:
    table = filled(n)
    table.check()
    assert [table.find(b"key:%d" % i) for i in range(n)] == list(range(n))
    assert table.find(b"key:%d" % n) is None
    assert [table.remove(b"key:%d" % i) for i in range(n)] == list(range(n))
    table.check()
    assert len(table) == 0
    assert table.close() == 0


def test_an_empty_table_owns_no_buckets() -> None:
    table = HashTable()
    assert table.slots == 0
    # malloc rounds the header up to 8 (mod 16) bytes and hands out 16 more where the rest is too small to keep.
    assert 0 <= table.heap_used - table.memory <= 24
    assert table.heap_used <= HEADER_BYTES_MAX + 24
    assert table.scan(0) == (0, [])
    assert table.remove(b"x") is None
    table.insert(b"x", 1)
    assert table.slots == SLOTS


def test_shrinks_while_elements_leave() -> None:
    """No cron is needed: a table that shrank to a thousandth has given its buckets back."""
    table = filled(20_000)
    before = table.memory
    for i in range(19_980):
        table.remove(b"key:%d" % i)
    table.check()
    while table.resize_if_needed():
        table.rehash_steps(100)
    assert table.memory < before / 100
    assert sorted(v for _, v in scan_all(table)) == list(range(19_980, 20_000))


@pytest.mark.parametrize("n", [9, 100, 3000])
def test_memory_of_a_table_at_rest_is_that_of_its_buckets(n: int) -> None:
    table = filled(n)
    while table.rehash_steps(100):
        pass
    assert table.children or n < 100
    assert table.memory == HashTable().memory + BUCKET * (table.slots // SLOTS + table.children)


def test_memory_an_element_over_a_doubling() -> None:
    """What the .pyx promises: 11.6 bytes on average, and used_memory without a jump when a resize begins."""
    table = HashTable()
    i, worst, previous = 0, 0, 0
    costs: list[float] = []
    while i < 64_000:
        table.insert(b"%d" % i, i)
        i += 1
        worst = max(worst, table.memory - previous)
        previous = table.memory
        if i > 16_000:
            costs.append(table.memory / i)
    assert sum(costs) / len(costs) < 12.5
    assert max(costs) < 18
    assert worst <= 64 * 8


def test_overflow_is_rare_right_after_growing() -> None:
    table = filled(GROW_LOAD * 4096 + 1)
    while table.rehash_steps(1000):
        pass
    assert table.slots == SLOTS * 8192
    assert table.children < 0.06 * 8192


def test_reserve_avoids_resizing() -> None:
    table = HashTable()
    table.reserve(10_000)
    layout = table.layout_id
    for i in range(10_000):
        table.insert(b"%d" % i, i)
    assert table.layout_id == layout
    table.check()


def test_reserve_while_growing_and_full() -> None:
    table = filled(2000)
    table.reserve(100_000)
    assert table.rehashing
    while table.rehash_steps(10):
        pass
    table.check()
    assert table.slots >= 100_000
    assert [table.find(b"key:%d" % i) for i in range(2000)] == list(range(2000))


def test_large_tables_come_from_mappings() -> None:
    """Arrays of over 256 KiB are mapped; parts of 2 MiB are given back while they are moved."""
    n = GROW_LOAD * 65536 + 1000  # more than as many buckets of 64 bytes hold
    table = filled(n)
    table.check()
    assert table.rehashing
    assert all(table.find(b"key:%d" % i) == i for i in range(0, n, 97))
    while table.rehash_steps(1000):
        pass
    table.check()
    for i in range(n):
        table.remove(b"key:%d" % i)
    table.check()
    assert table.close() == 0


# ---- sampling ------------------------------------------------------------------------------------


def chi_square(counts: Counter[bytes], n: int, draws: int) -> float:
    expected = draws / n
    return sum((counts[b"key:%d" % i] - expected) ** 2 / expected for i in range(n))


@pytest.mark.parametrize("n", [1, 5, 29, 300])
@pytest.mark.parametrize("resizing", [False, True])
def test_random_is_fair(n: int, resizing: bool, rng: random.Random) -> None:
    """Chi-square below mean + 6 standard deviations: false alarm in about 1 of 10^7 runs."""
    table = HashTable(rng.getrandbits(64), rng.getrandbits(64), rng.getrandbits(64))
    for i in range(n):
        table.insert(b"key:%d" % i, i)
    while table.rehash_steps(100):
        pass
    if resizing:
        table.reserve(20 * n)
        table.rehash_steps(n // 15)
        assert table.rehashing
    draws = 200 * n
    counts = Counter(pair[0] for pair in (table.random() for _ in range(draws)) if pair)
    assert chi_square(counts, n, draws) < n - 1 + 6 * (2 * n) ** 0.5 + 1


def test_random_in_a_table_that_was_emptied(rng: random.Random) -> None:
    """Nothing shrinks while a scan callback runs, so a big empty table with one element left can be had."""
    table = filled(3000, rng.getrandbits(32))
    cursor = 0
    while True:
        cursor, _ = table.scan_changing(cursor, lambda key, _: ([] if key == b"key:7" else [key], []))
        if not cursor:
            break
    table.check()
    assert table.slots >= 3000
    assert {table.random() for _ in range(20)} == {(b"key:7", 7)}
    assert table.sample(5) == [(b"key:7", 7)]


def test_sample_reaches_every_element(rng: random.Random) -> None:
    table = filled(500, rng.getrandbits(32))
    seen = {pair for _ in range(4000) for pair in table.sample(5)}
    assert len(seen) == 500


# ---- scan ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [10, 1000])
@pytest.mark.parametrize("after", [10, 1000])
def test_scan_across_resizes(before: int, after: int, rng: random.Random) -> None:
    """Ten elements stay; the rest come or go between two steps of the scan."""
    table = HashTable(rng.getrandbits(64), rng.getrandbits(64))
    for i in range(10):
        table.insert(b"stay:%d" % i, i)
    for i in range(before):
        table.insert(b"go:%d" % i, i)
    seen: set[bytes] = set()
    cursor, step = 0, 0
    while True:
        cursor, chain = table.scan(cursor)
        seen.update(key for key, _ in chain)
        if not cursor:
            break
        step += 1
        if step == 2:
            for i in range(before):
                table.remove(b"go:%d" % i)
            while table.resize_if_needed():
                table.rehash_steps(rng.randrange(1, 5))
                cursor, chain = table.scan(cursor)
                seen.update(key for key, _ in chain)
                if not cursor:
                    break
        elif step == 4:
            for i in range(after):
                table.insert(b"come:%d" % i, i)
        table.check()
        if not cursor:
            break
    assert seen >= {b"stay:%d" % i for i in range(10)}


def test_scan_returns_each_element_once_in_a_table_at_rest() -> None:
    table = filled(3000)
    while table.rehash_steps(100):
        pass
    assert set(scan_all(table).values()) == {1}


def test_callbacks_may_remove_and_insert(rng: random.Random) -> None:
    """The delivered element, others of the same chain, others anywhere; new ones that make chains longer."""
    for round_ in range(30):
        table = filled(rng.choice([5, 40, 400]), rng.getrandbits(32))
        model = dict(scan_all(table).keys())
        fresh = iter(range(10_000, 20_000))

        def change(
            key: bytes, value: int, model: dict[bytes, int] = model, fresh: Iterator[int] = fresh
        ) -> tuple[list[bytes], list[tuple[bytes, int]]]:
            assert model[key] == value
            doomed = [key] if rng.random() < 0.4 else []
            doomed += [k for k in rng.sample(sorted(model), min(3, len(model))) if k not in doomed]
            for k in doomed:
                del model[k]
            born = [(b"new:%d" % i, i) for i in (next(fresh) for _ in range(rng.randrange(3)))]
            model.update(born)
            return doomed, born

        cursor = 0
        while True:
            cursor, _ = table.scan_changing(cursor, change)
            table.check()
            if not cursor:
                break
        assert scan_all(table).keys() == model.items(), round_
        assert table.close() == 0


# ---- freezing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["insert", "remove", "update", "rehash", "reserve", "scan"])
def test_frozen_iteration_is_exact_under(change: str, rng: random.Random) -> None:
    """All of one kind of change between any two steps, from a table at rest and from one in a resize."""
    for n in (6, 50, 448, 449, 500, 900):
        table = filled(n, rng.getrandbits(32))
        table.freeze_begin()
        i = 0
        while table.freeze_step(1):
            i += 1
            if change == "insert":
                for j in range(rng.randrange(8)):
                    table.insert(b"new:%d:%d" % (i, j), i)
            elif change == "remove":
                for _ in range(rng.randrange(16)):
                    table.remove(b"key:%d" % rng.randrange(n))
            elif change == "update":
                for _ in range(rng.randrange(8)):
                    table.update(b"key:%d" % rng.randrange(n), -1, rng.random() < 0.5)
            elif change == "rehash":
                table.rehash_steps(rng.randrange(8))
            elif change == "reserve":
                table.reserve(n * rng.randrange(1, 40))
                table.rehash_steps(rng.randrange(200))
            else:
                table.scan_changing(rng.getrandbits(9), lambda key, _: ([key], [(key + b"'", -1)]))
            table.check()
        delivered = [pair for chain in table.freeze_end() for pair in chain]
        assert sorted(delivered) == sorted((b"key:%d" % i, i) for i in range(n))
        table.check()
        assert table.close() == 0


def test_freeze_that_begins_while_shrinking(rng: random.Random) -> None:
    """Several buckets move into one: it holds elements of before the freeze when the next ones arrive."""
    for moved in range(0, 40, 3):
        table = filled(4000, rng.getrandbits(32))
        i = 0
        while not table.rehashing or i < 3000:
            table.remove(b"key:%d" % i)
            i += 1
        table.rehash_steps(moved)
        assert table.rehashing
        table.freeze_begin()
        while table.rehashing:
            table.rehash_steps(1)
            table.check()
        while table.freeze_step(3):
            pass
        delivered = [pair for chain in table.freeze_end() for pair in chain]
        assert sorted(delivered) == sorted((b"key:%d" % j, j) for j in range(i, 4000))


def test_early_ends_in_a_row(rng: random.Random) -> None:
    """Chains that were not delivered keep old versions. None may pass for delivered, also when versions wrap."""
    table = filled(300)
    while table.rehash_steps(100):
        pass
    for round_ in range(3 * 128):
        table.freeze_begin()
        for _ in range(rng.randrange(4)):
            table.freeze_step(rng.randrange(6))
        table.freeze_end()
        table.check()
        assert table.stale_versions == (round_ + 1) % 127, "all chains are stamped once in 127 ends"
    for _ in range(9):
        for _ in range(rng.randrange(140)):
            table.freeze_begin()
            table.freeze_step(rng.randrange(6))
            table.freeze_end()
        table.freeze_begin()
        while table.freeze_step(5):
            pass
        delivered = [pair for chain in table.freeze_end() for pair in chain]
        assert sorted(delivered) == sorted((b"key:%d" % i, i) for i in range(300))


def test_elements_added_between_freezes_belong_to_the_next() -> None:
    """Also in buckets that were never used: their version of 0 must not count as delivered."""
    table = HashTable()
    table.reserve(2000)
    for i in range(40):
        table.insert(b"%d" % i, i)
        table.freeze_begin()
        while table.freeze_step(10):
            pass
        assert sum(map(len, table.freeze_end())) == i + 1


def test_freeze_step_looks_at_a_bounded_number_of_buckets() -> None:
    table = HashTable()
    table.reserve(50_000)
    for i in range(5):
        table.insert(b"%d" % i, i)
    table.freeze_begin()
    steps = 1
    while table.freeze_step(10):
        steps += 1
    assert steps >= table.slots / SLOTS / (8 * 10)
    assert sum(map(len, table.freeze_end())) == 5
