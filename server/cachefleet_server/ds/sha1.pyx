"""SHA-1 as in FIPS 180-4; see sha1.pxd. Whole blocks are read where they lie, the rest and the length from a copy."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from cachefleet_server.ds.intrin cimport cf_bswap32, cf_bswap64, cf_load32, cf_store32, cf_store64

cdef enum:
    BLOCK = 64
    TAIL = 9  # bytes behind the message: a one bit and the length


cdef inline uint32_t _rotate(uint32_t v, int n) noexcept nogil:
    return (v << n) | (v >> (32 - n))


cdef void _block(uint32_t* h, const uint8_t* p) noexcept nogil:
    cdef uint32_t w[80]
    cdef uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f, k, t
    cdef int i
    for i in range(16):
        w[i] = cf_bswap32(cf_load32(p + 4 * i))
    for i in range(16, 80):
        w[i] = _rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1)
    for i in range(80):
        if i < 20:
            f = (b & c) | (~b & d)
            k = 0x5A827999
        elif i < 40:
            f = b ^ c ^ d
            k = 0x6ED9EBA1
        elif i < 60:
            f = (b & c) | (b & d) | (c & d)
            k = 0x8F1BBCDC
        else:
            f = b ^ c ^ d
            k = 0xCA62C1D6
        t = _rotate(a, 5) + f + e + k + w[i]
        e = d
        d = c
        c = _rotate(b, 30)
        b = a
        a = t
    h[0] += a
    h[1] += b
    h[2] += c
    h[3] += d
    h[4] += e


cdef void sha1(const void* p, size_t n, uint8_t* out20) noexcept nogil:
    cdef uint32_t h[5]
    cdef uint8_t last[2 * BLOCK]
    cdef const uint8_t* at = <const uint8_t*>p
    cdef size_t left = n, size
    cdef int i
    h[0] = 0x67452301
    h[1] = 0xEFCDAB89
    h[2] = 0x98BADCFE
    h[3] = 0x10325476
    h[4] = 0xC3D2E1F0
    while left >= BLOCK:
        _block(h, at)
        at += BLOCK
        left -= BLOCK
    size = BLOCK if left + TAIL <= BLOCK else 2 * BLOCK
    memset(last, 0, size)
    if left:
        memcpy(last, at, left)
    last[left] = 0x80
    cf_store64(last + size - 8, cf_bswap64(<uint64_t>n * 8))
    _block(h, last)
    if size > BLOCK:
        _block(h, last + BLOCK)
    for i in range(5):
        cf_store32(out20 + 4 * i, cf_bswap32(h[i]))
