"""Bits of byte strings. The theory is in bits.pxd."""

from libc.string cimport memcpy, memset

from cachefleet_server.ds.intrin cimport cf_bswap64, cf_clz64, cf_load64, cf_popcount64
from cachefleet_server.ds.vector cimport *

cdef enum:
    SCAN_BYTES = 32  # looked at in one step while nothing is found


# ---- counting and finding ------------------------------------------------------------------------

cdef uint64_t bits_count(const uint8_t* p, uint64_t first, uint64_t last) noexcept nogil:
    cdef const uint8_t* from_ = p + (first >> 3)
    cdef const uint8_t* to = p + (last >> 3)
    cdef uint8_t head = 0xFF >> (first & 7)  # bits of the first byte that count
    cdef uint8_t tail = <uint8_t>(0xFF00 >> ((last & 7) + 1))
    if from_ == to:
        return cf_popcount64(from_[0] & head & tail)
    return cf_bits_count(from_ + 1, to - from_ - 1) + cf_popcount64(from_[0] & head) + cf_popcount64(to[0] & tail)


cdef uint64_t bitcount(const uint8_t* p, size_t len, int64_t first, int64_t last, bint in_bits) noexcept nogil:
    if first < 0 and last < 0 and first > last:  # not so in BITPOS: there both may be cut to the first byte
        return 0
    if not bits_range(<int64_t>len << 3 if in_bits else <int64_t>len, &first, &last):
        return 0
    if in_bits:
        return bits_count(p, first, last)
    return cf_bits_count(p + first, last - first + 1)


cdef inline int64_t _in_byte(uint8_t byte, int64_t place) noexcept nogil:
    """The highest set bit of a byte that is at this place."""
    return place + cf_clz64(<uint64_t>byte << 56)


cdef inline bint _all(const uint8_t* p, uint64_t word) noexcept nogil:
    """SCAN_BYTES are that word again and again."""
    return (cf_load64(p) ^ word | cf_load64(p + 8) ^ word | cf_load64(p + 16) ^ word | cf_load64(p + 24) ^ word) == 0


cdef int64_t bits_find(const uint8_t* p, uint64_t first, uint64_t last, bint value) noexcept nogil:
    cdef uint64_t flip = 0 if value else ~<uint64_t>0  # what is searched for becomes 1
    cdef uint64_t at = first >> 3
    cdef uint64_t end = last >> 3
    cdef uint8_t byte = (p[at] ^ flip) & (0xFF >> (first & 7))
    cdef int64_t found
    if at < end:
        if byte:
            return _in_byte(byte, at << 3)
        at += 1
        while end - at >= SCAN_BYTES and _all(p + at, flip):
            at += SCAN_BYTES
        while end - at >= 8 and cf_load64(p + at) == flip:
            at += 8
        while at < end and p[at] == <uint8_t>flip:
            at += 1
        byte = p[at] ^ flip
    if byte == 0:
        return -1
    found = _in_byte(byte, at << 3)
    return found if found <= <int64_t>last else -1


cdef int64_t bitpos(
    const uint8_t* p, size_t len, bint value, int64_t first, int64_t last, bint in_bits, bint has_last
) noexcept nogil:
    cdef int64_t found
    if not has_last:
        last = -1
    if not bits_range(<int64_t>len << 3 if in_bits else <int64_t>len, &first, &last):
        return -1
    if not in_bits:
        first <<= 3
        last = (last << 3) + 7
    found = bits_find(p, first, last, value)
    if found < 0 and not value and not has_last:
        return <int64_t>len << 3
    return found


# ---- combining strings ---------------------------------------------------------------------------

ctypedef void (*fold_t)(uint8_t* out, const uint8_t* a, const uint8_t* b, size_t n) noexcept nogil


cdef inline size_t _part(size_t len, size_t at, size_t n) noexcept nogil:
    """Bytes that a string has of a piece."""
    return 0 if len <= at else min(len - at, n)


cdef void _copy(uint8_t* out, const uint8_t* a, const uint8_t* b, size_t n) noexcept nogil:
    memcpy(out, b, n)


cdef inline void _fold(
    fold_t fold, bint zeros, uint8_t* out, const uint8_t* source, size_t len, size_t at, size_t n
) noexcept nogil:
    """`zeros`: where the string has ended, the result is 0; else it stays."""
    cdef size_t part = _part(len, at, n)
    if part:
        fold(out, out, source + at, part)
    if zeros:
        memset(out + part, 0, n - part)


cdef void _fold_all(
    int op, uint8_t* out, size_t at, size_t n, const uint8_t** sources, const size_t* lens, size_t count
) noexcept nogil:
    """AND, XOR or else OR of some strings, perhaps none."""
    cdef fold_t fold = cf_bits_and if op == BITOP_AND else cf_bits_xor if op == BITOP_XOR else cf_bits_or
    cdef size_t i = 0
    if count == 0:
        memset(out, 0, n)
    elif count > 1 and lens[0] >= at + n and lens[1] >= at + n:  # two at once: one pass less over the piece
        fold(out, sources[0] + at, sources[1] + at, n)
        i = 2
    else:
        _fold(_copy, True, out, sources[0], lens[0], at, n)
        i = 1
    while i < count:
        _fold(fold, op == BITOP_AND, out, sources[i], lens[i], at, n)
        i += 1


cdef void _one(
    uint8_t* out, size_t at, size_t n, const uint8_t** sources, const size_t* lens, size_t count
) noexcept nogil:
    cdef uint8_t more[BITOP_PIECE]
    cdef size_t i
    memset(out, 0, n)
    memset(more, 0, n)
    for i in range(count):
        if lens[i] > at:
            cf_bits_tally(out, more, sources[i] + at, _part(lens[i], at, n))


cdef void _piece(
    int op, uint8_t* out, size_t at, size_t n, const uint8_t** sources, const size_t* lens, size_t count
) noexcept nogil:
    if op == BITOP_ONE:
        _one(out, at, n, sources, lens, count)
        return
    if op <= BITOP_NOT:
        _fold_all(op, out, at, n, sources, lens, count)
        if op == BITOP_NOT:
            cf_bits_not(out, out, n)
        return
    _fold_all(BITOP_OR, out, at, n, sources + 1, lens + 1, count - 1)
    if op == BITOP_DIFF:
        _fold(cf_bits_beyond, True, out, sources[0], lens[0], at, n)
    elif op == BITOP_DIFF1:
        _fold(cf_bits_less, False, out, sources[0], lens[0], at, n)
    else:
        _fold(cf_bits_and, True, out, sources[0], lens[0], at, n)


cdef void bitop(
    int op, uint8_t* out, size_t n, const uint8_t** sources, const size_t* lens, size_t count
) noexcept nogil:
    cdef size_t at = 0
    while at < n:
        _piece(op, out + at, at, min(n - at, <size_t>BITOP_PIECE), sources, lens, count)
        at += BITOP_PIECE


# ---- integers ------------------------------------------------------------------------------------

cdef uint64_t bits_read(const uint8_t* p, size_t len, uint64_t at, int width) noexcept nogil:
    cdef uint8_t padded[9]
    cdef int shift = at & 7
    cdef uint64_t value
    at >>= 3
    p += at
    if len < 9 or at > len - 9:
        memset(padded, 0, sizeof(padded))
        if at < len:
            memcpy(padded, p, len - at)
        p = padded
    value = cf_bswap64(cf_load64(p)) << shift
    value |= p[8] >> (8 - shift)
    return value >> (64 - width)


cdef void bits_write(uint8_t* p, uint64_t at, int width, uint64_t value) noexcept nogil:
    cdef int below = -<int>(at + width) & 7  # bits of the last byte that are not ours
    cdef int n
    cdef uint8_t mask
    p += (at + width - 1) >> 3
    while width > 0:
        n = min(width, 8 - below)
        mask = ((1 << n) - 1) << below
        p[0] = (p[0] & ~mask) | (<uint8_t>(value << below) & mask)
        value >>= n
        width -= n
        below = 0
        p -= 1


cdef bint bits_add_signed(int64_t value, int64_t change, int width, int overflow, int64_t* out) noexcept nogil:
    cdef int64_t most = <int64_t>((<uint64_t>1 << (width - 1)) - 1)
    cdef int64_t least = -most - 1
    # What there is room for, upwards and downwards. It wraps for a value that does not fit itself and is far below:
    # peers then saturate upwards.
    cdef int64_t up = <int64_t>(<uint64_t>most - <uint64_t>value)
    cdef int64_t down = <int64_t>(<uint64_t>least - <uint64_t>value)
    cdef bint above = value > most or (change > up and (width < 64 or value >= 0))
    cdef bint below = value < least or (change < down and (width < 64 or value < 0))
    out[0] = bits_extend(<uint64_t>value + <uint64_t>change, width)
    if above or below:
        if overflow == BITS_FAIL:
            return False
        if overflow == BITS_SATURATE:
            out[0] = most if above else least
    return True


cdef bint bits_add_unsigned(uint64_t value, int64_t change, int width, int overflow, uint64_t* out) noexcept nogil:
    cdef uint64_t most = ~<uint64_t>0 >> (64 - width)
    cdef bint above = value > most or (change > 0 and <uint64_t>change > most - value)
    cdef bint below = change < 0 and 0 - <uint64_t>change > value
    out[0] = (value + <uint64_t>change) & most
    if above or below:
        if overflow == BITS_FAIL:
            return False
        if overflow == BITS_SATURATE:
            out[0] = most if above else 0
    return True
