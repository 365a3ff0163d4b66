"""Held output; see held.pxd."""

from libc.stdint cimport UINT64_MAX, int64_t, uint64_t
from libc.string cimport memmove, strlen

from cachefleet_server.core.engine cimport CLIENT_CLOSE_ASAP, CLIENT_HELD, CLIENT_PENDING_WRITE
from cachefleet_server.core.errors cimport ERR_UNKNOWN_OUTCOME
from cachefleet_server.core.reply cimport count_errors, reply_client_ready
from cachefleet_server.core.wake cimport client_close_asap, engine_wake
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.resp.writer cimport out_replace_by_errors, replies_t

cdef struct mark_t:
    replies_t replies  # counted from the first byte ever of its client's output
    uint64_t until  # offset of the journal that must be confirmed
    int64_t since_ms  # monotonic

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
    return _first(c).replies.at - c.net_out


cdef size_t held_memory(const client_t* c) noexcept nogil:
    return sizeof(held_t) + _held(c).marks.cap if c.flags & CLIENT_HELD else 0


cdef held_total_t held_total(const engine_t* e) noexcept nogil:
    cdef held_total_t total
    cdef const client_t* c = e.held.waiting
    cdef const mark_t* mark
    cdef const mark_t* end
    total.clients = total.replies = 0
    total.longest_ms = 0
    while c != NULL:
        mark = _first(c)
        end = <const mark_t*>(_held(c).marks.data + _held(c).marks.len)
        total.clients += 1
        total.longest_ms = max(total.longest_ms, e.monotonic_ms - mark.since_ms)
        while mark < end:
            total.replies += mark.replies.count
            mark += 1
        c = _held(c).next
    return total

# ---- holding -----------------------------------------------------------------------------------------------

cdef void held_mark_due(client_t* c, size_t pending) noexcept nogil:
    cdef due_t due
    due.client = c
    due.at = c.net_out + pending
    due.end = c.net_out + c.out.bytes
    due.count = 1
    c.flags |= CLIENT_HOLD_DUE
    buf_put(&c.engine.held.due, &due, sizeof(due_t))


cdef void _hold(const due_t* due, uint64_t until) noexcept nogil:
    cdef client_t* c = due.client
    cdef mark_t mark
    cdef held_t* h = _held(c)
    if h == NULL:
        h = <held_t*>zmalloc(c.engine.heap, sizeof(held_t))
        buf_init(&h.marks, c.engine.heap)
        h.next = c.engine.held.waiting
        c.engine.held.waiting = c
        c.held = h
        c.flags |= CLIENT_HELD
    mark.replies.at = due.at
    mark.replies.end = due.end
    mark.replies.count = due.count
    mark.until = until
    mark.since_ms = c.engine.monotonic_ms
    buf_put(&h.marks, &mark, sizeof(mark_t))


cdef void held_decide(engine_t* e) noexcept nogil:
    cdef due_t* due = <due_t*>e.held.due.data
    cdef due_t* end = <due_t*>(e.held.due.data + e.held.due.len)
    cdef uint64_t until = e.journal.offset
    cdef bint safe = _confirmed_by_all(e) >= until
    while due < end:
        due.client.flags &= ~<uint64_t>CLIENT_HOLD_DUE
        if not safe and not due.client.flags & CLIENT_CLOSE_ASAP:
            _hold(due, until)
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


cdef void _pass(client_t* c, size_t gone, client_t*** link) noexcept nogil:
    """The first `gone` bytes of its marks hold nothing any more. `link` goes on to the next client."""
    cdef buf_t* marks = &_held(c).marks
    if gone:
        _make_ready(c)
    if gone == marks.len:
        _let_go(c, link[0])
        return
    if gone:
        memmove(marks.data, marks.data + gone, marks.len - gone)
        marks.len -= gone
    link[0] = &_held(c).next


cdef void held_confirmed(engine_t* e) noexcept nogil:
    cdef uint64_t offset
    cdef client_t** link = &e.held.waiting
    cdef buf_t* marks
    cdef size_t gone
    if link[0] == NULL:
        return
    offset = _confirmed_by_all(e)
    while link[0] != NULL:
        marks = &_held(link[0]).marks
        gone = 0
        while gone < marks.len and (<mark_t*>(marks.data + gone)).until <= offset:
            gone += sizeof(mark_t)
        _pass(link[0], gone, &link)
    engine_wake(e)


cdef void _say_unknown(client_t* c, size_t gone) noexcept nogil:
    """In place of the replies of so many bytes of marks. What lies behind moves."""
    cdef mark_t* mark = _first(c)
    cdef mark_t* late = <mark_t*>(_held(c).marks.data + gone)
    cdef mark_t* end = <mark_t*>(_held(c).marks.data + _held(c).marks.len)
    cdef size_t text_len = strlen(ERR_UNKNOWN_OUTCOME)
    cdef uint64_t moved = 0
    cdef uint64_t count = 0
    cdef buf_t replies
    buf_init(&replies, c.engine.heap)
    while mark < late:
        buf_put(&replies, &mark.replies, sizeof(replies_t))
        count += mark.replies.count
        mark += 1
    moved = out_replace_by_errors(
        &c.out, c.net_out, <replies_t*>replies.data, replies.len // sizeof(replies_t), ERR_UNKNOWN_OUTCOME, text_len)
    while mark < end:
        mark.replies.at += moved
        mark.replies.end += moved
        mark += 1
    buf_free(&replies)
    c.engine.stats.unknown_outcomes += count
    count_errors(c.engine, ERR_UNKNOWN_OUTCOME, text_len, count)


cdef void held_timeouts(engine_t* e) noexcept nogil:
    cdef int64_t limit = e.params.durability_timeout
    cdef client_t** link = &e.held.waiting
    cdef buf_t* marks
    cdef size_t gone
    if link[0] == NULL or limit == 0:
        return
    while link[0] != NULL:
        marks = &_held(link[0]).marks
        gone = 0
        while gone < marks.len and e.monotonic_ms - (<mark_t*>(marks.data + gone)).since_ms >= limit:
            gone += sizeof(mark_t)
        if gone and not link[0].flags & CLIENT_CLOSE_ASAP:
            _say_unknown(link[0], gone)
        _pass(link[0], gone, &link)


cdef void held_withdraw(engine_t* e) noexcept nogil:
    cdef due_t* due = <due_t*>e.held.due.data
    cdef due_t* end = <due_t*>(e.held.due.data + e.held.due.len)
    while due < end:
        due.client.flags &= ~<uint64_t>CLIENT_HOLD_DUE
        client_close_asap(due.client)
        due += 1
    e.held.due.len = 0


cdef void held_failed(engine_t* e) noexcept nogil:
    held_withdraw(e)
    while e.held.waiting != NULL:
        client_close_asap(e.held.waiting)
        _let_go(e.held.waiting, &e.held.waiting)


cdef void held_forget(client_t* c) noexcept nogil:
    cdef client_t** link = &c.engine.held.waiting
    cdef due_t* due = <due_t*>c.engine.held.due.data
    cdef due_t* end = <due_t*>(c.engine.held.due.data + c.engine.held.due.len)
    cdef due_t* kept = due
    if c.flags & CLIENT_HOLD_DUE:
        while due < end:
            kept[0] = due[0]
            kept += due.client != c
            due += 1
        c.engine.held.due.len = <char*>kept - c.engine.held.due.data
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
