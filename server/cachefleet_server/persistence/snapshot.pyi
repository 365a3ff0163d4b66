"""Point-in-time snapshots without fork; the theory is in snapshot.pxd.

    Snapshot(engine, temp_path=..., final_path=..., on_done=done).start()

One object is one run. Used by BGSAVE, for the base file of the AOF, and for full synchronisation of replicas (`fd`).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cachefleet_server.engine import Engine

DIALECT_REDIS: int  # RDB version 11
DIALECT_REDIS70: int  # RDB version 10: what every reader since Redis 7.0 and every Valkey loads
DIALECT_VALKEY: int  # VALKEY080
DIALECT_OWN: int  # CFLEET001: times of members of sets and sorted sets, too

class SnapshotResult(NamedTuple):
    ok: bool
    aborted: bool
    error: str  # "" when ok; what failed and why
    errno: int
    bytes: int  # that the target took
    keys: int
    seconds: float

class Snapshot:
    result: SnapshotResult | None  # when it is over
    def __init__(
        self,
        engine: Engine,
        *,
        temp_path: str = "",
        final_path: str = "",  # "": the file keeps its temporary name and the caller renames it
        fd: int = -1,  # instead of a file, and non-blocking: from the start on the snapshot's, which closes it
        mark: bytes = b"",  # with fd: 40 random bytes that tell the receiver where the end is (target.pxd)
        stall_ms: int = 0,  # with fd: failed when nothing was taken for so long; 0: waits for ever
        dialect: int = ...,  # -1: the oldest that holds all values there are
        commands: bool = False,  # instead of RDB records: dialect, compress, checksum and aux mean nothing then
        compress: bool = True,
        checksum: bool = True,
        sync_often: bool = True,  # rdb-save-incremental-fsync
        aux: Sequence[tuple[str, str]] = (),
        on_done: Callable[[SnapshotResult], None] | None = None,  # from the engine's thread, in a later tick
        slice_us: int = 500,  # how long a tick is held up; 0: only `step` and `finish` deliver
    ) -> None: ...
    def start(self) -> None:
        """Fixes the point in time.

        Raises RuntimeError when another snapshot of this engine runs, OSError when there is no thread to be had. Disk
        errors come through the result, also those of opening the file.
        """
    def finish(self) -> SnapshotResult:
        """Drives it to its end, with the engine held up meanwhile, also by a slow receiver. `on_done` is called too."""
    def step(self, chains: int) -> bool:
        """Delivers up to so many chains, or takes a step in a large value; true while more are to come.

        For tests: slices go by time."""
    def abort(self) -> None:
        """Gives it up: the point in time is dropped at once, the temp file is removed by the writer thread soon."""
    @property
    def running(self) -> bool: ...
    @property
    def progress(self) -> tuple[int, int]:
        """(keys delivered, keys in all)."""
    @property
    def slice_copied_max(self) -> int:
        """The most bytes that one slice copied."""
    @property
    def step_copied_max(self) -> int:
        """The most bytes that were copied between two looks at the clock."""
    @property
    def copied(self) -> int:
        """Bytes copied so far."""
    @property
    def memory(self) -> int:
        """Bytes of chunks."""

def snapshot_running(engine: Engine) -> bool: ...
def changes(engine: Engine) -> int: ...  # since the last save: persist.dirty
def changes_saved(engine: Engine, n: int) -> None: ...  # n of them are on disk
def alone_readable(engine: Engine) -> tuple[int, int]: ...
    # Sets and sorted sets, and streams, that only DIALECT_OWN can hold.
def take_flush_save(engine: Engine) -> bool: ...  # FLUSHALL asked for a save since the last call
