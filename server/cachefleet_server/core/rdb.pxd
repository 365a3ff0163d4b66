"""RDB primitives: length codes, strings, key-value records; what DUMP, snapshots and types share.

Writing appends to a rdb_out_t (core/engine.pxd) in memory; who owns it writes it out. Reading is from
memory (a mapped file or a RESTORE payload) with bounds on every read: after the first error `rdb_in_t.error`
holds a text, and all further reads return zeros.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from cachefleet_server.core.engine cimport engine_t, rdb_out_t, type_ops_t
from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    RDB_DIALECT_REDIS = 0  # "REDIS0011": every type byte here is readable by Redis 7.2+ and Valkey
    RDB_DIALECT_REDIS70 = 1  # "REDIS0010": readable by Redis 7.0
    RDB_DIALECT_VALKEY = 2  # "VALKEY080"
    RDB_DIALECTS = 3

    RDB_TYPE_STRING = 0
    RDB_OPCODE_SLOT_IMPORT = 243
    RDB_OPCODE_SLOT_INFO = 244
    RDB_OPCODE_FUNCTION2 = 245
    RDB_OPCODE_FUNCTION_PRE_GA = 246
    RDB_OPCODE_MODULE_AUX = 247
    RDB_OPCODE_IDLE = 248
    RDB_OPCODE_FREQ = 249
    RDB_OPCODE_AUX = 250
    RDB_OPCODE_RESIZEDB = 251
    RDB_OPCODE_EXPIRE_MS = 252
    RDB_OPCODE_EXPIRE = 253
    RDB_OPCODE_SELECTDB = 254
    RDB_OPCODE_EOF = 255

cdef struct rdb_in_t:
    const uint8_t* p
    const uint8_t* end
    const char* error  # NULL while all is well; static text
    heap_t* heap
    size_t string_max  # bytes; longer strings are an error
    int version  # RDB version of the file or footer
    bint valkey  # VALKEY magic, or version 80 and above: bytes 22 and 243 mean Valkey's

cdef void rdb_put_length(rdb_out_t* out, uint64_t n) noexcept nogil
cdef void rdb_put_string(rdb_out_t* out, const char* p, size_t n) noexcept nogil  # int-coded, marked or raw
cdef void rdb_put_int_string(rdb_out_t* out, int64_t v) noexcept nogil
cdef void rdb_put_entry(rdb_out_t* out, engine_t* e, const entry_t* entry) noexcept nogil
    # [expire] [idle|freq] type key value
cdef void rdb_put_value(rdb_out_t* out, engine_t* e, const entry_t* entry) noexcept nogil  # type byte and value: DUMP

cdef uint8_t rdb_get_byte(rdb_in_t* in_) noexcept nogil
cdef uint64_t rdb_get_length(rdb_in_t* in_, bint* special) noexcept nogil
cdef int64_t rdb_get_int64(rdb_in_t* in_) noexcept nogil
cdef char* rdb_get_string(rdb_in_t* in_, size_t* n) noexcept nogil
    # A fresh copy (zmalloc, the caller frees it), decompressed; NULL after an error.
cdef const char* rdb_view_string(rdb_in_t* in_, size_t* n, char** owned) noexcept nogil
    # No copy when the string is stored plain; otherwise *owned must be freed.
cdef const char* rdb_type_name(int type_byte) noexcept nogil  # for "not implemented yet" messages; NULL = unknown
cdef entry_t* rdb_get_entry(rdb_in_t* in_, engine_t* e, int type_byte, const char* key, size_t nk, int64_t expire_ms) noexcept nogil
    # Reads a value of this type and makes the entry; NULL after an error.
