"""Unions, intersections and differences of sorted sets and sets."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_zset_algebra(engine_t* e) except -1
