"""What a hash table looks like: sizes, and how long its chains are. For DEBUG HTSTATS."""

from libc.stdint cimport int64_t

from cachefleet_server.ds.hashtable cimport hashtable_t

cdef enum:
    HT_STATS_CHAINS = 8  # longer chains count among the last

cdef struct ht_stats_t:  # of one of the two tables
    size_t room  # elements that fit without overflow buckets; 0: there is no such table
    size_t used
    int64_t rehash_index  # -1: no resize is under way
    # Where they were asked for:
    size_t buckets  # heads of chains
    size_t children  # overflow buckets
    size_t longest  # overflow buckets of one chain
    size_t chains[HT_STATS_CHAINS]  # how many have 0, 1, ... overflow buckets

cdef void ht_stats(const hashtable_t* t, ht_stats_t out[2], bint chains) noexcept nogil
    # O(1); with chains O(buckets).
