"""Members of sorted sets between two places."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_zset_range(engine_t* e) except -1
