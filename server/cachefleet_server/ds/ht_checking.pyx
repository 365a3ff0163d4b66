"""Invariants, by the number that ht_check returns for their violation:
     1 tables, masks and rehash_index agree             2 used counts the elements
     3 the pools count the overflow buckets            4 buckets that are not live are empty
     5 an element lies where its hash leads             6 with the right tag
     7 an element is found, once                        8 a chained bucket has no element in its last slot
     9 array_bytes is what the formula says            10 versions are within the stale range
    11 buckets are aligned                             12 the frozen iteration left nothing behind it
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t, uintptr_t

from cachefleet_server.ds.bucket cimport (
    HT_CHILD, HT_SLOTS, HT_VERSION, bucket_elements, bucket_get, bucket_next, bucket_slot, chain_is_empty, ht_bucket_t)
from cachefleet_server.ds.hashtable cimport (
    ht_array_bytes, ht_buckets, ht_find_slot, ht_hash, ht_head, ht_is_live, ht_tag)
from cachefleet_server.ds.intrin cimport cf_ctz64


cdef int _check_chain(hashtable_t* t, int ti, uint64_t index, size_t* used, size_t* children) noexcept nogil:
    cdef ht_bucket_t* head = &t.tables[ti][index]
    cdef ht_bucket_t* b = head
    cdef uint64_t hash
    cdef uint32_t m
    cdef uint8_t age = (t.version - (head.meta & HT_VERSION)) & HT_VERSION
    cdef const char* key
    cdef size_t n
    cdef int i
    if chain_is_empty(head):
        return 0
    if not ht_is_live(t, ti, index):
        return 4
    if age > t.stale_versions + (t.freeze_fn != NULL):
        return 10
    if t.freeze_fn != NULL and age and index < t.freeze_next[ti]:
        return 12
    while b != NULL:
        if <uintptr_t>b & (sizeof(ht_bucket_t) - 1):
            return 11
        if b.meta & HT_CHILD and (b.tags[HT_SLOTS - 1] or bucket_next(b) == NULL):
            return 8
        m = bucket_elements(b)
        while m:
            i = cf_ctz64(m)
            m &= m - 1
            used[0] += 1
            key = t.key_of(bucket_get(b, i), &n)
            hash = ht_hash(t, key, n)
            if ht_head(t, hash) != head:
                return 5
            if b.tags[i] != ht_tag(hash):
                return 6
            if ht_find_slot(t, key, n, hash) != bucket_slot(b, i):
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
        for i in range(ht_buckets(t, ti)):
            error = _check_chain(t, ti, i, &used, &children)
            if error:
                return error
        if used != t.used[ti]:
            return 2
        if children != t.pools[ti].used:
            return 3
    return 9 if t.array_bytes != ht_array_bytes(t) else 0
