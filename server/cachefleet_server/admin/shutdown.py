"""Stopping the server: the SHUTDOWN command and what SIGTERM and SIGINT do.

Between the request and the exit nothing may be acknowledged that is not on disk. So the request pauses all clients at
once, also in the middle of a tick; the rest runs as a task after that tick, when its journal has been written: the
final snapshot if one is due, then the exit (which closes the AOF). If the snapshot fails and FORCE was not given,
clients go on as if nothing had happened.

There is nothing to wait for without replicas: NOW, FORCE (but for a save that fails), SAFE and shutdown-timeout change
nothing, and a shutdown that began cannot be aborted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from cachefleet_server.command_spec import row
from cachefleet_server.config.config import Config
from cachefleet_server.engine import Client, Engine
from cachefleet_server.errors import CachefleetError, CommandError
from cachefleet_server.log import Log
from cachefleet_server.replies import NO_REPLY, Reply

_FOREVER_MS = 1 << 40
_FAILED = "ERR Errors trying to SHUTDOWN. Check logs."
_OPTIONS = ("nosave", "save", "now", "force", "safe", "failover", "abort")


class Shutdown:
    """Decides and does the last steps. `save` writes a snapshot and raises when it cannot; `leave` ends the server."""

    def __init__(
        self, engine: Engine, config: Config, log: Log, *, save: Callable[[], None], leave: Callable[[int], None]
    ) -> None:
        self._engine = engine
        self._config = config
        self._log = log
        self._save = save
        self._leave = leave
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
        """Begins a shutdown: from now on clients wait. The awaitable raises CommandError when it failed."""
        self.running = True
        self._engine.pause("shutdown", _FOREVER_MS, everything=True)
        return self._finish(frozenset(options))

    async def _finish(self, options: frozenset[str]) -> None:
        self._log.notice("User requested shutdown...")
        loading = bool(self._engine.stats().get("loading"))
        due = "save" in options or (bool(self._config.value("save")) and "nosave" not in options)
        if due and not loading:
            self._log.notice("Saving the final RDB snapshot before exiting.")
            try:
                self._save()
            except (CachefleetError, OSError) as error:
                if "force" not in options:
                    self._log.warning(f"Error trying to save the DB, can't exit: {error}")
                    self.running = False
                    self._engine.unpause("shutdown")
                    raise CommandError(_FAILED) from None
                self._log.warning(f"Error trying to save the DB, but the exit is forced: {error}")
        self._leave(0)

    def _command(self, client: Client, argv: list[bytes]) -> Reply:
        options = {word.decode("latin-1").lower() for word in argv[1:]}
        if not options <= set(_OPTIONS) or options >= {"save", "nosave"} or (len(options) > 1 and "abort" in options):
            raise CommandError("ERR syntax error")
        if "failover" in options:
            raise CommandError("ERR SHUTDOWN FAILOVER is only supported in cluster mode.")
        if "abort" in options:
            raise CommandError("ERR No shutdown in progress.")
        return self._quietly(self.request(options))

    async def _quietly(self, finished: Awaitable[None]) -> Reply:
        await finished
        return NO_REPLY  # The connection closes with the server.
