"""Reading streams from files and payloads; see stream_type.pxd."""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport engine_t, rdb_in_t
from cachefleet_server.core.entry cimport entry_t

cdef enum:
    RDB_STREAM = 15
    RDB_STREAM_2 = 19  # has `first`, `max_deleted`, `added`, and how many entries a group has read
    RDB_STREAM_3 = 21  # ... and when a consumer was active
    RDB_STREAM_IDMP = 61  # of our own dialect: ... and what producers sent lately

cdef entry_t* stream_load(
    engine_t* e, rdb_in_t* in_, int type_byte, const char* key, size_t nk, int64_t expire_ms) noexcept nogil
