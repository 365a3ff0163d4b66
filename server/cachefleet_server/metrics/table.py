"""Every metric: one row feeds a line of INFO and a Prometheus series.

A row's `value` is a key of the sample (sample.py) or a function of it. `series` is empty where Prometheus has no use
for the line, `section` where INFO has no such line; names are those of redis_exporter where it has the metric, so that
existing dashboards show data, and begin with `cachefleet_` elsewhere. A text in INFO can be a number in Prometheus
(`number`: "ok" is 1). Series with labels are in `FAMILIES`; the collector fills them. docs/metrics.md is made from
both (document.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Sample = Mapping[str, Any]
Value = str | Callable[[Sample], Any]


C = "counter"
BUCKET_SECONDS = 1024e-9  # upper bound of a histogram's first bucket; each further one doubles
BUCKETS = 32


@dataclass(frozen=True, slots=True)
class Metric:
    section: str
    field: str
    value: Value
    series: str = ""
    kind: str = "gauge"
    help: str = ""
    scale: float = 1.0  # series = value * scale
    show: Callable[[Sample], bool] | None = None

    def read(self, sample: Sample) -> Any:
        return sample[self.value] if isinstance(self.value, str) else self.value(sample)

    @property
    def is_counter(self) -> bool:
        return self.kind == C

    def number(self, sample: Sample) -> float:
        """The value as Prometheus wants it."""
        value = self.read(sample)
        if isinstance(value, str):
            return 1.0 if value == "ok" else float(value.rstrip("%")) if value[:1].isdigit() else 0.0
        return float(value) * self.scale


def human(n: float) -> str:
    """Bytes as INFO's *_human fields show them."""
    for unit, name in ((1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if n >= unit:
            return f"{n / unit:.2f}{name}"
    return f"{int(n)}B"


def _human(key: str) -> Callable[[Sample], str]:
    return lambda s: human(s[key])


def _ratio(a: str, b: str) -> Callable[[Sample], str]:
    return lambda s: f"{s[a] / s[b]:.2f}" if s[b] else "0.00"


def _const(value: Any) -> Callable[[Sample], Any]:
    return lambda _: value


def _float(key: str, digits: int) -> Callable[[Sample], str]:
    return lambda s: f"{s[key]:.{digits}f}"


def _get(key: str, default: Any) -> Callable[[Sample], Any]:
    return lambda s: s.get(key, default)


def _overhead(s: Sample) -> int:
    return int(s["used_memory_startup"] + s["keyspace_overhead"] + s["clients_memory"] + s["journal_bytes"])


def _dataset(s: Sample) -> int:
    return max(0, int(s["used_memory"]) - _overhead(s))


def _dataset_percent(s: Sample) -> str:
    net = s["used_memory"] - s["used_memory_startup"]
    return f"{100 * min(1.0, _dataset(s) / net) if net > 0 else 0:.2f}%"


def _peak_percent(s: Sample) -> str:
    return f"{100 * s['used_memory'] / s['used_memory_peak'] if s['used_memory_peak'] else 0:.2f}%"


def _fragmentation_bytes(s: Sample) -> int:
    return int(s["used_memory_rss"] - s["used_memory"])


PAUSE_REASONS = ("client_pause", "shutdown_in_progress", "failover_in_progress")  # by purpose (core/pause.pxd)


def _paused(s: Sample) -> bool:
    return bool(s["pause_strength"])


def _aof_on(s: Sample) -> bool:
    return bool(s.get("aof_enabled"))


def _follows(s: Sample) -> bool:
    return "primary_host" in s


def _syncs(s: Sample) -> bool:
    return "sync_total" in s


def _loading(s: Sample) -> bool:
    return bool(s["loading"] or s.get("async_loading"))


def _load_percent(s: Sample) -> str:
    return f"{100 * s['load_done_bytes'] / s['load_total_bytes'] if s['load_total_bytes'] else 0:.2f}"


def _load_ratio(s: Sample) -> float:
    if not s["loading"]:
        return 1.0
    return float(s["load_done_bytes"] / s["load_total_bytes"]) if s["load_total_bytes"] else 0.0


def _snapshot_age(s: Sample) -> float:
    return max(0.0, float(s["server_time_usec"] / 1e6 - s["rdb_last_save_time"]))


def _load_eta(s: Sample) -> int:
    done, total = s["load_done_bytes"], s["load_total_bytes"]
    elapsed = max(1, s["now_ms"] / 1000 - s.get("loading_start_time", 0))
    return int((total - done) / (done / elapsed)) if done else 1


TABLE: tuple[Metric, ...] = (
    Metric("Server", "redis_version", "redis_version"),
    Metric("Server", "server_name", "server_name"),
    Metric("Server", "valkey_version", "valkey_version"),
    Metric("Server", "valkey_release_stage", _const("ga")),
    Metric("Server", "cachefleet_version", "cachefleet_version"),
    Metric("Server", "redis_git_sha1", _const("00000000")),
    Metric("Server", "redis_git_dirty", _const(0)),
    Metric("Server", "redis_build_id", _const("0")),
    Metric("Server", "server_mode", _const("standalone")),
    Metric("Server", "redis_mode", _const("standalone")),
    Metric("Server", "os", "os"),
    Metric("Server", "arch_bits", _const(64)),
    Metric("Server", "monotonic_clock", _const("POSIX clock_gettime")),
    Metric("Server", "multiplexing_api", _const("epoll")),
    Metric("Server", "process_id", "process_id", "redis_process_id", help="Process id of the server."),
    Metric("Server", "process_supervised", "process_supervised"),
    Metric("Server", "run_id", "run_id"),
    Metric("Server", "tcp_port", "tcp_port"),
    Metric("Server", "server_time_usec", "server_time_usec"),
    Metric("Server", "uptime_in_seconds", "uptime_in_seconds", "redis_uptime_in_seconds", help="Since the start."),
    Metric("Server", "uptime_in_days", lambda s: s["uptime_in_seconds"] // 86400),
    Metric("Server", "hz", "hz"),
    Metric("Server", "configured_hz", "hz"),
    Metric("Server", "clients_hz", "hz"),
    Metric("Server", "lru_clock", "lru_clock"),
    Metric("Server", "executable", "executable"),
    Metric("Server", "config_file", "config_file"),
    Metric("Server", "io_threads_active", _const(0), "redis_io_threads_active", help="Always 0: one engine thread."),
    Metric("Server", "availability_zone", _get("availability_zone", "")),
    Metric("Server", "listener0", "listener0", show=lambda s: "listener0" in s),
    Metric("Server", "listener1", "listener1", show=lambda s: "listener1" in s),
    Metric("Clients", "connected_clients", "clients", "redis_connected_clients", help="Open connections."),
    Metric("Clients", "cluster_connections", _const(0), "redis_cluster_connections"),
    Metric("Clients", "maxclients", "maxclients", "redis_max_clients", help="Limit of connections."),
    Metric("Clients", "client_recent_max_input_buffer", "largest_input",
           "redis_client_recent_max_input_buffer_bytes", help="Largest recent request buffer."),
    Metric("Clients", "client_recent_max_output_buffer", "largest_output",
           "redis_client_recent_max_output_buffer_bytes", help="Largest recent reply buffer."),
    Metric("Clients", "blocked_clients", "blocked_clients", "redis_blocked_clients", help="Waiting in a command."),
    Metric("Clients", "held_clients", "held_clients", "cachefleet_held_clients",
           help="Clients whose replies wait until replicas have confirmed what they wrote."),
    Metric("Clients", "held_replies", "held_replies", "cachefleet_held_replies",
           help="Replies to writes that wait for replicas."),
    Metric("Clients", "held_longest_milliseconds", "held_longest_ms", "cachefleet_held_longest_seconds", scale=0.001,
           help="How long the oldest of them has waited."),
    Metric("Clients", "tracking_clients", "tracking_clients", "redis_tracking_clients",
           help="Clients that are told of changes of keys that they cache."),
    Metric("Clients", "pubsub_clients", "clients_pubsub", "redis_pubsub_clients", help="Listening to channels."),
    Metric("Clients", "watching_clients", "watching_clients", "redis_watching_clients", help="Clients in WATCH."),
    Metric("Clients", "clients_in_timeout_table", "clients_in_timeout_table", "redis_clients_in_timeout_table"),
    Metric("Clients", "total_watched_keys", "watched_keys", "redis_total_watched_keys"),
    Metric("Clients", "total_blocking_keys", "blocking_keys", "redis_total_blocking_keys"),
    Metric("Clients", "total_blocking_keys_on_nokey", "blocking_keys_on_nokey",
           "redis_total_blocking_keys_on_nokey"),
    Metric("Clients", "paused_reason", lambda s: PAUSE_REASONS[s["pause_purpose"]] if _paused(s) else "none"),
    Metric("Clients", "paused_actions",
           lambda s: ("none", "write", "all")[s["pause_strength"]]),
    Metric("Clients", "paused_timeout_milliseconds",
           lambda s: s["paused_until_ms"] - s["now_ms"] if _paused(s) else 0),
    Metric("Memory", "used_memory", "used_memory", "redis_memory_used_bytes", help="Allocated by the engine."),
    Metric("Memory", "used_memory_human", _human("used_memory")),
    Metric("Memory", "used_memory_rss", "used_memory_rss", "redis_memory_used_rss_bytes", help="Resident set size."),
    Metric("Memory", "used_memory_rss_human", _human("used_memory_rss")),
    Metric("Memory", "used_memory_peak", "used_memory_peak", "redis_memory_used_peak_bytes", help="Highest so far."),
    Metric("Memory", "used_memory_peak_human", _human("used_memory_peak")),
    Metric("Memory", "used_memory_peak_perc", _peak_percent),
    Metric("Memory", "used_memory_overhead", _overhead, "redis_memory_used_overhead_bytes",
           help="Tables, clients, buffers and what the empty server used."),
    Metric("Memory", "used_memory_startup", "used_memory_startup", "redis_memory_used_startup_bytes"),
    Metric("Memory", "used_memory_dataset", _dataset, "redis_memory_used_dataset_bytes", help="Keys and values."),
    Metric("Memory", "used_memory_dataset_perc", _dataset_percent),
    Metric("Memory", "allocator_allocated", "allocator_allocated", "redis_allocator_allocated_bytes"),
    Metric("Memory", "allocator_active", "allocator_active", "redis_allocator_active_bytes"),
    Metric("Memory", "allocator_resident", "allocator_active", "redis_allocator_resident_bytes"),
    Metric("Memory", "allocator_muzzy", _const(0)),
    Metric("Memory", "total_system_memory", "total_system_memory", "redis_total_system_memory_bytes"),
    Metric("Memory", "total_system_memory_human", _human("total_system_memory")),
    Metric("Memory", "used_memory_lua", _const(0), "redis_memory_used_lua_bytes"),
    Metric("Memory", "used_memory_vm_eval", _const(0), "redis_memory_used_vm_eval_bytes"),
    Metric("Memory", "used_memory_lua_human", _const("0B")),
    Metric("Memory", "used_memory_scripts_eval", _const(0), "redis_memory_used_scripts_eval_bytes"),
    Metric("Memory", "number_of_cached_scripts", _const(0), "redis_number_of_cached_scripts"),
    Metric("Memory", "number_of_functions", _const(0), "redis_number_of_functions"),
    Metric("Memory", "number_of_libraries", _const(0), "redis_number_of_libraries"),
    Metric("Memory", "used_memory_vm_functions", _const(0), "redis_memory_used_vm_functions_bytes"),
    Metric("Memory", "used_memory_vm_total", _const(0), "redis_memory_used_vm_total"),
    Metric("Memory", "used_memory_vm_total_human", _const("0B")),
    Metric("Memory", "used_memory_functions", _const(0), "redis_memory_used_functions_bytes"),
    Metric("Memory", "used_memory_scripts", _const(0), "redis_memory_used_scripts_bytes"),
    Metric("Memory", "used_memory_scripts_human", _const("0B")),
    Metric("Memory", "maxmemory", "maxmemory", "redis_memory_max_bytes", help="The maxmemory parameter."),
    Metric("Memory", "maxmemory_human", _human("maxmemory")),
    Metric("Memory", "maxmemory_policy", "maxmemory_policy"),
    Metric("Memory", "allocator_frag_ratio", _ratio("allocator_active", "allocator_allocated"),
           "redis_allocator_frag_ratio"),
    Metric("Memory", "allocator_frag_bytes", lambda s: s["allocator_active"] - s["allocator_allocated"],
           "redis_allocator_frag_bytes"),
    Metric("Memory", "allocator_rss_ratio", _const("1.00"), "redis_allocator_rss_ratio"),
    Metric("Memory", "allocator_rss_bytes", _const(0), "redis_allocator_rss_bytes"),
    Metric("Memory", "rss_overhead_ratio", _ratio("used_memory_rss", "allocator_active")),
    Metric("Memory", "rss_overhead_bytes", lambda s: s["used_memory_rss"] - s["allocator_active"]),
    Metric("Memory", "mem_fragmentation_ratio", _ratio("used_memory_rss", "used_memory"),
           "redis_mem_fragmentation_ratio", help="Resident over allocated."),
    Metric("Memory", "mem_fragmentation_bytes", _fragmentation_bytes, "redis_mem_fragmentation_bytes"),
    Metric("Memory", "mem_not_counted_for_evict", "journal_bytes", "redis_mem_not_counted_for_eviction_bytes"),
    Metric("Memory", "mem_replication_backlog", _get("repl_backlog_memory", 0)),
    Metric("Memory", "mem_total_replication_buffers",
           lambda s: s.get("repl_backlog_memory", 0) + s.get("repl_backlog_excess", 0),
           "redis_mem_total_replication_buffers_bytes"),
    Metric("Memory", "mem_replicas_repl_buffer", _get("repl_backlog_excess", 0)),
    Metric("Memory", "mem_clients_slaves", _const(0), "redis_mem_clients_slaves"),
    Metric("Memory", "mem_clients_normal", "clients_memory", "redis_mem_clients_normal", help="Bytes of connections."),
    Metric("Memory", "mem_cluster_links", _const(0)),
    Metric("Memory", "mem_cluster_slot_import", _const(0)),
    Metric("Memory", "mem_cluster_slot_export", _const(0)),
    Metric("Memory", "mem_aof_buffer", "journal_bytes",
           "cachefleet_aof_buffer_bytes", help="What this tick has for the append-only file."),
    Metric("Memory", "mem_allocator", "mem_allocator"),
    Metric("Memory", "mem_overhead_db_hashtable_rehashing", "rehashing_bytes",
           "redis_mem_overhead_db_hashtable_rehashing_bytes", help="Tables that are being left."),
    Metric("Memory", "active_defrag_running", _const(0), "redis_active_defrag_running"),
    Metric("Memory", "lazyfree_pending_objects", "lazyfree_pending", "redis_lazyfree_pending_objects"),
    Metric("Memory", "lazyfreed_objects", "lazyfreed_objects",
           "cachefleet_lazyfreed_objects_total", C, "Values that the helper thread freed."),
    Metric("Persistence", "loading", "loading", "redis_loading_dump_file", help="1 while data is being loaded."),
    Metric("Persistence", "async_loading", _get("async_loading", 0), "redis_async_loading",
           help="1 while a replica loads its primary's data beside those that it serves."),
    Metric("Persistence", "current_cow_peak", _const(0)),
    Metric("Persistence", "current_cow_size", _const(0)),
    Metric("Persistence", "current_cow_size_age", _const(0)),
    Metric("Persistence", "current_fork_perc", _const("0.00")),
    Metric("Persistence", "current_save_keys_processed", _get("current_save_keys_processed", 0),
           "cachefleet_snapshot_keys_written", help="By the snapshot that is being taken."),
    Metric("Persistence", "current_save_keys_total", _get("current_save_keys_total", 0),
           "cachefleet_snapshot_keys", help="Keys that the snapshot that is being taken will have."),
    Metric("Persistence", "rdb_changes_since_last_save", "dirty", "redis_rdb_changes_since_last_save",
           help="Changes that no snapshot holds."),
    Metric("Persistence", "rdb_bgsave_in_progress", _get("rdb_bgsave_in_progress", 0), "redis_rdb_bgsave_in_progress"),
    Metric("Persistence", "rdb_last_save_time", _get("rdb_last_save_time", 0),
           "redis_rdb_last_save_timestamp_seconds", help="Unix time of the last good snapshot."),
    Metric("Persistence", "rdb_last_bgsave_status", _get("rdb_last_bgsave_status", "ok"),
           "redis_rdb_last_bgsave_status", help="1 = ok."),
    Metric("Persistence", "rdb_last_bgsave_time_sec", _get("rdb_last_bgsave_time_sec", -1),
           "redis_rdb_last_bgsave_duration_sec"),
    Metric("Persistence", "rdb_current_bgsave_time_sec", _get("rdb_current_bgsave_time_sec", -1),
           "redis_rdb_current_bgsave_duration_sec"),
    Metric("Persistence", "rdb_saves", _get("rdb_saves", 0), "redis_rdb_saves_total", C),
    Metric("Persistence", "rdb_last_cow_size", _const(0), "redis_rdb_last_cow_size_bytes"),
    Metric("Persistence", "rdb_last_load_keys_expired", "load_keys_expired", "redis_rdb_last_load_expired_keys"),
    Metric("Persistence", "rdb_last_load_keys_loaded", "load_keys", "redis_rdb_last_load_loaded_keys"),
    Metric("Persistence", "aof_enabled", _get("aof_enabled", 0), "redis_aof_enabled"),
    Metric("Persistence", "aof_rewrite_in_progress", _get("aof_rewrite_in_progress", 0),
           "redis_aof_rewrite_in_progress"),
    Metric("Persistence", "aof_rewrite_scheduled", _get("aof_rewrite_scheduled", 0), "redis_aof_rewrite_scheduled"),
    Metric("Persistence", "aof_last_rewrite_time_sec", _get("aof_last_rewrite_time_sec", -1),
           "redis_aof_last_rewrite_duration_sec"),
    Metric("Persistence", "aof_current_rewrite_time_sec", _get("aof_current_rewrite_time_sec", -1),
           "redis_aof_current_rewrite_duration_sec"),
    Metric("Persistence", "aof_last_bgrewrite_status", _get("aof_last_bgrewrite_status", "ok"),
           "redis_aof_last_bgrewrite_status"),
    Metric("Persistence", "aof_rewrites", _get("aof_rewrites", 0),
           "cachefleet_aof_rewrites_total", C, "Rewrites of the append-only file."),
    Metric("Persistence", "aof_rewrites_consecutive_failures", _get("aof_rewrites_consecutive_failures", 0),
           "cachefleet_aof_rewrites_consecutive_failures", help="Rewrites that failed since the last good one."),
    Metric("Persistence", "aof_last_write_status", _get("aof_last_write_status", "ok"),
           "redis_aof_last_write_status"),
    Metric("Persistence", "aof_last_cow_size", _const(0), "redis_aof_last_cow_size_bytes"),
    Metric("Persistence", "module_fork_in_progress", _const(0), "redis_module_fork_in_progress"),
    Metric("Persistence", "module_fork_last_cow_size", _const(0), "redis_module_fork_last_cow_size"),
    Metric("Persistence", "aof_current_size", _get("aof_current_size", 0), "redis_aof_current_size_bytes",
           show=_aof_on),
    Metric("Persistence", "aof_base_size", _get("aof_base_size", 0), "redis_aof_base_size_bytes", show=_aof_on),
    Metric("Persistence", "aof_pending_rewrite", _get("aof_pending_rewrite", 0), "redis_aof_pending_rewrite",
           show=_aof_on),
    Metric("Persistence", "aof_buffer_length", _get("aof_buffer_length", 0), "redis_aof_buffer_length", show=_aof_on),
    Metric("Persistence", "aof_pending_bio_fsync", _get("aof_pending_bio_fsync", 0), "redis_aof_pending_bio_fsync",
           show=_aof_on),
    Metric("Persistence", "aof_delayed_fsync", _get("aof_delayed_fsync", 0), "redis_aof_delayed_fsync", show=_aof_on),
    Metric("Persistence", "loading_start_time", _get("loading_start_time", 0), show=_loading),
    Metric("Persistence", "loading_total_bytes", "load_total_bytes", show=_loading),
    Metric("Persistence", "loading_loaded_bytes", "load_done_bytes", show=_loading),
    Metric("Persistence", "loading_loaded_perc", _load_percent, show=_loading),
    Metric("Persistence", "loading_eta_seconds", _load_eta, show=_loading),
    Metric("Stats", "total_connections_received", "connections", "redis_connections_received_total", C,
           "Connections accepted."),
    Metric("Stats", "total_commands_processed", "commands", "redis_commands_processed_total", C, "Commands run."),
    Metric("Stats", "instantaneous_ops_per_sec", "instantaneous_ops_per_sec"),
    Metric("Stats", "total_net_input_bytes", "net_in", "redis_net_input_bytes_total", C, "Bytes read."),
    Metric("Stats", "total_net_output_bytes", "net_out", "redis_net_output_bytes_total", C, "Bytes written."),
    Metric("Stats", "total_net_repl_input_bytes", _const(0), "redis_net_repl_input_bytes_total", C),
    Metric("Stats", "total_net_repl_output_bytes", _const(0), "redis_net_repl_output_bytes_total", C),
    Metric("Stats", "instantaneous_input_kbps", _float("instantaneous_input_kbps", 2)),
    Metric("Stats", "instantaneous_output_kbps", _float("instantaneous_output_kbps", 2)),
    Metric("Stats", "instantaneous_input_repl_kbps", _const("0.00")),
    Metric("Stats", "instantaneous_output_repl_kbps", _const("0.00")),
    Metric("Stats", "rejected_connections", "rejected_connections", "redis_rejected_connections_total", C,
           "Refused because of maxclients."),
    Metric("Stats", "sync_full", "sync_full", "redis_replica_resyncs_full"),
    Metric("Stats", "sync_partial_ok", "sync_partial_ok", "redis_replica_partial_resync_accepted"),
    Metric("Stats", "sync_partial_err", "sync_partial_err", "redis_replica_partial_resync_denied"),
    Metric("Stats", "expired_keys", "expired_keys", "redis_expired_keys_total", C, "Keys that expired."),
    Metric("Stats", "expired_fields", "expired_fields", "redis_expired_fields_total", C,
           "Fields of hashes, and members of sets and sorted sets, that expired."),
    Metric("Stats", "expired_stale_perc", lambda s: f"{s['expired_stale_per_mille'] / 10:.2f}",
           "redis_expired_stale_percentage"),
    Metric("Stats", "expired_time_cap_reached_count", "expired_time_cap_reached",
           "redis_expired_time_cap_reached_total", C),
    Metric("Stats", "expire_cycle_cpu_milliseconds", lambda s: s["expire_us"] // 1000,
           "redis_expire_cycle_cpu_time_ms_total", C),
    Metric("Stats", "evicted_keys", "evicted_keys", "redis_evicted_keys_total", C, "Removed because of maxmemory."),
    Metric("Stats", "evicted_clients", "evicted_clients", "redis_evicted_clients_total", C),
    Metric("Stats", "unknown_outcomes", "unknown_outcomes", "cachefleet_unknown_outcomes_total", C,
           "Writes of which replicas have not confirmed a copy within durability-timeout."),
    Metric("Stats", "evicted_scripts", _const(0), "redis_evicted_scripts_total", C),
    Metric("Stats", "total_eviction_exceeded_time", lambda s: s["eviction_exceeded_us"] // 1000,
           "redis_eviction_exceeded_time_ms_total", C, "Time that memory was above maxmemory."),
    Metric("Stats", "current_eviction_exceeded_time", lambda s: s["eviction_exceeded_now_us"] // 1000,
           "redis_current_eviction_exceeded_time_ms", help="The same, of the present time."),
    Metric("Stats", "keyspace_hits", "keyspace_hits", "redis_keyspace_hits_total", C, "Reads that found the key."),
    Metric("Stats", "keyspace_misses", "keyspace_misses", "redis_keyspace_misses_total", C,
           "Reads that found no key."),
    Metric("Stats", "pubsub_channels", "pubsub_channels", "redis_pubsub_channels",
           help="Channels that somebody listens to."),
    Metric("Stats", "pubsub_patterns", "pubsub_patterns", "redis_pubsub_patterns",
           help="Patterns that somebody listens to."),
    Metric("Stats", "pubsubshard_channels", "pubsubshard_channels", "redis_pubsubshard_channels",
           help="Shard channels that somebody listens to."),
    Metric("Stats", "latest_fork_usec", _const(0), "redis_latest_fork_seconds", help="Always 0: nothing forks."),
    Metric("Stats", "total_forks", _const(0)),
    Metric("Stats", "migrate_cached_sockets", _const(0), "redis_migrate_cached_sockets_total"),
    Metric("Stats", "slave_expires_tracked_keys", _const(0), "redis_slave_expires_tracked_keys"),
    Metric("Stats", "active_defrag_hits", _const(0), "redis_defrag_hits"),
    Metric("Stats", "active_defrag_misses", _const(0), "redis_defrag_misses"),
    Metric("Stats", "active_defrag_key_hits", _const(0), "redis_defrag_key_hits"),
    Metric("Stats", "active_defrag_key_misses", _const(0), "redis_defrag_key_misses"),
    Metric("Stats", "total_active_defrag_time", _const(0)),
    Metric("Stats", "current_active_defrag_time", _const(0)),
    Metric("Stats", "tracking_total_keys", "tracking_keys", "redis_tracking_total_keys",
           help="Keys that some client caches."),
    Metric("Stats", "tracking_total_items", "tracking_items", "redis_tracking_total_items",
           help="Pairs of such a key and a client."),
    Metric("Stats", "tracking_total_prefixes", "tracking_prefixes", "redis_tracking_total_prefixes",
           help="Prefixes of keys whose changes are broadcast."),
    Metric("Stats", "unexpected_error_replies", "unexpected_error_replies", "redis_unexpected_error_replies", C),
    Metric("Stats", "total_error_replies", "error_replies", "redis_total_error_replies", C, "Error replies sent."),
    Metric("Stats", "dump_payload_sanitizations", _const(0), "redis_dump_payload_sanitizations", C),
    Metric("Stats", "total_reads_processed", "reads", "redis_total_reads_processed", C, "read() calls."),
    Metric("Stats", "total_writes_processed", "writes", "redis_total_writes_processed", C, "write() calls."),
    Metric("Stats", "io_threaded_reads_processed", _const(0), "redis_io_threaded_reads_processed", C),
    Metric("Stats", "io_threaded_writes_processed", _const(0), "redis_io_threaded_writes_processed", C),
    Metric("Stats", "client_query_buffer_limit_disconnections", "query_buffer_disconnections",
           "redis_client_query_buffer_limit_disconnections_total", C),
    Metric("Stats", "client_output_buffer_limit_disconnections", "output_buffer_disconnections",
           "redis_client_output_buffer_limit_disconnections_total", C),
    Metric("Stats", "reply_buffer_shrinks", _const(0), "redis_reply_buffer_shrinks_total", C),
    Metric("Stats", "reply_buffer_expands", _const(0), "redis_reply_buffer_expands_total", C),
    Metric("Stats", "eventloop_cycles", "ticks"),
    Metric("Stats", "eventloop_duration_sum", "tick_us"),
    Metric("Stats", "eventloop_duration_cmd_sum", "command_us"),
    Metric("Stats", "instantaneous_eventloop_cycles_per_sec", "instantaneous_eventloop_cycles_per_sec"),
    Metric("Stats", "instantaneous_eventloop_duration_usec", "instantaneous_eventloop_duration_usec"),
    Metric("Stats", "prefetch_batches", "batches", "cachefleet_prefetch_batches_total", C,
           "Batches of commands executed."),
    Metric("Stats", "prefetch_entries", "batch_commands", "cachefleet_prefetch_commands_total", C,
           "Commands in those batches."),
    Metric("Stats", "acl_access_denied_auth", "acl_denied_auth", "redis_acl_access_denied_auth_total", C),
    Metric("Stats", "acl_access_denied_cmd", "acl_denied_cmd", "redis_acl_access_denied_cmd_total", C),
    Metric("Stats", "acl_access_denied_key", _const(0), "redis_acl_access_denied_key_total", C),
    Metric("Stats", "acl_access_denied_channel", _const(0), "redis_acl_access_denied_channel_total", C),
    Metric("Stats", "acl_access_denied_db", _const(0)),
    Metric("Replication", "role", _get("role", "master")),
    Metric("Replication", "master_host", "primary_host", show=_follows),
    Metric("Replication", "master_port", "primary_port", show=_follows),
    Metric("Replication", "master_link_status", lambda s: "up" if s["primary_link_up"] else "down", show=_follows),
    Metric("Replication", "master_last_io_seconds_ago", "primary_idle_s", show=_follows),
    Metric("Replication", "master_sync_in_progress", "primary_syncs", show=_follows),
    Metric("Replication", "slave_read_repl_offset", "replica_read_offset", show=_follows),
    Metric("Replication", "slave_repl_offset", "replica_offset", show=_follows),
    Metric("Replication", "replicas_repl_buffer_size", _const(0), show=_follows),
    Metric("Replication", "replicas_repl_buffer_peak", _const(0), show=_follows),
    Metric("Replication", "master_sync_total_bytes", "sync_total", show=_syncs),
    Metric("Replication", "master_sync_read_bytes", "sync_read", show=_syncs),
    Metric("Replication", "master_sync_left_bytes", "sync_left", show=_syncs),
    Metric("Replication", "master_sync_perc", "sync_percent", show=_syncs),
    Metric("Replication", "master_sync_last_io_seconds_ago", "sync_idle_s", show=_syncs),
    Metric("Replication", "master_link_down_since_seconds", "primary_down_s", show=lambda s: "primary_down_s" in s),
    Metric("Replication", "slave_priority", "replica_priority", show=_follows),
    Metric("Replication", "slave_read_only", "replica_read_only", show=_follows),
    Metric("Replication", "replica_announced", "replica_announced", show=_follows),
    Metric("Replication", "connected_slaves", "clients_replica", "redis_connected_slaves", help="Replicas."),
    Metric("Replication", "min_slaves_good_slaves", _get("good_replicas", 0),
           show=lambda s: s.get("min_replicas", 0) > 0),
    Metric("Replication", "slave", _get("replicas", ())),  # a line each
    Metric("Replication", "replicas_waiting_psync", _const(0)),
    Metric("Replication", "master_failover_state", _get("failover_state", "no-failover")),
    Metric("Replication", "master_replid", lambda s: s.get("repl_id") or s["run_id"]),
    Metric("Replication", "master_replid2", _get("repl_earlier_id", "0" * 40)),
    Metric("Replication", "master_repl_offset", _get("repl_offset", 0), "redis_master_repl_offset"),
    Metric("Replication", "second_repl_offset", _get("repl_earlier_offset", -1), "redis_second_repl_offset"),
    Metric("Replication", "repl_backlog_active", _get("repl_backlog_active", 0), "redis_repl_backlog_is_active"),
    Metric("Replication", "repl_backlog_size", _get("repl_backlog_size", 10485760),
           "redis_replication_backlog_bytes"),
    Metric("Replication", "repl_backlog_first_byte_offset", _get("repl_backlog_first", 0),
           "redis_repl_backlog_first_byte_offset"),
    Metric("Replication", "repl_backlog_histlen", _get("repl_backlog_bytes", 0), "redis_repl_backlog_history_bytes"),
    Metric("CPU", "used_cpu_sys", _float("used_cpu_sys", 6), "redis_cpu_sys_seconds_total", C, "System CPU time."),
    Metric("CPU", "used_cpu_user", _float("used_cpu_user", 6), "redis_cpu_user_seconds_total", C, "User CPU time."),
    Metric("CPU", "used_cpu_sys_children", _float("used_cpu_sys_children", 6),
           "redis_cpu_sys_children_seconds_total", C),
    Metric("CPU", "used_cpu_user_children", _float("used_cpu_user_children", 6),
           "redis_cpu_user_children_seconds_total", C),
    Metric("CPU", "used_cpu_sys_main_thread", _float("used_cpu_sys_main_thread", 6),
           "redis_cpu_sys_main_thread_seconds_total", C),
    Metric("CPU", "used_cpu_user_main_thread", _float("used_cpu_user_main_thread", 6),
           "redis_cpu_user_main_thread_seconds_total", C),
    Metric("CPU", "used_active_time_main_thread", lambda s: f"{s['tick_us'] / 1e6:.6f}",
           "cachefleet_active_main_thread_seconds_total", C, "Time spent in ticks of the event loop."),
    Metric("Cluster", "cluster_enabled", _const(0), "redis_cluster_enabled"),
    Metric("", "", "start_time", "redis_start_time_seconds", help="Unix time of the start."),
    Metric("", "", "io_threads", "redis_config_io_threads", help="The io-threads parameter; one thread runs commands."),
    Metric("", "", "maxclients", "redis_config_maxclients", help="The maxclients parameter."),
    Metric("", "", "maxmemory", "redis_config_maxmemory", help="The maxmemory parameter."),
    Metric("", "", "slowlog_length", "redis_slowlog_length", help="Entries of the slow log."),
    Metric("", "", "slowlog_last_id", "redis_slowlog_last_id", help="Id of the slow log's newest entry; -1 without."),
    Metric("", "", "slowlog_last_us", "redis_last_slow_execution_duration_seconds", scale=1e-6,
           help="Duration of the slow log's newest entry."),
    Metric("", "", "ready", "cachefleet_ready", help="1 while /readyz says ok."),
    Metric("", "", lambda s: s["aof_write_failed"] or s["bgsave_failed"], "cachefleet_disk_write_failed",
           help="1 while the append-only file cannot be written, or the last snapshot failed. Writes may be refused."),
    Metric("", "", _load_ratio, "cachefleet_loading_progress_ratio", help="Part of the data that is loaded: 0 to 1."),
    Metric("", "", _snapshot_age, "cachefleet_snapshot_age_seconds",
           help="Since the last good snapshot, or since the start."),
    Metric("", "", "aof_last_fsync_us", "cachefleet_aof_last_fsync_seconds", scale=1e-6,
           help="How long the last fsync of the append-only file took."),
    Metric("", "", lambda s: int(_paused(s)), "cachefleet_clients_paused", help="1 during CLIENT PAUSE."),
    Metric("", "", "monitors", "cachefleet_monitor_clients", help="Clients in MONITOR, which costs throughput."),
    Metric("", "", _get("sync_failures", 0), "cachefleet_replica_sync_failures_total", C,
           "Refusals by the primary, snapshots that broke off or could not be loaded, streams that could not go on."),
    Metric("", "", "pubsub_deliveries", "cachefleet_pubsub_deliveries_total", C,
           "Messages of pub/sub and keyspace events, each as often as it had receivers."),
    Metric("", "", "pubsub_lost", "cachefleet_pubsub_lost_total", C,
           "Of these, messages for clients that were about to be disconnected."),
    Metric("", "", "maxmemory_clients", "cachefleet_clients_memory_max_bytes",
           help="The maxmemory-clients parameter in bytes; 0 = no limit."),
)  # fmt: skip
"""Order is INFO's order."""


@dataclass(frozen=True, slots=True)
class Family:
    """Series that share a name and differ by labels."""

    series: str
    kind: str
    labels: tuple[str, ...]
    help: str


H = "histogram"
_OF_PRIMARY = ("master_host", "master_port")
_OF_REPLICA = ("slave_ip", "slave_port", "slave_state")
FAMILIES = {
    family.series: family
    for family in (
        Family("redis_up", "gauge", (), "1: the server answers."),
        Family("redis_instance_info", "gauge",
               ("role", "redis_version", "redis_build_id", "redis_mode", "os", "maxmemory_policy", "tcp_port", "run_id",
                "process_id", "master_replid", "cachefleet_version"), "What this server is; always 1."),
        Family("redis_db_keys", "gauge", ("db",), "Keys in the database."),
        Family("redis_db_keys_expiring", "gauge", ("db",), "Keys with a time to live."),
        Family("redis_db_avg_ttl_seconds", "gauge", ("db",), "Average time to live."),
        Family("redis_config_client_output_buffer_limit_bytes", "gauge", ("class", "limit"),
               "The client-output-buffer-limit parameter: hard and soft limits; 0 = none."),
        Family("redis_config_client_output_buffer_limit_overcome_seconds", "gauge", ("class", "limit"),
               "How long a client may be above the soft limit."),
        Family("redis_commands_total", C, ("cmd",), "Calls of a command."),
        Family("redis_commands_duration_seconds_total", C, ("cmd",), "Time spent in a command."),
        Family("redis_commands_rejected_calls_total", C, ("cmd",), "Calls refused before running."),
        Family("redis_commands_failed_calls_total", C, ("cmd",), "Calls that failed while running."),
        Family("redis_errors_total", C, ("err",), "Error replies by prefix."),
        Family("redis_connected_slave_offset_bytes", "gauge", _OF_REPLICA, "Up to where the replica has confirmed."),
        Family("redis_connected_slave_lag_seconds", "gauge", _OF_REPLICA, "Since it last confirmed something."),
        Family("redis_master_link_up", "gauge", _OF_PRIMARY, "Of a replica: 1 while its primary's stream comes."),
        Family("redis_master_last_io_seconds_ago", "gauge", _OF_PRIMARY,
               "Since something came; -1 while the link is down."),
        Family("redis_master_sync_in_progress", "gauge", _OF_PRIMARY, "1 while all data come, or are loaded."),
        Family("redis_slave_repl_offset", "gauge", _OF_PRIMARY, "Up to where the primary's stream was executed."),
        Family("redis_slave_info", "gauge", (*_OF_PRIMARY, "read_only"), "That this is a replica; always 1."),
        Family("redis_slave_priority", "gauge", (), "The replica-priority parameter, of a replica."),
        Family("redis_stream_length", "gauge", ("db", "stream"), "Entries of a stream that metrics-streams names."),
        Family("redis_stream_group_consumers", "gauge", ("db", "stream", "group"), "Consumers of a group."),
        Family("redis_stream_group_messages_pending", "gauge", ("db", "stream", "group"),
               "Entries that were delivered and not acknowledged."),
        Family("redis_stream_group_lag", "gauge", ("db", "stream", "group"),
               "Entries that the group has not read; missing where deleted entries make that unknown."),
        Family("redis_latency_spike_last", "gauge", ("event_name",),
               "Unix time of LATENCY's latest sample of an event."),
        Family("redis_latency_spike_duration_seconds", "gauge", ("event_name",), "Duration of that sample."),
        Family("cachefleet_command_duration_seconds", H, ("cmd",),
               "Execution time of a command; empty while latency-tracking is off."),
        Family("cachefleet_event_loop_tick_seconds", H, (), "Duration of a tick: read, execute, write."),
        Family("cachefleet_event_loop_lag_seconds", H, (),
               "How late the periodic work ran, because the event loop was busy."),
    )
}  # fmt: skip
