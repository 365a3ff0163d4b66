"""`cachefleet aof truncate`: an AOF as it was at a time, by the times that its files say (aof-timestamp-enabled).

A file says now and then the second from which on commands were executed. The cut is in front of the first one that is
later than what is asked for, at the end of a whole command or transaction. A base is as old as its snapshot: to a time
before that there is no way back.

Cut in place, what is cut off is kept, as by a repair. With --to the folder stays as it is, and another one has the
result.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cachefleet_server.engine import Engine
from cachefleet_server.errors import DataError
from cachefleet_server.files import sync_folder
from cachefleet_server.persistence import aof_manifest, aof_walk
from cachefleet_server.persistence.aof_walk import AofWalk
from cachefleet_server.tools import aof, aof_parts, text
from cachefleet_server.tools.aof_parts import Parts
from cachefleet_server.tools.outcome import Exit, Failure, naming, say
from cachefleet_server.tools.walking import walking

_SECONDS_MAX: Final = 253_402_300_799  # the end of the year 9999


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the time is over: in which of the parts, and how much of that is kept."""

    at: int
    valid_bytes: int
    last_s: int  # the last time that is kept, -1: none


def truncate(options: argparse.Namespace) -> Exit:
    parts = aof_parts.find(options.path)
    with contextlib.ExitStack() as stack:
        if options.to is None and not options.dry_run:
            stack.enter_context(aof_parts.claimed(parts))
        engine = stack.enter_context(contextlib.closing(Engine(databases=1)))
        cut = find(parts, engine, options.until)
        if cut is None:
            say(f"nothing is later than {shown(options.until)}")
            return Exit.OK
        for line in lost(parts, cut):
            say(line)
        if options.dry_run:
            return Exit.OK
        if options.to is not None:
            copy(parts, cut, options.to)
        else:
            aof.cut(parts, cut.at, cut.valid_bytes, yes=options.yes)
    return Exit.OK


def find(parts: Parts, engine: Engine, until_s: int) -> Cut | None:
    """None: there is nothing to cut. Raises DataError for files that are not whole up to there."""
    last_s, stamped = -1, False
    for at, path in enumerate(parts.paths):
        begin = 0
        if aof_parts.begins_with_snapshot(path):
            begin = _snapshot_end(path, until_s)
        with contextlib.closing(AofWalk(engine, path, begin, until_s=until_s)) as walk:
            aof.go(walk)
            last_s = max(last_s, walk.last_s)
            stamped = stamped or walk.first_s >= 0 or walk.stop == aof_walk.LATER
            if walk.stop == aof_walk.LATER:
                return Cut(at, walk.valid_bytes, last_s)
            if walk.stop != aof_walk.END:
                raise DataError(f"{aof.words(walk)}. Repair it first: cachefleet aof repair")
    if not stamped:
        raise Failure(Exit.FAILED, "the files do not say when commands were executed: aof-timestamp-enabled was off")
    return None


def _snapshot_end(path: str, until_s: int) -> int:
    with walking(path, commands_follow=True) as it:
        for _ in it.records():
            pass
        end: int = it.walk.end_offset
        written = it.walk.aux.get("ctime", b"")
    if not written.isdigit():
        raise Failure(Exit.FAILED, f"{path} is a snapshot that does not say from when it is")
    if int(written) > until_s:
        raise Failure(
            Exit.FAILED, f"{path} is a snapshot of {shown(int(written))}; what was before that is not in these files"
        )
    return end


def lost(parts: Parts, cut: Cut) -> list[str]:
    path = parts.paths[cut.at]
    n = os.path.getsize(path) - cut.valid_bytes
    when = f", the last ones of {shown(cut.last_s)}" if cut.last_s >= 0 else ""
    lines = [f"{path}: keeps {text.count(cut.valid_bytes, 'byte')}{when}; {text.count(n, 'byte')} later"]
    return lines + [f"{later}: later, {text.size(os.path.getsize(later))}" for later in parts.paths[cut.at + 1 :]]


def copy(parts: Parts, cut: Cut, folder: str) -> None:
    """Into a folder that is made for it: for a server's `appendonlydir`, or a file by itself."""
    os.makedirs(folder)  # one that exists has something else in it
    for path in parts.paths[: cut.at + 1]:
        target = os.path.join(folder, os.path.basename(path))
        with open(path, "rb") as source, naming(target), open(target, "xb") as out:
            shutil.copyfileobj(source, out, aof.STEP_BYTES)
            if path == parts.paths[cut.at]:
                out.truncate(cut.valid_bytes)
            out.flush()
            os.fsync(out.fileno())
    if parts.manifest_path:
        name = os.path.join(folder, os.path.basename(parts.manifest_path))
        with naming(name):
            aof_manifest.write(name, parts.first(cut.at + 1))
    sync_folder(folder)
    say(f"{folder} has {text.count(cut.at + 1, 'file')}")


def shown(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def a_time(word: str) -> int:
    """Unix seconds, or as ISO 8601 has it; without a zone it is UTC. Raises ValueError."""
    if word.isascii() and word.isdigit():
        if int(word) > _SECONDS_MAX:
            raise ValueError
        return int(word)
    moment = datetime.fromisoformat(word)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
