"""Random elements of a hash table: one that is fair, or several fast.

Both draw among the buckets that may hold elements (during a resize: the rest of table 0, and the part of table 1
that has been moved into), so neither reads pages that do not exist.
"""

from libc.stdint cimport uint64_t

from cachefleet_server.ds.hashtable cimport hashtable_t

cdef void* ht_random(hashtable_t* t, uint64_t* rng) noexcept nogil  # fair, O(1) expected; NULL when empty
cdef size_t ht_sample(hashtable_t* t, void** out, size_t n, uint64_t* rng) noexcept nogil
    # Up to n different elements from neighbouring buckets, fast and not fair: for eviction. At least one unless
    # the table is empty. Prefetches the first line of each.

cdef inline uint64_t rng_next(uint64_t* state) noexcept nogil:
    """splitmix64: fast, seedable, not cryptographic."""
    state[0] += <uint64_t>0x9E3779B97F4A7C15
    cdef uint64_t z = state[0]
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)

cdef inline uint64_t rng_below(uint64_t* state, uint64_t n) noexcept nogil:
    """A number in [0, n); the bias is below n / 2^32, which no caller can notice."""
    if n >> 32:
        return rng_next(state) % n
    return ((rng_next(state) >> 32) * n) >> 32
