"""A client's open transaction: what was sent since MULTI, kept until EXEC.

The dispatcher queues here whatever does not run at once; MULTI, EXEC and DISCARD (commands/multi.pyx) open, run and
drop it. An error while queueing (CLIENT_DIRTY_EXEC) makes EXEC abort; a watched key that changed (CLIENT_DIRTY_CAS)
makes it reply null.
"""

from libc.stdint cimport uint64_t

from cachefleet_server.core.engine cimport client_t
from cachefleet_server.core.request cimport kept_request_t

cdef struct transaction_t:
    kept_request_t** requests
    int count
    int cap
    uint64_t flags  # of all queued commands, ORed ...
    uint64_t common  # ... and ANDed
    size_t memory  # of all requests

cdef void transaction_begin(client_t* c) noexcept nogil
cdef void transaction_queue(client_t* c) noexcept nogil  # keeps the running command and replies QUEUED
cdef void transaction_discard(client_t* c) noexcept nogil  # frees the queue, leaves MULTI; does not unwatch
cdef uint64_t transaction_flags(const client_t* c) noexcept nogil  # all flags of the queued commands, ORed
cdef bint transaction_all(const client_t* c, uint64_t flags) noexcept nogil  # each queued command has them
cdef int transaction_count(const client_t* c) noexcept nogil  # -1 when not in MULTI
cdef size_t transaction_memory(const client_t* c) noexcept nogil
cdef void transaction_mark_failed(client_t* c) noexcept nogil  # a command was refused while queueing: EXEC will abort
cdef void transaction_refuse(client_t* c, const char* why) noexcept nogil
    # EXEC itself was refused: "-EXECABORT Transaction discarded because of: <why>"; the transaction is gone.
