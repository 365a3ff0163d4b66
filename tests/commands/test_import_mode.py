"""import-mode beside the real Valkey: whose keys expire, for whom, and what may be stored.

In import-mode nothing expires by itself: a source copies keys together with their times, also with those that have
passed. For the client that says that it is the source (CLIENT IMPORT-SOURCE) they are there; for others they are not.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleettest.instance import Pool
from fleettest.reference import Pair
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

PAST = ("PXAT", 1000)
ASKING = """
GET k|EXISTS k|TTL k|PEXPIRETIME k|TYPE k|STRLEN k|KEYS *|SCAN 0|RANDOMKEY|TOUCH k|OBJECT ENCODING k|OBJECT IDLETIME k
OBJECT FREQ k|MGET k|LCS k k|GETRANGE k 0 -1|DBSIZE|SORT k|SORT_RO k GET #
"""
CHANGING = """
APPEND k x|SETNX k w|SET k x|SET k x NX|SET k x XX|SET k x KEEPTTL|SET k x GET|SET k w IFEQ v|DELIFEQ k v|GETSET k x
GETDEL k|GETEX k PERSIST|GETEX k PXAT 1000|GETEX k PX 100000|EXPIRE k 100|EXPIRE k 100 XX|PEXPIREAT k 2000 GT
PEXPIREAT k 1000 NX|PERSIST k|DEL k|UNLINK k|DEL k other|RENAME k z|RENAMENX k z|RENAME other k|RENAMENX other k
COPY k z|COPY other k|COPY other k REPLACE|MOVE k 1|SETRANGE k 3 zz|INCR k|INCRBYFLOAT k 1.5|MSETNX k a|MSETNX z a k b
MSET k 1|MSETEX 1 k w PXAT 1000|SETEX k 100 x|SWAPDB 0 1|FLUSHDB|SORT k STORE z|SORT nolist STORE k
"""
STORING = """
SET k v PXAT 1000|SET k v EXAT 1|GETEX other PXAT 1000|MSETEX 2 k v z w PXAT 1000|EXPIRE other -1|PEXPIRE other -1
EXPIREAT other 1|PEXPIREAT other 1000|SET other v XX PXAT 1000
"""


def steps(text: str) -> list[list[str]]:
    return [step.split() for line in text.strip().splitlines() for step in line.split("|")]


@pytest.fixture(params=["off", "on"])
def source(request: pytest.FixtureRequest, pair: Pair) -> Iterator[str]:
    """Whether `pair` is the import's source."""
    pair.run("CONFIG", "SET", "import-mode", "yes")
    try:
        pair.run("CLIENT", "IMPORT-SOURCE", request.param)
        yield request.param
    finally:
        pair.run("CONFIG", "SET", "import-mode", "no")


def look(pair: Pair) -> None:
    for key in ("k", "z", "other"):
        pair.run("GET", key)
        pair.run("PEXPIRETIME", key)
    pair.run("DBSIZE")


@pytest.mark.parametrize("step", steps(ASKING), ids=" ".join)
def test_who_finds_a_key_whose_time_has_passed(pair: Pair, source: str, step: list[str]) -> None:
    pair.run("SET", "k", "v", *PAST)
    pair.run(*step)
    with Pair(*pair.instances) as other:
        other.run(*step)
        other.run("CLIENT", "IMPORT-SOURCE", "on")
        other.run(*step)


@pytest.mark.parametrize("step", steps(CHANGING), ids=" ".join)
def test_changing_such_a_key(pair: Pair, source: str, step: list[str]) -> None:
    for value in ("v", "1"):
        pair.run("FLUSHALL")
        pair.run("SET", "other", "o")
        pair.run("SET", "k", value, *PAST)
        pair.run(*step)
        pair.run("DBSIZE")
        look(pair)


@pytest.mark.parametrize("step", steps(STORING), ids=" ".join)
def test_giving_a_time_that_has_passed(pair: Pair, source: str, step: list[str]) -> None:
    pair.run("SET", "other", "o")
    pair.run(*step)
    pair.run("DBSIZE")
    if source == "on":  # EXPIRE other -1 depends on the clock
        assert pair.run("EXISTS", "other", "k") > 0


def test_restoring(pair: Pair, source: str) -> None:
    pair.run("SET", "other", "o")
    for ours, connection in zip((True, False), (pair.ours, pair.theirs), strict=True):
        payload = connection.call("DUMP", "other")
        replies = [
            connection.call("RESTORE", "k", 1000, payload, "ABSTTL"), connection.call("DBSIZE"),
            connection.call("RESTORE", "k", 1000, payload, "ABSTTL"),
            connection.call("RESTORE", "k", 1000, payload, "ABSTTL", "REPLACE"), connection.call("DBSIZE"),
        ]  # fmt: skip
        if ours:
            first = replies
    assert first == replies
    look(pair)


def test_in_transactions(pair: Pair, source: str) -> None:
    pair.run("SET", "k", "v", *PAST)
    for watched in ("k", "z"):
        pair.run("WATCH", watched)
        pair.run("GET", "k")
        with Pair(*pair.instances) as other:
            other.run("SET", "z", "w", *PAST)
        pair.run("MULTI")
        pair.run("GET", "k")
        pair.run("SET", "z", "w", *PAST)
        pair.run("GET", "z")
        pair.run("EXEC")
        pair.run("DEL", "z")


def test_nothing_expires_until_the_mode_ends(servers: Pool, pair: Pair) -> None:
    pair.run("CONFIG", "SET", "import-mode", "yes")
    try:
        pair.run("SET", "k", "v", *PAST)
        pair.run("SET", "soon", "v", "PX", 1)
        assert_eventually(lambda: pair.ours.call("TTL", "soon") == -2 == pair.theirs.call("TTL", "soon"))
        assert pair.run("DBSIZE") == 2
    finally:
        pair.run("CONFIG", "SET", "import-mode", "no")
    assert_eventually(lambda: pair.ours.call("DBSIZE") == 0 == pair.theirs.call("DBSIZE"))
    pair.run("SET", "k", "v", *PAST)
    assert pair.run("DBSIZE") == 0


def test_debug_object_finds_such_a_key(pair: Pair, source: str) -> None:
    pair.run("SET", "k", "value", *PAST)
    for server in (pair.ours, pair.theirs):
        words = server.call("DEBUG", "OBJECT", "k").split()
        assert words[3:5] == ["encoding:embstr", "serializedlength:6"]
