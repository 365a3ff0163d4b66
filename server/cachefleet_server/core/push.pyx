"""Pushes; see push.pxd."""

from cachefleet_server.core.client_class cimport client_check_output_limit
from cachefleet_server.core.engine cimport (
    CLIENT_CLOSE_AFTER_REPLY, CLIENT_CLOSE_ASAP, CLIENT_PENDING_WRITE, DUE_PUSHES)
from cachefleet_server.core.reply cimport reply_client_ready
from cachefleet_server.core.wake cimport engine_wake
from cachefleet_server.ds.intrin cimport cf_assert
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc
from cachefleet_server.resp.writer cimport out_clear, out_init, out_memory, out_move, out_push

cdef struct deferred_t:
    out_t out
    client_t* next  # clients.pushed


cdef inline deferred_t* _deferred(const client_t* c) noexcept nogil:
    return <deferred_t*>c.pushes


cdef inline bint _takes_none(const client_t* c) noexcept nogil:
    return c.fd < 0 or c.flags & (CLIENT_CLOSE_ASAP | CLIENT_CLOSE_AFTER_REPLY) != 0


cdef inline bint _in_its_reply(const client_t* target) noexcept nogil:
    """Whether its command may be running. Inside a request without a connection it may be any client's."""
    cdef const client_t* current = target.engine.current
    return current != NULL and (current == target or current.fd < 0)


cdef deferred_t* _defer(client_t* target) noexcept nogil:
    cdef engine_t* e = target.engine
    cdef deferred_t* d = _deferred(target)
    if d == NULL:
        d = <deferred_t*>zmalloc(e.heap, sizeof(deferred_t))
        out_init(&d.out, &e.chunks)
        d.next = e.clients.pushed
        e.clients.pushed = target
        target.pushes = d
        e.due |= DUE_PUSHES
    return d


cdef out_t* push_room(client_t* target) noexcept nogil:
    if _takes_none(target):
        return NULL
    if target.pushes != NULL or _in_its_reply(target):
        return &_defer(target).out
    return &target.out


cdef out_t* push_begin(client_t* target, int64_t n) noexcept nogil:
    cdef out_t* out = push_room(target)
    if out != NULL:
        out_push(out, target.resp, n)
    return out


cdef inline void _make_ready(client_t* c) noexcept nogil:
    if not c.flags & CLIENT_PENDING_WRITE:
        reply_client_ready(c)


cdef void push_end(client_t* target) noexcept nogil:
    if target.pushes == NULL:
        _make_ready(target)
        if target.engine.current == NULL:  # perhaps outside of a tick
            engine_wake(target.engine)
        client_check_output_limit(target, 0)
    else:
        client_check_output_limit(target, _deferred(target).out.bytes)


cdef out_t* push_reply_begin(client_t* c, int64_t n) noexcept nogil:
    if c.flags & (CLIENT_CLOSE_ASAP | CLIENT_CLOSE_AFTER_REPLY):
        return NULL
    _make_ready(c)
    out_push(&c.out, c.resp, n)
    return &c.out


cdef client_t* _take_first(engine_t* e, out_t* out) noexcept nogil:
    """A client of the list, which it leaves, and its pushes."""
    cdef client_t* c = e.clients.pushed
    cdef deferred_t* d = _deferred(c)
    e.clients.pushed = d.next
    out[0] = d.out
    c.pushes = NULL
    zfree(e.heap, d)
    return c


cdef void pushes_append(engine_t* e) noexcept nogil:
    cdef client_t* c
    cdef out_t out
    cf_assert(e.current == NULL)
    e.due &= ~<unsigned int>DUE_PUSHES
    while e.clients.pushed != NULL:
        c = _take_first(e, &out)
        if _takes_none(c):
            out_clear(&out)
            continue
        out_move(&c.out, &out)
        _make_ready(c)
    engine_wake(e)  # perhaps outside of a tick


cdef void pushes_forget(client_t* c) noexcept nogil:
    cdef deferred_t* d = _deferred(c)
    cdef client_t* before = c.engine.clients.pushed
    if d == NULL:
        return
    if before == c:
        c.engine.clients.pushed = d.next
    else:
        while _deferred(before).next != c:
            before = _deferred(before).next
        _deferred(before).next = d.next
    out_clear(&d.out)
    zfree(c.engine.heap, d)
    c.pushes = NULL


cdef size_t pushes_memory(const client_t* c) noexcept nogil:
    return sizeof(deferred_t) + out_memory(&_deferred(c).out) if c.pushes != NULL else 0
