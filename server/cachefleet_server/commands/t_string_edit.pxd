"""Parts of strings, and strings as numbers."""

from cachefleet_server.core.engine cimport arg_t, client_t, engine_t
from cachefleet_server.core.entry cimport entry_t

cdef int register_string_edit(engine_t* e) except -1
cdef void store_text(client_t* c, arg_t* key, entry_t* old, const char* text, size_t n) noexcept nogil
    # Stores text that stays text although it may look like an integer; keeps the expiry. `old` from lookup_write.
