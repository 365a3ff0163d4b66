"""FAILOVER as a part of the server: its row, and the hands of failover.py.

While a target is waited for, what replicas have confirmed is looked at each LOOK_EVERY_S. The rest is others': the
pause is the engine's, the connection with the target replica.py's.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

from cachefleet_server.command_spec import row
from cachefleet_server.engine import Client, Engine
from cachefleet_server.errors import CommandError
from cachefleet_server.log import Log
from cachefleet_server.replication import failover as f
from cachefleet_server.replies import OK, Reply

LOOK_EVERY_S: Final = 0.02
_FOREVER_MS: Final = 1 << 40


class Replicas(Protocol):
    """Those of ours: service.py."""

    @property
    def failover(self) -> f.Failover: ...
    @property
    def managed(self) -> bool: ...
    @property
    def end(self) -> int: ...  # of the stream
    def candidates(self) -> list[f.Candidate]: ...


class Following(Protocol):
    """What makes us a replica: replica.py."""

    @property
    def following(self) -> bool: ...
    def hand_over(self, host: str, port: int) -> None: ...
    def lead(self, why: str) -> None: ...


class Handover:
    def __init__(self, engine: Engine, log: Log, replicas: Replicas, following: Following) -> None:
        self._engine = engine
        self._log = log
        self._replicas = replicas
        self._following = following
        self._timer: asyncio.TimerHandle | None = None

    # -- life, as server.py wants it

    def register(self) -> None:
        self._engine.register(
            row("failover", -1, "admin noscript stale", "", "", "server 6.2.0 O(1)",
                "Makes a replica that has everything the primary, and follows it.",
                "[TO target{host:string port:integer [FORCE]}] [ABORT] [TIMEOUT milliseconds:integer]"),
            self._command)

    async def start(self) -> None: ...

    def cron(self) -> None: ...

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # -- the command

    def _command(self, client: Client, argv: list[bytes]) -> Reply:
        if self._replicas.managed:
            raise CommandError("ERR This server is managed: who follows whom is the operator's to say.")
        words = [word.decode("utf-8", "surrogateescape") for word in argv[1:]]
        if [word.lower() for word in words] == ["abort"]:
            self._handle(f.Aborted())
            return OK
        self._handle(f.Requested(f.parse(words), self._following.following, self._replicas.candidates()))
        self._look_soon()
        return OK

    def answered(self, declined: str) -> None:
        """The target has."""
        self._handle(f.Answered(declined))

    # -- the state machine's hands

    def _handle(self, event: f.Event) -> None:
        for action in self._replicas.failover.handle(event, time.monotonic()):
            self._perform(action)

    def _perform(self, action: f.Action) -> None:
        match action:
            case f.Pause():
                self._engine.pause("failover", _FOREVER_MS, everything=False)
            case f.Resume():
                self._engine.unpause("failover")
            case f.Follow(target):
                self._following.hand_over(target.host, target.port)
            case f.Lead():
                self._following.lead("a failover ended without effect")
            case f.Note(text):
                self._log.notice(text)

    def _look_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        """Between two ticks: all that was executed is in the stream."""
        self._timer = None
        self._handle(f.Looked(self._replicas.end, self._replicas.candidates()))
        if self._replicas.failover.state is f.State.WAITING:
            self._look_soon()
