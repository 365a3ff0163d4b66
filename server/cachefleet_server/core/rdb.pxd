"""RDB primitives: length codes, strings, key-value records; what DUMP, snapshots and types share.

Writing appends to a rdb_out_t (core/engine.pxd) in memory; who owns it writes it out. Reading is from
memory (a mapped file or a RESTORE payload) with bounds on every read: after the first error `rdb_in_t.error`
holds a text, and all further reads return zeros.

Whoever writes a rdb_out_t out looks at its marks: a string that is lent follows its length code, and one to compress
may be replaced, with its length code, by `rdb_compress_string` of it. Lent blobs have to be released.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from cachefleet_server.core.engine cimport engine_t, rdb_in_t, rdb_out_t
from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    RDB_DIALECT_REDIS = 0  # "REDIS0011": every type byte here is readable by Redis 7.2+ and Valkey
    RDB_DIALECT_REDIS70 = 1  # "REDIS0010": readable by Redis 7.0
    RDB_DIALECT_VALKEY = 2  # "VALKEY080"
    RDB_DIALECT_OWN = 3  # "CFLEET001": Valkey's, and what no other server has: times of members of sets
    RDB_DIALECTS = 4

    RDB_VERSION_VALKEY = 80
    RDB_VERSION_OWN = 0xCF01  # in DUMP's footers: above all that Redis and Valkey take
    RDB_VERSION_REDIS_MAX = 15  # the newest one whose type bytes rdb_get_entry can name (Redis 8.10)

    RDB_COMPRESS_MIN = 21  # bytes; shorter strings are never compressed
    RDB_COMPRESS_MAX = 33554432  # bytes; longer ones would cost as much memory again while they are compressed
    RDB_COMPRESS_ROOM = 24  # bytes that rdb_compress_string may need beyond the string's length

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

cdef extern from *:
    """
    #define RDB_ERROR_SHORT "unexpected end of data"
    #define RDB_ERROR_LENGTH "invalid length code"
    #define RDB_ERROR_STRING "invalid string encoding"
    #define RDB_ERROR_LZF "corrupt compressed string"
    #define RDB_ERROR_TOO_LONG "string longer than allowed"
    #define RDB_ERROR_MEMORY "not enough memory for a string"
    #define RDB_ERROR_EMPTY "collection without elements"
    #define RDB_ERROR_TYPE "value type that is not supported by this version"
    """
    const char* RDB_ERROR_SHORT
    const char* RDB_ERROR_LENGTH
    const char* RDB_ERROR_STRING
    const char* RDB_ERROR_LZF
    const char* RDB_ERROR_TOO_LONG
    const char* RDB_ERROR_MEMORY
    const char* RDB_ERROR_EMPTY  # all of it was read: a file goes on behind it, as in Valkey
    const char* RDB_ERROR_TYPE

cdef void rdb_out_init(rdb_out_t* out, heap_t* heap, int dialect) noexcept nogil  # neither marks nor compresses
cdef void rdb_out_free(rdb_out_t* out) noexcept nogil
cdef int rdb_dialect_version(int dialect) noexcept nogil  # the number in DUMP's footers, and in most headers

cdef inline bint rdb_dialect_is_valkey(int dialect) noexcept nogil:
    """Bytes 22 and 243 mean what they mean to Valkey."""
    return dialect == RDB_DIALECT_VALKEY or dialect == RDB_DIALECT_OWN

cdef inline bint rdb_version_is_valkey(int version) noexcept nogil:
    """The same of a DUMP's footer."""
    return version == RDB_VERSION_VALKEY or version == RDB_VERSION_OWN

cdef inline bint rdb_version_is_known(int version) noexcept nogil:
    return 0 <= version <= RDB_VERSION_REDIS_MAX or rdb_version_is_valkey(version)

cdef void rdb_put_length(rdb_out_t* out, uint64_t n) noexcept nogil
cdef void rdb_put_int64(rdb_out_t* out, int64_t v) noexcept nogil  # eight bytes, little-endian
cdef void rdb_put_string(rdb_out_t* out, const char* p, size_t n) noexcept nogil  # int-coded, marked or raw
cdef blob_t* rdb_lendable(const rdb_out_t* out, const entry_t* entry) noexcept nogil
    # The value, if it is a string long enough to be lent; else NULL.
cdef void rdb_put_lent(rdb_out_t* out, blob_t* blob, size_t head, bint compress) noexcept nogil
    # Shares the blob instead of copying it. Its length code is the last `head` bytes of buf.
cdef void rdb_put_int_string(rdb_out_t* out, int64_t v) noexcept nogil
cdef void rdb_put_head(rdb_out_t* out, engine_t* e, const entry_t* entry, int type_byte) noexcept nogil
    # [expire] [idle|freq] type key
cdef void rdb_put_entry(rdb_out_t* out, engine_t* e, const entry_t* entry) noexcept nogil  # head and value
cdef void rdb_put_value(rdb_out_t* out, engine_t* e, const entry_t* entry) noexcept nogil  # type byte and value: DUMP
cdef size_t rdb_compress_string(char* dst, const char* p, size_t n) noexcept nogil
    # Writes a compressed string with its header to dst, which has n + RDB_COMPRESS_ROOM bytes; the bytes written, or 0
    # when that is not shorter than the plain form.
cdef size_t rdb_length_size(uint64_t n) noexcept nogil  # bytes of the length code of n

cdef void rdb_in_init(rdb_in_t* in_, heap_t* heap, const void* p, size_t n) noexcept nogil
cdef uint8_t rdb_get_byte(rdb_in_t* in_) noexcept nogil
cdef uint64_t rdb_get_length(rdb_in_t* in_, bint* special) noexcept nogil
cdef int64_t rdb_get_int64(rdb_in_t* in_) noexcept nogil
cdef char* rdb_get_string(rdb_in_t* in_, size_t* n) noexcept nogil
    # A fresh copy (zmalloc, the caller frees it), decompressed; NULL after an error.
cdef const char* rdb_view_string(rdb_in_t* in_, size_t* n, char** owned) noexcept nogil
    # No copy when the string is stored plain (*owned is NULL); otherwise *owned must be freed. NULL after an error.
cdef void rdb_skip_string(rdb_in_t* in_) noexcept nogil
cdef void rdb_refuse(rdb_in_t* in_, const char* text) noexcept nogil  # an error here, unless there was one
cdef const char* rdb_type_name(int type_byte, bint valkey) noexcept nogil
    # For "not supported" messages; NULL = unknown.
cdef int rdb_dialect_of(engine_t* e, const entry_t* entry) noexcept nogil  # the oldest one that can hold the value
cdef int rdb_dialect_of_all(engine_t* e) noexcept nogil  # ... everything that is in memory
cdef bint rdb_is_type(engine_t* e, int type_byte) noexcept nogil  # a known value type rather than an opcode or garbage
cdef entry_t* rdb_get_entry(
    rdb_in_t* in_, engine_t* e, int type_byte, const char* key, size_t nk, int64_t expire_ms) noexcept nogil
    # Reads a value of this type and makes the entry; NULL after an error.
cdef entry_t* rdb_get_string_entry(rdb_in_t* in_, const char* key, size_t nk, int64_t expire_ms) noexcept nogil
    # The same, of a string's value.
