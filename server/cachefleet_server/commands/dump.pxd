"""DUMP and RESTORE."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_dump(engine_t* e) except -1
