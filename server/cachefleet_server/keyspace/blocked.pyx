"""Waiting clients and their deadlines.

Clients with a deadline form a binary heap by `blocked_until_ms`, in an array of the engine; each knows its
place (`deadline_index`, counted from 1), so blocking and unblocking cost O(log n) and a look at what is due
O(1), however many clients wait. Whose time is up while a pause holds it back leaves the heap until the pause ends.
"""

from cachefleet_server.core.engine cimport (
    BLOCKED_KEYS, BLOCKED_NONE, BLOCKED_PAUSE, CLIENT_BLOCKED, CLIENT_DEFERRED_REPLY_ERROR)
from cachefleet_server.core.latency cimport count_call
from cachefleet_server.core.reply cimport reply_skip_advance
from cachefleet_server.core.wake cimport client_resume, engine_alarm_ms
from cachefleet_server.ds.zmalloc cimport zfree, zrealloc
from cachefleet_server.keyspace.waiting cimport waiting_is_held, waiting_leave, waiting_looks

# ---- the heap ------------------------------------------------------------------------------------------

cdef inline void _place(engine_t* e, size_t at, client_t* c) noexcept nogil:
    e.clients.deadlines[at - 1] = c
    c.deadline_index = at


cdef void _sift_up(engine_t* e, size_t at, client_t* c) noexcept nogil:
    """Puts c at `at` or further up."""
    while at > 1 and e.clients.deadlines[at // 2 - 1].blocked_until_ms > c.blocked_until_ms:
        _place(e, at, e.clients.deadlines[at // 2 - 1])
        at = at // 2
    _place(e, at, c)


cdef void _sift_down(engine_t* e, size_t at, client_t* c) noexcept nogil:
    """Puts c at `at` or further down."""
    cdef size_t child
    while True:
        child = 2 * at
        if child > e.clients.deadline_count:
            break
        if child < e.clients.deadline_count and (
            e.clients.deadlines[child].blocked_until_ms < e.clients.deadlines[child - 1].blocked_until_ms
        ):
            child += 1
        if e.clients.deadlines[child - 1].blocked_until_ms >= c.blocked_until_ms:
            break
        _place(e, at, e.clients.deadlines[child - 1])
        at = child
    _place(e, at, c)


cdef void _push(engine_t* e, client_t* c) noexcept nogil:
    if e.clients.deadline_count == e.clients.deadline_cap:
        e.clients.deadline_cap = max(<size_t>16, 2 * e.clients.deadline_cap)
        e.clients.deadlines = <client_t**>zrealloc(
            e.heap, e.clients.deadlines, e.clients.deadline_cap * sizeof(client_t*))
    e.clients.deadline_count += 1
    _sift_up(e, e.clients.deadline_count, c)


cdef void _remove(engine_t* e, client_t* c) noexcept nogil:
    cdef size_t at = c.deadline_index
    cdef client_t* last = e.clients.deadlines[e.clients.deadline_count - 1]
    c.deadline_index = 0
    e.clients.deadline_count -= 1
    if last != c:  # it fills the gap, and may belong above or below it
        if at > 1 and e.clients.deadlines[at // 2 - 1].blocked_until_ms > last.blocked_until_ms:
            _sift_up(e, at, last)
        else:
            _sift_down(e, at, last)


# ---- blocking --------------------------------------------------------------------------------------------

cdef void block_client(client_t* c, int kind, int64_t until_ms, unblock_reply_fn unblock_fn) noexcept nogil:
    cdef engine_t* e = c.engine
    c.flags |= CLIENT_BLOCKED
    c.blocked = kind
    c.blocked_until_ms = until_ms
    c.unblock_fn = unblock_fn
    e.clients.blocked += 1
    if until_ms:
        _push(e, c)
        engine_alarm_ms(e, until_ms)


cdef void block_until(client_t* c, int64_t until_ms) noexcept nogil:
    cdef engine_t* e = c.engine
    if c.deadline_index:
        _remove(e, c)
    c.blocked_until_ms = until_ms
    if until_ms:
        _push(e, c)
        engine_alarm_ms(e, until_ms)


cdef void _end_wait(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    if not c.flags & CLIENT_BLOCKED:
        return
    c.flags &= ~<unsigned long long>CLIENT_BLOCKED
    e.clients.blocked -= 1
    if c.deadline_index:
        _remove(e, c)
    c.blocked_until_ms = 0
    if c.blocked == BLOCKED_KEYS:
        waiting_leave(c)


cdef void block_forget(client_t* c) noexcept nogil:
    _end_wait(c)
    zfree(c.engine.heap, c.waiter)
    c.waiter = NULL


cdef void unblock_client(client_t* c, bint timed_out) noexcept nogil:
    cdef unblock_reply_fn reply = c.unblock_fn
    cdef int kind = c.blocked
    cdef void* waiter
    if not c.flags & CLIENT_BLOCKED:
        return
    _end_wait(c)
    waiter = c.waiter
    c.unblock_fn = NULL
    if reply != NULL:
        reply(c, timed_out)
    if waiter != NULL and not (c.flags & CLIENT_BLOCKED and c.waiter == waiter):
        if c.waiter == waiter:
            c.waiter = NULL
        zfree(c.engine.heap, waiter)
    if not c.flags & CLIENT_BLOCKED:
        c.blocked = BLOCKED_NONE
        if kind != BLOCKED_PAUSE and c.engine.clients.served != c:  # those run again, as any other command
            if c.cmd != NULL and c.role.counts:
                count_call(c, c.cmd, 0, (c.flags & CLIENT_DEFERRED_REPLY_ERROR) != 0)
            reply_skip_advance(c)
        client_resume(c)


cdef void blocked_timeouts(engine_t* e) noexcept nogil:
    cdef client_t* c
    while e.clients.deadline_count and e.clients.deadlines[0].blocked_until_ms <= e.now_ms:
        c = e.clients.deadlines[0]
        if waiting_is_held(c):
            _remove(e, c)
        elif not waiting_looks(c):
            unblock_client(c, True)
    if e.clients.deadline_count:
        engine_alarm_ms(e, e.clients.deadlines[0].blocked_until_ms)


cdef void blocked_deadline_counts(client_t* c) noexcept nogil:
    if c.blocked_until_ms and not c.deadline_index:
        _push(c.engine, c)
        engine_alarm_ms(c.engine, max(c.blocked_until_ms, c.engine.now_ms))


cdef void blocked_free(engine_t* e) noexcept nogil:
    zfree(e.heap, e.clients.deadlines)
    e.clients.deadlines = NULL
    e.clients.deadline_count = 0
    e.clients.deadline_cap = 0


cdef int blocked_check(const engine_t* e) noexcept nogil:
    """1: a client does not know its place; 2: it is not blocked or has no deadline; 3: above its parent."""
    cdef size_t at
    cdef client_t* c
    for at in range(1, e.clients.deadline_count + 1):
        c = e.clients.deadlines[at - 1]
        if c.deadline_index != at:
            return 1
        if not c.flags & CLIENT_BLOCKED or not c.blocked_until_ms:
            return 2
        if at > 1 and e.clients.deadlines[at // 2 - 1].blocked_until_ms > c.blocked_until_ms:
            return 3
    return 0
