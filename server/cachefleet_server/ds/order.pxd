"""The order of bytes: as memcmp has it, and of two of which one begins with the other the shorter one comes first."""

from libc.string cimport memcmp

cdef inline int bytes_order(const char* p, size_t n, const char* q, size_t m) noexcept nogil:
    """< 0, 0, > 0."""
    cdef int order = memcmp(p, q, min(n, m))
    return order if order else (n > m) - (n < m)
