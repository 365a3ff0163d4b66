"""XREAD and XREADGROUP."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_stream_read(engine_t* e) except -1
