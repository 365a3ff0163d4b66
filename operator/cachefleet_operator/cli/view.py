"""What a person sees: lines for pipes and logs, a live table on a terminal, and the table of `status`.

All of them are made from the report of cli/fleet.py (which `status` reads from another process). Words of servers go
through `plain`: a terminal obeys control characters, and rich its markup.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cachefleet_operator.api import names
from cachefleet_operator.cli.fleet import Event
from cachefleet_operator.execution.local.tcp_ports import HOST

EVENTS_SHOWN = 8
COMMAND = "cachefleet"
COLUMNS = ("CACHE", "PHASE", "READY", "ENDPOINT", "METRICS", "MEMORY", "PODS")
MOVABLE = ("PODS", "MEMORY", "METRICS")  # those that a narrow terminal may have below the row, the first one first
PHASE_COLUMNS = 14  # what of a sentence stays in the row there
GAP = 2
PIPE_COLUMNS = 1 << 20
Described = Mapping[str, Any]  # one Cache of the report


class View(Protocol):
    @property
    def gone(self) -> bool:
        """Whether nobody looks any more: `| head` has seen enough."""

    def heard(self, event: Event) -> None:
        """Something happened."""

    def show(self, report: Mapping[str, Any], elapsed_s: float) -> None:
        """This is how things are, so long after the start."""

    def say(self, words: str) -> None:
        """A word of `up` itself."""

    def close(self) -> None: ...


def plain(text: object) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in str(text))


def hush(out: TextIO) -> None:
    """Sends what is still written to a pipe without a reader nowhere, what waits in its buffer included."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, out.fileno())
    os.close(nowhere)


def forget(out: TextIO) -> None:
    """Drops what waits in its buffer because it could not be written: the next flush would fail of it, too."""
    kept = os.dup(out.fileno())
    hush(out)
    out.flush()
    os.dup2(kept, out.fileno())
    os.close(kept)


def command() -> str:
    """How a shell finds us: by our name, or, where the virtual environment is not active, as we were started."""
    started = sys.argv[0]
    return COMMAND if shutil.which(COMMAND) or Path(started).name != COMMAND else started


# -- facts of a report


def is_ready(cache: Described) -> bool:
    """Whether it serves, and the status speaks of the spec as it is now."""
    status = cache["status"]
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))
    return ready and status.get("observedGeneration") == cache["generation"]


REFUSED = (
    ("ConfigApplied", "Refused"), ("ConfigApplied", "Unsupported"),
    ("Degraded", "ApplyFailed"), ("Degraded", "StorageRefused"),
)  # fmt: skip


def refusal(cache: Described) -> str:
    """What of the spec was refused, and why; empty = nothing. The Cache may serve on all the same."""
    conditions = cache["status"].get("conditions", ())
    words = [c.get("message", "") for c in conditions if (c["type"], c.get("reason")) in REFUSED]
    return f"{title(cache)} is not as its spec says: {'; '.join(words)}" if words else ""


def ports(cache: Described) -> tuple[int, int] | None:
    """(redis, metrics) of the pod that takes writes, or of the first."""
    known = cache["ports"].get(cache["status"].get("primary")) or next(iter(cache["ports"].values()), None)
    return (known["redis"], known["metrics"]) if known else None


def password_file(cache: Described) -> Path | None:
    """Where the password is that the server has; None without one."""
    pod = cache["status"].get("primary") or names.pod(cache["name"], 0)
    return Path(cache["folder"]) / pod / names.VOLUME_AUTH / names.PASSWORD_KEY if cache["auth"] else None


def title(cache: Described) -> str:
    return str(cache["name"]) if cache["namespace"] == "default" else f"{cache['namespace']}/{cache['name']}"


def how_to_connect(cache: Described, option: str) -> list[tuple[str, str]]:
    """Rows for a Cache that is Ready; `option` is " --data X" where it is needed. No password is shown."""
    found = ports(cache)
    if found is None:
        return []
    password = password_file(cache)
    several = [f"{pod} {its['redis']} (metrics {its['metrics']})" for pod, its in cache["ports"].items()]
    by_hand = f"REDISCLI_AUTH=$(cat {shlex.quote(str(password))}) " if password is not None else ""
    return [
        ("connect", f"{command()} local connect {title(cache)}{option}"),
        ("or", f"{by_hand}redis-cli -p {found[0]}"),
        ("metrics", f"http://{HOST}:{found[1]}/metrics"),
        *([("pods", ", ".join(several))] if len(several) > 1 else []),
        ("data", str(cache["folder"])),
    ]


# -- lines


class Lines:
    """One line an event, and how to connect when a Cache is Ready for the first time or elsewhere."""

    def __init__(self, option: str, out: TextIO | None = None) -> None:
        self._option, self._out = option, out or sys.stdout
        self._told: dict[str, object] = {}
        self.gone = False

    def heard(self, event: Event) -> None:
        mark = "!" if event.type == "Warning" else " "
        self.say(f"{event.at[11:19]} {mark} {event.cache}: {event.message}" if event.cache else event.message)

    def show(self, report: Mapping[str, Any], elapsed_s: float) -> None:
        for cache in report["caches"]:
            where = ports(cache)
            if is_ready(cache) and where and self._told.get(title(cache)) != where:
                self._told[title(cache)] = where
                self.say(f"\n  {title(cache)} is Ready after {elapsed_s:.1f} s")
                for name, value in how_to_connect(cache, self._option):
                    self.say(f"    {name:<9} {value}")
                self.say("")

    def say(self, words: str) -> None:
        try:
            self._out.write(f"{plain(words)}\n")
            self._out.flush()
        except BrokenPipeError:  # not an error of whoever had something to say
            self.gone = True
            hush(self._out)
        except OSError:  # a full disk loses lines, and what runs runs on
            forget(self._out)

    def close(self) -> None:
        """Nothing is open."""


class Silent:
    """For the background: `status` and the logs say it all."""

    gone = False

    def heard(self, event: Event) -> None: ...

    def show(self, report: Mapping[str, Any], elapsed_s: float) -> None: ...

    def say(self, words: str) -> None: ...

    def close(self) -> None: ...


# -- a terminal


class Screen:
    """A table that is drawn anew in place, with the last events under it."""

    gone = False  # a terminal that ends sends SIGHUP

    def __init__(self, option: str, console: Console | None = None) -> None:
        self._option = option
        self._events: list[Event] = []
        self._note = ""
        self._report: Mapping[str, Any] = {"caches": []}
        self._ready_s: dict[str, float] = {}
        # Drawn by our own calls, not by a thread of rich's: we fork.
        self._live = Live(console=console or Console(), auto_refresh=False, transient=False)
        self._live.start()

    def heard(self, event: Event) -> None:
        self._events = [*self._events, event][-EVENTS_SHOWN:]

    def show(self, report: Mapping[str, Any], elapsed_s: float) -> None:
        self._report = report
        for cache in report["caches"]:
            if is_ready(cache):
                self._ready_s.setdefault(title(cache), elapsed_s)
        self._draw()

    def say(self, words: str) -> None:
        self._note = words
        self._draw()

    def close(self) -> None:
        self._report = {"caches": []}  # a table of what has ended would mislead
        self._draw()
        with contextlib.suppress(OSError):
            self._live.stop()

    def _draw(self) -> None:
        caches, width = self._report["caches"], self._live.console.width
        parts: list[RenderableType] = [table(caches, width), Text()] if caches else []
        for cache in caches:
            if is_ready(cache):
                parts.append(self._connection(cache))
        parts += [event_line(event.at, event.cache, event.type, event.message) for event in self._events]
        parts.append(Text(self._note, style="bold"))
        with contextlib.suppress(OSError):  # the terminal has gone, and SIGHUP is on its way
            self._live.update(Group(*parts), refresh=True)

    def _connection(self, cache: Described) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        first = f"{title(cache)} was Ready after {self._ready_s.get(title(cache), 0):.1f} s"
        for name, value in how_to_connect(cache, self._option):
            grid.add_row(Text(f"  {name}", style="dim"), Text(plain(value)))
        return Group(Text(first, style="green"), grid, Text())


def event_line(at: str, cache: str, type: str, message: str) -> Text:
    line = Text(f"{at[11:19]} ", style="dim")
    line.append(f"{plain(cache)}: " if cache else "", style="bold")
    line.append(plain(message), style="yellow" if type == "Warning" else "")
    return line


def console() -> Console:
    """Of standard output: a terminal has a width, a pipe has lines, which are whole for grep."""
    return Console() if sys.stdout.isatty() else Console(width=PIPE_COLUMNS)


def table(caches: Iterable[Described], width: int) -> RenderableType:
    """A row a Cache. What has no room in it stands below the row: sentences first, then columns from the right."""
    rows = [_cells(cache) for cache in caches]
    below: list[list[str]] = [[] for _ in rows]
    columns = list(COLUMNS)
    if _width(columns, rows) > width:
        for cells, lines in zip(rows, below, strict=True):
            if len(cells["PHASE"].plain) > PHASE_COLUMNS:
                lines.append(cells["PHASE"].plain)
                cells["PHASE"] = Text(_headline(cells["PHASE"].plain), style=cells["PHASE"].style)
    for column in MOVABLE:
        if _width(columns, rows) > width:
            columns.remove(column)
            for cells, lines in zip(rows, below, strict=True):
                lines += [f"{column.lower()}: {cells[column].plain}"] if cells[column].plain else []
    widths = _widths(columns, rows)
    parts: list[RenderableType] = [_row({column: Text(column, style="bold") for column in columns}, widths)]
    for cells, lines in zip(rows, below, strict=True):
        parts += [_row(cells, widths), *(Padding(Text(line), (0, 0, 0, GAP)) for line in lines)]
    return Group(*parts)


def phase_of(cache: Described) -> str:
    """Its phase and why, as "Refused: spec.config.x: unknown parameter"."""
    status = cache["status"]
    return ": ".join(filter(None, (status.get("phase") or "Starting", status.get("message", ""))))


def _cells(cache: Described) -> dict[str, Text]:
    status, where = cache["status"], ports(cache)
    pods = [_pod(cache, pod) for pod in status.get("pods", ())]
    phase = plain(phase_of(cache)).replace("\n", " ")
    return {
        "CACHE": Text(title(cache), style="bold"),
        "PHASE": Text(phase, style="green" if is_ready(cache) else "yellow"),
        "READY": Text(plain(status.get("ready", ""))),
        "ENDPOINT": Text(f"{HOST}:{where[0]}" if where else ""),
        "METRICS": Text(str(where[1]) if where else ""),
        "MEMORY": Text(plain(status.get("memory", ""))),
        "PODS": Text(plain(", ".join(pods))),
    }


def _pod(cache: Described, pod: Mapping[str, Any]) -> str:
    """With its role, and, of several, with its port, and how far behind it is."""
    its = cache["ports"].get(pod["name"]) if len(cache["ports"]) > 1 else None
    lag = cache.get("lags", {}).get(pod["name"])
    behind = "(link down)" if pod.get("link") == "down" else f"(lag {lag} s)" if lag is not None else ""
    return " ".join(filter(None, [pod["name"], pod.get("role") or "-", f":{its['redis']}" if its else "", behind]))


def _headline(phase: str) -> str:
    """The word that it begins with."""
    head = phase.partition(":")[0]
    return head if len(head) <= PHASE_COLUMNS else f"{head[: PHASE_COLUMNS - 3].rstrip()}..."


def _widths(columns: Iterable[str], rows: Iterable[Mapping[str, Text]]) -> dict[str, int]:
    return {column: max(len(column), *(cells[column].cell_len for cells in rows), 0) for column in columns}


def _width(columns: Iterable[str], rows: Iterable[Mapping[str, Text]]) -> int:
    widths = _widths(columns, rows)
    return sum(widths.values()) + GAP * (len(widths) - 1)


def _row(cells: Mapping[str, Text], widths: Mapping[str, int]) -> Text:
    padded = [cells[column] + " " * (width - cells[column].cell_len) for column, width in widths.items()]
    return Text(" " * GAP).join(padded)
