"""Numbers to text and back, exactly as the Redis protocol prints and accepts them.

Nothing here allocates or reads the locale. Buffers must hold NUMBER_CHARS_MAX bytes.
"""

from libc.stdint cimport int64_t, uint64_t

cdef enum:
    NUMBER_CHARS_MAX = 5120  # a long double printed in fixed form can be this long
    INT64_CHARS_MAX = 21

cdef int int64_to_chars(char* out, int64_t v) noexcept nogil  # length; no terminator
cdef int uint64_to_chars(char* out, uint64_t v) noexcept nogil
cdef bint chars_to_int64(const char* p, size_t n, int64_t* out) noexcept nogil
    # Strict, as Redis' string2ll: no space, no plus, no leading zeros, no "-0"; false on overflow.
cdef bint chars_to_uint64(const char* p, size_t n, uint64_t* out) noexcept nogil
cdef bint chars_to_double(const char* p, size_t n, double* out) noexcept nogil
    # Whole input, no leading space, "inf" and hex accepted as strtod does, NaN refused.
cdef bint chars_to_longdouble(const char* p, size_t n, long double* out) noexcept nogil
cdef int double_to_chars(char* out, double v) noexcept nogil  # shortest %.17g form as Redis replies it
cdef int longdouble_to_chars(char* out, long double v) noexcept nogil  # INCRBYFLOAT's "human" form: %.17Lf, zeros trimmed
