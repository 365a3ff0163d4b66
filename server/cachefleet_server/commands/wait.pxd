"""WAIT and WAITAOF."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_wait(engine_t* e) except -1
