"""Pauses: clients' requests are held back for a purpose, each with its own end and strength.

    PAUSE_CLIENT     CLIENT PAUSE            PAUSE_FAILOVER   a planned handover
    PAUSE_SHUTDOWN   the last snapshot

The strongest of those under way counts. When one ends the others go on, and what it alone held is let go at that
moment. While there is any, the data set stands still: nothing expires and nothing is evicted.
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport engine_t

cdef enum:
    PAUSE_CLIENT = 0
    PAUSE_SHUTDOWN = 1
    PAUSE_FAILOVER = 2

    PAUSE_NOTHING = 0
    PAUSE_WRITES = 1
    PAUSE_ALL = 2

cdef void pause_begin(engine_t* e, int purpose, int64_t until_ms, int strength) noexcept nogil
    # Unix time. A pause of the same purpose that is under way is neither shortened nor weakened.
cdef void pause_end(engine_t* e, int purpose) noexcept nogil
cdef void pause_take_stock(engine_t* e) noexcept nogil
cdef int pause_purpose(const engine_t* e) noexcept nogil  # whose pause counts now; of equally strong ones the longest

cdef inline int paused(engine_t* e) noexcept nogil:
    """PAUSE_*: what is held back now, to the millisecond of the cached clock."""
    if e.pause.strength and e.now_ms >= e.pause.next_end_ms:
        pause_take_stock(e)
    return e.pause.strength
