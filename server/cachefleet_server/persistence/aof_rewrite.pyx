"""Entries as commands; see aof_rewrite.pxd."""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport buf_t
from cachefleet_server.core.entry cimport (
    E_EXPIRE, OBJ_STRING, entry_encoding, entry_expire, entry_key, entry_payload, entry_string_copy, entry_type)
from cachefleet_server.core.rdb cimport rdb_lendable, rdb_put_lent
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.buf cimport buf_put, buf_reserve
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, int64_to_chars


cdef size_t _put_header(buf_t* out, char type_byte, int64_t n) noexcept nogil:
    """Type byte, number, CR LF; how many bytes that is."""
    cdef char* at = buf_reserve(out, INT64_CHARS_MAX + 3)
    cdef size_t size = 1 + int64_to_chars(at + 1, n)
    at[0] = type_byte
    at[size] = c"\r"
    at[size + 1] = c"\n"
    out.len += size + 2
    return size + 2


cdef void _put_bulk(buf_t* out, const char* p, size_t n) noexcept nogil:
    _put_header(out, c"$", n)
    buf_put(out, p, n)
    buf_put(out, b"\r\n", 2)


cdef void _put_number(buf_t* out, int64_t v) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    _put_bulk(out, digits, int64_to_chars(digits, v))


cdef void _put_string(rdb_out_t* out, const entry_t* entry) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    cdef const char* p
    cdef size_t n
    cdef blob_t* blob = rdb_lendable(out, entry)
    if blob != NULL:
        rdb_put_lent(out, blob, _put_header(&out.buf, c"$", blob.len), False)
        buf_put(&out.buf, b"\r\n", 2)
    else:
        n = entry_string_copy(entry, digits, &p)
        _put_bulk(&out.buf, p, n)


cdef void rewrite_select(rdb_out_t* out, int dbid) noexcept nogil:
    _put_header(&out.buf, c"*", 2)
    _put_bulk(&out.buf, b"SELECT", 6)
    _put_number(&out.buf, dbid)


cdef void rewrite_entry(rdb_out_t* out, engine_t* e, const entry_t* entry) noexcept nogil:
    cdef size_t nk
    cdef const char* key = entry_key(entry, &nk)
    cdef int type = entry_type(entry)
    out.delay_us += e.params.rdb_key_save_delay
    if type == OBJ_STRING:
        _put_header(&out.buf, c"*", 3)
        _put_bulk(&out.buf, b"SET", 3)
        _put_bulk(&out.buf, key, nk)
        _put_string(out, entry)
    else:
        e.types[type].rewrite_fn(&out.buf, key, nk, entry_encoding(entry), entry_payload(entry)[0])
    if entry.flags & E_EXPIRE:
        _put_header(&out.buf, c"*", 3)
        _put_bulk(&out.buf, b"PEXPIREAT", 9)
        _put_bulk(&out.buf, key, nk)
        _put_number(&out.buf, entry_expire(entry))
