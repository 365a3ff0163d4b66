"""Names of the engine's plain fields, for the facade."""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.core.engine cimport engine_t

cdef dict STATS  # name -> offset in stats_t

cdef int64_t* param_at(engine_t* e, str name) except NULL  # KeyError: there is none of that name
cdef uint64_t* stat_at(engine_t* e, str name) except NULL
cdef int set_persist(engine_t* e, str name, int64_t value) except -1
cdef int set_defaults(engine_t* e) except -1  # the parameters' values until something sets them
