"""SHA-1, for signatures that have to equal others' (DEBUG DIGEST). No protection against forgery."""

from libc.stdint cimport uint8_t

cdef enum:
    SHA1_BYTES = 20

cdef void sha1(const void* p, size_t n, uint8_t* out20) noexcept nogil
