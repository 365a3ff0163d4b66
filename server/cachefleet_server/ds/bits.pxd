"""Bits of byte strings: counting, finding, combining strings, integers of any width at any place.

Bit 0 is the highest of byte 0, as in SETBIT. Beyond the end of a string all bits are 0. Nothing here allocates or
depends on where a string is kept. Positions are 64 bits: 512 MB are 2^32 bits.

Whole bytes are counted and combined by vectors (vector.h). Combining goes in pieces of BITOP_PIECE bytes: a piece of
the result stays in the first-level cache while all strings are folded into it, so each source is read once and the
result written once, whatever their number.

Measured (ns of CPU, a busy machine; tests/perf/bench_bits.py), ours / Valkey 9.1's command less its overhead: BITCOUNT
of 1 MB 7000 / 15 600 (71 000 where the processor cannot count bits), BITPOS over 1 MB 21 000 / 33 900, BITOP AND of two
of 1 MB 36 500 / 64 800.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef enum:
    BITOP_PIECE = 8192

    # BITOP's operations. The last four take the first string X and the others Y1, Y2, ...
    BITOP_AND = 0
    BITOP_OR = 1
    BITOP_XOR = 2
    BITOP_NOT = 3  # of one string
    BITOP_DIFF = 4  # in X and in no Y
    BITOP_DIFF1 = 5  # not in X but in a Y
    BITOP_ANDOR = 6  # in X and in a Y
    BITOP_ONE = 7  # in exactly one of all

    BITS_WRAP = 0  # what to do with an integer that its width cannot hold
    BITS_SATURATE = 1
    BITS_FAIL = 2

cdef inline bint bits_get(const uint8_t* p, size_t len, uint64_t at) noexcept nogil:
    return at >> 3 < len and p[at >> 3] >> (7 - (at & 7)) & 1

cdef inline bint bits_set(uint8_t* p, uint64_t at, bint value) noexcept nogil:
    """The string holds the place. The bit before."""
    cdef uint8_t mask = 0x80 >> (at & 7)
    cdef bint before = p[at >> 3] & mask != 0
    if before != value:
        p[at >> 3] ^= mask
    return before

cdef inline bint bits_range(int64_t total, int64_t* first, int64_t* last) noexcept nogil:
    """A range as commands give it, both ends included, negative from the end, is cut to [0, total). False: it is
    empty."""
    if first[0] < 0:
        first[0] = max(first[0] + total, <int64_t>0)
    if last[0] < 0:
        last[0] = max(last[0] + total, <int64_t>0)
    if last[0] >= total:
        last[0] = total - 1
    return first[0] <= last[0]

cdef uint64_t bits_count(const uint8_t* p, uint64_t first, uint64_t last) noexcept nogil
    # Set bits from the first to the last place, both included.
cdef int64_t bits_find(const uint8_t* p, uint64_t first, uint64_t last, bint value) noexcept nogil
    # The first place with that bit, or -1.
cdef uint64_t bitcount(const uint8_t* p, size_t len, int64_t first, int64_t last, bint in_bits) noexcept nogil
    # BITCOUNT of a range as given, in bytes or in bits.
cdef int64_t bitpos(
    const uint8_t* p, size_t len, bint value, int64_t first, int64_t last, bint in_bits, bint has_last) noexcept nogil
    # BITPOS of a range as given. A string of ones is followed by zeros unless the range has an end. Not for a key that
    # does not exist.
cdef void bitop(
    int op, uint8_t* out, size_t n, const uint8_t** sources, const size_t* lens, size_t count) noexcept nogil
    # n: the longest's length. out is none of the sources. At least one source.

# An integer of `width` bits, 1 to 64, whose highest bit is at place `at`. Reading may pass the end.
cdef uint64_t bits_read(const uint8_t* p, size_t len, uint64_t at, int width) noexcept nogil
cdef void bits_write(uint8_t* p, uint64_t at, int width, uint64_t value) noexcept nogil  # the string holds all of it

cdef inline int64_t bits_extend(uint64_t value, int width) noexcept nogil:
    """Read as signed."""
    return <int64_t>(value << (64 - width)) >> (64 - width)

# value + change in `width` bits; false: it does not fit and BITS_FAIL was asked. A value that does not fit itself
# (BITFIELD SET) counts as too large or too small, with a change of 0.
cdef bint bits_add_signed(int64_t value, int64_t change, int width, int overflow, int64_t* out) noexcept nogil
cdef bint bits_add_unsigned(uint64_t value, int64_t change, int width, int overflow, uint64_t* out) noexcept nogil
