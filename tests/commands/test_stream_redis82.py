"""What Redis 8.2 added to streams, by its documentation: XDELEX, XACKDEL, and KEEPREF, DELREF, ACKED of XADD and XTRIM.

No server here has them, so the journal, which others must understand, is looked at, too.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettest import aoffile
from fleettest.client import Connection, Error
from fleettest.instance import Pool

pytestmark = pytest.mark.server


def _entries(c: Connection, n: int = 6) -> None:
    """1-1 to n-1. The group g has 1 to 4 pending, of which it acknowledged 2; h has read 1, 2 and 3."""
    c.pipeline([
        *(("XADD", "k", f"{i}-1", "f", i) for i in range(1, n + 1)), ("XGROUP", "CREATE", "k", "g", 0),
        ("XGROUP", "CREATE", "k", "h", 0), ("XREADGROUP", "GROUP", "g", "a", "COUNT", 4, "STREAMS", "k", ">"),
        ("XREADGROUP", "GROUP", "h", "a", "COUNT", 3, "NOACK", "STREAMS", "k", ">"), ("XACK", "k", "g", "2-1"),
    ])  # fmt: skip


def _pending(c: Connection, group: str) -> list[bytes]:
    return [row[0] for row in c.call("XPENDING", "k", group, "-", "+", 100)]


def _ids(c: Connection) -> list[bytes]:
    return [id for id, _ in c.call("XRANGE", "k", "-", "+")]


def _all(first: int, last: int = 6) -> list[bytes]:
    return [b"%d-1" % i for i in range(first, last + 1)]


def test_xdelex(c: Connection) -> None:
    _entries(c)
    assert c.call("XDELEX", "k", "IDS", 2, "1-1", "9-9") == [1, -1]
    assert (_ids(c), _pending(c, "g")) == (_all(2), [b"1-1", b"3-1", b"4-1"])
    assert c.call("XDELEX", "k", "DELREF", "IDS", 2, "3-1", "1-1") == [1, -1]  # what is pending goes in any case
    assert (_ids(c), _pending(c, "g")) == ([b"2-1", *_all(4)], [b"4-1"])
    assert c.call("XDELEX", "k", "IDS", 4, "2-1", "4-1", "5-1", "8-8", "acked") == [1, 2, 2, -1]
    assert _ids(c) == _all(4)
    assert c.call("XINFO", "GROUPS", "k")


def test_xdelex_without_groups(c: Connection) -> None:
    """The words make no difference then."""
    c.pipeline([("XADD", "k", f"{i}-1", "f", "v") for i in range(1, 6)])
    assert c.call("XDELEX", "k", "ACKED", "IDS", 1, "1-1") == [1]
    assert c.call("XDELEX", "k", "DELREF", "IDS", 1, "2-1") == [1]
    assert c.call("XTRIM", "k", "MAXLEN", 1, "ACKED") == 2
    assert _ids(c) == [b"5-1"]
    assert c.call("XDELEX", "none", "IDS", 2, "1-1", "2-1") == [-1, -1]


def test_xackdel(c: Connection) -> None:
    _entries(c)
    assert c.call("XACKDEL", "k", "g", "IDS", 3, "1-1", "2-1", "9-9") == [1, -1, -1]
    assert (_ids(c), _pending(c, "g")) == (_all(2), [b"3-1", b"4-1"])
    assert c.call("XACKDEL", "k", "g", "ACKED", "IDS", 2, "3-1", "4-1") == [1, 2]  # h has not read the last one
    assert (_ids(c), _pending(c, "g")) == ([b"2-1", *_all(4)], [])
    c.call("XREADGROUP", "GROUP", "h", "b", "COUNT", 9, "STREAMS", "k", ">")
    c.call("XREADGROUP", "GROUP", "g", "b", "COUNT", 9, "STREAMS", "k", ">")
    assert c.call("XACKDEL", "k", "h", "IDS", 1, "DELREF", "DELREF") == Error(
        "ERR Invalid stream ID specified as stream command argument"
    )
    assert c.call("XACKDEL", "k", "h", "DELREF", "IDS", 1, "5-1") == [1]
    assert (_pending(c, "g"), _pending(c, "h")) == ([b"6-1"], [b"4-1", b"6-1"])
    assert c.call("XACKDEL", "k", "nosuch", "IDS", 1, "6-1") == [-1]
    assert c.call("XACKDEL", "none", "g", "IDS", 2, "6-1", "7-1") == [-1, -1]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("IDS", 1), "ERR wrong number of arguments"),
        (("KEEPREF", "DELREF", "IDS", 1, "1-1"), "ERR syntax error"),
        (("IDS", 1, "1-1", "IDS", 1, "1-1"), "ERR syntax error"),
        (("IDS", 1, "1-1", "2-1"), "ERR syntax error"),
        (("1-1", "2-1", "3-1"), "ERR syntax error"),
        (("IDS", 0, "1-1"), "ERR Number of IDs must be a positive integer"),
        (("IDS", "a", "1-1"), "ERR Number of IDs must be a positive integer"),
        (("IDS", 2, "1-1"), "ERR The `numids` parameter must match the number of arguments"),
        (("IDS", 1, "a"), "ERR Invalid stream ID specified as stream command argument"),
    ],
)
def test_errors(c: Connection, words: tuple[str | int, ...], text: str) -> None:
    _entries(c)
    if text.startswith("ERR wrong"):
        assert str(c.call("XACKDEL", "k", "g", *words)).startswith(text)
        return
    assert c.call("XDELEX", "k", *words) == Error(text)
    assert c.call("XACKDEL", "k", "g", *words) == Error(text)
    assert _ids(c) == _all(1)
    c.call("SET", "text", "t")
    assert str(c.call("XDELEX", "text", "IDS", 1, "1-1")).startswith("WRONGTYPE")


def test_trims(c: Connection) -> None:
    _entries(c)
    assert c.call("XTRIM", "k", "MAXLEN", 5, "DELREF") == 1
    assert (_ids(c), _pending(c, "g")) == (_all(2), [b"3-1", b"4-1"])
    assert c.call("XTRIM", "k", "ACKED", "MAXLEN", 0) == 1  # all others are needed
    assert _ids(c) == _all(3)
    assert c.call("XTRIM", "k", "KEEPREF", "MINID", "=", "4-1") == 1
    assert (_ids(c), _pending(c, "g")) == (_all(4), [b"3-1", b"4-1"])
    assert c.call("XTRIM", "k", "MINID", "~", "5-1", "LIMIT", 1, "DELREF") == 1
    assert (_ids(c), _pending(c, "g")) == (_all(5), [b"3-1"])
    assert c.call("XADD", "k", "DELREF", "MAXLEN", 1, "7-1", "f", "v") == b"7-1"
    assert _ids(c) == [b"7-1"]
    assert c.call("XADD", "k", "NOMKSTREAM", "ACKED", "8-1", "f", "v") == b"8-1"
    assert c.call("XADD", "k", "MAXLEN", "~", 1, "ACKED", "9-*", "f", "v") == b"9-0"
    assert _ids(c) == [b"7-1", b"8-1", b"9-0"]
    assert isinstance(c.call("XADD", "k", "ACKED", "DELREF", "10-1", "f", "v"), Error)
    assert isinstance(c.call("XTRIM", "k", "ACKED", "DELREF", "MAXLEN", 1), Error)


def test_what_is_journalled(servers: Pool) -> None:
    """Commands that all servers know, with which the data become the same."""
    options: dict[str, str | int] = {"appendonly": "yes", "appendfsync": "always", "auto-aof-rewrite-percentage": 0}
    server = servers.get("cachefleet", **options, **{"enable-debug-command": "yes"})
    with server.connect() as c:
        c.call("FLUSHALL")
        _entries(c, 200)
        c.call("XDELEX", "k", "DELREF", "IDS", 3, "1-1", "3-1", "150-1")
        c.call("XACKDEL", "k", "g", "IDS", 1, "4-1")
        c.call("XADD", "k", "KEEPREF", "MAXLEN", "~", 100, "201-*", "f", "v")
        c.call("XTRIM", "k", "MAXLEN", 10, "DELREF")
        expected = c.call("DEBUG", "DIGEST-VALUE", "k"), c.call("XINFO", "GROUPS", "k")
        files = sorted(Path(server.directory).glob("appendonlydir/*.incr.aof"), key=lambda f: f.stat().st_mtime)
        words = {word for command in aoffile.commands(files[-1].read_bytes()) for word in command}
        assert not words & {b"XDELEX", b"XACKDEL", b"KEEPREF", b"DELREF", b"ACKED"}
        assert {b"XDEL", b"XACK", b"XADD"} <= words
        assert c.call("DEBUG", "LOADAOF") == "OK"
        assert (c.call("DEBUG", "DIGEST-VALUE", "k"), c.call("XINFO", "GROUPS", "k")) == expected
