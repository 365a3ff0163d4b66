"""INFO: the fields and sections of the real Valkey 9.1, and values that move as they should."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fleettest.client import Connection, Error
from fleettest.instance import Instance
from fleettest.reference import ABSENT_FIELDS, Pair
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

ADDED = {
    "redis_mode", "cachefleet_version", "prefetch_batches", "prefetch_entries", "held_clients", "held_replies",
    "held_longest_milliseconds", "unknown_outcomes",
}  # fmt: skip
SECTIONS_ABSENT = {"TLS": "no TLS yet", "Cluster Info": "no sharding yet", "Scripting Engines": "no scripts"}
PER_COMMAND = re.compile(r"cmdstat_|latency_percentiles_usec_|errorstat_|db\d+$")


def parts(text: bytes) -> list[tuple[str, list[str]]]:
    """Title and lines of each section."""
    found: list[tuple[str, list[str]]] = []
    for line in text.decode().split("\r\n"):
        if line.startswith("# "):
            found.append((line[2:], []))
        elif line:
            found[-1][1].append(line)
    return found


def fields(text: bytes) -> dict[str, str]:
    return dict(line.split(":", 1) for _, lines in parts(text) for line in lines)


def test_every_field_of_valkey_is_there_or_explained(tmp_path: Path) -> None:
    """With the AOF on, so that its fields are shown; in the same sections, in the same order."""
    options = {"appendonly": "yes"}
    with (
        Instance("cachefleet", directory=tmp_path / "ours", options=options) as ours,
        Instance("valkey", directory=tmp_path / "theirs", options=options) as theirs,
    ):
        texts = []
        for instance in (ours, theirs):
            with instance.connect() as c:
                c.pipeline([("SET", "a", "b", "EX", "100"), ("GET", "a"), ("NOSUCH",)])
                texts.append(c.call("INFO", "everything"))
    mine, real = (parts(text) for text in texts)
    titles = [title for title, _ in mine]
    assert titles == [title for title, _ in real if title not in SECTIONS_ABSENT]
    used: set[str] = set()
    for title, lines in real:
        own = [line.partition(":")[0] for line in dict(mine).get(title, [])]
        names = [line.partition(":")[0] for line in lines if not PER_COMMAND.match(line)]
        for name in names:
            if name not in own:
                reasons = [pattern for pattern in ABSENT_FIELDS if re.fullmatch(pattern, name)]
                assert reasons, f"{title}: {name} is missing"
                used.update(reasons)
        common = [name for name in own if name in names]
        assert common == [name for name in names if name in own], f"order in {title}"
        assert {name for name in own if not PER_COMMAND.match(name)} - set(names) <= ADDED
    assert used == set(ABSENT_FIELDS), "stale reasons"
    # Lines with several values have the same ones.
    ours_fields, real_fields = (fields(text) for text in texts)
    for name in ("cmdstat_get", "db0", "latency_percentiles_usec_set", "errorstat_ERR", "listener0"):
        shapes = [re.sub(r"=[^,]*", "", f[name]) for f in (ours_fields, real_fields)]
        assert shapes[0] == shapes[1], name


SECTIONS = """
|default|all|everything|server|clients|memory|persistence|stats|replication|cpu|commandstats|errorstats|latencystats
cluster|keyspace|modules|SERVER|nosuch|keyspace server|server nosuch|commandstats default|default default
cpu memory cpu|all nosuch|nosuch nosuch|sentinel
""".strip("\n").replace("\n", "|").split("|")


@pytest.mark.parametrize("words", SECTIONS)
def test_sections(server: Instance, valkey: Instance, words: str) -> None:
    titles = []
    for instance in (server, valkey):
        with instance.connect() as c:
            titles.append([title for title, _ in parts(c.call("INFO", *words.split()))])
    assert titles[0] == [title for title in titles[1] if title not in SECTIONS_ABSENT]


def test_is_a_verbatim_string(pair: Pair) -> None:
    pair.run("INFO", "nosuch")
    pair.run("INFO", "errorstats-nosuch")
    assert pair.ours.raw("INFO")[:1] == pair.theirs.raw("INFO")[:1]


# -- values


@pytest.fixture
def settled(client: Connection) -> Connection:
    """What earlier tests left is freed by another thread; here it is gone."""
    assert_eventually(lambda: fields(client.call("INFO", "memory"))["lazyfree_pending_objects"] == "0")
    return client


def change(c: Connection, names: tuple[str, ...], action: Callable[[], object]) -> list[int]:
    """By how much integer fields change while the action runs."""
    before = fields(c.call("INFO", "everything"))
    action()
    after = fields(c.call("INFO", "everything"))
    return [int(after[name]) - int(before[name]) for name in names]


def test_counters_of_keys(pair: Pair) -> None:
    """The same script moves the same counters on both servers."""
    script = [
        ("SET", "a", "1"), ("GET", "a"), ("GET", "nosuch"), ("MGET", "a", "b", "c"), ("EXISTS", "a", "b"), ("TTL", "a"),
        ("STRLEN", "nosuch"), ("DEL", "a", "b"), ("APPEND", "x", "y"), ("TYPE", "x"), ("GETDEL", "x"), ("GETEX", "x"),
        ("SET", "e", "1", "PXAT", "1"), ("SET", "y", "1", "GET"), ("INCR", "n"), ("TOUCH", "n", "m"),
        ("COPY", "n", "o"),
    ]  # fmt: skip
    names = ("keyspace_hits", "keyspace_misses", "expired_keys")
    pair.flush()
    changes = [change(c, names, lambda c=c: c.pipeline(script)) for c in (pair.ours, pair.theirs)]
    assert changes[0] == changes[1]
    assert changes[0][0] > 0 and changes[0][1] > 0


def test_counters_of_connections_and_commands(pair: Pair) -> None:
    names = ("total_connections_received", "total_commands_processed", "total_error_replies", "total_net_input_bytes")
    script = [("PING",), ("NOSUCH",), ("GET",), ("INCR", "s"), ("SET", "s", "x"), ("INCR", "s")]

    def work(instance: Instance) -> None:
        with instance.connect() as c:
            c.pipeline(script)

    connections = (pair.ours, pair.theirs)
    changes = [
        change(c, names, lambda i=i: work(i)) for c, i in zip(connections, pair.instances, strict=True)
    ]  # fmt: skip
    assert changes[0] == changes[1]
    assert changes[0][0] == 1 and changes[0][2] == 3


def test_expired_keys_are_counted_when_nobody_looks(client: Connection) -> None:
    before = int(fields(client.call("INFO"))["expired_keys"])
    client.pipeline([("SET", f"k{i}", "v", "PX", "1") for i in range(100)])
    assert_eventually(lambda: int(fields(client.call("INFO"))["expired_keys"]) == before + 100)
    assert "db0" not in fields(client.call("INFO", "keyspace"))


def test_evicted_keys_and_the_time_above_the_limit(settled: Connection, server: Instance) -> None:
    client = settled
    client.pipeline([("SET", f"k{i}", "v" * 100) for i in range(10_000)])
    used = int(fields(client.call("INFO", "memory"))["used_memory"])
    before = int(fields(client.call("INFO", "stats"))["evicted_keys"])
    with server.configured(maxmemory=used // 2, maxmemory_policy="noeviction"):
        assert isinstance(client.call("SET", "more", "v" * 100_000), Error)
        assert_eventually(lambda: int(fields(client.call("INFO"))["current_eviction_exceeded_time"]) > 0)
        with server.configured(maxmemory_policy="allkeys-lru"):
            assert_eventually(lambda: int(fields(client.call("INFO", "stats"))["evicted_keys"]) > before + 1000)
    assert_eventually(lambda: fields(client.call("INFO", "stats"))["current_eviction_exceeded_time"] == "0")
    assert int(fields(client.call("INFO", "stats"))["total_eviction_exceeded_time"]) > 0


def test_keyspace_lines(pair: Pair) -> None:
    pair.flush()
    pair.run("SET", "a", "1")
    pair.run("SELECT", "3")
    for i in range(5):
        pair.run("SET", f"k{i}", "1", *(("EX", "1000") if i < 2 else ()))
    for connection in (pair.ours, pair.theirs):
        lines = fields(connection.call("INFO", "keyspace"))
        assert list(lines) == ["db0", "db3"]
        assert lines["db0"] == "keys=1,expires=0,avg_ttl=0,keys_with_volatile_items=0"
        assert lines["db3"].startswith("keys=5,expires=2,avg_ttl=")
    pair.run("SELECT", "0")
    pair.flush()


def test_command_and_error_statistics(pair: Pair) -> None:
    """calls, rejected_calls and failed_calls of each command, and errors by prefix, are the same numbers."""
    script = [
        ("SET", "s", "x"), ("GET", "s"), ("GET",), ("INCR", "s"), ("NOSUCH",), ("CLIENT", "ID"), ("CLIENT", "NOSUCH"),
        ("EXEC",), ("MULTI",), ("NOSUCH",), ("EXEC",), ("MULTI",), ("INCR", "s"), ("GET", "s"), ("EXEC",),
        ("GETRANGE", "s", "0", "x"), ("RESTORE", "s", "0", "bad"), ("OBJECT", "FREQ", "s"), ("AUTH", "x"),
    ]  # fmt: skip
    told = []
    for connection in (pair.ours, pair.theirs):
        connection.call("CONFIG", "RESETSTAT")
        connection.pipeline(script)
        shown = fields(connection.call("INFO", "commandstats", "errorstats"))
        shown.pop("cmdstat_info", None)
        told.append({name: re.sub(r"usec[a-z_]*=[^,]*,", "", value) for name, value in shown.items()})
    assert told[0] == told[1]
    assert told[0]["cmdstat_get"] == "calls=2,rejected_calls=1,failed_calls=0"
    assert int(told[0]["errorstat_ERR"].partition("=")[2]) >= 5


def test_resetstat(client: Connection) -> None:
    client.pipeline([("GET", "nosuch"), ("NOSUCH",), ("SET", "k", "v")])
    client.call("CONFIG", "RESETSTAT")
    shown = fields(client.call("INFO", "everything"))
    for name in ("keyspace_misses", "total_error_replies", "total_connections_received", "expired_keys"):
        assert shown[name] == "0", name
    assert not [name for name in shown if name.startswith(("errorstat_", "cmdstat_get", "cmdstat_set"))]


def test_rates_follow_the_load(client: Connection) -> None:
    def busy() -> bool:
        client.pipeline([("SET", "k", "v" * 100)] * 2000)
        shown = fields(client.call("INFO", "stats"))
        return (
            int(shown["instantaneous_ops_per_sec"]) > 1000
            and float(shown["instantaneous_input_kbps"]) > 100
            and int(shown["instantaneous_eventloop_cycles_per_sec"]) > 0
        )

    assert_eventually(busy)
    assert_eventually(lambda: int(fields(client.call("INFO", "stats"))["instantaneous_ops_per_sec"]) < 1000)


def test_clients_and_blocked_clients(client: Connection, server: Instance) -> None:
    with server.connect() as waiting, server.connect() as watching:
        waiting.send_command("WAIT", "1", "0")
        watching.call("WATCH", "a", "b")

        def shown() -> bool:
            now = fields(client.call("INFO", "clients"))
            return (now["blocked_clients"], now["watching_clients"], now["total_watched_keys"]) == ("1", "1", "2")

        assert_eventually(shown)
        assert int(fields(client.call("INFO", "clients"))["connected_clients"]) >= 3
    assert_eventually(lambda: fields(client.call("INFO", "clients"))["blocked_clients"] == "0")


def test_recent_buffers(client: Connection, server: Instance) -> None:
    """A half-sent request and a long reply show up."""
    with server.connect() as slow:
        slow.send(b"*2\r\n$4\r\nECHO\r\n$200000\r\n" + b"x" * 100_000)
        assert_eventually(lambda: int(fields(client.call("INFO"))["client_recent_max_input_buffer"]) >= 100_000)
    client.call("SET", "big", "x" * 300_000)
    client.call("GET", "big")
    assert int(fields(client.call("INFO"))["client_recent_max_output_buffer"]) >= 300_000


def test_memory_follows_the_data(client: Connection, server: Instance) -> None:
    server.settled_memory()
    before = fields(client.call("INFO", "memory"))
    client.call("SET", "big", "x" * 10_000_000)
    after = fields(client.call("INFO", "memory"))
    for name in ("used_memory", "used_memory_dataset"):
        # A chunk for replies more or less is in it.
        assert 9_900_000 < int(after[name]) - int(before[name]) < 11_000_000, name
    assert int(after["used_memory_peak"]) >= int(after["used_memory"])
    assert after["used_memory_human"].endswith("M")
    overhead, dataset = int(after["used_memory_overhead"]), int(after["used_memory_dataset"])
    assert overhead + dataset == int(after["used_memory"])


def test_a_growing_table_shows_what_it_leaves(settled: Connection) -> None:
    """While keys are added, the table doubles now and then; between two such moments nothing is left behind."""
    seen: set[bool] = set()
    for start in range(0, 100_000, 50):
        settled.pipeline([("SET", f"k{i}", "v") for i in range(start, start + 50)])
        seen.add(fields(settled.call("INFO", "memory"))["mem_overhead_db_hashtable_rehashing"] != "0")
        if seen == {True, False}:
            break
    assert seen == {True, False}


def test_active_time_and_cpu_grow(client: Connection) -> None:
    def used() -> tuple[float, float]:
        shown = fields(client.call("INFO", "cpu"))
        return float(shown["used_active_time_main_thread"]), float(shown["used_cpu_user_main_thread"])

    before = used()
    client.pipeline([("DEBUG", "SLEEP", "0.01")] * 5)
    assert used()[0] - before[0] >= 0.05
    assert_eventually(lambda: client.pipeline([("SET", "k", "v")] * 5000) and used()[1] > before[1])


def test_persistence_fields_after_a_save(tmp_path: Path) -> None:
    with Instance("cachefleet", directory=tmp_path) as server, server.connect() as c:
        c.pipeline([("SET", f"k{i}", "v") for i in range(100)])
        assert fields(c.call("INFO", "persistence"))["rdb_changes_since_last_save"] == "100"
        assert c.call("SAVE") == "OK"
        shown = fields(c.call("INFO", "persistence"))
        assert (shown["rdb_changes_since_last_save"], shown["rdb_last_bgsave_status"]) == ("0", "ok")
        assert shown["rdb_saves"] == "1"
