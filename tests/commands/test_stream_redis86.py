"""IDMP and IDMPAUTO of XADD, XCFGSET and what XINFO STREAM says of them, as Redis 8.6 documents them; XIDMPRECORD.

No server here has them, so their files and the journal are looked at, too: what is sent again after a restart, a copy
or a payload must not come twice.
"""

from __future__ import annotations

import random
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from fleettest import aoffile
from fleettest.client import Arg, Connection, Error
from fleettest.instance import Pool
from fleettest.wait import assert_eventually

pytestmark = pytest.mark.server

FIELDS = ("idmp-duration", "idmp-maxsize", "pids-tracked", "iids-tracked", "iids-added", "iids-duplicates")


def _send(c: Connection, iid: Arg, *, pid: Arg = "p", key: Arg = "k") -> Any:
    return c.call("XADD", key, "IDMP", pid, iid, "*", "f", iid)


def _info(c: Connection, key: str = "k", *more: str) -> dict[str, Any]:
    reply = c.call("XINFO", "STREAM", key, *more)
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {name.decode(): value for name, value in pairs}


def _idmp(c: Connection, key: str = "k") -> tuple[int, ...]:
    info = _info(c, key)
    return tuple(info[name] for name in FIELDS)


def _values(c: Connection, key: str = "k") -> list[bytes]:
    return [fields[1] for _, fields in c.call("XRANGE", key, "-", "+")]


# ---- words ---------------------------------------------------------------------------------------------------------


def test_what_is_sent_again_comes_once(c: Connection) -> None:
    first = _send(c, "1")
    second = _send(c, "2")
    assert first != second
    assert c.call("XADD", "k", "IDMP", "p", "1", "*", "other", "fields") == first
    assert (_send(c, "2"), c.call("XLEN", "k")) == (second, 2)
    assert _send(c, "1", pid="q") not in (first, second)
    assert _idmp(c) == (100, 100, 2, 3, 3, 2)
    c.call("XDEL", "k", first)
    assert _send(c, "1") == first, "of an entry that is gone, too"
    assert c.call("XLEN", "k") == 2


def test_content_is_an_id(c: Connection) -> None:
    def send(*fields: Arg, pid: str = "p") -> Any:
        return c.call("XADD", "k", "IDMPAUTO", pid, "*", *fields)

    first = send("a", "1", "b", "2")
    assert send("a", "1", "b", "2") == send("b", "2", "a", "1") == first
    others = [
        send("a", "1", "b", "2", pid="q"), send("a", "1"), send("a", "1", "a", "1"), send("a1", "", "b", "2"),
        send("a", "1b", "2", ""), send("a", "2", "b", "1"), send("", "", "a", "1", "b", "2"), send("a", "1", "b", "3"),
    ]  # fmt: skip
    assert len({first, *others}) == 9 == c.call("XLEN", "k")


def test_places_of_the_words(c: Connection) -> None:
    first = c.call("XADD", "k", "MAXLEN", "~", 10, "IDMP", "p", "1", "NOMKSTREAM", "*", "f", "v")
    assert first is None
    first = c.call("XADD", "k", "idmp", "p", "1", "MAXLEN", "10", "*", "f", "v")
    assert c.call("XADD", "k", "KEEPREF", "IDMP", "p", "1", "NOMKSTREAM", "*", "f", "v") == first
    assert c.call("XADD", "k", "NOMKSTREAM", "IDMP", "p", "1", "MAXLEN", 0, "*", "f", "v") == first
    assert c.call("XLEN", "k") == 1, "nothing is trimmed, either"
    for i in range(10):
        c.call("XADD", "k", "IDMP", "p", f"n{i}", "MAXLEN", "=", 3, "*", "f", i)
    assert _values(c) == [b"7", b"8", b"9"]


def test_errors(c: Connection) -> None:
    def error(*words: Arg) -> str:
        reply = c.call("XADD", "k", *words, "f", "v")
        assert isinstance(reply, Error), words
        return str(reply)

    for id in ("1-1", "1-*", "5"):
        for words in (("IDMP", "p", "1", id), ("IDMPAUTO", "p", id)):
            assert error(*words) == "ERR IDMP and IDMPAUTO go with the ID * only"
    for words in (("IDMP", "", "1", "*"), ("IDMP", "p", "", "*"), ("IDMPAUTO", "", "*")):
        assert error(*words) == "ERR A producer and its id of a message must not be empty"
    assert error("IDMP", "p", "1", "IDMP", "p", "1", "*") == error("IDMP", "p", "1", "IDMPAUTO", "p", "*")
    assert error("IDMPAUTO", "p", "IDMPAUTO", "p", "*") == "ERR syntax error"
    assert c.call("XADD", "k", "a", "b", "IDMP", "p") == Error(
        "ERR Invalid stream ID specified as stream command argument"
    )
    assert isinstance(c.call("XADD", "k", "IDMP", "p", "1", "*", "f"), Error)
    assert c.call("EXISTS", "k") == 0
    c.call("SET", "s", "v")
    assert str(_send(c, "1", key="s")).startswith("WRONGTYPE")


def test_settings(c: Connection) -> None:
    assert c.call("XCFGSET", "k", "IDMP-DURATION", 5) == Error("ERR no such key")
    c.call("XADD", "k", "*", "f", "v")
    assert not set(FIELDS) & set(_info(c))
    for words in ((), ("IDMP-DURATION",), ("IDMP-DURATION", 5, "IDMP-MAXSIZE"), ("DURATION", 5)):
        assert c.call("XCFGSET", "k", *words) == Error("ERR syntax error")
    for n in (0, -1, 86_401):
        assert c.call("XCFGSET", "k", "IDMP-MAXSIZE", 5, "IDMP-DURATION", n) == Error("ERR invalid duration")
    for n in (0, -1, 10_001):
        assert c.call("XCFGSET", "k", "IDMP-DURATION", 5, "IDMP-MAXSIZE", n) == Error("ERR invalid maxsize")
    assert c.call("XCFGSET", "k", "IDMP-MAXSIZE", "a") == Error("ERR value is not an integer or out of range")
    assert c.call("XCFGSET", "k", "IDMP-MAXSIZE", 100) == "OK"
    assert not set(FIELDS) & set(_info(c)), "that is what it was"
    assert c.call("XCFGSET", "k", "IDMP-DURATION", 86_400, "idmp-maxsize", 10_000) == "OK"
    assert _idmp(c) == (86_400, 10_000, 0, 0, 0, 0)
    first = _send(c, "1")
    assert c.call("XCFGSET", "k", "IDMP-DURATION", 86_400) == "OK"
    assert _send(c, "1") == first, "the same value forgets nothing"
    assert c.call("XCFGSET", "k", "IDMP-MAXSIZE", 7) == "OK"
    assert _idmp(c) == (86_400, 7, 0, 0, 1, 1)
    assert _send(c, "1") != first
    assert c.call("XCFGSET", "k", "IDMP-DURATION", 100, "IDMP-MAXSIZE", 100) == "OK"
    assert not set(FIELDS) & set(_info(c))
    c.call("SET", "s", "v")
    assert str(c.call("XCFGSET", "s", "IDMP-MAXSIZE", 5)).startswith("WRONGTYPE")


def test_the_latest_are_remembered(c: Connection) -> None:
    c.call("XADD", "k", "*", "f", "v")
    c.call("XCFGSET", "k", "IDMP-MAXSIZE", 3)
    ids = {n: _send(c, n) for n in range(5)}
    assert _idmp(c)[2:4] == (1, 3)
    assert [_send(c, n) == ids[n] for n in (2, 3, 4)] == [True] * 3
    assert [_send(c, n) == ids[n] for n in (0, 1)] == [False] * 2
    assert (_send(c, 4), _send(c, 2) == ids[2]) == (ids[4], False)


def test_time_forgets(c: Connection) -> None:
    c.call("XADD", "k", "*", "f", "v")
    c.call("XCFGSET", "k", "IDMP-DURATION", 1)
    first = _send(c, "1", pid="q")
    assert _send(c, "1", pid="q") == first
    assert_eventually(lambda: _idmp(c)[2:4] == (0, 0))
    assert _send(c, "1") != first
    assert _send(c, "1", pid="q") != first
    assert _idmp(c)[2:5] == (2, 2, 3)


def test_fields_of_xinfo(c: Connection) -> None:
    _send(c, "1")
    assert list(_info(c))[6:14] == ["recorded-first-entry-id", *FIELDS, "groups"]
    assert list(_info(c, "k", "FULL"))[6:14] == ["recorded-first-entry-id", *FIELDS, "entries"]


def test_in_transactions(c: Connection) -> None:
    c.call("MULTI")
    for _ in range(2):
        _send(c, "1")
    first, again = c.call("EXEC")
    assert first == again
    c.call("WATCH", "k")
    with_nothing_new = _send(c, "1")
    c.pipeline([("MULTI",), ("PING",)])
    assert (with_nothing_new, c.call("EXEC")) == (first, ["PONG"]), "a duplicate changes no key"


def test_random_against_a_model(c: Connection, rng: random.Random) -> None:
    """Copies share what producers sent until one of the two changes it."""
    c.call("XADD", "k0", "*", "f", "v")
    most = rng.choice([1, 2, 5, 40])
    c.call("XCFGSET", "k0", "IDMP-MAXSIZE", most, "IDMP-DURATION", 86_400)
    sent: dict[str, dict[str, deque[tuple[bytes, bytes]]]] = {"k0": {}}
    for _ in range(1500):
        key = rng.choice(sorted(sent))
        if rng.random() < 0.02:
            other = f"k{rng.randrange(4)}"
            if other != key and c.call("COPY", key, other, "REPLACE") == 1:
                sent[other] = {pid: deque(iids, most) for pid, iids in sent[key].items()}
        elif rng.random() < 0.02:
            payload = c.call("DUMP", key)
            assert c.call("RESTORE", key, 0, payload, "REPLACE") == "OK"
        else:
            pid, iid = f"p{rng.randrange(6)}", b"%d" % rng.randrange(2 * most + 2)
            iids = sent[key].setdefault(pid, deque(maxlen=most))
            known = dict(iids)
            id = _send(c, iid, pid=pid, key=key)
            assert id == known.get(iid, id)
            if iid not in known:
                assert id not in known.values()
                iids.append((iid, id))
    for key, producers in sent.items():
        assert _idmp(c, key)[1:4] == (most, len(producers), sum(map(len, producers.values())))


# ---- XIDMPRECORD ---------------------------------------------------------------------------------------------------


def test_what_is_recorded(c: Connection) -> None:
    assert c.call("XIDMPRECORD", "k", "p", "1", "1-1") == Error("ERR no such key")
    first, second = (c.call("XADD", "k", "*", "f", "v") for _ in range(2))
    for _ in range(2):
        assert c.call("XIDMPRECORD", "k", "p", "1", first) == "OK"
    assert _send(c, "1") == first
    high = "99999999999999-1"
    for words in (("", "1", first), ("p", "", first), ("p", "1", second), ("p", "2", high), ("p", "2", "x")):
        assert isinstance(c.call("XIDMPRECORD", "k", *words), Error), words
    c.call("SET", "s", "v")
    assert str(c.call("XIDMPRECORD", "s", "p", "1", "1-1")).startswith("WRONGTYPE")


# ---- files ---------------------------------------------------------------------------------------------------------


def _fill(c: Connection) -> list[Any]:
    """Two streams, and the ids of what was sent to them."""
    c.call("FLUSHALL")
    c.call("XADD", "k", "*", "f", "0")
    c.call("XCFGSET", "k", "IDMP-DURATION", 5000, "IDMP-MAXSIZE", 50)
    ids = [_send(c, n, pid=f"p{n % 3}", key="k" if n % 2 else "l") for n in range(40)]
    ids.append(c.call("XADD", "k", "IDMPAUTO", "auto", "MAXLEN", 30, "*", "f", "\0\xff", "g", ""))
    c.call("XGROUP", "CREATE", "k", "g", "0")
    c.call("XREADGROUP", "GROUP", "g", "a", "COUNT", 3, "STREAMS", "k", ">")
    c.call("XDEL", "k", ids[3])
    return ids


def _again(c: Connection) -> list[Any]:
    ids = [_send(c, n, pid=f"p{n % 3}", key="k" if n % 2 else "l") for n in range(40)]
    return [*ids, c.call("XADD", "k", "IDMPAUTO", "auto", "*", "g", "", "f", "\0\xff")]


@pytest.mark.parametrize("preamble", ["yes", "no"], ids=["records", "commands"])
@pytest.mark.parametrize("how", ["journal", "rewritten"])
def test_after_a_restart(servers: Pool, preamble: str, how: str) -> None:
    options: dict[str, str | int] = {
        "appendonly": "yes", "appendfsync": "always", "auto-aof-rewrite-percentage": 0,
        "aof-use-rdb-preamble": preamble, "enable-debug-command": "yes",
    }  # fmt: skip
    server = servers.get("cachefleet", **options)
    with server.connect() as c:
        ids = _fill(c)
        if how == "rewritten":
            rewrites = int(server.info("persistence")["aof_rewrites"])
            c.call("BGREWRITEAOF")
            assert_eventually(lambda: int(server.info("persistence")["aof_rewrites"]) > rewrites)
            assert_eventually(lambda: server.info("persistence")["aof_rewrite_in_progress"] == "0")
        expected = c.call("DEBUG", "DIGEST-VALUE", "k", "l"), _idmp(c)[:4], _idmp(c, "l")[:4]
        assert c.call("DEBUG", "LOADAOF") == "OK"
        assert (c.call("DEBUG", "DIGEST-VALUE", "k", "l"), _idmp(c)[:4], _idmp(c, "l")[:4]) == expected
        assert _again(c) == ids
        files = sorted(Path(server.directory).glob("appendonlydir/*.incr.aof"), key=lambda f: f.stat().st_mtime)
        commands = list(aoffile.commands(files[-1].read_bytes()))
        assert not any(word in (b"IDMP", b"IDMPAUTO") for command in commands for word in command)
        if how == "journal":
            assert sum(command[0] == b"XIDMPRECORD" for command in commands) >= len(ids)


def test_in_files_and_payloads(servers: Pool) -> None:
    server = servers.get("cachefleet", **{"enable-debug-command": "yes"})
    with server.connect() as c:
        ids = _fill(c)
        expected = _idmp(c), _idmp(c, "l")
        assert c.call("DEBUG", "RELOAD") == "OK"
        assert (_idmp(c), _idmp(c, "l")) == expected
        assert "2 streams have producers" in server.log_text()
        payload = c.call("DUMP", "k")
        assert c.call("RESTORE", "k", 0, payload, "REPLACE") == "OK"
        assert _again(c) == ids
        assert c.call("DUMP", "k") == c.call("DUMP", "k")
        for key in ("k", "l"):
            c.call("XCFGSET", key, "IDMP-MAXSIZE", 7)
            c.call("XCFGSET", key, "IDMP-DURATION", 100, "IDMP-MAXSIZE", 100)
        plain = c.call("DUMP", "k")
        assert plain[-10:-8] != payload[-10:-8] == b"\x01\xcf"
        assert c.call("RESTORE", "m", 0, plain) == "OK"
        assert c.call("SAVE") == "OK"
        assert Path(server.directory, "dump.rdb").read_bytes().startswith(b"REDIS0010")


def test_broken_payloads_are_refused(c: Connection, rng: random.Random) -> None:
    for n in range(6):
        _send(c, n, pid=f"p{n % 2}")
    payload = c.call("DUMP", "k")
    refused = 0
    for _ in range(300):
        broken = bytearray(payload[:-8])
        broken[rng.randrange(len(broken) - 2)] = rng.randrange(256)
        reply = c.call("RESTORE", "r", 0, bytes(broken) + bytes(8), "REPLACE")  # a checksum of 0 is none
        refused += isinstance(reply, Error)
        if not isinstance(reply, Error) and c.call("TYPE", "r") == "stream":
            _info(c, "r", "FULL", "COUNT", "0")
            _send(c, "new", key="r")
    assert refused > 30
    assert c.call("PING") == "PONG"
