"""Hash table; see hashtable.pxd for layout, resizing and freezing.

Within a chain every bucket but the last is full, unless elements were removed while `resize_paused`;
the next removal in the chain repairs that. A bucket that is full turns its last slot into the pointer to
an overflow bucket, so a chained bucket holds 6 elements and the last one at least 2.

Load. A table grows to the next power of two when it would hold more than HT_GROW_LOAD elements a
bucket, and shrinks below HT_SHRINK_LOAD_8TH / 8. Right before growing about 40 % of the buckets have an
overflow bucket, right after it 3 %; over a doubling the average is 15 bytes an element, overflow included.

Memory. heap.used counts of the arrays only what is in use: the part of table 0 that has not been moved
and the part of table 1 that has been moved into. So `used_memory` does not jump when a resize begins, and
the resident set agrees, as untouched pages of the new array do not exist and moved ones are given back.
Overflow buckets come from slabs of the table they belong to and leave as a whole when it is moved.

Freezing. `version` goes up by one (of 8) when a freeze begins, so no chain carries it. An empty chain
needs no delivery, so a chain's version only means something while it holds elements: every addition
stamps it (after the delivery that may be due), and a new array needs no initialisation. A freeze that
ends early leaves chains with older versions; `stale_versions` counts how many versions can be about, and
before all 8 are, one walk stamps all chains.

Invariants, by the number that ht_check returns for their violation:
     1 tables, masks and rehash_index agree             2 used counts the elements
     3 children counts the overflow buckets             4 moved buckets are empty
     5 an element lies where its hash leads             6 with the right tag
     7 an element is found, once                        8 a chained bucket has no element in its last slot
     9 array_bytes is what the formula says            10 versions are within the stale range
    11 buckets are aligned                             12 the frozen iteration left nothing behind it
"""

from libc.stdint cimport UINT64_MAX, uintptr_t
from libc.string cimport memset

from cachefleet_server.ds.intrin cimport cf_likely, cf_popcount64, cf_reverse64
from cachefleet_server.ds.zmalloc cimport (
    ARRAY_DROP, array_drop, array_free, array_new, cf_atomic_add, zcalloc, zfree, zfree_remote, zmalloc
)

cdef enum:
    HT_GROW_LOAD = 7  # elements a bucket
    HT_SHRINK_LOAD_8TH = 7  # eighths of an element a bucket
    HT_SHRINK_MIN = 4  # buckets; smaller tables never shrink
    HT_EMPTY_VISITS = 16  # empty buckets that one rehash step may pass besides the one it moves
    HT_SLAB_MAX = 1023  # overflow buckets a slab: 64 KiB
    HT_FAIR_CHAIN = 24  # elements up to which chains are weighted exactly by ht_random
    HT_RANDOM_TRIES = 512
    HT_FREEZE_LOOKS = 8  # buckets looked at for each chain that a freeze step may deliver


# ---- buckets -------------------------------------------------------------------------------------

cdef inline ht_bucket_t* _next(const ht_bucket_t* b) noexcept nogil:
    return <ht_bucket_t*>b.slots[HT_SLOTS - 1] if b.meta & HT_CHILD else NULL


cdef inline uint64_t _occupied(const ht_bucket_t* b) noexcept nogil:
    """Bit 8 * i + 7 for each slot that holds an element."""
    return ht_matches(b, 0) ^ <uint64_t>0x0080808080808080


cdef inline uint64_t _holes(const ht_bucket_t* b) noexcept nogil:
    """Bit 8 * i + 7 for each slot that could take an element."""
    cdef uint64_t m = ht_matches(b, 0)
    return m & ~(<uint64_t>0x80 << 48) if b.meta & HT_CHILD else m


cdef inline bint _chain_is_empty(const ht_bucket_t* head) noexcept nogil:
    return _occupied(head) == 0 and not head.meta & HT_CHILD


cdef inline void _stamp(const hashtable_t* t, ht_bucket_t* head) noexcept nogil:
    head.meta = (head.meta & HT_CHILD) | t.version


cdef ht_bucket_t* _child_new(hashtable_t* t, int ti) noexcept nogil:
    cdef ht_pool_t* pool = &t.pools[ti]
    cdef ht_bucket_t* b = pool.free
    cdef size_t n
    cdef char* slab
    t.children[ti] += 1
    if b != NULL:
        pool.free = <ht_bucket_t*>b.slots[0]
        memset(b, 0, sizeof(ht_bucket_t))
        return b
    if pool.fresh_count == 0:
        n = t.children[ti] / 4
        n = 1 if n < 1 else (HT_SLAB_MAX if n > HT_SLAB_MAX else n)
        slab = <char*>zmalloc(t.heap, (n + 1) * sizeof(ht_bucket_t))
        (<void**>slab)[0] = pool.slabs
        pool.slabs = slab
        # malloc aligns to 16, so this leaves between 16 and 64 bytes for the link.
        pool.fresh = <ht_bucket_t*>((<uintptr_t>slab + 64) & ~<uintptr_t>63)
        pool.fresh_count = n
    b = pool.fresh
    pool.fresh += 1
    pool.fresh_count -= 1
    memset(b, 0, sizeof(ht_bucket_t))
    return b


cdef inline void _child_free(hashtable_t* t, int ti, ht_bucket_t* b) noexcept nogil:
    b.slots[0] = t.pools[ti].free
    t.pools[ti].free = b
    t.children[ti] -= 1


cdef void _pool_free(hashtable_t* t, int ti, bint remote) noexcept nogil:
    cdef void* slab = t.pools[ti].slabs
    cdef void* next
    while slab != NULL:
        next = (<void**>slab)[0]
        if remote:
            zfree_remote(t.heap, slab)
        else:
            zfree(t.heap, slab)
        slab = next
    memset(&t.pools[ti], 0, sizeof(ht_pool_t))
    t.children[ti] = 0


cdef void _chain_add(hashtable_t* t, int ti, ht_bucket_t* head, void* element, uint8_t tag) noexcept nogil:
    cdef ht_bucket_t* b = head
    cdef ht_bucket_t* child
    cdef uint64_t holes
    cdef int i
    while True:
        holes = _holes(b)
        if cf_likely(holes != 0):
            i = cf_ctz64(holes) >> 3
            b.tags[i] = tag
            b.slots[i] = element
            break
        if not b.meta & HT_CHILD:
            child = _child_new(t, ti)
            child.tags[0] = b.tags[HT_SLOTS - 1]
            child.slots[0] = b.slots[HT_SLOTS - 1]
            b.tags[HT_SLOTS - 1] = 0
            b.slots[HT_SLOTS - 1] = child
            b.meta |= HT_CHILD
        b = _next(b)
    t.used[ti] += 1


cdef void _chain_compact(hashtable_t* t, int ti, ht_bucket_t* head) noexcept nogil:
    """Fills holes from the chain's last bucket and frees overflow buckets that are not needed."""
    cdef ht_bucket_t* last
    cdef ht_bucket_t* parent
    cdef ht_bucket_t* hole
    cdef uint64_t elements
    cdef int i, to
    while head.meta & HT_CHILD:
        parent = NULL
        hole = NULL
        last = head
        while last.meta & HT_CHILD:
            if hole == NULL and _holes(last):
                hole = last
            parent = last
            last = _next(last)
        elements = _occupied(last)
        if elements and hole == NULL and elements & (elements - 1):
            return
        i = cf_ctz64(elements) >> 3 if elements else 0
        if elements and hole != NULL:
            to = cf_ctz64(_holes(hole)) >> 3
            hole.tags[to] = last.tags[i]
            hole.slots[to] = last.slots[i]
            last.tags[i] = 0
        else:  # the last bucket has one element, which replaces its parent's pointer, or none
            parent.tags[HT_SLOTS - 1] = last.tags[i] if elements else 0
            parent.slots[HT_SLOTS - 1] = last.slots[i] if elements else NULL
            parent.meta &= <uint8_t>~HT_CHILD
            _child_free(t, ti, last)


# ---- life and size -------------------------------------------------------------------------------

cdef hashtable_t* ht_new(heap_t* heap, ht_key_fn key_of, const hash_seed_t* seed) noexcept nogil:
    cdef hashtable_t* t = <hashtable_t*>zcalloc(heap, sizeof(hashtable_t))
    t.heap = heap
    t.key_of = key_of
    t.seed = seed
    t.rehash_index = -1
    return t


cdef inline size_t _buckets(const hashtable_t* t, int ti) noexcept nogil:
    return t.masks[ti] + 1 if t.tables[ti] != NULL else 0


cdef size_t _array_bytes(const hashtable_t* t) noexcept nogil:
    cdef size_t n0 = _buckets(t, 0)
    cdef size_t n1 = _buckets(t, 1)
    if t.rehash_index < 0:
        return n0 * sizeof(ht_bucket_t)
    if n1 > n0:
        n1 = n1 / n0 * t.rehash_index
    return (n0 - t.rehash_index + n1) * sizeof(ht_bucket_t)


cdef inline void _account(hashtable_t* t) noexcept nogil:
    cdef size_t bytes = _array_bytes(t)
    t.heap.used += bytes - t.array_bytes
    t.array_bytes = bytes


cdef void _array_new(hashtable_t* t, int ti, size_t buckets) noexcept nogil:
    t.tables[ti] = <ht_bucket_t*>array_new(buckets * sizeof(ht_bucket_t))
    t.masks[ti] = buckets - 1
    t.freeze_next[ti] = UINT64_MAX  # born empty: a freeze under way has nothing to deliver here


cdef void _array_free(hashtable_t* t, int ti, bint remote) noexcept nogil:
    array_free(t.tables[ti], _buckets(t, ti) * sizeof(ht_bucket_t))
    t.tables[ti] = NULL
    t.masks[ti] = 0
    t.used[ti] = 0
    _pool_free(t, ti, remote)


cdef void _free_all(hashtable_t* t, ht_each_fn free_element, void* ctx, bint remote) noexcept nogil:
    cdef int ti
    cdef size_t i
    for ti in range(2):
        if free_element != NULL and t.used[ti]:
            # Element lines are cold: the next chain's are fetched while one chain is freed.
            for i in range(0 if ti or t.rehash_index < 0 else t.rehash_index, _buckets(t, ti)):
                if i < t.masks[ti]:
                    _prefetch_chain(&t.tables[ti][i + 1])
                ht_bucket_each(&t.tables[ti][i], free_element, ctx)
        _array_free(t, ti, remote)
    t.rehash_index = -1
    t.layout_id += 1
    if remote:
        cf_atomic_add(&t.heap.freed_remote, t.array_bytes)
        t.array_bytes = 0
    else:
        _account(t)


cdef void ht_free(hashtable_t* t, ht_each_fn free_element, void* ctx) noexcept nogil:
    if t != NULL:
        _free_all(t, free_element, ctx, False)
        zfree(t.heap, t)


cdef void ht_free_remote(hashtable_t* t, ht_each_fn free_element, void* ctx) noexcept nogil:
    if t != NULL:
        _free_all(t, free_element, ctx, True)
        zfree_remote(t.heap, t)


cdef void ht_clear(hashtable_t* t, ht_each_fn free_element, void* ctx) noexcept nogil:
    _free_all(t, free_element, ctx, False)
    t.stale_versions = 0


cdef size_t ht_memory(const hashtable_t* t) noexcept nogil:
    # Slabs double-count nothing and waste at most a quarter; their buckets in use are what matters here.
    return sizeof(hashtable_t) + t.array_bytes + (t.children[0] + t.children[1]) * sizeof(ht_bucket_t)


cdef size_t ht_slots(const hashtable_t* t) noexcept nogil:
    return (_buckets(t, 0) + _buckets(t, 1)) * HT_SLOTS


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
    _array_free(t, 0, False)
    t.tables[0] = t.tables[1]
    t.masks[0] = t.masks[1]
    t.used[0] = t.used[1]
    t.children[0] = t.children[1]
    t.freeze_next[0] = t.freeze_next[1]
    t.pools[0] = t.pools[1]
    t.tables[1] = NULL
    t.masks[1] = 0
    t.used[1] = 0
    t.children[1] = 0
    memset(&t.pools[1], 0, sizeof(ht_pool_t))
    t.rehash_index = -1
    t.layout_id += 1


cdef inline void _prefetch_chain(const ht_bucket_t* head) noexcept nogil:
    cdef uint64_t m = _occupied(head)
    if head.meta & HT_CHILD:
        cf_prefetch(head.slots[HT_SLOTS - 1])
    while m:
        cf_prefetch(head.slots[cf_ctz64(m) >> 3])
        m &= m - 1


cdef void _move_chain(hashtable_t* t, ht_bucket_t* head) noexcept nogil:
    """Moves the chain at rehash_index to table 1."""
    cdef ht_bucket_t* b = head
    cdef ht_bucket_t* next
    cdef ht_bucket_t* target
    cdef uint64_t m
    cdef size_t n
    cdef int i
    cdef const char* key
    ht_will_change(t, head)
    while b != NULL:
        m = _occupied(b)
        while m:
            i = cf_ctz64(m) >> 3
            m &= m - 1
            key = t.key_of(b.slots[i], &n)
            target = t.tables[1] + (hash_bytes(key, n, t.seed) & t.masks[1])
            ht_will_change(t, target)
            _stamp(t, target)
            _chain_add(t, 1, target, b.slots[i], b.tags[i])
            t.used[0] -= 1
        next = _next(b)
        if b != head:
            _child_free(t, 0, b)
        b = next
    (<uint64_t*>head)[0] = 0


cdef void _rehash_step(hashtable_t* t) noexcept nogil:
    """Moves one bucket, and passes a few empty ones; ends the resize behind the last bucket."""
    cdef int visits = 0
    cdef bint moved = False
    cdef ht_bucket_t* head
    while <uint64_t>t.rehash_index <= t.masks[0]:
        head = &t.tables[0][t.rehash_index]
        if not _chain_is_empty(head):
            if moved:
                # The next step's elements arrive while the caller does other work.
                _prefetch_chain(head)
                break
            _move_chain(t, head)
            moved = True
        visits += 1
        t.rehash_index += 1
        if not t.rehash_index * sizeof(ht_bucket_t) & (ARRAY_DROP - 1):
            array_drop(t.tables[0], _buckets(t, 0) * sizeof(ht_bucket_t), t.rehash_index * sizeof(ht_bucket_t))
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
        _array_free(t, 0, False)
        _array_new(t, 0, buckets)
        t.layout_id += 1
        _account(t)
    else:
        _resize_begin(t, buckets)


# ---- lookup and mutation -------------------------------------------------------------------------

cdef void** ht_find_overflow(
    hashtable_t* t, ht_bucket_t* head, const char* key, size_t n, uint64_t hash
) noexcept nogil:
    """The rest of ht_find: the buckets behind the head."""
    cdef ht_bucket_t* b = _next(head)
    cdef uint8_t tag = ht_tag(hash)
    cdef uint64_t m
    cdef size_t len
    cdef int i
    cdef const char* found
    while b != NULL:
        m = ht_matches(b, tag)
        while m:
            i = cf_ctz64(m) >> 3
            found = t.key_of(b.slots[i], &len)
            if len == n and cf_equal(found, key, n):
                return &b.slots[i]
            m &= m - 1
        b = _next(b)
    return NULL


cdef void ht_insert(hashtable_t* t, void* element, uint64_t hash) noexcept nogil:
    cdef ht_bucket_t* head
    if cf_unlikely(t.tables[0] == NULL):
        _array_new(t, 0, 1)
        _account(t)
    if cf_unlikely(t.used[0] >= (t.masks[0] + 1) * HT_GROW_LOAD and t.rehash_index < 0 and t.resize_paused == 0):
        _resize_begin(t, 2 * (t.masks[0] + 1))
    _mutation_step(t)
    head = ht_head(t, hash)
    ht_will_change(t, head)
    _stamp(t, head)
    _chain_add(t, <int64_t>(hash & t.masks[0]) < t.rehash_index, head, element, ht_tag(hash))


cdef void* ht_remove(hashtable_t* t, const char* key, size_t n, uint64_t hash) noexcept nogil:
    cdef void** slot
    cdef void* element
    cdef ht_bucket_t* head
    cdef ht_bucket_t* b
    cdef int ti
    _mutation_step(t)
    slot = ht_find(t, key, n, hash)
    if slot == NULL:
        return NULL
    head = ht_head(t, hash)
    ht_will_change(t, head)
    element = slot[0]
    # Buckets are aligned to their size, so a slot leads to its bucket.
    b = <ht_bucket_t*>(<uintptr_t>slot & ~<uintptr_t>(sizeof(ht_bucket_t) - 1))
    b.tags[slot - &b.slots[0]] = 0
    ti = <int64_t>(hash & t.masks[0]) < t.rehash_index
    t.used[ti] -= 1
    if t.resize_paused == 0:
        if head.meta & HT_CHILD:
            _chain_compact(t, ti, head)
        if cf_unlikely(_is_nearly_empty(t)):
            ht_resize_if_needed(t)
    return element


# ---- iteration -----------------------------------------------------------------------------------

cdef void ht_bucket_each(ht_bucket_t* head, ht_each_fn fn, void* ctx) noexcept nogil:
    """fn may remove elements while compaction is paused: each bucket is read afresh behind each call."""
    cdef ht_bucket_t* b = head
    cdef int i
    while b != NULL:
        for i in range(HT_SLOTS):
            if b.tags[i]:
                fn(ctx, b.slots[i])
        b = _next(b)


cdef void _scan_chain(hashtable_t* t, int ti, uint64_t index, ht_each_fn fn, void* ctx) noexcept nogil:
    if ti == 0 and <int64_t>index < t.rehash_index:
        return  # moved; the page may have been given back
    ht_bucket_each(&t.tables[ti][index], fn, ctx)
    if t.resize_paused == 1:
        _chain_compact(t, ti, &t.tables[ti][index])


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


cdef inline ht_bucket_t* _live_bucket(const hashtable_t* t, uint64_t at) noexcept nogil:
    """Numbers the head buckets that may hold elements from 0 on: table 0 from rehash_index, then table 1."""
    cdef uint64_t first = 0 if t.rehash_index < 0 else t.rehash_index
    cdef uint64_t n0 = _buckets(t, 0) - first
    return &t.tables[0][first + at] if at < n0 else &t.tables[1][at - n0]


cdef inline uint64_t _live_buckets(const hashtable_t* t) noexcept nogil:
    return _buckets(t, 0) + _buckets(t, 1) - (0 if t.rehash_index < 0 else t.rehash_index)


cdef inline uint64_t _below(uint64_t* rng, uint64_t n) noexcept nogil:
    """A number in [0, n); the bias is below n / 2^32, which no caller can notice."""
    if n >> 32:
        return rng_next(rng) % n
    return ((rng_next(rng) >> 32) * n) >> 32


cdef size_t _chain_len(const ht_bucket_t* head) noexcept nogil:
    cdef size_t n = 0
    cdef const ht_bucket_t* b = head
    while b != NULL:
        n += cf_popcount64(_occupied(b))
        b = _next(b)
    return n


cdef void* _chain_at(const ht_bucket_t* head, size_t at) noexcept nogil:
    cdef const ht_bucket_t* b = head
    cdef uint64_t m
    cdef size_t n
    while True:
        m = _occupied(b)
        n = cf_popcount64(m)
        if at < n:
            while at:
                m &= m - 1
                at -= 1
            return b.slots[cf_ctz64(m) >> 3]
        at -= n
        b = _next(b)


cdef void* ht_random(hashtable_t* t, uint64_t* rng) noexcept nogil:
    """Rejection sampling: a bucket of n elements is taken with probability n / HT_FAIR_CHAIN.

    Longer chains are as good as absent (1 in 10^7 buckets right before growing). In a table that was
    emptied and has not shrunk yet, the first chain behind a random place is taken in the end.
    """
    cdef uint64_t buckets = _live_buckets(t)
    cdef uint64_t at = 0
    cdef size_t n, pick
    cdef int i
    cdef ht_bucket_t* b
    if ht_len(t) == 0:
        return NULL
    for i in range(HT_RANDOM_TRIES):
        at = _below(rng, buckets)
        b = _live_bucket(t, at)
        pick = _below(rng, HT_FAIR_CHAIN)
        n = _chain_len(b)
        if n > HT_FAIR_CHAIN:
            pick = _below(rng, n)
        if pick < n:
            return _chain_at(b, pick)
    while _chain_is_empty(_live_bucket(t, at)):
        at = at + 1 if at + 1 < buckets else 0
    b = _live_bucket(t, at)
    n = _chain_len(b)
    return _chain_at(b, _below(rng, n)) if n else NULL


cdef size_t ht_sample(hashtable_t* t, void** out, size_t n, uint64_t* rng) noexcept nogil:
    cdef uint64_t buckets = _live_buckets(t)
    cdef uint64_t at, m
    cdef uint64_t visits = 0
    cdef size_t found = 0
    cdef ht_bucket_t* b
    if ht_len(t) == 0 or n == 0:
        return 0
    at = _below(rng, buckets)
    # In a sparse table a few elements near each other are enough: the walk is bounded once one is found.
    while visits < buckets and (found == 0 or visits < 8 * n):
        b = _live_bucket(t, at)
        while b != NULL:
            m = _occupied(b)
            while m:
                out[found] = b.slots[cf_ctz64(m) >> 3]
                cf_prefetch(out[found])
                m &= m - 1
                found += 1
                if found == n:
                    return n
            b = _next(b)
        visits += 1
        at = at + 1 if at + 1 < buckets else 0
    return found


# ---- freezing ------------------------------------------------------------------------------------

cdef void ht_deliver(hashtable_t* t, ht_bucket_t* head) noexcept nogil:
    _stamp(t, head)
    if not _chain_is_empty(head):
        t.freeze_fn(t.freeze_ctx, t, head)


cdef void ht_freeze_begin(hashtable_t* t, ht_freeze_fn fn, void* ctx) noexcept nogil:
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
        if ti == 0 and t.rehash_index > 0 and t.freeze_next[0] < <uint64_t>t.rehash_index:
            t.freeze_next[0] = t.rehash_index
        while t.freeze_next[ti] < _buckets(t, ti):
            if chains == 0 or looks == 0:
                return True
            i = t.freeze_next[ti]
            t.freeze_next[ti] = i + 1
            looks -= 1
            position[0] += 1
            head = &t.tables[ti][i]
            if i < t.masks[ti]:
                _prefetch_chain(head + 1)
            if (head.meta & HT_VERSION) != t.version and not _chain_is_empty(head):
                ht_deliver(t, head)
                chains -= 1
    return False


cdef void ht_freeze_end(hashtable_t* t) noexcept nogil:
    cdef size_t i
    cdef int ti
    t.freeze_fn = NULL
    t.freeze_ctx = NULL
    if t.freeze_next[0] >= _buckets(t, 0) and t.freeze_next[1] >= _buckets(t, 1):
        t.stale_versions = 0
        return
    t.stale_versions += 1
    if t.stale_versions < HT_VERSION:
        return
    t.stale_versions = 0
    for ti in range(2):
        for i in range(0 if ti or t.rehash_index < 0 else t.rehash_index, _buckets(t, ti)):
            if not _chain_is_empty(&t.tables[ti][i]):
                _stamp(t, &t.tables[ti][i])


# ---- check ---------------------------------------------------------------------------------------

cdef int _check_chain(hashtable_t* t, int ti, uint64_t index, size_t* used, size_t* children) noexcept nogil:
    cdef ht_bucket_t* head = &t.tables[ti][index]
    cdef ht_bucket_t* b = head
    cdef uint64_t hash, m
    cdef uint8_t age = (t.version - (head.meta & HT_VERSION)) & HT_VERSION
    cdef const char* key
    cdef size_t n
    cdef int i
    if _chain_is_empty(head):
        return 0
    if ti == 0 and <int64_t>index < t.rehash_index:
        return 4
    if age > t.stale_versions + (t.freeze_fn != NULL):
        return 10
    if t.freeze_fn != NULL and age and index < t.freeze_next[ti]:
        return 12
    while b != NULL:
        if <uintptr_t>b & (sizeof(ht_bucket_t) - 1):
            return 11
        if b.meta & HT_CHILD and (b.tags[HT_SLOTS - 1] or b.slots[HT_SLOTS - 1] == NULL):
            return 8
        m = _occupied(b)
        while m:
            i = cf_ctz64(m) >> 3
            m &= m - 1
            used[0] += 1
            key = t.key_of(b.slots[i], &n)
            hash = ht_hash(t, key, n)
            if ht_head(t, hash) != head:
                return 5
            if b.tags[i] != ht_tag(hash):
                return 6
            if ht_find(t, key, n, hash) != &b.slots[i]:
                return 7
        children[0] += b != head
        b = _next(b)
    return 0


cdef int ht_check(hashtable_t* t) noexcept nogil:
    cdef size_t used, children
    cdef uint64_t i
    cdef int ti, error
    if (t.rehash_index >= 0) != (t.tables[1] != NULL) or t.rehash_index > <int64_t>t.masks[0]:
        return 1
    for ti in range(2):
        if (t.masks[ti] + 1) & t.masks[ti] or (t.masks[ti] and t.tables[ti] == NULL):
            return 1
        used = 0
        children = 0
        for i in range(_buckets(t, ti)):
            error = _check_chain(t, ti, i, &used, &children)
            if error:
                return error
        if used != t.used[ti]:
            return 2
        if children != t.children[ti]:
            return 3
    return 9 if t.array_bytes != _array_bytes(t) else 0
