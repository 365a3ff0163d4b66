"""The walk over AOF files: where the first fault is and what is whole in front of it; times; what it collects."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachefleet_server.engine import Engine
from cachefleet_server.errors import DataError
from cachefleet_server.persistence import aof_walk
from cachefleet_server.persistence.aof_load import AofLoader
from cachefleet_server.persistence.aof_walk import AofWalk
from fleettest.aoffile import as_aof, plain

pytestmark = pytest.mark.unit

UNITS = (
    as_aof("SELECT 0"),
    as_aof("SET a 1"),
    b"#TS:100\r\n",
    as_aof("MULTI", "INCR a", "SADD s x y z", "EXEC"),
    b"#JOURNAL:" + b"a" * 40 + b" 1 50\r\n",
    as_aof("RPUSH l 1 2 3"),
    b"#TS:105\r\n",
    as_aof("SET b 2"),
    as_aof("MULTI", "SET c 1") + b"#TS:110\r\n" + as_aof("EXEC"),
)
WHOLE = b"".join(UNITS)
# Where units end; notes in front of one belong to it.
ENDS = {0, *(len(b"".join(UNITS[: n + 1])) for n, unit in enumerate(UNITS) if unit[:1] == b"*")}


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(databases=16)
    yield engine
    engine.close()


def walked(
    engine: Engine, path: Path, data: bytes, *, begin: int = 0, until_s: int | None = None, step: int = 1
) -> AofWalk:
    path.write_bytes(data)
    walk = AofWalk(engine, str(path), begin, until_s=until_s)
    with contextlib.closing(walk):
        while walk.step(step):
            pass
    return walk


def test_all_is_well(engine: Engine, tmp_path: Path) -> None:
    for step in (1, 1 << 20):
        walk = walked(engine, tmp_path / "aof", WHOLE, step=step)
        assert (walk.stop, walk.valid_bytes, walk.commands) == (aof_walk.END, len(WHOLE), 11)
        assert (walk.first_s, walk.last_s, walk.done_bytes, walk.total_bytes) == (100, 110, len(WHOLE), len(WHOLE))
    assert walked(engine, tmp_path / "aof", b"").stop == aof_walk.END
    assert walked(engine, tmp_path / "aof", b"junk" + WHOLE, begin=4).commands == 11
    assert engine.execute(b"DBSIZE") == 0


def test_torn_at_each_byte(engine: Engine, tmp_path: Path) -> None:
    boundaries = {len(b"".join(UNITS[:n])) for n in range(len(UNITS) + 1)}
    multi = as_aof("MULTI")
    starts = [at for at in range(len(WHOLE)) if WHOLE.startswith(multi, at)]
    for size in range(len(WHOLE)):
        walk = walked(engine, tmp_path / "aof", WHOLE[:size])
        whole = max(end for end in (*ENDS, *(at for at in starts if at + len(multi) <= size)) if end <= size)
        assert walk.valid_bytes == whole, size
        assert walk.stop == (aof_walk.END if size in boundaries else aof_walk.TORN), size


def test_it_agrees_with_the_loader(engine: Engine, tmp_path: Path, rng: random.Random) -> None:
    """Of files that are cut, overwritten or filled up: both find the same fault, or none."""
    for _ in range(300):
        data = bytearray(WHOLE[: rng.randrange(len(WHOLE))] if rng.randrange(2) else WHOLE)
        if rng.randrange(2) and data:
            data[rng.randrange(len(data))] = rng.randrange(256)
        data += bytes(rng.choice((0, 0, 3, 5000)))
        walk = walked(engine, tmp_path / "aof", bytes(data))
        loader = AofLoader(engine, str(tmp_path / "aof"))
        refused = ""
        with contextlib.closing(loader):
            try:
                while loader.step(1000):
                    pass
            except DataError as error:
                refused = str(error)
        engine.execute(b"FLUSHALL")
        if refused:
            # A walk does not run commands, and so does not see what fails on the data.
            assert "fails: " in refused or walk.stop in (aof_walk.DAMAGED, aof_walk.UNKNOWN), refused
            continue
        torn = (aof_walk.ZEROS,) if loader.zeros else (aof_walk.TORN,) if loader.torn else (aof_walk.END,)
        assert walk.stop in torn, bytes(data)
        assert walk.valid_bytes == loader.valid_bytes, bytes(data)


@pytest.mark.parametrize(
    ("bad", "stop", "name"),
    [
        (b"*2\r\n$3\r\nGET\r\n#1\r\na\r\n", aof_walk.DAMAGED, b"GET"),
        (b"*x", aof_walk.DAMAGED, b""),
        (as_aof("NOSUCH a b"), aof_walk.UNKNOWN, b"NOSUCH"),
        (as_aof("SET a"), aof_walk.ARITY, b"SET"),
        (as_aof("EXEC"), aof_walk.MULTI, b"EXEC"),
        (as_aof("MULTI", "MULTI"), aof_walk.MULTI, b"MULTI"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$9999999999\r\nx", aof_walk.TORN, b"SET"),
        (b"*999999999\r\n$4\r\nSADD\r\n", aof_walk.TORN, b"SADD"),
        (bytes(100), aof_walk.ZEROS, b""),
        (b"#" * 3000, aof_walk.DAMAGED, b""),
    ],
)
def test_faults(engine: Engine, tmp_path: Path, bad: bytes, stop: int, name: bytes) -> None:
    behind = b"" if stop in (aof_walk.TORN, aof_walk.ZEROS) else as_aof("SET z 1")
    walk = walked(engine, tmp_path / "aof", WHOLE + bad + behind)
    assert (walk.stop, walk.command, walk.valid_bytes) == (stop, name, len(WHOLE))
    assert len(WHOLE) <= walk.fault_at <= len(WHOLE) + len(bad)


def test_until(engine: Engine, tmp_path: Path) -> None:
    """Up to the first time that is later; of a transaction in which that is, nothing."""
    path = tmp_path / "aof"
    ends = {99: 2, 100: 6, 104: 6, 105: 8, 109: 8}  # units, those notes included that the next one begins with
    for second, units in ends.items():
        walk = walked(engine, path, WHOLE, until_s=second)
        assert (walk.stop, walk.valid_bytes) == (aof_walk.LATER, len(b"".join(UNITS[:units]))), second
    assert walked(engine, path, WHOLE, until_s=110).stop == aof_walk.END


def test_collects(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "aof"
    path.write_bytes(WHOLE)
    with contextlib.closing(AofWalk(engine, str(path), collect=True)) as walk:
        found = []
        while walk.step(40):
            found.append(walk.take())
        found.append(walk.take())
    assert len(found) > 3 and b"".join(found) == plain(WHOLE)


def test_only_regular_files(engine: Engine) -> None:
    for path in ("/dev/zero", "/tmp", "/nonexistent"):
        with pytest.raises(OSError):
            AofWalk(engine, path)
