"""Fixtures of several files here. `local` (fleettest.local) is not for the whole suite: it imports the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fleettest.disk import AOF_OPTIONS, Disk
from fleettest.instance import Instance
from fleettest.local import local
from fleettest.managedfleet import Begin, Fleet, managed_servers
from fleettest.programs import Kind
from fleettest.proxy import Proxy
from fleettest.replicas import Start

__all__ = ["local"]


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """Servers with an AOF on a disk that can fail."""
    return Disk(tmp_path, AOF_OPTIONS)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server of a kind; `of` is whom it follows."""
    started: list[Instance] = []

    def begin(kind: Kind = "cachefleet", of: Proxy | Instance | None = None, **options: str | int) -> Instance:
        named = {name.replace("_", "-"): value for name, value in options.items()}
        follows = {} if of is None else {"replicaof": of.address}
        usual = {
            "enable-debug-command": "yes", "repl-ping-replica-period": 1, "repl-diskless-sync-delay": 0,
            "repl-timeout": 20,
        }  # fmt: skip
        server = Instance(kind, directory=tmp_path / f"server{len(started)}", options={**usual, **follows, **named})
        started.append(server.start())
        return server

    yield begin
    for server in started:
        server.close()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Begin]:
    with ExitStack() as stack:
        yield lambda count, **options: Fleet(stack.enter_context(managed_servers(tmp_path, count, **options)))
