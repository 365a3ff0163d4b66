"""Connections: see connection.pxd.

Epoll is level-triggered. EPOLLIN stays registered while a client is blocked: its bytes wait in its own buffer
(bounded by client-query-buffer-limit), and a disconnect is noticed. EPOLLOUT is registered only while a socket
refused bytes. A transport may ask otherwise (transport.pxd); what epoll is asked follows from the client's flags
alone. A client is freed at the end of the tick in which it was flagged CLIENT_CLOSE_ASAP, never in between,
because the batch and the epoll events of the tick may point to it.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from cachefleet_server.core.client_class cimport client_check_output_limit, client_set_class, client_set_monitor
from cachefleet_server.core.clients cimport client_first, client_next
from cachefleet_server.core.engine cimport (
    CLASS_NORMAL, CLASS_PRIMARY, CLASS_REPLICA, CLIENT_AUTHENTICATED, CLIENT_BLOCKED, CLIENT_CLOSE_AFTER_REPLY,
    CLIENT_CLOSE_ASAP, CLIENT_DENY_BLOCKING, CLIENT_HELD, CLIENT_HOLD_DUE, CLIENT_MONITOR, CLIENT_NO_EVICT,
    CLIENT_NO_TOUCH, CLIENT_PENDING_WRITE, CLIENT_READ_AGAIN, CLIENT_READ_AT_WRITABLE, CLIENT_REPLY_OFF, CLIENT_RESUMED,
    CLIENT_WRITABLE_WAIT, CLIENT_WRITE_AT_READABLE, READ_MAX, SHARED_INPUT, TRANSPORT_CLOSED, TRANSPORT_ERROR,
    TRANSPORT_WANT_READ, TRANSPORT_WANT_WRITE)
from cachefleet_server.core.reply cimport reply_client_ready
from cachefleet_server.core.push cimport pushes_forget, pushes_memory
from cachefleet_server.core.role cimport (
    GATE_AUTH, REPLIES_DISCARDED, ROLE_CONNECTION, ROLE_LINK, role_here, role_row)
from cachefleet_server.core.wake cimport client_close_asap, client_resume, engine_wake
from cachefleet_server.ds.intrin cimport cf_clz64, cf_unlikely
from cachefleet_server.ds.link cimport link_prepend, link_remove
from cachefleet_server.ds.zmalloc cimport zcalloc, zfree
from cachefleet_server.keyspace.blocked cimport block_forget
from cachefleet_server.keyspace.channels cimport channels_leave_all, subscriptions_memory
from cachefleet_server.keyspace.following cimport following_goes_on, following_lost, link_protocol
from cachefleet_server.keyspace.held cimport held_allowed, held_forget, held_memory
from cachefleet_server.keyspace.tracking cimport tracking_forget
from cachefleet_server.keyspace.transaction cimport transaction_discard, transaction_memory
from cachefleet_server.keyspace.waiting cimport waiting_memory
from cachefleet_server.keyspace.watch cimport unwatch_all
from cachefleet_server.reactor.dispatch cimport parked_free, parked_memory, resp_protocol
from cachefleet_server.reactor.epoll cimport (
    EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, close, epoll_ctl, epoll_event)
from cachefleet_server.resp.input cimport (
    input_arrived, input_free, input_init, input_memory, input_unparsed, input_read_space)
from cachefleet_server.resp.writer cimport (
    OUT_HEADERS, OUT_PIECES, chunk_t, iovec, out_clear, out_consume, out_init, out_memory, out_pieces)

cdef enum:
    MAXIMA_MS = 8000  # "recent" buffer sizes are those of this period and the one before it
    SIZE_CLASS_MIN = 15  # of clients by memory, as powers of two
    SIZE_CLASS_MAX = 33
    SIZE_CLASSES = 19


cdef client_t* _new(engine_t* e, const role_t* role, int fd, unsigned long flags) noexcept nogil:
    cdef client_t* c = <client_t*>zcalloc(e.heap, sizeof(client_t))
    c.engine = e
    c.role = role
    c.db = e.keyspace.dbs[0]
    c.fd = fd
    c.flags = flags
    if not role.may_block:
        c.flags |= CLIENT_DENY_BLOCKING
    if not e.params.auth_required:
        c.flags |= CLIENT_AUTHENTICATED
    c.resp = 2
    c.cls = CLASS_NORMAL
    c.protocol = resp_protocol()
    c.created_ms = e.now_ms
    c.last_interaction_ms = e.now_ms
    input_init(&c.input, e.heap)
    out_init(&c.out, &e.chunks)
    return c


cdef client_t* client_new(engine_t* e, const transport_t* transport, int fd, unsigned long flags) noexcept nogil:
    cdef epoll_event ev
    cdef client_t* c = _new(e, role_here(ROLE_CONNECTION, e.following != NULL), fd, flags)
    c.transport = transport
    ev.events = EPOLLIN
    ev.data.ptr = c
    if epoll_ctl(e.epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0:
        zfree(e.heap, c)
        return NULL
    e.clients.last_id += 1
    c.id = e.clients.last_id
    link_prepend(&e.clients.all, &c.link)
    e.clients.count += 1
    e.clients.class_count[c.cls] += 1
    e.stats.connections += 1
    return c


cdef client_t* link_new(engine_t* e, const transport_t* transport, int fd) noexcept nogil:
    cdef client_t* c = client_new(e, transport, fd, CLIENT_AUTHENTICATED | CLIENT_DENY_BLOCKING | CLIENT_REPLY_OFF)
    if c != NULL:
        e.stats.connections -= 1  # which are those that came to us
        c.role = role_row(ROLE_LINK)
        c.protocol = link_protocol()
        client_set_class(c, CLASS_PRIMARY)
        following_goes_on(e, c)
    return c


cdef client_t* actor_new(engine_t* e, const role_t* role) noexcept nogil:
    cdef client_t* c = _new(e, role, -1, 0)
    if role.replies == REPLIES_DISCARDED:
        c.flags |= CLIENT_REPLY_OFF
    if not role.gates & GATE_AUTH:
        c.flags |= CLIENT_AUTHENTICATED
    if not role.counts:  # what it reads is no use of a key
        c.flags |= CLIENT_NO_TOUCH
    return c


cdef void _unlink_from(client_t** head, client_t* c, bint pending_write) noexcept nogil:
    """Removes c from one of the singly linked lists of a tick. They are short, and this is rare."""
    cdef client_t** at = head
    while at[0] != NULL:
        if at[0] == c:
            at[0] = c.next_pending if pending_write else c.next_resumed
            return
        at = &at[0].next_pending if pending_write else &at[0].next_resumed


cdef void client_free(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    if c.view != NULL:
        e.view_fn(c)
    if c.flags & CLIENT_PENDING_WRITE:
        _unlink_from(&e.clients.pending_write, c, True)
    if c.flags & CLIENT_RESUMED:
        _unlink_from(&e.clients.resumed, c, False)
    if c.flags & CLIENT_BLOCKED:
        block_forget(c)
    if c.flags & (CLIENT_HELD | CLIENT_HOLD_DUE):
        held_forget(c)
    if c.flags & CLIENT_CLOSE_ASAP:
        e.clients.closing -= 1
    if c.replica != NULL:
        e.replicas.gone_fn(c)
    if e.following != NULL:
        following_lost(c)
    e.clients.evictable_memory -= c.accounted
    client_set_monitor(c, False)
    pushes_forget(c)
    transaction_discard(c)
    unwatch_all(c)
    channels_leave_all(c)
    tracking_forget(c)
    parked_free(c)
    input_free(&c.input)
    out_clear(&c.out)
    if c.info != NULL:
        zfree(e.heap, c.info.name)
        zfree(e.heap, c.info.lib_name)
        zfree(e.heap, c.info.lib_ver)
        zfree(e.heap, c.info)
    if c.fd >= 0:
        if c.transport.close_fn != NULL:
            c.transport.close_fn(c)
        epoll_ctl(e.epoll_fd, EPOLL_CTL_DEL, c.fd, NULL)  # closing does not, while a snapshot has a copy of it
        close(c.fd)
        link_remove(&e.clients.all, &c.link)
        e.clients.count -= 1
        e.clients.class_count[c.cls] -= 1
    if e.current == c:
        e.current = NULL
    zfree(e.heap, c)


# ---- reading and writing: what the transport asks for --------------------------------------------------------

cdef inline uint32_t _interest(uint64_t flags) noexcept nogil:
    return ((0 if flags & CLIENT_READ_AT_WRITABLE else EPOLLIN)
            | (EPOLLOUT if flags & (CLIENT_WRITABLE_WAIT | CLIENT_READ_AT_WRITABLE) else 0))


cdef void _wait(client_t* c, uint64_t of, uint64_t now) noexcept nogil:
    """Of the flags `of`, those in `now` hold from here on; epoll is told when that makes a difference."""
    cdef epoll_event ev
    cdef uint64_t before = c.flags
    c.flags = before & ~of | now
    ev.events = _interest(c.flags)
    if ev.events != _interest(before):
        ev.data.ptr = c
        epoll_ctl(c.engine.epoll_fd, EPOLL_CTL_MOD, c.fd, &ev)


cdef inline void _read_waits(client_t* c, ssize_t n) noexcept nogil:
    """After each read, which returned n."""
    if cf_unlikely((c.flags & CLIENT_READ_AT_WRITABLE) != 0 or n == TRANSPORT_WANT_WRITE):
        _wait(c, CLIENT_READ_AT_WRITABLE, CLIENT_READ_AT_WRITABLE if n == TRANSPORT_WANT_WRITE else 0)
    if cf_unlikely((c.flags & CLIENT_WRITE_AT_READABLE) != 0) and not c.flags & CLIENT_PENDING_WRITE:
        reply_client_ready(c)  # what it waits for may have been among what was read
    if cf_unlikely(c.transport.unread_fn != NULL):
        _look_inside(c)


cdef inline void _write_waits(client_t* c, uint64_t now) noexcept nogil:
    """After the last of some writes: CLIENT_WRITABLE_WAIT, CLIENT_WRITE_AT_READABLE or 0."""
    if c.flags & (CLIENT_WRITABLE_WAIT | CLIENT_WRITE_AT_READABLE) != now:
        _wait(c, CLIENT_WRITABLE_WAIT | CLIENT_WRITE_AT_READABLE, now)
    if cf_unlikely(c.transport.unread_fn != NULL):
        _look_inside(c)


cdef void _look_inside(client_t* c) noexcept nogil:
    if not c.flags & CLIENT_READ_AT_WRITABLE and c.transport.unread_fn(c):
        c.flags |= CLIENT_READ_AGAIN
        client_resume(c)

# ---- reading and writing -------------------------------------------------------------------------------------

cdef void _read_and_forget(client_t* c) noexcept nogil:
    """For a client that is closed as soon as it has its last reply: what it still sends must not pile up."""
    cdef engine_t* e = c.engine
    cdef ssize_t n = c.transport.read_fn(c, e.input.shared + e.input.used, SHARED_INPUT - e.input.used)
    if n == TRANSPORT_CLOSED or n == TRANSPORT_ERROR or c.out.bytes == 0:
        client_close_asap(c)
    else:
        _read_waits(c, n)


cdef bint client_read(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef size_t space = 0
    cdef char* where
    cdef ssize_t n
    if cf_unlikely((c.flags & CLIENT_CLOSE_AFTER_REPLY) != 0):
        _read_and_forget(c)
        return False
    where = input_read_space(&c.input, e.input.shared + e.input.used, SHARED_INPUT - e.input.used, &space)
    if space > READ_MAX and e.input.shared <= where < e.input.shared + SHARED_INPUT:
        space = READ_MAX
    n = c.transport.read_fn(c, where, space)
    if n == TRANSPORT_CLOSED or n == TRANSPORT_ERROR:
        client_close_asap(c)
        return False
    _read_waits(c, n)
    if n < 0:
        return False
    # The next reader starts on a cache line of its own.
    e.input.used += (input_arrived(&c.input, where, n) + 63) & ~<size_t>63
    c.net_in += n
    e.stats.net_in += n
    e.stats.reads += 1
    c.last_interaction_ms = e.now_ms
    # A transaction's queue counts too: it is input that waits.
    if (input_unparsed(&c.input) + transaction_memory(c) > <size_t>e.params.client_query_buffer_limit
            and c.cls != CLASS_PRIMARY):
        e.stats.query_buffer_disconnections += 1
        client_close_asap(c)
        return False
    return True


cdef ssize_t _write_some(client_t* c, size_t left, size_t* offered) noexcept nogil:
    """One call for up to OUT_PIECES pieces, and `left` bytes."""
    cdef iovec iov[OUT_PIECES]
    cdef char headers[OUT_HEADERS]
    cdef chunk_t* chunk = c.out.head
    cdef size_t skip = c.out.sent
    if chunk.next == NULL and not chunk.refs:
        offered[0] = min(chunk.len - skip, left)
        return c.transport.write_fn(c, chunk.data + skip, offered[0])
    return c.transport.writev_fn(c, iov, out_pieces(&c.out, iov, left, headers, offered))


cdef void client_write(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef ssize_t n
    cdef size_t offered = 0
    cdef size_t left = c.out.bytes
    if left > e.stats.largest_output:
        e.stats.largest_output = left
    if cf_unlikely((c.flags & CLIENT_HELD) != 0):
        left = held_allowed(c)
    while left > 0:
        n = _write_some(c, left, &offered)
        if n == TRANSPORT_CLOSED or n == TRANSPORT_ERROR:
            client_close_asap(c)
            return
        if n < 0:
            _write_waits(c, CLIENT_WRITE_AT_READABLE if n == TRANSPORT_WANT_READ else CLIENT_WRITABLE_WAIT)
            client_check_output_limit(c, 0)
            return
        e.stats.writes += 1
        e.stats.net_out += n
        c.net_out += n
        out_consume(&c.out, n)
        left -= n
        if <size_t>n < offered:
            _write_waits(c, CLIENT_WRITABLE_WAIT)  # the socket is full: trying again at once would only return EAGAIN
            client_check_output_limit(c, 0)
            return
    _write_waits(c, 0)
    if cf_unlikely(c.out.bytes != 0):  # held
        client_check_output_limit(c, 0)
        return
    c.soft_limit_on = False
    if c.flags & CLIENT_CLOSE_AFTER_REPLY:
        client_close_asap(c)


cdef size_t client_memory(client_t* c) noexcept nogil:
    return (sizeof(client_t) + input_memory(&c.input) + transaction_memory(c) + parked_memory(c) + waiting_memory(c)
            + subscriptions_memory(c) + out_memory(&c.out) + pushes_memory(c) + held_memory(c))


# ---- maxmemory-clients -------------------------------------------------------------------------------------
#
# clients.evictable_memory is the sum of client.accounted. Whatever touches a client's buffers accounts it anew, so the
# limit is known to hold or not without looking at all clients; they are walked only when it does not.

cdef void client_account(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef size_t bytes = 0
    if e.params.maxmemory_clients and c.cls != CLASS_REPLICA and c.cls != CLASS_PRIMARY:
        if not c.flags & (CLIENT_NO_EVICT | CLIENT_CLOSE_ASAP):
            bytes = client_memory(c)
    e.clients.evictable_memory += bytes - c.accounted
    c.accounted = bytes


cdef void clients_account(engine_t* e) noexcept nogil:
    cdef client_t* c = client_first(e)
    while c != NULL:
        client_account(c)
        c = client_next(c)
    engine_wake(e)


cdef inline int _size_class(size_t bytes) noexcept nogil:
    """Powers of two from 32 KB to 8 GB, as in Valkey."""
    return max(SIZE_CLASS_MIN, min(64 - cf_clz64(bytes), SIZE_CLASS_MAX)) - SIZE_CLASS_MIN if bytes else 0


cdef void clients_evict(engine_t* e) noexcept nogil:
    """Whole size classes from the largest down, and of the last one as many as are needed."""
    cdef size_t classes[19]  # SIZE_CLASSES: bytes accounted in each
    cdef size_t limit = e.params.maxmemory_clients
    cdef size_t left = e.clients.evictable_memory
    cdef int last = SIZE_CLASSES - 1
    cdef client_t* c = client_first(e)
    if limit == 0 or left <= limit:
        return
    memset(classes, 0, sizeof(classes))
    while c != NULL:
        classes[_size_class(c.accounted)] += c.accounted
        c = client_next(c)
    while left - classes[last] > limit:
        left -= classes[last]
        last -= 1
    c = client_first(e)
    while c != NULL:
        if c.accounted and (_size_class(c.accounted) > last
                            or _size_class(c.accounted) == last and left > limit):
            if _size_class(c.accounted) == last:
                left -= c.accounted
            e.stats.evicted_clients += 1
            client_close_asap(c)
            client_account(c)
        c = client_next(c)


cdef void clients_cron(engine_t* e) noexcept nogil:
    cdef client_t* c = client_first(e)
    cdef int64_t limit_ms = e.params.timeout * 1000
    if e.monotonic_ms - e.clients.maxima_since_ms >= MAXIMA_MS:
        e.clients.maxima_since_ms = e.monotonic_ms
        e.clients.earlier_largest_input = e.stats.largest_input
        e.clients.earlier_largest_output = e.stats.largest_output
        e.stats.largest_input = e.stats.largest_output = 0
    while c != NULL:
        if c.out.bytes:
            client_check_output_limit(c, 0)
        if e.params.maxmemory_clients:
            client_account(c)
        if (limit_ms and c.cls == CLASS_NORMAL and not c.flags & (CLIENT_BLOCKED | CLIENT_HELD | CLIENT_MONITOR)
                and e.now_ms - c.last_interaction_ms > limit_ms):
            client_close_asap(c)
        c = client_next(c)
