"""`cachefleet aof truncate`: back to a second, on files of ours and of other servers, and what it leaves alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from fleettest.aoffile import TIMESTAMP, AofFolder, Store, as_aof, make_folder
from fleettest.faults import Faults
from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.rdbfile import Builder
from fleettest.tools import tool
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

EARLY = b"#TS:100\r\n" + as_aof("SELECT 0", "SET a 1", "MULTI", "INCR a", "EXEC")
MIDDLE = b"#TS:200\r\n" + as_aof("SET b 1")
LATE = b"#TS:300\r\n" + as_aof("SET c 1")
NEXT = b"#TS:310\r\n" + as_aof("SELECT 0", "SET d 1")


@pytest.fixture
def files(tmp_path: Path) -> AofFolder:
    files = make_folder(tmp_path / "data", EARLY + MIDDLE + LATE)
    (files.path / "appendonly.aof.2.incr.aof").write_bytes(NEXT)
    files.manifest.write_text(files.manifest.read_text() + "file appendonly.aof.2.incr.aof seq 2 type i\n")
    return files


def keys(folder: Path) -> list[bytes]:
    with Store(folder) as store:
        return sorted(store.keys())


@pytest.mark.parametrize(
    ("until", "kept", "found"),
    [
        ("1970-01-01T00:04:59", EARLY + MIDDLE, [b"a", b"b"]),
        ("200", EARLY + MIDDLE, [b"a", b"b"]),
        ("199", EARLY, [b"a"]),
        ("99", b"", []),
    ],
)
def test_back_to_a_second(files: AofFolder, until: str, kept: bytes, found: list[bytes]) -> None:
    first, second = files.path / "appendonly.aof.1.incr.aof", files.path / "appendonly.aof.2.incr.aof"
    before = first.read_bytes()
    done = tool("aof", "truncate", files.path, "--until", until, "--yes")
    assert done.returncode == 0, done.stderr
    assert first.read_bytes() == kept and Path(f"{first}.cut").read_bytes() == before[len(kept) :]
    assert Path(f"{second}.cut").read_bytes() == NEXT and files.names() == [first.name]
    assert keys(files.path.parent) == found
    assert tool("aof", "truncate", files.path, "--until", "310", "--yes").returncode == (0 if kept else 3)


def test_it_asks_and_tells(files: AofFolder) -> None:
    before = {path.name: path.read_bytes() for path in files.path.iterdir()}
    done = tool("aof", "truncate", files.path, "--until", "200", "--dry-run")
    first, second = files.path / "appendonly.aof.1.incr.aof", files.path / "appendonly.aof.2.incr.aof"
    assert (done.returncode, done.stdout.splitlines()) == (0, [
        f"{first}: keeps {len(EARLY + MIDDLE)} bytes, the last ones of 1970-01-01 00:03:20 UTC; "
        f"{len(LATE)} bytes later",
        f"{second}: later, {len(NEXT)} B",
    ])  # fmt: skip
    done = tool("aof", "truncate", files.path, "--until", "200")
    assert done.returncode == 2 and "Say so with --yes" in done.stderr
    assert {path.name: path.read_bytes() for path in files.path.iterdir()} == before
    done = tool("aof", "truncate", files.path, "--until", "310")
    assert (done.returncode, done.stdout) == (0, "nothing is later than 1970-01-01 00:05:10 UTC\n")
    assert {path.name: path.read_bytes() for path in files.path.iterdir()} == before
    for words in (("--until", "yesterday"), ("--until", "9" * 30), ()):
        assert tool("aof", "truncate", files.path, *words).returncode == 2


def test_to_a_new_folder(tmp_path: Path, files: AofFolder) -> None:
    before = {path.name: path.read_bytes() for path in files.path.iterdir()}
    target = tmp_path / "other" / "appendonlydir"
    done = tool("aof", "truncate", files.path, "--until", "299", "--to", target)
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in files.path.iterdir()} == before
    assert keys(tmp_path / "other") == [b"a", b"b"]
    done = tool("aof", "truncate", files.path, "--until", "299", "--to", target)
    assert done.returncode == 3 and "File exists" in done.stderr


def test_of_a_transaction_nothing_stays(tmp_path: Path) -> None:
    single = tmp_path / "single.aof"
    single.write_bytes(EARLY + as_aof("MULTI", "SET x 1") + LATE + as_aof("EXEC"))
    assert tool("aof", "truncate", single, "--until", "250", "-y").returncode == 0
    assert single.read_bytes() == EARLY


def test_snapshots(tmp_path: Path) -> None:
    """There is no way back to before one is from."""
    base = Builder().aux(b"ctime", b"150").select(0).key(b"k", b"v").end()
    files = make_folder(tmp_path, MIDDLE + LATE, base=base)
    done = tool("aof", "truncate", tmp_path, "--until", "149", "-y")
    assert done.returncode == 3 and "is a snapshot of 1970-01-01 00:02:30 UTC" in done.stderr
    assert tool("aof", "truncate", tmp_path, "--until", "150", "-y").returncode == 0
    assert (files.base.read_bytes(), files.incremental.read_bytes()) == (base, b"")
    files = make_folder(tmp_path / "undated", MIDDLE, base=Builder().select(0).end())
    done = tool("aof", "truncate", tmp_path / "undated", "--until", "150", "-y")
    assert done.returncode == 3 and "does not say from when it is" in done.stderr
    assert files.incremental.read_bytes() == MIDDLE


def test_what_is_not_whole_or_has_no_times(tmp_path: Path, files: AofFolder) -> None:
    plain = tmp_path / "plain.aof"
    plain.write_bytes(as_aof("SELECT 0", "SET a 1"))
    done = tool("aof", "truncate", plain, "--until", "5", "-y")
    assert done.returncode == 3 and "aof-timestamp-enabled" in done.stderr
    files.incremental.write_bytes(NEXT[:-3])
    done = tool("aof", "truncate", files.path, "--until", "400", "-y")
    assert done.returncode == 1 and "cachefleet aof repair" in done.stderr
    assert files.incremental.read_bytes() == NEXT[:-3]


def test_a_server_that_runs_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Instance(directory=folder, options={"appendonly": "yes", "aof-timestamp-enabled": "yes"}) as server:
        assert server.call("SET", "k", "v") == "OK"
        files = AofFolder(folder)
        before = files.incremental.read_bytes()
        done = tool("aof", "truncate", folder, "--until", "5", "--yes")
        assert done.returncode == 3 and f"a server (pid {server.pid}) works on {folder}" in done.stderr
        assert tool("aof", "truncate", folder, "--until", f"{int(time.time()) + 100}", "--dry-run").returncode == 0
        assert files.incremental.read_bytes() == before


@pytest.mark.differential
@pytest.mark.parametrize("kind", ["cachefleet", "valkey", "redis"])
def test_what_servers_write(tmp_path: Path, kind: Kind) -> None:
    """A key each second, until there are three: back to the second one's."""
    folder = tmp_path / "data"
    options = {"appendonly": "yes", "aof-timestamp-enabled": "yes", "save": ""}
    with Instance(kind, directory=folder, options=options) as server:
        files = AofFolder(folder)

        def stamps() -> list[int]:
            return [int(second) for second in TIMESTAMP.findall(files.incremental.read_bytes())]

        last = []
        for number in range(3):
            seen = len(stamps())
            assert_eventually(lambda: server.call("INCR", "tick") and len(stamps()) > seen)  # noqa: B023
            server.call("SET", f"key:{number}", "v")
            last.append(stamps()[-1])
    assert tool("aof", "truncate", folder, "--until", str(last[1]), "--yes").returncode == 0
    with Instance(kind, directory=folder, options=options) as server:
        found = sorted(server.call("KEYS", "*"))
    assert b"key:1" in found and b"key:2" not in found


def test_a_full_disk_leaves_everything(tmp_path: Path, files: AofFolder) -> None:
    faults = Faults(files.path, tmp_path)
    faults.set("fail write 1- ENOSPC @*.cut")
    before = {path.name: path.read_bytes() for path in files.path.iterdir()}
    done = tool("aof", "truncate", files.path, "--until", "200", "-y", env={**os.environ, **faults.env})
    assert done.returncode == 3 and ".cut: " in done.stderr
    assert {path.name: path.read_bytes() for path in files.path.iterdir()} == before
