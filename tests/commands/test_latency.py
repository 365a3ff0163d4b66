"""LATENCY beside the real Valkey: events, their samples and graphs; histograms of commands."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cachefleet_server.admin.latency import COLUMNS, Event, cumulative, draw
from fleettest.client import Connection
from fleettest.faults import Faults
from fleettest.instance import Instance
from fleettest.reference import Pair
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server, pytest.mark.differential]

ERRORS = """
LATENCY|LATENCY FOO|LATENCY HELP|LATENCY HELP x|LATENCY LATEST|LATENCY LATEST x|LATENCY HISTORY|LATENCY HISTORY command
LATENCY HISTORY a b|LATENCY RESET|LATENCY RESET foo bar|LATENCY GRAPH|LATENCY GRAPH foo|LATENCY GRAPH a b
LATENCY DOCTOR|LATENCY DOCTOR x|LATENCY HISTOGRAM nosuch|LATENCY HISTOGRAM client|nosuch
""".replace("client|nosuch", "client:nosuch").replace("\n", "|").strip("|").split("|")


@pytest.fixture
def watching(client: Connection, server: Instance) -> Iterator[Connection]:
    """Our server reports from one millisecond on; no events yet."""
    with server.configured(latency_monitor_threshold=1):
        client.call("LATENCY", "RESET")
        yield client
    client.call("LATENCY", "RESET")


def events(connection: Connection) -> dict[str, list[int]]:
    """Event -> time, latest, maximum, sum, count."""
    return {name.decode(): numbers for name, *numbers in connection.call("LATENCY", "LATEST")}


def test_replies_and_errors(pair: Pair) -> None:
    pair.run("LATENCY", "RESET")
    for line in ERRORS:
        pair.run(*line.replace(":", "|").split())


def similar(ours: Any, theirs: Any) -> bool:
    """The same shape and texts; numbers (times, milliseconds) may differ."""
    if isinstance(ours, list):
        return isinstance(theirs, list) and len(ours) == len(theirs) and all(map(similar, ours, theirs))
    return type(ours) is type(theirs) and (isinstance(ours, int) or ours == theirs)


def test_commands_over_the_threshold_are_events(pair: Pair) -> None:
    """DEBUG is no fast command; nothing is recorded below the threshold or while monitoring is off."""
    for connection in (pair.ours, pair.theirs):
        connection.call("LATENCY", "RESET")
        connection.call("DEBUG", "SLEEP", "0.15")
        assert events(connection) == {}, "monitoring is off"
        connection.call("CONFIG", "SET", "latency-monitor-threshold", "100")
        connection.call("PING")
        connection.call("DEBUG", "SLEEP", "0.001")
        assert "command" not in events(connection)
        for _ in range(3):
            connection.call("DEBUG", "SLEEP", "0.15")
        _, latest, worst, total, count = events(connection)["command"]
        assert count == 3 and worst >= latest >= 150 and total >= 450
        for name in events(connection).keys() - {"command"}:  # the machine may have stopped for a while
            connection.call("LATENCY", "RESET", name)
        samples = connection.call("LATENCY", "HISTORY", "command")
        assert 1 <= len(samples) <= 3, "one sample a second: the worst"
        assert max(ms for _, ms in samples) == worst
    assert similar(pair.ours.call("LATENCY", "LATEST"), pair.theirs.call("LATENCY", "LATEST"))
    for connection in (pair.ours, pair.theirs):
        assert connection.call("LATENCY", "HISTORY", "COMMAND") == []
        assert connection.call("LATENCY", "RESET", "nosuch", "command", "command") == 1
        assert "command" not in events(connection)
        connection.call("CONFIG", "SET", "latency-monitor-threshold", "0")


def test_the_graph_is_valkeys(valkey: Instance) -> None:
    """Valkey's samples, drawn by us, give Valkey's picture. The ages in it may change between the two questions."""
    with valkey.configured(latency_monitor_threshold=1), valkey.connect() as theirs:
        theirs.call("LATENCY", "RESET")
        for ms in (5, 30, 60, 12):
            second = int(time.time())
            theirs.call("DEBUG", "SLEEP", str(ms / 1000))
            assert_eventually(lambda before=second: int(time.time()) > before)

        def same() -> bool:
            event = Event()
            for at, value in theirs.call("LATENCY", "HISTORY", "command"):
                event.samples.append((at, value))
            event.worst_ms = events(theirs)["command"][2]
            return bool(theirs.call("LATENCY", "GRAPH", "command").decode() == draw("command", event, int(time.time())))

        assert_eventually(same)


def test_a_long_graph_is_cut_into_blocks() -> None:
    event = Event()
    for second in range(200):
        event.add(second, 10 + second % 7)
    text = draw("x", event, 260)
    assert len(event.samples) == 160 and event.count == 200
    blocks = text.split("\n", 2)[2].split("\n\n")
    assert len(blocks) == 2 and all(len(line) == COLUMNS for block in blocks for line in block.strip("\n").split("\n"))


@pytest.mark.parametrize("resp", [2, 3])
def test_histograms(server: Instance, valkey: Instance, resp: int) -> None:
    """The same calls of the same commands; bounds are powers of two, as Valkey rounds them, and counts accumulate."""
    answers = []
    for instance in (server, valkey):
        with instance.connect(resp=resp) as c:
            c.call("CONFIG", "RESETSTAT")
            c.pipeline([("SET", "a", "1"), ("GET", "a"), ("GET", "b"), ("CLIENT", "ID"), ("GET",), ("LPUSHX",)])
            answers.append(c.call("LATENCY", "HISTOGRAM", "get", "client", "nosuch", "SET"))
            assert c.call("LATENCY", "HISTOGRAM", "client|id") == c.call("LATENCY", "HISTOGRAM", "client")
            everything = c.call("LATENCY", "HISTOGRAM")
            assert b"set" in (everything if resp == 3 else everything[::2])
    mine, real = (as_map(answer) for answer in answers)
    assert list(mine) == list(real) == [b"get", b"client|id", b"set"]
    for name, row in mine.items():
        assert row[b"calls"] == real[name][b"calls"]
        counts = list(as_map(row[b"histogram_usec"]).values())
        assert counts == sorted(counts) and counts[-1] == row[b"calls"]


def as_map(reply: Any) -> dict[Any, Any]:
    """A map, or RESP2's flat form of one, two levels deep."""
    if isinstance(reply, list):
        reply = dict(zip(reply[::2], reply[1::2], strict=True))
    return {key: as_map(value) if isinstance(value, list) else value for key, value in reply.items()}


def test_bounds_are_those_of_valkey(valkey: Instance) -> None:
    known = set(cumulative([1] * 32))
    with valkey.connect(resp=3) as c:
        for ms in ("0", "0.0005", "0.003", "0.02"):
            c.call("DEBUG", "SLEEP", ms)
        bounds = {b for row in c.call("LATENCY", "HISTOGRAM").values() for b in row[b"histogram_usec"]}
    assert len(bounds) > 3 and bounds <= known


def test_tracking_off_stops_histograms(pair: Pair) -> None:
    for connection in (pair.ours, pair.theirs):
        connection.call("CONFIG", "RESETSTAT")
        connection.call("SET", "a", "1")
        connection.call("CONFIG", "SET", "latency-tracking", "no")
        connection.pipeline([("SET", "a", "1"), ("GET", "a")])
        row = as_map(connection.call("LATENCY", "HISTOGRAM", "set", "get"))
        assert list(row) == [b"set"] and row[b"set"][b"calls"] == 1, "what was counted stays; nothing is added"
        assert connection.call("INFO", "latencystats") == b"# Latencystats\r\n"
        assert b"cmdstat_get:calls=1" in connection.call("INFO", "commandstats")
        connection.call("CONFIG", "SET", "latency-tracking", "yes")
        connection.call("GET", "a")
        assert as_map(connection.call("LATENCY", "HISTOGRAM", "get"))[b"get"][b"calls"] == 1
        assert b"latency_percentiles_usec_get:p50=" in connection.call("INFO", "latencystats")


def test_percentiles_follow_the_parameter(server: Instance, valkey: Instance) -> None:
    shown = []
    for instance in (server, valkey):
        with instance.configured(latency_tracking_info_percentiles="50 99.99 0 100 12.5"), instance.connect() as c:
            c.call("CONFIG", "RESETSTAT")
            c.call("SET", "a", "1")
            line = next(x for x in c.call("INFO", "latencystats").decode().split("\r\n") if "_set:" in x)
            shown.append([pair.partition("=")[0] for pair in line.partition(":")[2].split(",")])
            values = [float(pair.partition("=")[2]) for pair in line.partition(":")[2].split(",")]
            assert values[2] <= values[4] <= values[0] <= values[1] <= values[3]
    assert shown[0] == shown[1] == ["p50", "p99.99", "p0", "p100", "p12.5"]


# -- events of the server's own work


def test_expiry_is_an_event(watching: Connection) -> None:
    """100 000 keys at once: a slice is 1 ms long at most, and then takes at least the threshold of 1 ms."""
    watching.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    for start in range(0, 100_000, 1000):
        watching.pipeline([("SET", f"k{i}", "v", "PX", "1") for i in range(start, start + 1000)])
    watching.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")
    assert_eventually(lambda: "expire-cycle" in events(watching))


def test_eviction_is_an_event(watching: Connection, server: Instance) -> None:
    for start in range(0, 200_000, 1000):
        watching.pipeline([("SET", f"k{i}", "v") for i in range(start, start + 1000)])
    used = int(server.info("memory")["used_memory"])
    with server.configured(maxmemory_policy="allkeys-random", maxmemory_eviction_tenacity=60):
        with server.configured(maxmemory=used // 2):
            assert_eventually(lambda: "eviction-cycle" in events(watching))


def test_a_large_value_that_expires_or_is_evicted_is_an_event(watching: Connection, server: Instance) -> None:
    """Freeing 256 MB of touched pages on the engine's thread takes over a millisecond."""
    megabytes = 256
    with server.configured(lazyfree_lazy_expire="no", lazyfree_lazy_eviction="no"):
        watching.call("SETRANGE", "big", megabytes << 20, "x")
        watching.call("PEXPIRE", "big", "1")
        assert_eventually(lambda: watching.call("EXISTS", "big") == 0)
        assert_eventually(lambda: "expire-del" in events(watching))
        watching.call("SETRANGE", "big", megabytes << 20, "x")
        with server.configured(maxmemory_policy="allkeys-random", maxmemory=megabytes << 19):
            assert_eventually(lambda: "eviction-del" in events(watching))


def test_the_disk_is_an_event(tmp_path: Path) -> None:
    """Under `always` each write waits for a disk, here one that takes five milliseconds for everything."""
    faults = Faults(tmp_path / "data", tmp_path)
    options = {"appendonly": "yes", "appendfsync": "always", "latency-monitor-threshold": 4}
    with Instance("cachefleet", directory=faults.folder, options=options, env=faults.env) as server:
        with server.connect() as c:
            c.call("SET", "k", "v")
            c.call("LATENCY", "RESET")
            faults.set("stall write 1- 5", "stall fsync 1- 5")
            c.call("SET", "k", "w")
            found = events(c)
            for name in ("aof-write", "aof-fsync-always"):
                assert found[name][2] >= 5, found
            assert b"aof-write: " in c.call("LATENCY", "DOCTOR")


def test_doctor_tells_what_there_is(client: Connection, server: Instance) -> None:
    """A machine may stop for a while at any moment, which makes events, too."""
    with server.configured(latency_monitor_threshold=100):
        assert_eventually(lambda: b"No event" in client.pipeline([("LATENCY", "RESET"), ("LATENCY", "DOCTOR")])[1])
        client.call("DEBUG", "SLEEP", "0.3")
        lines = client.call("LATENCY", "DOCTOR").decode().splitlines()
        told = next(line for line in lines if line.startswith("command: "))
        count, average = map(int, re.findall(r"^command: (\d+) spikes, average (\d+) ms", told)[0])
        assert count >= 1 and count * average >= 300 - count, told
        assert "SLOWLOG" in told
    with server.configured(latency_monitor_threshold=0):
        assert b"is off" in client.call("LATENCY", "DOCTOR")
    client.call("LATENCY", "RESET")
