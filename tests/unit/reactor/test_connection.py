"""Connections that end."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest

from cachefleet_server.engine import Engine

pytestmark = pytest.mark.unit


def watched() -> int:
    """How many descriptors the epoll sets of this process hold."""
    count = 0
    for info in Path("/proc/self/fdinfo").iterdir():
        with contextlib.suppress(OSError):  # that of the folder is gone
            count += info.read_text().count("tfd:")
    return count


def test_nothing_is_heard_of_a_connection_that_is_gone_while_somebody_has_a_copy_of_its_descriptor() -> None:
    """A snapshot that is sent to a replica has one. What the copy still hears must not come to a client that was."""
    engine = Engine()
    before = watched()
    near, far = socket.socketpair()
    far.setblocking(False)
    copy = os.dup(far.fileno())
    engine.add_client(far.detach())
    assert watched() == before + 1
    near.close()  # an end of file, for as long as somebody asks
    engine.tick()
    assert (engine.client_count, watched()) == (0, before)
    engine.tick()
    assert engine.check() == []
    engine.close()
    os.close(copy)
