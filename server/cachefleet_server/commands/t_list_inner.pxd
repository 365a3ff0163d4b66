"""Elements of lists that are found by their place or value."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_list_inner(engine_t* e) except -1
