"""Replies of the running command: errors and their statistics, arguments; see reply.pxd."""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, strstr

from cachefleet_server.core.engine cimport (
    CLIENT_CLOSE_AFTER_REPLY, CLIENT_DEFERRED_REPLY_ERROR, CLIENT_FAILED, CLIENT_REPLY_SKIP_NEXT, ERROR_PREFIX_MAX,
    ERROR_PREFIXES_MAX, engine_t, error_stat_t)
from cachefleet_server.core.errors cimport ERR_NOT_INTEGER, ERR_SYNTAX
from cachefleet_server.ds.buf cimport buf_free, buf_init, buf_put, buf_t
from cachefleet_server.ds.intrin cimport cf_unlikely
from cachefleet_server.ds.number cimport chars_to_int64
from cachefleet_server.resp.writer cimport out_error

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char* s, size_t n)

cdef enum:
    ERROR_TEXT_MAX = 512  # bytes of a formatted error
    SHOWN_MAX = 128  # bytes of a client's own words in it


cdef void reply_client_ready(client_t* c) noexcept nogil:
    cdef engine_t* e = c.engine
    if c.fd < 0:  # whoever owns it takes its output
        return
    c.flags |= CLIENT_PENDING_WRITE
    c.next_pending = e.clients.pending_write
    e.clients.pending_write = c


cdef void reply_skip_advance(client_t* c) noexcept nogil:
    c.flags &= ~<uint64_t>CLIENT_REPLY_SKIP
    if c.flags & CLIENT_REPLY_SKIP_NEXT:
        c.flags = (c.flags & ~<uint64_t>CLIENT_REPLY_SKIP_NEXT) | CLIENT_REPLY_SKIP


cdef void count_errors(engine_t* e, const char* text, size_t n, uint64_t count) noexcept nogil:
    cdef const char* prefix = text
    cdef const char* space = <const char*>memchr(text, b' ', min(n, <size_t>ERROR_PREFIX_MAX + 1))
    cdef size_t size
    cdef error_stat_t* stat
    cdef int i
    if space == NULL:
        prefix = b"ERR"
        size = 3
    else:
        size = space - text
    e.stats.error_replies += count
    for i in range(e.error_kinds):
        stat = &e.errors[i]
        if stat.len == size and memcmp(stat.prefix, prefix, size) == 0:
            stat.count += count
            return
    if e.error_kinds == ERROR_PREFIXES_MAX:
        e.errors_overflow += count
        return
    stat = &e.errors[e.error_kinds]
    memcpy(stat.prefix, prefix, size)
    stat.prefix[size] = 0
    stat.len = <uint8_t>size
    stat.count = count
    e.error_kinds += 1


cdef void _keep_failure(client_t* c, const char* text, size_t n) noexcept nogil:
    """The first error of a role for which errors are fatal, after the name of the command that replied it."""
    if c.flags & CLIENT_FAILED:
        return
    c.flags |= CLIENT_FAILED
    if c.cmd != NULL:
        out_raw(&c.out, c.cmd.name, c.cmd.name_len)
        out_raw(&c.out, b": ", 2)
    out_raw(&c.out, text, n)


cdef void reply_error_bytes(client_t* c, const char* text, size_t n) noexcept nogil:
    """Errors of a role that counts are counted even when the client wants no replies."""
    c.flags |= CLIENT_DEFERRED_REPLY_ERROR
    if cf_unlikely(c.role.errors_fatal):
        _keep_failure(c, text, n)
        return
    if c.role.counts:
        count_errors(c.engine, text, n, 1)
    if reply_begin(c):
        out_error(&c.out, text, n)


cdef void reply_error(client_t* c, const char* text) noexcept nogil:
    reply_error_bytes(c, text, strlen(text))


cdef void reply_error_format(client_t* c, const char* format, const char* a, size_t na) noexcept nogil:
    cdef char text[ERROR_TEXT_MAX]
    cdef const char* at = strstr(format, b"%s")
    cdef size_t head = at - format
    cdef size_t shown = min(na, <size_t>SHOWN_MAX)
    cdef size_t tail = strlen(at + 2)
    memcpy(text, format, head)
    memcpy(text + head, a, shown)
    memcpy(text + head + shown, at + 2, tail)
    reply_error_bytes(c, text, head + shown + tail)


cdef void reply_error_quote(client_t* c, const char* format, const char* a, size_t na) noexcept nogil:
    cdef const char* at = strstr(format, b"%s")
    cdef buf_t text
    buf_init(&text, c.engine.heap)
    buf_put(&text, format, at - format)
    buf_put(&text, a, strnlen(a, na))
    buf_put(&text, at + 2, strlen(at + 2))
    while text.len and (text.data[text.len - 1] == b'\n' or text.data[text.len - 1] == b'\r'):
        text.len -= 1
    reply_error_bytes(c, text.data, text.len)
    buf_free(&text)


cdef void reply_syntax_error(client_t* c) noexcept nogil:
    reply_error(c, ERR_SYNTAX)


cdef void reply_wrong_arity(client_t* c) noexcept nogil:
    reply_error_format(c, b"ERR wrong number of arguments for '%s' command", c.cmd.name, c.cmd.name_len)


cdef void reply_protocol_error(client_t* c) noexcept nogil:
    reply_error_format(c, b"ERR Protocol error: %s", c.input.error, c.input.error_len)
    c.flags |= CLIENT_CLOSE_AFTER_REPLY


# ---- arguments -------------------------------------------------------------------------------------------

cdef bint arg_int64(client_t* c, const arg_t* a, int64_t* out) noexcept nogil:
    if chars_to_int64(a.ptr, a.len, out):
        return True
    reply_error(c, ERR_NOT_INTEGER)
    return False


cdef bint arg_is(const arg_t* a, const char* word) noexcept nogil:
    cdef size_t i
    cdef unsigned char x, y
    for i in range(a.len):
        x = a.ptr[i]
        y = word[i]
        if x != y:
            if (x ^ y) != 0x20 or not b'a' <= (x | 0x20) <= b'z':
                return False
        elif x == 0:  # both ended: the word is shorter
            return False
    return word[a.len] == 0
