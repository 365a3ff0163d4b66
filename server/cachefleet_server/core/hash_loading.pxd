"""Hashes from RDB bytes: the load_fn of their row. The bytes are untrusted."""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport engine_t, rdb_in_t
from cachefleet_server.core.entry cimport entry_t

cdef enum:  # RDB type bytes
    RDB_HASH = 4
    RDB_HASH_ZIPMAP = 9
    RDB_HASH_ZIPLIST = 13
    RDB_HASH_LISTPACK = 16

cdef entry_t* hash_load(
    engine_t* e, rdb_in_t* in_, int type_byte, const char* key, size_t nk, int64_t expire_ms) noexcept nogil
