"""Parameters that the hot path reads. Names for Python: fields.pyx, which names each once."""

from libc.stdint cimport int64_t

cdef struct params_t:  # hot parameters, all int64 so that engine.set_param addresses them by name
    int64_t maxmemory
    int64_t maxmemory_policy  # MAXMEMORY_*
    int64_t maxmemory_samples
    int64_t maxmemory_eviction_tenacity
    int64_t maxmemory_clients
    int64_t lfu_log_factor
    int64_t lfu_decay_time
    int64_t lazyfree_lazy_eviction
    int64_t lazyfree_lazy_expire
    int64_t lazyfree_lazy_server_del
    int64_t lazyfree_lazy_user_del
    int64_t lazyfree_lazy_user_flush
    int64_t active_expire_effort
    int64_t active_expire_enabled  # DEBUG SET-ACTIVE-EXPIRE
    int64_t activerehashing
    int64_t hz
    int64_t maxclients
    int64_t timeout
    int64_t tcp_keepalive
    int64_t proto_max_bulk_len
    int64_t client_query_buffer_limit
    int64_t output_limit_hard[3]  # by class: normal, replica, pubsub
    int64_t output_limit_soft[3]
    int64_t output_limit_soft_seconds[3]
    int64_t slowlog_log_slower_than  # us; -1 off
    int64_t commandlog_request_larger_than  # bytes; -1 off
    int64_t commandlog_reply_larger_than
    int64_t latency_monitor_threshold  # ms; 0 off
    int64_t latency_tracking
    int64_t stop_writes_on_bgsave_error
    int64_t min_replicas_to_write
    int64_t min_replicas_max_lag
    int64_t reads_until  # us of CLOCK_BOOTTIME: from then on reads are refused; 0: no limit
    int64_t durability_timeout  # ms; 0: no limit
    int64_t rdb_key_save_delay  # us
    int64_t key_load_delay
    int64_t auth_required  # 1: a client that has not authenticated may only use CMD_NO_AUTH
    int64_t import_mode
    int64_t extended_redis_compatibility
    int64_t list_max_listpack_size  # -1 ... -5: bytes, n >= 0: elements (ds/sequence.pxd)
    int64_t list_compress_depth
    int64_t hash_max_listpack_entries
    int64_t hash_max_listpack_value  # bytes
    int64_t set_max_intset_entries
    int64_t set_max_listpack_entries
    int64_t set_max_listpack_value  # bytes
    int64_t zset_max_listpack_entries
    int64_t zset_max_listpack_value  # bytes
    int64_t hll_sparse_max_bytes
    int64_t stream_node_max_bytes  # of a block; 0: no limit
    int64_t stream_node_max_entries

cdef enum:  # maxmemory_policy: bit set of what to sample and how to rank
    POLICY_LRU = 1
    POLICY_LFU = 2
    POLICY_ALLKEYS = 4
    POLICY_RANDOM = 8
    POLICY_TTL = 16
    POLICY_NOEVICTION = 32
