"""CLAIM of XREADGROUP, as Redis 8.4 has it: what was pending for long comes first, with how long and how often.

No server here has it, so the journal, which others must understand, is looked at, too.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from fleettest import aoffile
from fleettest.client import Arg, Connection, Error
from fleettest.instance import Instance, Pool

pytestmark = pytest.mark.server


@pytest.fixture
def c(c: Connection) -> Connection:
    _entries(c)
    return c


def _entries(c: Connection) -> None:
    """1-1 to 6-1. The consumer a has 1, 3 and 4: for 5 seconds, for 9, and since now."""
    c.pipeline([
        *(("XADD", "k", f"{i}-1", "f", i) for i in range(1, 7)), ("XGROUP", "CREATE", "k", "g", 0),
        ("XREADGROUP", "GROUP", "g", "a", "COUNT", 4, "STREAMS", "k", ">"), ("XACK", "k", "g", "2-1"),
        ("XCLAIM", "k", "g", "a", 0, "1-1", "IDLE", 5000, "RETRYCOUNT", 2, "JUSTID"),
        ("XCLAIM", "k", "g", "a", 0, "3-1", "IDLE", 9000, "RETRYCOUNT", 5, "JUSTID"),
    ])  # fmt: skip


def _rows(reply: Any) -> list[Any]:
    if reply is None:
        return []
    rows: list[Any] = reply[b"k"] if isinstance(reply, dict) else reply[0][1]
    return rows


def _read(c: Connection, *words: Arg, id: str = ">") -> list[Any]:
    return _rows(c.call("XREADGROUP", "GROUP", "g", "b", *words, "STREAMS", "k", id))


def _ids(rows: list[Any]) -> list[bytes]:
    return [row[0] for row in rows]


def _pending(c: Connection) -> list[tuple[bytes, bytes, int]]:
    return [(id, consumer, times) for id, consumer, _, times in c.call("XPENDING", "k", "g", "-", "+", 100)]


def test_the_oldest_come_first(c: Connection) -> None:
    rows = _read(c, "CLAIM", 4000)
    assert _ids(rows) == [b"3-1", b"1-1", b"5-1", b"6-1"]
    assert [row[1] for row in rows] == [[b"f", b"3"], [b"f", b"1"], [b"f", b"5"], [b"f", b"6"]]
    assert [row[3] for row in rows] == [5, 2, 0, 0]
    assert 9000 <= rows[0][2] < 60_000
    assert 5000 <= rows[1][2] < 60_000
    assert rows[2][2] == rows[3][2] == 0
    mine = [(b"1-1", b"b", 3), (b"3-1", b"b", 6), (b"4-1", b"a", 1), (b"5-1", b"b", 1), (b"6-1", b"b", 1)]
    assert _pending(c) == mine
    assert _read(c, "CLAIM", 4000) == []
    assert _pending(c) == mine


def test_count_is_for_both(c: Connection) -> None:
    assert _ids(_read(c, "COUNT", 1, "CLAIM", 4000)) == [b"3-1"]
    assert _ids(_read(c, "CLAIM", 4000, "COUNT", 2)) == [b"1-1", b"5-1"]
    assert _ids(_read(c, "CLAIM", 9, "COUNT", 2, "CLAIM", 4000)) == [b"6-1"]


def test_those_that_are_pending_stay_so_without_acknowledgement(c: Connection) -> None:
    assert _ids(_read(c, "NOACK", "CLAIM", 4000)) == [b"3-1", b"1-1", b"5-1", b"6-1"]
    assert _pending(c) == [(b"1-1", b"b", 3), (b"3-1", b"b", 6), (b"4-1", b"a", 1)]


def test_what_the_stream_has_no_more_is_forgotten(c: Connection) -> None:
    c.call("XDEL", "k", "3-1")
    assert _ids(_read(c, "COUNT", 1, "CLAIM", 4000)) == [b"1-1"]
    assert _pending(c) == [(b"1-1", b"b", 3), (b"4-1", b"a", 1)]
    c.pipeline([("XDEL", "k", "1-1", "5-1", "6-1"), ("XCLAIM", "k", "g", "b", 0, "1-1")])
    assert _read(c, "CLAIM", 4000) == []
    assert _pending(c) == [(b"4-1", b"a", 1)]


def test_all_or_none_are_old_enough(c: Connection) -> None:
    assert _ids(_read(c, "CLAIM", 2**63 - 1)) == [b"5-1", b"6-1"]
    assert _ids(_read(c, "CLAIM", 0))[:3] == [b"3-1", b"1-1", b"4-1"]
    assert len(_pending(c)) == 5


def test_history_is_as_ever(c: Connection) -> None:
    _read(c)
    assert _read(c, "CLAIM", 0, id="0") == [[b"5-1", [b"f", b"5"]], [b"6-1", [b"f", b"6"]]]


def test_of_several_streams(c: Connection) -> None:
    c.pipeline([("XADD", "l", "7-1", "f", "v"), ("XGROUP", "CREATE", "l", "g", 0)])
    reply = c.call("XREADGROUP", "GROUP", "g", "b", "COUNT", 2, "CLAIM", 4000, "STREAMS", "k", "l", ">", ">")
    of = reply if isinstance(reply, dict) else dict(reply)
    assert {key: _ids(rows) for key, rows in of.items()} == {b"k": [b"3-1", b"1-1"], b"l": [b"7-1"]}


def test_errors(c: Connection) -> None:
    def error(*words: Arg) -> Any:
        return c.call("XREADGROUP", "GROUP", "g", "b", *words, "STREAMS", "k", ">")

    for text in ("a", "", "5.5", "+10", "-0", "9223372036854775808", "COUNT"):
        assert error("CLAIM", text) == Error("ERR min-idle-time is not an integer")
    assert error("CLAIM", -1) == Error("ERR min-idle-time must be a positive integer")
    assert error("CLAIM") == Error("ERR min-idle-time is not an integer")
    assert c.call("XREAD", "CLAIM", 5, "STREAMS", "k", 0) == Error("ERR syntax error")
    assert str(c.call("XREADGROUP", "GROUP", "no", "b", "CLAIM", 5, "STREAMS", "k", ">")).startswith("NOGROUP")


def test_who_waits_gets_what_becomes_old_enough(c: Connection, server: Instance) -> None:
    _read(c)
    c.call("XACK", "k", "g", "1-1", "3-1", "5-1", "6-1")  # 4-1 is left, since now
    with server.connect() as other:
        start = time.monotonic()
        other.send_command("XREADGROUP", "GROUP", "g", "b", "BLOCK", 10_000, "CLAIM", 300, "STREAMS", "k", ">")
        rows = _rows(other.read())
        assert time.monotonic() - start < 9
        assert (_ids(rows), rows[0][3]) == ([b"4-1"], 1)
        assert rows[0][2] >= 300
        assert other.call("XREADGROUP", "GROUP", "g", "b", "BLOCK", 50, "CLAIM", 9000, "STREAMS", "k", ">") is None
        other.send_command("XREADGROUP", "GROUP", "g", "b", "BLOCK", 0, "CLAIM", 90_000, "STREAMS", "k", ">")
        c.call("XADD", "k", "9-1", "f", "v")
        assert _ids(_rows(other.read())) == [b"9-1"]


def test_nobody_waits_in_a_transaction(c: Connection) -> None:
    c.call("MULTI")
    for ms in (4000, 4000, 90_000):
        c.call("XREADGROUP", "GROUP", "g", "b", "BLOCK", 0, "CLAIM", ms, "STREAMS", "k", ">")
    replies = c.call("EXEC")
    assert [_ids(_rows(reply)) for reply in replies] == [[b"3-1", b"1-1", b"5-1", b"6-1"], [], []]


def test_what_is_journalled(servers: Pool) -> None:
    """Commands that all servers know, with which the data become the same."""
    options: dict[str, str | int] = {"appendonly": "yes", "appendfsync": "always", "auto-aof-rewrite-percentage": 0}
    server = servers.get("cachefleet", **options, **{"enable-debug-command": "yes"})
    with server.connect() as c:
        c.call("FLUSHALL")
        _entries(c)
        c.call("XDEL", "k", "1-1")
        assert _ids(_read(c, "CLAIM", 4000)) == [b"3-1", b"5-1", b"6-1"]
        expected = c.call("DEBUG", "DIGEST-VALUE", "k"), c.call("XINFO", "GROUPS", "k"), _pending(c)
        assert expected[2] == [(b"3-1", b"b", 6), (b"4-1", b"a", 1), (b"5-1", b"b", 1), (b"6-1", b"b", 1)]
        files = sorted(Path(server.directory).glob("appendonlydir/*.incr.aof"), key=lambda f: f.stat().st_mtime)
        words = {word for command in aoffile.commands(files[-1].read_bytes()) for word in command}
        assert b"CLAIM" not in words
        assert b"XCLAIM" in words
        assert c.call("DEBUG", "LOADAOF") == "OK"
        assert (c.call("DEBUG", "DIGEST-VALUE", "k"), c.call("XINFO", "GROUPS", "k"), _pending(c)) == expected
