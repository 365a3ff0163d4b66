"""Databases: two tables of the same entries, and the operations that keep them in step.

`keys` holds every entry, `expires` those with E_EXPIRE, under the same hash. An entry lies in both by
address, so whatever moves it stores the new address in both; the addresses are found without following them,
because the old one may be freed by then. Entries are freed through keyspace/lazyfree.

An empty database in use costs two table headers: a table has no buckets before its first insertion.
"""

from cachefleet_server.core.engine cimport type_ops_t
from cachefleet_server.core.entry cimport (
    E_EXPIRE, ENC_EMBSTR, ENC_RAW, entry_check, entry_encoding, entry_expire, entry_key, entry_key_of, entry_memory,
    entry_new_blob, entry_new_int, entry_new_raw, entry_new_string, entry_set_blob, entry_set_bytes, entry_set_encoding,
    entry_set_expire, entry_set_int, entry_set_lru, entry_string_label)
from cachefleet_server.core.types cimport entry_ops
from cachefleet_server.ds.bucket cimport ht_slot_t, slot_set
from cachefleet_server.ds.hashtable cimport (
    hashtable_t, ht_find_pointer, ht_hash, ht_insert, ht_mapped, ht_memory, ht_new, ht_rehashing_memory, ht_remove,
    ht_reserve)
from cachefleet_server.ds.ht_checking cimport ht_check
from cachefleet_server.ds.ht_freezing cimport ht_freeze_begin
from cachefleet_server.ds.ht_sampling cimport ht_random
from cachefleet_server.ds.ht_stats cimport ht_stats
from cachefleet_server.ds.intrin cimport cf_assert
from cachefleet_server.ds.zmalloc cimport zfree
from cachefleet_server.keyspace.evict cimport entry_initial_lru
from cachefleet_server.keyspace.expire cimport expire_now, may_delete_expired
from cachefleet_server.keyspace.lazyfree cimport entry_free, lazyfree_entry, lazyfree_table, tables_free
from cachefleet_server.keyspace.member_expiry cimport members_gone, members_heap_check, members_settle


# ---- lifetime ----------------------------------------------------------------------------------------

cdef void db_open(db_t* db, engine_t* e, int id) noexcept nogil:
    db.engine = e
    db.id = id
    db.keys = ht_new(e.heap, entry_key_of, &e.seed)
    db.expires = ht_new(e.heap, entry_key_of, &e.seed)


cdef void db_release(db_t* db, bint lazy) noexcept nogil:
    cdef engine_t* e = db.engine
    cdef hashtable_t* keys = db.keys
    if e.table_flushed_fn != NULL and e.table_flushed_fn(e, db.id, keys):  # also one that has become empty since
        keys = NULL
    if lazy:
        lazyfree_table(e, keys, db.expires)
    else:
        tables_free(e, keys, db.expires)
    zfree(e.heap, db.timed)
    db.keys = NULL
    db.expires = NULL
    db.timed = NULL
    db.timed_count = 0
    db.timed_own = 0
    db.timed_cap = 0


cdef void db_exchange(db_t* a, db_t* b) noexcept nogil:
    cdef db_t kept = a[0]
    a.keys = b.keys
    a.expires = b.expires
    a.expire_cursor = b.expire_cursor
    a.avg_ttl_ms = b.avg_ttl_ms
    a.timed = b.timed
    a.timed_count = b.timed_count
    a.timed_own = b.timed_own
    a.timed_cap = b.timed_cap
    b.keys = kept.keys
    b.expires = kept.expires
    b.expire_cursor = kept.expire_cursor
    b.avg_ttl_ms = kept.avg_ttl_ms
    b.timed = kept.timed
    b.timed_count = kept.timed_count
    b.timed_own = kept.timed_own
    b.timed_cap = kept.timed_cap


# ---- lookup --------------------------------------------------------------------------------------------

cdef bint _is_gone(client_t* c, db_t* db, entry_t* entry, uint64_t hash, int flags) noexcept nogil:
    """An expired key that a client meets: deleted if the client may or is about to write it, else left alone."""
    if flags & LOOKUP_DELETE and not may_delete_expired(c):
        return False
    if flags & LOOKUP_WRITE or may_delete_expired(c):
        expire_now(db, entry, hash)
    return True


cdef entry_t* lookup_flags(client_t* c, db_t* db, arg_t* key, int flags) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef uint64_t hash = arg_hash(e, key)
    cdef entry_t* entry = db_find(db, key.ptr, key.len, hash)
    if entry != NULL and is_expired(c, entry) and _is_gone(c, db, entry, hash, flags):
        entry = NULL
    if not flags & (LOOKUP_NOSTATS | LOOKUP_WRITE):
        if entry != NULL:
            e.stats.keyspace_hits += 1
        else:
            e.stats.keyspace_misses += 1
    if entry == NULL:
        if not flags & (LOOKUP_NONOTIFY | LOOKUP_WRITE):
            notify(e, NOTIFY_KEY_MISS, b"keymiss", key.ptr, key.len, db.id)
        return NULL
    if flags & LOOKUP_WRITE:
        db_will_change(db, hash)
    if not flags & LOOKUP_NOTOUCH and (flags & LOOKUP_TOUCH or not c.flags & CLIENT_NO_TOUCH):
        entry_touch(e, entry)
    return entry


cdef entry_t* db_find(db_t* db, const char* key, size_t nk, uint64_t hash) noexcept nogil:
    return <entry_t*>ht_find(db.keys, key, nk, hash)


cdef void key_moved(
    client_t* c, db_t* from_db, const char* from_event, arg_t* from_, db_t* to_db, const char* to_event, arg_t* to
) noexcept nogil:
    cdef engine_t* e = from_db.engine
    signal_modified(c, from_db, from_.ptr, from_.len, arg_hash(e, from_))
    signal_modified(c, to_db, to.ptr, to.len, arg_hash(e, to))
    notify(e, NOTIFY_GENERIC, from_event, from_.ptr, from_.len, from_db.id)
    notify(e, NOTIFY_GENERIC, to_event, to.ptr, to.len, to_db.id)
    e.persist.dirty += 1


cdef bint key_deleted(client_t* c, arg_t* key, bint lazy) noexcept nogil:
    if not db_delete(c.db, key.ptr, key.len, arg_hash(c.engine, key), lazy):
        return False
    key_changed(c, c.db, NOTIFY_GENERIC, b"del", key)
    return True


cdef void key_stored(client_t* c, arg_t* key, int cls, const char* event, entry_t* entry) noexcept nogil:
    cdef engine_t* e = c.engine
    cdef uint64_t hash = arg_hash(e, key)
    if entry == NULL:
        key_deleted(c, key, e.params.lazyfree_lazy_server_del)
        return
    if db_delete(c.db, key.ptr, key.len, hash, e.params.lazyfree_lazy_server_del):
        db_put(c.db, entry, hash)
    else:
        db_insert(c.db, entry, hash)
    key_changed(c, c.db, cls, event, key)


cdef bint delete_if_empty(client_t* c, arg_t* key, size_t left) noexcept nogil:
    if left:
        return False
    db_delete(c.db, key.ptr, key.len, arg_hash(c.engine, key), False)  # an empty value has little to free
    notify(c.engine, NOTIFY_GENERIC, b"del", key.ptr, key.len, c.db.id)
    return True


cdef entry_t* db_random(db_t* db) noexcept nogil:
    return <entry_t*>ht_random(db.keys, &db.engine.rng)


# ---- the two tables --------------------------------------------------------------------------------------

cdef inline void _store_address(hashtable_t* t, const void* old, void* new, uint64_t hash) noexcept nogil:
    """Replaces the pointer `old`, which may dangle, by `new`, whose key hashes the same."""
    cdef ht_slot_t slot = ht_find_pointer(t, old, hash)
    cf_assert(slot != 0)
    slot_set(slot, new)


cdef void db_moved(db_t* db, entry_t* old, entry_t* new, uint64_t hash) noexcept nogil:
    _store_address(db.keys, old, new, hash)
    if new.flags & E_EXPIRE:
        _store_address(db.expires, old, new, hash)


cdef void db_put(db_t* db, entry_t* entry, uint64_t hash) noexcept nogil:
    entry_set_lru(entry, entry_initial_lru(db.engine))
    ht_insert(db.keys, entry, hash)
    if entry.flags & E_EXPIRE:
        ht_insert(db.expires, entry, hash)
    members_settle(db, entry, hash)


cdef void db_insert(db_t* db, entry_t* entry, uint64_t hash) noexcept nogil:
    cdef const char* key
    cdef size_t nk
    db_put(db, entry, hash)
    if cf_unlikely(db.engine.notify_flags & NOTIFY_NEW):
        key = entry_key(entry, &nk)
        notify(db.engine, NOTIFY_NEW, b"new", key, nk, db.id)


cdef entry_t* db_unlink(db_t* db, const char* key, size_t nk, uint64_t hash) noexcept nogil:
    cdef entry_t* entry = <entry_t*>ht_remove(db.keys, key, nk, hash)
    cdef void* expiring
    if entry == NULL:
        return NULL
    if entry.flags & E_EXPIRE:
        expiring = ht_remove(db.expires, key, nk, hash)
        cf_assert(expiring == entry)
    members_gone(db, entry)
    return entry


cdef bint db_delete(db_t* db, const char* key, size_t nk, uint64_t hash, bint lazy) noexcept nogil:
    cdef entry_t* entry = db_unlink(db, key, nk, hash)
    if entry == NULL:
        return False
    if lazy:
        lazyfree_entry(db.engine, entry)
    else:
        entry_free(db.engine, entry)
    return True


cdef entry_t* db_set_expire(db_t* db, entry_t* entry, uint64_t hash, int64_t expire_ms) noexcept nogil:
    cdef bint had = entry.flags & E_EXPIRE
    cdef size_t nk
    cdef const char* key
    cdef entry_t* new
    db_will_change(db, hash)
    if had and expire_ms == -1:
        key = entry_key(entry, &nk)
        ht_remove(db.expires, key, nk, hash)
    new = entry_set_expire(db.engine.heap, entry, expire_ms)
    if new != entry:  # only when it had none
        _store_address(db.keys, entry, new, hash)
    if not had and expire_ms != -1:
        ht_insert(db.expires, new, hash)
    return new


# ---- create or overwrite -----------------------------------------------------------------------------------
#
# An overwrite goes in three steps: _overwrite_begin, one entry function, _overwrite_end. `had` says whether
# `expires` holds the old address.

cdef bint _overwrite_begin(db_t* db, arg_t* key, entry_t* old, int64_t expire_ms, int flags) noexcept nogil:
    """Announces the change and takes an entry whose expiry will be dropped out of `expires`. Returns `had`."""
    db_will_change(db, key.hash)
    if not old.flags & E_EXPIRE:
        return False
    if flags & SET_KEEP_TTL or expire_ms != -1:
        return True
    ht_remove(db.expires, key.ptr, key.len, key.hash)
    return False


cdef entry_t* _overwrite_end(
    db_t* db, arg_t* key, entry_t* old, entry_t* new, bint had, int64_t expire_ms, int flags
) noexcept nogil:
    if not flags & SET_KEEP_TTL and (expire_ms != -1 or new.flags & E_EXPIRE):
        new = entry_set_expire(db.engine.heap, new, expire_ms)
    if new != old:
        _store_address(db.keys, old, new, key.hash)
        if had:
            _store_address(db.expires, old, new, key.hash)
    if new.flags & E_EXPIRE and not had:
        ht_insert(db.expires, new, key.hash)
    return new


cdef entry_t* _overwrite_collection(
    db_t* db, arg_t* key, entry_t* old, entry_t* new, int64_t expire_ms, int flags
) noexcept nogil:
    """`new`, without expiry, takes the place of a value of another type."""
    cdef engine_t* e = db.engine
    cdef int64_t kept = entry_expire(old) if flags & SET_KEEP_TTL else expire_ms
    cdef bint had = _overwrite_begin(db, key, old, expire_ms, flags)
    if old.flags & E_EXPIRE and entry_encoding(new) == ENC_EMBSTR:
        entry_set_encoding(new, entry_string_label(key.len, new.vlen, True, False))
    entry_set_lru(new, entry_initial_lru(e))
    members_gone(db, old)
    new = _overwrite_end(db, key, old, new, had, kept, 0)
    if e.params.lazyfree_lazy_server_del:
        lazyfree_entry(e, old)
    else:
        entry_free(e, old)
    return new


cdef inline bint _is_string(const entry_t* old) noexcept nogil:
    return old != NULL and entry_type(old) == OBJ_STRING


cdef inline int64_t _first_expiry(const entry_t* old, int64_t expire_ms, int flags) noexcept nogil:
    """What a new entry is made with: that of a new key. One that replaces a collection gets its expiry afterwards."""
    return -1 if old != NULL or flags & SET_KEEP_TTL else expire_ms


cdef entry_t* _store_new(
    db_t* db, arg_t* key, entry_t* old, entry_t* new, int64_t expire_ms, int flags
) noexcept nogil:
    """A new entry for a key that is absent or holds a collection."""
    if old != NULL:
        return _overwrite_collection(db, key, old, new, expire_ms, flags)
    db_insert(db, new, key.hash)
    return new


cdef entry_t* db_set_string(
    db_t* db, arg_t* key, entry_t* old, const char* v, size_t nv, int64_t expire_ms, int flags
) noexcept nogil:
    cdef engine_t* e = db.engine
    cdef int64_t first = _first_expiry(old, expire_ms, flags)
    cdef entry_t* new
    cdef bint had
    arg_hash(e, key)
    if not _is_string(old):
        return _store_new(db, key, old, entry_new_string(e.heap, key.ptr, key.len, v, nv, first), expire_ms, flags)
    had = _overwrite_begin(db, key, old, expire_ms, flags)
    new = entry_set_bytes(e.heap, old, v, nv, ENC_EMBSTR)
    return _overwrite_end(db, key, old, new, had, expire_ms, flags)


cdef entry_t* db_set_int(db_t* db, arg_t* key, entry_t* old, int64_t v, int64_t expire_ms, int flags) noexcept nogil:
    cdef engine_t* e = db.engine
    cdef int64_t first = _first_expiry(old, expire_ms, flags)
    cdef entry_t* new
    cdef bint had
    arg_hash(e, key)
    if not _is_string(old):
        return _store_new(db, key, old, entry_new_int(e.heap, key.ptr, key.len, v, first), expire_ms, flags)
    had = _overwrite_begin(db, key, old, expire_ms, flags)
    new = entry_set_int(e.heap, old, v)
    return _overwrite_end(db, key, old, new, had, expire_ms, flags)


cdef entry_t* db_set_raw(db_t* db, arg_t* key, entry_t* old, const char* v, size_t nv) noexcept nogil:
    cdef engine_t* e = db.engine
    cdef entry_t* new
    cdef bint had
    arg_hash(e, key)
    if not _is_string(old):
        return _store_new(db, key, old, entry_new_raw(e.heap, key.ptr, key.len, v, nv, -1), -1, 0)
    had = _overwrite_begin(db, key, old, -1, 0)
    new = entry_set_bytes(e.heap, old, v, nv, ENC_RAW)
    return _overwrite_end(db, key, old, new, had, -1, 0)


cdef entry_t* db_set_blob(
    db_t* db, arg_t* key, entry_t* old, blob_t* blob, int64_t expire_ms, int flags
) noexcept nogil:
    cdef engine_t* e = db.engine
    cdef int64_t first = _first_expiry(old, expire_ms, flags)
    cdef entry_t* new
    cdef bint had
    arg_hash(e, key)
    if not _is_string(old):
        return _store_new(db, key, old, entry_new_blob(e.heap, key.ptr, key.len, blob, first), expire_ms, flags)
    had = _overwrite_begin(db, key, old, expire_ms, flags)
    new = entry_set_blob(e.heap, old, blob)
    return _overwrite_end(db, key, old, new, had, expire_ms, flags)


cdef entry_t* entry_copy(engine_t* e, const entry_t* entry, const char* key, size_t nk) noexcept nogil:
    return entry_ops(e, entry).dup_fn(e, entry, key, nk)


# ---- sizes, and what others may know of the tables -----------------------------------------------------------

cdef size_t entry_usage(engine_t* e, const entry_t* entry, size_t samples) noexcept nogil:
    return entry_memory(entry) + entry_ops(e, entry).memory_fn(e, entry, samples)


cdef db_tables_t db_tables(const db_t* db) noexcept nogil:
    cdef db_tables_t t
    t.keys = ht_memory(db.keys)
    t.expires = ht_memory(db.expires)
    t.rehashing = ht_rehashing_memory(db.keys) + ht_rehashing_memory(db.expires)
    t.mapped = ht_mapped(db.keys) + ht_mapped(db.expires)
    return t


cdef void db_stats(const db_t* db, ht_stats_t keys[2], ht_stats_t expires[2], bint chains) noexcept nogil:
    ht_stats(db.keys, keys, chains)
    ht_stats(db.expires, expires, chains)


cdef void db_reserve(db_t* db, size_t keys, size_t expires) noexcept nogil:
    if keys:
        ht_reserve(db.keys, keys)
    if expires:
        ht_reserve(db.expires, expires)


cdef hashtable_t* db_freeze(db_t* db, ht_freeze_fn fn, void* ctx) noexcept nogil:
    if ht_len(db.keys) == 0:
        return NULL
    ht_freeze_begin(db.keys, fn, ctx)
    return db.keys


# ---- check -----------------------------------------------------------------------------------------------------

cdef struct _check_t:
    db_t* db
    size_t expiring
    int error


cdef void _check_entry(void* ctx, void* element) noexcept nogil:
    cdef _check_t* check = <_check_t*>ctx
    cdef entry_t* entry = <entry_t*>element
    cdef size_t nk
    cdef const char* key = entry_key(entry, &nk)
    cdef int wrong = entry_check(entry)
    cdef type_ops_t* ops = entry_ops(check.db.engine, entry)
    if wrong:
        check.error = 300 + wrong
    elif ops.check_fn != NULL:
        wrong = ops.check_fn(check.db.engine, entry)
        if wrong:
            check.error = 500 + wrong
    if entry.flags & E_EXPIRE:
        check.expiring += 1
        if ht_find(check.db.expires, key, nk, ht_hash(check.db.expires, key, nk)) != element:
            check.error = 401


cdef int db_check(db_t* db) noexcept nogil:
    """0; 100 + n, 200 + n: table keys, expires; 300 + n: an entry; 401: missing in expires; 402: too
    many there; 500 + n: a value; 700 + n: members_heap_check."""
    cdef _check_t check
    cdef uint64_t cursor = 0
    cdef int wrong = ht_check(db.keys)
    if wrong:
        return 100 + wrong
    wrong = ht_check(db.expires)
    if wrong:
        return 200 + wrong
    check.db = db
    check.expiring = 0
    check.error = 0
    while True:
        cursor = ht_scan(db.keys, cursor, _check_entry, &check)
        if cursor == 0:
            break
    if check.error == 0 and check.expiring != ht_len(db.expires):
        return 402
    wrong = members_heap_check(db)
    return check.error if check.error or wrong == 0 else 700 + wrong
