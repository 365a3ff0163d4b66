"""The whole engine against the data model: random commands, expiry, transactions, eviction, snapshots, whole databases.

Every command's reply equals the model's (fleettest.model). From time to time and at the end
each database equals its model, key by key. Keys that eviction took are taken from the model, too, and
their number must be the engine's counter. A snapshot, whenever it was begun and however its steps mix with changes,
is the model at its start.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from cachefleet_server._testing import advance, now_ms, seed_random
from cachefleet_server.engine import POLICIES, Engine
from cachefleet_server.persistence.snapshot import Snapshot
from cachefleet_server.replies import Error
from fleettest.examples import examples
from fleettest.model import Failure, Model, Value
from fleettest.rdbfile import Fields, parse

pytestmark = pytest.mark.unit

DATABASES = 3
EVICTING = ("allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-ttl", "volatile-lru")
ROOM = 60_000  # bytes below maxmemory, so that a few dozen values fill it
TICKS = 1000  # in which a slice that has begun removes all members whose time is over
COUNTS = {"hash": b"HLEN", "set": b"SCARD", "zset": b"ZCARD"}

KEYS = st.one_of(
    st.sampled_from([b"", b"a", b"b", b"c", b"k" * 31, b"k" * 32, b"k" * 108, b"K" * 255, b"K" * 256]),
    st.integers(0, 40).map(lambda i: b"key:%d" % i),
)
DATA = st.one_of(
    st.binary(max_size=140),
    st.integers(-(2**63), 2**63 - 1).map(lambda i: b"%d" % i),
    st.sampled_from([b"", b"007", b"-0"]),
    st.sampled_from([768, 1008, 1025, 5000, 40000]).map(lambda n: b"x" * n),
)
DB = st.integers(0, DATABASES - 1)
MS = st.integers(1, 3000)
NUMBERS = st.one_of(st.integers(-20, 20), st.sampled_from([2**63 - 1, -(2**63)]))


def text(n: int) -> bytes:
    return b"%d" % n


EXPIRY = st.one_of(
    st.just(()),
    st.just((b"KEEPTTL",)),
    MS.map(lambda ms: (b"PX", text(ms))),
    st.just((b"EX", b"2")),
    st.just((b"PXAT", b"1000")),  # long ago
)
SET_IF = st.sampled_from([(), (), (b"NX",), (b"XX",), (b"GET",), (b"XX", b"GET")])
MODE = st.sampled_from([(), (b"SYNC",), (b"ASYNC",)])
EXPIRE_IF = st.sampled_from([(), (), (b"NX",), (b"XX",), (b"GT",), (b"LT",)])


def several(part: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[bytes, ...]]:
    return st.lists(part, min_size=1, max_size=5).map(tuple)


PAIRS = st.lists(st.tuples(KEYS, DATA), min_size=1, max_size=4).map(lambda pairs: tuple(w for p in pairs for w in p))

# What is drawn: a command's name, then strategies of its words; a type adds its rows.
Row = tuple[bytes | st.SearchStrategy[Any], ...]
STRINGS: list[Row] = [
    (b"SET", KEYS, DATA, EXPIRY, SET_IF),
    (b"SET", KEYS, DATA),
    (b"SETNX", KEYS, DATA),
    (b"GET", KEYS),
    (b"GETSET", KEYS, DATA),
    (b"GETDEL", KEYS),
    (b"GETEX", KEYS, st.one_of(MS.map(lambda ms: (b"PX", text(ms))), st.just((b"PERSIST",)), st.just(()))),
    (b"MGET", several(KEYS)),
    (b"MSET", PAIRS),
    (b"MSETNX", PAIRS),
    (b"STRLEN", KEYS),
    (b"APPEND", KEYS, DATA),
    (b"SETRANGE", KEYS, st.sampled_from([0, 1, 5, 200, 2000, -1, 2**40]), st.binary(max_size=40)),
    (b"GETRANGE", KEYS, st.integers(-30, 30), st.integers(-30, 30)),
    (b"INCRBY", KEYS, NUMBERS),
    (b"DECRBY", KEYS, NUMBERS),
    (b"INCR", KEYS),
    (b"DECR", KEYS),
]
BITS = st.sampled_from([0, 1, 7, 8, 63, 500, 8191, 9000, -1, 2**32])
OPERATIONS = st.sampled_from([b"AND", b"OR", b"XOR", b"NOT", b"DIFF", b"DIFF1", b"ANDOR", b"ONE"])
BITMAPS: list[Row] = [
    (b"SETBIT", KEYS, BITS, st.integers(0, 1)),
    (b"GETBIT", KEYS, BITS),
    (b"BITCOUNT", KEYS),
    (b"BITCOUNT", KEYS, st.integers(-30, 30), st.integers(-30, 30)),
    (b"BITPOS", KEYS, st.sampled_from([b"0", b"1"])),
    (b"BITOP", OPERATIONS, KEYS, several(KEYS)),
    (b"BITFIELD", KEYS, b"INCRBY", st.integers(1, 63).map(lambda n: b"u%d" % n), BITS, NUMBERS),
]
ELEMENTS = st.one_of(st.sampled_from([b"a", b"1", b"-300", b"y" * 70]), DATA)
PLACES = st.integers(-12, 12)
ENDS = st.sampled_from([b"LEFT", b"RIGHT"])
MANY = st.tuples(ELEMENTS, st.integers(1, 200)).map(lambda drawn: (drawn[0],) * drawn[1])
LISTS: list[Row] = [
    (b"RPUSH", KEYS, several(ELEMENTS)),
    (b"LPUSH", KEYS, several(ELEMENTS)),
    (b"RPUSH", KEYS, MANY),
    (b"LPUSHX", KEYS, several(ELEMENTS)),
    (b"RPUSHX", KEYS, MANY),
    (b"LPOP", KEYS),
    (b"RPOP", KEYS, st.integers(-1, 150)),
    (b"LPOP", KEYS, st.integers(-1, 150)),
    (b"LLEN", KEYS),
    (b"LRANGE", KEYS, PLACES, PLACES),
    (b"LTRIM", KEYS, PLACES, st.integers(-12, 100)),
    (b"LINDEX", KEYS, PLACES),
    (b"LSET", KEYS, PLACES, ELEMENTS),
    (b"LINSERT", KEYS, st.sampled_from([b"BEFORE", b"AFTER"]), ELEMENTS, ELEMENTS),
    (b"LREM", KEYS, PLACES, ELEMENTS),
    (b"LPOS", KEYS, ELEMENTS, st.just(b"RANK"), st.sampled_from([1, 2, -1, -3])),
    (b"LPOS", KEYS, ELEMENTS, st.just(b"RANK"), st.sampled_from([1, 2, -1, -3]), b"COUNT", st.integers(0, 3)),
    (b"LMOVE", KEYS, KEYS, ENDS, ENDS),
    (b"LMPOP", b"2", KEYS, KEYS, ENDS, b"COUNT", st.integers(1, 100)),
]
NAMES = st.one_of(st.sampled_from([b"a", b"1", b"-300", b"", b"f" * 64]), st.binary(max_size=70))
FIELDS = st.lists(st.tuples(NAMES, DATA), min_size=1, max_size=4).map(lambda pairs: tuple(w for p in pairs for w in p))
FILLED = st.integers(1, 600).map(lambda n: tuple(b"f%d" % (i // 2) for i in range(2 * n)))
HASHES: list[Row] = [
    (b"HSET", KEYS, FIELDS),
    (b"HSET", KEYS, FIELDS),
    (b"HSET", KEYS, FILLED),
    (b"HMSET", KEYS, FIELDS),
    (b"HSETNX", KEYS, NAMES, DATA),
    (b"HGET", KEYS, NAMES),
    (b"HMGET", KEYS, several(NAMES)),
    (b"HEXISTS", KEYS, NAMES),
    (b"HSTRLEN", KEYS, NAMES),
    (b"HLEN", KEYS),
    (b"HDEL", KEYS, several(NAMES)),
    (b"HDEL", KEYS, FILLED),
    (b"HINCRBY", KEYS, NAMES, NUMBERS),
]
MEMBERS = st.one_of(ELEMENTS, st.integers(0, 30))
NUMBERED = st.tuples(st.sampled_from([b"%d", b"m%d"]), st.integers(1, 600)).map(
    lambda drawn: tuple(drawn[0] % i for i in range(drawn[1]))
)
SETS: list[Row] = [
    (b"SADD", KEYS, several(MEMBERS)),
    (b"SADD", KEYS, several(st.integers(0, 30))),
    (b"SADD", KEYS, NUMBERED),
    (b"SREM", KEYS, several(MEMBERS)),
    (b"SREM", KEYS, NUMBERED),
    (b"SMOVE", KEYS, KEYS, MEMBERS),
    (b"SPOP", KEYS, st.sampled_from([100_000, -1])),
    (b"SCARD", KEYS),
    (b"SISMEMBER", KEYS, MEMBERS),
    (b"SMISMEMBER", KEYS, several(MEMBERS)),
    (b"SMEMBERS", KEYS),
    (b"SINTER", several(KEYS)),
    (b"SUNION", several(KEYS)),
    (b"SDIFF", several(KEYS)),
    (b"SINTERSTORE", KEYS, several(KEYS)),
    (b"SUNIONSTORE", KEYS, several(KEYS)),
    (b"SDIFFSTORE", KEYS, several(KEYS)),
    (b"SINTERCARD", b"2", KEYS, KEYS, b"LIMIT", st.integers(0, 20)),
]
SCORED_MEMBERS = st.one_of(st.sampled_from([b"a", b"b", b"1", b"-300", b"y" * 65]), st.integers(0, 300).map(text), DATA)
SCORES = st.sampled_from([b"0", b"1", b"1", b"2", b"-7", b"1.5", b"inf", b"-inf", b"1000000"])
BOUNDS = st.tuples(st.sampled_from([b"", b"("]), SCORES).map(b"".join)
SCORED = st.lists(st.tuples(SCORES, SCORED_MEMBERS), min_size=1, max_size=5).map(
    lambda pairs: tuple(word for pair in pairs for word in pair)
)
CROWD = st.tuples(st.integers(1, 200), SCORES).map(
    lambda drawn: tuple(w for i in range(drawn[0]) for w in (drawn[1], b"member:%d" % i))
)
ZSETS: list[Row] = [
    (b"ZADD", KEYS, SCORED),
    (b"ZADD", KEYS, CROWD),
    (b"ZADD", KEYS, st.lists(st.sampled_from([b"NX", b"XX", b"GT", b"LT", b"CH"]), max_size=2).map(tuple), SCORED),
    (b"ZINCRBY", KEYS, st.sampled_from([b"1", b"-2", b"0.5"]), st.integers(0, 300)),
    (b"ZREM", KEYS, several(SCORED_MEMBERS)),
    (b"ZCARD", KEYS),
    (b"ZSCORE", KEYS, SCORED_MEMBERS),
    (b"ZRANK", KEYS, SCORED_MEMBERS),
    (b"ZREVRANK", KEYS, SCORED_MEMBERS),
    (b"ZCOUNT", KEYS, BOUNDS, BOUNDS),
    (b"ZRANGE", KEYS, PLACES, PLACES, b"WITHSCORES"),
    (b"ZREVRANGE", KEYS, PLACES, PLACES, b"WITHSCORES"),
    (b"ZRANGEBYSCORE", KEYS, BOUNDS, BOUNDS, b"LIMIT", st.integers(-1, 5), st.integers(-1, 20)),
    (b"ZREVRANGEBYSCORE", KEYS, BOUNDS, BOUNDS, b"LIMIT", st.integers(-1, 5), st.integers(-1, 20)),
    (b"ZREMRANGEBYRANK", KEYS, PLACES, st.integers(-12, 100)),
    (b"ZREMRANGEBYSCORE", KEYS, BOUNDS, BOUNDS),
    (b"ZRANGESTORE", KEYS, KEYS, PLACES, st.integers(-12, 200)),
    (b"ZPOPMIN", KEYS),
    (b"ZPOPMAX", KEYS, st.integers(0, 150)),
    (b"ZMPOP", b"2", KEYS, KEYS, st.sampled_from([b"MIN", b"MAX"]), b"COUNT", st.integers(1, 100)),
]
ORDER = st.sampled_from([(), (), (b"DESC",)])
LIMITS = st.one_of(st.just(()), st.tuples(st.just(b"LIMIT"), st.integers(-1, 6), st.integers(-1, 9)))
PATTERN = st.sampled_from([b"*", b"key:*"])
GETS = st.sampled_from([(), (b"GET", b"#"), (b"GET", b"*"), (b"GET", b"#", b"GET", b"key:*", b"GET", b"x")])
SORTS: list[Row] = [
    (b"SORT", KEYS, ORDER, LIMITS, GETS),
    (b"SORT_RO", KEYS, b"BY", PATTERN, ORDER, LIMITS, GETS),
    (b"SORT", KEYS, b"ALPHA", ORDER, LIMITS, GETS, b"STORE", KEYS),
    (b"SORT", KEYS, b"BY", b"nosort", ORDER, LIMITS, GETS, b"STORE", KEYS),
    (b"SORT", KEYS, b"BY", PATTERN, ORDER, LIMITS, b"STORE", KEYS),
]
CLAUSES = {b"H": (b"FIELDS", NAMES), b"S": (b"MEMBERS", MEMBERS), b"Z": (b"MEMBERS", SCORED_MEMBERS)}
TIMED: list[Row] = [
    (letter + name, KEYS, *words, clause, several(names).map(lambda words: (len(words), *words)))
    for letter, (clause, names) in CLAUSES.items()
    for name, words in ((b"PEXPIRE", (st.integers(0, 3000),)), (b"PEXPIRETIME", ()), (b"PERSIST", ()))
]
IDS = st.tuples(st.integers(0, 30), st.integers(0, 3)).map(lambda pair: b"%d-%d" % pair)
NEW_IDS = st.one_of(IDS, st.integers(0, 60).map(lambda ms: b"%d-*" % ms), st.sampled_from([b"a", b"0-0", b"7"]))
GROUPS = st.sampled_from([b"g", b"g", b"h"])
CONSUMERS = st.sampled_from([b"alice", b"bob", b""])
STREAMS: list[Row] = [
    (b"XADD", KEYS, NEW_IDS, FIELDS),
    (b"XADD", KEYS, NEW_IDS, FIELDS),
    (b"XADD", KEYS, NEW_IDS, FILLED),
    (b"XADD", KEYS, st.sampled_from([b"NOMKSTREAM", (b"MAXLEN", b"3"), (b"MAXLEN", b"0")]), NEW_IDS, FIELDS),
    (b"XLEN", KEYS),
    (b"XDEL", KEYS, several(IDS)),
    (b"XTRIM", KEYS, b"MAXLEN", st.integers(0, 10)),
    (b"XTRIM", KEYS, b"MINID", IDS),
    (b"XRANGE", KEYS, st.one_of(IDS, st.just(b"-")), st.one_of(IDS, st.just(b"+"))),
    (b"XREVRANGE", KEYS, st.one_of(IDS, st.just(b"+")), st.one_of(IDS, st.just(b"-"))),
    (b"XREAD", b"COUNT", st.integers(1, 5), b"STREAMS", KEYS, IDS),
    (b"XGROUP", b"CREATE", KEYS, GROUPS, st.one_of(IDS, st.sampled_from([b"$", b"0"])), b"MKSTREAM"),
    (b"XGROUP", b"SETID", KEYS, GROUPS, IDS),
    (b"XGROUP", b"DESTROY", KEYS, GROUPS),
    (b"XGROUP", st.sampled_from([b"CREATECONSUMER", b"DELCONSUMER"]), KEYS, GROUPS, CONSUMERS),
    (b"XREADGROUP", b"GROUP", GROUPS, CONSUMERS, b"COUNT", st.integers(1, 5), b"STREAMS", KEYS, st.just(b">")),
    (b"XREADGROUP", b"GROUP", GROUPS, CONSUMERS, b"COUNT", st.integers(1, 5), b"STREAMS", KEYS, IDS),
    (b"XACK", KEYS, GROUPS, several(IDS)),
    (b"XPENDING", KEYS, GROUPS),
    (b"XCLAIM", KEYS, GROUPS, CONSUMERS, b"0", several(IDS), b"JUSTID"),
]
GENERIC: list[Row] = [
    (b"DEL", several(KEYS)),
    (b"UNLINK", several(KEYS)),
    (b"EXISTS", several(KEYS)),
    (b"TOUCH", several(KEYS)),
    (b"TYPE", KEYS),
    (b"RENAME", KEYS, KEYS),
    (b"RENAMENX", KEYS, KEYS),
    (b"COPY", KEYS, KEYS, st.just(b"DB"), st.integers(0, DATABASES), st.sampled_from([(), (b"REPLACE",)])),
    (b"MOVE", KEYS, st.integers(0, DATABASES)),
    (b"PEXPIRE", KEYS, st.one_of(MS, st.just(-1), st.just(0)), EXPIRE_IF),
    (b"EXPIRE", KEYS, st.integers(0, 3), EXPIRE_IF),
    (b"PERSIST", KEYS),
    (b"PEXPIRETIME", KEYS),
    (b"PTTL", KEYS),
]
WHOLE: list[Row] = [(b"FLUSHDB", MODE), (b"FLUSHALL", MODE), (b"SWAPDB", DB, st.integers(0, DATABASES))]


@st.composite
def command(draw: st.DrawFn, rows: Sequence[Row]) -> tuple[bytes, ...]:
    """One of the rows: tuples are spread, numbers become text."""
    words: list[bytes] = []
    for part in draw(st.integers(0, len(rows) - 1).map(lambda i: rows[i])):
        drawn = part if isinstance(part, bytes) else draw(part)
        words += [text(word) if isinstance(word, int) else word for word in _spread(drawn)]
    return tuple(words)


def _spread(drawn: Any) -> tuple[Any, ...]:
    return drawn if isinstance(drawn, tuple) else (drawn,)


# Deferred: its description would be huge.
COMMAND = st.deferred(
    lambda: command([*STRINGS, *BITMAPS, *LISTS, *HASHES, *SETS, *ZSETS, *SORTS, *TIMED, *STREAMS, *GENERIC])
)
RARE = st.deferred(lambda: command(WHOLE))


def same(reply: Any, expected: Any) -> bool:
    if isinstance(expected, Failure):
        return isinstance(reply, Error) and reply.split(" ")[0] == str(expected)
    if isinstance(expected, frozenset):
        return isinstance(reply, list) and len(reply) == len(expected) and frozenset(reply) == expected
    if isinstance(expected, list):
        return isinstance(reply, list) and len(reply) == len(expected) and all(map(same, reply, expected))
    return not isinstance(reply, Error) and bool(reply == expected)


class EngineMachine(RuleBasedStateMachine):
    @initialize(policy=st.sampled_from([None, None, *EVICTING]), seed=st.binary(min_size=16, max_size=16))
    def start(self, policy: str | None, seed: bytes) -> None:
        self.engine = Engine(databases=DATABASES, hash_seed=seed)
        seed_random(self.engine, int.from_bytes(seed[:8], "little") | 1)
        self.model = Model(DATABASES)
        self.policy = policy
        self.evicted = 0
        self.snapshot: Snapshot | None = None
        self.frozen: list[dict[bytes, Value]] = []
        self.folder = TemporaryDirectory(prefix="cachefleet-machine-")
        self.path = Path(self.folder.name) / "dump.rdb"
        if policy is not None:
            self.engine.set_param("maxmemory_policy", POLICIES[policy])
            self.engine.set_param("maxmemory", self.engine.stats()["used_memory"] + ROOM)
        self.tick()

    # -- one command

    def evict(self) -> None:
        """Before a command, which then need not, so that the model knows what is there when it runs."""
        if self.policy is not None:
            self.tick()

    def run(self, db: int, words: tuple[bytes, ...]) -> None:
        self.evict()
        reply = self.engine.execute(*words, db=db)
        if isinstance(reply, Error) and reply.startswith("OOM"):
            assert self.policy is not None, words
            return
        expected = self.model.run(db, *words)
        assert same(reply, expected), f"{words!r}: {reply!r}, not {expected!r}"

    @rule()
    def tick(self) -> None:
        """Time goes on, keys are evicted and expired. The model loses just the keys that eviction counts."""
        while True:
            self.tick_engine()
            count = self.engine.counters()["evicted_keys"] - self.evicted
            self.evicted += count
            lost = 0
            for db in range(DATABASES):
                there = set(self.engine.execute(b"KEYS", b"*", db=db))
                for key in set(self.model.live(db)) - there:
                    del self.model.dbs[db][key]
                    lost += 1
                assert there <= set(self.model.live(db))
            # An evicted key that was past its time is no loss for the model.
            assert lost <= count, f"{lost} keys are gone, {count} were evicted"
            if not count:
                return

    def tick_engine(self) -> None:
        for _ in range(TICKS):
            self.engine.tick()
            self.model.now = now_ms(self.engine)
            if not self.partly_removed():
                return
            self.engine.cron()
        raise AssertionError("members whose time is over stay")

    def partly_removed(self) -> bool:
        """Has a slice removed some members whose time is over and left others? Where it took all, so does the model."""
        partly = False
        for db in range(DATABASES):
            for key, value in self.model.live(db).items():
                if self.model.hidden(value):
                    left = self.engine.execute(COUNTS[value.type], key, db=db)
                    if left == len(self.model.shown(value)):
                        self.model.purge(db, key)
                    partly |= len(self.model.shown(value)) < left < len(value.data)
        return partly

    # -- commands

    @rule(db=DB, words=COMMAND)
    def command(self, db: int, words: tuple[bytes, ...]) -> None:
        self.run(db, words)

    @rule(db=DB, words=RARE)
    def whole(self, db: int, words: tuple[bytes, ...]) -> None:
        self.run(db, words)

    @precondition(lambda self: self.policy is None)
    @rule(db=DB, queued=st.lists(COMMAND, max_size=6), discard=st.sampled_from([False, False, False, True]))
    def transaction(self, db: int, queued: list[tuple[bytes, ...]], discard: bool) -> None:
        execute = self.engine.execute
        assert execute(b"MULTI", db=db) == "OK"
        for words in queued:
            assert execute(*words, db=db) == "QUEUED", words
        if discard:
            assert execute(b"DISCARD") == "OK"
            return
        replies = execute(b"EXEC")
        expected = [self.model.run(db, *words) for words in queued]
        assert same(replies, expected), f"{queued!r}: {replies!r}, not {expected!r}"

    @precondition(lambda self: self.policy is None)
    @rule(db=DB, key=KEYS, changes=st.booleans(), data=DATA)
    def watched(self, db: int, key: bytes, changes: bool, data: bytes) -> None:
        execute = self.engine.execute
        assert execute(b"WATCH", key, b"another", db=db) == "OK"
        self.run(db, (b"SET", key, data) if changes else (b"EXISTS", key))
        assert execute(b"MULTI", db=db) == "OK"
        assert execute(b"EXISTS", key) == "QUEUED"
        expected = [self.model.run(db, b"EXISTS", key)]
        assert execute(b"EXEC") == (None if changes else expected)

    @precondition(lambda self: self.policy is None)
    @rule(db=DB, count=st.integers(1, 300), prefix=st.sampled_from([b"many:", b"more:"]))
    def grow(self, db: int, count: int, prefix: bytes) -> None:
        for i in range(count):
            self.run(db, (b"SET", b"%b%d" % (prefix, i), b"v%d" % i))

    @rule(db=DB, key=KEYS, letter=st.sampled_from(sorted(CLAUSES)), sizes=st.tuples(*[st.integers(1, 200)] * 2), ms=MS)
    def grow_timed(self, db: int, key: bytes, letter: bytes, sizes: tuple[int, int], ms: int) -> None:
        """Members of which some expire soon."""
        names = [b"member:%d" % i for i in range(sizes[0])]
        pairs = {b"H": (b"HSET", b"%s v"), b"S": (b"SADD", b"%s"), b"Z": (b"ZADD", b"1 %s")}
        add, words = pairs[letter]
        self.run(db, (add, key, *(word for name in names for word in (words % name).split())))
        names = names[: sizes[1]]
        self.run(db, (letter + b"PEXPIRE", key, text(ms), CLAUSES[letter][0], text(len(names)), *names))

    @rule(ms=st.integers(1, 2000))
    def advance(self, ms: int) -> None:
        advance(self.engine, ms)
        self.model.now = now_ms(self.engine)

    @rule()
    def cron(self) -> None:
        self.engine.cron()
        self.tick()

    @rule(db=DB)
    def random_key(self, db: int) -> None:
        self.evict()
        key = self.engine.execute(b"RANDOMKEY", db=db)
        assert key is None if not self.model.live(db) else key in self.model.live(db)

    @rule(db=DB, count=st.integers(1, 50))
    def scan(self, db: int, count: int) -> None:
        self.evict()
        cursor, found = b"0", set()
        while True:
            cursor, keys = self.engine.execute(b"SCAN", cursor, b"COUNT", text(count), db=db)
            found |= set(keys)
            if cursor == b"0":
                break
        assert found == set(self.model.live(db))

    # -- snapshots. No preconditions: how many steps one takes depends on chance, and what is drawn must not.

    @rule()
    def snapshot_begin(self) -> None:
        if self.snapshot is not None:
            return
        self.snapshot = Snapshot(self.engine, temp_path=f"{self.path}.temp", final_path=str(self.path), slice_us=0)
        self.snapshot.start()
        self.frozen = [self.model.live(db) for db in range(DATABASES)]
        self.frozen_ms = self.model.now

    @rule(chains=st.integers(1, 20))
    def snapshot_step(self, chains: int) -> None:
        if self.snapshot is not None and not self.snapshot.step(chains):
            result = self.snapshot.finish()
            self.snapshot = None
            assert result.ok, result.error
            file = parse(self.path.read_bytes())
            found = file.databases()
            for db in range(DATABASES):
                there = {
                    key: (data, -1 if expire is None else expire)
                    for key, (data, expire) in found.get(db, {}).items()
                    if expire is None or expire >= self.frozen_ms
                }
                assert there == {key: (value.data, value.expire) for key, value in self.frozen[db].items()}
                times = {key: times for key, times in file.times().get(db, {}).items() if key in there}
                assert times == {key: value.times for key, value in self.frozen[db].items() if value.times}

    @rule()
    def snapshot_abort(self) -> None:
        self.end_snapshot()

    def end_snapshot(self) -> None:
        if self.snapshot is not None:
            self.snapshot.abort()
            self.snapshot.finish()
            self.snapshot = None

    # -- checks

    @rule()
    def equals_the_model(self) -> None:
        self.evict()
        assert not self.engine.check()
        for db in range(DATABASES):
            assert set(self.engine.execute(b"KEYS", b"*", db=db)) == set(self.model.live(db))
            for key, value in self.model.live(db).items():
                self.equals(db, key, value)

    def equals(self, db: int, key: bytes, value: Value) -> None:
        """By commands that neither change the value nor count as its use."""
        execute = self.engine.execute
        encoding = execute(b"OBJECT", b"ENCODING", key, db=db).decode()
        assert execute(b"PEXPIRETIME", key, db=db) == value.expire, key
        if value.type == "list":
            assert tuple(execute(b"LRANGE", key, b"0", b"-1", db=db)) == value.data, key
            assert encoding in ("listpack", "quicklist"), key
        elif value.type == "hash":
            words = execute(b"HGETALL", key, db=db)
            assert Fields(zip(words[::2], words[1::2], strict=True)) == self.model.shown(value), key
            assert encoding == value.encoding, key
        elif value.type == "set":
            assert same(execute(b"SMEMBERS", key, db=db), self.model.shown(value)), key
            assert encoding in ("intset", "listpack", "hashtable"), key
        elif value.type == "zset":
            reply = execute(b"ZRANGE", key, b"0", b"-1", b"WITHSCORES", db=db)
            found = tuple((member, float(score)) for member, score in zip(reply[::2], reply[1::2], strict=True))
            assert found == self.model.shown(value), key
            assert encoding in ("listpack", "skiplist"), key
        elif value.type == "stream":
            found = execute(b"XRANGE", key, b"-", b"+", db=db)
            assert tuple((id, tuple(words)) for id, words in found) == value.data, key
            rows = execute(b"XINFO", b"GROUPS", key, db=db)
            groups = [(row[1], row[3], row[5], row[7]) for row in rows]
            assert groups == [
                (name, len(group.consumers), len(group.pending), b"%d-%d" % group.last)
                for name, group in sorted(value.data.groups.items())
            ], key
            assert encoding == "stream", key
        else:
            assert execute(b"GET", key, db=db) == value.data, key
            assert encoding == value.encoding, (key, value)

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            try:
                self.end_snapshot()
                self.equals_the_model()
            finally:
                self.engine.close()
                self.folder.cleanup()


TestEngine = EngineMachine.TestCase
TestEngine.settings = examples(40, stateful_step_count=50)
