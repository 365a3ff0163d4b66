"""`cachefleet rdb` on files of ours, of Valkey and of Redis: what it says, how it ends, and what it takes."""

from __future__ import annotations

import json
import os
import pty
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleettest.instance import Instance
from fleettest.programs import Kind
from fleettest.rdbfile import Builder, string
from fleettest.seeder import Seeder, assert_same, capture, fill
from fleettest.tools import TOOLS, data_of, peak_kb, tool

pytestmark = pytest.mark.server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "dump.rdb"
    builder = Builder().aux(b"redis-ver", b"7.0.0").select(0)
    for i in range(30):
        builder.key(b"user:%d" % i, b"x" * i)
    builder.key(b"user:1:cart", b"y" * 1000).key(b'odd "\n\xff', b"z" * 500, expire_ms=5).select(7).key(b"n", b"12")
    path.write_bytes(builder.end())
    return path


def lines(name: str, file: Path, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in tool("rdb", name, file, "-o", "json", *words).stdout.splitlines()]


@pytest.mark.differential
@pytest.mark.parametrize("kind", ["cachefleet", "valkey", "redis"])
def test_all_types_as_the_server_has_them(tmp_path: Path, rng: random.Random, kind: Kind) -> None:
    with Instance(kind, directory=tmp_path / "data") as server, server.connect() as connection:
        fill(connection, Seeder(rng, keys=300))
        data = capture(connection)
        assert connection.call("SAVE") == "OK"
    path = tmp_path / "data" / "dump.rdb"
    found = tool("rdb", "json", path)
    assert (found.returncode, found.stderr) == (0, "")
    assert_same(data_of(found.stdout), data)
    assert tool("rdb", "verify", path).stdout == f"{path}: fine, {len(data)} keys, right checksum\n"
    facts = json.loads(tool("rdb", "info", "-o", "json", path).stdout)
    counts = {name: sum(1 for type, _, _ in data.values() if type == name) for name in facts["types"]}
    assert {name: group["keys"] for name, group in facts["types"].items()} == counts
    assert sum(group["keys"] for group in facts["databases"].values()) == len(data)
    assert sum(group["expire"] for group in facts["databases"].values()) == sum(e >= 0 for _, _, e in data.values())
    whole, broken = path.read_bytes(), tmp_path / "broken.rdb"
    words: list[str | Path] = []
    for number in range(12):
        part = broken.with_suffix(f".{number}")
        part.write_bytes(whole[: rng.randrange(1, len(whole))])
        words.append(part)
    done = tool("rdb", "verify", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert [line.split(" ")[1] for line in done.stderr.splitlines()] == [str(word) for word in words]


def test_info(file: Path) -> None:
    done = tool("rdb", "info", file)
    assert done.returncode == 0 and "format      redis, version 10" in done.stdout and "redis 7.0.0" in done.stdout
    facts = json.loads(tool("rdb", "info", file, "--output", "json").stdout)
    assert facts["databases"]["0"]["keys"] == 32 and facts["databases"]["0"]["expired"] == 1
    assert facts["format"] == {"version": 10, "dialect": "redis"} and facts["checksum"] is True


def test_largest_and_histogram(file: Path) -> None:
    done = tool("rdb", "largest", file, "-n", "2")
    assert [line.split()[2:] for line in done.stdout.splitlines()[1:]] == [
        ["0", "string", '"user:1:cart"'], ["0", "string", '"odd', '\\"\\n\\xff"'],
    ]  # fmt: skip
    rows = lines("largest", file, "--by", "elements")
    assert rows[0] == {"key": "user:1:cart", "db": 0, "type": "string", "elements": 1000}
    assert rows[1] == {"key": 'odd \\"\\n\\xff', "escaped": True, "db": 0, "type": "string", "elements": 500}
    assert [row["elements"] for row in rows[2:]] == list(range(29, 11, -1))
    rows = lines("histogram", file)
    assert {row["prefix"]: row["keys"] for row in rows} == {"user:": 31, "": 2}
    rows = lines("histogram", file, "--depth", "2")
    assert {row["prefix"]: row["keys"] for row in rows} == {"user:": 30, "user:1:": 1, "": 2}
    assert tool("rdb", "histogram", file).stdout.splitlines()[1].endswith('"user:"')


def test_filters(file: Path) -> None:
    def keys(*words: str) -> list[str]:
        return [json.loads(line)["key"] for line in tool("rdb", "json", "--keys", file, *words).stdout.splitlines()]

    assert keys("--db", "7") == ["n"]
    assert keys("--match", "user:1?") == [f"user:{i}" for i in range(10, 20)]
    assert keys("--type", "hash") == []
    assert len(keys("--type", "string", "--db", "0", "--db", "7")) == 33


def test_what_is_before_the_damage_is_shown(tmp_path: Path, file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.index(b"user:7")])
    done = tool("rdb", "json", file)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 7)
    assert "ends within the record at byte" in done.stderr and "7 keys before that can be read" in done.stderr
    for name in ("info", "largest", "histogram"):
        done = tool("rdb", name, file)
        assert done.returncode == 1 and done.stdout and "7 keys before" in done.stderr, name
    file.write_bytes(whole + b"*1\r\n")
    done = tool("rdb", "verify", file)
    assert done.returncode == 1 and "goes on for 4 bytes behind its end" in done.stderr
    module = tmp_path / "module.rdb"
    module.write_bytes(Builder().select(0).raw(b"\x07" + string(b"m")).end())
    done = tool("rdb", "verify", module)
    assert done.returncode == 1 and "type module" in done.stderr


def test_what_cannot_be_done(tmp_path: Path, file: Path) -> None:
    done = tool("rdb", "verify", tmp_path / "none", file)
    assert done.returncode == 3 and done.stdout.startswith(f"{file}: fine")
    assert done.stderr == f"cachefleet: {tmp_path / 'none'}: No such file or directory\n"
    for words in ((), ("rdb",), ("rdb", "nonsense"), ("rdb", "info"), ("rdb", "largest", "x", "-n", "0")):
        assert tool(*words).returncode == 2
    assert tool("rdb", "info", "--help").returncode == 0
    os.mkfifo(tmp_path / "fifo")
    for odd in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        done = tool("rdb", "info", odd)
        assert done.returncode in (1, 3) and str(odd) in done.stderr


def test_output_that_ends(tmp_path: Path, file: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = tool("rdb", "json", file, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (3, "cachefleet: standard output: No space left on device\n")
    big = tmp_path / "big.rdb"
    builder = Builder().select(0)
    builder.raw(b"".join(b"\x00" + string(b"key:%d" % i) + string(b"x" * 100) for i in range(20_000)))
    big.write_bytes(builder.end(checksum=0))
    pipe = subprocess.Popen([*TOOLS, "rdb", "json", str(big)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert pipe.stdout is not None and pipe.stderr is not None
    assert json.loads(pipe.stdout.readline())["key"] == "key:0"
    pipe.stdout.close()
    assert (pipe.wait(60), pipe.stderr.read()) == (0, b"")
    pipe.stderr.close()
    shell = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *TOOLS, "rdb", "verify", str(file)]
    assert subprocess.run(shell, timeout=60, check=False).returncode == 0


def test_progress_is_for_terminals(tmp_path: Path) -> None:
    """Its bar goes to standard error, and leaves nothing there."""
    path = tmp_path / ("folder" * 20) / "dump.rdb"
    path.parent.mkdir()
    path.write_bytes(Builder().select(0).raw((b"\x00\x01k" + string(b"x" * (1 << 20))) * 40).end(checksum=0))
    control, terminal = pty.openpty()
    done = tool("rdb", "verify", path, stdout=subprocess.PIPE, stderr=terminal, env={**os.environ, "TERM": "xterm"})
    os.close(terminal)
    assert done.stdout == f"{path}: fine, 40 keys, no checksum\n"
    assert b"MB" in os.read(control, 65536)
    os.close(control)


def test_it_is_handed_over(file: Path) -> None:
    """`cachefleet rdb` is the same program, options and exit codes included."""
    command = [sys.executable, "-m", "cachefleet_operator.cli", "rdb"]
    for words in (["verify", str(file)], ["info", "-o", "json", "--", str(file)], ["--help"], ["verify", "/none"], []):
        handed = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        own = tool("rdb", *words)
        assert (handed.returncode, handed.stdout, handed.stderr) == (own.returncode, own.stdout, own.stderr)


@pytest.mark.slow("writes and reads 300 MB")
def test_a_file_takes_no_memory(tmp_path: Path) -> None:
    """300 MB of keys: what a process without a file takes, and pages of the file that are given back."""
    path = tmp_path / "dump.rdb"
    with open(path, "wb") as out:
        out.write(Builder().select(0).data)
        value = string(os.urandom(16_000))
        for i in range(19_000):
            out.write(b"\x00" + string(b"key:%d" % i) + value)
        out.write(b"\xff" + bytes(8))
    assert path.stat().st_size > 300_000_000
    small = tmp_path / "small.rdb"
    small.write_bytes(Builder().select(0).end())
    peaks = [peak_kb("rdb", "verify", str(file)) for file in (small, path)]
    assert peaks[1] - peaks[0] < 100_000, peaks
