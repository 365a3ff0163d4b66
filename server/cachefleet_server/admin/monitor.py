"""MONITOR: a line for each command that any client runs.

    +1339518083.107412 [0 127.0.0.1:60866] "keys" "*"

The engine calls back after a command ran, only while somebody watches. Administrative commands never get here; the
secrets of others are replaced.
"""

from __future__ import annotations

import time

from cachefleet_server.admin.redaction import redact
from cachefleet_server.command_spec import row
from cachefleet_server.engine import Client, ClientFlag, Engine
from cachefleet_server.errors import CommandError
from cachefleet_server.replies import NO_REPLY, OK, Reply, Simple

ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"', 10: "\\n", 13: "\\r", 9: "\\t", 7: "\\a", 8: "\\b"}
QUOTED = [ESCAPES.get(b) or (chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in range(256)]


def quote(word: bytes) -> str:
    """An argument in double quotes, with the escapes that redis-cli and inline requests understand."""
    return '"' + "".join(QUOTED[b] for b in word) + '"'


class Monitor:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        engine.on_monitor = self._feed

    def register(self) -> None:
        self.engine.register(
            row("monitor", 1, "admin noscript loading stale", "", "", "server 1.0.0 O(1)",
                "Shows every command that the server runs.", ""),
            self.monitor,
        )  # fmt: skip

    def monitor(self, client: Client, argv: list[bytes]) -> Reply:
        if client.in_multi:
            raise CommandError("ERR MONITOR isn't allowed in a transaction")
        if client.flags & ClientFlag.MONITOR:
            return NO_REPLY  # as in Valkey
        self.engine.set_monitor(client.id)
        return OK

    def _feed(self, client: Client, argv: list[bytes]) -> None:
        words = " ".join(map(quote, redact(argv, ())))
        line = f"{time.time():.6f} [{client.db} {client.peer()}] {words}"
        self.engine.feed_monitors(Simple(line))
