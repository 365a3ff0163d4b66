"""Commands on keys of any type and on whole databases."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_generic(engine_t* e) except -1
