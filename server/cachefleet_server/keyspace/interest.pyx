"""The records of who is interested in a key; see interest.pxd."""

from libc.string cimport memcpy

from cachefleet_server.ds.hashtable cimport ht_find, ht_free, ht_hash, ht_insert, ht_len, ht_new, ht_remove, ht_scan
from cachefleet_server.ds.intrin cimport cf_assert
from cachefleet_server.ds.zmalloc cimport zcalloc, zfree
from cachefleet_server.keyspace.tracking cimport tracking_changed
from cachefleet_server.keyspace.waiting cimport waiting_changed, waiting_check, waiting_forget_ready, waiting_replace_db
from cachefleet_server.keyspace.watch cimport watch_changed, watch_check, watch_replace_db


cdef const char* _key_of(const void* element, size_t* n) noexcept nogil:
    cdef interest_t* key = <interest_t*>element
    n[0] = key.nk
    return &key.key[0]


cdef interest_t* interest_of(db_t* db, const char* key, size_t nk, uint64_t hash) noexcept nogil:
    cdef engine_t* e = db.engine
    cdef interest_t* interest
    if db.interest == NULL:
        db.interest = ht_new(e.heap, _key_of, &e.seed)
    interest = <interest_t*>ht_find(db.interest, key, nk, hash)
    if interest != NULL:
        return interest
    interest = <interest_t*>zcalloc(e.heap, sizeof(interest_t) + nk)
    interest.db = db
    interest.nk = nk
    memcpy(&interest.key[0], key, nk)
    ht_insert(db.interest, interest, hash)
    e.keyspace.interests += 1
    return interest


cdef void interest_release(interest_t* key) noexcept nogil:
    cdef db_t* db = key.db
    cdef void* removed
    if key.watchers.first != NULL or key.waiters.first != NULL or key.pinned:
        return
    waiting_forget_ready(key)
    removed = ht_remove(db.interest, &key.key[0], key.nk, ht_hash(db.interest, &key.key[0], key.nk))
    cf_assert(removed == key)
    db.engine.keyspace.interests -= 1
    zfree(db.engine.heap, key)


cdef void interest_changed(db_t* db, const client_t* c, const char* key, size_t nk, uint64_t hash) noexcept nogil:
    """Waiters first: a watcher that is told leaves, and may take the record along."""
    cdef interest_t* interest
    if db.engine.trackers != NULL:
        tracking_changed(db.engine, c, key, nk, hash)
    if db.interest == NULL:
        return
    interest = <interest_t*>ht_find(db.interest, key, nk, hash)
    if interest != NULL:
        waiting_changed(interest)
        watch_changed(interest, hash)


cdef void interest_replace_db(db_t* db, db_t* replacement) noexcept nogil:
    if db.interest != NULL and ht_len(db.interest):
        waiting_replace_db(db, replacement)
        watch_replace_db(db, replacement)


cdef void interest_each(db_t* db, ht_each_fn fn, void* ctx) noexcept nogil:
    cdef uint64_t cursor = 0
    while db.interest != NULL:
        cursor = ht_scan(db.interest, cursor, fn, ctx)
        if cursor == 0:
            return


cdef void interest_db_free(db_t* db) noexcept nogil:
    if db.interest != NULL:
        ht_free(db.interest, NULL, NULL)
        db.interest = NULL


cdef struct _records_t:
    db_t* db
    size_t count
    bint wrong


cdef void _check_record(void* ctx, void* element) noexcept nogil:
    cdef _records_t* r = <_records_t*>ctx
    cdef interest_t* key = <interest_t*>element
    r.count += 1
    r.wrong |= key.db != r.db or key.pinned or (key.watchers.first == NULL and key.waiters.first == NULL)


cdef int interest_check(engine_t* e) noexcept nogil:
    cdef _records_t r
    cdef int i, wrong
    r.count = 0
    r.wrong = False
    for i in range(e.keyspace.opened):
        r.db = e.keyspace.dbs[i]
        interest_each(r.db, _check_record, &r)
    if r.wrong:
        return 1
    if r.count + (e.trackers != NULL) != e.keyspace.interests:
        return 2
    wrong = watch_check(e)
    if wrong:
        return 10 + wrong
    wrong = waiting_check(e)
    return 20 + wrong if wrong else 0
