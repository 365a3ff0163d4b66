"""Following a primary, for Python; the theory is in keyspace/following.pxd.

One object an engine. `begin` makes the server a replica, `end` a primary; in between connections come and go.
"""

from collections.abc import Callable
from typing import NamedTuple

from cachefleet_server.engine import Engine

class Position(NamedTuple):
    id: str  # of a history; ...
    offset: int  # ... the data are what it has up to there

class Stream:
    on_lost: Callable[[str, bool], None] | None
    # The connection is gone: why, and whether the stream could not be executed. From inside a tick.
    def __init__(self, engine: Engine) -> None: ...
    following: bool
    connected: bool
    offset: int  # executed
    read_offset: int  # arrived
    db: int  # in which the stream is
    idle_s: int  # since something came; -1 while there is no connection
    position: Position | None  # from where a primary could go on; None: there is no history
    def begin(self) -> None: ...
    def end(self) -> None: ...  # the history goes on under a new id; disconnects
    def set(self, *, read_only: bool, serve_stale: bool) -> None: ...
    def connect(self, fd: int, early: bytes) -> None: ...
    # Takes the descriptor of a stream that begins at `offset` and has begun with these bytes. Raises OSError.
    def disconnect(self) -> None: ...  # now; on_lost is not called
    def acknowledge(self) -> None: ...
    def manage(self, on_beat: Callable[[bytes], None]) -> None: ...
    # From now on only `confirm` confirms anything; called with the word of each PING that has one, from inside a tick.
    def confirm(self, offset: int) -> None: ...
    def confirm_ticks(self, promptly: bool, *, from_file: bool) -> None: ...
    # Whether each tick confirms what it has brought, at its end; `from_file`: as far as the AOF has it.
    def take_confirmed(self) -> float | None: ...
    # How many seconds ago anything was confirmed last, at most; None: not since this was asked before.
    def become(self, id: str, offset: int, db: int) -> None: ...
    # The data have become those of this history at this offset, where it is in that database; between ticks. Of the
    # journal's consumers there are only those that were attached since.
    def turn(self, id: str) -> None: ...  # the same history under another id
