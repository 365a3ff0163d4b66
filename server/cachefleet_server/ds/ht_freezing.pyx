"""Freezing; see ht_freezing.pxd.

`version` goes up by one (of 128) when a freeze begins, so no chain carries it. An empty chain
needs no delivery, so a chain's version only means something while it holds elements: every addition
stamps it (after the delivery that may be due), and a new array needs no initialisation. A freeze that
ends early leaves chains with older versions; `stale_versions` counts how many versions can be about, and
before all 128 are, one walk stamps all chains.
"""

from cachefleet_server.ds.bucket cimport HT_VERSION, chain_is_empty, chain_prefetch, ht_bucket_t
from cachefleet_server.ds.hashtable cimport ht_buckets, ht_deliver, ht_is_live, ht_stamp
from cachefleet_server.ds.intrin cimport cf_assert

cdef enum:
    HT_FREEZE_LOOKS = 8  # buckets looked at for each chain that a freeze step may deliver


cdef void ht_freeze_begin(hashtable_t* t, ht_freeze_fn fn, void* ctx) noexcept nogil:
    cf_assert(t.freeze_fn == NULL)
    t.version = (t.version + 1) & HT_VERSION
    t.freeze_fn = fn
    t.freeze_ctx = ctx
    t.freeze_next[0] = 0
    t.freeze_next[1] = 0


cdef bint ht_freeze_step(hashtable_t* t, uint64_t* position, size_t chains) noexcept nogil:
    cdef size_t looks = chains * HT_FREEZE_LOOKS
    cdef ht_bucket_t* head
    cdef uint64_t i
    cdef int ti
    for ti in range(2):
        while t.freeze_next[ti] < ht_buckets(t, ti):
            if chains == 0 or looks == 0:
                return True
            i = t.freeze_next[ti]
            t.freeze_next[ti] = i + 1
            looks -= 1
            position[0] += 1
            if not ht_is_live(t, ti, i):
                continue
            head = &t.tables[ti][i]
            if i < t.masks[ti] and ht_is_live(t, ti, i + 1):
                chain_prefetch(head + 1)
            if (head.meta & HT_VERSION) != t.version and not chain_is_empty(head):
                ht_deliver(t, head)
                chains -= 1
    return False


cdef void ht_freeze_end(hashtable_t* t) noexcept nogil:
    cdef size_t i
    cdef int ti
    t.freeze_fn = NULL
    t.freeze_ctx = NULL
    if t.freeze_next[0] >= ht_buckets(t, 0) and t.freeze_next[1] >= ht_buckets(t, 1):
        t.stale_versions = 0
        return
    t.stale_versions += 1
    if t.stale_versions < HT_VERSION:
        return
    t.stale_versions = 0
    for ti in range(2):
        for i in range(ht_buckets(t, ti)):
            if ht_is_live(t, ti, i) and not chain_is_empty(&t.tables[ti][i]):
                ht_stamp(t, &t.tables[ti][i])
