"""BITFIELD; see t_bitmap.pxd."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_bitmap_field(engine_t* e) except -1
