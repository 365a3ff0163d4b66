"""Stopping the server: the SHUTDOWN command and what SIGTERM and SIGINT do.

Between the request and the exit nothing may be acknowledged that is not on disk. So the request pauses all clients at
once, also in the middle of a tick; the rest runs as a task after that tick, when its journal has been written: the
final snapshot if one is due, then the exit (which closes the AOF). If the snapshot fails and FORCE was not given,
clients go on as if nothing had happened.

Where a replica has not confirmed all that there is, writes alone are paused first, and nothing is put into the stream,
until all have, for at most `shutdown-timeout` seconds: then any of them has everything, and finds its place in the
stream again after the restart. NOW leaves that out, and ABORT ends it, as if the snapshot had failed. Who asks for a
shutdown while one runs is answered with it. SAFE changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol

from cachefleet_server.command_spec import row
from cachefleet_server.config.config import Config
from cachefleet_server.engine import Client, Engine
from cachefleet_server.errors import CachefleetError, CommandError
from cachefleet_server.log import Log
from cachefleet_server.replies import NO_REPLY, OK, Reply

LOOK_EVERY_S: Final = 0.02
_FOREVER_MS: Final = 1 << 40
_FAILED: Final = "ERR Errors trying to SHUTDOWN. Check logs."
_OPTIONS: Final = ("nosave", "save", "now", "force", "safe", "failover", "abort")


class Replicas(Protocol):
    """Those of ours: replication.service."""

    def lagging(self) -> list[str]:
        """Those that have not confirmed all that there is, and how far they are."""


class Shutdown:
    """Decides and does the last steps. `save` writes a snapshot and raises when it cannot; `leave` ends the server."""

    def __init__(
        self,
        engine: Engine,
        config: Config,
        log: Log,
        replicas: Replicas,
        *,
        save: Callable[[], None],
        leave: Callable[[int], None],
    ) -> None:
        self._engine = engine
        self._config = config
        self._log = log
        self._replicas = replicas
        self._save = save
        self._leave = leave
        self._ending: asyncio.Task[None] | None = None
        self._waits = False  # for replicas
        self.running = False

    def register(self) -> None:
        self._engine.register(
            row("shutdown", -1, "admin allow_busy loading no_multi noscript stale", "", "",
                "server 1.0.0 O(N) when saving, where N is the total number of keys in all databases when saving data, "
                "otherwise O(1); history 7.0.0 Added the `NOW`, `FORCE` and `ABORT` modifiers."
                "; history 9.0.0 Added the `SAFE` and `FAILOVER` modifiers.",
                "Synchronously saves the database(s) to disk and shuts down the server.",
                "[abort-selector(save-selector-block{[save-selector(NOSAVE | SAVE)] [NOW@7.0.0] [FORCE@7.0.0] "
                "[SAFE@9.0.0] [FAILOVER@9.0.0]} | ABORT@7.0.0)]"), self._command, may_wait=True)

    def request(self, options: Iterable[str]) -> Awaitable[None]:
        """Begins a shutdown, or joins the one that runs: from now on clients wait. The awaitable raises CommandError
        when it failed."""
        if not self.running:
            wanted = frozenset(options)
            timeout_s = 0 if "now" in wanted else self._config.number("shutdown-timeout")
            self._waits = bool(timeout_s and self._replicas.lagging())
            self.running = True
            self._pause(everything=not self._waits)
            self._ending = asyncio.get_running_loop().create_task(self._finish(wanted, timeout_s))
            self._ending.add_done_callback(lambda task: task.exception())  # whoever asked may have gone
        assert self._ending is not None
        return asyncio.shield(self._ending)

    def _pause(self, *, everything: bool) -> None:
        self._engine.pause("shutdown", _FOREVER_MS, everything=everything)

    def _give_up(self) -> CommandError:
        self.running = False
        self._engine.unpause("shutdown")
        return CommandError(_FAILED)

    async def _finish(self, options: frozenset[str], timeout_s: float) -> None:
        self._log.notice("User requested shutdown...")
        if self._waits:
            await self._let_replicas_catch_up(time.monotonic() + timeout_s)
            self._pause(everything=True)
        loading = bool(self._engine.stats().get("loading"))
        due = "save" in options or (bool(self._config.value("save")) and "nosave" not in options)
        if due and not loading:
            self._log.notice("Saving the final RDB snapshot before exiting.")
            try:
                self._save()
            except (CachefleetError, OSError) as error:
                if "force" not in options:
                    self._log.warning(f"Error trying to save the DB, can't exit: {error}")
                    raise self._give_up() from None
                self._log.warning(f"Error trying to save the DB, but the exit is forced: {error}")
        self._leave(0)

    async def _let_replicas_catch_up(self, deadline: float) -> None:
        self._log.notice("Waiting for replicas before shutting down.")
        while (behind := self._replicas.lagging()) and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_EVERY_S)
            if not self._waits:
                self._log.warning("Shutdown manually aborted.")
                raise self._give_up()
        self._waits = False
        for replica in behind:
            self._log.warning(f"A replica has not confirmed all at the exit: {replica}")

    def _command(self, client: Client, argv: list[bytes]) -> Reply:
        options = {word.decode("latin-1").lower() for word in argv[1:]}
        if not options <= set(_OPTIONS) or options >= {"save", "nosave"} or (len(options) > 1 and "abort" in options):
            raise CommandError("ERR syntax error")
        if "failover" in options:
            raise CommandError("ERR SHUTDOWN FAILOVER is only supported in cluster mode.")
        if "abort" in options:
            return self._abort()
        return self._quietly(self.request(options))

    def _abort(self) -> Reply:
        if not self._waits:
            raise CommandError("ERR No shutdown in progress.")
        self._waits = False
        return OK

    async def _quietly(self, finished: Awaitable[None]) -> Reply:
        await finished
        return NO_REPLY  # The connection closes with the server.
