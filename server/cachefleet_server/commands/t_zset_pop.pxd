"""The first and last members of sorted sets, and clients that wait for them."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_zset_pop(engine_t* e) except -1
