"""Commands as bytes; see command.pxd."""

from cachefleet_server.ds.buf cimport buf_put, buf_reserve
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, int64_to_chars


cdef size_t command_header(buf_t* out, char type_byte, int64_t n) noexcept nogil:
    cdef char* start = buf_reserve(out, HEADER_MAX)
    cdef size_t size = header_write(start, type_byte, n) - start
    out.len += size
    return size


cdef void command_word(buf_t* out, const char* p, size_t n) noexcept nogil:
    command_header(out, c"$", n)
    buf_put(out, p, n)
    buf_put(out, b"\r\n", 2)


cdef void command_number(buf_t* out, int64_t v) noexcept nogil:
    cdef char digits[INT64_CHARS_MAX]
    command_word(out, digits, int64_to_chars(digits, v))
