"""HyperLogLog commands: strings of the form that ds/hyperloglog.pxd describes."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_hyperloglog(engine_t* e) except -1
