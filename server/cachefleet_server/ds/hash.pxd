"""Keyed hash of byte strings.

Multiply-and-fold over 16 bytes a step, in the manner of wyhash. Both seed words are random per
process and enter every multiplication, so an attacker who cannot read them cannot build collisions
offline. O(len); inputs of up to 16 bytes take two multiplications.
"""

from libc.stdint cimport uint64_t

from cachefleet_server.ds.intrin cimport cf_load32, cf_load64, cf_mul128_fold

cdef struct hash_seed_t:
    uint64_t a
    uint64_t b

cdef inline uint64_t hash_bytes(const char* p, size_t n, const hash_seed_t* seed) noexcept nogil:
    cdef uint64_t x, y
    cdef uint64_t h = seed.a ^ (n * <uint64_t>0x9E3779B97F4A7C15)
    cdef size_t left = n
    while left > 16:
        h = cf_mul128_fold(cf_load64(p) ^ seed.b, cf_load64(p + 8) ^ h)
        p += 16
        left -= 16
    if left >= 8:
        x = cf_load64(p)
        y = cf_load64(p + left - 8)
    elif left >= 4:
        x = cf_load32(p)
        y = cf_load32(p + left - 4)
    elif left > 0:
        x = (<uint64_t>(<unsigned char>p[0]) << 16) | (<uint64_t>(<unsigned char>p[left >> 1]) << 8) \
            | <unsigned char>p[left - 1]
        y = 0
    else:
        x = 0
        y = 0
    h = cf_mul128_fold(x ^ seed.b, y ^ h)
    return cf_mul128_fold(h ^ seed.a, seed.b ^ <uint64_t>0xD6E8FEB86659FD93)
