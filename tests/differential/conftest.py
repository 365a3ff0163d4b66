"""Fixtures of differential tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleettest.instance import Pool


@pytest.fixture
def fresh() -> Iterator[Pool]:
    """Servers on which no other test has set anything: a parameter left behind would look like a difference."""
    pool = Pool()
    yield pool
    pool.close()
