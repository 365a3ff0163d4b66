"""Fixtures of the keyspace's tests; a module that wants another engine has its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cachefleet_server.engine import Engine


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    assert made.check() == []
    made.close()
