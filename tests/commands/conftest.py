"""Fixtures of several commands' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleettest.client import Connection
from fleettest.instance import Instance
from fleettest.reference import Pair


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def c(request: pytest.FixtureRequest, server: Instance) -> Iterator[Connection]:
    """Our server alone, emptied, once per protocol version: for what no other server here has."""
    with server.connect(resp=request.param) as connection:
        connection.call("FLUSHALL")
        yield connection


@pytest.fixture
def passive(pair: Pair) -> Iterator[Pair]:
    """Both servers, where nothing expires but when it is met."""
    pair.flush()
    pair.run("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    yield pair
    pair.run("DEBUG", "SET-ACTIVE-EXPIRE", 1)
