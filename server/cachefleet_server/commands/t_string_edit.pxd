"""Parts of strings, and strings as numbers."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_string_edit(engine_t* e) except -1
