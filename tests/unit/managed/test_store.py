"""The file of what a managed server must not forget."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cachefleet_server.managed import store
from cachefleet_server.managed.state import Prepared, Quorum, Start, Stored

pytestmark = pytest.mark.unit

BARE = Stored("a" * 40)
FULL = Stored(
    disk="a" * 40,
    claim="uid",
    boot="boot",
    data_set="d",
    promise=7,
    starts=(Start(1, 0), Start(5, 1 << 60)),
    solo_epoch=7,
    prepared=Prepared(7, Quorum(frozenset(("a", "b")), 1)),
    offset=12,
    kept=True,
    synced=True,
)


@pytest.mark.parametrize("stored", [BARE, FULL])
def test_what_is_saved_is_loaded(tmp_path: Path, stored: Stored) -> None:
    store.save(str(tmp_path), BARE)
    store.save(str(tmp_path), stored)
    assert store.load(str(tmp_path)) == stored
    assert os.listdir(tmp_path) == [store.NAME]


def test_what_makes_no_sense_is_nothing(tmp_path: Path) -> None:
    assert store.load(str(tmp_path)) is None
    store.save(str(tmp_path), FULL)
    file = tmp_path / store.NAME
    whole = file.read_text()
    for text in (whole[:-2], "", "[]", "null", "{}", whole.replace('"version": 1', '"version": 2')):
        file.write_text(text)
        assert store.load(str(tmp_path)) is None
    file.write_bytes(b"\xff")
    assert store.load(str(tmp_path)) is None


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    store.save(str(tmp_path), BARE)
    (tmp_path / f"{store.NAME}.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        store.save(str(tmp_path), FULL)
    assert store.load(str(tmp_path)) == BARE


def test_the_boot_is_told_by_the_kernel() -> None:
    assert len(store.boot_id()) == 36
