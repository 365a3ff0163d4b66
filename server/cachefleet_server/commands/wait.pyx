"""WAIT and WAITAOF: until all writes so far are on replicas, or on disk.

"So far" is the journal's end when the command runs. The AOF reports what it has fsynced in persist.aof_fsynced_offset
and calls engine.confirmed_fn, which answers the clients whose wait is over. Nothing counts as on disk before the first
base of an AOF is. Replicas are asked to confirm at the end of the tick (keyspace/replicas), once for all who wait.

Where nothing may block, as inside EXEC: the reply is what is true at that moment.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t

from cachefleet_server.core.clients cimport client_first, client_next
from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport BLOCKED_WAIT, CLIENT_DENY_BLOCKING, arg_t, client_t, engine_t
from cachefleet_server.core.reply cimport arg_int64, reply_array, reply_error, reply_int
from cachefleet_server.ds.number cimport chars_to_int64
from cachefleet_server.ds.zmalloc cimport zmalloc
from cachefleet_server.keyspace.blocked cimport block_client, unblock_client, unblock_reply_fn
from cachefleet_server.keyspace.journal cimport journal_end
from cachefleet_server.keyspace.replicas cimport replicas_that_have

cdef extern from *:
    """
    #define ERR_NO_AOF "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
    #define ERR_LOCAL "writes to replicas are just local and are not propagated."
    #define ERR_WAIT_OF_REPLICA \
        "ERR WAIT cannot be used with replica instances. Please also note that if a replica is configured to be " \
        "writable (which is not the default) " ERR_LOCAL
    #define ERR_WAITAOF_OF_REPLICA \
        "ERR WAITAOF cannot be used with replica instances. Please also note that " ERR_LOCAL
    """
    const char* ERR_NO_AOF
    const char* ERR_WAIT_OF_REPLICA
    const char* ERR_WAITAOF_OF_REPLICA


cdef struct wait_t:
    uint64_t offset  # everything up to here must be safe ...
    int64_t replicas  # ... on so many replicas ...
    bint on_disk  # ... WAITAOF: on their disks ...
    bint local  # ... and on the own one


cdef inline bint _has_no_aof(const engine_t* e) noexcept nogil:
    return not e.persist.aof_enabled and not e.persist.aof_starting


cdef inline bint _is_local(const engine_t* e, const wait_t* w) noexcept nogil:
    return e.persist.aof_enabled and e.persist.aof_fsynced_offset >= w.offset


cdef inline int64_t _replicas(const engine_t* e, const wait_t* w) noexcept nogil:
    """How many replicas have acknowledged w.offset."""
    return replicas_that_have(e, w.offset, w.on_disk)


cdef bint timeout_ms_or_reply(client_t* c, const arg_t* a, int64_t* until_ms) noexcept nogil:
    cdef int64_t v
    if not chars_to_int64(a.ptr, a.len, &v):
        reply_error(c, b"ERR timeout is not an integer or out of range")
        return False
    if v < 0:
        reply_error(c, b"ERR timeout is negative")
        return False
    if v > INT64_MAX - c.engine.now_ms:
        reply_error(c, b"ERR timeout is out of range")
        return False
    until_ms[0] = v + c.engine.now_ms if v else 0
    return True


cdef void _reply_wait(client_t* c, const wait_t* w) noexcept nogil:
    reply_int(c, _replicas(c.engine, w))


cdef void _reply_waitaof(client_t* c, const wait_t* w) noexcept nogil:
    if w.local and _has_no_aof(c.engine):
        reply_error(c, ERR_NO_AOF)
        return
    reply_array(c, 2)
    reply_int(c, _is_local(c.engine, w))
    reply_int(c, _replicas(c.engine, w))


cdef void _wait_over(client_t* c, bint timed_out) noexcept nogil:
    _reply_wait(c, <const wait_t*>c.waiter)


cdef void _waitaof_over(client_t* c, bint timed_out) noexcept nogil:
    _reply_waitaof(c, <const wait_t*>c.waiter)


cdef bint _is_over(const engine_t* e, const wait_t* w) noexcept nogil:
    if w.local and _has_no_aof(e):
        return True
    return (not w.local or _is_local(e, w)) and _replicas(e, w) >= w.replicas


cdef void _block(client_t* c, const wait_t* w, int64_t until_ms, unblock_reply_fn over) noexcept nogil:
    c.engine.replicas.ask |= w.replicas > 0
    c.waiter = zmalloc(c.engine.heap, sizeof(wait_t))
    (<wait_t*>c.waiter)[0] = w[0]
    block_client(c, BLOCKED_WAIT, until_ms, over)


cdef void wait_command(client_t* c) noexcept nogil:
    cdef int64_t until_ms = 0
    cdef wait_t w
    if c.engine.following != NULL:
        reply_error(c, ERR_WAIT_OF_REPLICA)
        return
    if not arg_int64(c, &c.argv[1], &w.replicas) or not timeout_ms_or_reply(c, &c.argv[2], &until_ms):
        return
    w.local = w.on_disk = False
    w.offset = journal_end(c.engine)
    if _is_over(c.engine, &w) or c.flags & CLIENT_DENY_BLOCKING:
        _reply_wait(c, &w)
    else:
        _block(c, &w, until_ms, _wait_over)


cdef void waitaof_command(client_t* c) noexcept nogil:
    cdef int64_t local, until_ms = 0
    cdef wait_t w
    if c.engine.following != NULL:
        reply_error(c, ERR_WAITAOF_OF_REPLICA)
        return
    if not arg_int64(c, &c.argv[1], &local):
        return
    if not 0 <= local <= 1:
        reply_error(c, b"ERR value is out of range, value must between 0 and 1")
        return
    if not chars_to_int64(c.argv[2].ptr, c.argv[2].len, &w.replicas) or w.replicas < 0:
        reply_error(c, b"ERR value is out of range, must be positive")
        return
    if not timeout_ms_or_reply(c, &c.argv[3], &until_ms):
        return
    w.local = local != 0
    w.on_disk = True
    w.offset = journal_end(c.engine)
    if _is_over(c.engine, &w) or c.flags & CLIENT_DENY_BLOCKING:
        _reply_waitaof(c, &w)
    else:
        _block(c, &w, until_ms, _waitaof_over)


cdef void _look_again(engine_t* e) noexcept nogil:
    """Answers whose wait is over. Linear in the clients, but only while somebody waits."""
    cdef client_t* c = client_first(e)
    cdef client_t* following
    if e.clients.blocked == 0:
        return
    while c != NULL:
        following = client_next(c)
        if c.blocked == BLOCKED_WAIT and _is_over(e, <const wait_t*>c.waiter):
            unblock_client(c, False)
        c = following


cdef int register_wait(engine_t* e) except -1:
    """Adds this family's rows to the engine's command table."""
    cdef str tips = "generic {} O(1); tips request_policy:all_shards response_policy:agg_min"
    e.confirmed_fn = _look_again
    command_row(e, wait_command, "wait", 3, "blocking", "connection", "", tips.format("3.0.0"),
                "Waits until replicas have acknowledged all writes so far.", "numreplicas:integer timeout:integer")
    command_row(e, waitaof_command, "waitaof", 4, "blocking", "connection", "", tips.format("7.2.0"),
                "Waits until all writes so far are on the disk of this server, of replicas, or both.",
                "numlocal:integer numreplicas:integer timeout:integer")
    return 0
