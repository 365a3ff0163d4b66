"""Fixtures of unit tests; each module has an `engine` of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from cachefleet_server.engine import Engine
from fleettest.peers import Peer, connecting


@pytest.fixture
def connect(engine: Engine) -> Iterator[Callable[..., Peer]]:
    """Makes connections to the module's engine."""
    with connecting(engine) as make:
        yield make
