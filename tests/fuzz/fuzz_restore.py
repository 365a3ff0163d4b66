"""Fuzzes RESTORE: the bytes of a value, under a right checksum, from a client who means harm.

Whatever comes, the reply is OK or an error. What was accepted is a value that DUMP and RESTORE carry over unchanged,
and what was refused leaves no memory behind. The first byte of an input chooses the version in the footer.
"""

from __future__ import annotations

import sys
from typing import Any

import harness

sys.path.insert(0, str(harness.ROOT / "tests" / "support"))

from cachefleet_server.engine import Engine
from cachefleet_server.replies import Error
from fleettest.rdbfile import dump
from fleettest.seeder import KINDS

VERSIONS = (10, 1, 11, 12, 15, 80, 79, 0, 0xCF01)
BODY_MAX = 4096  # the checksum is made in Python
SLACK = 4096  # bytes by which memory may differ after a key came and went: tables, the allocator's rounding
TOKENS = [
    b"\x00",
    b"\xc0",
    b"\xc1",
    b"\xc2",
    b"\xc3",
    b"\xc4",
    b"\x80",
    b"\x81",
    b"\xff" * 8,
    b"\x40",
    b"\x7f",
    b"\xe0",
]
KIND = {kind.name: kind for kind in KINDS}
REFUSALS = ("ERR Bad data format", "ERR DUMP payload version or checksum are wrong")


class Restore:
    def __init__(self) -> None:
        self.engine = Engine(databases=1)
        self.engine.set_param("lazyfree_lazy_user_del", 0)  # so that memory is back at once
        self.engine.set_param("lazyfree_lazy_server_del", 0)
        self.base = 0

    def __call__(self, data: bytes) -> None:
        run = self.engine.execute
        version = VERSIONS[data[0] % len(VERSIONS)] if data else 10
        reply = run(b"RESTORE", b"k", b"0", dump(data[1 : BODY_MAX + 1], version), b"REPLACE")
        if isinstance(reply, Error):
            assert reply.startswith(REFUSALS), reply
            assert run(b"EXISTS", b"k") == 0
        else:
            assert self.engine.check() == []
            value = self.value(b"k")
            assert run(b"RESTORE", b"copy", b"0", run(b"DUMP", b"k"), b"REPLACE") == "OK"
            assert self.value(b"copy") == value
            run(b"DEL", b"k", b"copy")
        used = self.engine.stats()["used_memory"]
        self.base = self.base or used
        assert used < self.base + SLACK, f"memory grew from {self.base} to {used}"

    def value(self, key: bytes) -> Any:
        kind = KIND[self.engine.execute(b"TYPE", key)]
        read = self.engine.execute(*kind.read(key))
        assert not isinstance(read, Error), read
        return kind.value(read)


if __name__ == "__main__":
    harness.exit_with(harness.run("restore", Restore(), mutations=[*harness.GENERAL, harness.insert_from(TOKENS)]))
