"""`cachefleet aof check|repair`: what a server would stumble over when it loads an AOF, and cutting off what is torn.

A check goes over all files in their order and stops at the first fault, as a load does. It runs no commands, so it
takes no memory; with --load it does what a server does, and finds commands that fail on the data, too.

What is cut off is kept: beside the file, as <name>.cut, with the files behind it, which the manifest loses.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cachefleet_server.engine import Engine
from cachefleet_server.errors import DataError
from cachefleet_server.files import open_regular, sync_folder
from cachefleet_server.persistence import aof_manifest, aof_walk
from cachefleet_server.persistence.aof_load import AofLoader
from cachefleet_server.persistence.aof_walk import AofWalk
from cachefleet_server.persistence.rdb_load import RdbLoader
from cachefleet_server.tools import aof_parts, text
from cachefleet_server.tools.aof_parts import Parts
from cachefleet_server.tools.outcome import Exit, Failure, naming, say
from cachefleet_server.tools.progress import progress
from cachefleet_server.tools.walking import walking

STEP_BYTES: Final = 1 << 20
STEP_US: Final = 20_000
REPAIRABLE: Final = (aof_walk.TORN, aof_walk.ZEROS, aof_walk.DAMAGED)


@dataclass(frozen=True, slots=True)
class Fault:
    """The first one: in which file, what a cut would keep of it, and what to say."""

    at: int  # the file's place among the parts
    stop: int
    valid_bytes: int
    words: str


# ---- check -----------------------------------------------------------------------------------------


def check(options: argparse.Namespace) -> Exit:
    parts = aof_parts.find(options.path)
    with contextlib.closing(Engine(databases=1)) as engine:
        fault = first_fault(parts, engine)
    if fault is not None:
        raise DataError(fault.words)
    if options.load:
        _load(parts, options.databases)
    return Exit.OK


def first_fault(parts: Parts, engine: Engine) -> Fault | None:
    """None: all would be loaded. Says what is fine. Raises DataError for a snapshot that is damaged."""
    for at, path in enumerate(parts.paths):
        begin = _walk_snapshot(path) if aof_parts.begins_with_snapshot(path) else 0
        if begin and begin == os.path.getsize(path):
            continue
        with contextlib.closing(AofWalk(engine, path, begin)) as walk:
            go(walk)
            if walk.stop != aof_walk.END:
                return Fault(at, walk.stop, walk.valid_bytes, words(walk))
            say(f"{path}: fine, {text.count(walk.commands, 'command')}, {text.size(walk.total_bytes)}")
    return None


def _walk_snapshot(path: str) -> int:
    """Where it ends."""
    with walking(path, commands_follow=True) as it:
        keys = sum(1 for _ in it.records())
        end: int = it.walk.end_offset
    say(f"{path}: fine, a snapshot of {text.count(keys, 'key')}, {text.size(end)}")
    return end


def go(walk: AofWalk) -> None:
    with progress(walk.path, walk.total_bytes) as show:
        while walk.step(STEP_BYTES):
            show(walk.done_bytes)


def words(walk: AofWalk) -> str:
    """What ended the walk."""
    name = text.quoted(walk.command) if walk.command else "a command"
    what = {
        aof_walk.TORN: f"ends in the middle of {name}, or of its transaction,",
        aof_walk.ZEROS: f"ends in zeros, in {name},",
        aof_walk.DAMAGED: f"is damaged, in {name},",
        aof_walk.UNKNOWN: f"has the unknown command {name}",
        aof_walk.ARITY: f"has a wrong number of arguments for {name}",
        aof_walk.MULTI: f"has {name} where it cannot be",
    }[walk.stop]
    lost = walk.total_bytes - walk.valid_bytes
    return (
        f"{walk.path} {what} at byte {walk.fault_at}: whole up to byte {walk.valid_bytes}, behind which "
        f"{text.count(lost, 'byte')} follow{'s' if lost == 1 else ''}"
    )


def _load(parts: Parts, databases: int) -> None:
    """What a server does. The first command that fails is a DataError."""
    with contextlib.closing(Engine(databases=databases)) as engine:
        for path in parts.paths:
            begin = 0
            if aof_parts.begins_with_snapshot(path):
                with contextlib.closing(RdbLoader(engine, path, skip_expired=False)) as rdb:
                    _steps(rdb)
                    begin = rdb.end_offset
            with contextlib.closing(AofLoader(engine, path, begin)) as aof:
                _steps(aof)
        keys = sum(row[1] for row in engine.keyspace())
    say(f"loaded: {text.count(keys, 'key')}")


def _steps(loader: RdbLoader | AofLoader) -> None:
    with progress(loader.path, loader.total_bytes) as show:
        while loader.step(STEP_US):
            show(loader.done_bytes)


# ---- repair ----------------------------------------------------------------------------------------


def repair(options: argparse.Namespace) -> Exit:
    parts = aof_parts.find(options.path)
    with aof_parts.claimed(parts), contextlib.closing(Engine(databases=1)) as engine:
        fault = first_fault(parts, engine)
        if fault is None:
            return Exit.OK
        say(fault.words)
        if fault.stop not in REPAIRABLE:
            raise Failure(Exit.FAILED, "the bytes are whole, so a server with other commands wrote them: load it there")
        cut(parts, fault.at, fault.valid_bytes, yes=options.yes)
    return Exit.OK


def cut(parts: Parts, at: int, valid_bytes: int, *, yes: bool) -> None:
    """Gives up what follows a place, after asking. What is kept is on disk first, and the manifest names no file
    that is not there: a crash in between leaves something that can be cut again."""
    path, later = parts.paths[at], parts.paths[at + 1 :]
    lost = os.path.getsize(path) - valid_bytes
    question = f"Cut off {text.count(lost, 'byte')} of {path}, which keeps {valid_bytes}"
    if later:
        question += f", and give up {text.count(len(later), 'file')} behind it: {', '.join(later)}"
    _confirm(question, yes)
    kept = _keep(path, valid_bytes)
    if later:
        with naming(parts.manifest_path):
            aof_manifest.write(parts.manifest_path, parts.first(at + 1))
        for old in later:
            os.rename(old, _kept_name(old))
    with naming(path), os.fdopen(open_regular(path, os.O_RDWR), "r+b") as file:
        file.truncate(valid_bytes)
        os.fsync(file.fileno())
    sync_folder(os.path.dirname(path))
    say(f"{path} has {text.count(valid_bytes, 'byte')} now; the {text.count(lost, 'byte')} cut off are in {kept}")


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(Exit.USAGE, f"{question}? Say so with --yes")
    say(f"{question}? [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Failure(Exit.FAILED, "nothing was changed")


def _keep(path: str, begin: int) -> str:
    """A copy of the end, on disk."""
    name = _kept_name(path)
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as source:
        source.seek(begin)
        with naming(name), os.fdopen(open_regular(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as target:
            try:
                shutil.copyfileobj(source, target, STEP_BYTES)
                target.flush()
                os.fsync(target.fileno())
            except BaseException:
                os.unlink(name)
                raise
    return name


def _kept_name(path: str) -> str:
    """The first that nobody has."""
    return next(name for name in _names(path) if not os.path.lexists(name))


def _names(path: str) -> Iterator[str]:
    yield f"{path}.cut"
    number = 2
    while True:
        yield f"{path}.cut{number}"
        number += 1
