"""Hashes. A value is the set of its fields; a table stays one, so its encoding is remembered."""

from __future__ import annotations

from dataclasses import replace

from fleettest.model_base import Failure, Times, Value, number
from fleettest.model_members import Members
from fleettest.rdbfile import Fields

TYPE = "hash"
ENTRIES_MAX = 512
TEXT_MAX = 64


class Hashes(Members):
    def fields(self, key: bytes) -> dict[bytes, bytes]:
        value = self.find(key, TYPE)
        return dict(self.shown(value)) if value is not None else {}

    def _store_fields(
        self, key: bytes, fields: dict[bytes, bytes], words: tuple[bytes, ...] = (), *, timeless: bool = True
    ) -> None:
        """`words`: what is written; it loses its times, if `timeless`. Hidden fields stay."""
        old = self.find(key)
        times: Times = {}
        if old is not None:
            hidden = self.hidden(old)
            fields = {name: word for name, word in old.data if name in hidden} | fields
            cleared = set(words[::2]) if timeless else set()
            times = {name: at for name, at in old.times.items() if name in fields and name not in cleared}
        if not fields:
            self.keys.pop(key, None)
            return
        value = old or Value(TYPE, Fields(), encoding="listpack")
        large = len(fields) > ENTRIES_MAX or len(words) // 2 > ENTRIES_MAX or max(map(len, words), default=0) > TEXT_MAX
        encoding = "hashtable" if large else value.encoding
        self.keys[key] = replace(value, data=Fields(fields.items()), encoding=encoding, times=times)

    def do_hset(self, key: bytes, *words: bytes) -> int:
        old = self.fields(key)
        if len(words) % 2:
            raise Failure("ERR")
        new = dict(zip(words[::2], words[1::2], strict=True))
        self._store_fields(key, {**old, **new}, words)
        return len(new.keys() - old.keys())

    def do_hmset(self, key: bytes, *words: bytes) -> str:
        self.do_hset(key, *words)
        return "OK"

    def do_hsetnx(self, key: bytes, name: bytes, word: bytes) -> int:
        return 0 if name in self.fields(key) else self.do_hset(key, name, word)

    def do_hget(self, key: bytes, name: bytes) -> bytes | None:
        return self.fields(key).get(name)

    def do_hmget(self, key: bytes, *names: bytes) -> list[bytes | None]:
        fields = self.fields(key)
        return [fields.get(name) for name in names]

    def do_hexists(self, key: bytes, name: bytes) -> int:
        return int(name in self.fields(key))

    def do_hstrlen(self, key: bytes, name: bytes) -> int:
        return len(self.fields(key).get(name, b""))

    def do_hlen(self, key: bytes) -> int:
        return self.count_members(key, TYPE)

    def do_hdel(self, key: bytes, *names: bytes) -> int:
        fields = self.fields(key)
        removed = sum(fields.pop(name, None) is not None for name in names)
        self._store_fields(key, fields)
        return removed

    def do_hincrby(self, key: bytes, name: bytes, by: bytes) -> int:
        delta = number(by)
        fields = self.fields(key)
        found = number(fields.get(name, b"0")) + delta
        if not -(2**63) <= found < 2**63:
            raise Failure("ERR")
        words = (name, b"%d" % found)
        self._store_fields(key, {**fields, name: words[1]}, words, timeless=name not in fields)
        return found
