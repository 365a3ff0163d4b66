"""Clients that follow the journal, as commands see them: what they have confirmed, and that they are to say so.

Who keeps them, feeds them and hears them is replication/feed.pyx. Only those that are ONLINE count: the others have not
got all that their snapshot stands for.
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport client_t, engine_t
from cachefleet_server.keyspace.journal cimport journal_verbatim
from cachefleet_server.resp.writer cimport out_t

cdef enum:  # replica_t.state
    REPLICA_WAITING = 0  # for a snapshot
    REPLICA_SYNCING = 1  # the snapshot is being sent to it, and the stream is kept
    REPLICA_LOADING = 2  # it has been sent all of the snapshot, and nothing behind that before it confirms
    REPLICA_ONLINE = 3  # it gets the stream

cdef struct replica_t:  # a client that follows the journal
    replica_t* next
    client_t* client
    void* owner  # feed_t
    int state
    uint64_t acked  # the offset of the journal up to which it has executed it ...
    uint64_t acked_aof  # ... and up to which it has that on disk
    int64_t acked_ms  # monotonic time of its last word about that
    out_t kept  # the stream behind the snapshot's point in time, until it is ONLINE

cdef extern from * nogil:
    """
    #define REPLICAS_NEVER INT64_MAX
    """
    const int64_t REPLICAS_NEVER  # params.min_replicas_to_write of a managed primary that has no lease

cdef extern from * nogil:
    """
    #define CF_GETACK "*3\\r\\n$8\\r\\nREPLCONF\\r\\n$6\\r\\nGETACK\\r\\n$1\\r\\n*\\r\\n"
    #define CF_GETACK_LEN (sizeof(CF_GETACK) - 1)
    """
    const char* CF_GETACK
    const size_t CF_GETACK_LEN

cdef inline replica_t* replicas_first(const engine_t* e) noexcept nogil:
    return <replica_t*>e.replicas.first

cdef inline int64_t replicas_that_have(const engine_t* e, uint64_t offset, bint on_disk) noexcept nogil:
    cdef const replica_t* r = replicas_first(e)
    cdef int64_t n = 0
    while r != NULL:
        n += r.state == REPLICA_ONLINE and (r.acked_aof if on_disk else r.acked) >= offset
        r = r.next
    return n

cdef inline int64_t replicas_good(const engine_t* e) noexcept nogil:
    """Those that spoke at most min-replicas-max-lag seconds ago."""
    cdef const replica_t* r = replicas_first(e)
    cdef int64_t n = 0
    while r != NULL:
        n += r.state == REPLICA_ONLINE and (
            e.monotonic_ms - r.acked_ms) // 1000 <= e.params.min_replicas_max_lag
        r = r.next
    return n

cdef inline void replicas_ask(engine_t* e) noexcept nogil:
    """One request for confirmations, behind all that the tick has written; it is part of the stream."""
    e.replicas.ask = False
    if e.replicas.first != NULL:
        journal_verbatim(e, e.journal.db, CF_GETACK, CF_GETACK_LEN)
