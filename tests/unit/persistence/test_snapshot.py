"""A snapshot equals the state at its start, whatever happens while it runs.

Each test starts a snapshot of a random state, goes on with random commands in between its steps, and compares the
file, read by an independent parser, with what was there at the start: every key once, value and expiry exact.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cachefleet_server._testing import now_ms
from cachefleet_server.engine import POLICIES, Engine
from cachefleet_server.persistence.aof_load import AofLoader
from cachefleet_server.persistence.snapshot import Snapshot, SnapshotResult, snapshot_running
from cachefleet_server.replies import Error
from fleettest.rdbfile import File, parse
from fleettest.seeder import Data, Seeder, assert_same, capture, fill, of_file, run
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.unit

DATABASES = 4


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(databases=DATABASES)
    yield engine
    engine.close()


def seeded(engine: Engine, rng: random.Random, keys: int) -> Seeder:
    seeder = Seeder(rng, keys=keys, databases=(0, 0, 0, 1, 3))
    fill(engine, seeder)
    return seeder


def state(engine: Engine) -> Data:
    return capture(engine, range(DATABASES))


def take(engine: Engine, path: Path, between: Callable[[], object], chains: int = 1) -> tuple[Data, File]:
    """The state at the start, and the file of a snapshot with `between` called before and after each of its steps."""
    before = state(engine)
    done: list[SnapshotResult] = []
    snapshot = Snapshot(engine, temp_path=f"{path}.temp", final_path=str(path), on_done=done.append, slice_us=0)
    began = time.monotonic()
    snapshot.start()
    assert snapshot.running
    assert snapshot_running(engine)
    between()
    while snapshot.step(chains):
        between()
    between()
    result = snapshot.finish()
    assert done == [result]
    assert result.ok, result
    assert 0 <= result.seconds <= time.monotonic() - began
    assert not snapshot_running(engine)
    assert result.bytes == path.stat().st_size
    assert not Path(f"{path}.temp").exists()
    file = parse(path.read_bytes())
    assert result.keys == len(file.records)
    return before, file


def replayed(path: Path) -> Data:
    """What the commands of a file make of an empty keyspace."""
    engine = Engine(databases=DATABASES)
    loader = AofLoader(engine, str(path))
    while loader.step(1_000_000):
        pass
    assert not loader.torn
    loader.close()
    found = state(engine)
    engine.close()
    return found


def take_commands(engine: Engine, path: Path, between: Callable[[], object], chains: int = 1) -> tuple[Data, Data]:
    """The same with commands instead of records: the state at the start, and that of the file."""
    before = state(engine)
    snapshot = Snapshot(engine, temp_path=str(path), commands=True, slice_us=0)
    snapshot.start()
    between()
    while snapshot.step(chains):
        between()
    between()
    result = snapshot.finish()
    assert result.ok, result
    assert result.bytes == path.stat().st_size
    return before, replayed(path)


@pytest.mark.parametrize("commands", [False, True], ids=["records", "commands"])
@pytest.mark.parametrize("round_", [0, 1, *(pytest.param(n, marks=pytest.mark.exhaustive) for n in range(2, 6))])
def test_equals_its_start_under_random_changes(
    engine: Engine, tmp_path: Path, rng: random.Random, round_: int, commands: bool
) -> None:
    seeder = seeded(engine, rng, rng.choice((10, 200, 1500)))
    run(engine, seeder.mutate(20))
    began = now_ms(engine)
    seeder.draw.near = True

    def between() -> None:
        run(engine, seeder.mutate(rng.randrange(4)))
        if rng.random() < (0.03 if round_ % 2 else 0):
            run(engine, seeder.upheave())

    chains = rng.randrange(1, 4)
    if commands:
        before, after = take_commands(engine, tmp_path / "base.aof", between, chains)
        assert_same(after, before)
    else:
        before, file = take(engine, tmp_path / "dump.rdb", between, chains)
        assert_same(of_file(file, began), before)


@pytest.mark.parametrize("flush", [b"FLUSHALL", b"FLUSHDB"])
@pytest.mark.parametrize("how", [b"SYNC", b"ASYNC"])
@pytest.mark.parametrize("when", [0, 3, 10_000])
def test_flush(engine: Engine, tmp_path: Path, rng: random.Random, flush: bytes, how: bytes, when: int) -> None:
    seeded(engine, rng, 500)
    calls = 0

    def between() -> None:
        nonlocal calls
        if calls in (when, when + 2):
            engine.execute(flush, how)
        engine.execute(b"SET", b"key:%d" % calls, b"after")
        calls += 1

    before, file = take(engine, tmp_path / "dump.rdb", between)
    assert_same(of_file(file), before)
    assert engine.execute(b"GET", b"key:%d" % (calls - 1)) == b"after"


@pytest.mark.parametrize("flush", [(b"FLUSHALL", b"SYNC"), (b"FLUSHALL", b"ASYNC"), (b"FLUSHDB",)])
def test_a_database_that_was_emptied_key_by_key_before_it_is_flushed(
    engine: Engine, tmp_path: Path, flush: tuple[bytes, ...]
) -> None:
    """Its table holds nothing then, but the snapshot is still in the middle of it."""
    names = [b"k%d" % i for i in range(50)]
    for name in names:
        engine.execute(b"SET", name, b"v")
    path = tmp_path / "dump.rdb"
    snapshot = Snapshot(engine, temp_path=f"{path}.temp", final_path=str(path), slice_us=0)
    snapshot.start()
    assert engine.execute(b"DEL", *names) == len(names)
    engine.execute(*flush)
    for size in range(1, 400):  # into the memory that has become free
        engine.execute(b"SET", b"new:%d" % size, b"\xff" * size)
    while snapshot.step(1):
        pass
    assert snapshot.finish().ok
    assert sorted(record.key for record in parse(path.read_bytes()).records) == sorted(names)
    for size in range(1, 400):
        assert engine.execute(b"GET", b"new:%d" % size) == b"\xff" * size
    assert engine.check() == []


def test_swapdb_keeps_the_numbers_of_the_start(engine: Engine, tmp_path: Path) -> None:
    for i in range(300):
        engine.execute(b"SET", b"k%d" % i, b"zero", db=0)
        engine.execute(b"SET", b"k%d" % i, b"one", db=1)

    def between() -> None:
        engine.execute(b"SWAPDB", b"0", b"1")
        engine.execute(b"SET", b"k7", b"changed", db=0)
        engine.execute(b"SET", b"k8", b"changed", db=1)

    before, file = take(engine, tmp_path / "dump.rdb", between)
    assert_same(of_file(file), before)
    assert {db: next(iter(keys.values()))[0] for db, keys in file.databases().items()} == {0: b"zero", 1: b"one"}


def test_expiry_and_eviction_meanwhile(engine: Engine, tmp_path: Path, rng: random.Random) -> None:
    soon = int(time.time() * 1000) + 1500
    for i in range(2000):
        engine.execute(b"SET", b"k%d" % i, b"v" * 50)
        if i % 2:
            engine.execute(b"PEXPIREAT", b"k%d" % i, str(soon + i % 10).encode())
    calls = 0

    def between() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            assert_eventually(lambda: time.time() * 1000 > soon + 20, deadline_s=10)
        if calls == 20:
            engine.set_param("maxmemory_policy", POLICIES["allkeys-random"])
            engine.set_param("maxmemory_samples", 5)
            engine.set_param("maxmemory_eviction_tenacity", 10)
            engine.set_param("maxmemory", 1)
        engine.cron()  # refreshes the clock and expires; slices are a tick's
        engine.execute(b"GET", b"k%d" % rng.randrange(2000))
        engine.execute(b"SET", b"n%d" % calls, b"x")

    before, file = take(engine, tmp_path / "dump.rdb", between)
    assert len(before) == 2000
    assert_same(of_file(file), before)
    stats = engine.stats()
    assert stats["expired_keys"] > 0
    assert stats["evicted_keys"] > 0


def test_driven_by_ticks(engine: Engine, tmp_path: Path) -> None:
    """Without finish(): each tick does a slice, and the writer's end is noticed by a later one."""
    for i in range(20_000):
        engine.execute(b"SET", b"k%d" % i, b"v" * 100)
    done: list[SnapshotResult] = []
    path = tmp_path / "dump.rdb"
    snapshot = Snapshot(engine, temp_path=f"{path}.temp", final_path=str(path), on_done=done.append)
    snapshot.start()
    assert snapshot.progress[1] == 20_000

    def ticked() -> bool:
        engine.tick()
        return bool(done)

    assert_eventually(ticked)
    assert done[0].ok
    assert done[0].keys == 20_000
    file = parse(path.read_bytes())
    assert len(file.records) == 20_000
    assert file.compressed == 20_000
    assert file.sizes == {0: (20_000, 0)}


def test_plain_options(engine: Engine, tmp_path: Path) -> None:
    """No compression, no checksum, no final name, AUX pairs."""
    engine.execute(b"SET", b"k", b"v" * 100)
    path = tmp_path / "base"
    aux = [("redis-ver", "7.0.0"), ("aof-base", "1")]
    snapshot = Snapshot(engine, temp_path=str(path), compress=False, checksum=False, aux=aux)
    snapshot.start()
    assert snapshot.finish().ok
    data = path.read_bytes()
    file = parse(data)
    assert data.startswith(b"REDIS0010")
    assert (file.compressed, file.checksum) == (0, 0)
    assert file.aux == {b"redis-ver": b"7.0.0", b"aof-base": b"1"}
    assert file.databases() == {0: {b"k": (b"v" * 100, None)}}


def test_empty(engine: Engine, tmp_path: Path) -> None:
    before, file = take(engine, tmp_path / "dump.rdb", lambda: None)
    assert file.databases() == before == {}


def test_idle_and_frequency(engine: Engine, tmp_path: Path) -> None:
    engine.set_param("maxmemory_policy", POLICIES["allkeys-lru"])
    engine.execute(b"SET", b"k", b"v")
    assert take(engine, tmp_path / "lru.rdb", lambda: None)[1].records[0].idle_s is not None
    engine.set_param("maxmemory_policy", POLICIES["allkeys-lfu"])
    engine.execute(b"SET", b"k", b"v")
    assert take(engine, tmp_path / "lfu.rdb", lambda: None)[1].records[0].frequency is not None


def test_large_values(engine: Engine, tmp_path: Path, rng: random.Random) -> None:
    """Values larger than a chunk, compressible and not."""
    for i, size in enumerate((300_000, 1_000_000, 5_000_000)):
        engine.execute(b"SET", b"zero%d" % i, bytes(size))
        engine.execute(b"SET", b"random%d" % i, rng.randbytes(size // 10))
    before, file = take(engine, tmp_path / "dump.rdb", lambda: None)
    assert_same(of_file(file), before)


def test_large_values_as_commands(engine: Engine, tmp_path: Path, rng: random.Random) -> None:
    for i, size in enumerate((16_383, 16_384, 300_000, 5_000_000)):
        engine.execute(b"SET", b"large%d" % i, rng.randbytes(size), db=i % DATABASES)
    engine.execute(b"SET", b"k" * 100_000, b"v", b"PX", b"1000000")
    before, after = take_commands(engine, tmp_path / "base.aof", lambda: None)
    assert_same(after, before)


@pytest.mark.parametrize("commands", [False, True], ids=["records", "commands"])
def test_a_slice_copies_no_large_value(engine: Engine, commands: bool) -> None:
    """Values are lent to the writer from where they lie: neither time nor memory goes by their size."""
    values = {b"huge": 20 << 20, **{b"large%d" % i: 200_000 for i in range(50)}}
    values |= {b"middle%d" % i: 16_000 for i in range(1000)}
    for key, size in values.items():
        engine.execute(b"SET", key, bytes(size))
    total = sum(values.values())
    used = engine.stats()["used_memory"]
    reading, writing = os.pipe()
    snapshot = Snapshot(engine, fd=writing, commands=commands, compress=False, slice_us=1)  # one step a slice
    snapshot.start()
    received = []
    reader = threading.Thread(target=lambda: received.append(read_all(reading)))
    most = 0
    for _ in range(200):  # the reader has not begun: what is queued stays
        engine.tick()
        most = max(most, snapshot.memory)
    assert engine.stats()["used_memory"] < used + (8 << 20)
    reader.start()
    while snapshot.running:
        engine.tick()
        most = max(most, snapshot.memory)
    reader.join()
    os.close(reading)
    assert snapshot.result is not None
    assert snapshot.result.ok
    assert len(received[0]) == snapshot.result.bytes > total
    print(f"copied at most {snapshot.slice_copied_max} bytes a slice, {most} bytes of chunks")
    assert 0 < snapshot.slice_copied_max < 4 << 20
    assert most < 16 << 20


def read_all(fd: int) -> bytes:
    return b"".join(iter(lambda: os.read(fd, 1 << 20), b""))


def about_huge(engine: Engine) -> list[object]:
    return [engine.execute(*words) for words in ((b"GET", b"huge"), (b"PTTL", b"huge"), (b"GET", b"other"))]


@pytest.mark.parametrize(
    "change",
    [
        (b"APPEND", b"huge", b"x"), (b"SETRANGE", b"huge", b"5", b"changed"), (b"MSET", b"huge", b"1"),
        (b"SET", b"huge", b"y" * (1 << 20)), (b"SET", b"huge", b"small"), (b"DEL", b"huge"), (b"UNLINK", b"huge"),
        (b"RENAME", b"huge", b"other"), (b"COPY", b"huge", b"other"), (b"FLUSHALL", b"SYNC"), (b"FLUSHALL", b"ASYNC"),
        (b"GETDEL", b"huge"), (b"PEXPIRE", b"huge", b"100000"), (b"SET", b"huge", b"7"),
    ],
    ids=lambda words: words[0].decode() if isinstance(words, tuple) else None,
)  # fmt: skip
@pytest.mark.parametrize("delivered", [True, False], ids=["after it was lent", "before"])
def test_a_lent_value_is_written_meanwhile(engine: Engine, change: tuple[bytes, ...], delivered: bool) -> None:
    """The file has the old value, the keyspace the new one, and afterwards nothing is held any more."""
    empty = engine.stats()["used_memory"]
    old = random.Random(1).randbytes(1 << 20)  # more than a pipe takes
    engine.execute(b"SET", b"huge", old)
    reading, writing = os.pipe()  # nobody reads yet: the value is still being written
    snapshot = Snapshot(engine, fd=writing, compress=False, checksum=False, slice_us=0)
    snapshot.start()
    if delivered:
        while snapshot.step(100):
            pass
    before = about_huge(engine)
    reply = engine.execute(*change)
    changed = not isinstance(reply, Error) and about_huge(engine) != before
    now = engine.execute(b"GET", b"huge")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(read_all(reading)))
    reader.start()
    assert snapshot.finish().ok
    reader.join()
    os.close(reading)
    assert changed, "a change that changes nothing shows nothing"
    assert parse(received[0]).databases()[0] == {b"huge": (old, None)}
    assert engine.execute(b"GET", b"huge") == now
    if change[0] == b"APPEND":
        assert (reply, now) == (len(old) + 1, old + b"x")
    engine.execute(b"FLUSHALL")
    assert_eventually(lambda: engine.stats()["used_memory"] < empty + 100_000)


def test_an_abort_gives_lent_values_back(engine: Engine) -> None:
    for i in range(20):
        engine.execute(b"SET", b"large%d" % i, bytes(1 << 20))
    reading, writing = os.pipe()
    snapshot = Snapshot(engine, fd=writing, slice_us=0, compress=False)
    snapshot.start()
    while snapshot.step(1):
        pass
    engine.execute(b"FLUSHALL", b"SYNC")
    assert engine.stats()["used_memory"] > 20 << 20
    snapshot.abort()
    os.close(reading)
    snapshot.finish()
    assert engine.stats()["used_memory"] < 2 << 20


def test_abort(engine: Engine, tmp_path: Path) -> None:
    for i in range(1000):
        engine.execute(b"SET", b"k%d" % i, b"v")
    done: list[SnapshotResult] = []
    path = tmp_path / "dump.rdb"
    path.write_bytes(b"old")
    snapshot = Snapshot(engine, temp_path=f"{path}.temp", final_path=str(path), on_done=done.append, slice_us=0)
    snapshot.start()
    snapshot.step(3)
    engine.execute(b"FLUSHALL", b"SYNC")
    snapshot.abort()
    assert snapshot.running
    result = snapshot.finish()
    assert (result.ok, result.aborted, result.error) == (False, True, "aborted")
    assert done == [result]
    assert [p.name for p in tmp_path.iterdir()] == ["dump.rdb"]
    assert path.read_bytes() == b"old"
    assert take(engine, path, lambda: None)[1].records == []  # the next one works


def test_one_at_a_time(engine: Engine, tmp_path: Path) -> None:
    first = Snapshot(engine, temp_path=str(tmp_path / "a"))
    second = Snapshot(engine, temp_path=str(tmp_path / "b"))
    first.start()
    with pytest.raises(RuntimeError):
        second.start()
    with pytest.raises(RuntimeError):
        first.start()
    assert first.finish().ok
    second.start()
    assert second.finish().ok


def test_engine_closed_meanwhile(tmp_path: Path) -> None:
    engine = Engine()
    for i in range(1000):
        engine.execute(b"SET", b"k%d" % i, b"v")
    snapshot = Snapshot(engine, temp_path=str(tmp_path / "t"), slice_us=0)
    snapshot.start()
    snapshot.step(3)
    engine.close()
    assert snapshot.result is not None
    assert snapshot.result.aborted
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["missing/dump.rdb", "."])
def test_unwritable_target(engine: Engine, tmp_path: Path, path: str) -> None:
    engine.execute(b"SET", b"k", b"v")
    snapshot = Snapshot(engine, temp_path=str(tmp_path / path))
    snapshot.start()
    result = snapshot.finish()
    assert not result.ok
    assert not result.aborted
    assert result.error.startswith("open: ")


def descriptor_of(path: str) -> int:
    """The number under which this process has the file open; 0 when it has not."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}") == path:
                return int(name)
    return 0


def test_a_rename_that_is_not_on_disk_is_no_success(engine: Engine, tmp_path: Path) -> None:
    """Its folder is opened to be fsynced; here no descriptor is left for that."""
    engine.execute(b"SET", b"k", b"v")
    path = tmp_path / "dump.rdb"
    snapshot = Snapshot(engine, temp_path=f"{path}.temp", final_path=str(path))
    snapshot.start()
    fd = assert_eventually(lambda: descriptor_of(f"{path}.temp"))
    taken = [os.open(os.devnull, os.O_RDONLY)]
    while taken[-1] < fd:  # no lower number is free, either
        taken.append(os.open(os.devnull, os.O_RDONLY))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (fd, hard))
    try:
        result = snapshot.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in taken:
            os.close(number)
    assert not result.ok
    assert result.error.startswith("fsync of the folder: ")


def test_to_a_pipe(engine: Engine, rng: random.Random) -> None:
    """A descriptor instead of a file, as for a replica: nothing is renamed or fsynced, and it is closed at the end."""
    seeded(engine, rng, 300)
    before = state(engine)
    reading, writing = os.pipe()
    received: list[bytes] = []

    def read() -> None:
        with open(reading, "rb") as stream:
            received.append(stream.read())

    reader = threading.Thread(target=read)
    reader.start()
    snapshot = Snapshot(engine, fd=writing)
    snapshot.start()
    result = snapshot.finish()
    reader.join()
    assert result.ok
    assert_same(of_file(parse(received[0])), before)


def test_given_up_when_the_receiver_is_too_slow(engine: Engine) -> None:
    """Writes never wait for it, nor for a disk: what they push is bounded, then the snapshot ends with a reason."""
    for i in range(900):
        engine.execute(b"SET", b"k%d" % i, bytes(100_000))
    reading, writing = os.pipe()  # nobody reads
    snapshot = Snapshot(engine, fd=writing, compress=False, slice_us=0)
    snapshot.start()
    try:
        used = engine.stats()["used_memory"]
        for i in range(900):
            engine.execute(b"SET", b"k%d" % i, b"new")
        assert used - engine.stats()["used_memory"] > 10_000_000, "values that were lent are held, but not all"
        assert snapshot.memory < 16_000_000
    finally:
        os.close(reading)  # or the writer would hang for ever
    result = snapshot.finish()
    assert not result.ok
    assert not result.aborted
    assert not snapshot_running(engine)
    assert result.error.startswith("the receiver is too slow for the current write load")
    assert engine.execute(b"GET", b"k5") == b"new"


def test_many_snapshots_in_a_row(engine: Engine, tmp_path: Path, rng: random.Random) -> None:
    """The tables' version numbers wrap around; aborted snapshots leave stale ones."""
    seeder = seeded(engine, rng, 10)
    for i in range(40):
        if i % 3 == 0:
            snapshot = Snapshot(engine, temp_path=str(tmp_path / "t"), slice_us=0)
            snapshot.start()
            for _ in range(rng.randrange(5)):
                snapshot.step(1)
                run(engine, seeder.mutate(1))
            snapshot.abort()
            snapshot.finish()
        began = now_ms(engine)
        before, file = take(engine, tmp_path / "dump.rdb", lambda: run(engine, seeder.mutate(1)))
        assert_same(of_file(file, began), before)
