"""The metrics port: what a scrape says, whether Prometheus' own tools accept it, and that nobody can do harm there."""

from __future__ import annotations

import gzip
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from cachefleet_server.metrics.table import FAMILIES, TABLE
from fleettest.client import encode
from fleettest.faults import Faults
from fleettest.instance import Instance
from fleettest.proxy import Proxy
from fleettest.scraped import Scraped
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server]

# What the dashboard of the redis_exporter project, its mixin and its alerts ask for (replication apart).
DASHBOARD = (
    "redis_up", "redis_uptime_in_seconds", "redis_connected_clients", "redis_blocked_clients",
    "redis_memory_used_bytes", "redis_memory_max_bytes", "redis_commands_processed_total", "redis_keyspace_hits_total",
    "redis_keyspace_misses_total", "redis_net_input_bytes_total", "redis_net_output_bytes_total", "redis_db_keys",
    "redis_db_keys_expiring", "redis_expired_keys_total", "redis_evicted_keys_total", "redis_commands_total",
    "redis_commands_duration_seconds_total", "redis_instance_info", "redis_total_system_memory_bytes",
    "redis_mem_fragmentation_ratio", "redis_rejected_connections_total", "redis_config_maxclients",
    "redis_connected_slaves", "redis_slowlog_length", "redis_rdb_last_save_timestamp_seconds",
    "redis_aof_last_write_status", "redis_rdb_last_bgsave_status", "redis_start_time_seconds",
    "redis_cpu_sys_seconds_total", "redis_cpu_user_seconds_total", "redis_memory_used_rss_bytes",
    "redis_connections_received_total", "redis_db_avg_ttl_seconds", "redis_errors_total", "redis_latency_spike_last",
    "redis_latency_spike_duration_seconds", "redis_last_slow_execution_duration_seconds",
)  # fmt: skip
# promtool's style rules would forbid these; they are redis_exporter's names.
NAMES_NOT_OURS = {
    "redis_aof_current_rewrite_duration_sec", "redis_aof_last_rewrite_duration_sec",
    "redis_current_eviction_exceeded_time_ms", "redis_dump_payload_sanitizations",
    "redis_eviction_exceeded_time_ms_total", "redis_expire_cycle_cpu_time_ms_total",
    "redis_io_threaded_reads_processed", "redis_io_threaded_writes_processed", "redis_migrate_cached_sockets_total",
    "redis_memory_used_vm_total",
    "redis_rdb_current_bgsave_duration_sec", "redis_rdb_last_bgsave_duration_sec", "redis_total_error_replies",
    "redis_total_reads_processed", "redis_total_writes_processed", "redis_unexpected_error_replies",
}  # fmt: skip


@pytest.fixture(scope="module")
def shared() -> Iterator[Scraped]:
    with Scraped() as server:
        yield server


@pytest.fixture
def server(shared: Scraped) -> Scraped:
    assert shared.call("FLUSHALL") == "OK"
    return shared


# -- what it says


def test_promtool_accepts_it(server: Scraped) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "no promtool: apt-get install prometheus"
    with server.connect() as c, server.configured(latency_monitor_threshold=1):
        c.pipeline([("SET", "a", "b"), ("NOSUCH",), ("DEBUG", "SLEEP", "0.01"), ("SELECT", "3"), ("SET", "a", "b")])
    body = server.get("/metrics")[2]
    result = subprocess.run([promtool, "check", "metrics"], input=body, capture_output=True, check=False)
    complaints = result.stderr.decode().splitlines()
    assert {line.split(" ")[0] for line in complaints} == NAMES_NOT_OURS, complaints
    assert result.returncode == 3, "3 is style; 1 would be that it cannot be parsed"


def test_the_dashboard_finds_its_series(server: Scraped) -> None:
    with server.connect() as c, server.configured(latency_monitor_threshold=1):
        c.pipeline([("SET", "a", "b"), ("NOSUCH",), ("DEBUG", "SLEEP", "0.01")])
    names = {sample.name for sample in server.samples()}
    assert [name for name in DASHBOARD if name not in names] == []


def test_the_scrape_is_what_the_tables_say(server: Scraped) -> None:
    """Every series of the tables is there, and nothing else."""
    body = server.get("/metrics")[2].decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", body, re.MULTILINE))
    expected = {row.series: "counter" if row.is_counter else "gauge" for row in TABLE if row.series}
    expected |= {family.series: family.kind for family in FAMILIES.values()}
    assert types == expected
    assert body.count("# TYPE ") == len(expected), "a family comes once"


def test_openmetrics_and_gzip_on_request(server: Scraped) -> None:
    plain = server.get("/metrics")
    assert plain[1]["content-type"].startswith("text/plain; version=") and "content-encoding" not in plain[1]
    status, headers, body = server.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert status == 200 and headers["content-type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n") and body.count(b"# EOF") == 1
    assert len(list(parse_openmetrics(body.decode()))) == plain[2].count(b"# TYPE ")
    for accepted, packed in (("gzip", True), ("deflate, gzip;q=1.0", True), ("gzip;q=0", False), ("identity", False)):
        _, headers, body = server.get("/metrics", Accept_Encoding=accepted)
        assert (headers.get("content-encoding") == "gzip") is packed
        assert (b"redis_up 1.0" in body) is not packed
        if packed:
            assert b"redis_up 1.0" in gzip.decompress(body) and len(body) < len(plain[2]) / 3


def test_values_move(server: Scraped) -> None:
    with server.connect() as c:
        c.call("CONFIG", "RESETSTAT")
        c.pipeline([("SET", f"k{i}", "v" * 1000, "EX", "1000") for i in range(100)])
        c.pipeline([("GET", "k1"), ("GET", "nosuch"), ("GET",), ("INCR", "k1"), ("NOSUCH",)])
        assert server.value("redis_connected_clients") >= 1
    assert server.value("redis_db_keys", db="db0") == server.value("redis_db_keys_expiring", db="db0") == 100
    assert_eventually(lambda: 900 < server.value("redis_db_avg_ttl_seconds", db="db0") <= 1000)
    assert server.value("redis_commands_total", cmd="set") == 100
    assert server.value("redis_commands_rejected_calls_total", cmd="get") == 1
    assert server.value("redis_commands_failed_calls_total", cmd="incr") == 1
    assert server.value("redis_errors_total", err="ERR") == 3
    assert server.value("redis_keyspace_hits_total") >= 1 <= server.value("redis_keyspace_misses_total")
    assert server.value("redis_net_input_bytes_total") > 100_000
    assert server.value("redis_memory_used_bytes") > 100_000
    with server.configured(maxmemory=123456789):
        assert server.value("redis_memory_max_bytes") == server.value("redis_config_maxmemory") == 123456789


def test_streams_that_are_named(server: Scraped) -> None:
    """Their length and the state of their groups; nothing of other keys, and of keys that are no streams."""
    named = "orders db3=other none text db999=x db0=orders"
    with server.connect() as c, server.configured(**{"metrics-streams": named}):
        c.call("FLUSHALL")
        c.call("SET", "text", "t")
        c.pipeline([("XADD", key, f"{i}-1", "f", "v") for key in ("orders", "hidden") for i in range(1, 11)])
        c.call("XGROUP", "CREATE", "orders", "work", 0)
        c.call("XREADGROUP", "GROUP", "work", "a", "COUNT", 4, "STREAMS", "orders", ">")
        c.call("XACK", "orders", "work", "1-1")
        c.pipeline([("SELECT", 3), ("XADD", "other", "1-1", "f", "v"), ("SELECT", 0)])
        of = {"db": "db0", "stream": "orders", "group": "work"}
        assert server.value("redis_stream_length", db="db0", stream="orders") == 10
        assert server.value("redis_stream_length", db="db3", stream="other") == 1
        assert server.value("redis_stream_group_lag", **of) == 6
        assert server.value("redis_stream_group_messages_pending", **of) == 3
        assert server.value("redis_stream_group_consumers", **of) == 1
        c.call("XDEL", "orders", "8-1")
        names = [sample.name for sample in server.samples() if "stream" in sample.labels]
        assert "redis_stream_group_lag" not in names and names.count("redis_stream_length") == 2
        hits = server.value("redis_keyspace_hits_total")
        server.samples()
        assert server.value("redis_keyspace_hits_total") == hits
        c.call("FLUSHALL")


def test_histograms_of_commands_and_of_the_event_loop(server: Scraped) -> None:
    with server.connect() as c:
        c.call("CONFIG", "RESETSTAT")
        c.pipeline([("SET", "k", "v")] * 500 + [("DEBUG", "SLEEP", "0.02")] * 2)
    assert_eventually(lambda: server.value("cachefleet_event_loop_lag_seconds_count") > 0, "cron runs")
    samples = server.samples()

    def buckets(name: str, **labels: str) -> list[tuple[float, float]]:
        return [
            (float(s.labels["le"]), s.value)
            for s in samples
            if s.name == name + "_bucket" and labels.items() <= s.labels.items()
        ]

    for cmd, calls in (("set", 500), ("debug", 2)):
        found = buckets("cachefleet_command_duration_seconds", cmd=cmd)
        assert [n for _, n in found] == sorted(n for _, n in found) and found[-1] == (float("inf"), calls)
    assert all(n == 0 for le, n in buckets("cachefleet_command_duration_seconds", cmd="debug") if le < 0.02)
    for name in ("cachefleet_event_loop_tick_seconds", "cachefleet_event_loop_lag_seconds"):
        found = buckets(name)
        count = next(s.value for s in samples if s.name == name + "_count")
        assert found[-1][1] == count > 0
    ticks = buckets("cachefleet_event_loop_tick_seconds")
    assert all(n < ticks[-1][1] for le, n in ticks if le < 0.02), "the ticks that slept are in the upper buckets"


def test_a_busy_loop_shows_as_lag(server: Scraped) -> None:
    before = server.value("cachefleet_event_loop_lag_seconds_sum")
    server.call("DEBUG", "SLEEP", "0.5")
    assert_eventually(lambda: server.value("cachefleet_event_loop_lag_seconds_sum") - before > 0.25)


def test_counters_never_go_back_while_keys_come_and_go(server: Scraped) -> None:
    names = {row.series.removesuffix("_total") + "_total" for row in TABLE if row.is_counter}  # the parser's wish
    before = {s.name: s.value for s in server.samples() if s.name in names}
    with server.connect() as c:
        c.pipeline([("SET", f"k{i}", "v") for i in range(100)] + [("FLUSHALL",)])
    after = {s.name: s.value for s in server.samples() if s.name in names}
    assert before.keys() == after.keys() and all(after[name] >= before[name] for name in names)


# -- health


def test_healthz_and_readyz(server: Scraped) -> None:
    assert server.get("/healthz")[::2] == (200, b"ok\n")
    assert server.get("/readyz")[::2] == (200, b"ok\n")
    assert server.value("cachefleet_ready") == 1
    assert server.value("cachefleet_disk_write_failed") == 0
    assert server.value("cachefleet_loading_progress_ratio") == 1


def test_not_ready_while_loading(tmp_path: Path) -> None:
    """/healthz says ok, /readyz why not; the progress grows."""
    keys = b"".join(encode("SET", f"key:{i}", "ab" * 2000) for i in range(1000))
    slow = encode("LCS", "key:1", "key:2", "LEN") * 10_000  # seconds
    (tmp_path / "appendonly.aof").write_bytes(keys + slow)
    server = Scraped(directory=tmp_path, options={"appendonly": "yes"})
    server.spawn()
    try:
        seen: list[float] = []

        def loading() -> bool:
            try:
                status, _, body = server.get("/readyz")
            except OSError:
                return False
            if status == 503:
                assert body == b"loading the dataset\n"
                assert server.get("/healthz")[0] == 200
                samples = {s.name: s.value for s in server.samples()}
                if samples["cachefleet_ready"] == 0:
                    seen.append(samples["cachefleet_loading_progress_ratio"])
            return status == 200

        assert_eventually(loading, pause_s=0, deadline_s=60)
        assert seen, "it loaded faster than anybody could ask"
        assert seen == sorted(seen) and all(0 <= ratio <= 1 for ratio in seen)
        assert server.value("redis_db_keys", db="db0") == 1000
    finally:
        server.close()


def test_not_ready_while_the_disk_fails(tmp_path: Path) -> None:
    faults = Faults(tmp_path / "data", tmp_path)
    options = {"appendonly": "yes", "appendfsync": "everysec"}
    with Scraped(directory=tmp_path / "data", options=options, env=faults.env) as server, server.connect() as c:
        assert c.call("SET", "a", "1") == "OK"
        faults.set("fail write 1- ENOSPC @*.aof")
        c.send_command("SET", "a", "2")
        assert_eventually(lambda: server.get("/readyz")[0] == 503)
        assert server.get("/readyz")[2] == b"the append-only file cannot be written\n"
        assert server.get("/healthz")[0] == 200
        assert server.get("/readyz?exclude=disk")[::2] == (200, b"ok\n")
        for query in ("exclude=loading", "exclude=", "exclude", "disk", "exclude=d%00isk&x=%ff", "&&=="):
            assert server.get(f"/readyz?{query}")[0] == 503
        assert server.get("/readyz?exclude=x&exclude=disk")[0] == 200
        assert server.value("cachefleet_disk_write_failed") == 1
        assert server.value("cachefleet_ready") == server.value("redis_aof_last_write_status") == 0
        faults.clear()
        assert_eventually(lambda: server.get("/readyz")[0] == 200)
        assert server.value("cachefleet_disk_write_failed") == 0


def test_not_ready_while_snapshots_fail(tmp_path: Path) -> None:
    """With save points a failed snapshot refuses writes, unless the parameter says that this does not matter."""
    faults = Faults(tmp_path / "data", tmp_path)
    with Scraped(directory=tmp_path / "data", env=faults.env) as server, server.connect() as c:
        assert c.call("CONFIG", "SET", "save", "100000 1") == "OK"
        c.call("SET", "a", "1")
        faults.set("fail write 1- ENOSPC @*.rdb")
        c.call("BGSAVE")
        assert_eventually(lambda: server.get("/readyz")[::2] == (503, b"the last snapshot failed\n"))
        assert server.value("cachefleet_disk_write_failed") == 1
        with server.configured(stop_writes_on_bgsave_error="no"):
            assert server.get("/readyz")[0] == 200
        assert server.get("/readyz")[0] == 503
        faults.clear()
        c.call("BGSAVE")
        assert_eventually(lambda: server.get("/readyz")[0] == 200)


def test_not_ready_while_a_replica_has_not_its_primarys_data(tmp_path: Path) -> None:
    """Its first synchronisation, and a link that is down for longer than it may; not a lag, nor a short cut."""
    first = b"waiting for the first synchronisation with the primary\n"
    options = {"repl-ping-replica-period": "1"}
    with Instance(directory=tmp_path / "primary", options=options) as primary, Proxy(primary.address) as proxy:
        proxy.close_door()
        following = {"replicaof": proxy.address, "save": "3600 1"}
        with Scraped(directory=tmp_path / "replica", options=following) as replica:
            assert replica.get("/readyz")[::2] == (503, first)
            assert replica.get("/readyz?exclude=replication")[::2] == (200, b"ok\n")
            assert replica.value("cachefleet_ready") == replica.value("redis_master_link_up") == 0
            proxy.open_door()
            assert_eventually(lambda: replica.get("/readyz")[::2] == (200, b"ok\n"))
            assert replica.value("redis_master_link_up") == 1
            proxy.close_door()
            proxy.cut()
            assert_eventually(lambda: replica.value("redis_master_link_up") == 0)
            assert replica.get("/readyz")[0] == 200
            replica.call("CONFIG", "SET", "repl-timeout", "1")
            assert_eventually(lambda: b"the link with the primary has been down for 2" in replica.get("/readyz")[2])
            replica.restart()
            assert replica.get("/readyz")[0] == 200, "its file has the primary's data"
            assert replica.call("REPLICAOF", "NO", "ONE") == "OK"
            assert replica.get("/readyz")[0] == 200
            assert replica.call("REPLICAOF", *map(str, proxy.address)) == "OK"
            assert replica.get("/readyz")[::2] == (503, first)
            assert replica.value("cachefleet_replica_sync_failures_total") == 0, "who was not reached did not refuse"
            primary.call("CONFIG", "SET", "requirepass", "unknown to it")
            proxy.open_door()
            assert_eventually(lambda: replica.value("cachefleet_replica_sync_failures_total") > 0)


def test_ages_and_times_of_the_disk(tmp_path: Path) -> None:
    options = {"appendonly": "yes", "appendfsync": "always"}
    with Scraped(directory=tmp_path, options=options) as server:
        server.call("SET", "a", "1")
        assert 0 < server.value("cachefleet_aof_last_fsync_seconds") < 60
        assert server.call("SAVE") == "OK"
        assert 0 <= server.value("cachefleet_snapshot_age_seconds") < 3600


def test_a_taken_port_stops_the_start(server: Scraped, tmp_path: Path) -> None:
    options = {"metrics-port": server.metrics_port, "metrics-bind": "127.0.0.1"}
    second = Instance("cachefleet", directory=tmp_path, options=options)
    second.spawn()
    assert second.wait_exit() == 1
    assert f"Can't listen on metrics port {server.metrics_port}" in second.log_text()


# -- cost


def cpu_seconds(pid: int) -> float:
    """Of the engine's thread."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@pytest.mark.alone("CPU time of a scrape, in units of a command's")
def test_a_scrape_costs_next_to_nothing(server: Scraped) -> None:
    """In CPU of the engine's thread, both measured here: a scrape is worth less than 120 000 pipelined SETs, of which
    the thread does 100 million between two scrapes of Prometheus' usual 15 seconds."""
    batch, rounds, scrapes = 1000, 500, 100
    requests = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\nval\r\n" * batch
    with socket.create_connection(server.address, timeout=60) as s:
        before = cpu_seconds(server.pid)
        for _ in range(rounds):
            s.sendall(requests)
            left = len(b"+OK\r\n" * batch)
            while left:
                left -= len(s.recv(left))
        per_command = (cpu_seconds(server.pid) - before) / (batch * rounds)
    before = cpu_seconds(server.pid)
    for _ in range(scrapes):
        assert server.get("/metrics")[0] == 200
    per_scrape = (cpu_seconds(server.pid) - before) / scrapes
    print(f"a scrape: {per_scrape * 1e3:.2f} ms, as much as {per_scrape / per_command:.0f} SETs")
    assert per_scrape / per_command < 120_000
