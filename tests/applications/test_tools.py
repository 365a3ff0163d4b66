"""Debian's redis-cli and redis-benchmark, and what a graphical client asks first, against our server and Valkey."""

from __future__ import annotations

import csv
import re
import subprocess
from collections.abc import Iterable

import pytest

from fleettest.client import Error, encode
from fleettest.instance import Instance, Pool

pytestmark = [pytest.mark.server, pytest.mark.differential]

# Of each type a large and a small one, so that which is the largest is no question of order.
DATA = [
    ("SET", "text", "x" * 900), ("SET", "word", "x"), ("RPUSH", "list", *range(300)), ("RPUSH", "pair", 1, 2),
    ("SADD", "set", *(f"member:{i}" for i in range(400))), ("SADD", "few", "a"),
    ("HSET", "hash", *(word for i in range(500) for word in (f"field:{i}", "value"))), ("HSET", "record", "a", 1),
    ("ZADD", "board", *(word for i in range(600) for word in (i, f"player:{i}"))), ("ZADD", "top", 1, "a"),
    ("SETBIT", "bits", 4000, 1), ("PFADD", "seen", "a", "b"), ("GEOADD", "places", 13, 38, "Palermo"),
]  # fmt: skip

# What RedisInsight asks when it opens a database: what it is, its keys, and a key of each type.
FIRST_PAGE = [
    ("CLIENT", "SETNAME", "redisinsight-browser"), ("INFO",), ("MODULE", "LIST"), ("COMMAND",), ("COMMAND", "COUNT"),
    ("CONFIG", "GET", "databases"), ("DBSIZE",), ("ACL", "WHOAMI"), ("CLIENT", "LIST"), ("CLIENT", "INFO"),
    ("FT._LIST",), ("SENTINEL", "MASTERS"), ("SLOWLOG", "LEN"), ("SLOWLOG", "GET", 50), ("CONFIG", "GET", "slowlog*"),
    ("CONFIG", "GET", "maxmemory*"), ("INFO", "memory"), ("INFO", "keyspace"), ("LATENCY", "LATEST"),
    ("MEMORY", "STATS"),
    ("SCAN", 0, "MATCH", "*", "COUNT", 500), ("SCAN", 0, "MATCH", "*", "COUNT", 500, "TYPE", "hash"),
    *((*words, key) for key in ("text", "list", "set", "hash", "board") for words in (
        ("TYPE",), ("TTL",), ("EXISTS",), ("OBJECT", "ENCODING"), ("MEMORY", "USAGE"), ("DUMP",))),
    ("MEMORY", "USAGE", "hash", "SAMPLES", 0), ("GETRANGE", "text", 0, 49), ("STRLEN", "text"), ("LLEN", "list"),
    ("LRANGE", "list", 0, 499), ("LINDEX", "list", 3), ("SCARD", "set"),
    ("SSCAN", "set", 0, "MATCH", "*", "COUNT", 500),
    ("HLEN", "hash"), ("HSCAN", "hash", 0, "MATCH", "*", "COUNT", 500), ("HTTL", "hash", "FIELDS", 1, "field:1"),
    ("ZCARD", "board"), ("ZRANGE", "board", 0, 499, "WITHSCORES"), ("ZSCAN", "board", 0, "MATCH", "*", "COUNT", 500),
    ("SELECT", 0), ("PING",),
]  # fmt: skip

SCRIPT = """
SET a "1 2\\n\\x00"
GET a
GET nosuch
LRANGE pair 0 -1
HGETALL record
ZRANGE board 0 2 WITHSCORES
ZSCORE board player:7
SMEMBERS few
SISMEMBER few a
HSET record b 2
MULTI
INCR n
LPUSH n x
EXEC
GEOPOS places Palermo
EXPIRE a 100
LPUSH a x
NOSUCH
"""


WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
SLOW = re.compile(r"\(\d+\.\d\ds\)")  # what it says after half a second


@pytest.fixture(params=["bigkeys", "memkeys", "hotkeys", "scan", "pipe", "script-2", "script-3"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(program: str, server: Instance, *words: str, text: str = "", complaint: str = "") -> str:
    """Its output; it ends as it should, and with no other complaint."""
    done = subprocess.run(
        [program, "-h", "127.0.0.1", "-p", str(server.port), *words],
        input=text, capture_output=True, text=True, encoding="utf-8", timeout=120,
    )  # fmt: skip
    assert done.returncode == int(complaint != ""), (
        f"{program} {words}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    )
    assert done.stderr == complaint, f"{program} {words}: {done.stderr}"
    return done.stdout


def summary(output: str) -> list[str]:
    """The lines that follow "summary", in an order of their own: keys come in the server's."""
    head, found, tail = output.partition("-------- summary -------")
    assert found, head
    return sorted(line for line in tail.splitlines() if line)


def without_sizes(lines: Iterable[str]) -> list[str]:
    return sorted(re.sub(r"\d+ bytes|avg size [\d.]+", "-", line) for line in lines)


def fill(server: Instance) -> Instance:
    with server.connect() as connection:
        replies = connection.pipeline(DATA)
    assert not [reply for reply in replies if isinstance(reply, Error)]
    return server


def redis_cli(mode: str, server: Instance) -> list[str]:
    """What is to be equal of what it says."""
    match mode:
        case "bigkeys":
            return summary(run("redis-cli", fill(server), "--bigkeys"))
        case "memkeys":
            return without_sizes(summary(run("redis-cli", fill(server), "--memkeys")))
        case "hotkeys":
            with fill(server).connect() as connection:
                connection.pipeline([("GET", "text")] * 2000)
            lines = summary(run("redis-cli", server, "--hotkeys"))
            hot = sorted(
                (line for line in lines if "hot key found" in line), key=lambda line: int(re.findall(r"\d+", line)[0])
            )
            return [re.sub(r"\d+", "-", hot[-1]), *(line for line in lines if line.startswith("Sampled"))]
        case "scan":
            found = run("redis-cli", fill(server), "--scan", "--pattern", "*s*").split()
            return sorted(set(found))
        case "pipe":
            text = b"".join(encode(*words) for words in [*DATA * 20, ("LPUSH", "text", "x")])
            said = run("redis-cli", server, "--pipe", text=text.decode(), complaint=f"{WRONG_TYPE}\n")
            return [*said.splitlines(), str(server.call("DEBUG", "DIGEST"))]
        case _:
            said = run("redis-cli", fill(server), "--no-raw", f"-{mode[-1]}", text=SCRIPT)
            return [line for line in said.splitlines() if not SLOW.fullmatch(line)]


def test_redis_cli(mode: str, servers: Pool) -> None:
    options = {"maxmemory_policy": "allkeys-lfu"} if mode == "hotkeys" else {}
    theirs = redis_cli(mode, servers.get("valkey", **options))
    ours = redis_cli(mode, servers.get("cachefleet", **options))
    assert ours == theirs
    assert len(ours) > 1
    if mode == "pipe":
        assert f"errors: 1, replies: {len(DATA) * 20 + 1}" in ours[-2]


@pytest.mark.parametrize("protocol", [(), ("-3",)], ids=["resp2", "resp3"])
def test_redis_benchmarks_whole_list(protocol: tuple[str, ...], servers: Pool) -> None:
    """Every test of its list ends without an error, and leaves the same data."""
    found = {}
    for kind in ("valkey", "cachefleet"):
        server = servers.get(kind)
        output = run("redis-benchmark", server, "--csv", "-n", "400", "-c", "4", "-P", "8", *protocol)
        assert "rror" not in output, output
        rows = list(csv.reader(output.splitlines()))
        found[kind] = ([row[0] for row in rows], sorted(server.call("KEYS", "*")), server.call("DEBUG", "DIGEST"))
    assert found["cachefleet"] == found["valkey"]
    assert len(found["cachefleet"][0]) >= 20


def test_the_first_page_of_redisinsight(servers: Pool) -> None:
    """Both answer, or both refuse; and with the same kind of reply."""
    kinds = {}
    for kind in ("valkey", "cachefleet"):
        with fill(servers.get(kind)).connect() as connection:
            replies = connection.pipeline(FIRST_PAGE)
        kinds[kind] = [(words, type(reply).__name__) for words, reply in zip(FIRST_PAGE, replies, strict=True)]
    assert kinds["cachefleet"] == kinds["valkey"]
    refused = {words[0] for words, name in kinds["cachefleet"] if name == "Error"}
    assert refused <= {"FT._LIST", "SENTINEL"}
