"""MULTI, EXEC, DISCARD, WATCH, UNWATCH."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_multi(engine_t* e) except -1
