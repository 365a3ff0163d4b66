"""Commands about the time to live of a key."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_expire(engine_t* e) except -1
