"""Fuzzes the RDB loader: any file is loaded or refused with DataError, in memory that follows its length.

Checksums are not verified, so that mutations reach the parser. Afterwards nothing is left behind.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile

import harness

sys.path.insert(0, str(harness.ROOT / "tests" / "support"))

from cachefleet_server.engine import Engine
from cachefleet_server.errors import DataError
from cachefleet_server.persistence.rdb_load import RdbLoader
from fleettest.rdbfile import Builder, length, string

# What a byte of a file may cost: hints make room for a key per 3 bytes in two tables, LZF unpacks to 88 bytes.
MEMORY_PER_BYTE = 200
SLACK = 100_000
TOKENS = [bytes([n]) for n in range(240, 256)] + [
    b"\x00", b"\x04", b"\xc0", b"\xc1", b"\xc2", b"\xc3", b"\x80", b"\x81", b"\xff" * 8, b"\xfe\x01",
    b"\xfb\x80\xff\xff\xff\xff\x01",
    b"\x00\x01k\x01v", b"\xfc" + b"\xff" * 7 + b"\x7f", b"\xf8\x20", b"\xf9\x07", b"\xfa\x01a\x01b",
]  # fmt: skip


def more_seeds() -> list[bytes]:
    packed = b"\x00a" + b"\xe0" + bytes([255]) + b"\x00"
    file = Builder().aux(b"redis-ver", b"7.0.15").select(1).sizes(3, 1).key(b"a", b"text", expire_ms=1 << 41)
    file.key(b"b", b"", idle_s=70).raw(b"\x00\x01n\xc1\x00\x10").raw(
        b"\x00" + string(b"lzf") + b"\xc3" + length(len(packed)) + length(265) + packed
    )
    module = Builder(b"REDIS0012").raw(b"\xf7\x05\x02\x05\x01\x07\x03" + bytes(4) + b"\x05\x01t\x00\xf4\x01\x02\x03")
    return [file.end(), module.key(b"k", b"v", frequency=5).end(), Builder(b"VALKEY080").key(b"k", b"v").end()]


class Load:
    def __init__(self) -> None:
        self.engine = Engine(databases=4)
        self.folder = tempfile.TemporaryDirectory(
            prefix="fuzz-rdb-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
        )
        self.path = os.path.join(self.folder.name, "dump.rdb")
        self.base = 0

    def __call__(self, data: bytes) -> None:
        with open(self.path, "wb") as file:
            file.write(data)
        with contextlib.suppress(DataError):
            loader = RdbLoader(self.engine, self.path, checksum=False, skip_expired=False)
            try:
                while loader.step(0):
                    pass
            finally:
                loader.close()
        used = self.engine.stats()["used_memory"]
        self.engine.execute(b"FLUSHALL", b"SYNC")
        left = self.engine.stats()["used_memory"]
        self.base = self.base or left
        assert used < self.base + SLACK + MEMORY_PER_BYTE * len(data), f"{used} bytes for a file of {len(data)}"
        assert left < self.base + SLACK, f"memory grew from {self.base} to {left}"


if __name__ == "__main__":
    harness.exit_with(
        harness.run("rdb", Load(), mutations=[*harness.GENERAL, harness.insert_from(TOKENS)], more_seeds=more_seeds())
    )
