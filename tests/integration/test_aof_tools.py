"""`cachefleet aof` on folders of ours and of Valkey: the first fault with its place, and what a repair leaves."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from cachefleet_server.errors import DataError
from fleettest.aoffile import AofFolder, Store, as_aof, make_folder
from fleettest.faults import Faults
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.rdbfile import Builder
from fleettest.seeder import Seeder, assert_same, capture, fill, run
from fleettest.tools import tool

pytestmark = pytest.mark.server

GOOD = as_aof("SELECT 0", "SET a 1", "MULTI", "INCR a", "SADD s x y", "EXEC")
TORN = b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$10\r\nabc"


@pytest.fixture
def folder(tmp_path: Path) -> AofFolder:
    return make_folder(tmp_path, GOOD + TORN)


@pytest.mark.differential
@pytest.mark.parametrize("kind", ["cachefleet", "valkey", "redis"])
def test_what_servers_write_is_fine(tmp_path: Path, rng: random.Random, kind: Kind) -> None:
    folder = tmp_path / "data"
    options = {"appendonly": "yes", "aof-timestamp-enabled": "yes", "save": ""}
    with Instance(kind, directory=folder, options=options) as server, server.connect() as connection:
        seeder = Seeder(rng, keys=100)
        fill(connection, seeder)
        run(connection, seeder.mutate(200))
    files = AofFolder(folder)
    for path in (folder, files.path, files.manifest, files.incremental):
        done = tool("aof", "check", path)
        assert done.returncode == 0, done.stderr
        assert f"{files.incremental}: fine, " in done.stdout
    done = tool("aof", "check", folder, "--load")
    assert (done.returncode, done.stdout.splitlines()[-1][:8]) == (0, "loaded: "), done.stderr


def test_a_server_that_runs_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Instance(directory=folder, options={"appendonly": "yes"}) as server:
        assert server.call("SET", "k", "v") == "OK"
        assert tool("aof", "check", folder).returncode == 0
        done = tool("aof", "repair", folder, "--yes")
        assert done.returncode == 3 and f"a server (pid {server.pid}) works on {folder}" in done.stderr


def test_a_torn_end(tmp_path: Path, folder: AofFolder) -> None:
    file, size = folder.incremental, len(GOOD + TORN)
    done = tool("aof", "check", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f'cachefleet: {file} ends in the middle of "SET", or of its transaction, at byte {len(GOOD)}: whole up to byte '
        f"{len(GOOD)}, behind which {len(TORN)} bytes follow\n"
    )
    done = tool("aof", "repair", tmp_path)
    assert done.returncode == 2 and "Say so with --yes" in done.stderr and file.stat().st_size == size
    done = tool("aof", "repair", tmp_path, "--yes")
    assert done.returncode == 0, done.stderr
    assert f"{file} has {len(GOOD)} bytes now; the {len(TORN)} bytes cut off are in {file}.cut" in done.stdout
    assert (file.read_bytes(), Path(f"{file}.cut").read_bytes()) == (GOOD, TORN)
    assert tool("aof", "check", tmp_path).returncode == tool("aof", "repair", tmp_path).returncode == 0
    with Store(tmp_path) as store:
        assert store.run("GET", "a") == b"2"


def test_damage_in_the_middle(tmp_path: Path, folder: AofFolder) -> None:
    """Files behind it go, too: the manifest has them no more, and they are kept under other names."""
    later = as_aof("SET later 1")
    (folder.path / "appendonly.aof.2.incr.aof").write_bytes(later)
    folder.manifest.write_text(folder.manifest.read_text() + "file appendonly.aof.2.incr.aof seq 2 type i\n")
    first = folder.path / "appendonly.aof.1.incr.aof"
    first.write_bytes(GOOD + b"garbage" + GOOD)
    Path(f"{first}.cut").write_bytes(b"of an earlier repair")
    with pytest.raises(DataError, match=f"at byte {len(GOOD)}"):
        Store(tmp_path)
    done = tool("aof", "check", tmp_path)
    assert done.returncode == 1 and f"{first} is damaged, in a command, at byte {len(GOOD)}" in done.stderr
    done = tool("aof", "repair", folder.manifest, "-y")
    assert done.returncode == 0 and f"{first}.cut2" in done.stdout
    assert (first.read_bytes(), folder.names()) == (GOOD, [first.name])
    assert (folder.path / "appendonly.aof.2.incr.aof.cut").read_bytes() == later
    assert Path(f"{first}.cut2").read_bytes() == b"garbage" + GOOD
    with Store(tmp_path) as store:
        assert (store.run("GET", "a"), store.run("GET", "later")) == (b"2", None)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (as_aof("NOSUCH x"), 'has the unknown command "NOSUCH" at byte'),
        (as_aof("SET a"), 'has a wrong number of arguments for "SET" at byte'),
        (as_aof("EXEC"), 'has "EXEC" where it cannot be at byte'),
    ],
)
def test_whole_commands_are_not_cut(tmp_path: Path, bad: bytes, words: str) -> None:
    files = make_folder(tmp_path, GOOD + bad + GOOD)
    done = tool("aof", "check", tmp_path)
    assert done.returncode == 1 and f"{files.incremental} {words} {len(GOOD)}:" in done.stderr
    assert tool("aof", "repair", tmp_path, "--yes").returncode == 3
    assert files.incremental.read_bytes() == GOOD + bad + GOOD


def test_what_fails_on_the_data_is_found_by_a_load(tmp_path: Path) -> None:
    files = make_folder(tmp_path, GOOD + as_aof("LPUSH a 1"))
    assert tool("aof", "check", tmp_path).returncode == 0
    done = tool("aof", "check", tmp_path, "--load")
    assert done.returncode == 1 and f"Command 'lpush' at byte {len(GOOD)}" in done.stderr
    assert str(files.incremental) in done.stderr


def test_bases(tmp_path: Path) -> None:
    """A snapshot as the base, and in front of commands in one file; a damaged one cannot be cut."""
    rdb = Builder().select(0).key(b"k", b"v").end()
    files = make_folder(tmp_path, GOOD, base=rdb)
    done = tool("aof", "check", tmp_path)
    assert done.returncode == 0 and "a snapshot of 1 key" in done.stdout
    files.base.write_bytes(rdb[:-3])
    done = tool("aof", "repair", tmp_path, "--yes")
    assert done.returncode == 1 and str(files.base) in done.stderr and files.base.read_bytes() == rdb[:-3]
    single = tmp_path / "single.aof"
    single.write_bytes(rdb + GOOD + TORN)
    done = tool("aof", "repair", single, "--yes")
    assert done.returncode == 0 and single.read_bytes() == rdb + GOOD


def test_what_is_not_there(tmp_path: Path, folder: AofFolder) -> None:
    assert tool("aof", "check", tmp_path / "none").returncode == 3
    (tmp_path / "empty").mkdir()
    assert tool("aof", "check", tmp_path / "empty").returncode == 3
    folder.incremental.unlink()
    done = tool("aof", "check", tmp_path)
    assert done.returncode == 1 and "is missing" in done.stderr
    folder.manifest.write_text("file ../x seq 1 type i\n")
    done = tool("aof", "check", tmp_path)
    assert done.returncode == 1 and "line 1" in done.stderr


@pytest.mark.parametrize("rule", ["fail write 1- ENOSPC @*.cut", "fail fsync 1- EIO @*.cut"])
def test_a_full_disk_leaves_everything(tmp_path: Path, rule: str) -> None:
    files = make_folder(tmp_path / "data", GOOD + TORN)
    faults = Faults(files.path, tmp_path)
    faults.set(rule)
    done = subprocess.run(
        [sys.executable, "-m", "cachefleet_server.tools", "aof", "repair", "-y", str(files.path)],
        env={**os.environ, **faults.env}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3 and ".cut: " in done.stderr and "Traceback" not in done.stderr
    assert files.incremental.read_bytes() == GOOD + TORN and files.is_clean()


@pytest.mark.differential
def test_a_server_loads_what_was_repaired(tmp_path: Path, rng: random.Random) -> None:
    """Cut anywhere: the repaired folder loads on us and on Valkey, and both have the same."""
    options = {"appendonly": "yes", "save": ""}
    with Instance("valkey", directory=tmp_path / "data", options=options) as server, server.connect() as connection:
        fill(connection, Seeder(rng, keys=60))
    files = AofFolder(tmp_path / "data")
    whole = files.incremental.read_bytes()
    files.incremental.write_bytes(whole[: rng.randrange(len(whole) // 2, len(whole))])
    assert tool("aof", "repair", files.path, "--yes").returncode == 0
    found = []
    for kind in ("valkey", "cachefleet"):
        strict = {**options, "aof-load-truncated": "no"}
        with Instance(kind, directory=tmp_path / "data", options=strict) as server, server.connect() as connection:
            found.append(capture(connection))
    assert_same(found[0], found[1])
