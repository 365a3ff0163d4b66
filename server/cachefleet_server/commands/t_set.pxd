"""Set commands: what the files of the family share.

    t_set.pyx          members: SADD, SREM, SMOVE, SPOP ...
    t_set_algebra.pyx  several sets: SINTER, SUNION, SDIFF ...

A write goes: look up, change the value (core/set_value.pxd), db_replace with the entry's new address, events, the end
of a set that is empty, and then whoever is interested in the key hears of it.
"""

from cachefleet_server.core.engine cimport client_t, engine_t
from cachefleet_server.core.entry cimport entry_t

cdef int register_set(engine_t* e) except -1
cdef void reply_whole_set(client_t* c, const entry_t* entry) noexcept nogil  # NULL: an empty one
