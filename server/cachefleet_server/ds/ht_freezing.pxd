"""Point-in-time iteration over a hash table that goes on changing.

While `freeze_fn` is set, each function that is about to change a chain whose version is not `version` first calls
freeze_fn on it, once, then marks it. The iterator walks the chains the same way, so every chain is delivered
exactly once, in the state it had when freezing began. In-place changes of an element must be announced with
`ht_announce`. Chains that are empty are never delivered. freeze_fn must not change the table.
"""

from libc.stdint cimport uint64_t

from cachefleet_server.ds.hashtable cimport hashtable_t, ht_freeze_fn

# One iteration at a time a table. ht_bucket_each (bucket.pxd) walks the elements of one chain, for freeze_fn.
cdef void ht_freeze_begin(hashtable_t* t, ht_freeze_fn fn, void* ctx) noexcept nogil
cdef bint ht_freeze_step(hashtable_t* t, uint64_t* position, size_t chains) noexcept nogil
    # Delivers up to `chains` chains that were not delivered yet, looking at no more than 8 times as many; true
    # while more is left. *position counts the buckets looked at (progress only: the table knows its place).
cdef void ht_freeze_end(hashtable_t* t) noexcept nogil
    # Also after an early end, which delivers nothing more. O(1), but every 127th early end in a row is O(buckets).
