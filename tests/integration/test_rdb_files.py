"""RDB files between servers: ours are loaded by Redis 7.0, 8.0 and Valkey 9.1, and theirs and Redis 6.2's by us."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.rdbfile import Builder, parse, string
from fleettest.seeder import Data, Seeder, assert_same, capture, fill, of_file, run
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

KEYS = 2000

def save_file(
    kind: Kind, folder: Path, rng: random.Random, *, times: bool = True, **options: str
) -> tuple[Path, Data]:
    """A file that this server wrote of random data, and the data."""
    named = {name.replace("_", "-"): value for name, value in options.items()}
    with Instance(kind, directory=folder, options=named) as server, server.connect() as connection:
        seeder = Seeder(rng, keys=KEYS)
        fill(connection, seeder)
        run(connection, seeder.mutate(KEYS))
        data = capture(connection, times=times)  # which also takes those away whose time has passed
        assert connection.call("SAVE") == "OK"
        return folder / "dump.rdb", data


def load_file(kind: Kind, folder: Path, file: Path, *, times: bool = True, **options: str) -> Data:
    folder.mkdir()
    shutil.copy(file, folder / "dump.rdb")
    named = {name.replace("_", "-"): value for name, value in options.items()}
    with Instance(kind, directory=folder, options=named) as server, server.connect() as connection:
        return capture(connection, times=times)


@pytest.mark.parametrize("compression", ["yes", "no"])
@pytest.mark.parametrize("checksum", ["yes", "no"])
def test_ours_load_everywhere(tmp_path: Path, rng: random.Random, compression: str, checksum: str) -> None:
    file, data = save_file("cachefleet", tmp_path / "ours", rng, rdbcompression=compression, rdbchecksum=checksum)
    parsed = parse(file.read_bytes())
    assert bool(parsed.compressed) == (compression == "yes")
    assert bool(parsed.checksum) == (checksum == "yes")
    assert_same(of_file(parsed), data)
    kinds: tuple[Kind, ...] = ("redis", "redis8", "valkey", "cachefleet")
    for kind in kinds:
        assert_same(load_file(kind, tmp_path / kind, file), data)


@pytest.mark.parametrize("kind", ["redis", "redis8", "valkey"])
@pytest.mark.parametrize("compression", ["yes", "no"])
@pytest.mark.parametrize("checksum", ["yes", "no"])
def test_theirs_load_here(tmp_path: Path, rng: random.Random, kind: Kind, compression: str, checksum: str) -> None:
    file, data = save_file(kind, tmp_path / "theirs", rng, rdbcompression=compression, rdbchecksum=checksum)
    assert_same(load_file("cachefleet", tmp_path / "ours", file), data)


@pytest.mark.parametrize("sizes", ["listpacks", "large"])
def test_ziplists_load_here(tmp_path: Path, rng: random.Random, sizes: str) -> None:
    """Redis 6.2 is the last that wrote them: in hashes, sorted sets and every node of a list."""
    large = {f"{kind}_max_ziplist_entries": "5000" for kind in ("hash", "zset")} | {"list_max_ziplist_size": "-5"}
    options = large if sizes == "large" else {}
    file, data = save_file("redis6", tmp_path / "theirs", rng, times=False, **options)
    assert_same(load_file("cachefleet", tmp_path / "ours", file, times=False), data)


def test_redis_check_rdb_is_content(tmp_path: Path, rng: random.Random) -> None:
    tool = shutil.which("redis-check-rdb")
    if tool is None:
        pytest.skip("redis-check-rdb is not installed (apt-get install redis-tools)")
    file, data = save_file("cachefleet", tmp_path / "ours", rng)
    result = subprocess.run([tool, str(file)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout
    assert "RDB looks OK" in result.stdout
    assert f"{len(data)} keys read" in result.stdout


@pytest.mark.parametrize("kind", ["redis", "redis8", "valkey"])
@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu"])
def test_ages_travel(tmp_path: Path, kind: Kind, policy: str) -> None:
    """Idle time and frequency, there and back."""
    word = ("IDLETIME", 4000) if policy.endswith("lru") else ("FREQ", 77)
    options = {"maxmemory-policy": policy, "lfu-decay-time": "0"}
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    kinds: list[Kind] = [kind, "cachefleet", kind]
    for i, folder in enumerate(folders):
        if i:
            folder.mkdir()
            shutil.copy(folders[i - 1] / "dump.rdb", folder)
        with Instance(kinds[i], directory=folder, options=options) as server, server.connect() as connection:
            if i == 0:
                connection.call("SET", "k", "v")
                payload = connection.call("DUMP", "k")
                assert connection.call("RESTORE", "k", 0, payload, "REPLACE", *word) == "OK"
            age = connection.call("OBJECT", word[0], "k")
            assert word[1] <= age <= word[1] + 60, f"on {kinds[i]}"
            assert connection.call("SAVE") == "OK"


def test_expired_keys_are_left_out(tmp_path: Path) -> None:
    with Instance("valkey", directory=tmp_path / "theirs", options={"enable-debug-command": "yes"}) as server:
        with server.connect() as connection:
            connection.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
            connection.call("SET", "k", "v")
            connection.call("SET", "old", "v", "PX", 300)
            past = time.time() + 0.31
            assert_eventually(lambda: time.time() > past)  # not touched: the file has it, out of date
            assert connection.call("SAVE") == "OK"
    folder = tmp_path / "ours"
    folder.mkdir()
    shutil.copy(tmp_path / "theirs" / "dump.rdb", folder)
    with Instance(directory=folder) as server:
        assert server.call("KEYS", "*") == [b"k"]
        info = server.info("persistence")
        assert (info["rdb_last_load_keys_loaded"], info["rdb_last_load_keys_expired"]) == ("1", "1")
        assert info["rdb_changes_since_last_save"] == "0"


def test_other_types_stop_the_start(tmp_path: Path) -> None:
    """As streams of Redis 8.2 and later are."""
    data = Builder().key(b"k", b"v").raw(b"\x1a" + string(b"s") + b"\0").end()
    (tmp_path / "dump.rdb").write_bytes(data)
    server = Instance(directory=tmp_path)
    server.spawn()
    assert server.wait_exit() == 1
    assert "type stream is not supported by this version" in server.log_text()
    assert (tmp_path / "dump.rdb").read_bytes() == data


@pytest.mark.parametrize("value", ["\N{SUPERSCRIPT TWO}".encode(), b"9" * 5000, b"\xff", b"", b"-1"])
def test_strange_facts_about_a_file_are_no_obstacle(tmp_path: Path, value: bytes) -> None:
    """When and by what it was written is only told; whoever wrote it may have written anything."""
    file = Builder()
    for name in (b"redis-ver", b"ctime", b"used-mem", b"redis-bits", b"aof-base"):
        file.aux(name, value)
    (tmp_path / "dump.rdb").write_bytes(file.key(b"k", b"v").end())
    with Instance("cachefleet", directory=tmp_path) as server:
        assert server.call("GET", "k") == b"v"
        assert "Traceback" not in server.log_text()
