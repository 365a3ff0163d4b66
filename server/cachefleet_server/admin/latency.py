"""LATENCY: what was slow, by kind of event, and histograms of command times.

The engine reports an event when it took at least `latency-monitor-threshold` milliseconds. The newest SAMPLES_MAX
samples of each event are kept, one per second, the worst of that second. Events:

    command, fast-command           a command; those of constant or logarithmic time
    expire-cycle, expire-del        one slice of active expiry; the deletion of one expired key
    eviction-cycle, eviction-del    one slice of eviction; the deletion of one key
    eviction-lazyfree               waiting for the helper thread to give memory back
    aof-write, aof-fsync-always     write(2) and fdatasync(2) of the AOF on the engine's thread
    snapshot-slice                  one slice of a snapshot

Valkey's other events are about forks, its cluster bus and its modules, none of which exist here. The texts of HELP and
DOCTOR are our own.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cachefleet_server.admin.arguments import help_lines, text
from cachefleet_server.command_spec import row
from cachefleet_server.engine import Client, Engine
from cachefleet_server.errors import CommandError
from cachefleet_server.replies import Reply, Verbatim

SAMPLES_MAX = 160
GRAPH_ROWS = 4
COLUMNS = 80
MARKS = "_o#"
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
    sum_ms: int = 0  # of all events, also those that another of their second hides
    count: int = 0

    def add(self, now: int, ms: int) -> None:
        self.worst_ms = max(self.worst_ms, ms)
        self.sum_ms += ms
        self.count += 1
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
        all_nodes = "; tips nondeterministic_output request_policy:all_nodes response_policy:special"
        rows = [
            ("latency", -2, "container", "server 2.8.13 Depends on subcommand.", "Commands about latency.", "",
             None),
            ("latency|doctor", 2, admin, o1 + all_nodes, "Describes latency problems.", "", self.doctor),
            ("latency|graph", 3, admin, o1 + all_nodes, "Draws the samples of an event.", "event:string",
             self.graph),
            ("latency|help", 2, "loading stale", o1, "Describes the subcommands.", "", self.help),
            ("latency|histogram", -2, admin,
             "server 7.0.0 O(N) where N is the number of commands with latency information being retrieved."
             + all_nodes,
             "Returns distributions of command times.", "[command:string]...", self.histogram),
            ("latency|history", 3, admin, o1 + all_nodes, "Returns the samples of an event.", "event:string",
             self.history),
            ("latency|latest", 2, admin, o1 + all_nodes, "Returns the latest sample of each event.", "",
             self.latest),
            ("latency|reset", -2, admin, o1 + "; tips request_policy:all_nodes response_policy:agg_sum",
             "Forgets samples.", "[event:string]...", self.reset),
        ]  # fmt: skip
        for name, arity, flags, about, summary, syntax, function in rows:
            self.engine.register(row(name, arity, flags, "", "", about, summary, syntax), function)

    def doctor(self, client: Client, argv: list[bytes]) -> Reply:
        if not self.threshold_ms():
            diagnosis = "Latency monitoring is off. CONFIG SET latency-monitor-threshold <milliseconds> turns it on."
        elif not self.events:
            diagnosis = "No event has been slower than the threshold so far."
        else:
            now = int(time.time())
            diagnosis = "\n".join(describe(name, event, now) for name, event in sorted(self.events.items()))
        return Verbatim("txt", diagnosis + "\n")

    def graph(self, client: Client, argv: list[bytes]) -> Reply:
        event = self.events.get(text(argv[2]))
        if event is None:
            raise CommandError(f"ERR No samples available for event '{text(argv[2])}'")
        return Verbatim("txt", draw(text(argv[2]), event, int(time.time())))

    def help(self, client: Client, argv: list[bytes]) -> Reply:
        return help_lines("LATENCY", HELP)

    def histogram(self, client: Client, argv: list[bytes]) -> Reply:
        """In the order asked for; a container stands for its subcommands. Unlike Valkey, names a command once."""
        histograms = {name: buckets for name, *_, buckets in self.engine.command_stats() if any(buckets)}
        found: dict[str, Reply] = {}
        for word in argv[2:] or [b""]:
            wanted = text(word).lower()
            for name, buckets in histograms.items():
                if not wanted or name == wanted or name.startswith(wanted + "|"):
                    found[name] = {"calls": sum(buckets), "histogram_usec": cumulative(buckets)}
        return found

    def history(self, client: Client, argv: list[bytes]) -> Reply:
        event = self.events.get(text(argv[2]))
        return [list(sample) for sample in event.samples] if event else []

    def latest_samples(self) -> dict[str, tuple[int, int]]:
        """Of each event: Unix time and milliseconds."""
        return {name: event.samples[-1] for name, event in self.events.items()}

    def latest(self, client: Client, argv: list[bytes]) -> Reply:
        return [
            [name, *event.samples[-1], event.worst_ms, event.sum_ms, event.count] for name, event in self.events.items()
        ]

    def reset(self, client: Client, argv: list[bytes]) -> Reply:
        names = [text(word) for word in argv[2:]] or list(self.events)
        return sum(self.events.pop(name, None) is not None for name in names)


ADVICE = {
    "command": "SLOWLOG GET names the commands; prefer SCAN to KEYS and smaller values.",
    "fast-command": "Even cheap commands waited: the machine or its CPU limit is too small, or it swaps.",
    "expire-cycle": "Many keys expire together; spread their times to live.",
    "expire-del": "Large values expire; lazyfree-lazy-expire yes frees them in the background.",
    "eviction-cycle": "Memory is full and much is evicted; raise maxmemory or shorten times to live.",
    "eviction-del": "Large values are evicted; lazyfree-lazy-eviction yes frees them in the background.",
    "aof-write": "The disk is slow in taking writes.",
    "aof-fsync-always": "appendfsync always waits for the disk; a faster volume or everysec helps.",
}


def describe(name: str, event: Event, now: int) -> str:
    """A line of DOCTOR."""
    values = [ms for _, ms in event.samples]
    average = sum(values) / len(values)
    deviation = sum(abs(ms - average) for ms in values) / len(values)
    first, last = event.samples[0][0], event.samples[-1][0]
    return (
        f"{name}: {len(values)} spikes, average {average:.0f} ms, mean deviation {deviation:.0f} ms, one in "
        f"{max(1, now - first) / len(values):.1f} s, worst {event.worst_ms} ms, latest {now - last} s ago. "
        f"{ADVICE.get(name, '')}".rstrip()
    )


def cumulative(buckets: Sequence[int]) -> dict[int, int]:
    """Upper bound in microseconds -> calls up to it, where the count grows.

    The bounds are those that Valkey's histograms of two digits have at these powers of two: 1, 2 ... 16, 33, 66, 132.
    """
    found: dict[int, int] = {}
    total = 0
    for i, count in enumerate(buckets):
        if count:
            total += count
            found[((1032 << i) - 1) // 1000] = total
    return found


def draw(name: str, event: Event, now: int) -> str:
    """One column a sample, COLUMNS a block: a bar of its latency, below it its age, letter by letter.

    A row of the picture shows three heights as "_", "o" and "#", and "|" where a bar goes on upwards.
    """
    values = [ms for _, ms in event.samples]
    low, high = min(values), max(values)
    steps = len(MARKS) * GRAPH_ROWS
    bars = [min(steps - 1, (ms - low) * steps // max(1, high - low)) for ms in values]
    ages = [_age(now - at) for at, _ in event.samples]
    head = f"{name} - high {high} ms, low {low} ms (all time high {event.worst_ms} ms)\n" + "-" * COLUMNS + "\n"
    blocks = [_block(bars[at : at + COLUMNS], ages[at : at + COLUMNS]) for at in range(0, len(bars), COLUMNS)]
    return head + "\n".join(blocks)


def _block(bars: Sequence[int], ages: Sequence[str]) -> str:
    lines = ["".join(_mark(bar - row * len(MARKS)) for bar in bars) for row in reversed(range(GRAPH_ROWS))]
    lines.append(" " * len(bars))
    lines += ["".join(age[i : i + 1] or " " for age in ages) for i in range(max(map(len, ages)))]
    return "".join(line + "\n" for line in lines)


def _mark(height: int) -> str:
    """How a bar looks in a row, by its height above the row's base."""
    return " " if height < 0 else MARKS[height] if height < len(MARKS) else "|"


def _age(seconds: int) -> str:
    for unit, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"
