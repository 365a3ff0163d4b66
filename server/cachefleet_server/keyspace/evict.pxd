"""maxmemory: when to evict, what to evict, and the LRU/LFU bits."""

from libc.stdint cimport uint32_t, uint64_t

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.core.entry cimport entry_t

cdef enum:
    EVICT_OK = 0  # memory is below the limit
    EVICT_RUNNING = 1  # above, but progress is made: the command may run, the rest follows from cron
    EVICT_FAIL = 2  # above, nothing can be evicted: DENYOOM commands are refused

cdef int evict_perform(engine_t* e) noexcept nogil
    # Called by the dispatcher before a command when maxmemory is set; bounded by maxmemory-eviction-tenacity.
cdef void entry_touch(engine_t* e, entry_t* entry) noexcept nogil  # LRU clock or LFU counter on access
cdef uint32_t entry_initial_lru(const engine_t* e) noexcept nogil  # bits of a new entry
cdef uint64_t entry_idle_ms(const engine_t* e, const entry_t* entry) noexcept nogil
cdef int entry_lfu_count(const engine_t* e, const entry_t* entry) noexcept nogil  # after decay
cdef size_t memory_counted(engine_t* e) noexcept nogil  # used memory that counts against maxmemory
