"""What a hash table looks like; see ht_stats.pxd."""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from cachefleet_server.ds.bucket cimport HT_SLOTS, bucket_next, ht_bucket_t
from cachefleet_server.ds.hashtable cimport ht_buckets, ht_is_live


cdef void _count_chains(const hashtable_t* t, int ti, ht_stats_t* out) noexcept nogil:
    cdef const ht_bucket_t* b
    cdef uint64_t i
    cdef size_t n
    out.buckets = ht_buckets(t, ti)
    for i in range(out.buckets):
        n = 0
        if ht_is_live(t, ti, i):
            b = bucket_next(&t.tables[ti][i])
            while b != NULL:
                n += 1
                b = bucket_next(b)
        out.children += n
        out.longest = max(out.longest, n)
        out.chains[min(n, <size_t>HT_STATS_CHAINS - 1)] += 1


cdef void ht_stats(const hashtable_t* t, ht_stats_t out[2], bint chains) noexcept nogil:
    cdef int ti
    memset(out, 0, 2 * sizeof(ht_stats_t))
    for ti in range(2):
        out[ti].room = ht_buckets(t, ti) * HT_SLOTS
        out[ti].used = t.used[ti]
        out[ti].rehash_index = t.rehash_index
        if chains:
            _count_chains(t, ti, &out[ti])
