"""Members of hashes, sets and sorted sets that expire.

A value keeps those whose time is over until somebody removes them: who reads passes them over, who counts all (SCARD)
does not, who writes a set or a sorted set has them removed first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from fleettest.model_base import Base, Value, number

Item = bytes | tuple[bytes, Any]  # a member, or one with its score or value


def name_of(item: Item) -> bytes:
    return item if isinstance(item, bytes) else item[0]


class Members(Base):
    def hidden(self, value: Value) -> set[bytes]:
        return {name for name, at in value.times.items() if at < self.now}

    def shown(self, value: Value) -> Any:
        """Its data as commands see it."""
        gone = self.hidden(value)
        return type(value.data)(item for item in value.data if name_of(item) not in gone) if gone else value.data

    def count_members(self, key: bytes, type_: str) -> int:
        value = self.find(key, type_)
        return len(value.data) if value is not None else 0

    def keep(self, key: bytes, value: Value, names: Collection[bytes]) -> None:
        """The value with these of its members."""
        data = type(value.data)(item for item in value.data if name_of(item) in names)
        times = {name: at for name, at in value.times.items() if name in names}
        if data:
            self.keys[key] = replace(value, data=data, times=times)
        else:
            del self.keys[key]

    def purge(self, db: int, key: bytes) -> None:
        """What a write in front, or a slice, does."""
        value = self.find(key, db=db)
        if value is not None and (gone := self.hidden(value)):
            self.db = db
            self.keep(key, value, set(map(name_of, value.data)) - gone)

    # -- commands

    def _expire_members(self, type_: str, key: bytes, at: int, names: tuple[bytes, ...]) -> list[int]:
        self.find(key, type_)
        if type_ != "hash":
            self.purge(self.db, key)
        value = self.find(key)
        if value is None:
            return [-2] * len(names)
        there = set(map(name_of, self.shown(value)))
        if at <= self.now:
            replies = [2 if name in there and name not in names[:i] else -2 for i, name in enumerate(names)]
            self.keep(key, value, set(map(name_of, value.data)) - (there & set(names)))
            return replies
        given = {name: at for name in names if name in there}
        encoding = "hashtable" if value.encoding and given else value.encoding
        self.keys[key] = replace(value, times=value.times | given, encoding=encoding)
        return [1 if name in there else -2 for name in names]

    def _member_times(self, type_: str, key: bytes, names: tuple[bytes, ...]) -> list[int]:
        value = self.find(key, type_)
        there = set(map(name_of, self.shown(value))) if value is not None else set()
        return [value.times.get(name, -1) if value is not None and name in there else -2 for name in names]

    def _persist_members(self, type_: str, key: bytes, names: tuple[bytes, ...]) -> list[int]:
        self.find(key, type_)
        if type_ != "hash":
            self.purge(self.db, key)
        replies: list[int] = []
        for name in names:
            at = self._member_times(type_, key, (name,))[0]
            replies.append(min(at, 1))
            if at >= 0:
                value = self.keys[key]
                self.keys[key] = replace(value, times={n: at for n, at in value.times.items() if n != name})
        return replies

    def do_hpexpire(self, key: bytes, ms: bytes, _fields: bytes, _n: bytes, *names: bytes) -> list[int]:
        return self._expire_members("hash", key, self.now + number(ms), names)

    def do_spexpire(self, key: bytes, ms: bytes, _members: bytes, _n: bytes, *names: bytes) -> list[int]:
        return self._expire_members("set", key, self.now + number(ms), names)

    def do_zpexpire(self, key: bytes, ms: bytes, _members: bytes, _n: bytes, *names: bytes) -> list[int]:
        return self._expire_members("zset", key, self.now + number(ms), names)

    def do_hpexpiretime(self, key: bytes, _fields: bytes, _n: bytes, *names: bytes) -> list[int]:
        return self._member_times("hash", key, names)

    def do_spexpiretime(self, key: bytes, _members: bytes, _n: bytes, *names: bytes) -> list[int]:
        return self._member_times("set", key, names)

    def do_zpexpiretime(self, key: bytes, _members: bytes, _n: bytes, *names: bytes) -> list[int]:
        return self._member_times("zset", key, names)

    def do_hpersist(self, key: bytes, _fields: bytes, _n: bytes, *names: bytes) -> list[int]:
        return self._persist_members("hash", key, names)

    def do_spersist(self, key: bytes, _members: bytes, _n: bytes, *names: bytes) -> list[int]:
        return self._persist_members("set", key, names)

    def do_zpersist(self, key: bytes, _members: bytes, _n: bytes, *names: bytes) -> list[int]:
        return self._persist_members("zset", key, names)
