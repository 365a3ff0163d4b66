"""What kind of client it is; see client_class.pxd."""

from cachefleet_server.core.engine cimport (
    CLASS_NORMAL, CLASS_PRIMARY, CLASS_REPLICA, CLIENT_CLOSE_ASAP, CLIENT_MONITOR, engine_t)
from cachefleet_server.core.wake cimport client_close_asap


cdef void client_set_class(client_t* c, int cls) noexcept nogil:
    cdef engine_t* e = c.engine
    if c.cls == cls:
        return
    if c.fd >= 0:
        e.clients.class_count[c.cls] -= 1
        e.clients.class_count[cls] += 1
    c.cls = cls
    c.soft_limit_on = False
    if cls == CLASS_REPLICA or cls == CLASS_PRIMARY:  # maxmemory-clients does not concern it
        e.clients.evictable_memory -= c.accounted
        c.accounted = 0


cdef void client_set_monitor(client_t* c, bint on) noexcept nogil:
    if on == ((c.flags & CLIENT_MONITOR) != 0):
        return
    c.flags ^= CLIENT_MONITOR
    if on:
        c.engine.clients.monitors += 1
    else:
        c.engine.clients.monitors -= 1


cdef void client_check_output_limit(client_t* c, size_t more) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef int cls = c.cls if c.cls != CLASS_PRIMARY else CLASS_NORMAL
    cdef size_t hard = e.params.output_limit_hard[cls]
    cdef size_t soft = e.params.output_limit_soft[cls]
    cdef size_t pending = c.out.bytes + more
    cdef bint over
    if c.cls == CLASS_REPLICA and hard < e.replicas.backlog_size and hard != 0:
        hard = e.replicas.backlog_size  # which it shares
    over = hard != 0 and pending > hard
    if soft != 0 and pending > soft:
        if not c.soft_limit_on:
            c.soft_limit_on = True
            c.soft_limit_since_ms = e.monotonic_ms
        elif e.monotonic_ms - c.soft_limit_since_ms > e.params.output_limit_soft_seconds[cls] * 1000:
            over = True
    else:
        c.soft_limit_on = False
    if over and not c.flags & CLIENT_CLOSE_ASAP:
        e.stats.output_buffer_disconnections += 1
        client_close_asap(c)
