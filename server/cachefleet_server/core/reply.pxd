"""Replies of the running command: the writer's functions bound to a client.

Every command replies through these: they honour CLIENT REPLY OFF/SKIP, count errors and put the client on
the list of those to write to. `reply_error` takes the text without the leading dash but with its prefix
("ERR syntax error"); texts that several commands share are in core/errors.pxd.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport strlen

from cachefleet_server.core.engine cimport (
    CLIENT_CLOSE_AFTER_REPLY, CLIENT_PENDING_WRITE, CLIENT_REPLY_OFF, CLIENT_REPLY_SKIP, arg_t, client_t, engine_t)
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.number cimport chars_to_int64
from cachefleet_server.resp.writer cimport (
    mark_t, out_array, out_bool, out_bulk, out_bulk_shared, out_double, out_insert, out_int, out_map, out_mark,
    out_null, out_null_array, out_push, out_raw, out_set, out_simple, out_verbatim)

cdef void count_errors(engine_t* e, const char* text, size_t n, uint64_t count) noexcept nogil
    # So many more error replies of the kind that the text's first word names.
cdef void reply_error(client_t* c, const char* text) noexcept nogil
cdef void reply_error_bytes(client_t* c, const char* text, size_t n) noexcept nogil
cdef void reply_error_format(client_t* c, const char* format, const char* a, size_t na) noexcept nogil
    # Replaces the first %s by at most 128 bytes of a. `format` has fewer than 384 bytes.
cdef void reply_error_quote(client_t* c, const char* format, const char* a, size_t na) noexcept nogil
    # Replaces the first %s by all of a up to its first zero byte, as Valkey prints a client's words without a limit.
cdef void reply_syntax_error(client_t* c) noexcept nogil
cdef void reply_wrong_arity(client_t* c) noexcept nogil
cdef void reply_protocol_error(client_t* c) noexcept nogil  # c.input.error; the client is closed after it
cdef void reply_client_ready(client_t* c) noexcept nogil  # puts c on the list of clients to write to

cdef void reply_skip_advance(client_t* c) noexcept nogil  # a command has ended: CLIENT REPLY SKIP silences one

cdef inline bint reply_begin(client_t* c) noexcept nogil:
    """False when the client wants no reply, or had its last one. Otherwise the client will be written to."""
    if c.flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_CLOSE_AFTER_REPLY):
        return False
    if not c.flags & CLIENT_PENDING_WRITE:
        reply_client_ready(c)
    return True

cdef inline void reply_ok(client_t* c) noexcept nogil:
    if reply_begin(c):
        out_raw(&c.out, b"+OK\r\n", 5)

cdef inline void reply_simple(client_t* c, const char* text) noexcept nogil:
    if reply_begin(c):
        out_simple(&c.out, text)

cdef inline void reply_int(client_t* c, int64_t v) noexcept nogil:
    if reply_begin(c):
        out_int(&c.out, v)

cdef inline void reply_bulk(client_t* c, const void* p, size_t n) noexcept nogil:
    if reply_begin(c):
        out_bulk(&c.out, p, n)

cdef inline void reply_shared(client_t* c, blob_t* blob, const char* p, size_t n) noexcept nogil:
    """n > 0 bytes at p, which lie in the blob, without copying them."""
    if reply_begin(c):
        out_bulk_shared(&c.out, blob, p, n)

cdef inline void reply_text(client_t* c, const char* text) noexcept nogil:
    """A bulk string from a C string."""
    if reply_begin(c):
        out_bulk(&c.out, text, strlen(text))

cdef inline void reply_null(client_t* c) noexcept nogil:
    if reply_begin(c):
        out_null(&c.out, c.resp)

cdef inline void reply_null_array(client_t* c) noexcept nogil:
    if reply_begin(c):
        out_null_array(&c.out, c.resp)

cdef inline void reply_bool(client_t* c, bint v) noexcept nogil:
    if reply_begin(c):
        out_bool(&c.out, c.resp, v)

cdef inline void reply_double(client_t* c, double v) noexcept nogil:
    if reply_begin(c):
        out_double(&c.out, c.resp, v)

cdef inline void reply_array(client_t* c, int64_t n) noexcept nogil:
    if reply_begin(c):
        out_array(&c.out, n)

cdef inline void reply_map(client_t* c, int64_t pairs) noexcept nogil:
    if reply_begin(c):
        out_map(&c.out, c.resp, pairs)

cdef inline void reply_set(client_t* c, int64_t n) noexcept nogil:
    if reply_begin(c):
        out_set(&c.out, c.resp, n)

# An aggregate whose length is known afterwards: m = reply_mark(c); elements; reply_insert(c, m, b'*', n).
cdef inline mark_t reply_mark(client_t* c) noexcept nogil:
    reply_begin(c)
    return out_mark(&c.out)

cdef inline void reply_insert(client_t* c, mark_t m, char type_byte, int64_t n) noexcept nogil:
    if not c.flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_CLOSE_AFTER_REPLY):
        out_insert(&c.out, m, type_byte, n)

# Arguments.
cdef bint arg_int64(client_t* c, const arg_t* a, int64_t* out) noexcept nogil
    # False after replying "ERR value is not an integer or out of range".
cdef inline bint arg_int64_from(
    client_t* c, const arg_t* a, int64_t least, int64_t* out, const char* text
) noexcept nogil:
    """An integer of at least `least`. False after replying that text."""
    if chars_to_int64(a.ptr, a.len, out) and out[0] >= least:
        return True
    reply_error(c, text)
    return False

cdef bint arg_is(const arg_t* a, const char* word) noexcept nogil
    # Case-insensitive comparison with an upper- or lower-case word.
