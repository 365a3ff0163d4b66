"""Loading of AOF files, in slices; the theory is in aof_load.pyx."""

from cachefleet_server.engine import Engine, Keyspace

Position = tuple[bytes, int, int]  # history's id, tenure, offset

class AofLoader:
    """One file. Raises `errors.DataError` for damage that is not a torn tail."""

    path: str
    torn: bool  # the file ends inside a command or a transaction, after `valid_bytes`
    zeros: bool  # torn, and nothing but zeros follows what there is of a command
    valid_bytes: int
    commands: int
    done_bytes: int
    total_bytes: int
    position: Position | None  # of valid_bytes in the journal; None while nothing said
    db: int  # in which the journal is there
    def __init__(
        self,
        engine: Engine,
        path: str,
        begin: int = 0,
        position: Position | None = None,
        into: Keyspace | None = None,
    ) -> None: ...
    def step(self, budget_us: int) -> bool:
        """Runs commands for about this long; true while more is to come."""
    def close(self) -> None: ...
