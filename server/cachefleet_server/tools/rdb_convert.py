"""`cachefleet rdb convert`: a file as another server writes it, a value at a time.

What that server cannot hold is refused, by name, unless --drop says that it may go. The file that comes out has its
name only when it is whole and on disk.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
from typing import Final

from cachefleet_server.engine import Engine
from cachefleet_server.files import sync_folder
from cachefleet_server.persistence.rdb_encode import RdbFile
from cachefleet_server.persistence.rdb_walk import RdbWalk
from cachefleet_server.tools import dialects, text
from cachefleet_server.tools.dialects import Choice
from cachefleet_server.tools.outcome import Exit, fresh, naming, say
from cachefleet_server.tools.walking import walking
from cachefleet_server.version import __version__

KEPT_AUX: Final = ("redis-bits", "ctime")  # what of a header is true of both files


def convert(options: argparse.Namespace) -> Exit:
    fresh(options.out, options.force)
    choice = Choice(dialects.named(options.to), options.drop)
    with contextlib.closing(Engine(databases=1)) as engine, walking(options.file, engine=engine) as it:
        records = it.records()
        first = next(records, None)  # behind the header
        out = RdbFile(engine, options.out, choice.dialect.form, choice.dialect.magic, _aux(it.walk))
        with contextlib.closing(out):
            libraries = 0
            for record in itertools.chain([first] if first else [], records):
                libraries = _put_libraries(out, it.walk, choice, libraries)
                if choice.takes(it.walk, record) and not choice.refused:
                    with naming(out.path):
                        out.put(it.walk, record)
            _put_libraries(out, it.walk, choice, libraries)
            choice.take_modules(it.walk)
            if it.broken is None:
                choice.decide("nothing was written")
                with naming(out.path):
                    out.finish()
                sync_folder(os.path.dirname(out.path))
                say(f"{out.path}: {text.count(out.keys, 'key')}, {text.size(out.size)}")
    return Exit.OK


def _aux(walk: RdbWalk) -> list[tuple[bytes, bytes]]:
    kept = [(name.encode(), walk.aux[name]) for name in KEPT_AUX if name in walk.aux]
    return [*kept, (b"cachefleet-ver", __version__.encode())]


def _put_libraries(out: RdbFile, walk: RdbWalk, choice: Choice, done: int) -> int:
    """Those that the walk has met; in files of servers all of them are in front of the keys."""
    for code in walk.functions[done:]:
        if choice.takes_library():
            out.library(code)
    return len(walk.functions)

