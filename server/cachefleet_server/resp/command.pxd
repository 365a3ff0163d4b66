"""Commands as bytes: the canonical RESP form that journals, AOF bases and replies' headers are written in.

    *3 CR LF  $3 CR LF SET CR LF  $1 CR LF k CR LF  $1 CR LF v CR LF
"""

from libc.stdint cimport int64_t, uint64_t

from cachefleet_server.ds.buf cimport buf_t

cdef enum:
    HEADER_MAX = 24  # bytes of a type byte, an int64 and CR LF, rounded up

cdef inline int _digits(uint64_t v) noexcept nogil:
    cdef int n = 1
    while v >= 10000:
        v //= 10000
        n += 4
    return n + (v >= 10) + (v >= 100) + (v >= 1000)

cdef inline int header_len(uint64_t n) noexcept nogil:
    return 1 + _digits(n) + 2

cdef inline char* header_write(char* at, char type_byte, int64_t n) noexcept nogil:
    """Type byte, number, CR LF, at most HEADER_MAX bytes; where they end."""
    cdef uint64_t v = <uint64_t>n
    cdef char* end
    at[0] = type_byte
    at += 1
    if n < 0:
        at[0] = c"-"
        at += 1
        v = 0 - v
    at += _digits(v)
    end = at
    while True:
        at -= 1
        at[0] = <char>(c"0" + v % 10)
        v //= 10
        if v == 0:
            break
    end[0] = c"\r"
    end[1] = c"\n"
    return end + 2

cdef size_t command_header(buf_t* out, char type_byte, int64_t n) noexcept nogil
    # "*" and the count of words begins a command, "$" and a length a word whose bytes and CR LF the caller adds; how
    # many bytes the header has.
cdef void command_word(buf_t* out, const char* p, size_t n) noexcept nogil
cdef void command_number(buf_t* out, int64_t v) noexcept nogil  # a word of digits
