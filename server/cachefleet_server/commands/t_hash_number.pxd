"""Values of fields as numbers: HINCRBY, HINCRBYFLOAT."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_hash_number(engine_t* e) except -1
