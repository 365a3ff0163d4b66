"""DEBUG: refused by default; signatures equal to Valkey's; reload keeps the data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from fleettest.client import Error
from fleettest.instance import Instance

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[redis.Redis, redis.Redis]]:
    with (
        Instance("cachefleet", options={"enable-debug-command": "yes"}) as ours,
        Instance("valkey", options={"enable-debug-command": "yes"}) as theirs,
    ):
        yield redis.Redis(port=ours.port), redis.Redis(port=theirs.port)


def fill(client: redis.Redis) -> None:
    client.flushall()
    client.set("a", "1")
    client.set("b", b"\x00\xff" * 40)
    client.set("c", "x", px=1_000_000)
    for size in (0, 53, 54, 55, 56, 63, 64, 65, 118, 119, 120, 128):  # where SHA-1's blocks end
        client.set(f"size:{size}", "y" * size)
    client.execute_command("SELECT", 3)
    client.set("d", "x" * 5000)
    client.execute_command("SELECT", 0)


def test_signatures(pair: tuple[redis.Redis, redis.Redis]) -> None:
    digests = []
    for client in pair:
        fill(client)
        values = client.execute_command("DEBUG", "DIGEST-VALUE", "a", "b", "c", "nosuch")
        digests.append((client.execute_command("DEBUG", "DIGEST"), values))
    assert digests[0] == digests[1]
    assert set(digests[0][0]) != {ord("0")}


def test_reload_keeps_the_data(pair: tuple[redis.Redis, redis.Redis]) -> None:
    client = pair[0]
    fill(client)
    before = client.execute_command("DEBUG", "DIGEST")
    assert client.execute_command("DEBUG", "RELOAD") in (b"OK", True)
    assert client.execute_command("DEBUG", "DIGEST") == before


@pytest.mark.parametrize("content", [None, b"", b"NORDB0010", b"REDIS9999"])
def test_reload_without_a_good_file_drops_nothing(tmp_path: Path, content: bytes | None) -> None:
    with Instance(options={"enable-debug-command": "yes"}, directory=tmp_path) as server:
        server.call("SET", "k", "v")
        if content is not None:
            (tmp_path / "dump.rdb").write_bytes(content)
        error = Error("ERR Error trying to load the RDB dump, check server logs.")
        assert server.call("DEBUG", "RELOAD", "NOSAVE") == error
        assert server.call("GET", "k") == b"v"


def test_reload_of_a_damaged_file_drops_nothing(tmp_path: Path) -> None:
    """The damage is found when half of the file has been read."""
    with Instance(options={"enable-debug-command": "yes", "save": ""}, directory=tmp_path) as server:
        for i in range(1000):
            server.call("SET", f"k{i}", "v" * 50)
        assert server.call("SAVE") == "OK"
        content = (tmp_path / "dump.rdb").read_bytes()
        (tmp_path / "dump.rdb").write_bytes(content[: len(content) // 2])
        server.call("SET", "late", "v")
        error = Error("ERR Error trying to load the RDB dump, check server logs.")
        assert server.call("DEBUG", "RELOAD", "NOSAVE") == error
        assert server.call("MGET", "late", "k999") == [b"v", b"v" * 50]
        assert server.call("DBSIZE") == 1001


def test_loadaof_without_its_base_drops_nothing(tmp_path: Path) -> None:
    with Instance(options={"enable-debug-command": "yes", "appendonly": "yes"}, directory=tmp_path) as server:
        server.call("SET", "k", "v")
        (base,) = tmp_path.glob("appendonlydir/*.base.rdb")
        content = base.read_bytes()
        error = Error("ERR Error trying to load the append only file, check server logs.")
        for damage in (base.unlink, lambda: base.write_bytes(content[:-9])):
            damage()
            assert server.call("DEBUG", "LOADAOF") == error
            assert server.call("GET", "k") == b"v"
        base.write_bytes(content)
        assert server.call("DEBUG", "LOADAOF") == "OK"
        assert server.call("GET", "k") == b"v"
        server.call("SET", "after", "1")
        server.restart(kill=False)
        assert (server.call("GET", "k"), server.call("GET", "after")) == (b"v", b"1")


def test_the_aof_hears_of_expired_keys_that_a_reload_leaves_out(tmp_path: Path) -> None:
    """Else APPEND would find the old value again when the file is replayed, where expired keys count as present."""
    options = {"enable-debug-command": "yes", "appendonly": "yes", "appendfsync": "always"}
    with Instance(options=options, directory=tmp_path) as server:
        server.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        server.call("SET", "k", "old", "PX", "1")
        server.call("SET", "lasting", "v")
        assert server.call("DEBUG", "SLEEP", "0.01") == "OK"
        assert server.call("DEBUG", "RELOAD") == "OK"
        assert server.call("APPEND", "k", "new") == 3
        server.restart(kill=True)
        assert (server.call("GET", "k"), server.call("GET", "lasting")) == (b"new", b"v")


def test_the_aof_hears_nothing_of_a_reload_that_fails(tmp_path: Path) -> None:
    """The file's key is past its time, the one in memory is not: it has been written anew since the save."""
    options = {"enable-debug-command": "yes", "appendonly": "yes", "appendfsync": "always"}
    with Instance(options=options, directory=tmp_path) as server:
        server.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        server.call("SET", "k", "old", "PX", "1000")
        assert server.call("SAVE") == "OK"
        server.call("SET", "k", "new")
        content = (tmp_path / "dump.rdb").read_bytes()
        (tmp_path / "dump.rdb").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert server.call("DEBUG", "SLEEP", "1.1") == "OK"
        error = Error("ERR Error trying to load the RDB dump, check server logs.")
        assert server.call("DEBUG", "RELOAD", "NOSAVE") == error
        assert server.call("GET", "k") == b"new"
        server.restart(kill=True)
        assert server.call("GET", "k") == b"new"


def test_watch_hears_of_a_reload(tmp_path: Path) -> None:
    with Instance(options={"enable-debug-command": "yes"}, directory=tmp_path) as server, server.connect() as client:
        client.call("SET", "k", "v")
        client.call("WATCH", "k")
        assert client.call("DEBUG", "RELOAD") == "OK"
        assert client.call("GET", "k") == b"v", "its database is the one that was loaded"
        client.call("MULTI")
        client.call("PING")
        assert client.call("EXEC") is None


def test_populate(pair: tuple[redis.Redis, redis.Redis]) -> None:
    sizes = []
    for client in pair:
        client.flushall()
        client.execute_command("DEBUG", "POPULATE", 20, "p", 10)
        sizes.append((client.dbsize(), client.get("p:7"), client.get("p:19")))
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("mode", ["WRITE", "ALL"])
def test_a_clients_pause_holds_no_work_of_the_servers_own(pair: tuple[redis.Redis, redis.Redis], mode: str) -> None:
    """What is asked for before the pause, in one transaction with it, is done."""
    sizes = []
    for client in pair:
        client.flushall()
        transaction = client.pipeline(transaction=True)
        transaction.execute_command("CLIENT", "PAUSE", 3_600_000, mode)
        transaction.execute_command("DEBUG", "POPULATE", 20, "p", 10)
        transaction.execute_command("DBSIZE")
        transaction.execute_command("CLIENT", "UNPAUSE")
        sizes.append(transaction.execute()[1:3])
    assert sizes == [[b"OK", 20]] * 2


def test_work_of_the_servers_own_is_not_counted() -> None:
    """Neither in statistics nor for MONITOR."""
    with Instance("cachefleet", options={"enable-debug-command": "yes"}) as server, server.connect() as monitor:
        assert monitor.call("MONITOR") == "OK"
        for words in (("POPULATE", "20", "p"), ("DIGEST",), ("OBJECT", "p:1")):
            server.call("DEBUG", *words)
        server.call("PING", "the end")
        lines = [monitor.read()]
        while "the end" not in lines[-1]:
            lines.append(monitor.read())
        assert len(lines) == 1
        assert not {"cmdstat_set", "cmdstat_get", "cmdstat_dump", "cmdstat_keys"} & set(server.info("commandstats"))


def test_refused_by_default() -> None:
    with Instance(kind="cachefleet") as server:
        client = redis.Redis(port=server.port)
        with pytest.raises(redis.ResponseError, match="DEBUG command not allowed"):
            client.execute_command("DEBUG", "SLEEP", "0")


@pytest.mark.parametrize(
    "words", [("NOSUCH",), ("SLEEP",), ("SLEEP", "x", "y"), ("ERROR", "OOPS mine"), ("OBJECT", "nokey")]
)
def test_errors(pair: tuple[redis.Redis, redis.Redis], words: tuple[str, ...]) -> None:
    texts = []
    for client in pair:
        with pytest.raises(redis.ResponseError) as info:
            client.execute_command("DEBUG", *words)
        texts.append(str(info.value))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("options", [["NOSAVE"], ["NOSAVE", "NOFLUSH", "MERGE"], ["NOFLUSH", "MERGE"]])
def test_the_aof_follows_a_reload_of_other_data(tmp_path: Path, options: list[str]) -> None:
    """What comes from the file is not in the journal: the AOF is written anew, before anything else happens."""
    options_on = {"enable-debug-command": "yes", "appendonly": "yes", "appendfsync": "always"}
    with Instance(options=options_on, directory=tmp_path) as server:
        server.call("SET", "k", "old")
        server.call("SET", "gone", "1")
        server.call("SAVE")
        server.call("SET", "k", "new")
        server.call("DEL", "gone")
        assert server.call("DEBUG", "RELOAD", *options) == "OK"
        there = [server.call("GET", "k"), server.call("GET", "gone")]
        server.restart(kill=True)
        assert [server.call("GET", "k"), server.call("GET", "gone")] == there
        server.call("SET", "after", "1")
        server.restart(kill=True)
        assert [server.call("GET", "k"), server.call("GET", "gone"), server.call("GET", "after")] == [*there, b"1"]


def test_lists_as_test_suites_look_at_them(pair: tuple[redis.Redis, redis.Redis]) -> None:
    replies = []
    for client in pair:
        client.flushall()
        client.rpush("small", "a", "b", "1")
        client.rpush("large", *["x" * 100] * 300)
        client.rpush("plain", *["y" * 100] * 3000, "z" * 20_000)
        client.config_set("list-compress-depth", 1)
        client.rpush("packed", *["y" * 100] * 3000)
        client.config_set("list-compress-depth", 0)
        client.config_set("list-max-listpack-size", 4)
        client.rpush("counted", *["y" * 100] * 30)
        client.config_set("list-max-listpack-size", -2)
        client.set("string", "x")
        replies.append(seen(client))
    assert replies[0] == replies[1]


def seen(client: redis.Redis) -> list[object]:
    """What may differ is left out: addresses, clocks, and how well LZF does."""
    found: list[object] = []
    for key in ("small", "large", "plain", "packed", "counted", "string", "nosuch"):
        for words in ("LISTPACK _", "QUICKLIST _", "QUICKLIST _ 1", "OBJECT _", "OBJECT _ fast"):
            try:
                reply = client.execute_command("DEBUG", *words.replace("_", key).split()).decode()
            except redis.ResponseError as error:
                reply = str(error)
            found.append(re.sub(r"(Value at|lru|lru_seconds_idle|serializedlength):\w+", r"\1", reply))
    for size in ("0", "1", "0b", "1k", "1gb", "4293918720", "4293918721", "4gb", "-1", "1.5", "xx"):
        try:
            found.append(client.execute_command("DEBUG", "QUICKLIST-PACKED-THRESHOLD", size))
        except redis.ResponseError as error:
            found.append(str(error))
    client.execute_command("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "0")
    return found


TABLES = (
    *("HTSTATS-KEY set", "HTSTATS-KEY set full", "HTSTATS-KEY zset FULL", "HTSTATS-KEY hash full"),
    "HTSTATS-KEY set x y",
    *("HTSTATS 0", "HTSTATS 0 full", "HTSTATS 1", "HTSTATS 99", "HTSTATS -1", "HTSTATS x", "HTSTATS", "HTSTATS 0 a b"),
    *("HTSTATS-KEY ints", "HTSTATS-KEY small", "HTSTATS-KEY string", "HTSTATS-KEY nosuch full", "HTSTATS-KEY"),
)


def test_tables_as_test_suites_look_at_them(pair: tuple[redis.Redis, redis.Redis]) -> None:
    """The same words and the same numbers of elements; how large tables are, and their chains, are each server's."""
    replies = []
    for client in pair:
        client.flushall()
        names = [f"member:{i}" for i in range(600)]
        client.sadd("set", *names)
        client.zadd("zset", dict.fromkeys(names, 1))
        client.hset("hash", mapping=dict.fromkeys(names, "v"))
        client.sadd("ints", 1)
        client.sadd("small", "a")
        client.set("string", "x", px=1_000_000)
        found = []
        for words in TABLES:
            try:
                text = client.execute_command("DEBUG", *words.split()).decode()
            except redis.ResponseError as error:
                found.append(str(error))
                continue
            check_chains(text)
            lines = [line for line in text.splitlines() if not line.startswith("   ")]
            sizes = r"(table size|buckets|rehashing index|chain length): [-\d.]+"
            found.append("\n".join(re.sub(sizes, r"\1: n", line) for line in lines))
        replies.append(found)
    assert replies[0] == replies[1]
    assert " number of entries: 600" in replies[0][0]


def check_chains(text: str) -> None:
    """The parts of each table add up."""
    head = r"top-level buckets: (\d+)\n child buckets: (\d+)\n max chain length: (\d+)"
    for part in text.split("Hash table")[1:]:
        if sizes := re.search(head, part):
            chains = [(int(n), int(count)) for n, count in re.findall(r"^   (\d+): (\d+) \(", part, re.MULTILINE)]
            buckets, children, longest = map(int, sizes.groups())
            assert sum(count for _, count in chains) == buckets
            assert sum(n * count for n, count in chains) == children
            assert chains[-1][0] == longest


def test_a_table_that_is_resized(pair: tuple[redis.Redis, redis.Redis]) -> None:
    """Both are shown, and no element is in neither."""
    ours, _ = pair
    ours.flushall()
    for i in range(2000):
        ours.sadd("set", f"member:{i}")
        text = ours.execute_command("DEBUG", "HTSTATS-KEY", "set", "full").decode() if i > 200 else ""
        if "Hash table 1 stats (rehashing target):" in text:
            used = [int(n) for n in re.findall(r"number of entries: (\d+)", text)]
            assert sum(used) == i + 1
            assert " rehashing index: -1" not in text
            return
    pytest.fail("no resize was met")
