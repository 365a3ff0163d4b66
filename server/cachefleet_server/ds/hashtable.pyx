"""Hash table; see hashtable.pxd for the idea, bucket.pxd for chains, ht_*.pxd for what else there is.

Load. A table grows to the next power of two when it would hold more than HT_GROW_LOAD elements a
bucket, and shrinks below HT_SHRINK_LOAD_8TH / 8. Right before growing about 40 % of the buckets have an
overflow bucket, right after it 3 %; over a doubling the average is 11.6 bytes an element, overflow included.

Memory. heap.used counts of the arrays only what is in use: the part of table 0 that has not been moved
and the part of table 1 that has been moved into. So `used_memory` does not jump when a resize begins, and
the resident set agrees, as untouched pages of the new array do not exist and moved ones are given back.
Overflow buckets belong to the pool of their table and leave with it.

Chains are compacted at each removal, except inside a scan, which compacts what it has delivered.
"""

from libc.stdint cimport UINT64_MAX
from libc.string cimport memset

from cachefleet_server.ds.bucket cimport (
    HT_SLOT_FIRST, bucket_elements, bucket_next, chain_add, chain_compact, chain_is_empty, chain_prefetch, pool_free,
    pool_put, slot_bucket)
from cachefleet_server.ds.intrin cimport ENGINE_DEBUG, cf_assert, cf_reverse64
from cachefleet_server.ds.zmalloc cimport (
    ARRAY_DROP, ARRAY_MAP_MIN, array_drop, array_free, array_merge, array_new, zfree, zmalloc)

cdef enum:
    HT_GROW_LOAD = 9  # elements a bucket
    HT_SHRINK_LOAD_8TH = 9  # eighths of an element a bucket
    HT_SHRINK_MIN = 4  # buckets; smaller tables never shrink
    HT_EMPTY_VISITS = 16  # empty buckets that one rehash step may pass besides the one it moves


# ---- life and size -------------------------------------------------------------------------------

cdef void ht_init(hashtable_t* t, heap_t* heap, ht_key_fn key_of, const hash_seed_t* seed) noexcept nogil:
    memset(t, 0, sizeof(hashtable_t))
    t.heap = heap
    t.key_of = key_of
    t.seed = seed
    t.rehash_index = -1


cdef hashtable_t* ht_new(heap_t* heap, ht_key_fn key_of, const hash_seed_t* seed) noexcept nogil:
    cdef hashtable_t* t = <hashtable_t*>zmalloc(heap, sizeof(hashtable_t))
    ht_init(t, heap, key_of, seed)
    return t


cdef size_t ht_array_bytes(const hashtable_t* t) noexcept nogil:
    cdef size_t n0 = ht_buckets(t, 0)
    cdef size_t n1 = ht_buckets(t, 1)
    if t.rehash_index < 0:
        return n0 * sizeof(ht_bucket_t)
    if n1 > n0:
        n1 = n1 / n0 * t.rehash_index
    return (n0 - t.rehash_index + n1) * sizeof(ht_bucket_t)


cdef inline void _account(hashtable_t* t) noexcept nogil:
    cdef size_t bytes = ht_array_bytes(t)
    t.heap.used += bytes - t.array_bytes
    t.array_bytes = bytes


cdef void _array_new(hashtable_t* t, int ti, size_t buckets) noexcept nogil:
    t.tables[ti] = <ht_bucket_t*>array_new(buckets * sizeof(ht_bucket_t))
    t.masks[ti] = buckets - 1
    t.freeze_next[ti] = UINT64_MAX  # born empty: a freeze under way has nothing to deliver here


cdef void _array_free(hashtable_t* t, int ti) noexcept nogil:
    array_free(t.tables[ti], ht_buckets(t, ti) * sizeof(ht_bucket_t))
    t.tables[ti] = NULL
    t.masks[ti] = 0
    t.used[ti] = 0
    pool_free(t.heap, &t.pools[ti])


cdef void _free_all(hashtable_t* t, ht_each_fn free_element, void* ctx) noexcept nogil:
    cdef int ti
    cdef size_t i
    for ti in range(2):
        if free_element != NULL and t.used[ti]:
            # Element lines are cold: the next chain's are fetched while one chain is freed.
            for i in range(ht_buckets(t, ti)):
                if i < t.masks[ti] and ht_is_live(t, ti, i + 1):
                    chain_prefetch(&t.tables[ti][i + 1])
                if ht_is_live(t, ti, i):
                    ht_bucket_each(&t.tables[ti][i], free_element, ctx)
        _array_free(t, ti)
    t.rehash_index = -1
    t.layout_id += 1
    _account(t)


cdef void ht_free(hashtable_t* t, ht_each_fn free_element, void* ctx) noexcept nogil:
    if t != NULL:
        cf_assert(t.freeze_fn == NULL)
        _free_all(t, free_element, ctx)
        zfree(t.heap, t)


cdef void ht_clear(hashtable_t* t, ht_each_fn free_element, void* ctx) noexcept nogil:
    _free_all(t, free_element, ctx)
    t.stale_versions = 0


cdef size_t ht_memory(const hashtable_t* t) noexcept nogil:
    # Overflow buckets in use; up to a fifth more may lie idle in slabs.
    return sizeof(hashtable_t) + t.array_bytes + (t.pools[0].used + t.pools[1].used) * sizeof(ht_bucket_t)


cdef size_t ht_mapped(const hashtable_t* t) noexcept nogil:
    return t.array_bytes if t.array_bytes >= ARRAY_MAP_MIN else 0


cdef size_t ht_rehashing_memory(const hashtable_t* t) noexcept nogil:
    return ht_buckets(t, 0) * sizeof(ht_bucket_t) if ht_buckets(t, 1) else 0


cdef size_t ht_slots(const hashtable_t* t) noexcept nogil:
    return (ht_buckets(t, 0) + ht_buckets(t, 1)) * HT_SLOTS


cdef size_t _buckets_for(size_t n) noexcept nogil:
    cdef size_t buckets = 1
    while buckets * HT_GROW_LOAD < n:
        buckets <<= 1
    return buckets


cdef void _resize_begin(hashtable_t* t, size_t buckets) noexcept nogil:
    _array_new(t, 1, buckets)
    t.rehash_index = 0
    t.layout_id += 1
    _account(t)


cdef void _resize_end(hashtable_t* t) noexcept nogil:
    _array_free(t, 0)
    t.tables[0] = t.tables[1]
    t.masks[0] = t.masks[1]
    t.used[0] = t.used[1]
    t.freeze_next[0] = t.freeze_next[1]
    t.pools[0] = t.pools[1]
    t.tables[1] = NULL
    t.masks[1] = 0
    t.used[1] = 0
    memset(&t.pools[1], 0, sizeof(ht_pool_t))
    t.rehash_index = -1
    t.layout_id += 1
    t.merged = False


cdef void _move_chain(hashtable_t* t, ht_bucket_t* head) noexcept nogil:
    """Moves the chain at rehash_index to table 1."""
    cdef ht_bucket_t* b = head
    cdef ht_bucket_t* next
    cdef ht_bucket_t* target
    cdef uint32_t m
    cdef size_t n
    cdef int i
    cdef const char* key
    ht_will_change(t, head)
    while b != NULL:
        m = bucket_elements(b)
        while m:
            i = cf_ctz64(m)
            m &= m - 1
            key = t.key_of(bucket_get(b, i), &n)
            target = t.tables[1] + (hash_bytes(key, n, t.seed) & t.masks[1])
            ht_will_change(t, target)
            ht_stamp(t, target)
            chain_add(t.heap, &t.pools[1], target, bucket_get(b, i), b.tags[i])
            t.used[0] -= 1
            t.used[1] += 1
        next = bucket_next(b)
        if b != head:
            pool_put(&t.pools[0], b)
        b = next
    memset(head, 0, HT_SLOT_FIRST + 2)  # meta and tags


cdef void _rehash_step(hashtable_t* t) noexcept nogil:
    """Moves one bucket, and passes a few empty ones; ends the resize behind the last bucket."""
    cdef int visits = 0
    cdef bint moved = False
    cdef ht_bucket_t* head
    while <uint64_t>t.rehash_index <= t.masks[0]:
        head = &t.tables[0][t.rehash_index]
        if not chain_is_empty(head):
            if moved:
                # The next step's elements arrive while the caller does other work.
                chain_prefetch(head)
                break
            _move_chain(t, head)
            moved = True
        visits += 1
        t.rehash_index += 1
        if not t.rehash_index * sizeof(ht_bucket_t) & (ARRAY_DROP - 1):
            array_drop(t.tables[0], ht_buckets(t, 0) * sizeof(ht_bucket_t), t.rehash_index * sizeof(ht_bucket_t))
        if visits > HT_EMPTY_VISITS:
            break
    if <uint64_t>t.rehash_index > t.masks[0]:
        _resize_end(t)
    _account(t)


cdef inline void _mutation_step(hashtable_t* t) noexcept nogil:
    if cf_unlikely(t.rehash_index >= 0) and t.resize_paused == 0:
        _rehash_step(t)


cdef bint ht_rehash_steps(hashtable_t* t, size_t steps) noexcept nogil:
    while steps and t.rehash_index >= 0 and t.resize_paused == 0:
        _rehash_step(t)
        steps -= 1
    return t.rehash_index >= 0 and t.resize_paused == 0


cdef inline bint _is_nearly_empty(const hashtable_t* t) noexcept nogil:
    return t.used[0] * 8 < t.masks[0] * HT_SHRINK_LOAD_8TH and t.masks[0] >= HT_SHRINK_MIN and t.rehash_index < 0


cdef bint ht_resize_if_needed(hashtable_t* t) noexcept nogil:
    if t.resize_paused == 0 and _is_nearly_empty(t):
        # Half of what growing allows, so that neither way is due again soon.
        _resize_begin(t, _buckets_for(2 * t.used[0]))
    elif t.rehash_index < 0 and not t.merged:
        t.merged = True
        array_merge(t.heap, t.tables[0], ht_buckets(t, 0) * sizeof(ht_bucket_t))
    return t.rehash_index >= 0


cdef void ht_reserve(hashtable_t* t, size_t n) noexcept nogil:
    cdef size_t buckets = _buckets_for(n)
    if t.resize_paused:
        return
    if t.rehash_index >= 0 and buckets > t.masks[1] + 1:
        while ht_rehash_steps(t, 1024):
            pass
    if t.rehash_index >= 0 or (t.tables[0] != NULL and buckets <= t.masks[0] + 1):
        return
    if t.used[0] == 0:
        _array_free(t, 0)
        _array_new(t, 0, buckets)
        t.merged = False
        t.layout_id += 1
        _account(t)
    else:
        _resize_begin(t, buckets)


# ---- lookup and mutation -------------------------------------------------------------------------

cdef ht_slot_t ht_find_overflow(
    hashtable_t* t, ht_bucket_t* head, const char* key, size_t n, uint64_t hash
) noexcept nogil:
    """The rest of ht_find: the buckets behind the head."""
    cdef ht_bucket_t* b = bucket_next(head)
    cdef uint8_t tag = ht_tag(hash)
    cdef uint32_t m
    cdef size_t len
    cdef int i
    cdef const char* found
    while b != NULL:
        m = bucket_matches(b, tag)
        while m:
            i = cf_ctz64(m)
            found = t.key_of(bucket_get(b, i), &len)
            if len == n and cf_equal(found, key, n):
                return bucket_slot(b, i)
            m &= m - 1
        b = bucket_next(b)
    return 0


cdef bint _has_key_of(hashtable_t* t, const void* element, uint64_t hash) noexcept nogil:
    cdef size_t n
    cdef const char* key = t.key_of(element, &n)
    return ht_find(t, key, n, hash) != NULL


cdef void ht_insert(hashtable_t* t, void* element, uint64_t hash) noexcept nogil:
    cdef ht_bucket_t* head
    cdef int ti
    if ENGINE_DEBUG:
        cf_assert(not _has_key_of(t, element, hash))
    if cf_unlikely(t.tables[0] == NULL):
        _array_new(t, 0, 1)
        _account(t)
    if cf_unlikely(t.used[0] >= (t.masks[0] + 1) * HT_GROW_LOAD and t.rehash_index < 0 and t.resize_paused == 0):
        _resize_begin(t, 2 * (t.masks[0] + 1))
    _mutation_step(t)
    head = ht_head(t, hash)
    ht_will_change(t, head)
    ht_stamp(t, head)
    ti = <int64_t>(hash & t.masks[0]) < t.rehash_index
    chain_add(t.heap, &t.pools[ti], head, element, ht_tag(hash))
    t.used[ti] += 1


cdef void* ht_remove(hashtable_t* t, const char* key, size_t n, uint64_t hash) noexcept nogil:
    cdef ht_slot_t slot
    cdef void* element
    cdef ht_bucket_t* head
    cdef ht_bucket_t* b
    cdef int ti, i
    _mutation_step(t)
    slot = ht_find_slot(t, key, n, hash)
    if slot == 0:
        return NULL
    head = ht_head(t, hash)
    ht_will_change(t, head)
    element = slot_get(slot)
    b = slot_bucket(slot, &i)
    b.tags[i] = 0
    ti = <int64_t>(hash & t.masks[0]) < t.rehash_index
    t.used[ti] -= 1
    if t.resize_paused == 0:
        if head.meta & HT_CHILD:
            chain_compact(&t.pools[ti], head)
        if cf_unlikely(_is_nearly_empty(t)):
            ht_resize_if_needed(t)
    return element


cdef void ht_deliver(hashtable_t* t, ht_bucket_t* head) noexcept nogil:
    ht_stamp(t, head)
    if not chain_is_empty(head):
        t.freeze_fn(t.freeze_ctx, t, head)


# ---- iteration -----------------------------------------------------------------------------------

cdef void _scan_chain(hashtable_t* t, int ti, uint64_t index, ht_each_fn fn, void* ctx) noexcept nogil:
    if not ht_is_live(t, ti, index):
        return
    ht_bucket_each(&t.tables[ti][index], fn, ctx)
    if t.resize_paused == 1:
        chain_compact(&t.pools[ti], &t.tables[ti][index])


cdef inline uint64_t _cursor_next(uint64_t cursor, uint64_t mask) noexcept nogil:
    """Adds one to the reversed bits of the cursor, so that the high bits run fastest.

    A resize adds or drops high bits of the index. Buckets that this order has passed in a small table are
    exactly those that it has passed in a larger one, so nothing is missed when the size changes.
    """
    return cf_reverse64(cf_reverse64(cursor | ~mask) + 1)


cdef uint64_t ht_scan(hashtable_t* t, uint64_t cursor, ht_each_fn fn, void* ctx) noexcept nogil:
    cdef int small = 0
    cdef int large = 1
    cdef uint64_t differing
    if ht_len(t) == 0:
        return 0
    t.resize_paused += 1
    if t.rehash_index < 0:
        _scan_chain(t, 0, cursor & t.masks[0], fn, ctx)
        cursor = _cursor_next(cursor, t.masks[0])
    else:
        if t.masks[0] > t.masks[1]:
            small, large = 1, 0
        differing = t.masks[small] ^ t.masks[large]
        _scan_chain(t, small, cursor & t.masks[small], fn, ctx)
        while True:  # every bucket of the large table that the small one's bucket stands for
            _scan_chain(t, large, cursor & t.masks[large], fn, ctx)
            cursor = _cursor_next(cursor, t.masks[large])
            if not cursor & differing:
                break
    t.resize_paused -= 1
    return cursor
