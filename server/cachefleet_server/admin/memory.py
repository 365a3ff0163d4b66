"""MEMORY: what the engine knows of its allocations. The texts of HELP and DOCTOR are our own."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from cachefleet_server.admin.arguments import SYNTAX, help_lines, integer
from cachefleet_server.command_spec import row
from cachefleet_server.engine import Client, Engine
from cachefleet_server.errors import CommandError
from cachefleet_server.metrics.table import human
from cachefleet_server.replies import OK, Reply, Verbatim

_SLOW = "server 4.0.0 Depends on how much memory is allocated, could be slow"
_REPORT = "; tips nondeterministic_output request_policy:all_shards response_policy:special"
DOCTOR_MIN_BYTES = 5 << 20  # below this, ratios mean nothing
HELP = (
    "DOCTOR",
    "    What is wrong with memory, in words.",
    "MALLOC-STATS",
    "    What the allocator says about itself.",
    "PURGE",
    "    Give free pages back to the operating system.",
    "STATS",
    "    Where the memory goes.",
    "USAGE <key> [SAMPLES <count>]",
    "    Bytes of a key with its value; collections are estimated from <count>",
    "    elements (default: 5, 0: all).",
)


class Memory:
    def __init__(self, engine: Engine, sample: Callable[[], dict[str, Any]]) -> None:
        self.engine = engine
        self.sample = sample

    def register(self) -> None:
        o1 = "server 4.0.0 O(1)"
        rows = [
            ("memory", -2, "container", "", "server 4.0.0 Depends on subcommand.", "Commands about memory.", "",
             None),
            ("memory|doctor", 2, "", "", o1 + _REPORT, "Describes memory problems.", "", self.doctor),
            ("memory|help", 2, "loading stale", "", o1, "Describes the subcommands.", "", self.help),
            ("memory|malloc-stats", 2, "loading", "", _SLOW + _REPORT, "Returns the allocator's statistics.", "",
             self.malloc_stats),
            ("memory|purge", 2, "loading", "", _SLOW + "; tips request_policy:all_shards response_policy:all_succeeded",
             "Gives free memory back.", "", self.purge),
            ("memory|stats", 2, "", "", o1 + _REPORT, "Returns where memory goes.", "", self.stats),
            ("memory|usage", -3, "readonly", "2 RO", "server 4.0.0 O(N) where N is the number of samples.",
             "Estimates a key's memory.", "key:key [SAMPLES count:integer]", self.usage),
        ]  # fmt: skip
        for name, arity, flags, keys, about, summary, syntax, function in rows:
            self.engine.register(row(name, arity, flags, "", keys, about, summary, syntax), function)

    def help(self, client: Client, argv: list[bytes]) -> Reply:
        return help_lines("MEMORY", HELP)

    def usage(self, client: Client, argv: list[bytes]) -> Reply:
        samples = 5
        words = argv[3:]
        while words:
            if words[0].lower() != b"samples" or len(words) < 2:
                raise CommandError(SYNTAX)
            samples = integer(words[1])
            if samples < 0:
                raise CommandError(SYNTAX)
            words = words[2:]
        return self.engine.memory_usage(client.db, argv[2], samples)

    def purge(self, client: Client, argv: list[bytes]) -> Reply:
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):
            libc.malloc_trim(0)
        return OK

    def malloc_stats(self, client: Client, argv: list[bytes]) -> Reply:
        info = self.engine.allocator_stats()
        return Verbatim("txt", "".join(f"{name}: {value}\n" for name, value in info.items()))

    def stats(self, client: Client, argv: list[bytes]) -> Reply:
        s = self.sample()
        databases: dict[str, Reply] = {
            f"db.{db}": {"overhead.hashtable.main": main, "overhead.hashtable.expires": expires}
            for db, main, expires in self.engine.table_memory()
        }
        overhead = s["used_memory_startup"] + s["keyspace_overhead"] + s["clients_memory"] + s["journal_bytes"]
        dataset = max(0, s["used_memory"] - overhead)
        net = max(1, s["used_memory"] - s["used_memory_startup"])
        active = s["allocator_active"]
        return {
            "peak.allocated": s["used_memory_peak"],
            "total.allocated": s["used_memory"],
            "startup.allocated": s["used_memory_startup"],
            "replication.backlog": s["repl_backlog_memory"],
            "replicas.repl.buffer": s["repl_backlog_excess"],
            "clients.slaves": 0,
            "clients.normal": s["clients_memory"],
            "cluster.links": 0,
            "cluster.slot_import": 0,
            "cluster.slot_export": 0,
            "aof.buffer": s["journal_bytes"],
            "lua.caches": 0,
            "functions.caches": 0,
            **databases,
            "overhead.db.hashtable.lut": s["keyspace_overhead"],
            "overhead.db.hashtable.rehashing": s["rehashing_bytes"],
            "overhead.total": overhead,
            "db.dict.rehashing.count": 0,
            "keys.count": s["keys"],
            "keys.bytes-per-key": net // s["keys"] if s["keys"] else 0,
            "dataset.bytes": dataset,
            "dataset.percentage": 100.0 * dataset / net,
            "peak.percentage": 100.0 * s["used_memory"] / max(1, s["used_memory_peak"]),
            "allocator.allocated": s["allocator_allocated"],
            "allocator.active": active,
            "allocator.resident": active,
            "allocator.muzzy": 0,
            "allocator-fragmentation.ratio": active / max(1, s["allocator_allocated"]),
            "allocator-fragmentation.bytes": active - s["allocator_allocated"],
            "allocator-rss.ratio": 1.0,
            "allocator-rss.bytes": 0,
            "rss-overhead.ratio": s["used_memory_rss"] / max(1, active),
            "rss-overhead.bytes": s["used_memory_rss"] - active,
            "fragmentation": s["used_memory_rss"] / max(1, s["used_memory"]),
            "fragmentation.bytes": s["used_memory_rss"] - s["used_memory"],
        }

    def doctor(self, client: Client, argv: list[bytes]) -> Reply:
        s = self.sample()
        if s["used_memory"] < DOCTOR_MIN_BYTES:
            return Verbatim("txt", "There is too little data here to say anything about memory.\n")
        findings = [text for holds, text in self._findings(s) if holds]
        return Verbatim("txt", "\n".join(findings or ["No memory problem was found."]) + "\n")

    @staticmethod
    def _findings(s: dict[str, Any]) -> list[tuple[bool, str]]:
        used, peak, rss = s["used_memory"], s["used_memory_peak"], s["used_memory_rss"]
        clients = s["clients_memory"] / max(1, s["clients"])
        return [
            (peak > 1.5 * used,
             f"* Peak: {human(peak)} were in use once, {human(used)} are now. Memory may stay with the process; MEMORY "
             "PURGE gives back what is free."),
            (rss > 1.4 * used and rss - used > 10 << 20,
             f"* Fragmentation: {human(rss)} are resident for {human(used)} of data. MEMORY PURGE, or a restart, packs "
             "them."),
            (clients > 200_000,
             f"* Clients: {human(clients)} a connection on average. Clients that read slowly pile up replies; see "
             "client-output-buffer-limit."),
            (bool(s["maxmemory"]) and used > 0.95 * s["maxmemory"],
             f"* Limit: {human(used)} of maxmemory {human(s['maxmemory'])} are used."),
        ]  # fmt: skip
