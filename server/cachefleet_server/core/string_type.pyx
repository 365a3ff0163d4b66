"""The row of strings; see string_type.pxd.

A string is saved in one step, whatever its size: a long one is lent to the writer thread (core/rdb.pxd), so nothing of
it is copied.
"""

from libc.stdint cimport int64_t, uint8_t

from cachefleet_server.core.digest cimport digest_mix
from cachefleet_server.core.engine cimport rdb_in_t, rdb_out_t, save_t, type_ops_t
from cachefleet_server.core.entry cimport (
    ENC_EMBSTR, ENC_INT, ENC_RAW, OBJ_STRING, entry_blob, entry_bytes, entry_dup_string, entry_encoding, entry_int,
    entry_key, entry_string_copy, entry_t)
from cachefleet_server.core.rdb cimport (
    RDB_TYPE_STRING, rdb_get_string_entry, rdb_length_size, rdb_lendable, rdb_put_int_string, rdb_put_lent,
    rdb_put_length, rdb_put_string)
from cachefleet_server.core.types cimport type_register, type_row
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.buf cimport buf_put
from cachefleet_server.ds.intrin cimport cf_usable_size
from cachefleet_server.ds.number cimport INT64_CHARS_MAX
from cachefleet_server.ds.owners cimport owner_drop
from cachefleet_server.ds.zmalloc cimport heap_t
from cachefleet_server.resp.command cimport command_header, command_word

cdef enum:
    EFFORT_BYTES = 65536  # of a string that the kernel unmaps in the time that freeing one allocation takes


cdef void _free(type_ops_t* ops, heap_t* h, entry_t* entry) noexcept nogil:
    owner_drop(h, entry_blob(entry))


cdef size_t _effort(const entry_t* entry) noexcept nogil:
    cdef blob_t* blob = entry_blob(entry)
    return 1 if blob == NULL else 1 + blob.len // EFFORT_BYTES


cdef entry_t* _dup(engine_t* e, const entry_t* entry, const char* key, size_t nk) noexcept nogil:
    return entry_dup_string(e.heap, entry, key, nk, -1)


cdef size_t _memory(engine_t* e, const entry_t* entry, size_t samples) noexcept nogil:
    cdef blob_t* blob = entry_blob(entry)
    return 0 if blob == NULL else cf_usable_size(blob)


cdef void _digest(engine_t* e, const entry_t* entry, uint8_t* digest) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef const char* p
    cdef size_t n = entry_string_copy(entry, digits, &p)
    digest_mix(digest, p, n)


cdef entry_t* _load(
    engine_t* e, rdb_in_t* in_, int type_byte, const char* key, size_t nk, int64_t expire_ms
) noexcept nogil:
    return rdb_get_string_entry(in_, key, nk, expire_ms)


cdef int _rdb_type(const entry_t* entry, int dialect) noexcept nogil:
    return RDB_TYPE_STRING


cdef bint _save(save_t* s) noexcept nogil:
    cdef rdb_out_t* out = s.out
    cdef blob_t* blob
    cdef const char* p
    cdef size_t n
    if s.commands:
        _save_command(out, s.entry)
    elif entry_encoding(s.entry) == ENC_INT:
        rdb_put_int_string(out, entry_int(s.entry))
    else:
        blob = rdb_lendable(out, s.entry)
        if blob != NULL:
            rdb_put_length(out, blob.len)
            rdb_put_lent(out, blob, rdb_length_size(blob.len), out.mark_strings)
        else:
            p = entry_bytes(s.entry, &n)
            rdb_put_string(out, p, n)
    return False


cdef void _save_command(rdb_out_t* out, const entry_t* entry) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef blob_t* blob = rdb_lendable(out, entry)
    cdef const char* p
    cdef size_t n
    command_header(&out.buf, c"*", 3)
    command_word(&out.buf, b"SET", 3)
    p = entry_key(entry, &n)
    command_word(&out.buf, p, n)
    if blob != NULL:
        rdb_put_lent(out, blob, command_header(&out.buf, c"$", blob.len), False)
        buf_put(&out.buf, b"\r\n", 2)
    else:
        n = entry_string_copy(entry, digits, &p)
        command_word(&out.buf, p, n)


cdef void register_string_type(engine_t* e) noexcept nogil:
    cdef type_ops_t* row = type_row(e, OBJ_STRING)
    row.name = b"string"
    row.encodings[ENC_RAW] = b"raw"
    row.encodings[ENC_INT] = b"int"
    row.encodings[ENC_EMBSTR] = b"embstr"
    row.rdb_bytes = 1 << RDB_TYPE_STRING
    row.free_fn = _free
    row.effort_fn = _effort
    row.dup_fn = _dup
    row.memory_fn = _memory
    row.digest_fn = _digest
    row.load_fn = _load
    row.rdb_type_fn = _rdb_type
    row.save_step_fn = _save
    type_register(e, OBJ_STRING)
