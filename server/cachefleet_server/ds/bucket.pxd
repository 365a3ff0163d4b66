"""Buckets and chains: the cells of the hash table (hashtable.pxd).

    bucket (one cache line, aligned to its size)
    +------+--------------+------------------------------------------+
    | meta | tags[7]      | slots[7]: element pointers               |
    +------+--------------+------------------------------------------+
    meta: bit 7 = slots[6] is a pointer to an overflow bucket, not an element (tags[6] is 0 then)
          bits 0-6 = freeze version of the chain (kept in its head bucket only)
    tag: 0 = empty slot; else eight bits of the element's hash

A chain is a head bucket and its overflow buckets. A full bucket turns its last slot into the pointer to an
overflow bucket, so a chained bucket holds 6 elements. Every bucket but the last is full and an overflow
bucket that is last holds at least 2, unless elements were taken out without `chain_compact`.

Overflow buckets come from a pool, in slabs that grow with it; the pool is given back as a whole.
Masks of slots have bit 8 * i + 7 set for slot i.
"""

from libc.stdint cimport uint8_t, uint64_t

from cachefleet_server.ds.intrin cimport cf_ctz64, cf_likely, cf_load64, cf_match_bytes, cf_prefetch
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    HT_SLOTS = 7
    HT_CHILD = 0x80  # meta: slots[6] is the overflow bucket
    HT_VERSION = 0x7F  # meta: freeze version

cdef struct ht_bucket_t:
    uint8_t meta
    uint8_t tags[7]
    void* slots[7]

cdef struct ht_pool_t:  # zero-initialised
    ht_bucket_t* free  # linked by slots[0]
    ht_bucket_t* fresh  # never used ones of the newest slab
    size_t fresh_count
    size_t used  # buckets that chains hold
    void* slabs  # linked by their first word

ctypedef void (*ht_each_fn)(void* ctx, void* element) noexcept nogil

cdef inline uint64_t bucket_matches(const ht_bucket_t* b, uint8_t tag) noexcept nogil:
    """Slots with this tag (the low byte of the loaded word is meta)."""
    return cf_match_bytes(cf_load64(b), tag) >> 8

cdef inline uint64_t bucket_elements(const ht_bucket_t* b) noexcept nogil:
    """Slots that hold an element."""
    return bucket_matches(b, 0) ^ <uint64_t>0x0080808080808080

cdef inline uint64_t bucket_holes(const ht_bucket_t* b) noexcept nogil:
    """Slots that could take an element."""
    cdef uint64_t m = bucket_matches(b, 0)
    return m & ~(<uint64_t>0x80 << 48) if b.meta & HT_CHILD else m

cdef inline ht_bucket_t* bucket_next(const ht_bucket_t* b) noexcept nogil:
    return <ht_bucket_t*>b.slots[HT_SLOTS - 1] if b.meta & HT_CHILD else NULL

cdef inline bint chain_is_empty(const ht_bucket_t* head) noexcept nogil:
    return bucket_elements(head) == 0 and not head.meta & HT_CHILD

cdef inline void chain_prefetch(const ht_bucket_t* head) noexcept nogil:
    """The elements of the head and its overflow bucket."""
    cdef uint64_t m = bucket_elements(head)
    if head.meta & HT_CHILD:
        cf_prefetch(head.slots[HT_SLOTS - 1])
    while m:
        cf_prefetch(head.slots[cf_ctz64(m) >> 3])
        m &= m - 1

cdef void chain_add_overflow(
    heap_t* heap, ht_pool_t* pool, ht_bucket_t* head, void* element, uint8_t tag
) noexcept nogil

cdef inline void chain_add(
    heap_t* heap, ht_pool_t* pool, ht_bucket_t* head, void* element, uint8_t tag
) noexcept nogil:
    """Puts an element into the chain. Fast-path. If: the head has room. Then: no call."""
    cdef uint64_t holes = bucket_holes(head)
    cdef int i
    if cf_likely(holes != 0):
        i = cf_ctz64(holes) >> 3
        head.tags[i] = tag
        head.slots[i] = element
    else:
        chain_add_overflow(heap, pool, head, element, tag)

cdef void chain_compact(ht_pool_t* pool, ht_bucket_t* head) noexcept nogil
    # Fills holes from the chain's last bucket and frees overflow buckets that are not needed.
cdef size_t chain_len(const ht_bucket_t* head) noexcept nogil
cdef void* chain_at(const ht_bucket_t* head, size_t at) noexcept nogil  # at < chain_len(head)
cdef size_t chain_copy(const ht_bucket_t* head, size_t first, size_t n, void** out) noexcept nogil
    # Up to n elements from the one numbered `first` on, prefetching the line of each; how many there were.
cdef void ht_bucket_each(ht_bucket_t* head, ht_each_fn fn, void* ctx) noexcept nogil
    # The elements of a chain. fn may remove elements if nothing compacts the chain meanwhile.
cdef void pool_put(ht_pool_t* pool, ht_bucket_t* b) noexcept nogil  # b's chain no longer refers to it
cdef void pool_free(heap_t* heap, ht_pool_t* pool) noexcept nogil  # all of it
