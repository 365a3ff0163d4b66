"""Numbers to text and back, exactly as the Redis protocol prints and accepts them.

Nothing here allocates or depends on the locale. Buffers must hold NUMBER_CHARS_MAX bytes (INT64_CHARS_MAX for
integers, DOUBLE_CHARS_MAX for doubles).
"""

from libc.stdint cimport int64_t, uint64_t

cdef enum:
    NUMBER_CHARS_MAX = 5120  # a long double printed in fixed form can be this long; longer input is refused
    INT64_CHARS_MAX = 21
    DOUBLE_CHARS_MAX = 32

cdef int int64_to_chars(char* out, int64_t v) noexcept nogil  # length; no terminator
cdef int uint64_to_chars(char* out, uint64_t v) noexcept nogil
cdef bint chars_to_int64(const char* p, size_t n, int64_t* out) noexcept nogil
    # Strict, as Redis' string2ll: no space, no plus, no leading zeros, no "-0"; false on overflow.
cdef bint chars_to_uint64(const char* p, size_t n, uint64_t* out) noexcept nogil
    # As Redis' string2ull (cursors, stream ids): lenient where strtoull is. Leading space, plus, leading zeros are
    # fine, a NUL ends the text, and a minus wraps around unless the text is a plain int64.
cdef bint chars_to_double(const char* p, size_t n, double* out) noexcept nogil
    # As Valkey 9 reads scores and the like: decimal or "inf"/"infinity", an optional sign, whole input, correctly
    # rounded. Refused: space, hex, NaN, a finite text that overflows or becomes 0.
cdef bint chars_to_bound(const char* p, size_t n, double* out) noexcept nogil
    # As it reads the bounds of a range of scores: the same, but a NUL ends the text, an empty one is 0, and what
    # overflows is infinite, what is too small 0.
cdef bint chars_to_longdouble(const char* p, size_t n, long double* out) noexcept nogil
    # As INCRBYFLOAT reads: what strtold takes (hex too), whole input, no leading space, no NaN, no overflow and no
    # nonzero text that becomes 0.
cdef int double_to_chars(char* out, double v) noexcept nogil
    # As Valkey replies doubles, RESP2 and RESP3: an integer plain, else double_to_shortest; -0 as such.
cdef int double_to_shortest(char* out, double v) noexcept nogil
    # The digits that Grisu2 finds, which read back as v, in the shorter of the plain and the scientific form. At most
    # DOUBLE_CHARS_MAX.
cdef int double_to_17_digits(char* out, double v) noexcept nogil  # printf's %.17g. At most DOUBLE_CHARS_MAX.
cdef int longdouble_to_chars(char* out, long double v) noexcept nogil
    # INCRBYFLOAT's "human" form: %.17Lf, zeros trimmed, "-0" as "0". NUMBER_CHARS_MAX.
