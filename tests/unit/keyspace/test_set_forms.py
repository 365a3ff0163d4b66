"""Where sets lie: in the entry, in a blob, in a table; held by snapshots; and what that costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cachefleet_server._testing import seed_random
from cachefleet_server.engine import Engine
from cachefleet_server.persistence.snapshot import Snapshot
from fleettest.forms import KEY_SIZES, expire_all, grow_and_shrink, move_about, two_keys, used
from fleettest.rdbfile import parse
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.unit


def whole(engine: Engine, key: bytes) -> list[bytes]:
    found = engine.execute(b"SMEMBERS", key)
    assert isinstance(found, list)
    return sorted(found)


@pytest.mark.parametrize("size", KEY_SIZES)
@pytest.mark.parametrize("text", [b"%d", b"member:%d"])
def test_keys_of_all_lengths(engine: Engine, size: int, text: bytes) -> None:
    """A set survives a longer and a shorter key, an expiry that comes and goes, and growing out of its form."""
    key, other = two_keys(size)
    for count in (1, 10, 100, 127, 300, 600):
        members = [text % i for i in range(count)]
        engine.execute(b"DEL", key, other)
        engine.execute(b"SADD", key, *members)
        move_about(engine, key, other)
        assert whole(engine, key) == whole(engine, other) == sorted(members)
        engine.execute(b"SADD", other, b"first")
        engine.execute(b"SREM", key, members[0])
        assert whole(engine, other) == sorted([b"first", *members])
        assert whole(engine, key) == sorted(members[1:])


@pytest.mark.parametrize("text", [b"%d", b"member:%d", b"%0100d"])
@pytest.mark.parametrize("count", [3, 100, 600, 5000])
def test_growing_and_shrinking_gives_memory_back(engine: Engine, text: bytes, count: int) -> None:
    grow_and_shrink(engine, count, lambda i: (b"SADD", b"k", text % i), lambda i: (b"SREM", b"k", text % i))


def test_what_a_set_costs(engine: Engine) -> None:
    """Within the figures of the design: bytes of a small set, and a member of a large one."""
    before = used(engine)
    for i in range(1000):
        engine.execute(b"SADD", b"key:%03d" % i, *[b"0123456%03d" % j for j in range(10)])
    assert used(engine) - before < 1000 * (8 + 7 + 3 + 10 * 11 + 80)
    before = used(engine)
    for i in range(0, 100_000, 1000):
        engine.execute(b"SADD", b"large", *[b"member:%09d" % j for j in range(i, i + 1000)])
    assert used(engine) - before < 100_000 * (17 + 7 + 20)
    before = used(engine)
    for k in range(100):
        engine.execute(b"SADD", b"integers:%d" % k, *[b"%d" % (i * 100) for i in range(300)])
    assert used(engine) - before < 100 * (300 * 2 + 100)


def test_a_large_set_that_goes_is_freed_behind_the_back(engine: Engine) -> None:
    members = [b"member:%d" % i for i in range(50_000)]
    commands = [(b"DEL", b"k"), (b"SPOP", b"k", b"50000"), (b"SET", b"k", b"x"), (b"SDIFFSTORE", b"k", b"none")] * 3
    engine.execute(b"SADD", b"k", *members)
    engine.execute(b"SMEMBERS", b"k")
    full = used(engine)  # with the buffers that commands and replies of this size need
    for command in commands:
        engine.execute(b"SADD", b"k", *members)
        engine.execute(*command)
        engine.execute(b"DEL", b"k")
    assert_eventually(lambda: full - used(engine) > 50_000 * 24)


def test_expiry_frees_sets_of_all_forms(engine: Engine) -> None:
    before = used(engine)
    for i in range(100):
        engine.execute(b"SADD", b"k%d" % i, *[b"%d" % j for j in range((3, 100, 400, 3000)[i % 4])])
    expire_all(engine, before)


CHANGES = {
    "members": [(b"SADD", b"k", b"new:%d") for _ in range(300)] + [(b"SREM", b"k", b"m%d") for _ in range(300)],
    "draws": [(b"SPOP", b"k", b"7") for _ in range(300)],
    "deleted": [(b"DEL", b"k"), (b"SADD", b"k", b"other")],
    "overwritten": [(b"SDIFFSTORE", b"k", b"k", b"few"), (b"SUNIONSTORE", b"k", b"few", b"k"), (b"SET", b"k", b"text")],
    "moved": [(b"RENAME", b"k", b"other"), (b"SADD", b"other", b"new:%d"), (b"COPY", b"other", b"k"), (b"SPOP", b"k")],
    "small again": [(b"SPOP", b"k", b"19950"), (b"SADD", b"k", b"new:%d"), (b"SREM", b"k", b"new:%d")],
    "flushed": [(b"FLUSHALL", b"ASYNC"), (b"SADD", b"k", b"other")],
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("after", [0, 1, 20])
def test_a_snapshot_has_a_large_set_as_it_was(engine: Engine, tmp_path: Path, name: str, after: int) -> None:
    """However it changes meanwhile, before its members are written, while they are, and in another form."""
    members = [b"m%d" % i for i in range(20_000)]
    engine.execute(b"SADD", b"k", *members)
    engine.execute(b"SADD", b"few", b"m1", b"m2", b"x")
    engine.set_param("set_max_intset_entries", 100_000)  # one that is too long to be saved at once
    integers = [b"%d" % (i * 1000) for i in range(20_000)]
    engine.execute(b"SADD", b"integers", *integers)
    seed_random(engine, 7)
    snapshot = Snapshot(engine, temp_path=str(tmp_path / "temp"), final_path=str(tmp_path / "dump.rdb"), slice_us=0)
    snapshot.start()
    for _ in range(after):
        assert snapshot.step(1)
    for i, command in enumerate(CHANGES[name]):
        words = [word % (i * 13 % 20_000) if b"%d" in word else word for word in command]
        engine.execute(*words)
        engine.execute(b"SADD", b"integers", b"%d" % -i)
        assert i % 50 or engine.check() == []
        snapshot.step(1)
    while snapshot.step(20):
        pass
    assert snapshot.finish().ok
    found = parse((tmp_path / "dump.rdb").read_bytes()).databases()[0]
    assert found[b"k"] == (frozenset(members), None)
    assert found[b"few"] == (frozenset((b"m1", b"m2", b"x")), None)
    assert found[b"integers"] == (frozenset(integers), None)


def test_random_members_are_fair(engine: Engine) -> None:
    """In each form; within five standard deviations."""
    seed_random(engine, 42)
    rounds = 3000
    for size, text in ((20, b"%d"), (20, b"m%d"), (200, b"m%d")):
        engine.execute(b"DEL", b"k")
        members = [text % i for i in range(size)]
        engine.execute(b"SADD", b"k", *members)
        for count, share in ((None, 1 / size), (size // 5, 1 / 5), (size * 4 // 5, 4 / 5), (-size, 1)):
            hits = dict.fromkeys(members, 0)
            for _ in range(rounds):
                found = engine.execute(b"SRANDMEMBER", b"k", *([] if count is None else [b"%d" % count]))
                for member in [found] if count is None else found:
                    hits[member] += 1
            spread = 5 * (rounds * share * (1 - share if share < 1 else 1)) ** 0.5
            assert all(abs(n - rounds * share) <= spread for n in hits.values()), (size, count, hits)


def cpu_s(work: Callable[[], object]) -> float:
    """CPU time of this thread, which others' load does not change."""
    begin = time.thread_time()
    work()
    return time.thread_time() - begin


def test_popping_a_large_set_one_by_one_stays_fast(engine: Engine) -> None:
    """No pop walks over what has become empty."""
    seed_random(engine, 42)
    members = {b"member:%d" % i for i in range(30_000)}
    engine.execute(b"SADD", b"k", *members)
    popped = set()

    def pop_thousands() -> None:
        popped.update(engine.execute(b"SPOP", b"k") for _ in range(5000))

    times = [cpu_s(pop_thousands) for _ in range(6)]
    assert max(times[1:]) < 10 * times[0], times
    assert popped == members
    assert engine.execute(b"EXISTS", b"k") == 0


def test_an_intersection_begins_with_the_smallest_set(engine: Engine) -> None:
    for key in (b"large", b"other"):
        for i in range(0, 100_000, 10_000):
            engine.execute(b"SADD", key, *(b"m%d" % j for j in range(i, i + 10_000)))
    engine.execute(b"SADD", b"small", b"m5")
    whole_s = cpu_s(lambda: engine.execute(b"SINTERCARD", b"2", b"large", b"other"))
    for words in ((b"2", b"large", b"small"), (b"3", b"large", b"other", b"small")):
        assert cpu_s(lambda words=words: [engine.execute(b"SINTERCARD", *words) for _ in range(50)]) < whole_s
    assert cpu_s(lambda: [engine.execute(b"SINTER", b"other", b"small", b"large") for _ in range(50)]) < whole_s
    limited = (b"SINTERCARD", b"2", b"large", b"other", b"LIMIT", b"5")
    assert cpu_s(lambda: [engine.execute(*limited) for _ in range(50)]) < whole_s
