"""Names of the engine's plain fields: parameters, counters, and the state of persistence that Python sets.

Each row is a name and where its field lies in the struct of core/engine.pxd. A row that is missing or wrong stops
the import: the rows of a struct must cover it word by word.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport engine_t, persist_t
from cachefleet_server.core.params cimport (
    POLICY_ALLKEYS, POLICY_LFU, POLICY_LRU, POLICY_NOEVICTION, POLICY_RANDOM, POLICY_TTL, params_t)
from cachefleet_server.core.stats cimport stats_t


cdef dict _params():
    cdef params_t p
    cdef char* at = <char*>&p
    return {
        "maxmemory": <char*>&p.maxmemory - at,
        "maxmemory_policy": <char*>&p.maxmemory_policy - at,
        "maxmemory_samples": <char*>&p.maxmemory_samples - at,
        "maxmemory_eviction_tenacity": <char*>&p.maxmemory_eviction_tenacity - at,
        "maxmemory_clients": <char*>&p.maxmemory_clients - at,
        "lfu_log_factor": <char*>&p.lfu_log_factor - at,
        "lfu_decay_time": <char*>&p.lfu_decay_time - at,
        "lazyfree_lazy_eviction": <char*>&p.lazyfree_lazy_eviction - at,
        "lazyfree_lazy_expire": <char*>&p.lazyfree_lazy_expire - at,
        "lazyfree_lazy_server_del": <char*>&p.lazyfree_lazy_server_del - at,
        "lazyfree_lazy_user_del": <char*>&p.lazyfree_lazy_user_del - at,
        "lazyfree_lazy_user_flush": <char*>&p.lazyfree_lazy_user_flush - at,
        "active_expire_effort": <char*>&p.active_expire_effort - at,
        "active_expire_enabled": <char*>&p.active_expire_enabled - at,
        "activerehashing": <char*>&p.activerehashing - at,
        "hz": <char*>&p.hz - at,
        "maxclients": <char*>&p.maxclients - at,
        "timeout": <char*>&p.timeout - at,
        "tcp_keepalive": <char*>&p.tcp_keepalive - at,
        "proto_max_bulk_len": <char*>&p.proto_max_bulk_len - at,
        "client_query_buffer_limit": <char*>&p.client_query_buffer_limit - at,
        "output_limit_hard.0": <char*>&p.output_limit_hard[0] - at,
        "output_limit_hard.1": <char*>&p.output_limit_hard[1] - at,
        "output_limit_hard.2": <char*>&p.output_limit_hard[2] - at,
        "output_limit_soft.0": <char*>&p.output_limit_soft[0] - at,
        "output_limit_soft.1": <char*>&p.output_limit_soft[1] - at,
        "output_limit_soft.2": <char*>&p.output_limit_soft[2] - at,
        "output_limit_soft_seconds.0": <char*>&p.output_limit_soft_seconds[0] - at,
        "output_limit_soft_seconds.1": <char*>&p.output_limit_soft_seconds[1] - at,
        "output_limit_soft_seconds.2": <char*>&p.output_limit_soft_seconds[2] - at,
        "slowlog_log_slower_than": <char*>&p.slowlog_log_slower_than - at,
        "commandlog_request_larger_than": <char*>&p.commandlog_request_larger_than - at,
        "commandlog_reply_larger_than": <char*>&p.commandlog_reply_larger_than - at,
        "latency_monitor_threshold": <char*>&p.latency_monitor_threshold - at,
        "latency_tracking": <char*>&p.latency_tracking - at,
        "stop_writes_on_bgsave_error": <char*>&p.stop_writes_on_bgsave_error - at,
        "min_replicas_to_write": <char*>&p.min_replicas_to_write - at,
        "min_replicas_max_lag": <char*>&p.min_replicas_max_lag - at,
        "reads_until": <char*>&p.reads_until - at,
        "durability_timeout": <char*>&p.durability_timeout - at,
        "rdb_key_save_delay": <char*>&p.rdb_key_save_delay - at,
        "key_load_delay": <char*>&p.key_load_delay - at,
        "auth_required": <char*>&p.auth_required - at,
        "import_mode": <char*>&p.import_mode - at,
        "extended_redis_compatibility": <char*>&p.extended_redis_compatibility - at,
        "list_max_listpack_size": <char*>&p.list_max_listpack_size - at,
        "list_compress_depth": <char*>&p.list_compress_depth - at,
        "hash_max_listpack_entries": <char*>&p.hash_max_listpack_entries - at,
        "hash_max_listpack_value": <char*>&p.hash_max_listpack_value - at,
        "set_max_intset_entries": <char*>&p.set_max_intset_entries - at,
        "set_max_listpack_entries": <char*>&p.set_max_listpack_entries - at,
        "set_max_listpack_value": <char*>&p.set_max_listpack_value - at,
        "zset_max_listpack_entries": <char*>&p.zset_max_listpack_entries - at,
        "zset_max_listpack_value": <char*>&p.zset_max_listpack_value - at,
        "hll_sparse_max_bytes": <char*>&p.hll_sparse_max_bytes - at,
        "stream_node_max_bytes": <char*>&p.stream_node_max_bytes - at,
        "stream_node_max_entries": <char*>&p.stream_node_max_entries - at,
    }


cdef dict _stats():
    cdef stats_t s
    cdef char* at = <char*>&s
    return {
        "connections": <char*>&s.connections - at,
        "rejected_connections": <char*>&s.rejected_connections - at,
        "browsers": <char*>&s.browsers - at,
        "commands": <char*>&s.commands - at,
        "net_in": <char*>&s.net_in - at,
        "net_out": <char*>&s.net_out - at,
        "reads": <char*>&s.reads - at,
        "writes": <char*>&s.writes - at,
        "keyspace_hits": <char*>&s.keyspace_hits - at,
        "keyspace_misses": <char*>&s.keyspace_misses - at,
        "expired_keys": <char*>&s.expired_keys - at,
        "expired_fields": <char*>&s.expired_fields - at,
        "expired_stale_per_mille": <char*>&s.expired_stale_per_mille - at,
        "expired_time_cap_reached": <char*>&s.expired_time_cap_reached - at,
        "expire_cycles": <char*>&s.expire_cycles - at,
        "expire_slice_keys_max": <char*>&s.expire_slice_keys_max - at,
        "evicted_keys": <char*>&s.evicted_keys - at,
        "evict_slice_keys_max": <char*>&s.evict_slice_keys_max - at,
        "evicted_clients": <char*>&s.evicted_clients - at,
        "unknown_outcomes": <char*>&s.unknown_outcomes - at,
        "sync_full": <char*>&s.sync_full - at,
        "sync_partial_ok": <char*>&s.sync_partial_ok - at,
        "sync_partial_err": <char*>&s.sync_partial_err - at,
        "eviction_exceeded_us": <char*>&s.eviction_exceeded_us - at,
        "query_buffer_disconnections": <char*>&s.query_buffer_disconnections - at,
        "output_buffer_disconnections": <char*>&s.output_buffer_disconnections - at,
        "error_replies": <char*>&s.error_replies - at,
        "unexpected_error_replies": <char*>&s.unexpected_error_replies - at,
        "acl_denied_auth": <char*>&s.acl_denied_auth - at,
        "acl_denied_cmd": <char*>&s.acl_denied_cmd - at,
        "ticks": <char*>&s.ticks - at,
        "tick_cycles": <char*>&s.tick_cycles - at,
        "command_cycles": <char*>&s.command_cycles - at,
        "lazyfreed_objects": <char*>&s.lazyfreed_objects - at,
        "batches": <char*>&s.batches - at,
        "batch_commands": <char*>&s.batch_commands - at,
        "largest_input": <char*>&s.largest_input - at,
        "largest_output": <char*>&s.largest_output - at,
        "used_memory_startup": <char*>&s.used_memory_startup - at,
    }


cdef dict _flags():
    cdef persist_t p
    cdef char* at = <char*>&p
    return {
        "loading": <char*>&p.loading - at,
        "aof_enabled": <char*>&p.aof_enabled - at,
        "aof_starting": <char*>&p.aof_starting - at,
        "bgsave_failed": <char*>&p.bgsave_failed - at,
        "save_points": <char*>&p.save_points - at,
        "aof_write_failed": <char*>&p.aof_write_failed - at,
        "rdb_uncompressed": <char*>&p.rdb_uncompressed - at,
        "flush_save": <char*>&p.flush_save - at,
    }


cdef dict _counters():
    cdef persist_t p
    cdef char* at = <char*>&p
    return {
        "dirty": <char*>&p.dirty - at,
        "load_total_bytes": <char*>&p.load_total_bytes - at,
        "load_done_bytes": <char*>&p.load_done_bytes - at,
        "load_keys": <char*>&p.load_keys - at,
        "load_keys_expired": <char*>&p.load_keys_expired - at,
    }


cdef dict PARAMS = _params()
cdef dict STATS = _stats()
cdef dict FLAGS = _flags()  # of persist_t
cdef dict COUNTERS = _counters()  # of persist_t

for _rows, _size in ((PARAMS, sizeof(params_t)), (STATS, sizeof(stats_t))):
    if sorted(_rows.values()) != list(range(0, _size, 8)):
        raise ImportError("fields.pyx does not name each field of params_t and stats_t in core/engine.pxd once")

POLICIES = {
    "volatile-lru": POLICY_LRU,
    "volatile-lfu": POLICY_LFU,
    "volatile-random": POLICY_RANDOM,
    "volatile-ttl": POLICY_TTL,
    "allkeys-lru": POLICY_LRU | POLICY_ALLKEYS,
    "allkeys-lfu": POLICY_LFU | POLICY_ALLKEYS,
    "allkeys-random": POLICY_RANDOM | POLICY_ALLKEYS,
    "noeviction": POLICY_NOEVICTION,
}

DEFAULTS = {
    "maxmemory_policy": POLICY_NOEVICTION, "maxmemory_samples": 5, "maxmemory_eviction_tenacity": 10,
    "lfu_log_factor": 10, "lfu_decay_time": 1, "lazyfree_lazy_eviction": 1, "lazyfree_lazy_expire": 1,
    "lazyfree_lazy_server_del": 1, "lazyfree_lazy_user_del": 1, "lazyfree_lazy_user_flush": 1,
    "active_expire_effort": 1, "active_expire_enabled": 1, "activerehashing": 1, "hz": 10, "maxclients": 10000,
    "tcp_keepalive": 300, "proto_max_bulk_len": 512 << 20, "client_query_buffer_limit": 1 << 30,
    "slowlog_log_slower_than": 10000, "commandlog_request_larger_than": 1 << 20,
    "commandlog_reply_larger_than": 1 << 20, "latency_tracking": 1, "stop_writes_on_bgsave_error": 1,
    "list_max_listpack_size": -2,
    "hash_max_listpack_entries": 512,
    "hash_max_listpack_value": 64,
    "set_max_intset_entries": 512,
    "set_max_listpack_entries": 128,
    "set_max_listpack_value": 64,
    "zset_max_listpack_entries": 128,
    "zset_max_listpack_value": 64,
    "hll_sparse_max_bytes": 3000,
    "stream_node_max_bytes": 4096,
    "stream_node_max_entries": 100,
}


cdef int64_t* param_at(engine_t* e, str name) except NULL:
    return <int64_t*>(<char*>&e.params + <Py_ssize_t>PARAMS[name])


cdef uint64_t* stat_at(engine_t* e, str name) except NULL:
    return <uint64_t*>(<char*>&e.stats + <Py_ssize_t>STATS[name])


cdef int set_persist(engine_t* e, str name, int64_t value) except -1:
    """A flag or a counter of persist_t."""
    if name in COUNTERS:
        (<uint64_t*>(<char*>&e.persist + <Py_ssize_t>COUNTERS[name]))[0] = value
    else:
        (<bint*>(<char*>&e.persist + <Py_ssize_t>FLAGS[name]))[0] = value != 0
    return 0


cdef int set_defaults(engine_t* e) except -1:
    for name, value in DEFAULTS.items():
        param_at(e, name)[0] = value
    return 0
