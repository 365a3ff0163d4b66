"""The ordered index against a sorted list: any mix of operations, check() after each.

What is drawn makes nodes alike and unlike: few scores (so equal ones go across leaves), infinities, both zeros, and
members with long common prefixes, zero bytes at their ends, none at all. Bulk rules make several levels.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right

import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cachefleet_server.ds._testing_btree import HASH, SET, TTL, ZSET, Tree
from fleettest.examples import examples

pytestmark = pytest.mark.unit

Word = float | int
Pair = tuple[Word, bytes]
LEAF = 61
LEAF_BYTES = 512

SCORES = st.sampled_from([0.0, -0.0, 1.0, 1.0, 1.0, 1.0000000000000002, -1.0, 5e-324, 1e300, math.inf, -math.inf])
TIMES = st.sampled_from([0, -1, 1, 1, 1, 256, 2**63 - 1, -(2**63), 1_700_000_000_000, 1_700_000_000_001])
TAILS = st.binary(max_size=4) | st.sampled_from([b"\0", b"\0\0", b"\xff", b"\0" * 9])
HEADS = st.sampled_from([b"", b"", b"k", b"user:", b"p" * 7, b"p" * 8, b"p" * 9, b"q" * 15, b"r" * 40, b"s" * 300])
MEMBERS = st.builds(lambda head, tail: head + tail, HEADS, TAILS)
SIZES = st.integers(0, 700) | st.integers(3500, 5000)  # two levels, three
KINDS = [  # is_double, form, offset, key_at
    (True, ZSET, 0, 8),
    (True, ZSET | TTL, 8, 8),  # the order of a sorted set, of a member with expiry
    (False, SET | TTL, 0, 8),
    (False, HASH | TTL, 0, 8),
    (False, ZSET | TTL, 0, 16),  # the expiry index of a sorted set
]


def sign(word: Word) -> float:
    return math.copysign(1, word) if isinstance(word, float) else 1


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.is_double, form, offset, key_at = KINDS[0]
        self.tree = Tree(self.is_double, form, offset, key_at)
        self.sorted: list[Pair] = []
        self.words: dict[bytes, Word] = {}

    @initialize(kind=st.sampled_from(KINDS), n=SIZES, seed=st.integers(), form=st.integers(0, 3))
    def start(self, kind: tuple[bool, int, int, int], n: int, seed: int, form: int) -> None:
        self.is_double = kind[0]
        self.tree = Tree(*kind)
        self.insert_many(n, seed, form)

    def word(self, score: float, time: int) -> Word:
        return score if self.is_double else time

    def add(self, word: Word, member: bytes) -> None:
        self.words[member] = word
        self.sorted.insert(bisect_left(self.sorted, (word, member)), (word, member))

    def drop(self, member: bytes) -> None:
        del self.sorted[bisect_left(self.sorted, (self.words.pop(member), member))]

    def some(self, number: int) -> bytes:
        return self.sorted[number % len(self.sorted)][1]

    def drawn(self, n: int, seed: int, form: int) -> list[Pair]:
        """New pairs: scattered, of one score, ascending, or around few members."""
        rng = random.Random(seed)
        out: dict[bytes, Word] = {}
        for i in range(n):
            word: Word = (1.0, rng.random(), float(i), rng.choice((0.0, -0.0, math.inf)))[form]
            if not self.is_double:
                word = (1, rng.getrandbits(40), i, 2**62)[form]
            member = rng.choice((b"", b"user:", b"r" * 40)) + (b"%06d" % i if form == 2 else rng.randbytes(3))
            if member not in self.words:
                out[member] = word
        return [(word, member) for member, word in out.items()]

    @rule(score=SCORES, time=TIMES, member=MEMBERS)
    def insert(self, score: float, time: int, member: bytes) -> None:
        if member not in self.words:
            self.add(self.word(score, time), member)
            self.tree.insert(self.word(score, time), member)

    @rule(n=st.integers(1, 300), seed=st.integers(), form=st.integers(0, 3))
    def insert_many(self, n: int, seed: int, form: int) -> None:
        for word, member in self.drawn(n, seed, form):
            self.add(word, member)
            self.tree.insert(word, member)

    @rule(n=st.integers(1, 300), seed=st.integers(), form=st.integers(0, 3))
    def build(self, n: int, seed: int, form: int) -> None:
        """Behind all that is there."""
        last = self.sorted[-1] if self.sorted else (-math.inf, b"")
        pairs = [p for p in self.drawn(n, seed, form) if p > last]
        for word, member in pairs:
            self.add(word, member)
        self.tree.build(pairs, sort=True)

    @precondition(lambda self: self.sorted)
    @rule(number=st.integers(0, 10**6))
    def remove(self, number: int) -> None:
        member = self.some(number)
        self.tree.remove(member)
        self.drop(member)

    @precondition(lambda self: self.sorted)
    @rule(n=st.integers(1, 200), number=st.integers(0, 10**6), step=st.sampled_from([0, 1, 7]))
    def remove_many(self, n: int, number: int, step: int) -> None:
        """At one place, in a row, or scattered."""
        for i in range(min(n, len(self.sorted))):
            member = self.some(number % len(self.sorted) + i * step)
            self.tree.remove(member)
            self.drop(member)

    @precondition(lambda self: self.sorted)
    @rule(n=st.integers(1, 300), from_end=st.booleans())
    def pop(self, n: int, from_end: bool) -> None:
        for _ in range(min(n, len(self.sorted))):
            member = self.sorted[-1 if from_end else 0][1]
            self.tree.remove(member)
            self.drop(member)

    @precondition(lambda self: self.sorted)
    @rule(number=st.integers(0, 10**6), score=SCORES, time=TIMES)
    def rescore(self, number: int, score: float, time: int) -> None:
        self.rescore_to(self.some(number), self.word(score, time))

    def rescore_to(self, member: bytes, word: Word) -> None:
        self.tree.rescore(member, word)
        self.drop(member)
        self.add(word, member)

    @precondition(lambda self: self.sorted)
    @rule(number=st.integers(0, 10**6), other=st.integers(-3, 3), far=st.integers(0, 10**6), n=st.integers(1, 60))
    def rescore_near(self, number: int, other: int, far: int, n: int) -> None:
        """To the score of an element near by, or of any."""
        for i in range(n):
            near = min(max((number + i) % len(self.sorted) + other, 0), len(self.sorted) - 1)
            word = self.sorted[far % len(self.sorted) if i % 8 == 7 else near][0]
            if i % 3 == 0 and isinstance(word, float) and math.isfinite(word):
                word = math.nextafter(word, math.inf if other > 0 else -math.inf)
            self.rescore_to(self.some(number + i), word)

    @precondition(lambda self: self.sorted)
    @rule(number=st.integers(0, 10**6))
    def replace(self, number: int) -> None:
        self.tree.replace(self.some(number))

    @rule(first=st.integers(0, 10**6), n=st.integers(0, 2000), part=st.booleans(), with_callback=st.booleans())
    def remove_range(self, first: int, n: int, part: bool, with_callback: bool) -> None:
        first %= len(self.sorted) + 2
        n = n % 130 if part else n
        gone = self.sorted[first : first + n]
        assert self.tree.remove_range(first, n, with_callback) == gone
        del self.sorted[first : first + n]
        for _, member in gone:
            del self.words[member]

    @rule(score=SCORES, time=TIMES, member=MEMBERS, n=st.integers(0, 140))
    def seek(self, score: float, time: int, member: bytes, n: int) -> None:
        word = self.word(score, time)
        for behind in (False, True):
            at = (bisect_right if behind else bisect_left)(self.sorted, (word, member))
            assert self.tree.rank_of_key(word, member, behind) == at
            assert self.tree.from_key(word, member, behind, n, False) == self.sorted[at : at + n]
            assert self.tree.from_key(word, member, behind, n, True) == self.sorted[:at][::-1][:n]
            by_word = (bisect_right if behind else bisect_left)(self.sorted, word, key=lambda p: p[0])
            assert self.tree.rank_of_word(word, behind) == by_word
            assert self.tree.from_word(word, behind, n, True) == self.sorted[:by_word][::-1][:n]
        if member not in self.words:
            assert not self.tree.is_there(word, member)

    @rule(number=st.integers(0, 10**6), n=st.integers(0, 140))
    def ranks(self, number: int, n: int) -> None:
        rank = number % (len(self.sorted) + 2)
        assert self.tree.forward_from_rank(rank, n) == self.sorted[rank : rank + n]
        assert self.tree.backward_from_rank(rank, n) == self.sorted[:rank][::-1][:n]
        if rank < len(self.sorted):
            assert self.tree.rank(self.sorted[rank][1]) == rank

    @invariant()
    def holds(self) -> None:
        self.tree.check()
        assert len(self.tree) == len(self.sorted)
        assert self.tree.first == (self.sorted[0] if self.sorted else None)
        assert self.tree.last == (self.sorted[-1] if self.sorted else None)
        assert self.tree.heap_used == self.tree.memory + self.tree.element_memory

    def teardown(self) -> None:
        found = self.tree.forward_from_rank(0, len(self.sorted) + 1)
        assert found == self.sorted
        assert self.tree.backward_from_rank(len(self.sorted), len(self.sorted)) == self.sorted[::-1]
        for word, member in found:
            assert sign(word) == sign(self.words[member])  # -0 stays as it is
        assert self.tree.close(remote=len(self.sorted) % 2 == 1) == 0


TestModel = Model.TestCase
TestModel.settings = examples(30, stateful_step_count=25, suppress_health_check=list(HealthCheck))


def filled(scores: list[float]) -> Tree:
    tree = Tree()
    for i, score in enumerate(scores):
        tree.insert(score, b"member:%08d" % i)
    tree.check()
    return tree


@pytest.mark.parametrize("step", [1, -1])
def test_elements_that_come_in_order_fill_their_leaves(step: int) -> None:
    tree = filled([float(step * i) for i in range(20_000)])
    assert tree.leaves == -(-20_000 // LEAF)


def test_built_leaves_are_full() -> None:
    tree = Tree()
    tree.build([(float(i), b"%d" % i) for i in range(20_000)])
    tree.check()
    assert tree.leaves == -(-20_000 // LEAF)
    assert tree.memory < 9.1 * 20_000


def test_random_elements_leave_little_room(rng: random.Random) -> None:
    tree = filled([rng.random() for _ in range(20_000)])
    assert tree.leaves * LEAF * 0.75 < 20_000


def test_a_window_that_moves_keeps_its_size() -> None:
    """Ascending, removed at the other end: a rate limit, a timeline."""
    tree = Tree()
    for i in range(20_000):
        tree.insert(float(i), b"%d" % i)
        if i >= 1000:
            tree.remove(b"%d" % (i - 1000))
        if i % 500 == 0:
            tree.check()
            assert tree.leaves <= 1000 // LEAF + 2


@pytest.mark.parametrize("kind", KINDS)
def test_big_ranges(kind: tuple[bool, int, int, int], rng: random.Random) -> None:
    """Whole subtrees go, at any place and of any size; what is left is a tree of the depth that it needs."""
    for _ in range(8):
        tree = Tree(*kind)
        pairs = [(i // 3 if not kind[0] else i / 3, b"%07d" % i) for i in range(30_000)]
        tree.build(pairs)
        while pairs:
            first = rng.randrange(len(pairs))
            n = rng.choice((1, 60, 500, 5000, 30_000))
            assert tree.remove_range(first, n) == pairs[first : first + n]
            del pairs[first : first + n]
            tree.check()
            assert tree.leaves <= max(1, len(pairs) // 20 + 2)
        assert tree.memory == LEAF_BYTES
        assert tree.close() == 0


def words_of(kind: tuple[bool, int, int, int], rng: random.Random) -> list[Word]:
    """Some that come often, and as many that come once."""
    if kind[0]:
        return [0.0, 1.0, -math.inf, *(rng.uniform(-9, 9) for _ in range(3))]
    return [0, 1, -(2**63), *(rng.getrandbits(63) for _ in range(3))]


@pytest.mark.parametrize("kind", KINDS)
def test_inner_nodes_split_share_and_merge(kind: tuple[bool, int, int, int], rng: random.Random) -> None:
    """Many elements come and go, at random or in one region: nodes of every level fill and drain."""
    tree = Tree(*kind)
    model: list[Pair] = []
    number = 0
    levels = set()
    for growing in (True, True, True, False, True, False, False, False, False):
        often, region = words_of(kind, rng), rng.random() < 0.5
        for _ in range(100):
            for _ in range(rng.randrange(100)):
                if growing:
                    number += 1
                    word = rng.choice(often) if rng.random() < 0.5 else words_of(kind, rng)[-1]
                    pair = (word, b"m:%d" % (number * 7919 % 1_000_003))
                    tree.insert(*pair)
                    model.insert(bisect_left(model, pair), pair)
                elif model:
                    at = len(model) // 3 if region else rng.randrange(len(model))
                    tree.remove(model.pop(at)[1])
            if rng.random() < 0.3 and model:
                at, n = rng.randrange(len(model)), rng.randrange(1, 150)
                assert tree.remove_range(at, n) == model[at : at + n]
                del model[at : at + n]
            for _ in range(min(20, len(model))):
                word, member = model.pop(rng.randrange(len(model)))
                pair = (rng.choice(words_of(kind, rng)), member)
                tree.rescore(member, pair[0])
                model.insert(bisect_left(model, pair), pair)
            tree.check()
            levels.add(tree.levels)
        assert tree.forward_from_rank(0, len(model)) == model
        for rank in rng.sample(range(len(model)), min(100, len(model))):
            assert tree.rank(model[rank][1]) == rank
            assert tree.rank_of_key(*model[rank], behind=True) == rank + 1
    assert levels == {1, 2, 3}
    for _, member in model:
        tree.remove(member)
    tree.check()
    assert tree.close() == 0


def test_equal_scores_across_leaves(rng: random.Random) -> None:
    """What lost elements elsewhere: one score, many leaves, and moves from it and to it."""
    tree = Tree()
    members = [b"user:%06d" % i for i in range(5000)]
    rng.shuffle(members)
    for member in members:
        tree.insert(1.0, member)
    tree.check()
    for member in rng.sample(members, 2000):
        tree.rescore(member, rng.choice((0.0, 1.0, 2.0)))
    tree.check()
    for member in members:
        tree.rescore(member, 1.0)
    tree.check()
    assert tree.forward_from_rank(0, 5000) == [(1.0, m) for m in sorted(members)]


def test_long_members() -> None:
    """Prefixes beyond every inline byte, and members that are prefixes of each other."""
    tree = Tree()
    for n in range(300):
        tree.insert(0.0, b"\0" * n)
        tree.insert(0.0, b"x" * 100_000 + b"\0" * n)
    tree.check()
    assert [m for _, m in tree.forward_from_rank(0, 300)] == [b"\0" * n for n in range(300)]
    assert tree.rank_of_key(0.0, b"x" * 100_000, True) == 301
    for n in range(0, 300, 2):
        tree.remove(b"x" * 100_000 + b"\0" * n)
        tree.remove(b"\0" * n)
    tree.check()
    assert tree.close() == 0
