"""Searches of the geo family; see t_geo.pxd."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_geo_search(engine_t* e) except -1
