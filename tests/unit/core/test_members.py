"""Tables of members against a dict: all that commands do to them, copies, and saves that are of one point in time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cachefleet_server.core._testing_members import Members, read_strings
from fleettest.client import parse

pytestmark = pytest.mark.unit

SET, HASH, ZSET = 0, 1, 2
NUMBERS = st.integers(0, 400)
VALUES = st.one_of(st.binary(max_size=20), st.sampled_from([b"v" * 250, b"v" * 300, b"v" * 5000]))
EXPIRIES = st.one_of(st.none(), st.integers(0, 2**62))
SAVE_STEP = 16384  # bytes
GROUP = 64  # members of a command


def key_of(number: int) -> bytes:
    return b"k" * (number % 300) + b"%d" % number


def words_of(data: bytes) -> list[list[bytes]]:
    commands, at = [], 0
    while at < len(data):
        command, at = parse(data, at)
        assert isinstance(command, list)
        commands.append(command)
    return commands


class Table(RuleBasedStateMachine):
    @initialize(form=st.sampled_from([SET, HASH, ZSET]), room=st.sampled_from([0, 100]), n=st.integers(0, 100))
    def start(self, form: int, room: int, n: int) -> None:
        self.form = form
        self.table = Members(form, room)
        self.model: dict[bytes, tuple[Any, int | None]] = {}
        self.frozen: Counter[bytes] | None = None
        self.first_at = 0
        self.insert_many(0, n)

    def value_for(self, value: bytes) -> Any:
        return value if self.form == HASH else float(len(value)) if self.form == ZSET else b""

    @rule(number=NUMBERS, value=VALUES, expiry=EXPIRIES)
    def insert(self, number: int, value: bytes, expiry: int | None) -> None:
        key = key_of(number)
        if key not in self.model:
            self.model[key] = (self.value_for(value), expiry)
            self.table.insert(key, *self.model[key])

    @rule(first=NUMBERS, n=st.integers(1, 150))
    def insert_many(self, first: int, n: int) -> None:
        for number in range(first, first + n):
            self.insert(number, b"v" * (number % 9), number if number % 5 == 0 else None)

    @rule(number=NUMBERS)
    def remove(self, number: int) -> None:
        key = key_of(number)
        expected = self.model.pop(key, None)
        assert self.table.remove(key) == (None if expected is None else (key, *expected))

    @rule(first=NUMBERS, n=st.integers(1, 200))
    def remove_many(self, first: int, n: int) -> None:
        for number in range(first, first + n):
            self.remove(number)

    @rule(number=NUMBERS, value=VALUES)
    def set_value(self, number: int, value: bytes) -> None:
        key = key_of(number)
        if self.form == HASH and key in self.model:
            self.table.set_value(key, value)
            self.model[key] = (value, self.model[key][1])

    @rule(number=NUMBERS, expiry=EXPIRIES)
    def set_expiry(self, number: int, expiry: int | None) -> None:
        key = key_of(number)
        if key in self.model:
            self.table.set_expiry(key, expiry)
            self.model[key] = (self.model[key][0], expiry)

    @precondition(lambda self: self.frozen is None)
    @rule()
    def copy(self) -> None:
        self.table.replace_by_copy()

    # -- walks

    @rule(now=st.sampled_from([-1, 100, 2**62]))
    def walk(self, now: int) -> None:
        left = {key: value for key, (value, expiry) in self.model.items() if expiry is None or expiry >= now}
        seen = self.table.walk(now)
        assert dict(seen) == left
        assert len(seen) == len(left)
        one = self.table.random(now)
        assert one in left.items() if left else one is None

    @rule(n=st.integers(0, 300), now=st.sampled_from([-1, 100, 2**62]))
    def pick(self, n: int, now: int) -> None:
        left = {key: value for key, (value, expiry) in self.model.items() if expiry is None or expiry >= now}
        seen = self.table.pick(n, now)
        assert len(dict(seen)) == len(seen) == min(n, len(left))
        assert dict(seen).items() <= left.items()

    # -- saving

    def expect(self) -> None:
        self.frozen = Counter(list(self.model))
        self.first_at = -1
        self.written = 0

    @rule(commands=st.booleans())
    def save_begin(self, commands: bool) -> None:
        if self.frozen is None:
            self.table.save_begin(True, commands)
            self.expect()
            self.commands = commands

    @rule(steps=st.integers(1, 4))
    def save_steps(self, steps: int) -> None:
        """Some of them, while members change in between."""
        if self.frozen is None:
            return
        while steps:
            steps -= 1
            more, n = self.table.save_step()
            assert n <= SAVE_STEP + GROUP * 6000
            if not more:
                self.save_end(True)
                return

    @rule()
    def save_end(self, whole: bool = False) -> None:
        if self.frozen is None:
            return
        data, frozen, self.frozen = self.table.save_end(), self.frozen, None
        if self.commands:
            found = Counter(word for command in words_of(data) for word in command[2:])
            assert all(command[:2] == [b"ADD", b"key"] for command in words_of(data))
            assert found == frozen if whole else found <= frozen

    @rule(commands=st.booleans())
    def save_whole(self, commands: bool) -> None:
        if self.frozen is not None:
            return
        self.table.save_begin(False, commands)
        while self.table.save_step()[0]:
            pass
        data = self.table.save_end()
        if commands:
            words = words_of(data)
            assert all(command[:2] == [b"ADD", b"key"] and len(command) <= GROUP + 2 for command in words)
            assert len(words) <= len(self.model) // GROUP + len(self.model) // 8 + 1
            assert Counter(word for command in words for word in command[2:]) == Counter(list(self.model))
        else:
            count, found = read_strings(data, 0)
            assert count == len(self.model)
            assert Counter(found) == Counter(list(self.model))

    # -- always

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "table"):
            return
        self.table.check()
        assert len(self.table) == len(self.model)
        assert {key: (value, expiry) for key, value, expiry in self.table.items()} == self.model
        for number in (0, 1, 17, 300):
            key = key_of(number)
            expected = self.model.get(key)
            assert self.table.find(key) == (None if expected is None else (key, *expected))
        if self.frozen is None:
            assert 0 <= self.table.used - self.table.memory < 200_000  # slabs' spare

    def teardown(self) -> None:
        if hasattr(self, "table"):
            if self.frozen is not None:
                self.table.save_end()
            self.table.close(remote=len(self.model) % 2 == 1)


TestTable = Table.TestCase


@pytest.mark.parametrize("form", [SET, HASH, ZSET])
@pytest.mark.parametrize("remote", [False, True])
def test_all_memory_comes_back(form: int, remote: bool) -> None:
    table = Members(form)
    for i in range(1000):
        table.insert(b"key%d" % i, b"value" if form == HASH else 1.0, i if i % 3 == 0 else None)
    for i in range(500):
        table.remove(b"key%d" % i)
        table.set_expiry(b"key%d" % (i + 500), i if i % 2 else None)
    assert table.memory > 500 * 16
    assert table.close(remote) == 0


def test_a_held_save_is_of_its_beginning_with_the_count_where_the_first_step_began() -> None:
    table = Members(SET)
    keys = [b"member:%d" % i for i in range(2000)]
    for key in keys:
        table.insert(key)
    table.save_begin(True, False)
    for key in keys[:10]:
        table.remove(key)
    table.insert(b"new")
    ahead = 0
    more, n = table.save_step()
    written, steps = n, 1
    while more:
        for key in keys[steps * 20 : steps * 20 + 10]:
            table.remove(key)
        more, n = table.save_step()
        assert n < 2 * SAVE_STEP
        written += n
        steps += 1
    data = table.save_end()
    assert steps > 2
    ahead = data.index(b"\x47\xd0")  # the length 2000 in 14 bits
    count, found = read_strings(data, ahead)
    assert count == 2000
    assert sorted(found) == sorted(keys)
    assert table.close() == 0


def test_commands_may_need_more_commands() -> None:
    table = Members(SET)
    for i in range(100):
        table.insert(b"%d" % i)
    table.save_begin(False, True, more=True)
    while table.save_step()[0]:
        pass
    data = table.save_end()
    assert data.count(b"$4\r\nMORE\r\n") == data.count(b"ADD") >= 2
    table.close()


def test_a_walk_sees_whatever_is_there_all_the_time() -> None:
    table = Members(SET)
    kept = {b"kept:%d" % i for i in range(500)}
    for key in kept:
        table.insert(key)
    seen, cursor, round_ = set(), 0, 0
    while True:
        cursor, found = table.walk_step(cursor)
        seen |= {key for key, _ in found}
        if not cursor:
            break
        for i in range(200):  # grows, and shrinks again
            key = b"other:%d" % (round_ // 2 * 200 + i)
            if round_ % 2:
                assert table.remove(key)
            else:
                table.insert(key)
        round_ += 1
    assert round_ > 20
    assert kept <= seen
    table.close()


@pytest.mark.parametrize(("size", "n"), [(90, 20), (90, 60), (1, 1), (7, 3)])
def test_picks_and_draws_are_fair(size: int, n: int) -> None:
    """Within five standard deviations, also while most members' time is up; the draws begin alike each time."""
    table = Members(SET)
    for i in range(size):
        table.insert(b"%d" % i)
    for i in range(size * 3):
        table.insert(b"due:%d" % i, b"", 5)
    rounds = 4000
    picked = Counter(key for _ in range(rounds) for key, _ in table.pick(n, 10))
    drawn = Counter(seen[0] for seen in (table.random(10) for _ in range(rounds)) if seen)
    for counts, share in ((picked, n / size), (drawn, 1 / size)):
        spread = 5 * (rounds * share * (1 - share)) ** 0.5
        assert len(counts) == size
        assert all(abs(count - rounds * share) <= spread for count in counts.values()), counts
    table.close()


def test_one_that_is_left_among_many_whose_time_is_up() -> None:
    table = Members(SET)
    for i in range(5000):
        table.insert(b"due:%d" % i, b"", 5)
    assert table.random(10) is None
    assert table.pick(3, 10) == []
    table.insert(b"left")
    assert table.random(10) == (b"left", b"")
    assert table.pick(3, 10) == [(b"left", b"")]
    table.close()
