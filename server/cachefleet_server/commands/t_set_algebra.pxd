"""SINTER, SUNION, SDIFF, their STORE forms, and SINTERCARD."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_set_algebra(engine_t* e) except -1
