"""Fields that expire, in an engine: hidden to the millisecond, removed in slices, wherever their hash goes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cachefleet_server._testing import advance, now_ms
from cachefleet_server.engine import Engine
from cachefleet_server.persistence.snapshot import Snapshot
from fleettest.forms import used, work_until

pytestmark = pytest.mark.unit

Fields = dict[bytes, tuple[bytes, int]]  # name -> value, time or -1
KEYS = [b"k%d" % i for i in range(6)]
NAMES = [b"f%d" % i for i in range(10)]


def numbered(n: int) -> list[bytes]:
    return [b"field:%d" % i for i in range(n)]


def expire(engine: Engine, key: bytes, at_ms: int, names: list[bytes]) -> None:
    done = engine.execute(b"HPEXPIREAT", key, b"%d" % at_ms, b"FIELDS", b"%d" % len(names), *names)
    assert done == [1] * len(names)


class Model:
    """Databases of hashes. Hidden fields stay until a slice removes them, which nobody sees but by HLEN."""

    def __init__(self) -> None:
        self.dbs: list[dict[bytes, Fields]] = [{}, {}]
        self.now = 0

    def live(self, db: int, key: bytes) -> Fields:
        fields = self.dbs[db].get(key, {})
        return {name: field for name, field in fields.items() if field[1] == -1 or field[1] >= self.now}


def change(engine: Engine, model: Model, rng: random.Random) -> None:
    db, key, other = rng.randrange(2), rng.choice(KEYS), rng.choice(KEYS)
    names = rng.sample(NAMES, rng.randrange(1, 5)) if rng.random() < 0.8 else numbered(rng.randrange(1, 200))
    dbs, execute = model.dbs, engine.execute
    live = model.live(db, key)
    kind = rng.randrange(12)
    if kind < 4:
        execute(b"HSET", key, *(word for name in names for word in (name, b"v%d" % rng.randrange(9))), db=db)
        found = execute(b"HMGET", key, *names, db=db)
        dbs[db][key] = {**live, **{name: (value, -1) for name, value in zip(names, found, strict=True)}}
    elif kind < 7:
        at = model.now + rng.choice((1, 5, 50, 1000))
        done = execute(b"HPEXPIREAT", key, b"%d" % at, b"FIELDS", b"%d" % len(names), *names, db=db)
        assert done == [1 if name in live else -2 for name in names]
        dbs[db][key] = {**live, **{name: (live[name][0], at) for name in names if name in live}}
    elif kind == 7:
        execute(b"HPERSIST", key, b"FIELDS", b"%d" % len(names), *names, db=db)
        dbs[db][key] = {name: (value, -1 if name in names else at) for name, (value, at) in live.items()}
    elif kind == 8:
        assert execute(b"HDEL", key, *names, db=db) == len(live.keys() & set(names))
        dbs[db][key] = {name: field for name, field in live.items() if name not in names}
    elif kind == 9 and execute(b"EXISTS", key, db=db) and key != other:
        command = rng.choice((b"RENAME", b"COPY"))
        execute(command, key, other, *([b"REPLACE"] if command == b"COPY" else []), db=db)
        dbs[db][other] = dict(live)
        if command == b"RENAME":
            del dbs[db][key]
    elif kind == 10:
        command = rng.choice(((b"DEL", key), (b"SET", key, b"string"), (b"UNLINK", key), (b"RENAME", key, key)))
        execute(*command, db=db)
        if command[0] == b"SET":
            execute(b"GETDEL", key, db=db)
        if command[0] != b"RENAME":
            dbs[db].pop(key, None)
    elif rng.random() < 0.3:
        move = (b"MOVE", key, b"%d" % (1 - db))
        whole = rng.choice(((b"SWAPDB", b"0", b"1"), (b"FLUSHDB",), (b"FLUSHALL", b"ASYNC"), move))
        moved = execute(*whole, db=db)
        if whole[0] == b"SWAPDB":
            dbs.reverse()
        elif whole[0] == b"FLUSHDB":
            dbs[db] = {}
        elif whole[0] == b"FLUSHALL":
            model.dbs = [{}, {}]
        elif moved == 1:
            dbs[1 - db][key] = dbs[db].pop(key)


def compare(engine: Engine, model: Model) -> None:
    assert engine.check() == []
    for db in range(2):
        for key in KEYS:
            live = model.live(db, key)
            words = engine.execute(b"HGETALL", key, db=db)
            assert dict(zip(words[::2], words[1::2], strict=True)) == {name: value for name, (value, _) in live.items()}
            names = [*live, b"none"]
            times = engine.execute(b"HPEXPIRETIME", key, b"FIELDS", b"%d" % len(names), *names, db=db)
            assert times == [*(at for _, at in live.values()), -2]
            assert engine.execute(b"HLEN", key, db=db) >= len(live)


def nothing_is_over(engine: Engine, model: Model) -> bool:
    """Have slices removed all whose time has come?"""
    model.now = now_ms(engine)
    there = [(db, key, len(model.live(db, key))) for db in range(2) for key in KEYS]
    counts = [engine.execute(b"HLEN", key, db=db) for db, key, _ in there]
    assert [engine.execute(b"EXISTS", key, db=db) for db, key, _ in there] == [bool(n) for n in counts]
    return counts == [n for _, _, n in there]


def test_against_a_model(engine: Engine, rng: random.Random) -> None:
    model = Model()
    model.now = now_ms(engine)
    for i in range(4000):
        change(engine, model, rng)
        if rng.random() < 0.1:
            advance(engine, rng.choice((1, 1, 4, 100, 1500)))
            engine.tick()
            model.now = now_ms(engine)
        if rng.random() < 0.05:
            work_until(engine, lambda: nothing_is_over(engine, model))
        if i % 20 == 0:
            compare(engine, model)
    compare(engine, model)


def test_hidden_to_the_millisecond(engine: Engine) -> None:
    engine.set_param("active_expire_enabled", 0)
    engine.execute(b"HSET", b"k", b"a", b"1", b"b", b"2")
    at = now_ms(engine) + 1000
    expire(engine, b"k", at, [b"a"])
    while now_ms(engine) < at - 2:
        advance(engine, at - 2 - now_ms(engine))
        engine.tick()
    seen = []
    for _ in range(40):
        before = now_ms(engine)
        found = engine.execute(b"HGET", b"k", b"a")
        seen.append(found)
        if now_ms(engine) == before:
            assert found == (b"1" if before <= at else None)
        advance(engine, 1)
        engine.tick()
    assert seen[-1] is None
    assert engine.execute(b"HLEN", b"k") == 2
    engine.set_param("active_expire_enabled", 1)
    work_until(engine, lambda: engine.execute(b"HLEN", b"k") == 1)
    assert engine.counters()["expired_fields"] == 1


@pytest.mark.parametrize("count", [1, 127, 128, 129, 300, 5000])
def test_the_index_of_few_and_many(engine: Engine, count: int, rng: random.Random) -> None:
    """Times come in any order, are changed, taken away, and come again."""
    names = numbered(count)
    engine.execute(b"HSET", b"k", b"stays", b"1", *(word for name in names for word in (name, b"v")))
    engine.execute(b"HPERSIST", b"k", b"FIELDS", b"%d" % count, *names)  # room for arguments
    before = used(engine)
    after = []
    for _ in range(3):
        start = now_ms(engine) + 100_000
        for name in rng.sample(names, count):
            expire(engine, b"k", start + rng.randrange(1000), [name])
        for name in rng.sample(names, count // 2):
            expire(engine, b"k", start + rng.randrange(1000), [name])
        assert engine.check() == []
        assert used(engine) - before < 8000 + 26 * count  # leaves of a small tree may be a third full
        engine.execute(b"HPERSIST", b"k", b"FIELDS", b"%d" % count, *names)
        assert engine.check() == []
        after.append(used(engine))
    assert after[1] == after[2]  # the first time takes some for good: arguments, pages of small objects
    expire(engine, b"k", start, names)
    advance(engine, 200_000)
    work_until(engine, lambda: engine.execute(b"HLEN", b"k") == 1)
    assert engine.execute(b"HGETALL", b"k") == [b"stays", b"1"]


def test_a_hash_whose_fields_are_all_over_goes(engine: Engine) -> None:
    engine.execute(b"HSET", b"k", *numbered(200))
    expire(engine, b"k", now_ms(engine) + 10, numbered(200)[::2])
    advance(engine, 100)
    engine.execute(b"PING")
    assert engine.execute(b"HLEN", b"k") == 100
    assert engine.execute(b"HGETALL", b"k") == []
    work_until(engine, lambda: engine.execute(b"DBSIZE") == 0)
    assert engine.execute(b"EXISTS", b"k") == 0


def test_it_keeps_up_with_a_million(engine: Engine) -> None:
    """In one hash and in many; a slice is short."""
    names = numbered(1000)
    at = now_ms(engine) + 50_000
    for i in range(0, 500_000, 1000):
        many = [b"field:%d" % n for n in range(i, i + 1000)]
        engine.execute(b"HSET", b"large", *(word for name in many for word in (name, b"v")))
        expire(engine, b"large", at + i % 7, many)
        engine.execute(b"HSET", b"small:%d" % i, *(word for name in names for word in (name, b"v")))
        expire(engine, b"small:%d" % i, at + i % 5, names)
    advance(engine, 60_000)
    slices = 0
    while engine.execute(b"DBSIZE"):
        engine.cron()
        engine.tick()
        slices += 1
        assert slices < 20_000
    assert engine.counters()["expired_fields"] == 1_000_000
    assert slices > 100


@pytest.mark.parametrize("commands", [False, True])
def test_snapshots_of_what_changes(engine: Engine, tmp_path: Path, commands: bool) -> None:
    """A large hash is held by the snapshot: its fields have the times that they had, and none comes twice."""
    names = numbered(3000)
    far = now_ms(engine) + 10**9
    engine.execute(b"HSET", b"k", *(word for name in names for word in (name, name)))
    engine.execute(b"HSET", b"plain", *(word for name in names for word in (name, name)))
    expire(engine, b"k", far, names[:1000])
    path = tmp_path / "file"
    snapshot = Snapshot(
        engine, temp_path=f"{path}.temp", final_path=str(path), slice_us=0, commands=commands)
    snapshot.start()
    snapshot.step(1)
    expire(engine, b"k", far + 5, names[500:1500])
    expire(engine, b"plain", far, names[:10])
    engine.execute(b"HPERSIST", b"k", b"FIELDS", b"3000", *names)
    engine.execute(b"HDEL", b"k", *names[2000:2500])
    while snapshot.step(5):
        expire(engine, b"k", far + 7, names[:2])
    result = snapshot.finish()
    assert result.ok, result.error
    data = path.read_bytes()
    assert all(name in data for name in names)
    if commands:
        assert data.count(b"HPEXPIREAT") == data.count(b"%d" % far) == 1000
        assert b"%d" % (far + 5) not in data
    else:
        assert data.startswith(b"VALKEY080")
        assert data.count(far.to_bytes(8, "little")) == 1000
        assert data.count((2**64 - 1).to_bytes(8, "little")) == 2000
