"""Data of every kind for tests that store, copy or lose it: filled, changed, compared.

    seeder = Seeder(rng, keys=200, databases=(0, 1, 7))
    run(target, seeder.fill())                   each key once: every type, odd sizes and bytes, expiries
    run(target, seeder.mutate(500))              random commands of fleettest.grammar, transactions among them
    before = capture(target)                     all that commands see
    assert_same(capture(other), before)          names the first keys that differ

A target is a connection (to a server of any kind) or an Engine of this process. Steps are made first and run
afterwards, so that the same ones can be run again, or a few at a time. Of the changes every third counts: one that is
lost or done twice shows.

A data type is one row of KINDS.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from cachefleet_server.engine import Engine
from cachefleet_server.replies import Error as EngineError
from fleettest.client import Connection, Error
from fleettest.grammar import FAR_S, KEYS, WRITES, Command, Draw
from fleettest.rdbfile import Entries, Fields, File, Scores, dump, string

Step = tuple[int, Command]  # database, words
Target = Connection | Engine
Data = dict[tuple[int, bytes], tuple[str, Any, int]]  # (database, key) -> (type, value, expiry in unix ms or -1)

DATABASES: Final = (0, 1, 7, 15)
BATCH: Final = 500  # commands of a pipeline
SHOWN: Final = 4  # keys that differ


@dataclass(frozen=True, slots=True)
class Kind:
    """A data type: commands that make a value, and one that reads it whole."""

    name: str  # as TYPE says
    make: Callable[[random.Random, bytes], list[Command]]
    read: Callable[[bytes], Command]
    value: Callable[[Any], Any] = lambda reply: reply  # of what was read, comparable


def _text(rng: random.Random) -> bytes:
    """Integers of all lengths, empty and odd bytes, repetitions, and what no chunk or small block holds."""
    kind = rng.randrange(16)
    if kind < 5:
        return b"%d" % rng.randrange(-(1 << 8 * kind + 6), 1 << 8 * kind + 6)
    if kind == 5:
        return rng.choice((b"", b"\0", b"\r\n", b"*1\r\n$4\r\nPING\r\n", b"007", b"-0", b"1.0"))
    if kind < 11:
        return rng.randbytes(rng.randrange(200))
    if kind < 14:
        return b"abc" * rng.randrange(700)
    return rng.randbytes(3000) if kind == 14 else rng.randbytes(2000) + bytes(18_000)


def _list(rng: random.Random, key: bytes) -> list[Command]:
    """In an entry, beyond it, and of several nodes; a fifth loses elements in between."""
    size = rng.choice((1, 3, 10, 30, 100, 300))
    if rng.randrange(2):
        elements = [_text(rng) for _ in range(min(size, 30))]
    else:
        elements = [b"%d" % rng.randrange(1 << 40) for _ in range(size)]
    commands: list[Command] = [(b"DEL", key), (rng.choice((b"LPUSH", b"RPUSH")), key, *elements)]
    if rng.randrange(5) == 0:
        commands.append((b"LTRIM", key, b"%d" % rng.randrange(len(elements)), b"-1"))
    return commands


def _hash(rng: random.Random, key: bytes) -> list[Command]:
    """In an entry, beyond it, and in a table, which some small ones are, too; a fifth loses fields in between."""
    size = rng.choice((1, 3, 10, 30, 100, 600))
    if rng.randrange(2):
        pairs = [(b"%d:" % i + _text(rng)[:300], _text(rng)) for i in range(min(size, 30))]
    else:
        pairs = [(b"field:%d" % i, b"%d" % rng.randrange(1 << 40)) for i in range(size)]
    commands: list[Command] = [(b"DEL", key), (b"HSET", key, *(word for pair in pairs for word in pair))]
    if rng.randrange(5) == 0:
        commands.append((b"HDEL", key, *(name for name, _ in pairs[1:] if rng.randrange(2)), b"none"))
    return commands


def _fields(reply: list[bytes] | dict[bytes, bytes]) -> Fields:
    return Fields(reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True))


def _set(rng: random.Random, key: bytes) -> list[Command]:
    """Of integers, of texts in few bytes, and large ones; a fifth loses members in between."""
    size = rng.choice((1, 3, 10, 30, 100, 300, 1000))
    if rng.randrange(2):
        members = [_text(rng) for _ in range(min(size, 30))]
    else:
        width = rng.choice((8, 20, 40))
        members = [rng.choice((b"", b"", b"m"))[: size % 3] + b"%d" % rng.randrange(1 << width) for _ in range(size)]
    commands: list[Command] = [(b"DEL", key), (b"SADD", key, *members)]
    if rng.randrange(5) == 0:
        commands += [(b"SREM", key, *members[::2]), (b"SADD", key, members[0])]
    return commands


def _zset(rng: random.Random, key: bytes) -> list[Command]:
    """A pack in an entry and beyond it, and a table; equal scores, and some that a listpack holds as text."""
    size = rng.choice((1, 3, 10, 100, 300))
    long = rng.randrange(8) == 0
    pairs: list[bytes] = []
    for i in range(size):
        score = rng.choice((b"0", b"-0", b"1.5", b"inf", b"%d" % rng.randrange(-9, 9), repr(rng.random()).encode()))
        member = _text(rng) if long and i < 20 else b"%d" % rng.randrange(1 << rng.choice((4, 20, 40)))
        pairs += [score, member]
    return [(b"DEL", key), (b"ZADD", key, *pairs)]


def _scores(reply: Any) -> Scores:
    return Scores((member, float(score)) for member, score in zip(reply[::2], reply[1::2], strict=True))


def _stream(rng: random.Random, key: bytes) -> list[Command]:
    """A block and, of long words, several; the same fields and others; a third loses entries, a third has a group."""
    size = rng.choice((1, 2, 4, 12))
    commands: list[Command] = [(b"DEL", key)]
    for i in range(size):
        names = [b"f"]
        if rng.randrange(5) == 0:
            names = [rng.choice((b"f", b"g", b"7")) for _ in range(rng.randrange(1, 3))]
        words = [word for name in names for word in (name, _text(rng)[:900])]
        commands.append((b"XADD", key, b"%d-%d" % (1_700_000_000_000 + i // 3, i % 3), *words))
    if rng.randrange(3) == 0:
        gone = (b"%d-%d" % (1_700_000_000_000 + i // 3, i % 3) for i in range(size) if rng.randrange(3) == 0)
        commands += [(b"XDEL", key, b"1-1", *gone), (b"XTRIM", key, b"MAXLEN", b"%d" % (size * 2 // 3))]
    if rng.randrange(3) == 0:
        commands += [(b"XGROUP", b"CREATE", key, b"group", b"0"), (b"XGROUP", b"CREATE", key, b"other", b"$")]
        read = (b"STREAMS", key, b">")
        commands += [
            (b"XREADGROUP", b"GROUP", b"group", b"c%d" % (i % 3), b"COUNT", b"%d" % rng.randrange(1, 20), *read)
            for i in range(4)
        ]
    return commands


def _entries(reply: Any) -> Entries:
    return Entries((id, tuple(words)) for id, words in reply)


KINDS: Final = (
    Kind("string", lambda rng, key: [(b"SET", key, _text(rng))], lambda key: (b"GET", key)),
    Kind("list", _list, lambda key: (b"LRANGE", key, b"0", b"-1"), tuple),
    Kind("hash", _hash, lambda key: (b"HGETALL", key), _fields),
    Kind("set", _set, lambda key: (b"SMEMBERS", key), frozenset),
    Kind("zset", _zset, lambda key: (b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"), _scores),
    Kind("stream", _stream, lambda key: (b"XRANGE", key, b"-", b"+"), _entries),
)
_KINDS: Final = {kind.name: kind for kind in KINDS}
_KIND_OF: Final[dict[type, str]] = {
    bytes: "string",
    tuple: "list",
    Fields: "hash",
    frozenset: "set",
    Scores: "zset",
    Entries: "stream",
}


class Seeder:
    """Makes steps from one random.Random: a seed makes one sequence."""

    def __init__(self, rng: random.Random, *, keys: int = 200, databases: Sequence[int] = DATABASES) -> None:
        odd = [name for pair in zip(KEYS[24:], KEYS, strict=False) for name in pair]
        names = [*odd, *(b"key:%d" % i for i in range(keys))][:keys]
        payloads = [dump(b"\0" + string(text)) for text in (b"", b"12", b"x" * 100, bytes(5000))]
        self.rng = rng
        self.databases = databases
        self.draw = Draw(rng, int(time.time()), payloads=payloads, keys=names)

    def fill(self) -> list[Step]:
        """Every key in one of the databases; a fifth of them expire in a day or more."""
        steps: list[Step] = []
        for key in self.draw.names:
            db = self.rng.choice(self.databases)
            steps += [(db, command) for command in self._value(key)]
        return steps

    def _value(self, key: bytes) -> list[Command]:
        commands = self.rng.choice(KINDS).make(self.rng, key)
        if self.rng.random() < 0.2:
            at = (self.draw.now_s + FAR_S) * 1000 + self.rng.randrange(1 << 32)
            commands = [*commands, (b"PEXPIREAT", key, b"%d" % at)]
        return commands

    def mutate(self, count: int) -> list[Step]:
        """At least so many. Their replies may be errors."""
        steps: list[Step] = []
        while len(steps) < count:
            db = self.rng.choice(self.databases)
            if self.rng.random() < 0.05:
                commands = [(b"MULTI",), *(self._change() for _ in range(self.rng.randrange(4))), (b"EXEC",)]
            elif self.rng.random() < 0.1:
                commands = self._value(self.draw.key())
            else:
                commands = [self._change()]
            steps += [(db, command) for command in commands]
        return steps

    def _change(self) -> Command:
        if self.rng.randrange(3) == 0:
            return (b"INCR", b"count:%d" % self.rng.randrange(8))
        command = self.rng.choice(WRITES)(self.draw)
        # With OVERFLOW FAIL Valkey may make a string and journal nothing; Redis 7.0 knows no polygons, and does not
        # find some entries that come after an XSETID below deleted ones.
        if command[0].upper() in (b"BITFIELD", b"XSETID") or b"BYPOLYGON" in (word.upper() for word in command):
            return self._change()
        return command

    def upheave(self) -> list[Step]:
        """One of the rare big things: whole databases, growth, shrinking."""
        rng, db = self.rng, self.rng.choice(self.databases)
        mode = rng.choice((b"SYNC", b"ASYNC"))
        one, other = (b"%d" % rng.choice(self.databases) for _ in range(2))
        some: list[Command] = [(b"SET", b"new:%d" % i, b"x") for i in range(rng.randrange(3000))]
        few: list[Command] = [(b"DEL", key) for key in self.draw.names if rng.random() < 0.9]
        swap: list[Command] = [(b"SWAPDB", one, other)]
        kinds = ([(b"FLUSHALL", mode)], [(b"FLUSHDB", mode)], swap, swap, some, few)
        return [(db, command) for command in rng.choice(kinds)]


def run(target: Target, steps: Iterable[Step]) -> list[Any]:
    """The replies. A connection is on database 0 afterwards."""
    if isinstance(target, Engine):
        return [target.execute(*command, db=db) for db, command in steps]
    replies: list[Any] = []
    for db, group in groupby(steps, key=lambda step: step[0]):
        commands = [command for _, command in group]
        for at in range(0, len(commands), BATCH):
            select, *found = target.pipeline([(b"SELECT", b"%d" % db), *commands[at : at + BATCH]])
            assert select in ("OK", "QUEUED"), select
            replies += found
    target.call("SELECT", 0)
    return replies


def fill(target: Target, seeder: Seeder) -> None:
    """All of it, well."""
    wrong = [reply for reply in run(target, seeder.fill()) if isinstance(reply, Error | EngineError)]
    assert not wrong, wrong[:SHOWN]


def capture(target: Target, databases: Iterable[int] = range(16), *, times: bool = True) -> Data:
    """Nothing may be about to expire. Without `times` (Redis 6 does not tell them), only whether it does."""
    data: Data = {}
    for db in databases:
        keys = run(target, [(db, (b"KEYS", b"*"))])[0]
        types = run(target, [(db, (b"TYPE", key)) for key in keys])
        values = run(target, [(db, _KINDS[kind].read(key)) for kind, key in zip(types, keys, strict=True)])
        expires = run(target, [(db, (b"PEXPIRETIME" if times else b"TTL", key)) for key in keys])
        for key, kind, value, expire in zip(keys, types, values, expires, strict=True):
            data[db, key] = (kind, _KINDS[kind].value(value), expire if times else -(expire == -1))
    return data


def of_file(file: File, now_ms: int = 0) -> Data:
    """An RDB file's data, without keys whose time has passed then."""
    return {
        (db, key): (_KIND_OF[type(value)], value, -1 if expire is None else expire)
        for db, keys in file.databases().items()
        for key, (value, expire) in keys.items()
        if expire is None or expire >= now_ms
    }


def digest(target: Target) -> str:
    """Of all data, as DEBUG DIGEST tells it: equal for equal data on servers of all kinds."""
    return target.digest().hex() if isinstance(target, Engine) else str(target.call("DEBUG", "DIGEST"))


def assert_same(found: Data, expected: Data) -> None:
    if found == expected:
        return
    lines = [
        *_rows("missing", expected, expected.keys() - found.keys()),
        *_rows("not expected", found, found.keys() - expected.keys()),
    ]
    changed = [name for name in found.keys() & expected.keys() if found[name] != expected[name]]
    lines.append(f"different: {len(changed)} keys")
    lines += [f"  {name!r:.80}: {found[name]!r:.120}, not {expected[name]!r:.120}" for name in sorted(changed)[:SHOWN]]
    raise AssertionError("\n".join(lines))


def _rows(title: str, data: Data, names: Collection[tuple[int, bytes]]) -> list[str]:
    return [f"{title}: {len(names)} keys", *(f"  {name!r:.80}: {data[name]!r:.120}" for name in sorted(names)[:SHOWN])]
