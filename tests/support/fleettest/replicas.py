"""A primary and its replica, of any kind: whether they follow, and whether their data are the same.

Data are equal when DEBUG DIGEST says so, at a moment when the replica has executed as much of the stream as there is.
Redis 7.0 writes scores in another way before it digests them: there all values are read and compared. And a sorted set
that was large once and is small now is a listpack where it was loaded, and that has no -0: its digest may differ.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Final

from fleettest.client import Connection, Error
from fleettest.instance import Instance
from fleettest.seeder import DATABASES, Seeder, assert_same, capture, digest, run
from fleettest.wait import assert_eventually

SYNC_S: Final = 60.0

Start = Callable[..., Instance]  # a fixture (tests/integration/conftest.py): (kind, of=whom it follows, **options)


def link_is(replica: Instance, status: str) -> bool:
    return replica.info("replication")["master_link_status"] == status


def assert_link(replica: Instance, status: str) -> None:
    assert_eventually(lambda: link_is(replica, status), replica.log_tail, deadline_s=SYNC_S, pause_s=0.05)


def assert_sound(replica: Instance) -> None:
    assert "Traceback" not in replica.log_text()


def caught_up(primary: Instance, replica: Instance) -> bool:
    offset = int(primary.info("replication")["master_repl_offset"])
    there = replica.info("replication")
    return there["master_link_status"] == "up" and int(there["slave_repl_offset"]) >= offset


def assert_follows(primary: Instance, replica: Instance) -> None:
    assert_eventually(lambda: caught_up(primary, replica), lambda: replica.log_tail(), deadline_s=SYNC_S, pause_s=0.05)


def assert_same_data(primary: Instance, replica: Instance) -> None:
    """While nobody writes. PINGs come in between, and change nothing."""
    assert_follows(primary, replica)
    with primary.connect() as ours, replica.connect() as theirs:
        if "redis" not in (primary.kind, replica.kind):
            if digest(ours) == digest(theirs):
                return
            kinds = {kind for kind, _, _ in _of_other_digests(ours, theirs)}
            assert kinds == {"zset"} or (not kinds and digest(ours) == digest(theirs)), kinds  # a key's time was over
        assert_same(capture(theirs, DATABASES), capture(ours, DATABASES))
        reads = [("SELECT", OTHER_TYPES_DB), *OTHER_TYPES_READ]
        assert theirs.pipeline(reads) == ours.pipeline(reads)
        for connection in (ours, theirs):
            connection.call("SELECT", 0)


def _of_other_digests(one: Connection, other: Connection) -> list[tuple[str, int, bytes]]:
    """(type, database, key) of each key of `one` whose value has another digest there."""
    found: list[tuple[str, int, bytes]] = []
    for db in (*DATABASES, OTHER_TYPES_DB):
        one.call("SELECT", db)
        other.call("SELECT", db)
        keys = one.call("KEYS", "*")
        asked = [("DEBUG", "DIGEST-VALUE", key) for key in keys]
        pairs = zip(keys, one.pipeline(asked), other.pipeline(asked), strict=True)
        found += [(one.call("TYPE", key), db, key) for key, mine, theirs in pairs if mine != theirs]
    return found


OTHER_TYPES_DB = 9
OTHER_TYPES = [
    ("SELECT", OTHER_TYPES_DB), ("DEL", "stream", "popped"), ("SADD", "popped", "a", "b", "c", "d"),
    ("XADD", "stream", "1-1", "a", "b"), ("XADD", "stream", "*", "c", "d"), ("XGROUP", "CREATE", "stream", "g", "0"),
    ("XREADGROUP", "GROUP", "g", "me", "COUNT", "1", "STREAMS", "stream", ">"), ("XACK", "stream", "g", "1-1"),
    ("XADD", "stream", "MAXLEN", "2", "*", "e", "f"), ("PFADD", "hll", "a", "b", "c"), ("SETBIT", "bits", "100", "1"),
    ("GEOADD", "geo", "13.361389", "38.115556", "Palermo"), ("SPOP", "popped", "2"), ("SET", "ttl", "v", "EX", "1000"),
]  # fmt: skip

OTHER_TYPES_READ = [
    ("XRANGE", "stream", "-", "+"), ("XPENDING", "stream", "g"), ("XLEN", "stream"), ("PFCOUNT", "hll"),
    ("GETRANGE", "bits", 0, -1), ("ZRANGE", "geo", 0, -1, "WITHSCORES"), ("SORT_RO", "popped", "ALPHA"),
    ("PEXPIRETIME", "ttl"),
]  # fmt: skip


def other_types(connection: Connection) -> None:
    """What the seeder has not."""
    replies = connection.pipeline([*OTHER_TYPES, ("SELECT", 0)])
    assert not [reply for reply in replies if isinstance(reply, Error)]


class Writer:
    """Writes steps of a seeder from another thread until it is told to stop."""

    def __init__(self, server: Instance, rng: random.Random) -> None:
        self._server, self._over = server, threading.Event()
        self._seeder = Seeder(rng, keys=300)
        self.steps = 0
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        with self._server.connect() as connection:
            while not self._over.is_set():
                run(connection, self._seeder.mutate(100))
                self.steps += 100
