"""Rows of the command table that are Python, and the hooks that tell Python what happens in the engine."""

from cachefleet_server.core.engine cimport client_t, engine_t

cdef class Rows:
    cdef engine_t* ptr  # NULL after Engine.close()
    cdef set tasks  # of rows that are awaited
    cdef public object on_commandlog
    cdef public object on_monitor
    cdef public object on_latency
    cdef public object on_row_failed  # (client, argv, exception): a row raised something unexpected
    cdef void install(self) noexcept  # the hooks of `ptr`; the Rows must live as long as that
