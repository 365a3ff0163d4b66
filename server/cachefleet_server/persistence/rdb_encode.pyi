"""The record of a walk in another dialect; the theory is in rdb_encode.pyx. Dialects are those of snapshot.pyi."""

from collections.abc import Iterable

from cachefleet_server.engine import Engine
from cachefleet_server.persistence.rdb_walk import RdbWalk, Record

def dialect_of(walk: RdbWalk) -> int: ...  # the oldest one that holds the record which was given last
def payload(walk: RdbWalk, dialect: int, version: int) -> bytes:
    """That record's value for RESTORE, with this RDB version in its footer."""

class RdbFile:
    """A file in the making. Raises OSError."""

    path: str
    keys: int
    size: int  # bytes written
    def __init__(
        self, engine: Engine, path: str, dialect: int, magic: bytes, aux: Iterable[tuple[bytes, bytes]]
    ) -> None:
        """`engine`: the walk's. `magic`: what the file begins with, nine bytes."""
    def library(self, code: bytes) -> None: ...  # a function library; before keys
    def put(self, walk: RdbWalk, record: Record) -> None:
        """The record that the walk gave last, with the attributes that `record` has."""
    def finish(self) -> None:
        """The rest; the file is in place, and on disk."""
    def close(self) -> None:
        """Also after an error, before the engine's end: then nothing is left. Idempotent."""
