"""DEBUG: what test suites and people hunting a bug use. Refused unless `enable-debug-command` says yes or local.

Subcommands that only concern parts this server does not have (replication internals, cluster links) are unknown here,
except the switches that test suites flip blindly, which are accepted and do nothing.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable

from cachefleet_parameters.kinds import parse_memory
from cachefleet_server.admin.arguments import SYNTAX, help_lines, integer, is_local, text
from cachefleet_server.admin.table_text import table_lines
from cachefleet_server.command_spec import row
from cachefleet_server.config.config import Config
from cachefleet_server.engine import Client, Engine
from cachefleet_server.errors import CommandError, DataError, StartupError
from cachefleet_server.log import Log
from cachefleet_server.persistence.aof import Aof
from cachefleet_server.persistence.rdb import Rdb, at_once
from cachefleet_server.replies import OK, BigNumber, Error, Push, Reply, Simple, Verbatim

REFUSED = (
    'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a local '
    "connection, otherwise you need to set this option in the configuration file, and then restart the server."
)
SLEEP_SECONDS_MAX = 3600.0
PACKED_THRESHOLD_MAX = 4096 * 1024 * 1024 - 1024 * 1024
HELP = (
    "DIGEST",
    "    A signature of all data.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    A signature of each key's value.",
    "ERROR <string>",
    "    Reply with this error.",
    "HTSTATS <dbid> [full]",
    "    Sizes of a database's hash tables. With full, how long their chains are.",
    "HTSTATS-KEY <key> [full]",
    "    The same of a value's hash table.",
    "LOADAOF",
    "    Flush the append only file, empty the databases, and load it.",
    "LISTPACK <key>",
    "    Write to the log how a small value is stored.",
    "LOG <message>",
    "    Write a line to the log.",
    "OBJECT <key> [fast]",
    "    How a value is stored. With fast, without what takes time to find out.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Make string keys prefix:0, prefix:1 ...",
    "PROTOCOL <type>",
    "    A reply of each type: string integer double bignum null array set map verbatim push true false.",
    "QUICKLIST <key> [<0|1>]",
    "    Write to the log how a large list is stored.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Accepted, and without effect.",
    "RELOAD [NOSAVE]",
    "    Save, empty, and load the RDB file.",
    "SEGFAULT",
    "    Crash.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Turn the removal of expired keys in the background off or on.",
    "SLEEP <seconds>",
    "    Hold the server up.",
    "SLICES",
    "    How many keys one slice of active expiry looked at, and one of eviction deleted, at most (CONFIG RESETSTAT).",
)
PROTOCOL: dict[bytes, Reply] = {
    b"string": b"Hello World",
    b"integer": 12345,
    b"double": 3.141,
    b"null": None,
    b"array": [0, 1, 2],
    b"set": {0, 1, 2},
    b"map": {0: False, 1: True, 2: False},
    b"bignum": BigNumber("1234567999999999999999999999999999999"),
    b"verbatim": Verbatim("txt", "This is a verbatim\nstring"),
    b"push": Push(["server-cpu-usage", 42]),
    b"true": True,
    b"false": False,
}


def _is_full(argv: list[bytes]) -> bool:
    return len(argv) > 3 and argv[3].lower() == b"full"


class Debug:
    def __init__(self, engine: Engine, config: Config, log: Log, rdb: Rdb, aof: Aof) -> None:
        self.engine = engine
        self.config = config
        self.log = log
        self.rdb = rdb
        self.aof = aof
        self.actions: dict[bytes, tuple[Callable[[Client, list[bytes]], Reply], int, int]] = {
            b"help": (lambda c, a: help_lines("DEBUG", HELP), 2, 2),
            b"digest": (lambda c, a: Simple(self.engine.digest().hex()), 2, 2),
            b"digest-value": (self.digest_value, 2, 1 << 20),
            b"error": (lambda c, a: Error(text(a[2])), 3, 3),
            b"htstats": (self.table_of_database, 3, 1 << 20),
            b"htstats-key": (self.table_of_value, 3, 1 << 20),
            b"loadaof": (self.load_aof, 2, 1 << 20),
            b"listpack": (self.print_value, 3, 3),
            b"log": (self.write_log, 3, 3),
            b"object": (self.object, 3, 4),
            b"populate": (self.populate, 3, 5),
            b"protocol": (self.protocol, 3, 3),
            b"quicklist": (self.print_value, 3, 4),
            b"quicklist-packed-threshold": (self.packed_threshold, 3, 3),
            b"reload": (self.reload, 2, 5),
            b"segfault": (self.segfault, 2, 2),
            b"set-active-expire": (self.set_active_expire, 3, 3),
            b"sleep": (self.sleep, 3, 3),
            b"slices": (self.slices, 2, 2),
        }
        for name in (b"dict-resizing", b"hashtable-can-abort-shrink", b"pause-cron"):
            self.actions[name] = (lambda c, a: OK, 3, 3)
        self.actions[b"replybuffer"] = (lambda c, a: OK, 4, 4)

    def register(self) -> None:
        self.engine.register(
            row("debug", -2, "admin noscript loading stale", "", "",
                "server 1.0.0 Depends on subcommand.; doc_flags syscmd", "Helps to find bugs.", ""),
            self.command,
        )  # fmt: skip

    def _allowed(self, client: Client) -> bool:
        mode = self.config.text("enable-debug-command")
        return mode == "yes" or (mode == "local" and is_local(client))

    def command(self, client: Client, argv: list[bytes]) -> Reply:
        if not self._allowed(client):
            raise CommandError(REFUSED)
        action, fewest, most = self.actions.get(argv[1].lower(), (None, 0, 0))
        if action is None or not fewest <= len(argv) <= most:
            raise CommandError(
                f"ERR unknown subcommand or wrong number of arguments for '{text(argv[1])}'. Try DEBUG HELP."
            )
        return action(client, argv)

    def slices(self, client: Client, argv: list[bytes]) -> Reply:
        stats = self.engine.stats()
        return {"expire": stats["expire_slice_keys_max"], "evict": stats["evict_slice_keys_max"]}

    def sleep(self, client: Client, argv: list[bytes]) -> Reply:
        try:
            seconds = float(argv[2])
        except ValueError:
            seconds = math.nan
        if math.isnan(seconds):
            raise CommandError("ERR value is not a valid float")
        time.sleep(min(max(seconds, 0.0), SLEEP_SECONDS_MAX))
        return OK

    def set_active_expire(self, client: Client, argv: list[bytes]) -> Reply:
        self.engine.set_param("active_expire_enabled", integer(argv[2]))
        return OK

    def write_log(self, client: Client, argv: list[bytes]) -> Reply:
        self.log.warning(f"DEBUG LOG: {text(argv[2])}")
        return OK

    def segfault(self, client: Client, argv: list[bytes]) -> Reply:
        os.kill(os.getpid(), signal.SIGSEGV)
        return OK

    def protocol(self, client: Client, argv: list[bytes]) -> Reply:
        if argv[2].lower() not in PROTOCOL:
            raise CommandError("ERR Wrong protocol type name. Please use one of the following: "
                               "string|integer|double|null|array|set|map|attrib|push|verbatim|true|false")  # fmt: skip
        return PROTOCOL[argv[2].lower()]

    def reload(self, client: Client, argv: list[bytes]) -> Reply:
        options = [word.lower() for word in argv[2:]]
        if not set(options) <= {b"nosave", b"noflush", b"merge"}:
            raise CommandError("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")
        if client.in_multi:
            raise CommandError(SYNTAX)
        try:
            if b"nosave" not in options:
                self.rdb.save()
            if b"noflush" in options:
                at_once(self.rdb.load(self.rdb.path(), replace=b"merge" in options))
            else:
                # The journal hears nothing of this, but for keys that are left out because their time has passed.
                loaded = self.engine.new_keyspace()
                at_once(self.rdb.load(self.rdb.path(), into=loaded, journal_expired=True))
                self.engine.take_keyspace(loaded)
            if options:  # the file may have been another one
                self.aof.write_anew()
        except (StartupError, DataError) as error:
            self.log.warning(f"DEBUG RELOAD failed: {error}")
            raise CommandError("ERR Error trying to load the RDB dump, check server logs.") from None
        self.log.warning("DB reloaded by DEBUG RELOAD")
        return OK

    def load_aof(self, client: Client, argv: list[bytes]) -> Reply:
        if client.in_multi:
            raise CommandError(SYNTAX)
        try:
            self.aof.reload()
        except DataError as error:
            self.log.warning(f"DEBUG LOADAOF failed: {error}")
            raise CommandError("ERR Error trying to load the append only file, check server logs.") from None
        self.log.warning("Append Only File loaded by DEBUG LOADAOF")
        return OK

    def populate(self, client: Client, argv: list[bytes]) -> Reply:
        count = integer(argv[2], low=0)
        prefix = argv[3] if len(argv) > 3 else b"key"
        size = integer(argv[4], low=0) if len(argv) > 4 else 0
        for i in range(count):
            value = b"value:%d" % i
            if size:
                value = value[:size].ljust(size, b"\0")
            self.engine.execute_own(b"SET", b"%s:%d" % (prefix, i), value, b"NX", db=client.db)
        return OK

    def object(self, client: Client, argv: list[bytes]) -> Reply:
        facts = self.engine.value_facts(client.db, argv[2])
        if facts is None:
            raise CommandError("ERR no such key")
        encoding, saved, idle_s, quicklist = facts
        fast = len(argv) > 3 and argv[3].lower() == b"fast"
        words = [f"Value at:0x0 refcount:1 encoding:{encoding}"]
        if not fast:
            words.append(f"serializedlength:{saved}")
        words.append(f"lru:{self.engine.stats()['lru_clock']} lru_seconds_idle:{idle_s}")
        if quicklist is not None:
            nodes, length, fill, depth, size = quicklist
            words.append(f"ql_nodes:{nodes} ql_avg_node:{length / nodes:.2f} ql_listpack_max:{fill}")
            words.append(f"ql_compressed:{depth > 0:d}" + ("" if fast else f" ql_uncompressed_size:{size}"))
        return Simple(" ".join(words))

    def print_value(self, client: Client, argv: list[bytes]) -> Reply:
        """LISTPACK, QUICKLIST: to the log, since a server's standard output is nobody's."""
        facts = self.engine.value_facts(client.db, argv[2])
        name = text(argv[1]).lower()
        if facts is None:
            raise CommandError("ERR no such key")
        if facts[0] != name:
            raise CommandError(f"ERR Not a {name} encoded object.")
        self.log.warning(f"DEBUG {name.upper()}: {self.object(client, [*argv[:3]])}")
        return Simple(f"{name.capitalize()} structure printed on stdout")

    def table_of_database(self, client: Client, argv: list[bytes]) -> Reply:
        number = integer(argv[2])
        if not 0 <= number < self.config.number("databases"):
            raise CommandError("ERR Out of range database")
        keys, expires = self.engine.table_stats(number, _is_full(argv))
        return Verbatim("txt", f"[Dictionary HT]\n{table_lines(keys)}[Expires HT]\n{table_lines(expires)}")

    def table_of_value(self, client: Client, argv: list[bytes]) -> Reply:
        tables = self.engine.member_table_stats(client.db, argv[2], _is_full(argv))
        if tables is None:
            raise CommandError("ERR no such key")
        if not tables:
            raise CommandError("ERR The value stored at the specified key is not represented using an hash table")
        return Verbatim("txt", table_lines(tables))

    def packed_threshold(self, client: Client, argv: list[bytes]) -> Reply:
        """An element has a node of its own if it does not fit into one with others: there is no other threshold."""
        size = parse_memory(text(argv[2]))
        if size is None or not 0 <= size <= PACKED_THRESHOLD_MAX:
            raise CommandError("ERR argument must be a memory value bigger than 1 and smaller than 4gb")
        return OK

    def digest_value(self, client: Client, argv: list[bytes]) -> Reply:
        return [Simple(self.engine.value_digest(client.db, key).hex()) for key in argv[2:]]
