"""Counters that the hot path bumps. Names for Python: fields.pyx, which names each once."""

from libc.stdint cimport uint64_t

cdef struct stats_t:  # all monotonic unless CONFIG RESETSTAT
    uint64_t connections
    uint64_t rejected_connections
    uint64_t browsers  # connections closed because they spoke HTTP
    uint64_t commands
    uint64_t net_in
    uint64_t net_out
    uint64_t reads
    uint64_t writes
    uint64_t keyspace_hits
    uint64_t keyspace_misses
    uint64_t expired_keys
    uint64_t expired_fields  # members, of any type
    uint64_t expired_stale_per_mille
    uint64_t expired_time_cap_reached
    uint64_t expire_cycles  # cycle-counter ticks spent in active expiry
    uint64_t expire_slice_keys_max  # keys that one slice looked at, at most
    uint64_t evicted_keys
    uint64_t evict_slice_keys_max  # keys that one slice deleted, at most
    uint64_t evicted_clients
    uint64_t eviction_exceeded_us
    uint64_t query_buffer_disconnections
    uint64_t output_buffer_disconnections
    uint64_t unknown_outcomes  # replies that waited longer than durability-timeout
    uint64_t error_replies
    uint64_t unexpected_error_replies
    uint64_t acl_denied_auth
    uint64_t acl_denied_cmd
    uint64_t sync_full  # of replicas
    uint64_t sync_partial_ok
    uint64_t sync_partial_err
    uint64_t ticks  # event loop cycles
    uint64_t tick_cycles
    uint64_t command_cycles
    uint64_t lazyfreed_objects
    uint64_t batches  # prefetch batches
    uint64_t batch_commands
    uint64_t largest_input  # buffers of a client, in bytes: maxima since engine.maxima_since_ms
    uint64_t largest_output
    uint64_t used_memory_startup
