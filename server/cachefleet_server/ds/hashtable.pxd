"""Hash table of element pointers: 64-byte buckets, incremental resize, scan, sampling, freezing.

    bucket (one cache line)
    +------+--------------+------------------------------------------+
    | meta | tags[7]      | slots[7]: element pointers               |
    +------+--------------+------------------------------------------+
    meta: bit 7 = slots[6] is a pointer to an overflow bucket, not an element
          bits 0-2 = freeze version of the chain (kept in its head bucket only)
    tag: 0 = empty slot; else the hash's top byte (0 becomes 1). A lookup compares the 7 tags at
         once, so it touches an element only when 8 bits of its hash agree.

Two tables while a resize is under way (`rehash_index` >= 0): each mutation moves one bucket of
table 0. Elements are opaque; `key_of` finds an element's key. The table never frees elements unless
told to. Bucket index = low bits of the hash; both tables are powers of two, so SCAN's
reverse-binary cursor returns everything that is present from start to end of a scan.

Freezing (point-in-time iteration, DESIGN 3.6): while `freeze_fn` is set, each function that is about
to change a chain whose version is not `version` first calls freeze_fn on it, once, then marks it. The
iterator walks the chains the same way, so every chain is delivered exactly once, in the state it had
when freezing began. In-place changes of an element must be announced with `ht_touch`.

Cost: find, insert, remove O(1) expected; random O(1) expected; check O(n).
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cachefleet_server.ds.hash cimport hash_bytes, hash_seed_t
from cachefleet_server.ds.intrin cimport cf_prefetch, cf_unlikely
from cachefleet_server.ds.zmalloc cimport heap_t

cdef enum:
    HT_SLOTS = 7

cdef struct ht_bucket_t:
    uint8_t meta
    uint8_t tags[7]
    void* slots[7]

ctypedef const char* (*ht_key_fn)(const void* element, size_t* len) noexcept nogil
ctypedef void (*ht_each_fn)(void* ctx, void* element) noexcept nogil
ctypedef void (*ht_freeze_fn)(void* ctx, hashtable_t* t, ht_bucket_t* head) noexcept nogil

cdef struct hashtable_t:
    heap_t* heap
    ht_key_fn key_of
    const hash_seed_t* seed  # borrowed; outlives the table
    ht_bucket_t* tables[2]
    uint64_t masks[2]  # bucket count - 1; meaningless while tables[i] is NULL
    size_t used[2]  # elements
    size_t children[2]  # overflow buckets
    int64_t rehash_index  # next bucket of table 0 to move, or -1
    int resize_paused  # > 0: no resize begins and no rehash step runs (inside a scan callback)
    uint8_t version  # freeze version, 0..7
    uint64_t layout_id  # changes when buckets change their index (resize begins or ends)
    ht_freeze_fn freeze_fn  # NULL when no frozen iteration is under way
    void* freeze_ctx

cdef hashtable_t* ht_new(heap_t* heap, ht_key_fn key_of, const hash_seed_t* seed) noexcept nogil
cdef void ht_free(hashtable_t* t, ht_each_fn free_element, void* ctx) noexcept nogil  # free_element may be NULL

cdef inline size_t ht_len(const hashtable_t* t) noexcept nogil:
    return t.used[0] + t.used[1]

cdef inline uint64_t ht_hash(const hashtable_t* t, const char* key, size_t n) noexcept nogil:
    return hash_bytes(key, n, t.seed)

# Lookup. `hash` is always hash_bytes(key) with the table's seed.
cdef void** ht_find(hashtable_t* t, const char* key, size_t n, uint64_t hash) noexcept nogil
    # The slot that holds the element, or NULL. Valid until the next mutation of the table. A caller
    # may store another pointer for the same key through it, after ht_touch.
cdef void ht_prefetch_bucket(hashtable_t* t, uint64_t hash) noexcept nogil
cdef void ht_prefetch_element(hashtable_t* t, uint64_t hash) noexcept nogil
    # Second pass: matches the tags and prefetches two lines of the first candidate element.

cdef inline bint ht_holds(const hashtable_t* t, const void* element, uint64_t hash) noexcept nogil:
    """Whether this very pointer is stored under this hash. Never follows it: it may dangle."""
    cdef ht_bucket_t* b
    cdef int i, side
    for side in range(2):
        if t.tables[side] == NULL:
            continue
        b = &t.tables[side][hash & t.masks[side]]
        while b != NULL:
            for i in range(HT_SLOTS - (b.meta >> 7)):
                if b.tags[i] and b.slots[i] == element:
                    return True
            b = <ht_bucket_t*>b.slots[6] if b.meta & 0x80 else NULL
    return False

# Mutation.
cdef void ht_insert(hashtable_t* t, void* element, uint64_t hash) noexcept nogil  # key must be absent
cdef void* ht_remove(hashtable_t* t, const char* key, size_t n, uint64_t hash) noexcept nogil  # element or NULL
cdef void ht_touch(hashtable_t* t, uint64_t hash) noexcept nogil  # before an in-place change; cheap unless frozen
cdef void ht_clear(hashtable_t* t, ht_each_fn free_element, void* ctx) noexcept nogil

# Size.
cdef void ht_reserve(hashtable_t* t, size_t n) noexcept nogil  # room for n elements without resizing on the way
cdef bint ht_rehash_steps(hashtable_t* t, size_t steps) noexcept nogil  # true while more is to do
cdef bint ht_resize_if_needed(hashtable_t* t) noexcept nogil  # cron: begins a shrink when nearly empty
cdef size_t ht_memory(const hashtable_t* t) noexcept nogil  # bytes of buckets and header
cdef size_t ht_slots(const hashtable_t* t) noexcept nogil  # slots in both tables' head buckets

# Iteration.
cdef uint64_t ht_scan(hashtable_t* t, uint64_t cursor, ht_each_fn fn, void* ctx) noexcept nogil
    # Delivers the chains of one cursor; 0 starts and means the end. fn may delete the delivered element.
cdef void* ht_random(hashtable_t* t, uint64_t* rng) noexcept nogil  # fair; NULL when empty
cdef size_t ht_sample(hashtable_t* t, void** out, size_t n, uint64_t* rng) noexcept nogil
    # Up to n elements from neighbouring buckets, fast and not fair: for eviction.
cdef void ht_bucket_each(ht_bucket_t* head, ht_each_fn fn, void* ctx) noexcept nogil  # elements of one chain

# Frozen iteration. One at a time a table.
cdef void ht_freeze_begin(hashtable_t* t, ht_freeze_fn fn, void* ctx) noexcept nogil
cdef bint ht_freeze_step(hashtable_t* t, uint64_t* position, size_t chains) noexcept nogil
    # Delivers up to `chains` chains that were not delivered yet; *position starts at 0; true while more is left.
cdef void ht_freeze_end(hashtable_t* t) noexcept nogil  # also after an early end; O(1) unless 7 ended early

cdef int ht_check(hashtable_t* t) noexcept nogil  # 0, or the number of the first broken invariant (see .pyx)

cdef inline uint64_t rng_next(uint64_t* state) noexcept nogil:
    """splitmix64: fast, seedable, not cryptographic."""
    state[0] += <uint64_t>0x9E3779B97F4A7C15
    cdef uint64_t z = state[0]
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)
