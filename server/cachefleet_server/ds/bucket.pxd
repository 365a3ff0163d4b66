"""Buckets and chains: the cells of the hash table (hashtable.pxd).

    bucket (one cache line, aligned to its size)
    +------+--------------+------------------------------------------+
    | meta | tags[9]      | slots[9] of 48 bits                      |
    +------+--------------+------------------------------------------+
    meta: bit 7 = the last slot is the address of an overflow bucket, not an element (its tag is 0 then)
          bits 0-6 = freeze version of the chain (kept in its head bucket only)
    tag: 0 = empty slot; else eight bits of the element's hash
    slot: an element, an address of 48 bits; of one aligned to 4 the low two bits are its owner's to use. They are
          part of the element wherever the table hands it on, and of no meaning to the table.

A chain is a head bucket and its overflow buckets. A full bucket turns its last slot into the pointer to an
overflow bucket, so a chained bucket holds 8 elements. Every bucket but the last is full and an overflow
bucket that is last holds at least 2, unless elements were taken out without `chain_compact`.

Overflow buckets come from a pool, in slabs that grow with it; the pool is given back as a whole.
A slot is the high end of the eight bytes that end with it, so one load and a shift read it. Masks of slots have bit i
set for slot i. Nine slots instead of seven of 64 bits: 11.6 instead of 15 bytes an element in the mean over a doubling.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t

from cachefleet_server.ds.intrin cimport cf_ctz64, cf_likely, cf_load64, cf_match16, cf_prefetch, cf_store64
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    HT_SLOTS = 9
    HT_SLOT_BYTES = 6
    HT_SLOT_FIRST = 8  # where the eight bytes that end with slot 0 begin
    HT_CHILD = 0x80  # meta: the last slot is the overflow bucket
    HT_VERSION = 0x7F  # meta: freeze version

cdef struct ht_bucket_t:
    uint8_t meta
    uint8_t tags[9]
    uint8_t slots[54]

ctypedef uintptr_t ht_slot_t  # where an element is, of one table between two changes; 0: nowhere

cdef struct ht_pool_t:  # zero-initialised
    ht_bucket_t* free  # linked by slot 0
    ht_bucket_t* fresh  # never used ones of the newest slab
    size_t fresh_count
    size_t used  # buckets that chains hold
    void* slabs  # linked by their first word

ctypedef void (*ht_each_fn)(void* ctx, void* element) noexcept nogil

cdef inline ht_slot_t bucket_slot(const ht_bucket_t* b, int i) noexcept nogil:
    return <ht_slot_t>b + HT_SLOT_FIRST + i * HT_SLOT_BYTES

cdef inline void* slot_get(ht_slot_t slot) noexcept nogil:
    return <void*>(cf_load64(<void*>slot) >> 16)

cdef inline void slot_set(ht_slot_t slot, const void* element) noexcept nogil:
    cf_store64(<void*>slot, (cf_load64(<void*>slot) & 0xFFFF) | (<uint64_t>element << 16))

cdef inline void* bucket_get(const ht_bucket_t* b, int i) noexcept nogil:
    return slot_get(bucket_slot(b, i))

cdef inline void bucket_set(ht_bucket_t* b, int i, const void* element) noexcept nogil:
    slot_set(bucket_slot(b, i), element)

cdef inline ht_bucket_t* slot_bucket(ht_slot_t slot, int* i) noexcept nogil:
    """The slot's bucket, which is aligned to its size, and its number there."""
    cdef uintptr_t at = slot & (sizeof(ht_bucket_t) - 1)
    i[0] = <int>((at - HT_SLOT_FIRST) / HT_SLOT_BYTES)
    return <ht_bucket_t*>(slot - at)

cdef inline uint32_t bucket_matches(const ht_bucket_t* b, uint8_t tag) noexcept nogil:
    """Slots with this tag. Of the 16 bytes that are compared, the first is meta, the last six are of slot 0."""
    return cf_match16(b, tag) >> 1 & ((1 << HT_SLOTS) - 1)

cdef inline uint32_t bucket_elements(const ht_bucket_t* b) noexcept nogil:
    """Slots that hold an element."""
    return bucket_matches(b, 0) ^ ((1 << HT_SLOTS) - 1)

cdef inline uint32_t bucket_holes(const ht_bucket_t* b) noexcept nogil:
    """Slots that could take an element."""
    cdef uint32_t m = bucket_matches(b, 0)
    return m & ~<uint32_t>(1 << (HT_SLOTS - 1)) if b.meta & HT_CHILD else m

cdef inline ht_bucket_t* bucket_next(const ht_bucket_t* b) noexcept nogil:
    return <ht_bucket_t*>bucket_get(b, HT_SLOTS - 1) if b.meta & HT_CHILD else NULL

cdef inline bint chain_is_empty(const ht_bucket_t* head) noexcept nogil:
    return bucket_elements(head) == 0 and not head.meta & HT_CHILD

cdef inline void chain_prefetch(const ht_bucket_t* head) noexcept nogil:
    """The elements of the head and its overflow bucket."""
    cdef uint32_t m = bucket_elements(head)
    if head.meta & HT_CHILD:
        cf_prefetch(bucket_next(head))
    while m:
        cf_prefetch(bucket_get(head, cf_ctz64(m)))
        m &= m - 1

cdef void chain_add_overflow(
    heap_t* heap, ht_pool_t* pool, ht_bucket_t* head, void* element, uint8_t tag
) noexcept nogil

cdef inline void chain_add(
    heap_t* heap, ht_pool_t* pool, ht_bucket_t* head, void* element, uint8_t tag
) noexcept nogil:
    """Puts an element into the chain. Fast-path. If: the head has room. Then: no call."""
    cdef uint32_t holes = bucket_holes(head)
    cdef int i
    if cf_likely(holes != 0):
        i = cf_ctz64(holes)
        head.tags[i] = tag
        bucket_set(head, i, element)
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
