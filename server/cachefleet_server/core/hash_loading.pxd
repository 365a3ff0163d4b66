"""Hashes from RDB bytes: the load_fn of their row. The bytes are untrusted.

Forms: pairs, a zipmap, a ziplist, a listpack; pairs and triples with times. What is read goes into a pack as long as it
may be one, then into a table; a field that comes twice is refused in either. Fields whose time is over are read, and
removed as others are.
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport engine_t, rdb_in_t
from cachefleet_server.core.entry cimport entry_t

cdef enum:  # RDB type bytes
    RDB_HASH = 4
    RDB_HASH_ZIPMAP = 9
    RDB_HASH_ZIPLIST = 13
    RDB_HASH_LISTPACK = 16
    RDB_HASH_2 = 22  # of Valkey 9: pairs, each with its time
    RDB_HASH_METADATA = 24  # of Redis 7.4: a base, and pairs, each with its time from there before it
    RDB_HASH_LISTPACK_EX = 25  # the same: a time, and a listpack of triples

    METADATA_BASE = 1  # of ours: times are what they are

cdef entry_t* hash_load(
    engine_t* e, rdb_in_t* in_, int type_byte, const char* key, size_t nk, int64_t expire_ms) noexcept nogil
