"""Members of sets and sorted sets that expire, in an engine, against models: who reads does not see them to the
millisecond, who writes has them removed, and slices remove the rest."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cachefleet_server._testing import advance, now_ms
from cachefleet_server.engine import Engine
from cachefleet_server.persistence.rdb_load import RdbLoader
from cachefleet_server.persistence.snapshot import DIALECT_REDIS70, DIALECT_VALKEY, Snapshot

pytestmark = pytest.mark.unit

Members = dict[bytes, tuple[int, int]]  # name -> score (of a set: 0), time or -1
KEYS = [b"k%d" % i for i in range(4)]


@pytest.fixture(params=["set", "zset"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def add(engine: Engine, kind: str, key: bytes, members: dict[bytes, int]) -> None:
    if kind == "set":
        engine.execute(b"SADD", key, *members)
    else:
        engine.execute(b"ZADD", key, *(word for name, score in members.items() for word in (b"%d" % score, name)))


def family(engine: Engine, kind: str, command: bytes, key: bytes, *words: bytes, names: list[bytes]) -> list[int]:
    letter = b"S" if kind == "set" else b"Z"
    done = engine.execute(letter + command, key, *words, b"MEMBERS", b"%d" % len(names), *names)
    assert isinstance(done, list)
    return done


def names_of(engine: Engine, kind: str, key: bytes) -> list[bytes]:
    """As the members are listed; a set's in the order of their bytes."""
    if kind == "set":
        return sorted(engine.execute(b"SMEMBERS", key))
    return list(engine.execute(b"ZRANGE", key, b"0", b"-1"))


def in_order(members: Members) -> list[bytes]:
    return sorted(members, key=lambda name: (members[name][0], name))


def numbered(n: int) -> list[bytes]:
    return [b"member:%d" % i for i in range(n)]


class Model:
    def __init__(self, engine: Engine, kind: str) -> None:
        self.engine, self.kind = engine, kind
        self.keys: dict[bytes, Members] = {}

    def live(self, key: bytes) -> Members:
        now = now_ms(self.engine)
        return {name: m for name, m in self.keys.get(key, {}).items() if m[1] == -1 or m[1] >= now}

    def check(self) -> None:
        assert self.engine.check() == []
        for key in KEYS:
            live = self.live(key)
            assert names_of(self.engine, self.kind, key) == in_order(live)
            names = [*live, b"none"]
            times = family(self.engine, self.kind, b"PEXPIRETIME", key, names=names)
            assert times == [*(at for _, at in live.values()), -2]

    def change(self, rng: random.Random) -> None:
        key, other = rng.sample(KEYS, 2)
        live = self.live(key)
        names = rng.sample(numbered(300), rng.choice((1, 3, 8, 150)))
        step = rng.randrange(9)
        if step < 2:
            added = {name: rng.randrange(20) if self.kind == "zset" else 0 for name in names}
            add(self.engine, self.kind, key, added)
            live |= {name: (score, live.get(name, (0, -1))[1]) for name, score in added.items()}
        elif step < 5:
            at = now_ms(self.engine) + rng.choice((1, 5, 50, 500))
            done = family(self.engine, self.kind, b"PEXPIREAT", key, b"%d" % at, names=names)
            assert done == [1 if name in live else -2 for name in names]
            live |= {name: (live[name][0], at) for name in names if name in live}
        elif step == 5:
            family(self.engine, self.kind, b"PERSIST", key, names=names)
            live |= {name: (live[name][0], -1) for name in names if name in live}
        elif step == 6:
            removed = self.engine.execute(b"SREM" if self.kind == "set" else b"ZREM", key, *names)
            assert removed == len(live.keys() & set(names))
            live = {name: m for name, m in live.items() if name not in names}
        elif step == 7:
            count = rng.choice((1, 5, 200))
            reply = self.engine.execute(b"SPOP" if self.kind == "set" else b"ZPOPMIN", key, b"%d" % count)
            popped = reply if self.kind == "set" else reply[::2]
            if self.kind == "zset":
                assert popped == in_order(live)[:count]
            assert len(popped) == min(count, len(live)) and set(popped) <= set(live)
            live = {name: m for name, m in live.items() if name not in popped}
        elif key in self.keys and self.engine.execute(b"EXISTS", key):
            self.engine.execute(b"COPY", key, other, b"REPLACE")
            self.keys[other] = dict(live)
        self.keys[key] = live


def test_against_a_model(engine: Engine, kind: str, rng: random.Random) -> None:
    model = Model(engine, kind)
    for i in range(1500):
        model.change(rng)
        if rng.random() < 0.15:
            advance(engine, rng.choice((1, 4, 60, 600)))
            engine.tick()
        if rng.random() < 0.05:
            engine.cron()
            engine.tick()
        if i % 10 == 0:
            model.check()
    model.check()


def test_the_only_member_gets_a_time_and_loses_it(engine: Engine, kind: str) -> None:
    """It moves in memory: nothing may look at where it was. (Sanitizers see it.)"""
    add(engine, kind, b"k", {b"a longer name:1": 7})
    for command in (b"EXPIRE", b"PERSIST") * 3:
        words = [b"100"] if command == b"EXPIRE" else []
        assert family(engine, kind, command, b"k", *words, names=[b"a longer name:1"]) == [1]
        assert engine.check() == []
    assert names_of(engine, kind, b"k") == [b"a longer name:1"]


@pytest.mark.parametrize("hidden", [0, 1, 16, 17, 128, 129, 400])
def test_ranks_past_hidden_members(engine: Engine, hidden: int, rng: random.Random) -> None:
    """Every way to count and to list, whatever is hidden, at the ends as well as between."""
    engine.set_param("active_expire_enabled", 0)
    scores = {name: rng.randrange(40) for name in numbered(400)}
    add(engine, "zset", b"k", scores)
    add(engine, "zset", b"k", {b"last": 50})
    gone = rng.sample(sorted(scores), hidden)
    if gone:
        family(engine, "zset", b"PEXPIRE", b"k", b"1", names=gone)
    family(engine, "zset", b"PEXPIRE", b"k", b"100000", names=[b"last"])
    advance(engine, 10)
    engine.tick()
    scores |= {b"last": 50}
    shown = sorted((name for name in scores if name not in gone), key=lambda name: (scores[name], name))
    run = engine.execute
    assert run(b"ZCARD", b"k") == 401
    assert run(b"ZRANGE", b"k", b"0", b"-1") == shown
    assert run(b"ZREVRANGE", b"k", b"0", b"-1") == shown[::-1]
    for name in rng.sample(sorted(scores), 60):
        rank = shown.index(name) if name in shown else None
        assert run(b"ZRANK", b"k", name) == rank
        assert run(b"ZREVRANK", b"k", name) == (None if rank is None else len(shown) - 1 - rank)
    for _ in range(200):
        low, high = sorted(rng.randrange(-1, 52) for _ in range(2))
        found = [name for name in shown if low <= scores[name] <= high]
        words = (b"%d" % low, b"%d" % high)
        assert run(b"ZCOUNT", b"k", *words) == len(found)
        skip, most = rng.randrange(30), rng.randrange(30)
        limit = (b"LIMIT", b"%d" % skip, b"%d" % most)
        assert run(b"ZRANGEBYSCORE", b"k", *words, *limit) == found[skip : skip + most]
        assert run(b"ZREVRANGEBYSCORE", b"k", *words[::-1], *limit) == found[::-1][skip : skip + most]
        start, stop = rng.randrange(-420, 420), rng.randrange(-420, 420)
        first = max(0, start + len(shown)) if start < 0 else start
        end = (stop + len(shown) if stop < 0 else stop) + 1
        expected = shown[first : max(end, 0)]
        assert run(b"ZRANGE", b"k", b"%d" % start, b"%d" % stop) == expected


def save(engine: Engine, path: Path, *, dialect: int = -1, commands: bool = False) -> bytes:
    snapshot = Snapshot(
        engine, temp_path=f"{path}.temp", final_path=str(path), slice_us=0, dialect=dialect, commands=commands)
    snapshot.start()
    result = snapshot.finish()
    assert result.ok, result.error
    return path.read_bytes()


def load(path: Path) -> Engine:
    engine = Engine()
    loader = RdbLoader(engine, str(path))
    while loader.step(10_000):
        pass
    loader.close()
    return engine


@pytest.mark.parametrize("count", [3, 3000])
def test_files(engine: Engine, kind: str, count: int, tmp_path: Path) -> None:
    """Of our own dialect where times are kept; of another's when somebody asks for it by name, without them."""
    names = numbered(count)
    far = now_ms(engine) + 10**9
    add(engine, kind, b"k", {name: i for i, name in enumerate(names)})
    family(engine, kind, b"PEXPIREAT", b"k", b"%d" % far, names=names[::2])
    times = [far if i % 2 == 0 else -1 for i in range(count)]
    data = save(engine, tmp_path / "own")
    assert data.startswith(b"CFLEET001")
    assert data.count(far.to_bytes(8, "little")) == (count + 1) // 2
    loaded = load(tmp_path / "own")
    assert family(loaded, kind, b"PEXPIRETIME", b"k", names=names) == times
    assert names_of(loaded, kind, b"k") == names_of(engine, kind, b"k")
    assert loaded.check() == []
    loaded.close()
    for dialect, magic in ((DIALECT_VALKEY, b"VALKEY080"), (DIALECT_REDIS70, b"REDIS0010")):
        data = save(engine, tmp_path / "other", dialect=dialect)
        assert data.startswith(magic) and far.to_bytes(8, "little") not in data
        loaded = load(tmp_path / "other")
        assert family(loaded, kind, b"PEXPIRETIME", b"k", names=names) == [-1] * count
        assert names_of(loaded, kind, b"k") == names_of(engine, kind, b"k")
        loaded.close()
    data = save(engine, tmp_path / "commands", commands=True)
    command = b"SPEXPIREAT" if kind == "set" else b"ZPEXPIREAT"
    assert data.count(command) == data.count(b"%d" % far) == (count + 1) // 2
    family(engine, kind, b"PERSIST", b"k", names=names)
    assert save(engine, tmp_path / "plain").startswith(b"REDIS0010")


def test_a_file_is_others_again_without_the_last_time(engine: Engine, kind: str, tmp_path: Path) -> None:
    """However the last one goes."""
    far = b"%d" % (now_ms(engine) + 10**9)
    remove = b"SREM" if kind == "set" else b"ZREM"
    letter = b"S" if kind == "set" else b"Z"
    ways = ((remove, b"k", b"a"), (letter + b"PERSIST", b"k", b"MEMBERS", b"1", b"a"), (b"DEL", b"k"),
            (b"SET", b"k", b"v"), (b"FLUSHALL",), (letter + b"EXPIRE", b"k", b"0", b"MEMBERS", b"1", b"a"))  # fmt: skip
    for way in ways:
        engine.execute(b"DEL", b"k")
        add(engine, kind, b"k", {b"a": 1, b"b": 2})
        family(engine, kind, b"PEXPIREAT", b"k", far, names=[b"a"])
        assert save(engine, tmp_path / "file").startswith(b"CFLEET001")
        engine.execute(*way)
        assert save(engine, tmp_path / "file").startswith(b"REDIS0010"), way
        assert engine.check() == []
