"""Entries as the commands that make them again: the base of an AOF under `aof-use-rdb-preamble no`.

What the value's type saves as commands (core/types.pxd), then PEXPIREAT where the key expires. LRU and LFU bits are not
kept. Large strings are lent (core/rdb.pxd), as in RDB records.
"""

from cachefleet_server.core.engine cimport engine_t, rdb_out_t
from cachefleet_server.core.entry cimport entry_t

cdef void rewrite_select(rdb_out_t* out, int dbid) noexcept nogil
cdef void rewrite_entry(rdb_out_t* out, engine_t* e, const entry_t* entry) noexcept nogil
cdef void rewrite_expiry(rdb_out_t* out, const entry_t* entry) noexcept nogil  # nothing for a key that stays
