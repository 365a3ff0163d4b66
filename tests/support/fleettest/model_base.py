"""Keys of any type: databases, time, deleting, renaming, copying, expiry, transactions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

Times = dict[bytes, int]
Database = dict[bytes, "Value"]


@dataclass(frozen=True, slots=True)
class Value:
    """What a key holds. `data` is immutable, so that a snapshot is a copy of the dicts."""

    type: str
    data: Any
    expire: int = -1  # unix time in ms; -1 = never
    encoding: str = ""  # as OBJECT ENCODING says
    times: Times = field(default_factory=dict)  # of members that expire; is not changed, either


class Failure(Exception):
    """An error reply, by its first word."""


def number(text: bytes) -> int:
    """A 64-bit integer as commands take it: no sign but minus, no blanks, no leading zeros."""
    try:
        value = int(text)
    except ValueError:
        raise Failure("ERR") from None
    if str(value).encode() != text or not -(2**63) <= value < 2**63:
        raise Failure("ERR")
    return value


class Base:
    def __init__(self, databases: int) -> None:
        self.dbs: list[Database] = [{} for _ in range(databases)]
        self.now = 0  # unix time in ms, the engine's
        self.db = 0  # of the command that runs

    def run(self, db: int, name: bytes, *args: bytes) -> Any:
        """The reply; an error is the Failure itself."""
        command: Callable[..., Any] = getattr(self, "do_" + name.decode().lower())
        self.db = db
        try:
            return command(*args)
        except Failure as failure:
            return failure

    # -- lookup

    @property
    def keys(self) -> Database:
        return self.dbs[self.db]

    def is_over(self, value: Value) -> bool:
        return value.expire != -1 and value.expire < self.now

    def find(self, key: bytes, type_: str | None = None, db: int | None = None) -> Value | None:
        """The value, if it is there; a key past its time is gone."""
        keys = self.keys if db is None else self.dbs[db]
        value = keys.get(key)
        if value is not None and self.is_over(value):
            del keys[key]
            return None
        if value is not None and type_ is not None and value.type != type_:
            raise Failure("WRONGTYPE")
        return value

    def put(self, key: bytes, value: Value, db: int | None = None) -> None:
        keys = self.keys if db is None else self.dbs[db]
        if value.expire != -1 and value.expire <= self.now:
            keys.pop(key, None)  # an expiry that has passed deletes at once
        else:
            keys[key] = value

    # -- what a type may know better

    def expiring(self, key: bytes, value: Value, at: int) -> Value:
        """The value with that expiry, -1 for none."""
        return replace(value, expire=at)

    def moved(self, key: bytes, value: Value) -> Value:
        """The value under another key."""
        return value

    def live(self, db: int) -> Database:
        return {key: value for key, value in self.dbs[db].items() if not self.is_over(value)}

    # -- keys

    def do_del(self, *keys: bytes) -> int:
        return sum(self.find(key) is not None and self.keys.pop(key) is not None for key in keys)

    do_unlink = do_del

    def do_exists(self, *keys: bytes) -> int:
        return sum(self.find(key) is not None for key in keys)

    do_touch = do_exists

    def do_type(self, key: bytes) -> str:
        value = self.find(key)
        return value.type if value is not None else "none"

    def do_rename(self, key: bytes, new: bytes) -> str:
        value = self.find(key)
        if value is None:
            raise Failure("ERR")
        if key != new:
            del self.keys[key]
            self.keys[new] = self.moved(new, value)
        return "OK"

    def do_renamenx(self, key: bytes, new: bytes) -> int:
        if self.find(key) is None:
            raise Failure("ERR")
        if self.find(new) is not None:
            return 0
        self.do_rename(key, new)
        return 1

    def do_copy(self, key: bytes, new: bytes, _db: bytes, db: bytes, *replaces: bytes) -> int:
        target = number(db)
        if not 0 <= target < len(self.dbs):
            raise Failure("ERR")
        if target == self.db and key == new:
            raise Failure("ERR")
        value = self.find(key)
        if value is None or (self.find(new, db=target) is not None and not replaces):
            return 0
        self.dbs[target][new] = self.moved(new, value)
        return 1

    def do_move(self, key: bytes, db: bytes) -> int:
        target = number(db)
        if not 0 <= target < len(self.dbs) or target == self.db:
            raise Failure("ERR")
        value = self.find(key)
        if value is None or self.find(key, db=target) is not None:
            return 0
        self.dbs[target][key] = self.keys.pop(key)
        return 1

    def do_flushdb(self, *_mode: bytes) -> str:
        self.keys.clear()
        return "OK"

    def do_flushall(self, *_mode: bytes) -> str:
        for keys in self.dbs:
            keys.clear()
        return "OK"

    def do_swapdb(self, a: bytes, b: bytes) -> str:
        i, j = number(a), number(b)
        if not (0 <= i < len(self.dbs) and 0 <= j < len(self.dbs)):
            raise Failure("ERR")
        self.dbs[i], self.dbs[j] = self.dbs[j], self.dbs[i]
        return "OK"

    # -- expiry

    def _expire_at(self, key: bytes, at: int, condition: bytes = b"") -> int:
        value = self.find(key)
        if value is None:
            return 0
        old = value.expire
        refused = {
            b"": False,
            b"NX": old != -1,
            b"XX": old == -1,
            b"GT": old == -1 or at <= old,
            b"LT": old != -1 and at >= old,
        }[condition]
        if refused:
            return 0
        self.put(key, self.expiring(key, value, max(at, 0)))
        return 1

    def do_pexpireat(self, key: bytes, at: bytes, *condition: bytes) -> int:
        return self._expire_at(key, number(at), *condition)

    def do_pexpire(self, key: bytes, ms: bytes, *condition: bytes) -> int:
        return self._expire_at(key, self.now + number(ms), *condition)

    def do_expire(self, key: bytes, seconds: bytes, *condition: bytes) -> int:
        return self._expire_at(key, self.now + 1000 * number(seconds), *condition)

    def do_persist(self, key: bytes) -> int:
        value = self.find(key)
        if value is None or value.expire == -1:
            return 0
        self.keys[key] = replace(value, expire=-1)
        return 1

    def do_pexpiretime(self, key: bytes) -> int:
        value = self.find(key)
        return -2 if value is None else value.expire

    def do_pttl(self, key: bytes) -> int:
        value = self.find(key)
        if value is None:
            return -2
        return value.expire - self.now if value.expire != -1 else -1
