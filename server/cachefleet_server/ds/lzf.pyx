"""LZF, as RDB files hold compressed strings.

    000LLLLL <L+1 bytes>                 a run of literal bytes
    LLLooooo [length] oooooooo           copy L+2 bytes from o+1 back; L = 7: the next byte adds to L

The compressor finds earlier occurrences of three bytes through a table of positions, whose size follows
the input so that a short string does not pay for clearing a large one. A step grows while nothing is
found, so data that does not compress costs little.
The decompressor trusts nothing: every length and distance is checked against both buffers.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

cdef enum:
    LITERAL_MAX = 32
    MATCH_MAX = 264
    DISTANCE_MAX = 8192
    TABLE_BITS_MIN = 8
    TABLE_BITS_MAX = 13
    SKIP_SHIFT = 6  # after 2^6 bytes without a match every second place is tried, and so on


cdef inline uint32_t _triple(const uint8_t* p) noexcept nogil:
    return (<uint32_t>p[0] << 16) | (<uint32_t>p[1] << 8) | p[2]


cdef inline uint8_t* _put_literals(
    const uint8_t* from_, const uint8_t* to, uint8_t* out, const uint8_t* limit
) noexcept nogil:
    """Writes the bytes [from_, to) as runs; NULL when they do not fit."""
    cdef size_t n
    while from_ < to:
        n = to - from_
        if n > LITERAL_MAX:
            n = LITERAL_MAX
        if <size_t>(limit - out) < n + 1:
            return NULL
        out[0] = n - 1
        memcpy(out + 1, from_, n)
        out += n + 1
        from_ += n
    return out


cdef size_t lzf_compress(const void* src, size_t n, void* dst, size_t cap) noexcept nogil:
    cdef uint32_t table[1 << TABLE_BITS_MAX]
    cdef const uint8_t* begin = <const uint8_t*>src
    cdef const uint8_t* end = begin + n
    cdef const uint8_t* p = begin
    cdef const uint8_t* literals = begin
    cdef const uint8_t* earlier
    cdef uint8_t* out = <uint8_t*>dst
    cdef uint8_t* limit = out + cap
    cdef int bits = TABLE_BITS_MIN
    cdef uint32_t slot
    cdef size_t len, most, distance
    if n >= <size_t>1 << 32:
        return 0  # positions are 32 bits
    while bits < TABLE_BITS_MAX and n >> bits:
        bits += 1
    memset(table, 0, sizeof(uint32_t) << bits)
    while end - p > 2:
        slot = (_triple(p) * <uint32_t>2654435761) >> (32 - bits)
        earlier = begin + table[slot]
        table[slot] = p - begin
        distance = p - earlier
        if distance == 0 or distance > DISTANCE_MAX or _triple(earlier) != _triple(p):
            p += 1 + ((p - literals) >> SKIP_SHIFT)
            continue
        most = end - p
        if most > MATCH_MAX:
            most = MATCH_MAX
        len = 3
        while len < most and earlier[len] == p[len]:
            len += 1
        out = _put_literals(literals, p, out, limit)
        if out == NULL or limit - out < 2 + (len >= 9):
            return 0
        distance -= 1
        if len < 9:
            out[0] = ((len - 2) << 5) | (distance >> 8)
            out[1] = distance & 0xFF
            out += 2
        else:
            out[0] = 0xE0 | (distance >> 8)
            out[1] = len - 9
            out[2] = distance & 0xFF
            out += 3
        # The places inside the match: its last two are what a repetition right behind it begins with.
        if end - p > <Py_ssize_t>len + 2:
            table[(_triple(p + len - 2) * <uint32_t>2654435761) >> (32 - bits)] = p + len - 2 - begin
            table[(_triple(p + len - 1) * <uint32_t>2654435761) >> (32 - bits)] = p + len - 1 - begin
        p += len
        literals = p
    out = _put_literals(literals, end, out, limit)
    return 0 if out == NULL else out - <uint8_t*>dst


cdef size_t lzf_decompress(const void* src, size_t n, void* dst, size_t cap) noexcept nogil:
    cdef const uint8_t* p = <const uint8_t*>src
    cdef const uint8_t* end = p + n
    cdef uint8_t* out = <uint8_t*>dst
    cdef uint8_t* limit = out + cap
    cdef size_t len, distance
    while p < end:
        len = p[0] >> 5
        if len == 0:
            len = <size_t>p[0] + 1
            p += 1
            if <size_t>(end - p) < len or <size_t>(limit - out) < len:
                return 0
            memcpy(out, p, len)
            p += len
            out += len
            continue
        distance = <size_t>(p[0] & 0x1F) << 8
        p += 1
        if len == 7:
            if p == end:
                return 0
            len += p[0]
            p += 1
        if p == end:
            return 0
        distance += <size_t>p[0] + 1
        p += 1
        len += 2
        if <size_t>(out - <uint8_t*>dst) < distance or <size_t>(limit - out) < len:
            return 0
        if distance >= len:
            memcpy(out, out - distance, len)
            out += len
        else:  # the copy feeds itself
            while len:
                out[0] = (out - distance)[0]
                out += 1
                len -= 1
    return out - <uint8_t*>dst
