"""COMMANDLOG and SLOWLOG: the most recent commands that were slow, or had a large request or reply.

Three bounded logs of one shape. The engine reports a command once it has run and crossed a threshold; until then
nothing is kept. It trims the arguments (client_view.pyx), so that a large one is never copied and a log holds little
memory: at most 32 of them and 128 bytes of each, the rest is said in words.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import islice

from cachefleet_server.admin.arguments import help_lines, integer
from cachefleet_server.admin.redaction import redact
from cachefleet_server.command_spec import row
from cachefleet_server.engine import Client, Engine
from cachefleet_server.errors import CommandError
from cachefleet_server.replies import OK, Reply

TYPES = (b"slow", b"large-request", b"large-reply")
LENGTH_PARAMETERS = (
    "slowlog-max-len", "commandlog-large-request-max-len", "commandlog-large-reply-max-len",
)  # fmt: skip
HELP_SLOW = (
    "GET [<count>]",
    "    The newest <count> entries (default: 10, -1: all): id, time, microseconds,",
    "    arguments, client address, client name.",
    "LEN",
    "    How many entries there are.",
    "RESET",
    "    Forget them.",
)
HELP = (
    "GET <count> <type>",
    "    The newest <count> entries (-1: all) of a type: slow, large-request or",
    "    large-reply. The third field is microseconds or bytes.",
    "LEN <type>",
    "    How many entries there are.",
    "RESET <type>",
    "    Forget them.",
)


@dataclass(frozen=True, slots=True)
class Entry:
    id: int
    unix_time: int
    value: int  # microseconds or bytes
    argv: list[bytes]
    peer: bytes
    name: bytes

    def reply(self) -> Reply:
        return [self.id, self.unix_time, self.value, self.argv, self.peer, self.name]


class CommandLog:
    """`length` gives the maximum of one log, by its parameter's name; read at each use, so a change acts at once.
    `secret_parameters` are never shown."""

    def __init__(self, engine: Engine, length: Callable[[str], int], secret_parameters: Collection[str]) -> None:
        self.engine = engine
        self.length = length
        self.secret_parameters = secret_parameters
        self.logs: tuple[deque[Entry], ...] = (deque(), deque(), deque())
        self.next_ids = [0, 0, 0]
        self.last_slow_us = 0
        engine.on_commandlog = self.add

    def add(self, kind: int, client: Client, argv: list[bytes], value: int) -> None:
        """`kind` is an index of TYPES. A length of 0 stops a log; what it holds stays."""
        limit = self.length(LENGTH_PARAMETERS[kind])
        if limit <= 0:
            return
        log = self.logs[kind]
        shown = redact(argv, self.secret_parameters)
        peer = client.peer().encode("utf-8", "surrogateescape")
        log.appendleft(Entry(self.next_ids[kind], int(time.time()), value, shown, peer, client.name))
        self.next_ids[kind] += 1
        if kind == 0:
            self.last_slow_us = value
        while len(log) > limit:
            log.pop()

    def status(self) -> dict[str, int]:
        return {
            "slowlog_length": len(self.logs[0]),
            "slowlog_last_id": self.next_ids[0] - 1,
            "slowlog_last_us": self.last_slow_us,
        }

    # ---- commands

    def register(self) -> None:
        admin = "admin loading stale"
        o1 = "server {} O(1)"
        get = (
            "server {} O(N) where N is the number of entries returned"
            "; tips request_policy:all_nodes nondeterministic_output"
        )
        length = "server {} O(1); tips request_policy:all_nodes response_policy:agg_sum nondeterministic_output"
        reset = (
            "server {} O(N) where N is the number of entries in the {}"
            "; tips request_policy:all_nodes response_policy:all_succeeded"
        )
        address = "; history 4.0.0 Added client IP address, port and name to the reply."
        kind = "type(SLOW | LARGE-REQUEST | LARGE-REPLY)"
        rows = [
            ("slowlog", -2, "container", "server 2.2.12 Depends on subcommand.", "Commands about the slow log.", "",
             None),
            ("slowlog|get", -2, admin, get.format("2.2.12") + address, "Returns the slow log.",
             "[count:integer]", self.slowlog_get),
            ("slowlog|help", 2, "loading stale", o1.format("6.2.0"), "Describes the subcommands.", "",
             self.slowlog_help),
            ("slowlog|len", 2, admin, length.format("2.2.12"), "Returns the slow log's length.", "",
             self.slowlog_len),
            ("slowlog|reset", 2, admin, reset.format("2.2.12", "slowlog"), "Empties the slow log.", "",
             self.slowlog_reset),
            ("commandlog", -2, "container", "server 8.1.0 Depends on subcommand.", "Commands about the command logs.",
             "", None),
            ("commandlog|get", 4, admin, get.format("8.1.0"), "Returns one of the command logs.",
             "count:integer " + kind, self.get),
            ("commandlog|help", 2, "loading stale", o1.format("8.1.0"), "Describes the subcommands.", "", self.help),
            ("commandlog|len", 3, admin, length.format("8.1.0"), "Returns the length of a command log.", kind,
             self.length_of),
            ("commandlog|reset", 3, admin, reset.format("8.1.0", "commandlog"), "Empties a command log.", kind,
             self.reset),
        ]  # fmt: skip
        for name, arity, flags, about, summary, syntax, function in rows:
            self.engine.register(row(name, arity, flags, "", "", about, summary, syntax), function)

    def _newest(self, kind: int, count: int) -> Reply:
        log = self.logs[kind]
        return [entry.reply() for entry in islice(log, len(log) if count == -1 else count)]

    @staticmethod
    def _count(word: bytes) -> int:
        return integer(word, "ERR count should be greater than or equal to -1", low=-1)

    @staticmethod
    def _kind(word: bytes) -> int:
        if word.lower() not in TYPES:
            names = ", ".join(t.decode() for t in TYPES)
            raise CommandError(f"ERR type should be one of the following: {names}")
        return TYPES.index(word.lower())

    def slowlog_get(self, client: Client, argv: list[bytes]) -> Reply:
        if len(argv) > 3:
            raise CommandError("ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.")
        return self._newest(0, self._count(argv[2]) if len(argv) == 3 else 10)

    def slowlog_len(self, client: Client, argv: list[bytes]) -> Reply:
        return len(self.logs[0])

    def slowlog_reset(self, client: Client, argv: list[bytes]) -> Reply:
        self.logs[0].clear()
        return OK

    def slowlog_help(self, client: Client, argv: list[bytes]) -> Reply:
        return help_lines("SLOWLOG", HELP_SLOW)

    def get(self, client: Client, argv: list[bytes]) -> Reply:
        count = self._count(argv[2])
        return self._newest(self._kind(argv[3]), count)

    def length_of(self, client: Client, argv: list[bytes]) -> Reply:
        return len(self.logs[self._kind(argv[2])])

    def reset(self, client: Client, argv: list[bytes]) -> Reply:
        self.logs[self._kind(argv[2])].clear()
        return OK

    def help(self, client: Client, argv: list[bytes]) -> Reply:
        return help_lines("COMMANDLOG", HELP)
