"""What the tests of each type's forms share: what a value must survive in every one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cachefleet_server._testing import advance
from cachefleet_server.engine import Engine
from fleettest.wait import assert_eventually

KEY_SIZES: Final = [0, 1, 100, 255, 256, 1000, 1023, 2000]  # around where a value leaves the entry of its key
LEFT_MAX: Final = 50_000  # bytes that an engine may keep of what it had


def used(engine: Engine) -> int:
    return int(engine.stats()["used_memory"])


def work_until(engine: Engine, is_so: Callable[[], object]) -> None:
    """Gives time to what goes on behind the commands. How much a slice of it does depends on who else computes."""

    def worked() -> object:
        engine.cron()
        engine.tick()
        return is_so()

    assert_eventually(worked, pause_s=0.0)


def two_keys(size: int) -> tuple[bytes, bytes]:
    """One of that size, and one that is long where the other is short."""
    return b"k" * size, b"o" * (2100 - size)


def move_about(engine: Engine, key: bytes, other: bytes) -> None:
    """The value gets longer and shorter keys, times that come and go, and a copy: both keys have it in the end."""
    for change in (
        (b"PEXPIRE", key, b"100000"), (b"RENAME", key, other), (b"PERSIST", other), (b"COPY", other, key),
        (b"PEXPIRE", key, b"100000"), (b"RENAME", key, other), (b"COPY", other, key), (b"PERSIST", other),
    ):  # fmt: skip
        assert engine.execute(*change) in ("OK", 1)
        assert engine.check() == []


def grow_and_shrink(
    engine: Engine, count: int, add: Callable[[int], tuple[bytes, ...]], remove: Callable[[int], tuple[bytes, ...]]
) -> None:
    """The commands that make `k` and empty it again, twice; nothing of it is left."""
    engine.execute(b"SET", b"warm", b"x")
    before = used(engine)
    for _ in range(2):
        for command in (add, remove):
            for i in range(count):
                reply = engine.execute(*command(i))
                assert isinstance(reply, int | bytes) and reply, "an element that came or went"
                assert i % 50 or engine.check() == []
    assert engine.execute(b"EXISTS", b"k") == 0
    assert used(engine) - before < 5000


def expire_all(engine: Engine, before: int) -> None:
    """All keys get a time, which passes; then the engine has what it had before them."""
    for key in engine.execute(b"KEYS", b"*"):
        engine.execute(b"PEXPIRE", key, b"10")
    advance(engine, 1000)
    work_until(engine, lambda: engine.execute(b"DBSIZE") == 0)
    work_until(engine, lambda: used(engine) - before < LEFT_MAX)  # also freed by the helper thread, taken in here
