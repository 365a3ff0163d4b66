"""Fixtures of several files here. `local` (fleettest.local) is not for the whole suite: it imports the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettest.disk import AOF_OPTIONS, Disk
from fleettest.local import local

__all__ = ["local"]


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """Servers with an AOF on a disk that can fail."""
    return Disk(tmp_path, AOF_OPTIONS)
