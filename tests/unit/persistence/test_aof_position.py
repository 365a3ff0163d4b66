"""Where in the history of the journal an AOF is: exact after restarts, torn tails and rewrites."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from fleettest.aoffile import NOTE, AofFolder, Store, as_aof, make_folder
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.unit

ID = b"0123456789abcdef0123456789abcdef01234567"


def note(offset: int, name: bytes = ID, tenure: int = 0) -> bytes:
    return b"#JOURNAL:%s %d %d\r\n" % (name, tenure, offset)


def rewrite(store: Store) -> None:
    store.run("BGREWRITEAOF")

    def done() -> bool:
        store.engine.tick()
        store.aof.cron()
        return not store.aof.status()["aof_rewrite_in_progress"]

    assert_eventually(done)


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_it_goes_on_after_a_restart(tmp_path: Path, rng: random.Random, policy: str) -> None:
    names = set()
    before = (b"", 0)
    for _ in range(4):
        with Store(tmp_path, appendfsync=policy) as store:
            assert store.earlier == before
            name, tenure, offset = store.position
            assert (tenure, offset) == (0, before[1])
            for _ in range(rng.randrange(3)):
                store.run("SET", rng.randrange(9), "v" * rng.randrange(50), db=rng.randrange(3))
            if rng.randrange(2):
                rewrite(store)
            before = (name, store.position[2])
            names.add(name)
    assert len(names) == 4, "each start begins a history, since the end of the one before may be lost"
    for text in names:
        assert len(text) == 40


def test_what_is_counted(tmp_path: Path) -> None:
    """Bytes of commands as they were journalled: neither notes nor what a file begins with."""
    with Store(tmp_path, aof_timestamp_enabled="yes") as store:
        store.run("SET", "a", "1")
        store.run("SET", "b", "2", db=1)
        expected = len(as_aof("SELECT 0", "SET a 1", "SELECT 1", "SET b 2"))
        assert store.position[2] == expected
        rewrite(store)
        store.run("SET", "c", "3", db=1)
        expected += len(as_aof("SET c 3"))
        assert store.position[2] == expected
    data = AofFolder(tmp_path).incremental.read_bytes()
    assert as_aof("SELECT 1") in data, "the new file says in which database it begins, the journal does not again"
    with Store(tmp_path) as store:
        assert store.position[2] == expected
        assert store.keys(1) == {b"b": b"2", b"c": b"3"}


def test_a_torn_tail(tmp_path: Path) -> None:
    ends = [0]
    with Store(tmp_path / "whole", appendfsync="always") as store:
        for row in (("SET", "a", "1"), ("APPEND", "a", "2"), ("SET", "b", "3")):
            store.run(*row)
            ends.append(store.position[2])
        name = store.position[0]
    data = AofFolder(tmp_path / "whole").incremental.read_bytes()
    start = data.index(as_aof("SELECT 0"))
    for cut in range(start, len(data) + 1):
        shutil.copytree(tmp_path / "whole", tmp_path / "cut")
        AofFolder(tmp_path / "cut").incremental.write_bytes(data[:cut])
        with Store(tmp_path / "cut") as store:
            end = store.position[2]
            assert store.earlier == (name, end)
            expected = max(whole for whole in (len(as_aof("SELECT 0")), *ends) if whole <= cut - start)
            assert end == expected, f"cut at {cut}"
        shutil.rmtree(tmp_path / "cut")


def test_notes_in_the_middle_and_after_the_last_command(tmp_path: Path) -> None:
    row = as_aof("SET a 1")
    make_folder(tmp_path, note(100, b"f" * 40) + row + note(1000, tenure=3) + row + row + note(5000) + note(7000))
    with Store(tmp_path) as store:
        assert store.earlier == (ID, 7000)


def test_a_note_inside_what_is_cut_off(tmp_path: Path) -> None:
    row = as_aof("SET a 1")
    make_folder(tmp_path, note(100) + row + as_aof("MULTI") + row + note(9000) + row[:-1])
    with Store(tmp_path) as store:
        assert store.earlier == (ID, 100 + len(row))


@pytest.mark.parametrize(
    "line",
    [b"#", b"#JOURNAL:", b"#JOURNAL:" + b"x" * 40 + b" 0 5", b"#JOURNAL:" + ID + b" 5", b"#JOURNAL:" + ID + b"0 0 5",
     b"#JOURNAL:" + ID[1:] + b" 0 5", b"#JOURNAL:" + ID + b" 0 5" + b"9" * 100, b"#journal:" + ID + b" 0 5"],
)  # fmt: skip
def test_lines_that_are_no_note(tmp_path: Path, line: bytes) -> None:
    make_folder(tmp_path, note(50) + line + b"\r\n" + as_aof("SET a 1"))
    with Store(tmp_path) as store:
        assert store.keys() == {b"a": b"1"}
        assert store.earlier == (ID, 50 + len(as_aof("SET a 1")))


def test_files_of_others_say_nothing(tmp_path: Path) -> None:
    make_folder(tmp_path, as_aof("SELECT 0", "SET a 1"))
    with Store(tmp_path) as store:
        assert store.earlier == (b"", 0)
        assert store.position[2] == 0


@pytest.mark.parametrize("second", [b"", note(900), note(900) + as_aof("SELECT 0"), as_aof("SELECT 2") + note(900)])
def test_torn_before_a_file_without_commands(tmp_path: Path, second: bytes) -> None:
    """A rewrite had just begun. What the new file says of the old one's end is about bytes that are lost."""
    row = as_aof("SET a 1")
    files = make_folder(tmp_path, note(100) + row + row[:-1])
    (files.path / "appendonly.aof.2.incr.aof").write_bytes(second)
    with files.manifest.open("a") as manifest:
        manifest.write("file appendonly.aof.2.incr.aof seq 2 type i\n")
    with Store(tmp_path) as store:
        assert store.keys() == {b"a": b"1"}
        assert store.earlier == (ID, 100 + len(row))


def test_notes_are_repeated(tmp_path: Path) -> None:
    with Store(tmp_path, appendfsync="no") as store:
        for n in range(34):
            store.run("SET", "k", bytes([n]) * (1 << 20))
        end = store.position[2]
    data = AofFolder(tmp_path).incremental.read_bytes()
    notes = [int(match[3]) for match in NOTE.finditer(data)]
    assert len(notes) == 3
    assert notes == sorted(notes)
    assert all(b - a <= (17 << 20) + 100 for a, b in zip(notes, [*notes[1:], end], strict=True))
    with Store(tmp_path) as store:
        assert store.position[2] == end
