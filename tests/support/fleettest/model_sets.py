"""Sets. A value is a frozenset; encodings are compared with the real server elsewhere."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

from fleettest.model_base import Failure, Value, number
from fleettest.model_members import Members as Timed

TYPE = "set"
Members = frozenset[bytes]


class Sets(Timed):
    def members(self, key: bytes) -> Members:
        value = self.find(key, TYPE)
        return self.shown(value) if value is not None else frozenset()

    def _keep_members(self, key: bytes, members: Members) -> None:
        old = self.find(key)
        if not members:
            self.keys.pop(key, None)
        else:
            had = old.times if old is not None else {}
            times = {name: at for name, at in had.items() if name in members and at >= self.now}  # or it comes anew
            self.keys[key] = replace(old or Value(TYPE, members), data=members, times=times)

    def do_sadd(self, key: bytes, *words: bytes) -> int:
        old = self.members(key)
        self._keep_members(key, old | frozenset(words))
        return len(frozenset(words) - old)

    def do_srem(self, key: bytes, *words: bytes) -> int:
        old = self.members(key)
        self._keep_members(key, old - frozenset(words))
        return len(frozenset(words) & old)

    def do_scard(self, key: bytes) -> int:
        return self.count_members(key, TYPE)

    def do_sismember(self, key: bytes, word: bytes) -> int:
        return int(word in self.members(key))

    def do_smismember(self, key: bytes, *words: bytes) -> list[int]:
        return [self.do_sismember(key, word) for word in words]

    def do_smembers(self, key: bytes) -> Members:
        return self.members(key)

    def do_smove(self, source: bytes, target: bytes, word: bytes) -> int:
        if self.find(source) is None:
            return 0
        self.members(source)
        self.members(target)
        if source != target:
            self.purge(self.db, target)
            self.purge(self.db, source)
        if word not in self.members(source):
            return 0
        if source != target:
            self.do_srem(source, word)
            self.do_sadd(target, word)
        return 1

    def do_spop(self, key: bytes, count: bytes) -> Members:
        """Of all, so that chance has no say."""
        if number(count) < 0:
            raise Failure("ERR")
        found = self.members(key)
        assert number(count) >= len(found)
        self._keep_members(key, frozenset())
        return found

    def _intersection(self, keys: tuple[bytes, ...]) -> Members:
        return reduce(frozenset.intersection, [self.members(key) for key in keys])

    def _union(self, keys: tuple[bytes, ...]) -> Members:
        return reduce(frozenset.union, [self.members(key) for key in keys])

    def _difference(self, keys: tuple[bytes, ...]) -> Members:
        return reduce(frozenset.difference, [self.members(key) for key in keys])

    def _purge_sources(self, keys: tuple[bytes, ...]) -> None:
        """Up to one of another type."""
        for key in keys:
            self.members(key)
            self.purge(self.db, key)

    def _stored(self, key: bytes, members: Members) -> int:
        self.find(key)
        self.keys.pop(key, None)
        self._keep_members(key, members)
        return len(members)

    def do_sinter(self, *keys: bytes) -> Members:
        return self._intersection(keys)

    def do_sunion(self, *keys: bytes) -> Members:
        return self._union(keys)

    def do_sdiff(self, *keys: bytes) -> Members:
        return self._difference(keys)

    def do_sinterstore(self, target: bytes, *keys: bytes) -> int:
        self._purge_sources(keys)
        return self._stored(target, self._intersection(keys))

    def do_sunionstore(self, target: bytes, *keys: bytes) -> int:
        self._purge_sources(keys)
        return self._stored(target, self._union(keys))

    def do_sdiffstore(self, target: bytes, *keys: bytes) -> int:
        self._purge_sources(keys)
        return self._stored(target, self._difference(keys))

    def do_sintercard(self, _n: bytes, one: bytes, other: bytes, _limit: bytes, limit: bytes) -> int:
        n = len(self._intersection((one, other)))
        return min(n, number(limit)) if number(limit) else n
