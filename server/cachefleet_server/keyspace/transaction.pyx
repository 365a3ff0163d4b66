"""Open transactions; see transaction.pxd."""

from libc.stdio cimport snprintf
from libc.string cimport strncmp

from cachefleet_server.core.engine cimport CLIENT_DIRTY_CAS, CLIENT_DIRTY_EXEC, CLIENT_MULTI
from cachefleet_server.core.reply cimport reply_error_bytes, reply_simple
from cachefleet_server.core.request cimport request_keep
from cachefleet_server.ds.zmalloc cimport heap_t, zcalloc, zfree, zrealloc
from cachefleet_server.keyspace.watch cimport unwatch_all


cdef void transaction_begin(client_t* c) noexcept nogil:
    c.transaction = <transaction_t*>zcalloc(c.engine.heap, sizeof(transaction_t))
    (<transaction_t*>c.transaction).common = ~<uint64_t>0
    c.flags |= CLIENT_MULTI


cdef void transaction_queue(client_t* c) noexcept nogil:
    cdef transaction_t* t = <transaction_t*>c.transaction
    if t.count == t.cap:
        t.cap = 2 * t.cap if t.cap else 4
        t.requests = <kept_request_t**>zrealloc(c.engine.heap, t.requests, t.cap * sizeof(kept_request_t*))
    t.requests[t.count] = request_keep(c)
    t.memory += t.requests[t.count].memory
    t.count += 1
    t.flags |= c.cmd.flags
    t.common &= c.cmd.flags
    reply_simple(c, b"QUEUED")


cdef void transaction_discard(client_t* c) noexcept nogil:
    cdef heap_t* heap = c.engine.heap
    cdef transaction_t* t = <transaction_t*>c.transaction
    cdef int i
    c.flags &= ~<uint64_t>(CLIENT_MULTI | CLIENT_DIRTY_CAS | CLIENT_DIRTY_EXEC)
    if t == NULL:
        return
    for i in range(t.count):
        zfree(heap, t.requests[i])
    zfree(heap, t.requests)
    zfree(heap, t)
    c.transaction = NULL


cdef uint64_t transaction_flags(const client_t* c) noexcept nogil:
    return (<transaction_t*>c.transaction).flags if c.transaction != NULL else 0


cdef bint transaction_all(const client_t* c, uint64_t flags) noexcept nogil:
    return c.transaction == NULL or (<transaction_t*>c.transaction).common & flags == flags


cdef int transaction_count(const client_t* c) noexcept nogil:
    return (<transaction_t*>c.transaction).count if c.transaction != NULL else -1


cdef size_t transaction_memory(const client_t* c) noexcept nogil:
    cdef transaction_t* t = <transaction_t*>c.transaction
    return sizeof(transaction_t) + t.cap * sizeof(kept_request_t*) + t.memory if t != NULL else 0


cdef void transaction_mark_failed(client_t* c) noexcept nogil:
    if c.flags & CLIENT_MULTI:
        c.flags |= CLIENT_DIRTY_EXEC


cdef void transaction_refuse(client_t* c, const char* why) noexcept nogil:
    cdef char text[512]
    cdef int n
    unwatch_all(c)
    transaction_discard(c)
    if strncmp(why, b"ERR ", 4) == 0:
        why += 4
    n = snprintf(text, sizeof(text), b"EXECABORT Transaction discarded because of: %s", why)
    reply_error_bytes(c, text, n if n < <int>sizeof(text) else <int>sizeof(text) - 1)
