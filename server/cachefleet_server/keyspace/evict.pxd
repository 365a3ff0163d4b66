"""maxmemory: when to evict, what to evict, and the LRU/LFU bits."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.core.params cimport POLICY_LFU
from cachefleet_server.core.entry cimport entry_lru, entry_set_lru, entry_t

cdef enum:
    EVICT_OK = 0  # memory is below the limit
    EVICT_RUNNING = 1  # above, but progress is made: the command may run, the rest follows from cron
    EVICT_FAIL = 2  # above, nothing can be evicted: DENYOOM commands are refused

    LFU_NEW = 5  # counter of a new key, so that it is not the first to go

cdef int evict_perform(engine_t* e) noexcept nogil
    # Called by the dispatcher before a command when maxmemory is set; bounded by maxmemory-eviction-tenacity.
cdef void evict_continue(engine_t* e) noexcept nogil
    # From cron and at the end of a tick: goes on with an eviction that ran out of time.
cdef void entry_touch_lfu(engine_t* e, entry_t* entry) noexcept nogil
cdef uint32_t entry_initial_lru(const engine_t* e) noexcept nogil  # bits of a new entry
cdef uint64_t entry_idle_ms(const engine_t* e, const entry_t* entry) noexcept nogil
cdef void evict_handed(engine_t* e, size_t bytes, size_t freed) noexcept nogil
    # So many bytes, or about, are on their way to be freed by the helper thread: no key has to go for them.
    # `freed` is what heap.freed_remote was before they were handed over.
cdef size_t memory_counted(engine_t* e) noexcept nogil  # used memory that counts against maxmemory
cdef int64_t evict_exceeded_us(engine_t* e) noexcept nogil  # how long memory has been above the limit; 0 = it is not

cdef inline void entry_touch(engine_t* e, entry_t* entry) noexcept nogil:
    """LRU clock or LFU counter on access. A line that is up to date is not written."""
    if e.params.maxmemory_policy & POLICY_LFU:
        entry_touch_lfu(e, entry)
    elif entry_lru(entry) != e.lru_clock:
        entry_set_lru(entry, e.lru_clock)
