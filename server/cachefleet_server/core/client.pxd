"""Small operations on clients that every layer above needs: waking, resuming, closing."""

from posix.unistd cimport write

from cachefleet_server.core.engine cimport (
    CLIENT_CLOSE_ASAP, CLIENT_PENDING_READ, client_t, engine_t)
from libc.stdint cimport uint64_t

cdef inline void engine_wake(engine_t* e) noexcept nogil:
    """Makes a tick happen soon. Needed when output or work is created outside of a tick."""
    cdef uint64_t one = 1
    if not e.wake_pending and e.wake_fd >= 0:
        e.wake_pending = True
        write(e.wake_fd, &one, 8)

cdef inline void client_resume(client_t* c) noexcept nogil:
    """The client is no longer blocked: the next tick parses what input it has."""
    if not c.flags & CLIENT_PENDING_READ:
        c.flags |= CLIENT_PENDING_READ
        c.next_resumed = c.engine.resumed
        c.engine.resumed = c
        engine_wake(c.engine)

cdef inline void client_close_asap(client_t* c) noexcept nogil:
    """Frees the client at the end of the tick; nothing more is executed or written for it."""
    if not c.flags & CLIENT_CLOSE_ASAP:
        c.flags |= CLIENT_CLOSE_ASAP
        c.engine.close_count += 1
        engine_wake(c.engine)
