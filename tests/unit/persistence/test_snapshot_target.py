"""A snapshot to a receiver that takes its time: the data of the moment at which it began, or a clear end.

The engine ticks only when it asks for it, the receiver reads as the test says, and random commands go on meanwhile.
"""

from __future__ import annotations

import random
import select
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cachefleet_server.engine import Engine
from cachefleet_server.errors import StartupError
from cachefleet_server.persistence._testing import plug_bag
from cachefleet_server.persistence.rdb_load import RdbLoader
from cachefleet_server.persistence.snapshot import Snapshot, SnapshotResult, snapshot_running
from cachefleet_server.replies import Error
from fleettest.aoffile import Store
from fleettest.rdbfile import parse
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.unit

State = dict[bytes, tuple[bytes, int]]
MARK = b"0123456789" * 4
DEADLINE_S = 60.0


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine(databases=1)
    plug_bag(made)
    yield made
    made.close()


class Receiver:
    """The other end of a snapshot's socket, with small buffers."""

    def __init__(self) -> None:
        self.sock, ours = socket.socketpair()
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.fd = ours.detach()
        self.sock.setblocking(False)
        self.received = bytearray()

    def read(self, n: int) -> None:
        try:
            self.received += self.sock.recv(n)
        except BlockingIOError:
            return

    def read_all(self) -> bytes:
        self.sock.setblocking(True)
        while part := self.sock.recv(1 << 20):
            self.received += part
        return bytes(self.received)

    def close(self) -> None:
        self.sock.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def signatures(engine: Engine) -> State:
    return {
        key: (engine.value_digest(0, key), engine.execute(b"PEXPIRETIME", key)) for key in engine.execute(b"KEYS", b"*")
    }


def loaded(stream: bytes, path: Path) -> State:
    path.write_bytes(stream)
    engine = Engine(databases=1)
    plug_bag(engine)
    loader = RdbLoader(engine, str(path))
    while loader.step(1_000_000):
        pass
    loader.close()
    found = signatures(engine)
    engine.close()
    return found


def change(engine: Engine, rng: random.Random) -> None:
    key = b"k%d" % rng.randrange(400)
    bag = b"bag%d" % rng.randrange(3)
    engine.execute(*rng.choice([
        (b"SET", key, rng.randbytes(rng.randrange(300))),
        (b"SET", key, rng.randbytes(20_000)),
        (b"APPEND", key, b"more"),
        (b"DEL", key),
        (b"PEXPIREAT", key, b"99999999999999"),
        (b"BAGADD", bag, *(b"member:%d" % rng.randrange(6000) for _ in range(5))),
        (b"BAGADD", bag, b"member:1"),
        (b"RENAME", bag, bag + b"x") if rng.random() < 0.02 else (b"PERSIST", key),
        (b"DEL", bag) if rng.random() < 0.02 else (b"PERSIST", key),
    ]))  # fmt: skip


def fill(engine: Engine, rng: random.Random) -> None:
    """Small values, lent ones, and collections that are held."""
    for i in range(400):
        engine.execute(b"SET", b"k%d" % i, rng.randbytes(rng.choice((5, 100, 300, 17_000 if i % 100 == 0 else 50))))
    for i in range(2):
        engine.execute(b"BAGADD", b"bag%d" % i, *(b"member:%d" % k for k in range(3000)))


def run(engine: Engine, snapshot: Snapshot, step: Callable[[], object]) -> SnapshotResult:
    """Until the snapshot is over; `step` is called in between."""
    poll = select.poll()
    poll.register(engine.epoll_fd, select.POLLIN)
    deadline = time.process_time() + DEADLINE_S  # of CPU, so that a busy machine has the time it needs
    while snapshot.running:
        if poll.poll(0):
            engine.tick()
        step()
        assert time.process_time() < deadline
    assert snapshot.result is not None
    return snapshot.result


def slowly(receiver: Receiver, rng: random.Random) -> None:
    if rng.random() < 0.3:
        receiver.read(rng.choice((10, 3000, 20_000)))


def by_the_byte(receiver: Receiver, rng: random.Random) -> None:
    receiver.read(1)


def in_bursts(receiver: Receiver, rng: random.Random) -> None:
    """A long silence now and then: the socket is full, and so is the queue."""
    if rng.random() < 0.003:
        for _ in range(200):
            receiver.read(1 << 16)


@pytest.mark.parametrize("reads", [slowly, by_the_byte, in_bursts])
@pytest.mark.parametrize("marked", [False, True], ids=["", "with a mark"])
def test_it_is_the_data_of_its_beginning(
    engine: Engine,
    receiver: Receiver,
    rng: random.Random,
    tmp_path: Path,
    reads: Callable[[Receiver, random.Random], None],
    marked: bool,
) -> None:
    fill(engine, rng)
    snapshot = Snapshot(engine, fd=receiver.fd, mark=MARK if marked else b"", slice_us=50)
    before = signatures(engine)
    snapshot.start()
    for _ in range(20):  # before anything is taken
        change(engine, rng)

    def step() -> None:
        if rng.random() < 0.1:
            change(engine, rng)
        reads(receiver, rng)

    result = run(engine, snapshot, step)
    stream = receiver.read_all()
    assert result.ok, result
    assert len(stream) == result.bytes
    if marked:
        head = b"$EOF:" + MARK + b"\r\n"
        assert stream.startswith(head)
        assert stream.endswith(MARK)
        stream = stream[len(head) : -len(MARK)]
    assert signatures(engine) != before
    assert loaded(stream, tmp_path / "received.rdb") == before


def test_while_it_waits_slices_rest(engine: Engine, receiver: Receiver, tmp_path: Path) -> None:
    """Nothing is taken: what is queued is bounded, no tick asks for another, and later it goes on."""
    for i in range(30_000):
        engine.execute(b"SET", b"k%d" % i, b"v" * 200)
    before = signatures(engine)
    snapshot = Snapshot(engine, fd=receiver.fd)
    snapshot.start()
    poll = select.poll()
    poll.register(engine.epoll_fd, select.POLLIN)
    assert_eventually(lambda: engine.tick() is None and not poll.poll(0))
    delivered, memory = snapshot.progress[0], snapshot.memory
    assert 0 < delivered < 30_000
    assert memory < 2 << 20
    assert not poll.poll(100)
    assert snapshot.progress[0] == delivered
    assert run(engine, snapshot, lambda: receiver.read(1 << 16)).ok
    assert loaded(receiver.read_all(), tmp_path / "received.rdb") == before


@pytest.mark.alone("measures ticks")
def test_ticks_do_not_wait_for_a_receiver(engine: Engine, receiver: Receiver) -> None:
    """They would for a writer that is behind: here it is not the core that it lacks."""
    for i in range(400):
        engine.execute(b"SET", b"k%d" % i, bytes(15_000))
    snapshot = Snapshot(engine, fd=receiver.fd, compress=False)
    snapshot.start()
    for i in range(400):
        engine.execute(b"SET", b"k%d" % i, b"new")
    assert snapshot.memory > 4 << 20
    times = []
    for _ in range(101):
        began = time.perf_counter()
        engine.tick()
        times.append(time.perf_counter() - began)
    assert statistics.median(times) < 0.0005
    snapshot.abort()
    assert snapshot.finish().aborted


def test_a_receiver_that_goes(engine: Engine, receiver: Receiver, rng: random.Random, tmp_path: Path) -> None:
    fill(engine, rng)
    snapshot = Snapshot(engine, fd=receiver.fd)
    snapshot.start()

    def step() -> None:
        change(engine, rng)
        receiver.read(1000)
        if len(receiver.received) > 20_000:
            receiver.close()

    def until_closed() -> None:
        if receiver.sock.fileno() >= 0:
            step()

    result = run(engine, snapshot, until_closed)
    assert (result.ok, result.aborted) == (False, False)
    assert result.error in ("write: Broken pipe", "write: Connection reset by peer")
    assert not snapshot_running(engine)
    before = signatures(engine)
    following = Snapshot(engine, temp_path=str(tmp_path / "next.rdb"))
    following.start()
    assert following.finish().ok
    assert loaded((tmp_path / "next.rdb").read_bytes(), tmp_path / "copy.rdb") == before


def test_a_receiver_that_takes_nothing_for_too_long(engine: Engine, receiver: Receiver, rng: random.Random) -> None:
    fill(engine, rng)
    snapshot = Snapshot(engine, fd=receiver.fd, stall_ms=200)
    snapshot.start()
    result = run(engine, snapshot, lambda: change(engine, rng))
    assert (result.ok, result.aborted) == (False, False)
    assert result.error.startswith("the receiver took nothing")


def test_a_trickle_is_no_stall(engine: Engine, receiver: Receiver) -> None:
    for i in range(100):
        engine.execute(b"SET", b"k%d" % i, b"v" * 1000)
    snapshot = Snapshot(engine, fd=receiver.fd, stall_ms=400, compress=False)
    snapshot.start()
    began = time.monotonic()

    def trickle() -> None:
        receiver.read(3000)
        select.select([], [], [], 0.05)

    assert run(engine, snapshot, trickle).ok
    assert time.monotonic() - began > 0.4
    assert len(parse(receiver.read_all()).records) == 100


def test_an_abort_while_it_waits(engine: Engine, receiver: Receiver, rng: random.Random) -> None:
    """Nothing follows what was sent: no mark that would make it look whole."""
    fill(engine, rng)
    snapshot = Snapshot(engine, fd=receiver.fd, mark=MARK)
    snapshot.start()

    def taken() -> bool:
        engine.tick()
        receiver.read(100)
        return len(receiver.received) >= 100

    assert_eventually(taken)
    snapshot.abort()
    result = snapshot.finish()
    assert (result.ok, result.aborted) == (False, True)
    stream = receiver.read_all()
    assert stream.startswith(b"$EOF:" + MARK)
    assert MARK not in stream[45:]


# ---- beside saves: as Valkey answers while it sends to a replica ---------------------------------------------


class Sending:
    """A server's Rdb with a snapshot on its way to a receiver."""

    def __init__(self, store: Store, receiver: Receiver) -> None:
        self.store = store
        self.results: list[SnapshotResult] = []
        store.rdb.register()
        for i in range(3000):
            store.run("SET", f"k{i}", "v" * 100)
        store.rdb.send(receiver.fd, stall_s=60, mark=MARK, on_done=self.results.append)

    def ended(self) -> SnapshotResult:
        assert_eventually(lambda: self.store.engine.tick() is None and bool(self.results))
        return self.results[0]


@pytest.fixture
def sending(tmp_path: Path, receiver: Receiver) -> Iterator[Sending]:
    with Store(tmp_path / "data", appendonly="no", save="3600 1000000") as store:
        yield Sending(store, receiver)


def test_info_shows_it_as_a_save_that_changes_nothing(sending: Sending, receiver: Receiver) -> None:
    store = sending.store
    during = store.rdb.status()
    assert during["rdb_bgsave_in_progress"] == 1
    assert during["current_save_keys_total"] == 3000
    assert int(during["rdb_current_bgsave_time_sec"]) >= 0
    assert not store.rdb.saving, "no file is written, so `dir` may change"
    receiver.close()
    assert sending.ended().error.startswith("write: ")
    after = store.rdb.status()
    for name in ("rdb_changes_since_last_save", "rdb_last_save_time", "rdb_last_bgsave_status", "rdb_saves"):
        assert after[name] == during[name], name
    assert after["rdb_last_bgsave_status"] == "ok"
    assert after["rdb_bgsave_in_progress"] == 0
    assert int(after["rdb_last_bgsave_time_sec"]) >= 0
    assert store.run("SET", "k", "v") == "OK", "a receiver's fault refuses no writes"
    assert store.run("BGSAVE") == "Background saving started"
    assert store.rdb.saving
    assert_eventually(lambda: store.engine.tick() is None and not store.rdb.saving)
    assert store.rdb.status()["rdb_saves"] == int(during["rdb_saves"]) + 1
    assert store.rdb.status()["rdb_changes_since_last_save"] == 0


def test_saves_are_refused_meanwhile(sending: Sending, receiver: Receiver) -> None:
    store = sending.store
    busy = Error("ERR Background save already in progress")
    assert [store.run(*row.split()) for row in ("BGSAVE", "BGSAVE SCHEDULE", "SAVE")] == [busy] * 3
    with pytest.raises(StartupError):
        store.rdb.send(receiver.fd, stall_s=60, on_done=sending.results.append)
    assert store.run("BGREWRITEAOF") == "Background append only file rewriting scheduled"
    assert not sending.results
    assert store.run("BGSAVE", "CANCEL") == "Background saving cancelled"
    assert sending.ended().aborted


def test_a_shutdown_saves_all_the_same(sending: Sending) -> None:
    assert sending.store.rdb.save().ok
    assert sending.results[0].aborted
    assert Path(sending.store.rdb.path()).exists()
