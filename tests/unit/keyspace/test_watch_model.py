"""WATCH against a Python model, with expiry, FLUSHDB and SWAPDB.

The model keeps, per client, the watched keys and whether each was already expired when it was watched; its rules
are those of Valkey: an expired key counts as absent, so its deletion is no change.
"""

from __future__ import annotations

import pytest
from cachefleet_server.keyspace._testing import Keyspace
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fleettest.examples import examples

pytestmark = pytest.mark.unit

DATABASES = 3
CLIENTS = 4
DB = st.integers(0, DATABASES - 1)
KEY = st.sampled_from([b"", b"a", b"b", b"long" * 100])
CLIENT = st.integers(0, CLIENTS - 1)
TTL = st.one_of(st.just(-1), st.integers(1, 300))


class WatchMachine(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**32))
    def start(self, seed: int) -> None:
        self.ks = Keyspace(databases=DATABASES, seed=seed)
        for _ in range(CLIENTS - 1):
            self.ks.client()
        self.keys: list[dict[bytes, int]] = [{} for _ in range(DATABASES)]  # expiry or -1
        self.watches: list[dict[tuple[int, bytes], bool]] = [{} for _ in range(CLIENTS)]  # -> was expired
        self.dirty = [False] * CLIENTS
        self.now = 1

    def expired(self, db: int, key: bytes) -> bool:
        at = self.keys[db].get(key, -1)
        return at != -1 and at < self.now

    def touch(self, db: int, key: bytes) -> None:
        for client, watches in enumerate(self.watches):
            if (db, key) not in watches:
                continue
            if watches[db, key] and key not in self.keys[db]:
                watches[db, key] = False
            else:
                self.dirty[client] = True
                watches.clear()

    def meet(self, db: int, key: bytes) -> bool:
        """A lookup: deletes an expired key; whether it is there."""
        if self.expired(db, key):
            del self.keys[db][key]
            self.touch(db, key)
        return key in self.keys[db]

    @rule(client=CLIENT, db=DB, key=KEY)
    def watch(self, client: int, db: int, key: bytes) -> None:
        if self.dirty[client]:
            return
        self.ks.watch(client, db, key)
        self.watches[client].setdefault((db, key), self.expired(db, key))

    @rule(client=CLIENT)
    def unwatch(self, client: int) -> None:
        self.ks.unwatch(client)
        self.watches[client].clear()
        self.dirty[client] = False

    @rule(db=DB, key=KEY, ttl=TTL)
    def set(self, db: int, key: bytes, ttl: int) -> None:
        at = self.now + ttl if ttl != -1 else -1
        self.ks.set(db, key, b"v", at)
        self.meet(db, key)
        self.keys[db][key] = at
        self.touch(db, key)

    @rule(db=DB, key=KEY)
    def get(self, db: int, key: bytes) -> None:
        assert (self.ks.get(db, key) is not None) == self.meet(db, key)

    @rule(db=DB, key=KEY)
    def delete(self, db: int, key: bytes) -> None:
        there = key in self.keys[db]
        assert self.ks.delete(db, key) == there
        if there:
            del self.keys[db][key]
            self.touch(db, key)

    @rule(ms=st.integers(1, 400))
    def advance(self, ms: int) -> None:
        self.now += ms
        self.ks.now = self.now

    def replace(self, db: int, content: dict[bytes, int] | None) -> None:
        """What watchers of one database see when its content becomes `content`."""
        for client, watches in enumerate(self.watches):
            changed = False
            for (i, key), was_expired in list(watches.items()):
                if i != db:
                    continue
                was, comes = key in self.keys[db], content is not None and key in content
                comes_expired = comes and content is not None and content[key] != -1 and content[key] < self.now
                if not was and not comes:
                    continue
                if was_expired and not comes:
                    watches[i, key] = False
                elif was_expired and comes_expired:
                    pass
                elif not was_expired and not was and comes_expired:
                    watches[i, key] = True
                else:
                    changed = True
            if changed:
                self.dirty[client] = True
                watches.clear()

    @rule(db=st.integers(-1, DATABASES - 1))
    def flush(self, db: int) -> None:
        self.ks.flush(db, False)
        for i in range(DATABASES):
            if db in (-1, i):
                self.replace(i, None)
                self.keys[i] = {}

    @rule(a=DB, b=DB)
    def swap(self, a: int, b: int) -> None:
        self.ks.swap(a, b)
        if a != b:
            self.replace(a, self.keys[b])
            self.replace(b, self.keys[a])
            self.keys[a], self.keys[b] = self.keys[b], self.keys[a]

    @invariant()
    def equals_the_model(self) -> None:
        if not hasattr(self, "ks"):
            return
        self.ks.check()
        each = [len(w) for w in self.watches]
        assert self.ks.watching() == (sum(n > 0 for n in each), sum(each), each)
        for client, watches in enumerate(self.watches):
            late = any(not was and self.expired(db, key) for (db, key), was in watches.items())
            assert self.ks.conflict(client) == (self.dirty[client] or late)

    def teardown(self) -> None:
        if hasattr(self, "ks"):
            assert self.ks.close() == 0


TestWatch = WatchMachine.TestCase
TestWatch.settings = examples(40, stateful_step_count=50)


def test_many_watchers_of_one_key_and_many_keys_of_one_client() -> None:
    """Both shapes stay linear: looking for a double watch walks the shorter of the two lists."""
    ks = Keyspace()
    clients = [ks.client() for _ in range(60)]
    for client in clients:
        ks.watch(client, 0, b"shared")
    for i in range(20_000):
        ks.watch(0, 0, b"k%d" % i)
    ks.watch(0, 0, b"shared")
    ks.watch(0, 0, b"shared")
    assert ks.watching()[:2] == (61, 20_061)
    ks.set(0, b"shared", b"x")
    assert ks.watching()[:2] == (0, 0)
    assert all(ks.conflict(c) for c in [0, *clients])
    assert ks.close() == 0
