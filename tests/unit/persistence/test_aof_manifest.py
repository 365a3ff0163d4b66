"""The manifest: what is written is read back, what others write is accepted, damage is named with its line."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from cachefleet_server.errors import DataError
from cachefleet_server.persistence import aof_manifest
from cachefleet_server.persistence.aof_manifest import BASE, HISTORY, INCREMENTAL, Manifest, Part, parse

pytestmark = pytest.mark.unit

NAME = "appendonly.aof"


def test_text_of_a_plain_manifest() -> None:
    manifest = Manifest().with_base(NAME, 1).with_incremental(NAME)
    assert manifest.text() == (
        "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    )
    assert [part.name for part in manifest.files()] == ["appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof"]


def test_steps_of_a_rewrite() -> None:
    before = Manifest().with_base(NAME, 1).with_incremental(NAME)
    begun = before.with_incremental(NAME)
    assert [part.seq for part in begun.incremental] == [1, 2]
    done = begun.with_base(NAME, 2)
    assert done.base == Part(f"{NAME}.2.base.rdb", 2, BASE)
    assert done.incremental == (Part(f"{NAME}.2.incr.aof", 2, INCREMENTAL),)
    assert done.history == (Part(f"{NAME}.1.base.rdb", 1, HISTORY), Part(f"{NAME}.1.incr.aof", 1, HISTORY))
    assert done.files() == [done.base, *done.incremental]
    clean = done.with_history(())
    assert clean.text().count("\n") == 2
    assert before.history == (), "the steps do not change what they start from"
    following = clean.with_incremental(NAME).with_base(NAME, 3)
    assert (following.base_seq, following.incremental_seq) == (3, 3)


def test_there_and_back(rng: random.Random) -> None:
    for _ in range(200):
        name = "".join(rng.choice("aZ09 .-_\"'\\#é\t\n\x01\udcff") for _ in range(rng.randrange(1, 20)))
        manifest = Manifest()
        for _ in range(rng.randrange(1, 6)):
            manifest = manifest.with_incremental(name)
            if rng.random() < 0.5:
                manifest = manifest.with_base(name, rng.randrange(manifest.incremental_seq + 1))
        again = parse(manifest.text(), "m")
        assert (again.files(), again.history) == (manifest.files(), manifest.history), repr(name)
        assert again.base_seq >= manifest.base_seq
        assert again.incremental_seq >= manifest.incremental_seq


def test_sequence_numbers_of_history_are_not_used_again() -> None:
    text = "file a.4.base.rdb seq 4 type b\nfile a.9.incr.aof seq 9 type h\nfile a.7.incr.aof seq 7 type i\n"
    manifest = parse(text, "m")
    assert manifest.with_incremental("a").incremental[-1].seq == 10
    assert manifest.with_base("a", 1).base_seq == 10, "history may have been bases"


@pytest.mark.parametrize(
    "text",
    [
        "file a.1.base.rdb seq 1 type b\nfile a.1.incr.aof seq 1 type i startoffset 0\n",
        "file a.1.base.rdb seq 1 type b\nfile a.1.incr.aof seq 1 type i startoffset 5 endoffset 17\n",
        "file a.1.base.rdb seq 1 type b\nfile a.1.incr.aof seq 1 type i color blue\n",
        "seq 1 file a.1.base.rdb type b\ntype i seq 1 file a.1.incr.aof\n",
        "file \"a.1.base.rdb\" seq 1 type b\nfile 'a.1.incr.aof' seq 1 type i\n",
        "# a comment\n\nfile a.1.base.rdb seq 1 type b\nfile a.1.incr.aof seq 1 type i",
        "file a.1.base.rdb seq 1 type b\r\nfile a.1.incr.aof seq 1 type i\r\n",
    ],
)
def test_accepted(text: str) -> None:
    assert [part.name for part in parse(text, "m").files()] == ["a.1.base.rdb", "a.1.incr.aof"]


def test_names_with_blanks() -> None:
    manifest = parse('file "my aof.1.base.rdb" seq 1 type b\nfile "my\\x20\\"aof\\"" seq 1 type i\n', "m")
    assert [part.name for part in manifest.files()] == ["my aof.1.base.rdb", 'my "aof"']


BASE_LINE = "file a.1.base.rdb seq 1 type b\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the manifest is empty"),
        ("# only a comment\n", "the manifest is empty"),
        (BASE_LINE + "file a.2.base.rdb seq 2 type b\n", "line 2: found duplicate base"),
        (BASE_LINE + "file x seq 2 type i\nfile y seq 2 type i\n", "line 3: found a non-monotonic sequence number"),
        (BASE_LINE + "file x seq 2 type i\nfile y seq 1 type i\n", "line 3: found a non-monotonic sequence number"),
        (BASE_LINE + "file x seq 2\n", "line 2: invalid manifest line"),
        (BASE_LINE + "file x seq 2 type\n", "line 2: invalid manifest line"),
        (BASE_LINE + "file x seq 2 type i extra\n", "line 2: invalid manifest line"),
        (BASE_LINE + 'file "x seq 2 type i\n', "line 2: invalid manifest line"),
        (BASE_LINE + "file x seq two type i\n", "line 2: file, seq or type"),
        (BASE_LINE + "file x seq -2 type i\n", "line 2: file, seq or type"),
        (BASE_LINE + "file x seq ² type i\n", "line 2: file, seq or type"),
        (BASE_LINE + "file x seq 2 type z\n", "line 2: file, seq or type"),
        (BASE_LINE + 'file "" seq 2 type i\n', "line 2: file, seq or type"),
        (BASE_LINE + "name x seq 2 type i\n", "line 2: file, seq or type"),
        (BASE_LINE + "file ../x seq 2 type i\n", "line 2: '../x' is a path"),
        (BASE_LINE + 'file "a\\x00" seq 2 type i\n', "line 2: 'a\\x00' is a path"),
        (BASE_LINE + "file .. seq 2 type i\n", "line 2: '..' is a path"),
        (BASE_LINE + f"file {'x' * 1024} seq 2 type i\n", "line 2: the line is too long"),
        ("\0" * 100, "line 1: invalid manifest line"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse(text, "/data/the.manifest")
    assert str(caught.value).startswith("/data/the.manifest")
    assert message in str(caught.value)


def test_read_and_write(tmp_path: Path) -> None:
    path = tmp_path / "appendonly.aof.manifest"
    assert aof_manifest.read(str(path)) is None
    for manifest in (Manifest().with_base("a", 1), Manifest().with_base("b c", 1).with_incremental("b c")):
        aof_manifest.write(str(path), manifest)
        assert aof_manifest.read(str(path)) == manifest
    assert os.listdir(tmp_path) == [path.name], "no temp file is left"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"file a\xff.1.base.rdb seq 1 type b\n")
    manifest = aof_manifest.read(str(path))
    assert manifest is not None and manifest.base is not None
    assert os.fsencode(manifest.base.name) == b"a\xff.1.base.rdb"


def test_a_failed_write_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m"
    old = Manifest().with_base("a", 1)
    aof_manifest.write(str(path), old)

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            aof_manifest.write(str(path), old.with_incremental("a"))
    assert aof_manifest.read(str(path)) == old


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with pytest.raises(OSError, match="it is a folder, not a regular file"):
        aof_manifest.read(str(tmp_path / "m"))
