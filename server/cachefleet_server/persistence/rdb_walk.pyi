"""RDB files record by record; the theory is in rdb_walk.pyx."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from cachefleet_server.engine import Engine
from cachefleet_server.persistence.rdb_load import RdbLoader

class Record(NamedTuple):
    db: int
    key: bytes
    type: str  # as TYPE says
    expire_ms: int | None  # unix time
    idle_s: int | None
    frequency: int | None
    offset: int  # of the record in the file, attributes of the key not included
    size: int  # its bytes there

class RdbWalk(RdbLoader, Iterator[Record]):
    """One file. Raises `errors.DataError` for what is damaged, foreign or unknown: where, and how many keys are before.

    The record that was given last lies in an engine, and can be asked for.
    """

    functions: list[bytes]  # libraries that the file holds, those up to here
    checksum: int  # that the file has at its end, 0: none; known at the end
    def __init__(self, path: str, *, engine: Engine | None = None) -> None:
        """`engine`: an empty one that no other walk has; without it the walk makes its own."""
    def __iter__(self) -> Iterator[Record]: ...
    def __next__(self) -> Record: ...
    def ask(self, *words: bytes) -> Any: ...  # a command on it, also one that changes it: its reply, as of execute_own
    @property
    def timed(self) -> bool: ...  # members of the record expire
    def digest(self) -> bytes: ...  # of its content, equal for equal ones (DEBUG DIGEST-VALUE)
    def memory(self) -> int: ...  # bytes that the record takes in a server
    @property
    def at(self) -> int: ...  # how far it is in the file
