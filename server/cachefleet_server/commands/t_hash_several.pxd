"""Some fields at once, with their expiry: HGETEX, HSETEX, HGETDEL."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_hash_several(engine_t* e) except -1
