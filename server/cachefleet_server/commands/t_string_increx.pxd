"""INCREX."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_string_increx(engine_t* e) except -1
