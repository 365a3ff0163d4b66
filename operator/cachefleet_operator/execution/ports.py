"""Objects and Servers: all that execution knows of the place where Caches live.

Three pairs of them exist: Kubernetes (kube/), processes on this machine (local/), and the simulated cluster of the
tests. Observer and interpreter stand above them and know none of the three.

Both raise ExecutionError (errors.py) and nothing else. Objects are the API's plain dicts, which nobody changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import hiredis

from cachefleet_operator.api.objects import Key, Object
from cachefleet_operator.api.v1alpha1 import CacheKey

Command = Sequence[bytes]
Reply = bytes | int | None | list["Reply"] | hiredis.ReplyError


class Endpoint(NamedTuple):
    """Where a server is asked, as whom, and the passwords that it may have: the wished one first, b"" for none."""

    host: str
    port: int
    passwords: tuple[bytes, ...]
    user: bytes = b""  # the default user


class Objects(Protocol):
    """The objects of a cluster. What a write made of an object is `known` at once."""

    def cache(self, key: CacheKey) -> Object | None:
        """The Cache as it is known, without asking anybody."""

    def known(self, key: CacheKey) -> Mapping[Key, Object]:
        """What carries the label of this Cache, whoever put it there; without asking anybody."""

    async def get(self, namespace: str, key: Key) -> Object | None:
        """Asked for now: for what carries no label of ours. None: there is none."""

    async def apply(self, namespace: str, obj: Object) -> Object:
        """Server-side apply of a whole object, forced; as it lives afterwards."""

    async def create(self, namespace: str, obj: Object) -> Object:
        """A conflict if there is one of that name."""

    async def patch(self, namespace: str, key: Key, patch: Object, subresource: str = "") -> Object:
        """JSON merge patch. metadata.uid and resourceVersion in it are preconditions: a conflict if they do not hold,
        or if there is no such object."""

    async def delete(self, namespace: str, key: Key, uid: str, *, orphan: bool = False) -> None:
        """Of this very object; that it is gone is success. `orphan`: what it owns stays."""

    async def events_of(self, namespace: str, uid: str, reason: str) -> Sequence[Object]:
        """What is told of one object with this word; the newest last."""


class Line(Protocol):
    """A connection to one server that is kept, logged in. It belongs to who made the call; nobody else asks by it."""

    async def ask(self, commands: Sequence[Command]) -> list[Reply]:
        """A reply to each command. After an error, or when it was cancelled, it can only be closed: another connection
        may work, for servers close those that are idle or were told to."""

    def close(self) -> None:
        """At once, without a word; twice is once."""


class Servers(Protocol):
    """The servers in pods, asked in RESP."""

    def address(self, pod: Object) -> tuple[str, int] | None:
        """Host and port of a pod's server; None while none runs there."""

    async def ask(self, endpoint: Endpoint, commands: Sequence[Command]) -> tuple[bytes, list[Reply]]:
        """The password that was taken (b"" where none is needed), and a reply to each command. Changes nothing."""

    async def call(self, endpoint: Endpoint, commands: Sequence[Command]) -> tuple[Line, bytes, list[Reply]]:
        """`ask` on a connection that stays open afterwards, for whoever called."""

    async def tell(self, endpoint: Endpoint, run_id: str, commands: Sequence[Command]) -> list[Reply]:
        """The same for commands that change something, by who may. If `run_id` is given, another process than that one
        is told nothing: a conflict."""
