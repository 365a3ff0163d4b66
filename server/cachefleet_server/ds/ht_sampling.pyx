"""Random elements; see ht_sampling.pxd."""

from cachefleet_server.ds.bucket cimport chain_at, chain_copy, chain_len, ht_bucket_t
from cachefleet_server.ds.hashtable cimport ht_buckets, ht_len

cdef enum:
    HT_FAIR_CHAIN = 24  # elements up to which chains are weighted exactly by ht_random
    HT_RANDOM_TRIES = 512
    HT_SAMPLE_VISITS = 8  # buckets for each element that ht_sample may return


cdef struct _live_t:  # the buckets for which _is_live holds, numbered from 0 on
    uint64_t total
    uint64_t first  # of table 0
    uint64_t count  # of table 0
    uint64_t run  # buckets of table 1 in a row ...
    uint64_t stride  # ... of so many


cdef inline void _live_buckets(const hashtable_t* t, _live_t* live) noexcept nogil:
    live.first = 0 if t.rehash_index < 0 else t.rehash_index
    live.count = ht_buckets(t, 0) - live.first
    live.total = live.count
    live.run = 1
    live.stride = 1
    if t.rehash_index > 0:
        live.stride = (t.masks[0] & t.masks[1]) + 1
        live.run = live.first if live.first < live.stride else live.stride
        live.total += live.run * ((t.masks[1] + 1) / live.stride)


cdef inline ht_bucket_t* _live_bucket(const hashtable_t* t, const _live_t* live, uint64_t at) noexcept nogil:
    if at < live.count:
        return &t.tables[0][live.first + at]
    at -= live.count
    return &t.tables[1][at / live.run * live.stride + at % live.run]


cdef void* ht_random(hashtable_t* t, uint64_t* rng) noexcept nogil:
    """Rejection sampling: a bucket of n elements is taken with probability n / HT_FAIR_CHAIN.

    Longer chains are as good as absent (1 in 10^7 buckets right before growing). In a table that was
    emptied and has not shrunk yet, the first chain behind a random place is taken in the end.
    """
    cdef _live_t live
    cdef uint64_t at = 0
    cdef size_t n, pick
    cdef int _try
    cdef ht_bucket_t* b
    if ht_len(t) == 0:
        return NULL
    _live_buckets(t, &live)
    for _try in range(HT_RANDOM_TRIES):
        at = rng_below(rng, live.total)
        b = _live_bucket(t, &live, at)
        pick = rng_below(rng, HT_FAIR_CHAIN)
        n = chain_len(b)
        if n > HT_FAIR_CHAIN:
            pick = rng_below(rng, n)
        if pick < n:
            return chain_at(b, pick)
    while chain_len(b) == 0:
        at = at + 1 if at + 1 < live.total else 0
        b = _live_bucket(t, &live, at)
    return chain_at(b, rng_below(rng, chain_len(b)))


cdef size_t ht_sample(hashtable_t* t, void** out, size_t n, uint64_t* rng) noexcept nogil:
    cdef _live_t live
    cdef uint64_t at
    cdef uint64_t visits = 0
    cdef size_t found, skip, left
    cdef ht_bucket_t* b
    if ht_len(t) == 0 or n == 0:
        return 0
    _live_buckets(t, &live)
    at = rng_below(rng, live.total)
    b = _live_bucket(t, &live, at)
    # Begins in the middle of a chain, lest elements behind the n-th of theirs are never seen.
    skip = chain_len(b)
    if skip:
        skip = rng_below(rng, skip)
    found = chain_copy(b, skip, n, out)
    # In a sparse table a few elements near each other are enough: the walk is bounded once one is found.
    while found < n and visits < live.total and (found == 0 or visits < HT_SAMPLE_VISITS * n):
        visits += 1
        at = at + 1 if at + 1 < live.total else 0
        left = n - found
        if visits == live.total and left > skip:  # back at the first chain
            left = skip
        found += chain_copy(_live_bucket(t, &live, at), 0, left, out + found)
    return found
