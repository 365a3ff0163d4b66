"""What string commands write to the AOF, compared with Valkey's, command by command.

Our journal differs on purpose where Valkey's would not load in older servers: conditions and MSETEX become plain
SET and MSET. Those steps carry what is expected instead.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleettest.client import parse
from fleettest.instance import Instance, Pool
from fleettest.reference import Pair
from fleettest.scripts import words

pytestmark = [pytest.mark.server, pytest.mark.differential]

FAR_S = 9999999999
OPTIONS = {"appendonly": "yes", "appendfsync": "no"}

STEPS: list[tuple[str, list[str] | None]] = [
    # command, what we write where Valkey writes something else (None: the same)
    ("SET k v", None),
    ("SET k v EX 100", None),
    ("SET k v PX 100000 NX", None),
    ("SET k v EX 100 XX GET", None),
    ("SET k v PX 100000 EX 5", None),
    ("SET k v PX 100000 PX 200000", None),
    (f"SET k v EXAT {FAR_S}", None),
    (f"SET k v PXAT {FAR_S}000", None),
    ("SET k v KEEPTTL", None),
    ("SET k v KEEPTTL GET", None),
    ("SET k w GET", None),
    ("SET k x IFEQ w", ["SET k x"]),
    ("SET k x IFEQ w", None),
    ("SET k y IFEQ x GET", ["SET k y"]),
    ("SET k y IFEQ x GET", None),
    ("SET k v XX", None),
    ("SET new v NX", None),
    ("SET new v NX", None),
    ("SET new2 v NX GET", ["SET new2 v"]),
    ("SET no v XX", None),
    ("SET k v EXAT 1", None),
    ("SET k v EXAT 1", None),
    ("SET k v PXAT 5 GET", None),
    ("SETNX a 1", None),
    ("SETNX a 1", None),
    ("SETEX a 100 v", None),
    ("PSETEX a 100000 v", None),
    ("GETSET a b", None),
    ("GETSET g b", None),
    ("GETDEL g", None),
    ("GETDEL g", None),
    ("GETEX a", None),
    ("GETEX a EX 100", None),
    ("GETEX a PX 100000", None),
    (f"GETEX a EXAT {FAR_S}", None),
    (f"GETEX a PXAT {FAR_S}000", None),
    ("GETEX a PERSIST", None),
    ("GETEX a PERSIST", None),
    ("GETEX a EXAT 1", None),
    ("GETEX a EX 100", None),
    ("GET a", None),
    ("MGET a b", None),
    ("MSET a 1 b 2", None),
    ("MSET a 1 a 2", None),
    ("MSETNX a 1 c 2", None),
    ("MSETNX c 1 d 2", None),
    ("MSETEX 2 a 1 b 2", ["MSET a 1 b 2"]),
    ("MSETEX 2 a 1 b 2 NX", None),
    ("MSETEX 2 a 1 b 2 XX", ["MSET a 1 b 2"]),
    ("MSETEX 2 a 1 b 2 EX 100", ["MULTI", "SET a 1 PXAT +100", "SET b 2 PXAT +100", "EXEC"]),
    ("MSETEX 2 a 1 b 2 KEEPTTL", ["MULTI", "SET a 1 KEEPTTL", "SET b 2 KEEPTTL", "EXEC"]),
    (f"MSETEX 1 a 1 EXAT {FAR_S}", [f"SET a 1 PXAT {FAR_S}000"]),
    ("APPEND a x", None),
    ('APPEND a ""', None),
    ("APPEND e x", None),
    ("SETRANGE e 1 x", None),
    ('SETRANGE e 1 ""', None),
    ("SET n 1 EX 100", None),
    ("INCR n", None),
    ("INCRBY n 5", None),
    ("INCRBY n 0", None),
    ("DECR n", None),
    ("DECRBY n 5", None),
    ("INCR a", None),
    ("INCRBYFLOAT n 1.5", None),
    ("INCRBYFLOAT n 0", None),
    ("INCRBYFLOAT m 1.5", None),
    ("DELIFEQ m 2", None),
    ("DELIFEQ m 1.5", None),
    ("DELIFEQ m 1.5", None),
    ("SET k " + "v" * 100_000, None),
    ("SET k " + "w" * 100_000 + " EX 100", None),
    ("GETSET k " + "x" * 1_000_000, None),
    ("SETEX k 100 " + "y" * 100_000, None),
    ("SETNX z " + "z" * 100_000, None),
    ("MSET k " + "1" * 100_000 + " k " + "2" * 100_000, None),
    ("APPEND z " + "3" * 100_000, None),
    ("SELECT 1", None),
    ("SET k v", None),
    ("SELECT 0", None),
    ("SET k v", None),
    ("MULTI", None),
    ("SET k v EX 100", None),
    ("INCRBYFLOAT m 1.5", None),
    ("GETDEL m", None),
    ("EXEC", None),
]

OURS_ONLY: list[tuple[str, list[str]]] = [
    ("SET k v", ["SET k v"]),
    ("SET k w IFNE x", ["SET k w"]),
    ("SET k w IFNE w", []),
    ("SET k w IFDNE 0000000000000000 EX 100", ["SET k w PXAT +100"]),
    ("SET k v IFDEQ 0000000000000000", []),
    ("DELEX k IFEQ x", []),
    ("DELEX k IFEQ w", ["DEL k"]),
    ("DELEX k", []),
    ("INCREX n BYINT 5", ["SET n 5 KEEPTTL"]),
    ("INCREX n BYFLOAT 0.5", ["SET n 5.5 KEEPTTL"]),
    ("INCREX n BYFLOAT 0.5 EX 100", ["SET n 6 PXAT +100"]),
    ("INCREX n BYINT 1 EX 50 ENX", ["SET n 7 KEEPTTL"]),
    ("INCREX n BYFLOAT 1 EX 50 ENX", ["SET n 8 KEEPTTL"]),
    ("INCREX n BYFLOAT 1 UBOUND 5", []),
    ("INCREX n BYFLOAT 1 UBOUND 5 SATURATE PERSIST", ["SET n 5"]),
    ("INCREX n BYFLOAT 1 EXAT 1", ["UNLINK n"]),
    ("SET k v", ["SET k v"]),
    ("BITOP DIFF d k none", ["SET d v"]),
    ("BITOP one d k k", ["SET d \x00"]),
    ("BITOP ANDOR d none none", ["DEL d"]),
    ("BITOP ANDOR d none none", []),
    ("BITFIELD b OVERFLOW FAIL SET u8 0 256", ["BITFIELD b OVERFLOW FAIL SET u8 0 256"]),
    ("BITFIELD b OVERFLOW FAIL SET u8 0 256", []),
]


def normal(command: list[bytes], now_ms: int) -> str:
    """A journalled command as text: upper-case name, times near now as "+seconds"."""
    text = [word.decode("latin-1") for word in command]
    text[0] = text[0].upper()
    for i, word in enumerate(text):
        if i and len(word) < 20 and word.isdigit() and abs(int(word) - now_ms) < 10_000_000:
            text[i] = f"+{round((int(word) - now_ms) / 5000) * 5}"
        elif word.upper() in ("PXAT", "KEEPTTL"):
            text[i] = word.upper()
    return " ".join(text)


class Tail:
    """Commands that appear at the end of a server's AOF."""

    def __init__(self, server: Instance) -> None:
        files = sorted(Path(server.directory, "appendonlydir").glob("*.incr.aof"))
        self.path = files[-1]
        self.at = self.path.stat().st_size

    def read(self) -> list[str]:
        data = self.path.read_bytes()[self.at :]
        self.at += len(data)
        data = b"".join(line for line in data.splitlines(keepends=True) if not line.startswith(b"#"))
        at, found, now_ms = 0, [], time.time_ns() // 1_000_000
        while at < len(data):
            command, at = parse(data, at)
            found.append(normal(command, now_ms))
        return found


@pytest.fixture
def journalling(servers: Pool) -> Iterator[Pair]:
    with Pair(servers.get("cachefleet", **OPTIONS), servers.get("valkey", **OPTIONS)) as both:
        both.flush()
        yield both


def test_propagation(journalling: Pair) -> None:
    ours, theirs = (Tail(server) for server in journalling.instances)
    for command, instead in STEPS:
        journalling.run(*words(command))
        wrote, expected = ours.read(), theirs.read()
        assert wrote == (expected if instead is None else instead), command[:80]


def test_propagation_of_what_valkey_lacks(journalling: Pair) -> None:
    tail = Tail(journalling.instances[0])
    for command, expected in OURS_ONLY:
        journalling.ours.call(*words(command))
        assert tail.read() == expected, command
