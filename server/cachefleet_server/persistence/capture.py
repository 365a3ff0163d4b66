"""Change capture: the journal as a stream that readers take at their own pace, and resume where they were.

    CDC READ position      what follows it, in capture_files.py's thread; with BLOCK it waits until something does
    CDC INFO               how far the journal is, on disk and kept

The stream is what the AOF's incremental files hold: those that make up the data, and, as long as `cdc-retention-bytes`
and `cdc-retention-seconds` say, those that a rewrite has replaced (aof_folder.py). Nothing is kept for a reader, so one
that does not read costs nothing; nor is anything written twice. What a reader is told has been written to the file, so
it outlives the server's process; a power cut may take the end of it, as `appendfsync` says, and then the position is
gone with it: a start begins a history with a new id at the offset that it found, and only positions up to there lead
into it.

A command that waits is told of the next write by the AOF's log, once, and looks again.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from cachefleet_parameters.kinds import parse_integer
from cachefleet_server.command_spec import CATEGORIES, categories, row
from cachefleet_server.config.config import Config
from cachefleet_server.engine import Client, Engine, glob_matches
from cachefleet_server.errors import CommandError
from cachefleet_server.persistence.aof import Aof
from cachefleet_server.persistence.capture_files import Change, Found, Gone, JournalFiles, Position, Source
from cachefleet_server.replies import Reply, Simple

COUNT: Final = 1000
BYTES: Final = 1 << 20
COUNT_MAX: Final = 1_000_000
BYTES_MAX: Final = 64 << 20
NUMBER_MAX: Final = 1 << 40
LOOK_S: Final = 5.0  # how long a reader that waits is not looked after
NOT_CHANGES: Final = frozenset((b"ping", b"replconf", b"publish", b"spublish"))  # travel with the changes
EVERYWHERE: Final = frozenset((b"flushall", b"swapdb", b"move", b"copy"))  # concern more than their own database
HELP: Final = (
    "CDC <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "INFO",
    "    Positions: the newest, the oldest that is kept, and how far the disk is.",
    "READ <position> [COUNT <count>] [BYTES <bytes>] [BLOCK <milliseconds>]",
    "    [DB <index>] [MATCH <pattern> ...] [CATEGORY <category> ...]",
    "    Changes behind a position: <id>:<offset>, - (the oldest) or $ (now).",
    "HELP",
    "    Print this help.",
)

_POSITION: Final = re.compile(rb"([0-9a-f]{40}):(0|[1-9][0-9]{0,18})")
_OFF: Final = "ERR change capture is off: set cdc-retention-bytes to how much of the changes is to be kept"
_NO_AOF: Final = "ERR change capture needs the append only file: set appendonly to yes"
_GONE: Final = (
    "CDCGONE what follows this position is not kept: take the data anew, and go on from a position before that"
)
_NUMBER: Final = "ERR value is not an integer or out of range"

T = TypeVar("T")


@dataclass(slots=True)
class _Request:
    position: Position | None  # None: the oldest
    now: bool = False
    count: int = COUNT
    size: int = BYTES
    until: float | None = None  # of time.monotonic; inf: for ever; None: it does not wait
    db: int | None = None
    patterns: list[bytes] = field(default_factory=list)
    categories: set[str] = field(default_factory=set)


class Capture:
    def __init__(self, engine: Engine, config: Config, aof: Aof) -> None:
        self._engine = engine
        self._config = config
        self._aof = aof
        self._files = JournalFiles()
        self._thread: ThreadPoolExecutor | None = None
        self._written: asyncio.Future[None] | None = None
        self._waiting = 0
        self._stopped = False
        self._categories: dict[str, frozenset[str]] = {}

    # -- life, as server.py wants it

    def register(self) -> None:
        add, flags = self._engine.register, "admin noscript no_multi"
        add(row("cdc", -2, "container", "", "", "server 0.1.0 Depends on subcommand",
                "A container for commands of change capture.", ""))
        add(row("cdc|read", -3, flags + " blocking", "", "",
                "server 0.1.0 O(N) where N is the size of what is read",
                "Returns changes of the data behind a position, and waits for some.",
                "position:string [COUNT count:integer] [BYTES bytes:integer] [BLOCK milliseconds:integer]"
                " [DB index:integer] [MATCH pattern:pattern]... [CATEGORY category:string]..."),
            self._read_row, may_wait=True)
        add(row("cdc|info", 2, flags, "", "", "server 0.1.0 O(1)", "Returns the positions of change capture.", ""),
            self._info_row, may_wait=True)
        add(row("cdc|help", 2, "loading stale", "", "", "server 0.1.0 O(1)", "Describes the subcommands.", ""),
            lambda client, argv: [Simple(line) for line in HELP])

    async def start(self) -> None: ...

    def cron(self) -> None: ...

    async def stop(self) -> None:
        self._stopped = True
        self._wake()
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    # -- reading

    async def _read(self, client: Client, request: _Request) -> Reply:
        if request.now:
            position: Position | None = await self._now()
        else:
            position = request.position
        while True:
            written = self._next_write() if request.until is not None else None
            found = await self._look(position, request)
            position = found.position
            changes = [change for unit in found.units for change in self._chosen(unit, request)]
            if changes or (not found.more and (written is None or not await self._wait(client, written, request))):
                return [_text(position), changes]
            if client.gone or (request.until is not None and time.monotonic() >= request.until):
                return [_text(position), changes]

    async def _now(self) -> Position:
        """Behind all commands so far."""
        self._sources()
        position = self._end()
        place = self._aof.place
        if place is not None:
            await self._in_thread(self._files.remember, *place)
        return position

    def _end(self) -> Position:
        id, _, offset = self._aof.position
        return Position(id, offset)

    async def _look(self, position: Position | None, request: _Request) -> Found:
        sources, end = self._sources(), self._end()
        tip = Position(end.id, self._aof.written)
        if position is None:
            position = await self._in_thread(self._files.oldest, sources) or end
        if position.id == end.id and tip.offset <= position.offset <= end.offset:
            return Found(position)
        try:
            return await self._in_thread(self._files.read, sources, tip, position, request.count, request.size)
        except Gone:
            raise CommandError(_GONE) from None

    def _sources(self) -> list[Source]:
        if self._stopped:
            raise CommandError("ERR the server stops")
        if not self._config.number("cdc-retention-bytes"):
            raise CommandError(_OFF)
        sources = self._aof.sources()
        if not sources:
            raise CommandError(_NO_AOF)
        return sources

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "changes")
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    # -- waiting

    def _next_write(self) -> asyncio.Future[None]:
        """Asked for before anything is looked at, so that no write falls between."""
        if self._written is None or self._written.done():
            self._written = asyncio.get_running_loop().create_future()
            self._aof.tell(self._wake)
        return self._written

    def _wake(self) -> None:
        """From inside a tick."""
        if self._written is not None and not self._written.done():
            self._written.set_result(None)

    async def _wait(self, client: Client, written: asyncio.Future[None], request: _Request) -> bool:
        """False when the time is up, or nobody waits any more."""
        assert request.until is not None
        self._waiting += 1
        try:
            while True:
                left = request.until - time.monotonic()
                if left <= 0 or client.gone:
                    return False
                done, _ = await asyncio.wait((written,), timeout=min(left, LOOK_S))
                if done:
                    return True
        finally:
            self._waiting -= 1

    # -- choosing

    def _chosen(self, unit: tuple[int, list[Change]], request: _Request) -> list[Reply]:
        """Those that were asked for, each with how many more of its transaction follow."""
        offset, changes = unit
        chosen = [change for change in changes if self._is_chosen(change, request)]
        return [[offset, db, len(chosen) - 1 - i, words] for i, (db, words) in enumerate(chosen)]

    def _is_chosen(self, change: Change, request: _Request) -> bool:
        db, words = change
        name = words[0].lower()
        if name in NOT_CHANGES:
            return False
        if request.db is not None and db != request.db and name not in EVERYWHERE:
            return False
        if not request.patterns and not request.categories:
            return True
        try:
            keys = [words[at] for at, _ in self._engine.command_keys(words)]
        except CommandError:  # it has none: all of them are concerned
            return True
        if request.categories and request.categories.isdisjoint(self._categories_of(name, words)):
            return False
        return not request.patterns or any(glob_matches(p, key) for p in request.patterns for key in keys)

    def _categories_of(self, name: bytes, words: list[bytes]) -> frozenset[str]:
        if not self._categories:
            self._categories = {spec.name: categories(spec) for spec in self._engine.specs()}
        found = self._categories.get(name.decode("latin-1"), frozenset())
        sub = words[1].lower() if len(words) > 1 else b""
        return found | self._categories.get((name + b"|" + sub).decode("latin-1"), frozenset())

    # -- commands

    def _read_row(self, client: Client, argv: list[bytes]) -> Any:
        request = self._request(argv)
        self._sources()
        return self._read(client, request)

    def _request(self, argv: list[bytes]) -> _Request:
        request = _Request(None)
        if argv[2] == b"$":
            request.now = True
        elif argv[2] != b"-":
            match = _POSITION.fullmatch(argv[2])
            if match is None:
                raise CommandError("ERR invalid position: it is <id>:<offset> as CDC READ returned it, - or $")
            request.position = Position(match[1], int(match[2]))
        if len(argv) % 2 == 0:
            raise CommandError("ERR syntax error")
        for word, value in zip(argv[3::2], argv[4::2], strict=True):
            option = _OPTIONS.get(word.lower())
            if option is None:
                raise CommandError("ERR syntax error")
            option(request, value)
        if request.db is not None and request.db >= self._config.number("databases"):
            raise CommandError("ERR DB index is out of range")
        return request

    async def _info_row(self, client: Client, argv: list[bytes]) -> Reply:
        sources, end = self._sources(), self._end()
        oldest = await self._in_thread(self._files.oldest, sources)
        return {
            "position": _text(end),
            "oldest": _text(oldest or end),
            "written": self._aof.written,
            "synced": self._aof.synced,
            "files": len(sources),
            "bytes": sum(source.size for source in sources),
            "waiting": self._waiting,
        }


def _text(position: Position) -> bytes:
    return b"%b:%d" % position


def _number(value: bytes, low: int, high: int = NUMBER_MAX) -> int:
    number = parse_integer(value.decode("latin-1"))
    if number is None or not low <= number <= high:
        raise CommandError(_NUMBER)
    return number


def _count(request: _Request, value: bytes) -> None:
    request.count = _number(value, 1, COUNT_MAX)


def _bytes(request: _Request, value: bytes) -> None:
    request.size = _number(value, 1, BYTES_MAX)


def _block(request: _Request, value: bytes) -> None:
    ms = _number(value, 0)
    request.until = time.monotonic() + ms / 1000 if ms else float("inf")


def _db(request: _Request, value: bytes) -> None:
    request.db = _number(value, 0)


def _match(request: _Request, value: bytes) -> None:
    request.patterns.append(value)


def _category(request: _Request, value: bytes) -> None:
    name = value.decode("latin-1").lower().removeprefix("@")
    if name not in CATEGORIES:
        raise CommandError("ERR unknown category")
    request.categories.add(name)


_OPTIONS: Final[dict[bytes, Callable[[_Request, bytes], None]]] = {
    b"count": _count,
    b"bytes": _bytes,
    b"block": _block,
    b"db": _db,
    b"match": _match,
    b"category": _category,
}
