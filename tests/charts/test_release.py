"""`make release`: an entry is made once for a version, is the same each time, and takes the one before away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fleettest import release


def content(entry: release.Release) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in entry.folder.iterdir()}


@pytest.mark.usefixtures("helm")
def test_an_entry_is_made_once(tmp_path: Path) -> None:
    (tmp_path / "0.0.1").mkdir()
    release.main(tmp_path)
    (made,) = release.entries(tmp_path)
    assert (made.version, made.problems()) == (release.own_version(), [])

    (tmp_path / "again").mkdir()
    mask = os.umask(0o077)
    try:
        again = release.make(tmp_path / "again" / made.version)
    finally:
        os.umask(mask)
    assert content(again) == content(made)

    with pytest.raises(SystemExit, match="a release never changes"):
        release.main(tmp_path)
