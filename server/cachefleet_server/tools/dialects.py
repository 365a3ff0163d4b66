"""What other servers read: the form of a value that they take, and what it cannot hold.

A value that needs another form than those that a row's `holds` lists would lose something (`loss`): it is refused, or
loses it by `--drop`.

Redis 7.0 has no time at which a stream's consumer was active, other than when it was seen: that goes in silence.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from cachefleet_server.persistence import rdb_encode
from cachefleet_server.persistence.rdb_walk import RdbWalk, Record
from cachefleet_server.persistence.snapshot import DIALECT_OWN, DIALECT_REDIS, DIALECT_REDIS70, DIALECT_VALKEY
from cachefleet_server.tools import text, values
from cachefleet_server.tools.outcome import Exit, Failure, complain

_OLD: Final = frozenset((DIALECT_REDIS70, DIALECT_REDIS))
_TIMED_FIELDS: Final = frozenset((*_OLD, DIALECT_VALKEY))
_ALL: Final = frozenset((*_TIMED_FIELDS, DIALECT_OWN))
_OWN_VERSION: Final = 0xCF01
NAMED_MAX: Final = 10  # things that are refused by name; the others are counted


@dataclass(frozen=True, slots=True)
class Dialect:
    name: str
    form: int  # DIALECT_*
    magic: bytes
    version: int  # in payloads
    holds: frozenset[int]
    functions: bool = True


DIALECTS: Final = (
    Dialect("redis-7.0", DIALECT_REDIS70, b"REDIS0010", 10, _OLD),
    Dialect("redis-7.2", DIALECT_REDIS, b"REDIS0011", 11, _OLD),
    Dialect("redis-7.4", DIALECT_REDIS, b"REDIS0012", 12, _TIMED_FIELDS),
    Dialect("redis-8", DIALECT_REDIS, b"REDIS0012", 12, _TIMED_FIELDS),
    Dialect("valkey-7.2", DIALECT_REDIS, b"REDIS0011", 11, _OLD),
    Dialect("valkey-8", DIALECT_REDIS, b"REDIS0011", 11, _OLD),
    Dialect("valkey-9", DIALECT_VALKEY, b"VALKEY080", 80, _TIMED_FIELDS),
    Dialect("cachefleet", DIALECT_OWN, b"CFLEET001", _OWN_VERSION, _ALL, functions=False),
)
NAMES: Final = tuple(dialect.name for dialect in DIALECTS)


def named(name: str) -> Dialect:
    return DIALECTS[NAMES.index(name)]


def of_server(facts: dict[str, str]) -> Dialect | None:
    """What a server reads that says this of itself in INFO; None: it is too old for any."""
    if "cachefleet_version" in facts:
        return named("cachefleet")
    kind = "valkey" if "valkey_version" in facts else "redis"
    found = None
    for dialect in DIALECTS:
        if dialect.name.startswith(kind) and _numbers(facts.get(f"{kind}_version", "0")) >= _numbers(
            dialect.name.partition("-")[2]
        ):
            found = dialect
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


EXPIRY, PRODUCERS, FUNCTIONS, MODULES = "expiry", "producers", "functions", "modules"
LOSSES: Final = {  # what --drop may name, and what is said where it does not
    EXPIRY: "times at which members expire",
    PRODUCERS: "producers of a stream",
    FUNCTIONS: "function libraries",
    MODULES: "data of modules",
}


def loss(dialect: Dialect, walk: RdbWalk, record: Record) -> str:
    """What of the record that the walk gave last the dialect has no form for; "": it holds all of it."""
    if rdb_encode.dialect_of(walk) in dialect.holds:
        return ""
    return PRODUCERS if record.type == "stream" else EXPIRY


def drop_times(walk: RdbWalk, record: Record, now_ms: int) -> bool:
    """Members stay for good, but for those whose time is over, which go; false: none is left."""
    members = members_of(walk, record)
    at = values.times(walk, record, members)
    over = [member for member, ms in at.items() if ms <= now_ms]
    remove, persist, word = _WORDS[record.type]
    for chunk in _chunks(over):
        walk.ask(remove, record.key, *chunk)
    for chunk in _chunks([member for member, ms in at.items() if ms > now_ms]):
        walk.ask(persist, record.key, word, b"%d" % len(chunk), *chunk)
    return len(over) < len(members)


_WORDS: Final = {
    "hash": (b"HDEL", b"HPERSIST", b"FIELDS"),
    "set": (b"SREM", b"SPERSIST", b"MEMBERS"),
    "zset": (b"ZREM", b"ZPERSIST", b"MEMBERS"),
}
_MEMBERS: Final[dict[str, tuple[bytes, tuple[bytes, ...]]]] = {
    "hash": (b"HKEYS", ()), "set": (b"SMEMBERS", ()), "zset": (b"ZRANGE", (b"0", b"-1")),
}  # fmt: skip
_CHUNK: Final = 10_000


def members_of(walk: RdbWalk, record: Record) -> list[bytes]:
    command, words = _MEMBERS[record.type]
    found: list[Any] = walk.ask(command, record.key, *words)
    return found


def _chunks(members: list[bytes]) -> Iterator[list[bytes]]:
    for at in range(0, len(members), _CHUNK):
        yield members[at : at + _CHUNK]


class Choice:
    """What goes over to a server of another kind: all that it can hold. Of the rest what may be dropped is; anything
    else is named, and there is no way to go on."""

    def __init__(self, dialect: Dialect, drop: list[str]) -> None:
        self.dialect = dialect
        self._drop = drop
        self._now_ms = int(time.time() * 1000)
        self.refused = 0

    def takes(self, walk: RdbWalk, record: Record) -> bool:
        """The record that the walk gave last, after what may be dropped of it was."""
        lost = loss(self.dialect, walk, record)
        if not lost:
            return True
        if lost not in self._drop:
            self._refuse(lost, f"{text.quoted(record.key)} of database {record.db}: it has {LOSSES[lost]}")
            return False
        return lost != EXPIRY or drop_times(walk, record, self._now_ms)

    def takes_library(self) -> bool:
        if not self.dialect.functions and FUNCTIONS not in self._drop:
            self._refuse(FUNCTIONS, LOSSES[FUNCTIONS])
        return self.dialect.functions

    def take_modules(self, walk: RdbWalk) -> None:
        """At the end. No walk can read what they have outside of keys."""
        if walk.skipped_modules and MODULES not in self._drop:
            self._refuse(MODULES, f"{LOSSES[MODULES]}: {', '.join(walk.skipped_modules)}")

    def _refuse(self, lost: str, what: str) -> None:
        self.refused += 1
        if self.refused <= NAMED_MAX:
            complain(f"{self.dialect.name} cannot take {what} (--drop {lost})")

    def decide(self, then: str) -> None:
        """At the end: a Failure, if something had no way to go."""
        if self.refused:
            more = f", {self.refused - NAMED_MAX} of them not named here" if self.refused > NAMED_MAX else ""
            raise Failure(Exit.FAILED, f"{text.count(self.refused, 'thing')} would be lost{more}; {then}")
