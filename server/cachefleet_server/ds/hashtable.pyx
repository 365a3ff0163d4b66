"""Hash table; see hashtable.pxd for resizing and freezing, bucket.pxd for chains.

Load. A table grows to the next power of two when it would hold more than HT_GROW_LOAD elements a
bucket, and shrinks below HT_SHRINK_LOAD_8TH / 8. Right before growing about 40 % of the buckets have an
overflow bucket, right after it 3 %; over a doubling the average is 15 bytes an element, overflow included.

Memory. heap.used counts of the arrays only what is in use: the part of table 0 that has not been moved
and the part of table 1 that has been moved into. So `used_memory` does not jump when a resize begins, and
the resident set agrees, as untouched pages of the new array do not exist and moved ones are given back.
Overflow buckets belong to the pool of their table and leave with it.

Chains are compacted at each removal, except inside a scan, which compacts what it has delivered.

Freezing. `version` goes up by one (of 8) when a freeze begins, so no chain carries it. An empty chain
needs no delivery, so a chain's version only means something while it holds elements: every addition
stamps it (after the delivery that may be due), and a new array needs no initialisation. A freeze that
ends early leaves chains with older versions; `stale_versions` counts how many versions can be about, and
before all 8 are, one walk stamps all chains.

Invariants, by the number that ht_check returns for their violation:
     1 tables, masks and rehash_index agree             2 used counts the elements
     3 the pools count the overflow buckets            4 buckets that are not live are empty
     5 an element lies where its hash leads             6 with the right tag
     7 an element is found, once                        8 a chained bucket has no element in its last slot
     9 array_bytes is what the formula says            10 versions are within the stale range
    11 buckets are aligned                             12 the frozen iteration left nothing behind it
"""

from libc.stdint cimport UINT64_MAX, uintptr_t
from libc.string cimport memset

from cachefleet_server.ds.bucket cimport (
    bucket_elements, bucket_next, chain_add, chain_at, chain_compact, chain_copy, chain_is_empty, chain_len,
    chain_prefetch, pool_free, pool_put
)
from cachefleet_server.ds.intrin cimport cf_reverse64
from cachefleet_server.ds.zmalloc cimport (
    ARRAY_DROP, ARRAY_MAP_MIN, array_drop, array_free, array_new, array_settle, zcalloc, zfree)

cdef enum:
    HT_GROW_LOAD = 7  # elements a bucket
    HT_SHRINK_LOAD_8TH = 7  # eighths of an element a bucket
    HT_SHRINK_MIN = 4  # buckets; smaller tables never shrink
    HT_EMPTY_VISITS = 16  # empty buckets that one rehash step may pass besides the one it moves
    HT_FAIR_CHAIN = 24  # elements up to which chains are weighted exactly by ht_random
    HT_RANDOM_TRIES = 512
    HT_SAMPLE_VISITS = 8  # buckets for each element that ht_sample may return
    HT_FREEZE_LOOKS = 8  # buckets looked at for each chain that a freeze step may deliver


# ---- life and size -------------------------------------------------------------------------------

cdef hashtable_t* ht_new(heap_t* heap, ht_key_fn key_of, const hash_seed_t* seed) noexcept nogil:
    cdef hashtable_t* t = <hashtable_t*>zcalloc(heap, sizeof(hashtable_t))
    t.heap = heap
    t.key_of = key_of
    t.seed = seed
    t.rehash_index = -1
    return t


cdef inline void _stamp(const hashtable_t* t, ht_bucket_t* head) noexcept nogil:
    head.meta = (head.meta & HT_CHILD) | t.version


cdef inline size_t _buckets(const hashtable_t* t, int ti) noexcept nogil:
    return t.masks[ti] + 1 if t.tables[ti] != NULL else 0


cdef inline bint _is_live(const hashtable_t* t, int ti, uint64_t index) noexcept nogil:
    """Whether this bucket may hold elements. The others are zero, but their pages may not exist: not to be read."""
    if ti == 0:
        return <int64_t>index >= t.rehash_index
    return <int64_t>(index & t.masks[0] & t.masks[1]) < t.rehash_index


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


cdef void _array_free(hashtable_t* t, int ti) noexcept nogil:
    array_free(t.tables[ti], _buckets(t, ti) * sizeof(ht_bucket_t))
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
            for i in range(_buckets(t, ti)):
                if i < t.masks[ti] and _is_live(t, ti, i + 1):
                    chain_prefetch(&t.tables[ti][i + 1])
                if _is_live(t, ti, i):
                    ht_bucket_each(&t.tables[ti][i], free_element, ctx)
        _array_free(t, ti)
    t.rehash_index = -1
    t.layout_id += 1
    _account(t)


cdef void ht_free(hashtable_t* t, ht_each_fn free_element, void* ctx) noexcept nogil:
    if t != NULL:
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
    return _buckets(t, 0) * sizeof(ht_bucket_t) if _buckets(t, 1) else 0


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
    t.settled = False


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
        m = bucket_elements(b)
        while m:
            i = cf_ctz64(m) >> 3
            m &= m - 1
            key = t.key_of(b.slots[i], &n)
            target = t.tables[1] + (hash_bytes(key, n, t.seed) & t.masks[1])
            ht_will_change(t, target)
            _stamp(t, target)
            chain_add(t.heap, &t.pools[1], target, b.slots[i], b.tags[i])
            t.used[0] -= 1
            t.used[1] += 1
        next = bucket_next(b)
        if b != head:
            pool_put(&t.pools[0], b)
        b = next
    (<uint64_t*>head)[0] = 0


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
    elif t.rehash_index < 0 and not t.settled:
        t.settled = True
        array_settle(t.heap, t.tables[0], _buckets(t, 0) * sizeof(ht_bucket_t))
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
        t.settled = False
        t.layout_id += 1
        _account(t)
    else:
        _resize_begin(t, buckets)


# ---- lookup and mutation -------------------------------------------------------------------------

cdef void** ht_find_overflow(
    hashtable_t* t, ht_bucket_t* head, const char* key, size_t n, uint64_t hash
) noexcept nogil:
    """The rest of ht_find: the buckets behind the head."""
    cdef ht_bucket_t* b = bucket_next(head)
    cdef uint8_t tag = ht_tag(hash)
    cdef uint64_t m
    cdef size_t len
    cdef int i
    cdef const char* found
    while b != NULL:
        m = bucket_matches(b, tag)
        while m:
            i = cf_ctz64(m) >> 3
            found = t.key_of(b.slots[i], &len)
            if len == n and cf_equal(found, key, n):
                return &b.slots[i]
            m &= m - 1
        b = bucket_next(b)
    return NULL


cdef void ht_insert(hashtable_t* t, void* element, uint64_t hash) noexcept nogil:
    cdef ht_bucket_t* head
    cdef int ti
    if cf_unlikely(t.tables[0] == NULL):
        _array_new(t, 0, 1)
        _account(t)
    if cf_unlikely(t.used[0] >= (t.masks[0] + 1) * HT_GROW_LOAD and t.rehash_index < 0 and t.resize_paused == 0):
        _resize_begin(t, 2 * (t.masks[0] + 1))
    _mutation_step(t)
    head = ht_head(t, hash)
    ht_will_change(t, head)
    _stamp(t, head)
    ti = <int64_t>(hash & t.masks[0]) < t.rehash_index
    chain_add(t.heap, &t.pools[ti], head, element, ht_tag(hash))
    t.used[ti] += 1


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
            chain_compact(&t.pools[ti], head)
        if cf_unlikely(_is_nearly_empty(t)):
            ht_resize_if_needed(t)
    return element


# ---- iteration -----------------------------------------------------------------------------------

cdef void _scan_chain(hashtable_t* t, int ti, uint64_t index, ht_each_fn fn, void* ctx) noexcept nogil:
    if not _is_live(t, ti, index):
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


cdef struct _live_t:  # the buckets for which _is_live holds, numbered from 0 on
    uint64_t total
    uint64_t first  # of table 0
    uint64_t count  # of table 0
    uint64_t run  # buckets of table 1 in a row ...
    uint64_t stride  # ... of so many


cdef inline void _live_buckets(const hashtable_t* t, _live_t* live) noexcept nogil:
    live.first = 0 if t.rehash_index < 0 else t.rehash_index
    live.count = _buckets(t, 0) - live.first
    live.total = live.count
    live.run = 1
    live.stride = 1
    if t.rehash_index > 0:
        live.stride = (t.masks[0] & t.masks[1]) + 1
        live.run = live.first if live.first < live.stride else live.stride
        live.total += live.run * ((t.masks[1] + 1) / live.stride)


cdef inline ht_bucket_t* _live_bucket(const hashtable_t* t, const _live_t* live, uint64_t at) noexcept nogil:
    if at < live.count:
        return &t.tables[0][live.first + at]
    at -= live.count
    return &t.tables[1][at / live.run * live.stride + at % live.run]


cdef inline uint64_t _below(uint64_t* rng, uint64_t n) noexcept nogil:
    """A number in [0, n); the bias is below n / 2^32, which no caller can notice."""
    if n >> 32:
        return rng_next(rng) % n
    return ((rng_next(rng) >> 32) * n) >> 32


cdef void* ht_random(hashtable_t* t, uint64_t* rng) noexcept nogil:
    """Rejection sampling: a bucket of n elements is taken with probability n / HT_FAIR_CHAIN.

    Longer chains are as good as absent (1 in 10^7 buckets right before growing). In a table that was
    emptied and has not shrunk yet, the first chain behind a random place is taken in the end.
    """
    cdef _live_t live
    cdef uint64_t at = 0
    cdef size_t n, pick
    cdef int _try
    cdef ht_bucket_t* b
    if ht_len(t) == 0:
        return NULL
    _live_buckets(t, &live)
    for _try in range(HT_RANDOM_TRIES):
        at = _below(rng, live.total)
        b = _live_bucket(t, &live, at)
        pick = _below(rng, HT_FAIR_CHAIN)
        n = chain_len(b)
        if n > HT_FAIR_CHAIN:
            pick = _below(rng, n)
        if pick < n:
            return chain_at(b, pick)
    while chain_len(b) == 0:
        at = at + 1 if at + 1 < live.total else 0
        b = _live_bucket(t, &live, at)
    return chain_at(b, _below(rng, chain_len(b)))


cdef size_t ht_sample(hashtable_t* t, void** out, size_t n, uint64_t* rng) noexcept nogil:
    cdef _live_t live
    cdef uint64_t at
    cdef uint64_t visits = 0
    cdef size_t found, skip, left
    cdef ht_bucket_t* b
    if ht_len(t) == 0 or n == 0:
        return 0
    _live_buckets(t, &live)
    at = _below(rng, live.total)
    b = _live_bucket(t, &live, at)
    # Begins in the middle of a chain, lest elements behind the n-th of theirs are never seen.
    skip = chain_len(b)
    if skip:
        skip = _below(rng, skip)
    found = chain_copy(b, skip, n, out)
    # In a sparse table a few elements near each other are enough: the walk is bounded once one is found.
    while found < n and visits < live.total and (found == 0 or visits < HT_SAMPLE_VISITS * n):
        visits += 1
        at = at + 1 if at + 1 < live.total else 0
        left = n - found
        if visits == live.total and left > skip:  # back at the first chain
            left = skip
        found += chain_copy(_live_bucket(t, &live, at), 0, left, out + found)
    return found


# ---- freezing ------------------------------------------------------------------------------------

cdef void ht_deliver(hashtable_t* t, ht_bucket_t* head) noexcept nogil:
    _stamp(t, head)
    if not chain_is_empty(head):
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
        while t.freeze_next[ti] < _buckets(t, ti):
            if chains == 0 or looks == 0:
                return True
            i = t.freeze_next[ti]
            t.freeze_next[ti] = i + 1
            looks -= 1
            position[0] += 1
            if not _is_live(t, ti, i):
                continue
            head = &t.tables[ti][i]
            if i < t.masks[ti] and _is_live(t, ti, i + 1):
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
    if t.freeze_next[0] >= _buckets(t, 0) and t.freeze_next[1] >= _buckets(t, 1):
        t.stale_versions = 0
        return
    t.stale_versions += 1
    if t.stale_versions < HT_VERSION:
        return
    t.stale_versions = 0
    for ti in range(2):
        for i in range(_buckets(t, ti)):
            if _is_live(t, ti, i) and not chain_is_empty(&t.tables[ti][i]):
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
    if chain_is_empty(head):
        return 0
    if not _is_live(t, ti, index):
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
        m = bucket_elements(b)
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
        b = bucket_next(b)
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
        if children != t.pools[ti].used:
            return 3
    return 9 if t.array_bytes != _array_bytes(t) else 0
