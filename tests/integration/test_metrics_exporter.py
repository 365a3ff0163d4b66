"""/metrics beside the real redis_exporter: the same names, types, labels and values; what was made for it works.

INTENDED holds what differs and why. The exporter looks at our server and at Valkey, so a line of INFO that we lack
shows, too.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cachefleet_server.metrics.table import FAMILIES, TABLE
from fleettest.exporter import exporter
from fleettest.instance import Instance
from fleettest.replicas import assert_follows
from fleettest.scraped import Scraped
from fleettest.wait import assert_eventually

pytestmark = [pytest.mark.server]

_OWN = "about redis_exporter itself"
_STREAM = "XINFO says it to who looks: ids are no numbers, and a series a consumer has no end"
INTENDED = {
    "redis_exporter_build_info": _OWN,
    "redis_exporter_last_scrape_connect_time_seconds": _OWN,
    "redis_exporter_last_scrape_duration_seconds": _OWN,
    "redis_exporter_last_scrape_error": _OWN,
    "redis_exporter_scrape_duration_seconds": _OWN,
    "redis_exporter_scrapes_total": _OWN,
    "redis_last_key_groups_scrape_duration_milliseconds": _OWN,
    "redis_target_scrape_request_errors_total": _OWN,
    "redis_commands_latencies_usec": "cachefleet_command_duration_seconds is the same in Prometheus' unit",
    "redis_latency_percentiles_usec": "quantiles of several servers cannot be added; buckets can",
    "redis_db_keys_cached": "KeyDB's; the exporter takes keys_with_volatile_items for it",
    "redis_rdb_saves_total": "a counter; the exporter calls it a gauge",
    "redis_expired_time_cap_reached_total": "a counter; the exporter calls it a gauge",
    **dict.fromkeys((
        "redis_stream_first_entry_id", "redis_stream_group_consumer_idle_seconds",
        "redis_stream_group_consumer_messages_pending", "redis_stream_group_entries_read",
        "redis_stream_group_last_delivered_id", "redis_stream_groups", "redis_stream_last_entry_id",
        "redis_stream_last_generated_id", "redis_stream_max_deleted_entry_id", "redis_stream_radix_tree_keys",
        "redis_stream_radix_tree_nodes",
    ), _STREAM),
    "redis_instance_info": "has the labels of newer exporters (master_replid), and cachefleet_version",
}
# What exporters have that are newer than the one that is built here.
NEWER = {
    "redis_acl_access_denied_auth_total", "redis_acl_access_denied_channel_total",
    "redis_acl_access_denied_cmd_total", "redis_acl_access_denied_key_total", "redis_async_loading",
    "redis_client_output_buffer_limit_disconnections_total", "redis_client_query_buffer_limit_disconnections_total",
    "redis_config_client_output_buffer_limit_bytes", "redis_config_client_output_buffer_limit_overcome_seconds",
    "redis_current_eviction_exceeded_time_ms", "redis_evicted_clients_total", "redis_evicted_scripts_total",
    "redis_eviction_exceeded_time_ms_total", "redis_expire_cycle_cpu_time_ms_total", "redis_expired_fields_total",
    "redis_max_clients",
    "redis_mem_overhead_db_hashtable_rehashing_bytes", "redis_memory_used_functions_bytes",
    "redis_memory_used_scripts_eval_bytes", "redis_memory_used_vm_eval_bytes", "redis_memory_used_vm_functions_bytes",
    "redis_memory_used_vm_total", "redis_net_repl_input_bytes_total", "redis_net_repl_output_bytes_total",
    "redis_number_of_functions", "redis_number_of_libraries", "redis_pubsub_clients",
    "redis_reply_buffer_expands_total", "redis_reply_buffer_shrinks_total", "redis_total_blocking_keys",
    "redis_total_blocking_keys_on_nokey", "redis_total_watched_keys", "redis_watching_clients",
}  # fmt: skip
# What need not be between our scrapes before and after the exporter's.
MOVES = {
    "redis_connected_clients": "the exporter is one",
    "redis_memory_used_bytes": "the exporter's connection", "redis_memory_used_dataset_bytes": "the same",
    "redis_mem_clients_normal": "the same",
}  # fmt: skip
# Seconds since something came: they grow between the scrapes, and begin anew.
LAGS = {"redis_connected_slave_lag_seconds", "redis_master_last_io_seconds_ago"}
# Of every server.
NOT_LABELLED = {
    "redis_connected_slaves", "redis_master_repl_offset", "redis_mem_clients_slaves",
    "redis_slave_expires_tracked_keys",
}  # fmt: skip
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scrape:
    """Of a port: type and labels of each series, and the samples."""

    def __init__(self, port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        self.types = {
            line.split(" ")[2]: line.split(" ")[3] for line in text.splitlines() if line.startswith("# TYPE redis_")
        }
        self.samples: Samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        self.labels: dict[str, frozenset[str]] = {}
        for name, labels in self.samples:
            self.labels[name] = self.labels.get(name, frozenset()) | {label for label, _ in labels}

    def __contains__(self, name: str) -> bool:
        return name in self.types


def use(server: Instance) -> None:
    """Something to see in each family."""
    with server.connect() as c:
        assert c.call("CONFIG", "SET", "slowlog-log-slower-than", "0", "latency-monitor-threshold", "1") == "OK"
        c.pipeline([
            ("SET", "a", "b", "EX", "1000"), ("NOSUCH",), ("GET",), ("SET", "n", "x"), ("INCR", "n"),
            ("DEBUG", "SLEEP", "0.02"), ("SELECT", "3"), ("SET", "a", "b"), ("GET", "a"), ("GET", "nosuch"),
            ("SELECT", "0"), ("XGROUP", "CREATE", "jobs", "work", "0", "MKSTREAM"), ("XADD", "jobs", "*", "f", "v"),
            ("XREADGROUP", "GROUP", "work", "me", "STREAMS", "jobs", ">"), ("XADD", "jobs", "*", "f", "v"),
        ])  # fmt: skip
        assert c.call("BGSAVE") == "Background saving started"
        assert_eventually(lambda: "rdb_bgsave_in_progress:0" in c.call("INFO", "persistence").decode())
        assert c.call("CONFIG", "SET", "slowlog-log-slower-than", "-1") == "OK"


@pytest.fixture(scope="module")
def scrapes() -> Iterator[tuple[Scrape, Scrape, Scrape, Scrape]]:
    """Ours, the exporter's of our server, ours again, the exporter's of Valkey."""
    options = {"appendonly": "yes", "enable-debug-command": "yes"}
    with Scraped(options={**options, "metrics-streams": "jobs"}) as ours, Instance("valkey", options=options) as valkey:
        for server in (ours, valkey):
            use(server)
        with exporter(ours) as beside, exporter(valkey) as beside_valkey:
            before = Scrape(ours.metrics_port)
            theirs = Scrape(beside)
            yield before, theirs, Scrape(ours.metrics_port), Scrape(beside_valkey)


def test_every_series_of_the_exporter_is_there(scrapes: tuple[Scrape, ...]) -> None:
    ours, theirs, _, of_valkey = scrapes
    for exported in (theirs, of_valkey):
        missing = [name for name in exported.types if name not in ours and name not in INTENDED]
        assert missing == []
        assert {name: ours.types[name] for name in exported.types if name not in INTENDED} == {
            name: kind for name, kind in exported.types.items() if name not in INTENDED
        }
        named = [name for name in exported.labels if name in ours.types and name not in INTENDED]
        assert {name: ours.labels[name] for name in named} == {name: exported.labels[name] for name in named}


@pytest.fixture(scope="module")
def replicas() -> Iterator[tuple[Scrape, ...]]:
    """Ours, the exporter's of ours and ours again of a primary; the same of its replica; the exporter's of Valkey, a
    replica, too. Its options are none of ours, so it may hear PINGs from us between two scrapes, once in a minute."""
    options = {"repl-ping-replica-period": "60"}
    with Scraped(options=options) as primary, Scraped(options={"replicaof": primary.address}) as replica:
        with Instance("valkey", options={"replicaof": primary.address}) as valkey:
            primary.call("SET", "a", "b")
            for server in (replica, valkey):
                assert_follows(primary, server)
            found: list[Scrape] = []
            for server in (primary, replica):
                with exporter(server) as beside:
                    found += [Scrape(server.metrics_port), Scrape(beside), Scrape(server.metrics_port)]
            with exporter(valkey) as beside:
                found.append(Scrape(beside))
        yield tuple(found)


def test_replication_is_what_the_exporter_shows(replicas: tuple[Scrape, ...]) -> None:
    """Names, types, labels and values of what there is with replicas alone."""
    seen = set()
    for before, theirs, after in (replicas[:3], replicas[3:6]):
        named = [name for name in theirs.types if "slave" in name or "master" in name]
        assert {name: before.types.get(name) for name in named} == {name: theirs.types[name] for name in named}
        assert {name: before.labels.get(name) for name in named} == {name: theirs.labels[name] for name in named}
        for key, value in theirs.samples.items():
            if key[0] in named:
                low, high = before.samples[key], after.samples[key]
                assert min(low, high) <= value <= max(low, high) or key[0] in LAGS, key
        seen |= {*named}
    of_valkey = {name for name in replicas[6].types if "slave" in name or "master" in name}
    assert of_valkey - seen == set()
    assert replicas[6].labels["redis_slave_info"] == replicas[3].labels["redis_slave_info"]
    assert seen - NOT_LABELLED == {name for name in FAMILIES if "_slave_" in name or "_master_" in name}


def test_what_the_exporter_lacks_has_a_name_of_our_own(
    scrapes: tuple[Scrape, ...], replicas: tuple[Scrape, ...]
) -> None:
    _, theirs, _, of_valkey = scrapes
    names = [row.series for row in TABLE if row.series] + list(FAMILIES)
    known = {*theirs.types, *of_valkey.types, *replicas[1].types, *replicas[4].types, *NEWER}
    assert [name for name in names if name.startswith("redis_") and name not in known] == []
    assert [name for name in NEWER if name not in names or name in theirs] == [], "entries that say nothing"
    differs = [name for name in INTENDED if theirs.types.get(name) != scrapes[0].types.get(name)]
    assert [name for name in INTENDED if name not in differs] == ["redis_instance_info"], "entries that say nothing"


def test_values_are_those_of_the_exporter(scrapes: tuple[Scrape, ...]) -> None:
    """What the exporter reads off INFO lies between what we show before and after."""
    before, theirs, after, _ = scrapes
    wrong = {}
    for key, value in theirs.samples.items():
        if key in before.samples and key in after.samples and key[0] not in MOVES:
            low, high = sorted((before.samples[key], after.samples[key]))
            if not low - abs(low) * 0.02 <= value <= high + abs(high) * 0.02:
                wrong[key] = (low, value, high)
    assert wrong == {}
    compared = {name for name, _ in theirs.samples if name in before}
    assert len(compared) > 120
