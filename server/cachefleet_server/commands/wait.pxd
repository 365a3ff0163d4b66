"""WAIT and WAITAOF; how long they, and readers of streams, wait."""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t

cdef int register_wait(engine_t* e) except -1
cdef bint timeout_ms_or_reply(client_t* c, const arg_t* a, int64_t* until_ms) noexcept nogil
    # Of milliseconds. Unix time in ms; 0: for ever. False after replying that it is none.
