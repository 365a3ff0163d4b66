"""Managed servers as processes, and a test that is their operator: it writes records, and tells them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleettest.client import Connection, Error
from fleettest.instance import Instance
from fleettest.wait import assert_eventually

DATA = "d" * 40
State = dict[str, str]


def ask(server: Instance | Connection, *words: str | int) -> Any:
    return server.call("CACHEFLEET", *words)


def fields(reply: Any) -> State:
    assert isinstance(reply, list), reply
    words = [word.decode() for word in reply]
    return dict(zip(words[::2], words[1::2], strict=True))


def state(server: Instance) -> State:
    return fields(ask(server, "STATE"))


def in_tenure(server: Instance, tenure: str) -> State | None:
    said = state(server)
    return said if said["tenure"] == tenure else None


def writes(server: Instance) -> bool:
    return bool(server.call("SET", "k", "v") == "OK")


def refused(server: Instance) -> bool:
    reply = server.call("SET", "k", "v")
    return isinstance(reply, Error) and reply.startswith("READONLY ")


class Fleet:
    """Servers, and the newest record."""

    def __init__(self, servers: list[Instance], durability: str = "async") -> None:
        self.servers = servers
        self.durability = durability
        self.epoch = 0
        self.tenure = 0
        self.primary = servers[0]
        self.run = ""
        self.members: list[str] = []
        self.acks = 0
        self.start = "0:0"
        self.kind = "first"
        self.data_set = DATA
        self.primary_disk = ""

    def disk(self, server: Instance) -> str:
        return state(server)["disk"]

    def decide(
        self, kind: str, primary: Instance, at: State, *, acks: int = 1, members: list[str] | None = None
    ) -> None:
        """A new record."""
        self.epoch += 1
        self.kind, self.primary, self.run, self.acks = kind, primary, at["run"], acks
        if kind != "continued":
            self.tenure, self.start = self.epoch, f"{at['tenure']}:{at['offset']}"
        self.primary_disk = at["disk"]
        if members is not None:
            self.members = members

    def tell(self, server: Instance, disk: str = "") -> Any:
        return ask(
            server, "RECORD", disk or self.disk(server), "epoch", self.epoch, "tenure", self.tenure, "kind", self.kind,
            "primary", self.primary_disk, "run", self.run, "set", ",".join(self.members), "acks", self.acks,
            "from", self.start, "data-set", self.data_set, "durability", self.durability,
            "address", "127.0.0.1", self.primary.port,
        )  # fmt: skip

    def tell_all(self) -> None:
        for server in (self.primary, *(s for s in self.servers if s is not self.primary)):
            if server.alive():
                assert self.tell(server) == "OK"

    def begin(self, acks: int = 1) -> Fleet:
        first = self.servers[0]
        self.decide("first", first, state(first), acks=acks, members=[self.disk(server) for server in self.servers])
        self.tell_all()
        assert_eventually(lambda: writes(self.primary))
        return self

    def fence(self, server: Instance) -> State:
        return fields(ask(server, "FENCE", self.disk(server), self.epoch + 1))


@contextmanager
def managed_servers(folder: Path, count: int, **options: str) -> Iterator[list[Instance]]:
    started: list[Instance] = []
    try:
        for i in range(count):
            parameters = {"managed": "yes", "appendonly": "yes", "enable-debug-command": "yes", **options}
            started.append(Instance(directory=folder / f"server{i}", options=parameters).start())
        yield started
    finally:
        for server in started:
            server.close()


Begin = Callable[..., Fleet]  # of so many servers, with their options
