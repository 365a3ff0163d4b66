"""AOF files command by command, without running them; the theory is in aof_walk.pyx."""

from typing import Final

from cachefleet_server.engine import Engine

END: Final[int]  # all is well up to the end
TORN: Final[int]  # the file ends in a command or a transaction
ZEROS: Final[int]  # ... and nothing but zeros follows what there is of it
DAMAGED: Final[int]  # bytes that no command has
UNKNOWN: Final[int]  # a command that the engine does not have
ARITY: Final[int]  # a command with a wrong number of arguments
MULTI: Final[int]  # MULTI in a transaction, or EXEC in none
LATER: Final[int]  # what follows is of a later second than `until_s`

class AofWalk:
    """One file. `engine`: whose commands are known; it runs none."""

    path: str
    stop: int  # why the walk ended
    command: bytes  # the name of the one at which it ended, as far as it is there
    fault_at: int  # the byte at which it ended
    valid_bytes: int  # the end of the last whole unit
    commands: int
    first_s: int  # the first time that the file says, unix time; -1: none
    last_s: int
    done_bytes: int
    total_bytes: int
    def __init__(
        self, engine: Engine, path: str, begin: int = 0, *, until_s: int | None = None, collect: bool = False
    ) -> None: ...
    def step(self, size: int) -> bool:
        """Goes on for about so many bytes; true while more is to come."""
    def take(self) -> bytes:
        """Commands since the last time, as they are in the file, without notes; of a walk that collects them."""
    def close(self) -> None: ...
