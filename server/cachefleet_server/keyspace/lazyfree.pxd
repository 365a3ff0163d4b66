"""A helper thread that frees what is expensive to free: collections, large tables, flushed databases."""

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.ds.hashtable cimport hashtable_t

cdef enum:
    LAZYFREE_EFFORT = 64  # allocations; below, freeing at once is cheaper than handing over

cdef void lazyfree_start(engine_t* e) noexcept nogil
cdef void lazyfree_stop(engine_t* e) noexcept nogil  # drains the queue and joins
cdef void lazyfree_entry(engine_t* e, entry_t* entry) noexcept nogil  # at once or by the thread, by effort
cdef void lazyfree_table(engine_t* e, hashtable_t* keys, hashtable_t* expires) noexcept nogil
cdef size_t lazyfree_pending(engine_t* e) noexcept nogil
cdef void entry_free(engine_t* e, entry_t* entry) noexcept nogil  # at once, on this thread
