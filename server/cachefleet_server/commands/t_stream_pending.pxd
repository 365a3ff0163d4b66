"""XPENDING, XCLAIM and XAUTOCLAIM."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_stream_pending(engine_t* e) except -1
