"""CRC-64/Jones (RDB, DUMP), SHA-1 (DEBUG DIGEST), XXH3-64 (DIGEST, IFDEQ)."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef uint64_t crc64(uint64_t crc, const void* p, size_t n) noexcept nogil  # slicing-by-8; start with 0
cdef uint64_t xxh3_64(const void* p, size_t n) noexcept nogil  # seed 0

cdef struct sha1_t:
    uint32_t state[5]
    uint64_t count  # bytes
    uint8_t block[64]

cdef void sha1_init(sha1_t* s) noexcept nogil
cdef void sha1_update(sha1_t* s, const void* p, size_t n) noexcept nogil
cdef void sha1_final(sha1_t* s, uint8_t* digest20) noexcept nogil
