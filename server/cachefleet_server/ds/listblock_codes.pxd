"""Entry codes of a listpack: one element as bytes, readable from both ends.

    code [content] back-length

    0xxxxxxx                      integer 0..127               11110001 + 2 bytes   integers of 16, 24, 32, 64 bits,
    110xxxxx xxxxxxxx             integer of 13 bits           11110010 + 3         little-endian
    10nnnnnn bytes                n < 64 bytes                 11110011 + 4
    1110nnnn nnnnnnnn bytes       n < 4096 bytes               11110100 + 8
    11110000 + 4 bytes n, bytes   longer

The back-length counts code and content, 7 bits a byte, the lowest last; all bytes but the first have the top bit set,
so that it is read from its end. Its size follows from its value, with the format's own odd limits.

A text that is an integer in the strict sense (ds/number: chars_to_int64) is always stored as the integer, as short as
can be, so two elements are equal if all their bytes are, and b"12" is 12. Untrusted bytes go through `lbc_check`.
"""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from cachefleet_server.ds.intrin cimport (
    cf_equal, cf_likely, cf_load16, cf_load32, cf_load64, cf_store16, cf_store32, cf_store64)
from cachefleet_server.ds.number cimport INT64_CHARS_MAX, chars_to_int64

cdef enum:
    LBC_STR6 = 0x80
    LBC_INT13 = 0xC0
    LBC_STR12 = 0xE0
    LBC_STR32 = 0xF0
    LBC_INT16 = 0xF1
    LBC_INT24 = 0xF2
    LBC_INT32 = 0xF3
    LBC_INT64 = 0xF4
    LBC_END = 0xFF  # behind the last entry of a listpack
    LBC_BODY_MAX = 0xFFFFFFFF  # bytes of code and content

cdef struct lb_value_t:  # an element
    const char* p  # NULL: the integer v
    size_t n
    int64_t v

cdef inline void lbc_value(const char* p, size_t n, lb_value_t* e) noexcept nogil:
    """The element that these bytes are; they are borrowed."""
    if n < INT64_CHARS_MAX and chars_to_int64(p, n, &e.v):
        e.p = NULL
        e.n = 0
    else:
        e.p = p
        e.n = n

cdef inline size_t lbc_back_size(size_t body) noexcept nogil:
    """Bytes of the back-length."""
    if cf_likely(body < 128):
        return 1
    return 2 if body < 16383 else 3 if body < 2097151 else 4 if body < 268435455 else 5

cdef inline size_t lbc_body(const lb_value_t* e) noexcept nogil:
    """Bytes of code and content."""
    cdef int64_t v = e.v
    if e.p != NULL:
        return e.n + (1 if e.n < 64 else 2 if e.n < 4096 else 5)
    if -4096 <= v < 4096:
        return 1 if 0 <= v < 128 else 2
    if v == <int16_t>v:
        return 3
    if -8388608 <= v < 8388608:
        return 4
    return 5 if v == <int32_t>v else 9

cdef inline size_t lbc_size(const lb_value_t* e) noexcept nogil:
    """Bytes of the whole entry. The element has at most LBC_BODY_MAX - 5 bytes."""
    cdef size_t body = lbc_body(e)
    return body + lbc_back_size(body)

cdef inline uint8_t* _lbc_put_back(uint8_t* out, size_t body) noexcept nogil:
    cdef size_t n = lbc_back_size(body)
    cdef size_t i = n
    while i:
        i -= 1
        out[i] = (body & 127) | (128 if i else 0)
        body >>= 7
    return out + n

cdef inline char* lbc_put(char* to, const lb_value_t* e) noexcept nogil:
    """Writes the entry; lbc_size bytes. Returns their end."""
    cdef uint8_t* out = <uint8_t*>to
    cdef size_t body = lbc_body(e)
    cdef int64_t v = e.v
    if e.p != NULL:
        if e.n < 64:
            out[0] = LBC_STR6 | e.n
        elif e.n < 4096:
            out[0] = LBC_STR12 | (e.n >> 8)
            out[1] = e.n & 0xFF
        else:
            out[0] = LBC_STR32
            cf_store32(out + 1, <uint32_t>e.n)
        memcpy(out + body - e.n, e.p, e.n)
    elif body == 1:
        out[0] = v
    elif body == 2:
        out[0] = LBC_INT13 | ((v >> 8) & 31)
        out[1] = v & 0xFF
    elif body == 3:
        out[0] = LBC_INT16
        cf_store16(out + 1, v)
    elif body == 4:
        out[0] = LBC_INT24
        cf_store16(out + 1, v)
        out[3] = (v >> 16) & 0xFF
    elif body == 5:
        out[0] = LBC_INT32
        cf_store32(out + 1, v)
    else:
        out[0] = LBC_INT64
        cf_store64(out + 1, v)
    return <char*>_lbc_put_back(out + body, body)

cdef inline size_t lbc_body_at(const char* at) noexcept nogil:
    """Bytes of code and content of the entry that begins here."""
    cdef const uint8_t* p = <const uint8_t*>at
    cdef uint8_t c = p[0]
    if c < LBC_STR6:
        return 1
    if c < LBC_INT13:
        return 1 + (c & 63)
    if c < LBC_STR12:
        return 2
    if c < LBC_STR32:
        return 2 + ((<size_t>(c & 15) << 8) | p[1])
    if c == LBC_STR32:
        return 5 + <size_t>cf_load32(p + 1)
    return c - 0xEE if c < LBC_INT64 else 9

cdef inline const char* lbc_next(const char* at) noexcept nogil:
    """The entry behind the one that begins here."""
    cdef size_t body = lbc_body_at(at)
    return at + body + lbc_back_size(body)

cdef inline const char* lbc_previous(const char* end) noexcept nogil:
    """The entry that ends here."""
    cdef const uint8_t* p = <const uint8_t*>end - 1
    cdef size_t body = p[0] & 127
    cdef int shift = 0
    while p[0] & 128:
        p -= 1
        shift += 7
        body |= <size_t>(p[0] & 127) << shift
    return <const char*>p - body

cdef inline void lbc_get(const char* at, lb_value_t* e) noexcept nogil:
    """The element that begins here; its bytes are borrowed."""
    cdef const uint8_t* p = <const uint8_t*>at
    cdef uint8_t c = p[0]
    e.p = NULL
    e.n = 0
    if c < LBC_STR6:
        e.v = c
    elif c < LBC_INT13:
        e.p = at + 1
        e.n = c & 63
    elif c < LBC_STR12:
        e.v = <int64_t>(<int8_t>(c << 3) >> 3) * 256 + p[1]
    elif c < LBC_STR32:
        e.p = at + 2
        e.n = (<size_t>(c & 15) << 8) | p[1]
    elif c == LBC_STR32:
        e.p = at + 5
        e.n = cf_load32(p + 1)
    elif c == LBC_INT16:
        e.v = <int16_t>cf_load16(p + 1)
    elif c == LBC_INT24:
        e.v = <int64_t><int8_t>p[3] * 65536 + cf_load16(p + 1)
    elif c == LBC_INT32:
        e.v = <int32_t>cf_load32(p + 1)
    else:
        e.v = <int64_t>cf_load64(p + 1)

cdef inline bint lbc_equal(const lb_value_t* a, const lb_value_t* b) noexcept nogil:
    if a.p == NULL or b.p == NULL:
        return a.p == b.p and a.v == b.v
    return a.n == b.n and cf_equal(a.p, b.p, a.n)

cdef inline size_t lbc_check(const char* at, size_t n, bint* odd) noexcept nogil:
    """Bytes of the entry that begins at untrusted bytes, n of them; 0 if it is none.

    `odd` is set (never cleared) when lbc_put would have written something else: an integer as text, or too wide.
    """
    cdef const uint8_t* p = <const uint8_t*>at
    cdef size_t body, size, code
    cdef uint8_t back[5]
    cdef lb_value_t e
    if n == 0 or p[0] > LBC_INT64:
        return 0
    code = 5 if p[0] == LBC_STR32 else 2 if LBC_STR12 <= p[0] < LBC_STR32 else 1
    if n < code:
        return 0
    body = lbc_body_at(at)
    if body > LBC_BODY_MAX:
        return 0
    size = body + lbc_back_size(body)
    if n < size:
        return 0
    _lbc_put_back(&back[0], body)
    if not cf_equal(<const char*>&back[0], at + body, size - body):
        return 0
    lbc_get(at, &e)
    if e.p != NULL:
        lbc_value(e.p, e.n, &e)
    odd[0] |= lbc_body(&e) != body or (e.p == NULL) == (LBC_STR6 <= p[0] < LBC_INT13 or LBC_STR12 <= p[0] <= LBC_STR32)
    return size
