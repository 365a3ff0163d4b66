"""The LFU bits of an entry: minutes of the last access, and a counter that fades."""

from libc.stdint cimport int64_t, uint32_t

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.core.entry cimport entry_lru, entry_t

cdef inline uint32_t lfu_minutes(const engine_t* e) noexcept nogil:
    return <uint32_t>(e.now_ms // 60000) & 0xFFFF

cdef inline int entry_lfu_count(const engine_t* e, const entry_t* entry) noexcept nogil:
    """The counter loses one a period of lfu-decay-time minutes; the field itself is not changed."""
    cdef uint32_t bits = entry_lru(entry)
    cdef int64_t count = bits & 255
    cdef int64_t periods
    if e.params.lfu_decay_time > 0:
        periods = ((lfu_minutes(e) - (bits >> 8)) & 0xFFFF) // e.params.lfu_decay_time
        count = 0 if periods > count else count - periods
    return <int>count
