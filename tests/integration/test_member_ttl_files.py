"""Members of sets and sorted sets that expire, in files and payloads: a dialect of our own, which others refuse."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from fleettest.client import Connection, Error
from fleettest.instance import Instance, StartError
from fleettest.rdbfile import dump, string
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server]

FAR = 99_999_999_999_999
OWN = 0xCF01
VALKEY = 80
MANY = [b"member:%d" % i for i in range(3000)]


def le(n: int) -> bytes:
    return n.to_bytes(8, "little", signed=True)


def fill(c: Connection) -> None:
    """Small and large ones, some and all members with times, and what others can read."""
    c.call("SADD", "s", "a", "b", "17")
    c.call("SPEXPIREAT", "s", FAR, "MEMBERS", 2, "a", "17")
    c.call("ZADD", "z", 1, "a", "-inf", "b", 0.1, "c")
    c.call("ZPEXPIREAT", "z", FAR - 1, "MEMBERS", 1, "b")
    c.call("SADD", "large:s", *MANY)
    c.call("ZADD", "large:z", *(word for i, name in enumerate(MANY) for word in (i // 7, name)))
    for letter in "SZ":
        c.call(f"{letter}PEXPIREAT", f"large:{letter.lower()}", FAR + 5, "MEMBERS", 1500, *MANY[::2])
    c.call("HSET", "h", "a", 1)
    c.call("HPEXPIREAT", "h", FAR, "FIELDS", 1, "a")
    c.call("SADD", "plain", "x", "y")
    c.call("PEXPIREAT", "s", FAR)


def times(c: Connection) -> dict[bytes, object]:
    """Members with their scores and times."""
    found: dict[bytes, object] = {}
    for key in sorted(c.call("KEYS", "*")):
        kind = c.call("TYPE", key)
        if kind == "set":
            names = sorted(c.call("SMEMBERS", key))
            found[key] = names, c.call("SPEXPIRETIME", key, "MEMBERS", len(names), *names)
        elif kind == "zset":
            words = c.call("ZRANGE", key, 0, -1, "WITHSCORES")
            found[key] = words, c.call("ZPEXPIRETIME", key, "MEMBERS", len(words[::2]), *words[::2])
        else:
            found[key] = c.call("HGETALL", key), c.call("HPEXPIRETIME", key, "FIELDS", 1, "a")
    return found


def test_a_file_of_our_own(tmp_path: Path) -> None:
    """It comes back whole; the log says that others cannot read it; without such members they can again."""
    path = tmp_path / "dump.rdb"
    with Instance("cachefleet", directory=tmp_path) as server, server.connect() as c:
        c.call("SADD", "plain", "x")
        c.call("SAVE")
        assert "no other server reads" not in server.log_text()
        fill(c)
        expected = times(c)
        c.call("BGSAVE")
        assert_eventually(lambda: path.read_bytes().startswith(b"CFLEET001"))
        assert "4 sets or sorted sets have members that expire" in server.log_text()
    with Instance("cachefleet", directory=tmp_path) as server, server.connect() as c:
        assert times(c) == expected
        assert c.call("OBJECT", "ENCODING", "s") == b"hashtable"
        assert c.call("PEXPIRETIME", "s") == FAR
        c.call("DEL", "s", "z", "large:s")
        c.call("ZREMRANGEBYRANK", "large:z", 0, -1)
        c.call("SAVE")
        assert path.read_bytes().startswith(b"VALKEY080")


@pytest.mark.differential
def test_others_refuse_it(tmp_path: Path, server: Instance, valkey: Instance) -> None:
    with Instance("cachefleet", directory=tmp_path) as ours, ours.connect() as c:
        fill(c)
        c.call("SAVE")
        payloads = [c.call("DUMP", key) for key in ("s", "z")]
    with pytest.raises(StartError), Instance("valkey", directory=tmp_path):
        pass
    with valkey.connect() as theirs:
        for payload in payloads:
            reply = theirs.call("RESTORE", "from:ours", 0, payload)
            assert isinstance(reply, Error) and "version or checksum" in reply


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_bases_of_an_aof(tmp_path: Path, preamble: str) -> None:
    """As a file and as commands, taken while members change."""
    options = {"enable-debug-command": "yes", "appendonly": "yes", "aof-use-rdb-preamble": preamble}
    with Instance("cachefleet", directory=tmp_path, options=options) as server, server.connect() as c:
        fill(c)
        assert not isinstance(c.call("BGREWRITEAOF"), Error)
        for i in range(0, 1500, 2):
            c.call("SPEXPIREAT", "large:s", FAR + 7, "MEMBERS", 1, MANY[i])
            c.call("SPERSIST", "large:s", "MEMBERS", 1, MANY[-1 - i])
            c.call("ZADD", "large:z", i, MANY[i])
            c.call("ZPEXPIREAT", "large:z", FAR + 7, "MEMBERS", 1, MANY[i + 1])
            c.call("SREM", "large:s", MANY[i + 1])
        expected = times(c)
        assert c.call("DEBUG", "LOADAOF") == "OK"
        assert times(c) == expected
        server.restart(kill=True)
    with Instance("cachefleet", directory=tmp_path, options=options) as server, server.connect() as c:
        assert times(c) == expected


SET = b"\x3e\x02" + string(b"a") + le(FAR) + string(b"b") + le(-1)
ZSET = b"\x3f\x02" + string(b"a") + struct.pack("<d", 1) + le(FAR) + string(b"b") + struct.pack("<d", 2) + le(-1)
BAD = {
    "a set of another's": (SET, VALKEY),
    "a sorted set of another's": (ZSET, VALKEY),
    "of redis": (SET, 12),
    "a later version of ours": (SET, OWN + 1),
    "no members": (b"\x3e\0", OWN),
    "no scores": (b"\x3f\0", OWN),
    "an early time": (b"\x3e\x01" + string(b"a") + le(-2), OWN),
    "an early time of a score": (b"\x3f\x01" + string(b"a") + struct.pack("<d", 1) + le(-2), OWN),
    "twice": (b"\x3e\x02" + (string(b"a") + le(FAR)) * 2, OWN),
    "a score twice": (b"\x3f\x02" + (string(b"a") + struct.pack("<d", 1) + le(FAR)) * 2, OWN),
    "no score": (b"\x3f\x01" + string(b"a") + struct.pack("<d", float("nan")) + le(FAR), OWN),
    "cut": (SET[:-1], OWN),
    "a score cut": (ZSET[:-9], OWN),
}


def test_payloads(client: Connection) -> None:
    client.call("FLUSHALL")
    assert client.call("RESTORE", "s", 0, dump(SET, OWN)) == client.call("RESTORE", "z", 0, dump(ZSET, OWN)) == "OK"
    assert client.call("SPEXPIRETIME", "s", "MEMBERS", 2, "a", "b") == [FAR, -1]
    assert client.call("ZPEXPIRETIME", "z", "MEMBERS", 2, "a", "b") == [FAR, -1]
    assert client.call("ZRANGE", "z", 0, -1, "WITHSCORES") == [b"a", b"1", b"b", b"2"]


@pytest.mark.parametrize("name", BAD)
def test_what_is_none_is_refused(client: Connection, name: str) -> None:
    value, version = BAD[name]
    client.call("DEL", "k")
    reply = client.call("RESTORE", "k", 0, dump(value, version))
    assert isinstance(reply, Error) and ("Bad data format" in reply or "version or checksum" in reply)
    assert client.call("EXISTS", "k") == 0
