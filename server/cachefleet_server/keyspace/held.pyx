"""Held output; see held.pxd."""

from libc.stdint cimport UINT64_MAX, uint64_t
from libc.string cimport memmove

from cachefleet_server.core.engine cimport CLIENT_CLOSE_ASAP, CLIENT_HELD, CLIENT_PENDING_WRITE
from cachefleet_server.core.reply cimport reply_client_ready
from cachefleet_server.core.wake cimport client_close_asap, engine_wake
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc

cdef struct due_t:
    client_t* client
    uint64_t at  # place in its output, counted from its first byte ever

cdef struct mark_t:
    uint64_t at
    uint64_t until  # offset of the journal that must be confirmed

cdef struct held_t:  # of one client
    client_t* next  # engine.held.waiting
    buf_t marks  # mark_t, rising


cdef inline held_t* _held(const client_t* c) noexcept nogil:
    return <held_t*>c.held


cdef inline mark_t* _first(const client_t* c) noexcept nogil:
    return <mark_t*>_held(c).marks.data


cdef uint64_t _confirmed_by_all(const engine_t* e) noexcept nogil:
    cdef const held_condition_t* condition = e.held.conditions
    cdef uint64_t offset = UINT64_MAX
    while condition != NULL:
        offset = min(offset, condition.confirmed)
        condition = condition.next
    return offset


cdef size_t held_allowed(const client_t* c) noexcept nogil:
    return _first(c).at - c.net_out

# ---- holding -----------------------------------------------------------------------------------------------

cdef void held_mark_due(client_t* c, size_t pending) noexcept nogil:
    cdef due_t due
    due.client = c
    due.at = c.net_out + pending
    c.flags |= CLIENT_HOLD_DUE
    buf_put(&c.engine.held.due, &due, sizeof(due_t))


cdef void _hold(client_t* c, uint64_t at, uint64_t until) noexcept nogil:
    cdef mark_t mark
    cdef held_t* h = _held(c)
    if h == NULL:
        h = <held_t*>zmalloc(c.engine.heap, sizeof(held_t))
        buf_init(&h.marks, c.engine.heap)
        h.next = c.engine.held.waiting
        c.engine.held.waiting = c
        c.held = h
        c.flags |= CLIENT_HELD
    mark.at = at
    mark.until = until
    buf_put(&h.marks, &mark, sizeof(mark_t))


cdef void held_decide(engine_t* e) noexcept nogil:
    cdef due_t* due = <due_t*>e.held.due.data
    cdef due_t* end = <due_t*>(e.held.due.data + e.held.due.len)
    cdef uint64_t until = e.journal.offset
    cdef bint safe = _confirmed_by_all(e) >= until
    while due < end:
        due.client.flags &= ~<uint64_t>CLIENT_HOLD_DUE
        if not safe and not due.client.flags & CLIENT_CLOSE_ASAP:
            _hold(due.client, due.at, until)
        due += 1
    e.held.due.len = 0

# ---- letting go --------------------------------------------------------------------------------------------

cdef void _let_go(client_t* c, client_t** link) noexcept nogil:
    """`link` is what points to it in the list of those that wait."""
    cdef held_t* h = _held(c)
    link[0] = h.next
    buf_free(&h.marks)
    zfree(c.engine.heap, h)
    c.held = NULL
    c.flags &= ~<uint64_t>CLIENT_HELD


cdef inline void _make_ready(client_t* c) noexcept nogil:
    if c.out.bytes and not c.flags & CLIENT_PENDING_WRITE:
        reply_client_ready(c)


cdef void held_confirmed(engine_t* e) noexcept nogil:
    cdef uint64_t offset
    cdef client_t** link = &e.held.waiting
    cdef client_t* c
    cdef buf_t* marks
    cdef size_t gone
    if link[0] == NULL:
        return
    offset = _confirmed_by_all(e)
    while link[0] != NULL:
        c = link[0]
        marks = &_held(c).marks
        gone = 0
        while gone < marks.len and (<mark_t*>(marks.data + gone)).until <= offset:
            gone += sizeof(mark_t)
        if gone:
            _make_ready(c)
        if gone == marks.len:
            _let_go(c, link)
            continue
        if gone:
            memmove(marks.data, marks.data + gone, marks.len - gone)
            marks.len -= gone
        link = &_held(c).next
    engine_wake(e)


cdef void held_failed(engine_t* e) noexcept nogil:
    cdef due_t* due = <due_t*>e.held.due.data
    cdef due_t* end = <due_t*>(e.held.due.data + e.held.due.len)
    while due < end:
        due.client.flags &= ~<uint64_t>CLIENT_HOLD_DUE
        client_close_asap(due.client)
        due += 1
    e.held.due.len = 0
    while e.held.waiting != NULL:
        client_close_asap(e.held.waiting)
        _let_go(e.held.waiting, &e.held.waiting)


cdef void held_forget(client_t* c) noexcept nogil:
    cdef client_t** link = &c.engine.held.waiting
    cdef due_t* due = <due_t*>c.engine.held.due.data
    cdef due_t* end = <due_t*>(c.engine.held.due.data + c.engine.held.due.len)
    if c.flags & CLIENT_HOLD_DUE:
        while due.client != c:
            due += 1
        memmove(due, due + 1, <char*>end - <char*>(due + 1))
        c.engine.held.due.len -= sizeof(due_t)
        c.flags &= ~<uint64_t>CLIENT_HOLD_DUE
    if c.flags & CLIENT_HELD:
        while link[0] != c:
            link = &_held(link[0]).next
        _let_go(c, link)

# ---- conditions --------------------------------------------------------------------------------------------

cdef void held_add(engine_t* e, held_condition_t* condition) noexcept nogil:
    condition.next = e.held.conditions
    e.held.conditions = condition


cdef void held_remove(engine_t* e, held_condition_t* condition) noexcept nogil:
    cdef held_condition_t** at = &e.held.conditions
    while at[0] != NULL and at[0] != condition:
        at = &at[0].next
    if at[0] != NULL:
        at[0] = condition.next
        held_confirmed(e)
