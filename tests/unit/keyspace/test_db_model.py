"""Databases against a Python model: random operations over strings, collections, expiry, snapshots, whole databases.

What is made of these operations by commands is the part of unit/test_engine_machine.py.

After every step all invariants hold (`check()`) and every database equals the model; at the end nothing is
left allocated. A snapshot, whenever it was begun and however its steps mix with changes, equals the model of its start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from cachefleet_server.keyspace._testing import Keyspace, Snapshot
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fleettest.examples import examples

pytestmark = pytest.mark.unit

DATABASES = 3
EMBSTR_MAX = 128


@dataclass(frozen=True, slots=True)
class Value:
    value: bytes | int  # bytes of a string, or the effort of a collection
    encoding: str
    expire: int = -1


def is_int(text: bytes) -> bool:
    try:
        number = int(text)
    except ValueError:
        return False
    return str(number).encode() == text and -(2**63) <= number < 2**63


def header(key: bytes, expires: bool) -> int:
    return 8 + 8 * expires + 1 + (2 if len(key) < 32 else 4) + len(key)


def label(key: bytes, value: bytes, had_expiry: bool) -> str:
    """OBJECT ENCODING of a string that SET has just stored."""
    if is_int(value):
        return "int"
    return "embstr" if header(key, had_expiry) + 4 + len(value) <= EMBSTR_MAX else "raw"


def expiring(key: bytes, v: Value, at: int) -> Value:
    """What EXPIRE makes of it."""
    if at != -1 and v.expire == -1 and v.encoding == "embstr" and header(key, True) > EMBSTR_MAX:
        return replace(v, encoding="raw", expire=at)
    return replace(v, expire=at)


KEYS = st.one_of(
    st.sampled_from([b"", b"a", b"b", b"c", b"k" * 31, b"k" * 32, b"k" * 107, b"k" * 108, b"K" * 255, b"K" * 256]),
    st.integers(0, 40).map(lambda i: b"key:%d" % i),
)
VALUES = st.one_of(
    st.binary(max_size=140),
    st.integers(-(2**63), 2**63 - 1).map(lambda i: str(i).encode()),
    st.sampled_from([b"", b"007", b"-0", b"x" * 768, b"x" * 1008, b"x" * 1024, b"x" * 1025, b"y" * 5000, b"z" * 40000]),
)
DB = st.integers(0, DATABASES - 1)
EXPIRE = st.one_of(st.just(-1), st.integers(1, 2000))


class DatabaseMachine(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**32))
    def start(self, seed: int) -> None:
        self.ks = Keyspace(databases=DATABASES, seed=seed)
        self.model: list[dict[bytes, Value]] = [{} for _ in range(DATABASES)]
        self.now = 1
        self.snapshot: Snapshot | None = None
        self.snapshot_model: dict[bytes, Value] = {}

    def is_string(self, db: int, key: bytes) -> bool:
        """Present, not expired, a string; without a lookup that would delete it."""
        v = self.model[db].get(key)
        return v is not None and isinstance(v.value, bytes) and (v.expire == -1 or v.expire >= self.now)

    def live(self, db: int, key: bytes) -> Value | None:
        """The model's answer to a lookup, which deletes what it finds expired."""
        v = self.model[db].get(key)
        if v is not None and v.expire != -1 and v.expire < self.now:
            del self.model[db][key]
            return None
        return v

    # -- strings

    @rule(db=DB, key=KEYS, value=VALUES, expire=EXPIRE, keep=st.booleans(), blob=st.booleans())
    def set(self, db: int, key: bytes, value: bytes, expire: int, keep: bool, blob: bool) -> None:
        blob = blob and len(value) > 1024
        at = self.now + expire if expire != -1 else -1
        self.ks.set(db, key, value, at, keep, blob)
        old = self.live(db, key)
        had = old is not None and old.expire != -1
        v = Value(value, label(key, value, had), old.expire if had else -1)
        if keep:
            at = v.expire
        self.model[db][key] = expiring(key, v, at)

    @rule(db=DB, key=KEYS, value=st.integers(-(2**63), 2**63 - 1), keep=st.booleans())
    def set_int(self, db: int, key: bytes, value: int, keep: bool) -> None:
        self.ks.set_int(db, key, value, -1, keep)
        old = self.live(db, key)
        self.model[db][key] = Value(b"%d" % value, "int", old.expire if keep and old is not None else -1)

    @rule(db=DB, key=KEYS, value=VALUES)
    def set_raw(self, db: int, key: bytes, value: bytes) -> None:
        if self.is_string(db, key) or key not in self.model[db]:
            old = self.live(db, key)
            assert self.ks.set_raw(db, key, value) == (old is not None)
            self.model[db][key] = Value(value, "raw", old.expire if old is not None else -1)

    @rule(db=DB, key=KEYS)
    def get(self, db: int, key: bytes) -> None:
        hits, misses = self.ks.hits, self.ks.misses
        got = self.ks.get(db, key)
        v = self.live(db, key)
        assert got == (v.value if v is not None else None)
        assert (self.ks.hits - hits, self.ks.misses - misses) == ((1, 0) if v is not None else (0, 1))

    # -- any type

    @rule(db=DB, key=KEYS, effort=st.sampled_from([1, 64, 65, 1000]), expire=EXPIRE)
    def add_collection(self, db: int, key: bytes, effort: int, expire: int) -> None:
        if self.live(db, key) is None:
            self.ks.delete(db, key)
            at = self.now + expire if expire != -1 else -1
            self.ks.add_block(db, key, effort, at)
            self.model[db][key] = Value(effort, "hashtable", at)

    @rule(db=DB, key=KEYS, expire=EXPIRE)
    def expire(self, db: int, key: bytes, expire: int) -> None:
        at = self.now + expire if expire != -1 else -1
        v = self.live(db, key)
        assert self.ks.expire(db, key, at) == (v is not None)
        if v is not None:
            self.model[db][key] = expiring(key, v, at)

    @rule(db=DB, key=KEYS, lazy=st.booleans())
    def delete(self, db: int, key: bytes, lazy: bool) -> None:
        assert self.ks.delete(db, key, lazy) == (self.model[db].pop(key, None) is not None)

    # -- whole databases and time

    @rule(db=st.integers(-1, DATABASES - 1), lazy=st.booleans())
    def flush(self, db: int, lazy: bool) -> None:
        self.ks.flush(db, lazy)
        for i in range(DATABASES):
            if db in (-1, i):
                self.model[i] = {}

    @rule(a=DB, b=DB)
    def swap(self, a: int, b: int) -> None:
        self.ks.swap(a, b)
        self.model[a], self.model[b] = self.model[b], self.model[a]

    @rule(db=DB, count=st.integers(1, 300))
    def set_many(self, db: int, count: int) -> None:
        for i in range(count):
            key = b"many:%d" % i
            old = self.live(db, key)
            self.ks.set(db, key, b"v%d" % i)
            self.model[db][key] = Value(b"v%d" % i, label(key, b"v%d" % i, old is not None and old.expire != -1))

    @rule(ms=st.integers(1, 500))
    def advance(self, ms: int) -> None:
        self.now += ms
        self.ks.now = self.now

    @rule()
    def cron(self) -> None:
        self.ks.cron()

    @rule(db=DB)
    def random(self, db: int) -> None:
        key = self.ks.random(db)
        assert (key is None and not self.model[db]) or key in self.model[db]

    # -- snapshots

    @precondition(lambda self: self.snapshot is None)
    @rule(db=DB)
    def snapshot_begin(self, db: int) -> None:
        self.snapshot = self.ks.snapshot(db)
        self.snapshot_model = dict(self.model[db])

    @precondition(lambda self: self.snapshot is not None)
    @rule(chains=st.integers(1, 5))
    def snapshot_step(self, chains: int) -> None:
        assert self.snapshot is not None
        if not self.snapshot.step(chains):
            rows = self.snapshot.rows
            assert {key: (value, at) for key, value, at in rows} == {
                key: (v.value, v.expire) for key, v in self.snapshot_model.items()
            }
            assert len(rows) == len(self.snapshot_model)
            self.snapshot = None

    @precondition(lambda self: self.snapshot is not None)
    @rule()
    def snapshot_abort(self) -> None:
        assert self.snapshot is not None
        self.snapshot.end()
        self.snapshot = None

    # -- checks

    @invariant()
    def equals_the_model(self) -> None:
        if not hasattr(self, "ks"):
            return
        self.ks.check()
        for db in range(DATABASES):
            rows = self.ks.rows(db)
            assert rows == {key: (v.value, v.expire) for key, v in self.model[db].items()}
            assert self.ks.expiring(db) == sum(v.expire != -1 for v in self.model[db].values())
            for key, v in self.model[db].items():
                assert self.ks.encoding(db, key) == v.encoding, (key, v)

    def teardown(self) -> None:
        if hasattr(self, "ks"):
            if self.snapshot is not None:
                self.snapshot.end()
            assert self.ks.close() == 0


TestDatabases = DatabaseMachine.TestCase
TestDatabases.settings = examples(30, stateful_step_count=60)
