"""The backlog and those who are fed from it; the theory is in feed.pxd. Replicas are named by their clients' ids."""

from collections.abc import Callable
from typing import Final, NamedTuple

from cachefleet_server.engine import Engine

WAITING: Final[int]
SYNCING: Final[int]
LOADING: Final[int]
ONLINE: Final[int]
READS_REDIS: Final[int]  # what everybody reads ...
READS_VALKEY: Final[int]  # ... fields that expire, too ...
READS_ALL: Final[int]  # ... and all that our own servers have

class Replica(NamedTuple):
    id: int
    state: int
    acked: int
    silent_s: float  # since it confirmed something
    idle_s: float  # since it sent anything
    pending: int  # bytes of its output

class Feed:
    on_gone: Callable[[int, str], None] | None  # a replica's client goes; why we wanted that, or ""
    def __init__(self, engine: Engine) -> None: ...
    # -- the stream
    opened: bool
    id: str  # of the journal's history; "" while there is none
    earlier_id: str  # the one it goes on from, or "" ...
    earlier_end: int  # ... and where they part
    start: int  # offset of the first byte in the backlog
    stop: int  # offset behind the last one there
    end: int  # the same of the journal, of which this tick's bytes are not there yet
    memory: int  # bytes of blocks
    excess: int  # of which beyond the size
    good: int  # replicas that are online and spoke lately
    still: bool  # a shutdown or a handover: the stream ends, so that replicas can be seen to have all of it
    needed: int  # what a reader of the data must read
    def open(self, size: int) -> None: ...  # attaches to the journal; nothing if it is open
    def resize(self, size: int) -> None: ...
    def close(self) -> None: ...  # the backlog goes; there must be no replicas, or they are disconnected
    def go_on(self, id: str, offset: int, db: int) -> None:
        """At a start, before anybody reads the journal: the data end there in that history, in that database."""
    def say(self, command: bytes) -> None:
        """Puts a command in RESP that changes nothing, such as PING, into the stream; not while a command runs."""
    # -- replicas
    def add(self, id: int, readable: int, *, snapshot_only: bool) -> None: ...
    def resume(self, id: int, readable: int, greeting: bytes, offset: int) -> None: ...
    # The stream from there on, behind the greeting; the offset is in the backlog.
    def begin(self, id: int) -> int: ...  # between ticks; the offset at which the snapshot must be taken, now
    def sent(self, id: int) -> None: ...
    def newline(self, id: int) -> None: ...  # to one that waits
    def disconnect(self, id: int) -> None: ...
    def replicas(self) -> list[Replica]: ...  # the oldest first
    def tell_confirmations(self, on_confirmed: Callable[[int, int], None]) -> None: ...
    # Who has the stream has confirmed up to an offset; from inside a tick.
    def take_confirmations(self) -> None:
        """The row REPLCONF exists: its ACK and GETACK are dealt with here from now on."""
