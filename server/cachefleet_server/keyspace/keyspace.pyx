"""The keyspace; see keyspace.pxd."""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport db_t
from cachefleet_server.ds.hashtable cimport hashtable_t, ht_rehash_steps, ht_resize_if_needed
from cachefleet_server.ds.intrin cimport cf_assert, cf_atomic_get, cf_monotonic_us
from cachefleet_server.ds.zmalloc cimport heap_used, zcalloc, zfree
from cachefleet_server.keyspace.db cimport db_exchange, db_open, db_release
from cachefleet_server.keyspace.evict cimport evict_handed
from cachefleet_server.keyspace.lazyfree cimport lazyfree_pending
from cachefleet_server.keyspace.watch cimport watch_db_free, watch_replace_db

cdef enum:
    _CRON_US = 1000  # of each cron, for moving buckets of tables that are being resized
    _CRON_STEPS = 100  # buckets between two looks at the clock


cdef keyspace_t* keyspace_new(engine_t* e, int count) noexcept nogil:
    cdef keyspace_t* k = <keyspace_t*>zcalloc(e.heap, sizeof(keyspace_t))
    cdef int i
    k.used_before = heap_used(e.heap)
    k.dbs = <db_t*>zcalloc(e.heap, count * sizeof(db_t))
    k.count = count
    for i in range(count):
        db_open(&k.dbs[i], e, i)
    return k


cdef void keyspace_free(engine_t* e, keyspace_t* k, bint lazy) noexcept nogil:
    cdef size_t pending = lazyfree_pending(e)
    cdef size_t freed = cf_atomic_get(&e.heap.freed_remote)
    cdef int i
    for i in range(k.count):
        db_release(&k.dbs[i], lazy)
        watch_db_free(&k.dbs[i])
    if lazyfree_pending(e) > pending:
        evict_handed(e, k.content_bytes, freed)
    zfree(e.heap, k.dbs)
    zfree(e.heap, k)


cdef void keyspace_swap(engine_t* e, keyspace_t* other) noexcept nogil:
    cdef keyspace_t* k = e.keyspace
    cdef size_t own = e.stats.used_memory_startup
    cdef int i
    cf_assert(k.count == other.count)
    for i in range(k.count):
        watch_replace_db(&k.dbs[i], &other.dbs[i])
    for i in range(k.count):
        db_exchange(&k.dbs[i], &other.dbs[i])
    k.eviction.pool_len = 0
    other.content_bytes = other.used_before - own if other.used_before > own else 0


cdef void keyspace_flush(engine_t* e, int dbid, bint lazy) noexcept nogil:
    cdef keyspace_t* empty
    cdef db_t* db
    if dbid == -1:
        empty = keyspace_new(e, e.keyspace.count)
        keyspace_swap(e, empty)
        keyspace_free(e, empty, lazy)
        return
    db = &e.keyspace.dbs[dbid]
    watch_replace_db(db, NULL)
    db_release(db, lazy)
    db_open(db, e, dbid)
    db.expire_cursor = 0
    db.avg_ttl_ms = 0


cdef void keyspace_swap_dbs(engine_t* e, int a, int b) noexcept nogil:
    cdef db_t* x = &e.keyspace.dbs[a]
    cdef db_t* y = &e.keyspace.dbs[b]
    if a == b:
        return
    watch_replace_db(x, y)
    watch_replace_db(y, x)
    db_exchange(x, y)


cdef bint _rehash(hashtable_t* t, int64_t until_us) noexcept nogil:
    """Moves buckets until the table is done or the time is over; false when it is over."""
    ht_resize_if_needed(t)
    while ht_rehash_steps(t, _CRON_STEPS):
        if cf_monotonic_us() >= until_us:
            return False
    return True


cdef void keyspace_cron(engine_t* e) noexcept nogil:
    cdef int64_t until_us = cf_monotonic_us() + _CRON_US
    cdef int i
    if not e.params.activerehashing:
        return
    for i in range(e.keyspace.count):
        if not _rehash(e.keyspace.dbs[i].keys, until_us) or not _rehash(e.keyspace.dbs[i].expires, until_us):
            return
