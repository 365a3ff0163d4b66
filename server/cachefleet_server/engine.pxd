"""What compiled modules above the facade (persistence, later replication) may use of an Engine."""

from cachefleet_server.core.engine cimport client_t, engine_t
from cachefleet_server.resp.input cimport request_t

cdef class Engine:
    cdef engine_t* ptr  # NULL after close()
    cdef client_t* internal  # the in-process client; no socket
    cdef readonly int epoll_fd
    cdef set tasks  # of rows that are awaited
    cdef object __weakref__
    cdef public object on_commandlog
    cdef public object on_monitor
    cdef public object on_latency
    cdef public object on_row_failed  # (client, argv, exception): a Python row raised something unexpected
    cdef public object auth_hook
    cdef client_t* new_internal_client(self) noexcept  # freed with free_internal_client
    cdef void free_internal_client(self, client_t* c) noexcept
    cdef void run(self, client_t* c, request_t* request) noexcept nogil
        # Executes one request as if c had sent it; replies collect in c.out.
