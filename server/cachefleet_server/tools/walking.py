"""One walk over an RDB file, shown as it goes; what ends it early is told after what was found up to there."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator

from cachefleet_server.engine import Engine, glob_matches
from cachefleet_server.errors import DataError
from cachefleet_server.persistence.rdb_walk import RdbWalk, Record
from cachefleet_server.tools import text
from cachefleet_server.tools.progress import progress


class Walking:
    """`broken` is what ended it."""

    def __init__(self, walk: RdbWalk, commands_follow: bool) -> None:
        self.walk = walk
        self._commands_follow = commands_follow
        self.broken: DataError | None = None

    def records(self) -> Iterator[Record]:
        walk = self.walk
        step = walk.total_bytes // 1000
        following = 0
        with progress(walk.path, walk.total_bytes) as show:
            try:
                for record in walk:
                    if walk.at >= following:
                        show(walk.at)
                        following = walk.at + step
                    yield record
                self._look_behind()
            except DataError as error:
                self.broken = error

    def _look_behind(self) -> None:
        """A server reads no further, so what follows is lost with the next save."""
        walk, rest = self.walk, self.walk.total_bytes - self.walk.end_offset
        if rest and not self._commands_follow:
            raise DataError(
                f"{walk.path} goes on for {text.count(rest, 'byte')} behind its end at byte {walk.end_offset}. If "
                "commands follow, it is an append only file: cachefleet aof check"
            )

    def chosen(self, options: argparse.Namespace) -> Iterator[Record]:
        """Those that --db, --match and --type are for."""
        pattern = None if options.match is None else options.match.encode("utf-8", "surrogateescape")
        for record in self.records():
            if options.db is not None and record.db not in options.db:
                continue
            if options.type is not None and record.type not in options.type:
                continue
            if pattern is None or glob_matches(pattern, record.key):
                yield record


@contextlib.contextmanager
def walking(path: str, *, commands_follow: bool = False, engine: Engine | None = None) -> Iterator[Walking]:
    """What broke the walk is raised at the end. `commands_follow`: as in an append only file. `engine`: empty."""
    with contextlib.closing(RdbWalk(path, engine=engine)) as walk:
        it = Walking(walk, commands_follow)
        yield it
    if it.broken is not None:
        raise it.broken
