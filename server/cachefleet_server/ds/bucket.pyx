"""Chains of buckets; see bucket.pxd."""

from libc.string cimport memset

from cachefleet_server.ds.intrin cimport cf_popcount64
from cachefleet_server.ds.zmalloc cimport zfree, zmalloc

cdef enum:
    SLAB_MAX = 1023  # buckets a slab: 64 KiB
    SLAB_SHARE = 4  # a new slab is a quarter of what is in use, so at most a fifth lies idle


cdef ht_bucket_t* _pool_get(heap_t* heap, ht_pool_t* pool) noexcept nogil:
    """A zeroed bucket."""
    cdef ht_bucket_t* b = pool.free
    cdef size_t n
    cdef char* slab
    pool.used += 1
    if b != NULL:
        pool.free = <ht_bucket_t*>bucket_get(b, 0)
    else:
        if pool.fresh_count == 0:
            n = pool.used / SLAB_SHARE
            n = 1 if n < 1 else (SLAB_MAX if n > SLAB_MAX else n)
            slab = <char*>zmalloc(heap, (n + 1) * sizeof(ht_bucket_t))
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


cdef void pool_put(ht_pool_t* pool, ht_bucket_t* b) noexcept nogil:
    bucket_set(b, 0, pool.free)
    pool.free = b
    pool.used -= 1


cdef void pool_free(heap_t* heap, ht_pool_t* pool) noexcept nogil:
    cdef void* slab = pool.slabs
    cdef void* next
    while slab != NULL:
        next = (<void**>slab)[0]
        zfree(heap, slab)
        slab = next
    memset(pool, 0, sizeof(ht_pool_t))


cdef void chain_add_overflow(
    heap_t* heap, ht_pool_t* pool, ht_bucket_t* head, void* element, uint8_t tag
) noexcept nogil:
    cdef ht_bucket_t* b = head
    cdef ht_bucket_t* child
    cdef uint32_t holes
    cdef int i
    while True:
        holes = bucket_holes(b)
        if holes:
            i = cf_ctz64(holes)
            b.tags[i] = tag
            bucket_set(b, i, element)
            return
        if not b.meta & HT_CHILD:
            child = _pool_get(heap, pool)
            child.tags[0] = b.tags[HT_SLOTS - 1]
            bucket_set(child, 0, bucket_get(b, HT_SLOTS - 1))
            b.tags[HT_SLOTS - 1] = 0
            bucket_set(b, HT_SLOTS - 1, child)
            b.meta |= HT_CHILD
        b = bucket_next(b)


cdef void chain_compact(ht_pool_t* pool, ht_bucket_t* head) noexcept nogil:
    cdef ht_bucket_t* last
    cdef ht_bucket_t* parent
    cdef ht_bucket_t* hole
    cdef uint32_t elements
    cdef int i, to
    while head.meta & HT_CHILD:
        parent = NULL
        hole = NULL
        last = head
        while last.meta & HT_CHILD:
            if hole == NULL and bucket_holes(last):
                hole = last
            parent = last
            last = bucket_next(last)
        elements = bucket_elements(last)
        if elements and hole == NULL and elements & (elements - 1):
            return
        i = cf_ctz64(elements) if elements else 0
        if elements and hole != NULL:
            to = cf_ctz64(bucket_holes(hole))
            hole.tags[to] = last.tags[i]
            bucket_set(hole, to, bucket_get(last, i))
            last.tags[i] = 0
        else:  # the last bucket has one element, which replaces its parent's pointer, or none
            parent.tags[HT_SLOTS - 1] = last.tags[i] if elements else 0
            bucket_set(parent, HT_SLOTS - 1, bucket_get(last, i) if elements else NULL)
            parent.meta &= <uint8_t>~HT_CHILD
            pool_put(pool, last)


cdef size_t chain_len(const ht_bucket_t* head) noexcept nogil:
    cdef size_t n = 0
    cdef const ht_bucket_t* b = head
    while b != NULL:
        n += cf_popcount64(bucket_elements(b))
        b = bucket_next(b)
    return n


cdef void* chain_at(const ht_bucket_t* head, size_t at) noexcept nogil:
    cdef const ht_bucket_t* b = head
    cdef uint32_t m
    cdef size_t n
    while True:
        m = bucket_elements(b)
        n = cf_popcount64(m)
        if at < n:
            while at:
                m &= m - 1
                at -= 1
            return bucket_get(b, cf_ctz64(m))
        at -= n
        b = bucket_next(b)


cdef size_t chain_copy(const ht_bucket_t* head, size_t first, size_t n, void** out) noexcept nogil:
    cdef const ht_bucket_t* b = head
    cdef uint32_t m
    cdef size_t found = 0
    while b != NULL:
        m = bucket_elements(b)
        while m:
            if found == n:
                return n
            if first:
                first -= 1
            else:
                out[found] = bucket_get(b, cf_ctz64(m))
                cf_prefetch(out[found])
                found += 1
            m &= m - 1
        b = bucket_next(b)
    return found


cdef void ht_bucket_each(ht_bucket_t* head, ht_each_fn fn, void* ctx) noexcept nogil:
    cdef ht_bucket_t* b = head
    cdef int i
    while b != NULL:
        for i in range(HT_SLOTS):
            if b.tags[i]:
                fn(ctx, bucket_get(b, i))
        b = bucket_next(b)
