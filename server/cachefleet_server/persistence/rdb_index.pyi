"""What an RDB file holds, at 24 bytes a key; the theory is in rdb_index.pyx."""

from typing import Final

KEY_BYTES: Final[int]
VALUE_BYTES: Final[int]

class RdbIndex:
    unseen: int  # rows that `find` has not met
    def add(self, key: bytes, type: int, value: bytes, expire_ms: int) -> None:
        """Hashes of KEY_BYTES and VALUE_BYTES. Not after `sort`."""
    def sort(self) -> bytes | None:
        """Before anything is looked for. A hash that two rows have: a key occurs twice."""
    def find(self, key: bytes) -> tuple[int, bytes, int] | None: ...  # (type, value, expire_ms)
    def was_found(self, key: bytes) -> bool: ...
    def __len__(self) -> int: ...
