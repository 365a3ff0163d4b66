"""Commands on keys of any type and on whole databases."""

from cachefleet_server.core.engine cimport arg_t, client_t, db_t, engine_t
from cachefleet_server.core.entry cimport entry_t
from libc.stdint cimport int64_t

cdef int register_generic(engine_t* e) except -1
cdef entry_t* entry_dup(engine_t* e, const entry_t* entry, const char* key, size_t nk, int64_t expire_ms) noexcept nogil
    # A deep copy of the value under another key, in the same encoding. NULL when the type cannot be copied.
