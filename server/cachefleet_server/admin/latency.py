"""LATENCY: what was slow, by kind of event, and histograms of command times.

The engine reports an event when it took at least `latency-monitor-threshold` milliseconds: "command" and
"fast-command" for commands, others for work of its own (expire-cycle, eviction-cycle, aof-write, aof-fsync-always,
rdb-write ...). The newest SAMPLES_MAX samples of each event are kept, one per second, the worst of that second.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from cachefleet_server.admin.arguments import help_lines, text
from cachefleet_server.command_spec import row
from cachefleet_server.engine import Client, Engine
from cachefleet_server.errors import CommandError
from cachefleet_server.replies import Reply, Verbatim

SAMPLES_MAX = 160
GRAPH_ROWS = 4
HELP = (
    "DOCTOR",
    "    What the samples say, in words.",
    "GRAPH <event>",
    "    A picture of the samples of <event>.",
    "HISTOGRAM [COMMAND ...]",
    "    Cumulative distribution of the times of commands (default: all that ran).",
    "HISTORY <event>",
    "    The samples of <event>: time, milliseconds.",
    "LATEST",
    "    For each event: name, time and latency of the latest sample, maximum.",
    "RESET [<event> ...]",
    "    Forget the samples of these events (default: all).",
)


@dataclass
class Event:
    samples: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES_MAX))  # unix time, ms
    worst_ms: int = 0

    def add(self, now: int, ms: int) -> None:
        self.worst_ms = max(self.worst_ms, ms)
        if self.samples and self.samples[-1][0] == now:
            self.samples[-1] = (now, max(ms, self.samples[-1][1]))
        else:
            self.samples.append((now, ms))


class Latency:
    """`threshold_ms` is the parameter latency-monitor-threshold; 0 = off."""

    def __init__(self, engine: Engine, threshold_ms: Callable[[], int]) -> None:
        self.engine = engine
        self.threshold_ms = threshold_ms
        self.events: dict[str, Event] = {}
        engine.on_latency = self.add

    def add(self, name: str, ms: int) -> None:
        threshold = self.threshold_ms()
        if threshold and ms >= threshold:
            self.events.setdefault(name, Event()).add(int(time.time()), ms)

    def register(self) -> None:
        admin = "admin noscript loading stale"
        o1 = "server 2.8.13 O(1)"
        rows = [
            ("latency", -2, "container", "server 2.8.13 Depends on subcommand.", "Commands about latency.", "",
             self._bare),
            ("latency|doctor", 2, admin, o1, "Describes latency problems.", "", self.doctor),
            ("latency|graph", 3, admin, o1, "Draws the samples of an event.", "event:string", self.graph),
            ("latency|help", 2, "loading stale", o1, "Describes the subcommands.", "", self.help),
            ("latency|histogram", -2, admin,
             "server 7.0.0 O(N) where N is the number of commands with latency information being retrieved.",
             "Returns distributions of command times.", "[command:string]...", self.histogram),
            ("latency|history", 3, admin, o1, "Returns the samples of an event.", "event:string", self.history),
            ("latency|latest", 2, admin, o1, "Returns the latest sample of each event.", "", self.latest),
            ("latency|reset", -2, admin, o1, "Forgets samples.", "[event:string]...", self.reset),
        ]  # fmt: skip
        for name, arity, flags, about, summary, syntax, function in rows:
            self.engine.register(row(name, arity, flags, "", "", about, summary, syntax), function)

    def _bare(self, client: Client, argv: list[bytes]) -> Reply:
        raise CommandError("ERR wrong number of arguments for 'latency' command")

    def doctor(self, client: Client, argv: list[bytes]) -> Reply:
        if not self.threshold_ms():
            return Verbatim(
                "txt",
                "Latency monitoring is off. CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n",
            )
        if not self.events:
            return Verbatim("txt", "No event has been slower than the threshold so far.\n")
        lines = []
        for name, event in sorted(self.events.items()):
            values = [ms for _, ms in event.samples]
            average = sum(values) / len(values)
            lines.append(
                f"{name}: {len(values)} samples, average {average:.0f} ms, worst {event.worst_ms} ms, latest "
                f"{int(time.time()) - event.samples[-1][0]} s ago. {ADVICE.get(name, '')}".rstrip()
            )
        return Verbatim("txt", "\n".join(lines) + "\n")

    def graph(self, client: Client, argv: list[bytes]) -> Reply:
        event = self.events.get(text(argv[2]))
        if event is None:
            raise CommandError(f"ERR No samples available for event '{text(argv[2])}'")
        return Verbatim("txt", draw(text(argv[2]), event, int(time.time())))

    def help(self, client: Client, argv: list[bytes]) -> Reply:
        return help_lines("LATENCY", HELP)

    def histogram(self, client: Client, argv: list[bytes]) -> Reply:
        wanted = {text(word).lower() for word in argv[2:]}
        reply: dict[str, Reply] = {}
        for name, calls, _, _, _, buckets in self.engine.command_stats():
            container = name.partition("|")[0]
            if calls and (not wanted or name in wanted or container in wanted):
                reply[name] = {"calls": calls, "histogram_usec": cumulative(buckets)}
        return reply

    def history(self, client: Client, argv: list[bytes]) -> Reply:
        event = self.events.get(text(argv[2]))
        return [list(sample) for sample in event.samples] if event else []

    def latest(self, client: Client, argv: list[bytes]) -> Reply:
        return [[name, *event.samples[-1], event.worst_ms] for name, event in self.events.items()]

    def reset(self, client: Client, argv: list[bytes]) -> Reply:
        names = [text(word) for word in argv[2:]] or list(self.events)
        return sum(self.events.pop(name, None) is not None for name in names)


ADVICE = {
    "command": "SLOWLOG GET names the commands; prefer SCAN to KEYS and smaller values.",
    "fast-command": "Even cheap commands waited: the machine or its CPU limit is too small, or it swaps.",
    "expire-cycle": "Many keys expire together; spread their times to live.",
    "eviction-cycle": "Memory is full and much is evicted; raise maxmemory or shorten times to live.",
    "aof-write": "The disk is slow in taking writes.",
    "aof-fsync-always": "appendfsync always waits for the disk; a faster volume or everysec helps.",
}


def cumulative(buckets: list[int]) -> dict[int, int]:
    """Upper bound in microseconds -> calls up to it; only bounds at which the count grows, as Redis shows."""
    found: dict[int, int] = {}
    total = 0
    for i, count in enumerate(buckets):
        if count:
            total += count
            found[2**i] = total
    return found


def draw(name: str, event: Event, now: int) -> str:
    """One column a sample: height by latency, its age below."""
    values = [ms for _, ms in event.samples]
    low, high = min(values), max(values)
    span = max(1, high - low)
    heights = [1 + (ms - low) * (GRAPH_ROWS * 2 - 1) // span for ms in values]
    lines = [f"{name} - high {high} ms, low {low} ms (all time high {event.worst_ms} ms)", "-" * 80]
    for level in range(GRAPH_ROWS, 0, -1):
        lines.append("".join("#" if h >= 2 * level else "o" if h == 2 * level - 1 else " " for h in heights).rstrip())
    ages = [_age(now - at) for at, _ in event.samples]
    width = max(len(age) for age in ages)
    lines.append("")
    lines += ["".join(age.ljust(width)[i] for age in ages).rstrip() for i in range(width)]
    return "\n".join(lines) + "\n"


def _age(seconds: int) -> str:
    for unit, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"
