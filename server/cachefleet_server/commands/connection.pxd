"""Commands about the connection itself."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_connection(engine_t* e) except -1
