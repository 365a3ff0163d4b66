"""Loading of RDB files, in slices; the theory is in rdb_load.pyx."""

from cachefleet_server.engine import Engine, Keyspace

OWN_MAGIC: bytes  # how files of our own dialect begin

class RdbLoader:
    """One file. Raises `errors.DataError` for a file that is damaged, foreign, or holds what cannot be loaded."""

    path: str
    version: int
    valkey: bool  # VALKEY dialect, or our own, which holds it
    aux: dict[str, bytes]  # the first 64 AUX pairs
    skipped_modules: list[str]  # modules whose auxiliary data was left out
    total_bytes: int
    done_bytes: int
    keys: int  # loaded
    keys_expired: int  # left out because their time has passed
    keys_empty: int  # left out because their collection has no elements
    def __init__(
        self,
        engine: Engine,
        path: str,
        *,
        into: Keyspace | None = None,  # beside the engine's own; None: into that
        skip_expired: bool = True,  # false for the base of an AOF and for a replica: their primary decides
        journal_expired: bool = False,  # what is left out is kept in mind for `journal_left_out`
        checksum: bool = True,
        replace: bool = False,  # keys that exist are overwritten instead of being an error
    ) -> None: ...
    def step(self, budget_us: int) -> bool:
        """Loads for about this long; true while more is to come. Adds what it did to persist.load_*."""
    def journal_left_out(self) -> None:
        """After the last step, when it is certain that what was loaded counts: those who have the rest of its history
        may have what was left out, too."""
    def close(self) -> None:
        """Gives the file back; also after an error. Idempotent."""
    @property
    def end_offset(self) -> int:
        """After the last step: where the RDB part ends, and commands begin in an AOF with an RDB preamble."""
