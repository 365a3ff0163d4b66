"""The tick: everything that happens between two returns to the event loop."""

from cachefleet_server.core.engine cimport engine_t

cdef int reactor_open(engine_t* e) noexcept nogil  # epoll, eventfd, shared buffers; 0 or an errno
cdef void reactor_close(engine_t* e) noexcept nogil  # frees all clients
cdef void reactor_tick(engine_t* e) noexcept nogil
cdef void reactor_cron(engine_t* e) noexcept nogil  # hz times a second
cdef void end_of_batch(engine_t* e) noexcept nogil
cdef void run_slice(engine_t* e) noexcept nogil
