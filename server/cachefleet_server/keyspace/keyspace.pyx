"""The keyspace; see keyspace.pxd."""

from libc.stdint cimport int64_t
from libc.string cimport memmove

from cachefleet_server.ds.hashtable cimport hashtable_t, ht_rehash_steps, ht_resize_if_needed
from cachefleet_server.ds.intrin cimport cf_assert, cf_atomic_get, cf_monotonic_us
from cachefleet_server.ds.zmalloc cimport heap_t, heap_used, zcalloc, zfree, zrealloc
from cachefleet_server.keyspace.db cimport db_exchange, db_open, db_release
from cachefleet_server.keyspace.evict cimport evict_handed
from cachefleet_server.keyspace.interest cimport interest_db_free, interest_replace_db
from cachefleet_server.keyspace.tracking cimport tracking_flushed
from cachefleet_server.keyspace.lazyfree cimport lazyfree_pending

cdef enum:
    _CRON_US = 1000  # of each cron, for moving buckets of tables that are being resized
    _CRON_STEPS = 100  # buckets between two looks at the clock


cdef keyspace_t* keyspace_new(engine_t* e, int count) noexcept nogil:
    cdef keyspace_t* k = <keyspace_t*>zcalloc(e.heap, sizeof(keyspace_t))
    k.used_before = heap_used(e.heap)
    k.engine = e
    k.count = count
    keyspace_db(k, 0)
    return k


cdef db_t* _open(keyspace_t* k, int at, int id) noexcept nogil:
    """Makes a database and puts it at its place in the order. The array doubles when it holds a power of two."""
    cdef heap_t* heap = k.engine.heap
    cdef db_t* db = <db_t*>zcalloc(heap, sizeof(db_t))
    db_open(db, k.engine, id)
    if k.opened & (k.opened - 1) == 0:
        k.dbs = <db_t**>zrealloc(heap, k.dbs, max(2 * k.opened, 1) * sizeof(db_t*))
    memmove(&k.dbs[at + 1], &k.dbs[at], (k.opened - at) * sizeof(db_t*))
    k.dbs[at] = db
    k.opened += 1
    return db


cdef db_t* keyspace_db(keyspace_t* k, int id) noexcept nogil:
    cdef int low = 0
    cdef int high = id + 1 if id < k.opened else k.opened  # numbers rise, so none lies behind its own number
    cdef int middle
    if high and k.dbs[high - 1].id == id:  # where it is as long as those before it are in use
        return k.dbs[high - 1]
    while low < high:
        middle = low + (high - low) // 2
        if k.dbs[middle].id < id:
            low = middle + 1
        else:
            high = middle
    if low < k.opened and k.dbs[low].id == id:
        return k.dbs[low]
    return _open(k, low, id)


cdef void keyspace_free(engine_t* e, keyspace_t* k, bint lazy) noexcept nogil:
    cdef size_t pending = lazyfree_pending(e)
    cdef size_t freed = cf_atomic_get(&e.heap.freed_remote)
    cdef int i
    for i in range(k.opened):
        db_release(k.dbs[i], lazy)
        interest_db_free(k.dbs[i])
        zfree(e.heap, k.dbs[i])
    if lazyfree_pending(e) > pending:
        evict_handed(e, k.content_bytes, freed)
    zfree(e.heap, k.dbs)
    zfree(e.heap, k)


cdef void keyspace_swap(engine_t* e, keyspace_t* other) noexcept nogil:
    cdef keyspace_t* k = e.keyspace
    cdef size_t own = e.stats.used_memory_startup
    cdef int i
    cf_assert(k.count == other.count)
    if e.trackers != NULL:
        tracking_flushed(e)
    for i in range(other.opened):
        keyspace_db(k, other.dbs[i].id)
    for i in range(k.opened):
        interest_replace_db(k.dbs[i], keyspace_db(other, k.dbs[i].id))
    for i in range(k.opened):
        db_exchange(k.dbs[i], other.dbs[i])
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
    if e.trackers != NULL:
        tracking_flushed(e)
    db = keyspace_db(e.keyspace, dbid)
    interest_replace_db(db, NULL)
    db_release(db, lazy)
    db_open(db, e, dbid)
    db.expire_cursor = 0
    db.avg_ttl_ms = 0


cdef void keyspace_swap_dbs(engine_t* e, int a, int b) noexcept nogil:
    cdef db_t* x = keyspace_db(e.keyspace, a)
    cdef db_t* y = keyspace_db(e.keyspace, b)
    if a == b:
        return
    interest_replace_db(x, y)
    interest_replace_db(y, x)
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
    for i in range(e.keyspace.opened):
        if not _rehash(e.keyspace.dbs[i].keys, until_us) or not _rehash(e.keyspace.dbs[i].expires, until_us):
            return
