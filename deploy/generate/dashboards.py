"""The dashboards: all Caches (fleet), one Cache (cache), the operator. A panel is a row: title, help, unit, queries.

`[*]` stands for a range that fits the scrape interval, `{*}` for the chosen Caches (grafana.py). What there is no
series for has no panel.

Service level: how much of the time that is shown a Cache was Ready (by the operator, who sees a server that never
started, too), how many commands were answered and not refused for the server's own state, and how many took a
millisecond at most.
"""

from __future__ import annotations

from grafana import BAD_IF_ZERO, GOOD_IF_ZERO, LEVEL, SHARE, Json, Panel, Query, Section, Variable, dashboard

OURS = 'cachefleet_version!="",cache!=""'
NAMESPACE = f"label_values(redis_instance_info{{{OURS}}}, namespace)"
CACHE = f'label_values(redis_instance_info{{{OURS},namespace=~"$namespace"}}, cache)'
OPERATOR = "label_values(cachefleet_operator_leader, namespace)"

# Every replica of the operator tells of all Caches: one of them is enough.
SINCE = "cachefleet_operator_cache_condition_since_seconds"
CONDITIONS = f"max by (namespace, cache, condition, status, reason) ({SINCE}%s)"
FOR = f"time() - max by (reason) ({SINCE}%s)"
BY_REASON = f"count by (reason) ({CONDITIONS})"
DURATIONS = "sum by (%s le) (rate(cachefleet_command_duration_seconds_bucket{*}[*]))"
HITS = "sum by (namespace, cache) (rate(redis_keyspace_hits_total{*}[*]))"
MISSES = "sum by (namespace, cache) (rate(redis_keyspace_misses_total{*}[*]))"
# Of the records, and not of each operator's own series: one that begins anew has not seen what went before.
_CHANGES = "changes(max by (namespace, cache) (cachefleet_operator_cache_%s{*})[1h:15s])"
HANDOVERS = _CHANGES % "last_handover"
FAILOVERS = f"{_CHANGES % 'tenure'} - {HANDOVERS}"  # Each changes the tenure.
READY_TIME = 'sum %s (count_over_time(%s{*,condition="Ready"%s}[$__range]))'
# The server's own state keeps it from doing what is asked; whatever else is refused is the client's error.
REFUSED = 'redis_errors_total{*,err=~"OOM|MISCONF|LOADING|BUSY|READONLY|MASTERDOWN|NOREPLICAS|CLUSTERDOWN"}'
# Cumulative buckets up to a millisecond. A server shows none above its longest command: the highest that it has counts.
MS_BUCKETS = "|".join(repr(1024e-9 * 2**i) for i in range(11))
FAST = (
    "sum%s (max by (namespace, cache, pod, cmd) "
    f'(rate(cachefleet_command_duration_seconds_bucket{{*,le=~"{MS_BUCKETS}"}}[%s]))) '
    "/ (sum%s (rate(cachefleet_command_duration_seconds_count{*}[%s])) > 0)"
)
CLAIM = 'label_replace(redis_up{*}, "persistentvolumeclaim", "data-$1", "pod", "(.+)")'


def boards() -> dict[str, Json]:
    """By the name of their file."""
    many = (Variable("namespace", "Namespace", NAMESPACE), Variable("cache", "Cache", CACHE))
    one = (
        Variable("namespace", "Namespace", NAMESPACE, several=False),
        Variable("cache", "Cache", CACHE, several=False),
    )
    return {
        "fleet": dashboard(
            "cachefleet-fleet", "Cachefleet / Fleet", "All Caches: which are in trouble, which are busy.", many, FLEET
        ),
        "cache": dashboard(
            "cachefleet-cache", "Cachefleet / Cache", "One Cache: what it does and how it is.", one, CACHE_BOARD
        ),
        "operator": dashboard(
            "cachefleet-operator", "Cachefleet / Operator", "The operator: what it does and how it is.",
            (Variable("namespace", "Namespace", OPERATOR),), OPERATOR_BOARD,
        ),
    }  # fmt: skip


def stat(title: str, help: str, unit: str, query: str, *, width: int = 3, **more: object) -> Panel:
    return Panel(title, help, unit, (Query(query),), kind="stat", width=width, **more)  # type: ignore[arg-type]


def _conditions(selector: str) -> str:
    """How many Caches have a condition; 0 if none."""
    return f"count({CONDITIONS % selector}) or vector(0)"


def _ready(by: str = "", none: str = " or vector(0)") -> str:
    """Share of the time that is shown in which a Cache was ready."""
    ready = READY_TIME % (by, SINCE, ',status="True"')
    return f"({ready}{none}) / {READY_TIME % (by, SINCE, '')}"


def _answered(span: str) -> str:
    refused = f"sum(rate({REFUSED}[{span}])) or vector(0)"
    return f"1 - ({refused}) / (sum(rate(redis_commands_processed_total{{*}}[{span}])) > 0)"


def _fast(span: str, by: str = "") -> str:
    return FAST % (by, span, by, span)


def _quantile(q: float, by: str = "") -> str:
    return f"histogram_quantile({q}, {DURATIONS % by})"


FLEET = (
    Section("Now", (
        stat("Caches", "Caches that operators look after.", "none", _conditions('{*,condition="Ready"}')),
        stat("Ready", "Caches whose primary takes writes.", "none",
             _conditions('{*,condition="Ready",status="True"}')),
        stat("Not ready", "Caches that serve nobody.", "none",
             _conditions('{*,condition="Ready",status!="True"}'), steps=GOOD_IF_ZERO),
        stat("Degraded", "Caches with which something is wrong, served or not.", "none",
             _conditions('{*,condition="Degraded",status="True"}'), steps=GOOD_IF_ZERO),
        stat("Commands", "Commands a second of the chosen Caches.", "ops",
             "sum(rate(redis_commands_processed_total{*}[*]))"),
        stat("Memory", "Bytes that the chosen Caches use.", "bytes", "sum(redis_memory_used_bytes{*})"),
        stat("Keys", "Keys in the chosen Caches.", "short", "sum(redis_db_keys{*})"),
        stat("Clients", "Open connections to the chosen Caches.", "short", "sum(redis_connected_clients{*})"),
    )),
    Section("Caches", (
        Panel("Caches", "One line a Cache. Sort by a column to find the fullest, the busiest, the slowest.", "short", (
            Query("min by (namespace, cache) (up{*})", "Up", "none"),
            Query(_ready("by (namespace, cache)", ""), "Ready", "percentunit"),
            Query(_fast("$__range", " by (namespace, cache)"), "Within 1 ms", "percentunit"),
            Query("sum by (namespace, cache) (rate(redis_commands_processed_total{*}[*]))", "Commands", "ops"),
            Query(_quantile(0.99, "namespace, cache,"), "p99", "s"),
            Query(f"{HITS} / ({HITS} + {MISSES} > 0)", "Hits", "percentunit"),
            Query("max by (namespace, cache) (redis_memory_used_bytes{*} / (redis_memory_max_bytes{*} > 0))",
                  "Memory", "percentunit"),
            Query("sum by (namespace, cache) (redis_db_keys{*})", "Keys", "short"),
            Query("sum by (namespace, cache) (redis_connected_clients{*})", "Clients", "short"),
            Query("sum by (namespace, cache) (rate(redis_evicted_keys_total{*}[*]))", "Evictions", "ops"),
            Query("sum by (namespace, cache) (rate(redis_total_error_replies{*}[*]))", "Errors", "ops"),
            Query(FAILOVERS, "Failovers (1 h)", "none"),
        ), kind="table", width=24),
    )),
    Section("Health", (
        Panel("Conditions", "Caches by what is not as it should be, and why. docs/conditions.md explains the reasons.",
              "none", (
            Query(BY_REASON % '{*,condition="Ready",status!="True"}', "not ready: {{reason}}"),
            Query(BY_REASON % '{*,condition="Degraded",status="True"}', "degraded: {{reason}}"),
            Query(BY_REASON % '{*,condition="ConfigApplied",status="False"}', "configuration: {{reason}}"),
            Query(BY_REASON % '{*,condition="PrimaryHealthy",status="False"}', "no primary: {{reason}}"),
            Query(BY_REASON % '{*,condition="ReplicationHealthy",status="False"}', "replication: {{reason}}"),
        )),
        Panel("Changes that go on", "Caches that the operator is changing, and what it does.", "none", (
            Query(BY_REASON % '{*,condition="Progressing",status="True"}', "{{reason}}"),
        )),
        Panel("Disk writes that fail", "1 while a server cannot write its append-only file or save.", "none", (
            Query("max by (namespace, cache) (cachefleet_disk_write_failed{*}) > 0", "{{namespace}}/{{cache}}"),
        )),
        Panel("Restarts", "Of servers, within an hour.", "none", (
            Query("sum by (namespace, cache) (resets(redis_uptime_in_seconds{*}[1h])) > 0", "{{namespace}}/{{cache}}"),
        )),
        Panel("Refused connections", "Connections a second that maxclients refused.", "cps", (
            Query("sum by (namespace, cache) (rate(redis_rejected_connections_total{*}[*])) > 0",
                  "{{namespace}}/{{cache}}"),
        )),
        Panel("Errors", "Error replies a second, the ten most frequent.", "ops", (
            Query("topk(10, sum by (namespace, cache, err) (rate(redis_errors_total{*}[*])))",
                  "{{namespace}}/{{cache}} {{err}}"),
        )),
    )),
    Section("Load", (
        Panel("Commands", "The ten busiest Caches.", "ops", (
            Query("topk(10, sum by (namespace, cache) (rate(redis_commands_processed_total{*}[*])))",
                  "{{namespace}}/{{cache}}"),
        ), width=12),
        Panel("Latency, p99", "The ten slowest Caches: time that the server spends in a command.", "s", (
            Query(f"topk(10, {_quantile(0.99, 'namespace, cache,')})", "{{namespace}}/{{cache}}"),
        ), width=12),
        Panel("Memory", "The ten fullest Caches: used of allowed memory.", "percentunit", (
            Query("topk(10, max by (namespace, cache) (redis_memory_used_bytes{*} / (redis_memory_max_bytes{*} > 0)))",
                  "{{namespace}}/{{cache}}"),
        ), max=1),
        Panel("Evictions", "Keys a second that were dropped because memory was full; the ten highest.", "ops", (
            Query("topk(10, sum by (namespace, cache) (rate(redis_evicted_keys_total{*}[*])))",
                  "{{namespace}}/{{cache}}"),
        )),
        Panel("Network", "Bytes a second of all chosen Caches.", "Bps", (
            Query("sum(rate(redis_net_input_bytes_total{*}[*]))", "in"),
            Query("sum(rate(redis_net_output_bytes_total{*}[*]))", "out"),
        )),
    )),
)  # fmt: skip

CACHE_BOARD = (
    Section("Now", (
        stat("Server", "1 while Prometheus can read its metrics.", "none", "min(up{*})", steps=BAD_IF_ZERO,
             words=((0, "down"), (1, "up"))),
        stat("Ready", "Whether it has loaded its data and takes writes.", "none", "min(cachefleet_ready{*})",
             steps=BAD_IF_ZERO, words=((0, "no"), (1, "yes"))),
        stat("Running", "Since the last start.", "s", "min(redis_uptime_in_seconds{*})"),
        stat("Commands", "Commands a second.", "ops", "sum(rate(redis_commands_processed_total{*}[*]))"),
        stat("Latency, p99", "Time that the server spends in a command.", "s", _quantile(0.99)),
        stat("Memory", "Used of allowed memory.", "percentunit",
             "max(redis_memory_used_bytes{*} / (redis_memory_max_bytes{*} > 0))", steps=SHARE),
        stat("Keys", "Keys in all databases.", "short", "sum(redis_db_keys{*})"),
        stat("Clients", "Open connections.", "short", "sum(redis_connected_clients{*})"),
    )),
    Section("Service level", (
        stat("Ready", "Share of the time shown in which it took writes, as the operator saw it.", "percentunit",
             _ready(), steps=LEVEL, width=8, decimals=3),
        stat("Answered", "Share of commands that were not refused for the server's own state: full, loading, a "
             "failing disk.", "percentunit", _answered("$__range"), steps=LEVEL, width=8, decimals=3),
        stat("Within 1 ms", "Share of commands that took the server a millisecond at most.", "percentunit",
             _fast("$__range"), steps=LEVEL, width=8, decimals=3),
        Panel("Conditions", "What is not as it should be, and for how long. docs/conditions.md explains the reasons.",
              "s", (
            Query(FOR % '{*,condition="Ready",status!="True"}', "not ready: {{reason}}"),
            Query(FOR % '{*,condition="Degraded",status="True"}', "degraded: {{reason}}"),
            Query(FOR % '{*,condition="Progressing",status="True"}', "changing: {{reason}}"),
            Query(FOR % '{*,condition="ConfigApplied",status="False"}', "configuration: {{reason}}"),
            Query(FOR % '{*,condition="PrimaryHealthy",status="False"}', "no primary: {{reason}}"),
            Query(FOR % '{*,condition="ReplicationHealthy",status="False"}', "replication: {{reason}}"),
        ), width=12),
        Panel("Commands", "Shares of commands that were answered, and within a millisecond.", "percentunit", (
            Query(_answered("*"), "answered"),
            Query(_fast("*"), "within 1 ms"),
        ), width=12, max=1),
    )),
    Section("Traffic", (
        Panel("Commands", "Commands a second by name, the ten most frequent.", "ops", (
            Query("topk(10, sum by (cmd) (rate(redis_commands_total{*}[*])))", "{{cmd}}"),
        ), stacked=True),
        Panel("Hits", "Reads that found their key.", "percentunit", (
            Query(f"{HITS} / ({HITS} + {MISSES} > 0)", "hits"),
        ), max=1),
        Panel("Network", "Bytes a second.", "Bps", (
            Query("sum(rate(redis_net_input_bytes_total{*}[*]))", "in"),
            Query("sum(rate(redis_net_output_bytes_total{*}[*]))", "out"),
        )),
        Panel("Errors", "Error replies a second by their first word.", "ops", (
            Query("sum by (err) (rate(redis_errors_total{*}[*]))", "{{err}}"),
        )),
        Panel("Commands that failed", "Commands a second that were refused before they ran, or failed.", "ops", (
            Query("sum by (cmd) (rate(redis_commands_rejected_calls_total{*}[*])) > 0", "{{cmd}} refused"),
            Query("sum by (cmd) (rate(redis_commands_failed_calls_total{*}[*])) > 0", "{{cmd}} failed"),
        )),
        Panel("Batches", "Commands that are executed together: many in deep pipelines, one in request and reply.",
              "short", (
            Query("sum(rate(cachefleet_prefetch_commands_total{*}[*])) / "
                  "(sum(rate(cachefleet_prefetch_batches_total{*}[*])) > 0)", "commands a batch"),
        )),
    )),
    Section("Latency", (
        Panel("Commands", "Time that the server spends in a command; waiting in blocking ones does not count.", "s", (
            Query(_quantile(0.5), "p50"),
            Query(_quantile(0.99), "p99"),
            Query(_quantile(0.999), "p99.9"),
        )),
        Panel("p99 by command", "The ten slowest commands.", "s", (
            Query(f"topk(10, {_quantile(0.99, 'cmd,')})", "{{cmd}}"),
        )),
        Panel("Time by command", "Seconds a second that the ten dearest commands take.", "percentunit", (
            Query("topk(10, sum by (cmd) (rate(redis_commands_duration_seconds_total{*}[*])))", "{{cmd}}"),
        ), stacked=True),
        Panel("Event loop", "A tick reads, executes and writes; the lag is how late periodic work ran. A high lag is a "
              "slow command, a slow disk or too little CPU.", "s", (
            Query("histogram_quantile(0.99, sum by (le) (rate(cachefleet_event_loop_tick_seconds_bucket{*}[*])))",
                  "tick, p99"),
            Query("histogram_quantile(0.99, sum by (le) (rate(cachefleet_event_loop_lag_seconds_bucket{*}[*])))",
                  "lag, p99"),
        )),
        Panel("Slow log", "Entries (SLOWLOG GET shows them) and how long the newest took.", "short", (
            Query("sum(redis_slowlog_length{*})", "entries"),
            Query("max(redis_last_slow_execution_duration_seconds{*})", "seconds of the newest"),
        )),
        Panel("Spikes", "The latest sample of each event that LATENCY watches.", "s", (
            Query("max by (event_name) (redis_latency_spike_duration_seconds{*})", "{{event_name}}"),
        )),
    )),
    Section("Memory", (
        Panel("Memory", "Allowed (maxmemory), used by the engine, and resident: what the kernel counts.", "bytes", (
            Query("max by (pod) (redis_memory_max_bytes{*}) > 0", "{{pod}} allowed"),
            Query("max by (pod) (redis_memory_used_bytes{*})", "{{pod}} used"),
            Query("max by (pod) (redis_memory_used_rss_bytes{*})", "{{pod}} resident"),
        )),
        Panel("What uses it", "Keys and values, tables, connections, the log that waits for the disk.", "bytes", (
            Query("sum(redis_memory_used_dataset_bytes{*})", "data"),
            Query("sum(redis_memory_used_overhead_bytes{*})", "overhead"),
            Query("sum(redis_mem_clients_normal{*})", "connections"),
            Query("sum(cachefleet_aof_buffer_bytes{*})", "log"),
        )),
        Panel("Fragmentation", "Resident over used. Above 1.5 in a large cache, memory is scattered.", "short", (
            Query("max by (pod) (redis_mem_fragmentation_ratio{*})", "{{pod}}"),
        )),
        Panel("Keys", "Keys, and those with a time to live.", "short", (
            Query("sum by (db) (redis_db_keys{*})", "{{db}}"),
            Query("sum by (db) (redis_db_keys_expiring{*})", "{{db}} that expire"),
        )),
        Panel("Expired and evicted", "Keys a second that went by their time to live, and because memory was full.",
              "ops", (
            Query("sum(rate(redis_expired_keys_total{*}[*]))", "expired"),
            Query("sum(rate(redis_evicted_keys_total{*}[*]))", "evicted"),
        )),
        Panel("Container", "What counts against the container's limit (of the kubelet).", "bytes", (
            Query('max by (pod) (container_memory_working_set_bytes{container="server"} '
                  "and on (namespace, pod) redis_up{*})", "{{pod}} used"),
            Query('max by (pod) (container_spec_memory_limit_bytes{container="server"} '
                  "and on (namespace, pod) redis_up{*})", "{{pod}} limit"),
        )),
    )),
    Section("Clients", (
        Panel("Connections", "Open, waiting in a blocking command, allowed.", "short", (
            Query("sum(redis_connected_clients{*})", "open"),
            Query("sum(redis_blocked_clients{*})", "blocked"),
            Query("sum(redis_max_clients{*})", "allowed"),
        )),
        Panel("New connections", "A second. Many mean clients without a pool.", "cps", (
            Query("sum(rate(redis_connections_received_total{*}[*]))", "accepted"),
            Query("sum(rate(redis_rejected_connections_total{*}[*]))", "refused by maxclients"),
        )),
        Panel("Waiting for copies", "With durability replicated: replies to writes that wait for replicas, and those "
              "for which they came too late (UNKNOWNOUTCOME).", "short", (
            Query("sum(cachefleet_held_replies{*})", "waiting"),
            Query("max(cachefleet_held_longest_seconds{*})", "longest, seconds"),
            Query("sum(rate(cachefleet_unknown_outcomes_total{*}[*]))", "unknown outcomes a second"),
        )),
        Panel("Cut connections", "Connections a second that were closed because their buffers grew too large.", "cps", (
            Query("sum(rate(redis_client_output_buffer_limit_disconnections_total{*}[*]))", "replies not read"),
            Query("sum(rate(redis_client_query_buffer_limit_disconnections_total{*}[*]))", "request too large"),
            Query("sum(rate(redis_evicted_clients_total{*}[*]))", "maxmemory-clients"),
        )),
        Panel("Listeners", "Clients that listen to channels, and what they listen to.", "short", (
            Query("sum(redis_pubsub_clients{*})", "clients"),
            Query("sum(redis_pubsub_channels{*})", "channels"),
            Query("sum(redis_pubsub_patterns{*})", "patterns"),
            Query("sum(redis_pubsubshard_channels{*})", "shard channels"),
        )),
        Panel("Messages", "Of pub/sub and keyspace events, a second and receiver. Lost: the receiver was too slow.",
              "ops", (
            Query("sum(rate(cachefleet_pubsub_deliveries_total{*}[*]))", "delivered"),
            Query("sum(rate(cachefleet_pubsub_lost_total{*}[*]))", "lost"),
        )),
        Panel("Client-side caching", "Clients that are told of changes, and the keys that they cache.", "short", (
            Query("sum(redis_tracking_clients{*})", "clients"),
            Query("sum(redis_tracking_total_keys{*})", "keys"),
            Query("sum(redis_tracking_total_items{*})", "keys and clients"),
        )),
    )),
    Section("Streams", (
        Panel("Lag", "Entries that a group has not read, of streams that metrics-streams names.", "short", (
            Query("max by (stream, group) (redis_stream_group_lag{*})", "{{stream}} {{group}}"),
        )),
        Panel("Pending", "Entries that were delivered and not acknowledged.", "short", (
            Query("max by (stream, group) (redis_stream_group_messages_pending{*})", "{{stream}} {{group}}"),
        )),
        Panel("Length", "Entries of these streams.", "short", (
            Query("max by (stream) (redis_stream_length{*})", "{{stream}}"),
        )),
    )),
    Section("Persistence", (
        Panel("Not saved yet", "Changes that no snapshot holds. With an append-only file they are in that.", "short", (
            Query("max by (pod) (redis_rdb_changes_since_last_save{*})", "{{pod}}"),
        )),
        Panel("Age of the snapshot", "Since the last good one, or since the start.", "s", (
            Query("max by (pod) (cachefleet_snapshot_age_seconds{*})", "{{pod}}"),
        )),
        Panel("Snapshots and rewrites", "1 while one is written; how long the last one took.", "s", (
            Query("max by (pod) (redis_rdb_bgsave_in_progress{*})", "{{pod}} snapshot runs"),
            Query("max by (pod) (redis_aof_rewrite_in_progress{*})", "{{pod}} rewrite runs"),
            Query("max by (pod) (redis_rdb_last_bgsave_duration_sec{*}) >= 0", "{{pod}} last snapshot"),
            Query("max by (pod) (redis_aof_last_rewrite_duration_sec{*}) >= 0", "{{pod}} last rewrite"),
        )),
        Panel("Append-only file", "Its size, and that of the base which the last rewrite left.", "bytes", (
            Query("max by (pod) (redis_aof_current_size_bytes{*})", "{{pod}} all"),
            Query("max by (pod) (redis_aof_base_size_bytes{*})", "{{pod}} base"),
        )),
        Panel("fsync", "How long the last one took, and those a second that came too late.", "s", (
            Query("max by (pod) (cachefleet_aof_last_fsync_seconds{*})", "{{pod}} duration"),
            Query("max by (pod) (rate(redis_aof_delayed_fsync{*}[*]))", "{{pod}} late ones"),
        )),
        Panel("Disk", "1 while the disk refuses writes; how much of the data is loaded after a start.", "percentunit", (
            Query("max by (pod) (cachefleet_disk_write_failed{*})", "{{pod}} fails"),
            Query("min by (pod) (cachefleet_loading_progress_ratio{*})", "{{pod}} loaded"),
        ), max=1),
        Panel("Volume", "Used of the volume (of the kubelet).", "percentunit", (
            Query("kubelet_volume_stats_used_bytes / kubelet_volume_stats_capacity_bytes "
                  f"and on (namespace, persistentvolumeclaim) {CLAIM}", "{{persistentvolumeclaim}}"),
        ), max=1),
    )),
    Section("Replication", (
        Panel("Primary", "Who was the primary when, by the operator's record.", "none", (
            Query("max by (pod) (cachefleet_operator_cache_primary{*})", "{{pod}}"),
        ), max=1),
        Panel("Failovers", "Within an hour: how often a primary was lost, and another one elected; how often one "
              "handed over, which is planned.", "none", (
            Query(FAILOVERS, "failovers"),
            Query(HANDOVERS, "hand-overs"),
        )),
        Panel("Links", "Replicas that a primary feeds; of a replica: 1 while its primary's stream comes.", "short", (
            Query("max by (pod) (redis_connected_slaves{*}) > 0", "{{pod}} replicas"),
            Query("max by (pod) (redis_master_link_up{*})", "{{pod}} follows"),
        )),
        Panel("Behind", "What replicas have not confirmed; they do so once a second.", "bytes", (
            Query("redis_master_repl_offset{*} - on (namespace, pod) group_right () "
                  "redis_connected_slave_offset_bytes{*}", "{{slave_ip}} {{slave_state}}"),
        )),
        Panel("Silence", "Since a replica confirmed something, and since a primary sent something.", "s", (
            Query("max by (slave_ip) (redis_connected_slave_lag_seconds{*})", "{{slave_ip}}"),
            Query("max by (pod) (redis_master_last_io_seconds_ago{*}) >= 0", "primary of {{pod}}"),
        )),
        Panel("Synchronisations", "Within an hour: with all data, with what was missed, failed.", "short", (
            Query("sum(increase(redis_replica_resyncs_full{*}[1h]))", "all"),
            Query("sum(increase(redis_replica_partial_resync_accepted{*}[1h]))", "missed"),
            Query("sum(increase(cachefleet_replica_sync_failures_total{*}[1h]))", "failed"),
        )),
        Panel("Stream", "Bytes a second that primaries write into it.", "Bps", (
            Query("max by (pod) (deriv(redis_master_repl_offset{*}[*]))", "{{pod}}"),
        )),
        Panel("Backlog", "What a replica may have missed and goes on, and how much of that is there.", "bytes", (
            Query("max by (pod) (redis_replication_backlog_bytes{*})", "{{pod}} allowed"),
            Query("max by (pod) (redis_repl_backlog_history_bytes{*})", "{{pod}} there"),
        )),
    )),
    Section("CPU", (
        Panel("Event loop", "How busy the thread is that executes commands. At 1 it can do no more.", "percentunit", (
            Query("max by (pod) (rate(cachefleet_active_main_thread_seconds_total{*}[*]))", "{{pod}}"),
        ), max=1),
        Panel("Process", "CPU time of all threads, by whom it was spent.", "percentunit", (
            Query("sum by (pod) (rate(redis_cpu_user_seconds_total{*}[*]))", "{{pod}} server"),
            Query("sum by (pod) (rate(redis_cpu_sys_seconds_total{*}[*]))", "{{pod}} kernel"),
        ), stacked=True),
        Panel("Kept from running", "Periods in which a CPU limit stopped it (of the kubelet).", "percentunit", (
            Query('rate(container_cpu_cfs_throttled_periods_total{container="server"}[*]) '
                  '/ rate(container_cpu_cfs_periods_total{container="server"}[*]) '
                  "and on (namespace, pod) redis_up{*}", "{{pod}}"),
        ), max=1),
    )),
)  # fmt: skip

IN = '{namespace=~"$namespace"}'
ITS = f"and on (namespace, pod) cachefleet_operator_leader{IN}"  # process metrics of others have the same names
# The label `namespace` is the Cache's there: `instance` knows which operator tells it.
TOLD = f"{SINCE}%s and on (instance) cachefleet_operator_leader{IN}"
OLDEST = f"time() - min by (reason) (max by (namespace, cache, reason) ({TOLD}))"
NOT_READY = '{condition="Ready",status!="True"}'
OPERATOR_BOARD = (
    Section("Now", (
        stat("Leaders", "Operators that act. One a namespace; two is wrong, none looks after nobody.", "none",
             f"sum(cachefleet_operator_leader{IN})", steps=BAD_IF_ZERO, width=4),
        stat("Operators", "Operators that know all that there is, leading or not.", "none",
             f"sum(cachefleet_operator_synced{IN})", steps=BAD_IF_ZERO, width=4),
        stat("Caches", "Caches that are looked after.", "none",
             f"sum(max by (namespace) (cachefleet_operator_caches{IN}))", width=4),
        stat("Waiting", "Reconciles that wait or run.", "none", f"sum(cachefleet_operator_queue_depth{IN})", width=4),
        stat("Refusals", "Changes that the API server, a volume or a server refused, and that are still wanted.",
             "none", f"sum(max by (namespace) (cachefleet_operator_refusals{IN}))", steps=GOOD_IF_ZERO, width=4),
        stat("Not ready", "Caches that serve nobody.", "none",
             f"count(max by (namespace, cache) ({TOLD % NOT_READY})) or vector(0)", steps=GOOD_IF_ZERO, width=4),
    )),
    Section("Work", (
        Panel("Reconciles", "A second, by how they ended: unchanged is the steady state, failed is tried again.",
              "ops", (
            Query(f"sum by (result) (rate(cachefleet_operator_reconcile_total{IN}[*]))", "{{result}}"),
        )),
        Panel("Time of a reconcile", "From looking to having acted.", "s", tuple(
            Query(f"histogram_quantile({q}, sum by (le) "
                  f"(rate(cachefleet_operator_reconcile_duration_seconds_bucket{IN}[*])))", name)
            for q, name in ((0.5, "p50"), (0.99, "p99"))
        )),
        Panel("Queue", "Reconciles that wait or run.", "none", (
            Query(f"sum by (pod) (cachefleet_operator_queue_depth{IN})", "{{pod}}"),
        )),
        Panel("Actions", "A second, by what was done. In steady state there are none.", "ops", (
            Query(f"sum by (action) (rate(cachefleet_operator_actions_total{IN}[*]))", "{{action}}"),
        )),
        Panel("Conditions", "Caches by condition and reason.", "none", (
            Query(f"count by (condition, status, reason) "
                  f"(max by (namespace, cache, condition, status, reason) ({TOLD % ''}))",
                  "{{condition}} {{status}}: {{reason}}"),
        )),
        Panel("Oldest trouble", "How long the Cache that has been in a condition longest has been in it.", "s", (
            Query(OLDEST % NOT_READY, "not ready: {{reason}}"),
            Query(OLDEST % '{condition="Degraded",status="True"}', "degraded: {{reason}}"),
            Query(OLDEST % '{condition="Progressing",status="True"}', "changing: {{reason}}"),
            Query(OLDEST % '{condition="ConfigApplied",status="False"}', "configuration: {{reason}}"),
            Query(OLDEST % '{condition="PrimaryHealthy",status="False"}', "no primary: {{reason}}"),
            Query(OLDEST % '{condition="ReplicationHealthy",status="False"}', "replication: {{reason}}"),
        )),
    )),
    Section("API server", (
        Panel("Requests", "A second, by verb and kind.", "reqps", (
            Query(f"sum by (verb, kind) (rate(cachefleet_operator_api_requests_total{IN}[*]))", "{{verb}} {{kind}}"),
        ), width=12),
        Panel("Requests that failed", "A second, by code: 0 is no answer, 409 an ordinary conflict.", "reqps", (
            Query('sum by (verb, kind, code) (rate(cachefleet_operator_api_requests_total'
                  '{namespace=~"$namespace",code!~"2.."}[*])) > 0', "{{code}} {{verb}} {{kind}}"),
        ), width=12),
    )),
    Section("Process", (
        Panel("CPU", "Cores that it uses.", "short", (
            Query(f"rate(process_cpu_seconds_total{IN}[*]) {ITS}", "{{pod}}"),
        )),
        Panel("Memory", "Resident memory.", "bytes", (
            Query(f"process_resident_memory_bytes{IN} {ITS}", "{{pod}}"),
        )),
        Panel("Files", "Open files and connections.", "short", (
            Query(f"process_open_fds{IN} {ITS}", "{{pod}}"),
        )),
    )),
)  # fmt: skip
