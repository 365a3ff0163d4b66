"""A data type is one file and one row: the tests' own type has everything that follows from them.

The bag (persistence/_testing.pyx) has one command, BAGADD; nothing else knows of it.
"""

from __future__ import annotations

import gc
import hashlib
import random
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachefleet_server.engine import POLICIES, Engine
from cachefleet_server.persistence._testing import newer, plug_bag
from cachefleet_server.persistence.aof_load import AofLoader
from cachefleet_server.persistence.rdb_load import RdbLoader
from cachefleet_server.persistence.snapshot import Snapshot, SnapshotResult
from cachefleet_server.replies import Error
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.unit

LARGE = 3000  # members; a snapshot holds such a bag
STEP = 16384  # SAVE_STEP
CHUNK = 65536  # RDB_CHUNK


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = with_bags()
    yield engine
    engine.close()
    gc.collect()


def with_bags() -> Engine:
    engine = Engine(databases=4)
    plug_bag(engine)
    return engine


def fill(engine: Engine, key: bytes, n: int, *, db: int = 0, first: int = 0) -> None:
    for i in range(first, first + n, 500):
        engine.execute(b"BAGADD", key, *(b"member:%d" % k for k in range(i, min(first + n, i + 500))), db=db)


def signatures(engine: Engine) -> dict[tuple[int, bytes], tuple[bytes, int]]:
    """What the databases hold, by values' digests, and when it expires."""
    return {
        (db, key): (engine.value_digest(db, key), engine.execute(b"PEXPIRETIME", key, db=db))
        for db in range(4)
        for key in engine.execute(b"KEYS", b"*", db=db)
    }


def loaded(path: Path, *, commands: bool) -> dict[tuple[int, bytes], tuple[bytes, int]]:
    """What a file makes of an empty engine."""
    engine = with_bags()
    loader = AofLoader(engine, str(path)) if commands else RdbLoader(engine, str(path))
    while loader.step(1_000_000):
        pass
    loader.close()
    found = signatures(engine)
    engine.close()
    return found


def begin(engine: Engine, path: Path, *, commands: bool = False) -> Snapshot:
    snapshot = Snapshot(engine, temp_path=str(path), commands=commands, slice_us=0)
    snapshot.start()
    return snapshot


def end(snapshot: Snapshot) -> SnapshotResult:
    result = snapshot.finish()
    assert result.ok, result
    return result


# ---- what follows from the row -----------------------------------------------------------------------


def test_names(engine: Engine) -> None:
    fill(engine, b"small", 3)
    fill(engine, b"large", 17)
    engine.execute(b"SET", b"text", b"x")
    assert engine.execute(b"TYPE", b"small") == "bag"
    assert engine.execute(b"OBJECT", b"ENCODING", b"small") == b"listpack"
    assert engine.execute(b"OBJECT", b"ENCODING", b"large") == b"hashtable"
    found = engine.execute(b"SCAN", b"0", b"TYPE", b"BAG", b"COUNT", b"100")[1]
    assert sorted(found) == [b"large", b"small"]
    assert engine.execute(b"SCAN", b"0", b"TYPE", b"hash") == [b"0", []]
    assert isinstance(engine.execute(b"SCAN", b"0", b"TYPE", b"bags"), Error)
    wrong = engine.execute(b"GET", b"small")
    assert isinstance(wrong, Error)
    assert str(wrong).startswith("WRONGTYPE")
    assert str(engine.execute(b"BAGADD", b"text", b"m")).startswith("WRONGTYPE")


def test_copy_rename_dump_restore(engine: Engine) -> None:
    engine.execute(b"BAGADD", b"a", b"x", b"x", b"y" * 300, b"12")
    fill(engine, b"a", 100)
    digest = engine.value_digest(0, b"a")
    assert digest not in (bytes(20), engine.value_digest(0, b"nosuch"))
    assert engine.execute(b"COPY", b"a", b"b") == 1
    assert engine.execute(b"RENAME", b"a", b"c") == "OK"
    assert engine.execute(b"MOVE", b"c", b"2") == 1
    dumped = engine.execute(b"DUMP", b"b")
    assert engine.execute(b"RESTORE", b"d", b"0", dumped) == "OK"
    assert engine.value_digest(0, b"b") == engine.value_digest(2, b"c") == engine.value_digest(0, b"d") == digest
    assert newer(engine) == 3
    engine.execute(b"BAGADD", b"b", b"one more")
    assert engine.value_digest(0, b"b") != digest
    assert engine.value_digest(0, b"d") == digest
    for at in range(0, len(dumped) - 10, 97):  # damaged: refused, or another value; never a crash
        engine.execute(b"RESTORE", b"e", b"0", dumped[:at] + b"\xff" + dumped[at + 1 :], b"REPLACE")
    engine.execute(b"FLUSHALL", b"SYNC")
    assert newer(engine) == 0


def test_a_value_that_needs_it_makes_the_dialect_newer(engine: Engine, tmp_path: Path) -> None:
    def magic() -> bytes:
        end(begin(engine, tmp_path / "file"))
        assert loaded(tmp_path / "file", commands=False) == signatures(engine)
        return (tmp_path / "file").read_bytes()[:9]

    fill(engine, b"a", 3)
    assert magic() == b"REDIS0010"
    assert engine.execute(b"DUMP", b"a")[-10:-8] == b"\x0a\x00"
    engine.execute(b"BAGADD", b"a", b"x" * 300)
    assert magic() == b"VALKEY080"
    assert engine.execute(b"DUMP", b"a")[-10:-8] == b"\x50\x00"
    engine.execute(b"UNLINK", b"a")
    fill(engine, b"b", 3)
    assert magic() == b"REDIS0010"


def test_memory_lazy_freeing_and_expiry(engine: Engine) -> None:
    engine.execute(b"BAGADD", b"warm", *(b"%d" % i for i in range(1000)))
    engine.execute(b"UNLINK", b"warm")  # the helper thread is there
    assert_eventually(lambda: engine.stats()["lazyfree_pending"] == 0)
    freed, used = engine.stats()["lazyfreed_objects"], engine.stats()["used_memory"]
    fill(engine, b"a", 20_000)
    size = engine.memory_usage(0, b"a", 5)
    grown = engine.stats()["used_memory"] - used
    assert size is not None
    assert 0.9 * grown < size <= grown
    engine.execute(b"UNLINK", b"a")
    assert_eventually(lambda: engine.stats()["lazyfreed_objects"] == freed + 1)
    assert_eventually(lambda: engine.stats()["used_memory"] < used + 4096)
    fill(engine, b"b", 20_000)
    engine.execute(b"PEXPIRE", b"b", b"1")

    def expired() -> bool:
        engine.tick()  # the clock
        return bool(engine.execute(b"EXISTS", b"b") == 0)

    assert_eventually(expired)
    assert_eventually(lambda: engine.stats()["lazyfreed_objects"] == freed + 2)


def test_eviction(engine: Engine) -> None:
    used = engine.stats()["used_memory"]
    engine.set_param("maxmemory_policy", POLICIES["allkeys-lru"])
    engine.set_param("maxmemory", used + (1 << 20))
    for i in range(40):
        fill(engine, b"bag:%d" % i, 3000)
    assert 0 < engine.execute(b"DBSIZE") < 40
    # More when a bag was evicted while it was filled, and begun again: all were used in the same second.
    assert engine.stats()["evicted_keys"] >= 40 - engine.execute(b"DBSIZE")


@pytest.mark.parametrize("policy", [False, True], ids=["del", "lazy"])
def test_a_value_that_only_a_snapshot_holds_costs_no_other_key(engine: Engine, tmp_path: Path, policy: bool) -> None:
    engine.set_param("lazyfree_lazy_eviction", int(policy))
    engine.set_param("maxmemory_policy", POLICIES["allkeys-lru"])
    for i in range(8):
        fill(engine, b"bag:%d" % i, 10_000)
    snapshot = begin(engine, tmp_path / "file")
    while snapshot.progress[0] == 0 and snapshot.step(1):
        pass  # the tables are done: all are held
    used = engine.stats()["used_memory"]
    engine.set_param("maxmemory", used - 100_000)
    engine.execute(b"SET", b"k", b"v")  # evicts one
    engine.execute(b"SET", b"k", b"w")
    assert engine.stats()["evicted_keys"] == 1
    end(snapshot)


# ---- files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commands", [False, True], ids=["records", "commands"])
def test_files(engine: Engine, tmp_path: Path, commands: bool) -> None:
    for i, n in enumerate((1, 16, 17, 500, LARGE, 2 * LARGE)):
        fill(engine, b"bag:%d" % i, n, db=i % 3)
        engine.execute(b"SET", b"text:%d" % i, b"x" * n, db=i % 3)
    engine.execute(b"PEXPIREAT", b"bag:4", b"99999999999999", db=1)
    engine.execute(b"BAGADD", b"bag:4", b"twice", b"twice", b"z" * 300, db=1)
    before = signatures(engine)
    result = end(begin(engine, tmp_path / "file", commands=commands))
    assert result.keys == 12
    assert loaded(tmp_path / "file", commands=commands) == before == signatures(engine)


@pytest.mark.parametrize("commands", [False, True], ids=["records", "commands"])
def test_equals_its_start_under_random_changes(
    engine: Engine, tmp_path: Path, rng: random.Random, commands: bool
) -> None:
    """Large bags are changed, deleted, overwritten, renamed, copied, moved and flushed between all steps."""

    def key() -> bytes:
        return b"bag:%d" % rng.randrange(12)

    def change() -> None:
        run, db, other = engine.execute, rng.randrange(3), str(rng.randrange(3)).encode()
        choice = rng.randrange(100)
        if choice < 60:
            run(b"BAGADD", key(), *(b"member:%d" % rng.randrange(2 * LARGE) for _ in range(5)), db=db)
        elif choice < 66:
            run(b"DEL", key(), db=db)
        elif choice < 70:
            run(b"UNLINK", key(), db=db)
        elif choice < 76:
            run(b"SET", key(), b"text", db=db)
        elif choice < 82:
            run(b"RENAME", key(), key(), db=db)
        elif choice < 86:
            run(b"COPY", key(), key(), b"DB", other, b"REPLACE", db=db)
        elif choice < 90:
            run(b"MOVE", key(), other, db=db)
        elif choice < 94:
            run(b"PEXPIREAT", key(), b"1", db=db)
        elif choice < 96:
            run(b"SWAPDB", str(db).encode(), other)
        elif choice == 96:
            run(b"FLUSHDB", rng.choice((b"SYNC", b"ASYNC")), db=db)
        else:
            run(b"PEXPIREAT", key(), b"99999999999999", db=db)

    for round_ in range(4):
        for i in range(12):
            fill(engine, b"bag:%d" % i, rng.choice((5, 100, LARGE)), db=i % 3, first=rng.randrange(LARGE))
        before = signatures(engine)
        path = tmp_path / f"file{round_}"
        snapshot = begin(engine, path, commands=commands)
        while snapshot.step(1):
            for _ in range(rng.randrange(3)):
                change()
        end(snapshot)
        assert loaded(path, commands=commands) == before
    used = engine.execute(b"FLUSHALL", b"SYNC")
    assert used == "OK"
    assert_eventually(lambda: engine.stats()["lazyfree_pending"] == 0)
    assert_eventually(lambda: engine.stats()["used_memory"] < 2 << 20)


@pytest.mark.parametrize("members", [200_000, pytest.param(1_000_000, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("commands", [False, True], ids=["records", "commands"])
def test_many_members_are_neither_copied_nor_waited_for(
    engine: Engine, tmp_path: Path, commands: bool, members: int
) -> None:
    """Every step and every command does a bounded part of a value of so many elements, which change all the time."""
    fill(engine, b"huge", members)
    before = signatures(engine)
    used = engine.stats()["used_memory"]
    snapshot = begin(engine, tmp_path / "file", commands=commands)
    written = most = 0
    changes = members // 50
    for i in range(changes):  # the first change comes before any step, and meets the table of keys still frozen
        at = snapshot.copied
        engine.execute(b"BAGADD", b"huge", b"member:%d" % (i * 7919 % members), b"new:%d" % i)
        most = max(most, snapshot.copied - at)
        written += snapshot.copied - at
    assert 0 < most < 2000, "a command serialises at most the chains of its two members"
    assert written > 5 * changes
    assert snapshot.memory < 16 * members
    steps = 0
    while True:
        at = snapshot.copied
        more = snapshot.step(16)
        assert snapshot.copied - at < STEP + 2000
        if not more:
            break
        steps += 1
        engine.execute(b"BAGADD", b"huge", b"member:%d" % (steps * 104_729 % members), b"more:%d" % steps)
    assert steps > members // 2000
    assert engine.stats()["used_memory"] - used < 8 * members
    end(snapshot)
    assert loaded(tmp_path / "file", commands=commands) == before


def change_all(engine: Engine, bags: list[bytes], count: int, rng: random.Random) -> None:
    members = [(bag, b"member:%d" % i) for bag in bags for i in range(count)]
    rng.shuffle(members)
    for bag, member in members:
        engine.execute(b"BAGADD", bag, member + hashlib.shake_128(member).digest(400))  # nothing to compress


@pytest.fixture
def large(engine: Engine, rng: random.Random) -> list[bytes]:
    """Bags of about 16 MB together."""
    bags = [b"bag:%d" % i for i in range(5)]
    change_all(engine, bags, 8000, rng)
    return bags


def test_what_writes_change_waits_on_the_disk(
    engine: Engine, large: list[bytes], tmp_path: Path, rng: random.Random
) -> None:
    """All of five values, in pieces of each, before any of them has its turn."""
    before = signatures(engine)
    snapshot = begin(engine, tmp_path / "file")
    while snapshot.progress[0] == 0 and snapshot.step(1):  # the tables are done, and one small step of a value
        pass
    change_all(engine, large, 8000, rng)
    assert snapshot.copied > 12 << 20
    # 4 MB may wait, and as much again is room of buffers that grow by doubling.
    assert_eventually(lambda: snapshot.memory < 9 << 20, lambda: f"{snapshot.memory} bytes")
    change_all(engine, [b"late"], 100, rng)
    end(snapshot)
    assert loaded(tmp_path / "file", commands=False) == before
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_waits_on_the_disk_is_dropped_with_the_snapshot(
    engine: Engine, large: list[bytes], tmp_path: Path, rng: random.Random
) -> None:
    snapshot = begin(engine, tmp_path / "file")
    change_all(engine, large, 8000, rng)
    snapshot.abort()
    assert snapshot.finish().aborted
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_aside(
    engine: Engine, large: list[bytes], tmp_path: Path, rng: random.Random
) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    snapshot = begin(engine, tmp_path / "file")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limit[1]))  # SIGXFSZ is ignored
        change_all(engine, large, 8000, rng)
        result = snapshot.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not result.ok
    assert result.error == "write aside: File too large"


def test_slices_are_bounded(engine: Engine, tmp_path: Path) -> None:
    """The same by the clock: what ticks do between two looks at it."""
    for i in range(4):
        fill(engine, b"bag:%d" % i, 40_000)
    before = signatures(engine)
    done: list[SnapshotResult] = []
    snapshot = Snapshot(engine, temp_path=str(tmp_path / "file"), slice_us=100, on_done=done.append)
    snapshot.start()
    n = 0
    while not done:
        engine.execute(b"BAGADD", b"bag:%d" % (n % 4), b"member:%d" % (n * 7919 % 40_000))  # runs a slice behind it
        n += 1
    assert done[0].ok
    assert n > 20
    assert snapshot.step_copied_max < CHUNK + STEP
    assert loaded(tmp_path / "file", commands=False) == before


@pytest.mark.parametrize("gone", [False, True], ids=["kept", "deleted"])
def test_an_abort_lets_go_of_held_values(engine: Engine, tmp_path: Path, gone: bool) -> None:
    used = engine.stats()["used_memory"]
    for i in range(20):
        fill(engine, b"bag:%d" % i, LARGE)
    before = signatures(engine)
    snapshot = begin(engine, tmp_path / "file")
    for _ in range(8):
        snapshot.step(1)
    for i in range(20):
        engine.execute(b"BAGADD", b"bag:%d" % i, b"member:1")
    engine.execute(b"BAGADD", b"bag:3", *(b"other:%d" % i for i in range(5000)))
    if gone:
        engine.execute(b"FLUSHALL", b"SYNC")
    snapshot.abort()
    assert snapshot.finish().aborted
    assert not (tmp_path / "file").exists()
    if not gone:
        assert set(signatures(engine)) == set(before)
        end(begin(engine, tmp_path / "again"))  # nothing is frozen any more
        assert loaded(tmp_path / "again", commands=False) == signatures(engine)
        engine.execute(b"FLUSHALL", b"SYNC")
    assert_eventually(lambda: engine.stats()["used_memory"] < used + 200_000)


def test_an_engine_may_be_closed_while_values_are_held(tmp_path: Path) -> None:
    engine = with_bags()
    fill(engine, b"bag", LARGE)
    snapshot = begin(engine, tmp_path / "file")
    snapshot.step(1)
    engine.close()
    assert not snapshot.running
