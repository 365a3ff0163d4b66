"""Strings as a data type: their row (core/types.pxd). What is done to entries of strings is in entry.pxd."""

from cachefleet_server.core.engine cimport engine_t

cdef void register_string_type(engine_t* e) noexcept nogil
