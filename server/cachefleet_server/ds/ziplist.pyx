"""Ziplists and zipmaps; see ziplist.pxd."""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint32_t

from cachefleet_server.ds.intrin cimport cf_bswap32, cf_load16, cf_load32, cf_load64
from cachefleet_server.ds.listpack cimport lp_int24

cdef enum:
    END = 0xFF
    BIG = 254  # the size follows in 4 bytes
    COUNT_UNKNOWN = 0xFFFF
    STR14 = 0x40
    STR32 = 0x80
    NUMBER = 0xC0  # from here on codes are of integers
    INT32 = 0xD0
    INT64 = 0xE0
    INT24 = 0xF0
    INT8 = 0xFE


cdef bint _fault(size_t* out, size_t offset) noexcept nogil:
    out[0] = offset
    return False


cdef inline size_t _before_size(const char* p) noexcept nogil:
    return 5 if <unsigned char>p[0] == BIG else 1


cdef inline size_t _head_size(uint32_t c) noexcept nogil:
    """Bytes of a code without what follows; 0: there is no such code."""
    if c < NUMBER:
        return 1 if c < STR14 else 2 if c < STR32 else 5
    if c == NUMBER or c == INT32 or c == INT64 or c == INT24 or c == INT8 or INT24 < c < INT8:
        return 1
    return 0


cdef size_t _code_size(const char* p, const char* end) noexcept nogil:
    """Bytes of a code that must end before `end`, with what follows; 0: it does not, or there is no such code."""
    cdef size_t left = end - p
    cdef uint32_t c
    cdef size_t size
    cdef lp_item_t item
    if p >= end:
        return 0
    c = <unsigned char>p[0]
    size = _head_size(c)
    if size == 0 or size > left:
        return 0
    if c < NUMBER:
        _get(p, &item)
        size += item.len
    elif c == NUMBER:
        size = 3
    elif c == INT32:
        size = 5
    elif c == INT64:
        size = 9
    elif c == INT24:
        size = 4
    elif c == INT8:
        size = 2
    return size if size <= left else 0


cdef size_t _get(const char* p, lp_item_t* out) noexcept nogil:
    """The element whose code is at p, and the size of both; of a string nothing but its length is read."""
    cdef uint32_t c = <unsigned char>p[0]
    cdef size_t head
    out.str = NULL
    if c < NUMBER:
        head = _head_size(c)
        if c < STR14:
            out.len = c
        elif c < STR32:
            out.len = ((c & 63) << 8) | <unsigned char>p[1]
        else:
            out.len = cf_bswap32(cf_load32(p + 1))
        out.str = p + head
        return head + out.len
    if c == NUMBER:
        out.num = <int16_t>cf_load16(p + 1)
        return 3
    if c == INT32:
        out.num = <int32_t>cf_load32(p + 1)
        return 5
    if c == INT64:
        out.num = <int64_t>cf_load64(p + 1)
        return 9
    if c == INT24:
        out.num = lp_int24(p + 1)
        return 4
    if c == INT8:
        out.num = <int8_t>p[1]
        return 2
    out.num = <int64_t>(c & 15) - 1
    return 1


cdef bint ziplist_validate(const char* p, size_t n, size_t* out) noexcept nogil:
    cdef size_t at = ZIPLIST_HEADER
    cdef size_t last = ZIPLIST_HEADER
    cdef size_t before = 0
    cdef size_t count = 0
    cdef size_t end = n - 1
    cdef size_t head, said, size
    if n < ZIPLIST_HEADER + 1 or cf_load32(p) != n:
        return _fault(out, 0)
    while at < end:
        head = _before_size(p + at)
        if <unsigned char>p[at] == END or head >= end - at:
            return _fault(out, at)
        said = cf_load32(p + at + 1) if head == 5 else <unsigned char>p[at]
        size = _code_size(p + at + head, p + end)
        if said != before or size == 0:
            return _fault(out, at)
        last = at
        before = head + size
        at += before
        count += 1
    if <unsigned char>p[end] != END:
        return _fault(out, end)
    if cf_load32(p + 4) != last:
        return _fault(out, 4)
    if cf_load16(p + 8) != COUNT_UNKNOWN and cf_load16(p + 8) != count:
        return _fault(out, 8)
    out[0] = count
    return True


cdef bint ziplist_next(const char* p, size_t* offset, lp_item_t* out) noexcept nogil:
    p += offset[0]
    if <unsigned char>p[0] == END:
        return False
    offset[0] += _before_size(p)
    offset[0] += _get(p + _before_size(p), out)
    return True


# ---- zipmaps ---------------------------------------------------------------------------------------

cdef inline size_t _length(const char* p, size_t* n) noexcept nogil:
    """A length, and how many bytes it takes."""
    if <unsigned char>p[0] == BIG:
        n[0] = cf_load32(p + 1)
        return 5
    n[0] = <unsigned char>p[0]
    return 1


cdef size_t _piece_size(const char* p, const char* end, size_t unused) noexcept nogil:
    """Bytes of an untrusted length, `unused` (0 or 1) bytes that say how much more follows, and the string. 0: no."""
    cdef size_t left = end - p
    cdef size_t head, n
    if p >= end or <unsigned char>p[0] == END or left < _before_size(p) + unused:
        return 0
    head = _length(p, &n)
    n += head + unused
    if unused:
        n += <unsigned char>p[head]
    return n if n <= left else 0


cdef bint zipmap_validate(const char* p, size_t n, size_t* out) noexcept nogil:
    cdef size_t at = ZIPMAP_HEADER
    cdef size_t count = 0
    cdef size_t end = n - 1
    cdef size_t field, value
    if n < ZIPMAP_HEADER + 1:
        return _fault(out, 0)
    while at < end:
        field = _piece_size(p + at, p + end, 0)
        if field == 0:
            return _fault(out, at)
        value = _piece_size(p + at + field, p + end, 1)
        if value == 0:
            return _fault(out, at)
        at += field + value
        count += 1
    if <unsigned char>p[end] != END:
        return _fault(out, end)
    if <unsigned char>p[0] < BIG and <unsigned char>p[0] != count:
        return _fault(out, 0)
    out[0] = count
    return True


cdef bint zipmap_next(const char* p, size_t* offset, lp_item_t* field, lp_item_t* value) noexcept nogil:
    cdef size_t unused
    p += offset[0]
    if <unsigned char>p[0] == END:
        return False
    field.str = p + _length(p, &field.len)
    value.str = field.str + field.len + _length(field.str + field.len, &value.len)
    unused = <unsigned char>value.str[0]
    value.str += 1
    offset[0] += <size_t>(value.str - p) + value.len + unused
    return True
