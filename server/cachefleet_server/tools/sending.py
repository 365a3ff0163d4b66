"""`cachefleet import` and `cachefleet aof replay`: files to a running server.

A snapshot's keys go as RESTORE, in the form that the server reads (dialects.py); commands go as they are in the file,
but for what servers take from files alone (trimming.py).
Many are on their way at once. The first one that the server refuses ends it, named with its place in the file, but
what was on its way is run all the same; with --keep-going the others follow.

What the server confirmed last in front of that is said whenever it ends early. Of a snapshot one can go on there:
--from.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
from typing import Any, Final

from cachefleet_server.engine import Engine
from cachefleet_server.errors import DataError
from cachefleet_server.persistence import aof_walk
from cachefleet_server.persistence.aof_walk import AofWalk
from cachefleet_server.persistence.rdb_encode import payload
from cachefleet_server.persistence.rdb_walk import RdbWalk, Record
from cachefleet_server.tools import aof, aof_parts, dialects, text
from cachefleet_server.tools.aof_parts import Parts
from cachefleet_server.tools.dialects import NAMED_MAX, Choice
from cachefleet_server.tools.link import Link, Pipeline, Who, command, error_text, login
from cachefleet_server.tools.outcome import Exit, Failure, complain, say
from cachefleet_server.tools.progress import progress
from cachefleet_server.tools.trimming import without_limits
from cachefleet_server.tools.walking import walking

STEP_BYTES: Final = 262_144  # of commands that go together
NAME_SHOWN_MAX: Final = 64


def send(options: argparse.Namespace) -> Exit:
    parts = aof_parts.find(options.path)
    snapshots = [path for path in parts.paths if aof_parts.begins_with_snapshot(path)]
    if options.start and (len(parts.paths) > 1 or not snapshots):
        raise Failure(Exit.USAGE, "--from is for a snapshot by itself")
    with Link(options.server, login(options)) as link:
        dialect = dialects.of_server(link.facts())
        if dialect is None:
            raise Failure(Exit.FAILED, f"{link.where} is older than Redis 7.0, and reads none of this")
        if len(snapshots) < len(parts.paths) and not options.replace and has_keys(link):
            raise Failure(
                Exit.FAILED, f"{link.where} has keys, which commands would change: --replace, if they are to run there"
            )
        with contextlib.closing(Engine(databases=1)) as engine:
            _Sending(link, engine, Choice(dialect, options.drop), options).run(parts)
    return Exit.OK


def has_keys(link: Link) -> bool:
    said = link.must(b"INFO", b"keyspace")
    return any(line.startswith(b"db") for line in said.splitlines())


class _Sending:
    def __init__(self, link: Link, engine: Engine, choice: Choice, options: argparse.Namespace) -> None:
        self._link = link
        self._engine = engine
        self._choice = choice
        self._options = options
        self._pipeline = Pipeline(link, self._heed)
        self._refused = self._keys = self._commands = 0
        self._confirmed: tuple[Who, int] | None = None

    def run(self, parts: Parts) -> None:
        try:
            for path in parts.paths:
                if self._goes_on:
                    self._file(path)
        except Failure as failure:
            raise Failure(failure.code, f"{failure}; {self._last()}") from None
        if self._refused:
            raise Failure(Exit.FAILED, f"the server refused {text.count(self._refused, 'command')}; {self._last()}")
        self._choice.decide("the other keys were sent" if self._options.keep_going else self._last())
        said = [text.count(self._keys, "key")] if self._keys or not self._commands else []
        said += [text.count(self._commands, "command")] if self._commands else []
        say(f"{' and '.join(said)} to {self._link.where}")

    @property
    def _goes_on(self) -> bool:
        return self._options.keep_going or not (self._refused or self._choice.refused)

    def _last(self) -> str:
        if self._confirmed is None:
            return "before that it confirmed none"
        who, number = self._confirmed
        return f"the last one that it confirmed before is {who(number)}"

    def _heed(self, who: Who, number: int, reply: Any) -> None:
        said = error_text(reply)
        if not said:
            if not self._refused:  # behind a gap it is no place to go on at
                self._confirmed = who, number
            return
        self._refused += 1
        if self._refused <= NAMED_MAX:
            complain(f"{who(number)}: {said}")

    def _file(self, path: str) -> None:
        begin = self._snapshot(path) if aof_parts.begins_with_snapshot(path) else 0
        if self._goes_on and begin < os.path.getsize(path):
            self._tail(path, begin)

    # -- keys

    def _snapshot(self, path: str) -> int:
        """Where it ends."""
        db, libraries = -1, 0
        with walking(path, commands_follow=True, engine=self._engine) as it:
            for record in it.records():
                libraries = self._libraries(it.walk, libraries)
                if record.offset < self._options.start:
                    continue
                taken = self._choice.takes(it.walk, record)
                if not self._goes_on:
                    break
                if not taken:
                    continue
                who = functools.partial(_name_of_key, path, record)
                if record.db != db:
                    db = record.db
                    self._pipeline.put(command(b"SELECT", b"%d" % db), 1, who)
                self._pipeline.put(self._restore(it.walk, record), 1, who)
                self._keys += 1
            self._libraries(it.walk, libraries)
            self._choice.take_modules(it.walk)
            self._pipeline.drain()
            end: int = it.walk.end_offset
        return end

    def _libraries(self, walk: RdbWalk, done: int) -> int:
        for number, code in enumerate(walk.functions[done:], done + 1):
            if self._options.start == 0 and self._choice.takes_library() and self._goes_on:
                words = (b"FUNCTION", b"LOAD", *((b"REPLACE",) if self._options.replace else ()), code)
                self._pipeline.put(command(*words), 1, functools.partial(_name_of_library, number))
        return len(walk.functions)

    def _restore(self, walk: RdbWalk, record: Record) -> bytes:
        dialect = self._choice.dialect
        words = [payload(walk, dialect.form, dialect.version)]
        if self._options.replace:
            words.append(b"REPLACE")
        ttl = 0
        if record.expire_ms is not None:
            ttl = max(record.expire_ms, 1)  # 0 would mean that it never expires
            words.append(b"ABSTTL")
        if record.idle_s is not None:
            words += [b"IDLETIME", b"%d" % record.idle_s]
        elif record.frequency is not None:
            words += [b"FREQ", b"%d" % record.frequency]
        return command(b"RESTORE", record.key, b"%d" % ttl, *words)

    # -- commands

    def _tail(self, path: str, begin: int) -> None:
        self._pipeline.put(command(b"SELECT", b"0"), 1, lambda _: "SELECT")  # as where the file is loaded
        with (
            contextlib.closing(AofWalk(self._engine, path, begin, collect=True)) as walk,
            progress(path, walk.total_bytes) as show,
        ):
            more = True
            while more and self._goes_on:
                start, before = walk.done_bytes, walk.commands
                more = walk.step(STEP_BYTES)
                if walk.commands > before:
                    who = functools.partial(_name_of_command, path, start)
                    self._pipeline.put(without_limits(walk.take()), walk.commands - before, who)
                    self._commands += walk.commands - before
                show(walk.done_bytes)
            self._pipeline.drain()
            if self._goes_on and walk.stop != aof_walk.END:
                raise DataError(aof.words(walk))


def _name_of_library(place: int, _: int) -> str:
    return f"function library {place}"


def _name_of_key(path: str, record: Record, _: int) -> str:
    return f"{text.quoted(record.key)} of database {record.db}, at byte {record.offset} of {path}"


def _name_of_command(path: str, start: int, number: int) -> str:
    """Looked up only now: where the file is at `start` commands begin, notes between them."""
    with open(path, "rb") as file:
        file.seek(start)
        while True:
            at = file.tell()
            line = file.readline()
            if line.startswith(b"#"):
                continue
            name = b""
            for place in range(int(line[1:])):
                size = int(file.readline()[1:])
                if place == 0:
                    name = file.read(size)
                else:
                    file.seek(size, os.SEEK_CUR)
                file.seek(2, os.SEEK_CUR)
            if number == 0:
                return f"{text.quoted(name[:NAME_SHOWN_MAX])} at byte {at} of {path}"
            number -= 1
