"""A helper thread that frees what is expensive to free: collections, large tables, flushed databases.

The thread is started by the first job, so an engine that never needs it owns none. It takes no Python object and
never the GIL.
"""

from cachefleet_server.core.engine cimport engine_t
from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.ds.hashtable cimport hashtable_t

cdef enum:
    LAZYFREE_EFFORT = 64  # allocations; below, freeing at once is cheaper than handing over
    LAZYFREE_QUEUE_MAX = 65536  # jobs waiting; beyond, the engine frees by itself, so a burst cannot outrun the helper

cdef void lazyfree_stop(engine_t* e) noexcept nogil  # drains the queue and joins; the next use starts a thread again
cdef void lazyfree_entry(engine_t* e, entry_t* entry) noexcept nogil  # at once or by the thread, by effort
cdef void lazyfree_table(engine_t* e, hashtable_t* keys, hashtable_t* expires) noexcept nogil
    # Tables that no database holds any more: keys with its entries, expires without. Either may be NULL.
cdef void lazyfree_wait(engine_t* e) noexcept nogil  # until nothing is pending (tests, exact memory figures)
cdef size_t lazyfree_pending(engine_t* e) noexcept nogil  # objects not freed yet, keys of tables included
cdef void entry_free(engine_t* e, entry_t* entry) noexcept nogil  # at once, on this thread
cdef void tables_free(engine_t* e, hashtable_t* keys, hashtable_t* expires) noexcept nogil  # at once, on this thread
