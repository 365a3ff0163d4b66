"""Fixtures of several commands' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleettest.reference import Pair


@pytest.fixture
def passive(pair: Pair) -> Iterator[Pair]:
    """Both servers, where nothing expires but when it is met."""
    pair.flush()
    pair.run("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    yield pair
    pair.run("DEBUG", "SET-ACTIVE-EXPIRE", 1)
