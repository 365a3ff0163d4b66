"""The fault shim does what its rules say, and nothing to files outside of its folder."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fleettest.faults import Event, Faults
from fleettest.wait import assert_eventually

WRITER = """
import os, sys
folder = sys.argv[1]
os.chdir(folder)
fd = os.open("temp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
for part in (b"one", b"two"):
    while part:
        part = part[os.write(fd, part):]
    os.fsync(fd)
os.write(fd, b"lost")
os.close(fd)
os.rename("temp", folder + "/final")
fd = os.open(".", os.O_RDONLY)
os.fsync(fd)
print("done")
"""


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    return Faults(tmp_path / "data", tmp_path)


def run(faults: Faults, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", WRITER, str(folder or faults.folder)]
    return subprocess.run(words, env=faults.env, capture_output=True, text=True, timeout=60)


def test_events(faults: Faults) -> None:
    assert run(faults).stdout == "done\n"
    expected = [
        Event("open", "temp", 0),
        Event("write", "temp", 3),
        Event("fsync", "temp", 0),
        Event("write", "temp", 3),
        Event("fsync", "temp", 0),
        Event("write", "temp", 4),
        Event("rename", "final", 0),
        Event("fsync", "data", 0),
    ]
    assert faults.events() == expected
    faults.forget()
    assert faults.events() == []
    assert len(list(Faults.kill_points(expected))) == 16


@pytest.mark.parametrize(
    ("rule", "files"),
    [
        ("kill-before any 1", {}),
        ("kill-after any 1", {"temp": b""}),
        ("kill-before write 2", {"temp": b"one"}),
        ("kill-after write 2", {"temp": b"onetwo"}),
        ("kill-before rename 1", {"temp": b"onetwolost"}),
        ("kill-after rename 1 @fin*", {"final": b"onetwolost"}),
        ("kill-before fsync 1 @data", {"final": b"onetwolost"}),
        ("cut-before fsync 2", {"temp": b"one"}),
        ("cut-after fsync 2", {"temp": b"onetwo"}),
        ("cut-after rename 1", {"final": b"onetwo"}),
    ],
)
def test_kill(faults: Faults, rule: str, files: dict[str, bytes]) -> None:
    faults.set(rule)
    assert run(faults).returncode == -signal.SIGKILL
    assert {p.name: p.read_bytes() for p in faults.folder.iterdir()} == files


@pytest.mark.parametrize(
    ("call", "code"), [("open", "EACCES"), ("write", "ENOSPC"), ("fsync", "EIO"), ("rename", "EIO")]
)
def test_fail(faults: Faults, call: str, code: str) -> None:
    faults.set(f"fail {call} 1- {code}")
    result = run(faults)
    assert result.returncode == 1
    assert f"[Errno {getattr(errno, code)}]" in result.stderr


def test_other_names_and_folders_are_left_alone(faults: Faults, tmp_path: Path) -> None:
    faults.set("fail any 1- EIO @*.rdb")
    assert run(faults).stdout == "done\n"
    faults.set("fail any 1- EIO")
    (tmp_path / "other").mkdir()
    faults.forget()
    assert run(faults, tmp_path / "other").stdout == "done\n"
    assert faults.events() == []


def test_short_write_and_stall(faults: Faults) -> None:
    faults.set("short write 1- 1", "stall fsync 1 20")
    assert run(faults).stdout == "done\n"
    assert (faults.folder / "final").read_bytes() == b"onetwol"  # the last write is not repeated by the writer


def test_hold(faults: Faults) -> None:
    """The call waits for the rules to be replaced, however often and by whichever; other calls go on."""
    faults.set("hold write 2", "hold fsync 2")
    words = [sys.executable, "-c", WRITER, str(faults.folder)]
    with subprocess.Popen(words, env=faults.env, stdout=subprocess.PIPE, text=True) as process:
        faults.wait_for("fsync", "temp")
        assert_eventually(lambda: [event.call for event in faults.events()] == ["open", "write", "fsync", "write"])
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        assert (faults.folder / "temp").read_bytes() == b"one"
        faults.set("hold fsync 1 @temp")
        assert_eventually(lambda: (faults.folder / "temp").read_bytes() == b"onetwo")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        assert [event.call for event in faults.events()][3:] == ["write", "fsync"]
        faults.clear()
        assert process.communicate(timeout=60)[0] == "done\n"
    assert (faults.folder / "final").read_bytes() == b"onetwolost"
