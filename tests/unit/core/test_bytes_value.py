"""Small collections against a bytearray: where their bytes lie, growing and shrinking, other owners."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cachefleet_server.core._testing_members import Bytes

pytestmark = pytest.mark.unit

EMBED_MAX = 1024  # bytes of key and value
KEYS = st.sampled_from([b"", b"k", b"key" * 30, b"k" * 256, b"k" * 600, b"k" * 1100])
SIZES = st.one_of(st.integers(0, 40), st.integers(0, 3000))


class Value(RuleBasedStateMachine):
    @initialize(key=KEYS, size=SIZES, expire=st.sampled_from([-1, 12345]))
    def start(self, key: bytes, size: int, expire: int) -> None:
        self.model = bytearray(b"v" * size)
        self.entry = Bytes(key, bytes(self.model), expire)
        self.key = key
        self.shared: bytes | None = None

    @rule(place=st.floats(0, 1), cut=SIZES, size=SIZES, what=st.integers(0, 255))
    def splice(self, place: float, cut: int, size: int, what: int) -> None:
        at = int(place * len(self.model))
        cut = min(cut, len(self.model) - at)
        put = bytes([what]) * size
        self.entry.splice(at, cut, put)
        self.model[at : at + cut] = put

    @rule()
    def share(self) -> None:
        self.entry.share()
        self.shared = None if self.entry.embedded else bytes(self.model)

    @rule()
    def release(self) -> None:
        self.entry.release()
        self.shared = None

    @rule(key=KEYS)
    def copy(self, key: bytes) -> None:
        self.entry.replace_by_copy(key)
        self.key = key

    @rule()
    def become_something_else(self) -> None:
        self.entry.to_pointer_and_back()

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "entry"):
            return
        self.entry.check()
        assert self.entry.value == self.model
        assert self.entry.key == self.key
        assert self.entry.shared_value == self.shared
        if not self.entry.embedded:
            assert len(self.model) <= self.entry.memory <= len(self.model) * 1.3 + 64

    def teardown(self) -> None:
        if hasattr(self, "entry"):
            assert self.entry.close() == 0


TestValue = Value.TestCase


def test_what_goes_back_and_forth_stays_where_it_is() -> None:
    entry = Bytes(b"key", b"v" * 1000)
    assert entry.embedded
    entry.splice(0, 0, b"v" * 100)
    assert not entry.embedded
    for _ in range(3):
        entry.splice(0, 500, b"")
        assert not entry.embedded
        entry.splice(0, 0, b"v" * 500)
    entry.splice(0, 600, b"")
    assert entry.embedded
    assert entry.close() == 0
