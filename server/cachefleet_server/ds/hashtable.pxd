"""Hash table of elements: chains of cache-line buckets, incremental resize, scan.

    ht_sampling  random elements        ht_freezing  point-in-time iteration        ht_checking  its invariants

A chain is a 64-byte bucket of 9 tags and slots and its overflow buckets (bucket.pxd). A lookup compares the
9 tags at once, so it touches an element only when 8 bits of its hash agree.

Two tables while a resize is under way (`rehash_index` >= 0): each mutation moves one bucket of
table 0. An element lies in table 1 exactly when its bucket of table 0 has been moved, so a lookup
reads one chain, resize or not. Elements are opaque words
of 48 bits, addresses in the main (bucket.pxd); `key_of` finds an element's key. The table never frees elements unless
told to. Bucket index = low bits of the hash; both tables are powers of two, so
SCAN's reverse-binary cursor returns everything that is present from start to end of a scan.

A frozen table (ht_freezing.pxd) is told before a chain changes: `ht_will_change` in here, `ht_announce` for in-place
changes of elements.

Cost: find, insert, remove O(1) expected.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cachefleet_server.ds.bucket cimport (
    HT_CHILD, HT_SLOTS, HT_VERSION, bucket_get, bucket_matches, bucket_next, bucket_slot, ht_bucket_each, ht_bucket_t,
    ht_each_fn, ht_pool_t, ht_slot_t, slot_get)
from cachefleet_server.ds.hash cimport hash_bytes, hash_seed_t
from cachefleet_server.ds.intrin cimport cf_ctz64, cf_equal, cf_fetch, cf_prefetch, cf_unlikely
from cachefleet_server.ds.zmalloc cimport heap_t

ctypedef const char* (*ht_key_fn)(const void* element, size_t* len) noexcept nogil
ctypedef void (*ht_freeze_fn)(void* ctx, hashtable_t* t, ht_bucket_t* head) noexcept nogil

cdef struct hashtable_t:
    heap_t* heap
    ht_key_fn key_of
    const hash_seed_t* seed  # borrowed; outlives the table
    ht_bucket_t* tables[2]
    uint64_t masks[2]  # bucket count - 1; 0 while tables[i] is NULL
    int64_t rehash_index  # next bucket of table 0 to move, or -1
    ht_freeze_fn freeze_fn  # NULL when no frozen iteration is under way
    size_t used[2]  # elements
    bint merged  # table 0 was given to be merged into huge pages
    int resize_paused  # > 0: no resize begins, no rehash step runs, no chain is compacted (inside a scan)
    uint8_t version  # freeze version, 0..HT_VERSION
    uint8_t stale_versions  # how many older versions chains may still carry: freezes that ended early
    uint64_t layout_id  # changes when buckets change their index (resize begins or ends)
    void* freeze_ctx
    uint64_t freeze_next[2]  # the frozen iteration's place in each table
    size_t array_bytes  # what the arrays count for in heap.used: buckets not moved yet, or moved into
    ht_pool_t pools[2]  # overflow buckets

cdef void ht_init(hashtable_t* t, heap_t* heap, ht_key_fn key_of, const hash_seed_t* seed) noexcept nogil
    # Owns no buckets before the first insert. In memory of the caller's.
cdef hashtable_t* ht_new(heap_t* heap, ht_key_fn key_of, const hash_seed_t* seed) noexcept nogil
cdef void ht_free(hashtable_t* t, ht_each_fn free_element, void* ctx) noexcept nogil
    # free_element may be NULL. The table must not be frozen: its owner ends the freeze (or hands the table
    # over to whoever iterates) before. NULL is fine.

cdef inline size_t ht_len(const hashtable_t* t) noexcept nogil:
    return t.used[0] + t.used[1]

cdef inline uint64_t ht_hash(const hashtable_t* t, const char* key, size_t n) noexcept nogil:
    return hash_bytes(key, n, t.seed)

cdef inline uint8_t ht_tag(uint64_t hash) noexcept nogil:
    cdef uint8_t tag = hash >> 56
    return tag | (tag == 0)

cdef inline ht_bucket_t* ht_head(const hashtable_t* t, uint64_t hash) noexcept nogil:
    """The one chain where this hash may lie; NULL when the table has no buckets yet."""
    cdef uint64_t i = hash & t.masks[0]
    if cf_unlikely(<int64_t>i < t.rehash_index):
        return t.tables[1] + (hash & t.masks[1])
    return t.tables[0] + i

cdef inline void ht_stamp(const hashtable_t* t, ht_bucket_t* head) noexcept nogil:
    head.meta = (head.meta & HT_CHILD) | t.version

cdef inline size_t ht_buckets(const hashtable_t* t, int ti) noexcept nogil:
    return t.masks[ti] + 1 if t.tables[ti] != NULL else 0

cdef inline bint ht_is_live(const hashtable_t* t, int ti, uint64_t index) noexcept nogil:
    """Whether this bucket may hold elements. The others are zero, but their pages may not exist: not to be read."""
    if ti == 0:
        return <int64_t>index >= t.rehash_index
    return <int64_t>(index & t.masks[0] & t.masks[1]) < t.rehash_index

# Lookup. `hash` is always hash_bytes(key) with the table's seed.
cdef ht_slot_t ht_find_overflow(
    hashtable_t* t, ht_bucket_t* head, const char* key, size_t n, uint64_t hash) noexcept nogil

cdef inline ht_slot_t ht_find_slot(hashtable_t* t, const char* key, size_t n, uint64_t hash) noexcept nogil:
    """The slot that holds the element, or 0. Valid until the next mutation of the table.

    A caller may store another element of the same key there (slot_set), after ht_announce.
    """
    cdef ht_bucket_t* b = ht_head(t, hash)
    cdef uint32_t m
    cdef int i
    cdef size_t len
    cdef const char* found
    if b == NULL:
        return 0
    m = bucket_matches(b, ht_tag(hash))
    while m:
        i = cf_ctz64(m)
        found = t.key_of(bucket_get(b, i), &len)
        if len == n and cf_equal(found, key, n):
            return bucket_slot(b, i)
        m &= m - 1
    if b.meta & HT_CHILD:
        return ht_find_overflow(t, b, key, n, hash)
    return 0

cdef inline void* ht_find(hashtable_t* t, const char* key, size_t n, uint64_t hash) noexcept nogil:
    """The element, or NULL."""
    cdef ht_slot_t slot = ht_find_slot(t, key, n, hash)
    return slot_get(slot) if slot else NULL

cdef inline void ht_prefetch_bucket(hashtable_t* t, uint64_t hash) noexcept nogil:
    cf_prefetch(ht_head(t, hash))

cdef inline bint ht_prefetch_match(const ht_bucket_t* b, uint64_t hash) noexcept nogil:
    """Brings in two lines of the first candidate in a bucket; false when there is none.

    The first line by a load: a batch of loads does not wait for each other, and where prefetch instructions were used
    instead, GET and SET took 1.5 times and MSET twice the CPU time (100 000 keys, 64-byte values).
    """
    cdef uint32_t m = bucket_matches(b, ht_tag(hash))
    cdef char* element
    if m == 0:
        return False
    element = <char*>bucket_get(b, cf_ctz64(m))
    cf_fetch(element)
    cf_prefetch(element + 64)
    return True

cdef inline bint ht_prefetch_element(hashtable_t* t, uint64_t hash) noexcept nogil:
    """Second pass: the element if its tag is in the head, else the overflow bucket. True: a third pass is needed."""
    cdef ht_bucket_t* b = ht_head(t, hash)
    if b == NULL or ht_prefetch_match(b, hash) or not b.meta & HT_CHILD:
        return False
    cf_prefetch(bucket_next(b))
    return True

cdef inline void ht_prefetch_overflow(hashtable_t* t, uint64_t hash) noexcept nogil:
    """Third pass: the element if its tag is in the overflow bucket, as for up to a quarter of a full table's."""
    cdef ht_bucket_t* b = ht_head(t, hash)
    if b != NULL and b.meta & HT_CHILD and not bucket_matches(b, ht_tag(hash)):
        ht_prefetch_match(bucket_next(b), hash)

cdef inline void* ht_candidate(const hashtable_t* t, uint64_t hash) noexcept nogil:
    """The first element with this hash's tag, in the head or the overflow bucket; mostly the one with this hash. Of use
    for prefetching alone: no key is compared."""
    cdef const ht_bucket_t* b = ht_head(t, hash)
    cdef uint32_t m
    if b == NULL:
        return NULL
    m = bucket_matches(b, ht_tag(hash))
    if m == 0 and b.meta & HT_CHILD:
        b = bucket_next(b)
        m = bucket_matches(b, ht_tag(hash))
    return bucket_get(b, cf_ctz64(m)) if m else NULL

cdef inline ht_slot_t ht_find_pointer(const hashtable_t* t, const void* element, uint64_t hash) noexcept nogil:
    """The slot that holds this very element under this hash, or 0. Never follows it: it may dangle."""
    cdef ht_bucket_t* b = ht_head(t, hash)
    cdef int i
    while b != NULL:
        for i in range(HT_SLOTS):
            if b.tags[i] and bucket_get(b, i) == element:
                return bucket_slot(b, i)
        b = bucket_next(b)
    return 0

cdef inline bint ht_holds(const hashtable_t* t, const void* element, uint64_t hash) noexcept nogil:
    return ht_find_pointer(t, element, hash) != 0

# Mutation.
cdef void ht_insert(hashtable_t* t, void* element, uint64_t hash) noexcept nogil  # key must be absent
cdef void* ht_remove(hashtable_t* t, const char* key, size_t n, uint64_t hash) noexcept nogil  # element or NULL
cdef void ht_clear(hashtable_t* t, ht_each_fn free_element, void* ctx) noexcept nogil
    # Empties the table and gives its buckets back: the end of one that ht_init made. Must not be frozen (see ht_free),
    # nor inside a scan.
cdef void ht_deliver(hashtable_t* t, ht_bucket_t* head) noexcept nogil  # freeze_fn on one chain, and marks it

cdef inline void ht_will_change(hashtable_t* t, ht_bucket_t* head) noexcept nogil:
    if cf_unlikely(t.freeze_fn != NULL) and (head.meta & HT_VERSION) != t.version:
        ht_deliver(t, head)

cdef inline void ht_announce(hashtable_t* t, uint64_t hash) noexcept nogil:
    """Before an in-place change of the element with this hash. Moves nothing: slots stay valid."""
    cdef ht_bucket_t* head
    if cf_unlikely(t.freeze_fn != NULL):
        head = ht_head(t, hash)
        if head != NULL:
            ht_will_change(t, head)

# Size.
cdef void ht_reserve(hashtable_t* t, size_t n) noexcept nogil  # room for n elements without resizing on the way
cdef bint ht_rehash_steps(hashtable_t* t, size_t steps) noexcept nogil  # true while more is to do
cdef bint ht_resize_if_needed(hashtable_t* t) noexcept nogil
    # Cron: begins a shrink when nearly empty (removals begin one themselves); else has the pages of a table that
    # reached its size merged. True while a resize is under way.
cdef size_t ht_array_bytes(const hashtable_t* t) noexcept nogil  # what array_bytes should be
cdef size_t ht_memory(const hashtable_t* t) noexcept nogil  # bytes of buckets and header
cdef size_t ht_mapped(const hashtable_t* t) noexcept nogil  # of these, what is not in malloc's arenas
cdef size_t ht_rehashing_memory(const hashtable_t* t) noexcept nogil  # of the array that is being left; 0 = none is
cdef size_t ht_slots(const hashtable_t* t) noexcept nogil  # slots in both tables' head buckets

# Iteration.
cdef uint64_t ht_scan(hashtable_t* t, uint64_t cursor, ht_each_fn fn, void* ctx) noexcept nogil
    # Delivers the chains of one cursor; 0 starts and means the end. fn may delete the delivered element,
    # and insert and remove others.
