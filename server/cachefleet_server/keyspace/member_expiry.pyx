"""Expiry of members, in a database; see member_expiry.pxd."""

from cachefleet_server.core.engine cimport arg_t, engine_t, timed_t
from cachefleet_server.core.entry cimport entry_key
from cachefleet_server.core.members cimport (
    members_drop, members_hash, members_len, members_t, members_take, word_member)
from cachefleet_server.core.members_expiry cimport (
    expiring_due, expiring_first_ms, expiring_free, expiring_t, members_expiring)
from cachefleet_server.ds.bt_node cimport btree_t
from cachefleet_server.ds.bucket cimport HT_SLOTS, bucket_get, bucket_next, ht_bucket_t
from cachefleet_server.ds.btree cimport bt_remove
from cachefleet_server.ds.hashtable cimport ht_head
from cachefleet_server.ds.intrin cimport cf_assert, cf_monotonic_us
from cachefleet_server.ds.member cimport MEMBER_HASH, MEMBER_SET, MEMBER_TTL, member_key
from cachefleet_server.ds.zmalloc cimport zfree, zrealloc
from cachefleet_server.keyspace.db cimport (
    NOTIFY_GENERIC, NOTIFY_HASH, NOTIFY_SET, NOTIFY_ZSET, db_unlink, db_will_change, notify, signal_modified)
from cachefleet_server.keyspace.journal cimport journal_arg, journal_command
from cachefleet_server.keyspace.lazyfree cimport entry_free

cdef enum:
    FIRST_CAP = 16

# ---- the heap ----------------------------------------------------------------------------------------

cdef inline void _put(db_t* db, size_t i, timed_t timed) noexcept nogil:
    db.timed[i] = timed
    members_expiring(<members_t*>timed.members).place = i + 1


cdef void _up(db_t* db, size_t i, timed_t timed) noexcept nogil:
    while i and db.timed[(i - 1) / 2].at_ms > timed.at_ms:
        _put(db, i, db.timed[(i - 1) / 2])
        i = (i - 1) / 2
    _put(db, i, timed)


cdef void _down(db_t* db, size_t i, timed_t timed) noexcept nogil:
    cdef size_t child = 2 * i + 1
    while child < db.timed_count:
        if child + 1 < db.timed_count and db.timed[child + 1].at_ms < db.timed[child].at_ms:
            child += 1
        if db.timed[child].at_ms >= timed.at_ms:
            break
        _put(db, i, db.timed[child])
        i = child
        child = 2 * i + 1
    _put(db, i, timed)


cdef void _place(db_t* db, size_t i, timed_t timed) noexcept nogil:
    """Into a free place, from where it may move."""
    if i and db.timed[(i - 1) / 2].at_ms > timed.at_ms:
        _up(db, i, timed)
    else:
        _down(db, i, timed)


cdef void _take(db_t* db, expiring_t* x) noexcept nogil:
    cdef size_t i = x.place - 1
    db.timed_own -= (<members_t*>db.timed[i].members).form != MEMBER_HASH
    x.place = 0
    db.timed_count -= 1
    if i < db.timed_count:
        _place(db, i, db.timed[db.timed_count])
    if db.timed_count == 0:
        zfree(db.engine.heap, db.timed)
        db.timed = NULL
        db.timed_cap = 0


cdef void _add(db_t* db, timed_t timed) noexcept nogil:
    if db.timed_count == db.timed_cap:
        db.timed_cap = 2 * db.timed_cap if db.timed_cap else FIRST_CAP
        db.timed = <timed_t*>zrealloc(db.engine.heap, db.timed, db.timed_cap * sizeof(timed_t))
    db.timed_count += 1
    db.timed_own += (<members_t*>timed.members).form != MEMBER_HASH
    _up(db, db.timed_count - 1, timed)


cdef void members_put_right(db_t* db, const entry_t* entry, uint64_t hash) noexcept nogil:
    cdef members_t* m = members_of(entry)
    cdef expiring_t* x = members_expiring(m)
    cdef timed_t timed
    if x.count == 0:
        _take(db, x)  # an index without members is kept for this alone
        expiring_free(db.engine.heap, m)
        return
    timed.at_ms = expiring_first_ms(x)
    timed.members = m
    x.key_hash = hash
    if x.place == 0:
        _add(db, timed)
    elif db.timed[x.place - 1].at_ms != timed.at_ms:
        _place(db, x.place - 1, timed)


cdef void members_leave(db_t* db, const entry_t* entry) noexcept nogil:
    cdef members_t* m = members_of(entry)
    cdef expiring_t* x = members_expiring(m)
    if x.place:
        _take(db, x)
    if x.count == 0:
        expiring_free(db.engine.heap, m)

# ---- removal -----------------------------------------------------------------------------------------

cdef entry_t* _entry_of(db_t* db, const members_t* m, uint64_t hash) noexcept nogil:
    """In the one chain where it may be."""
    cdef ht_bucket_t* b = ht_head(db.keys, hash)
    cdef entry_t* entry
    cdef int i
    while b != NULL:
        for i in range(HT_SLOTS):
            if b.tags[i]:
                entry = <entry_t*>bucket_get(b, i)
                if members_may_expire(entry) and members_of(entry) == m:
                    return entry
        b = bucket_next(b)
    return NULL


cdef inline const char* _removal(int form) noexcept nogil:
    return b"HDEL" if form == MEMBER_HASH else b"SREM" if form == MEMBER_SET else b"ZREM"


cdef void _tell(db_t* db, const members_t* m, const char* key, size_t nk, uint64_t hash) noexcept nogil:
    if m.form == MEMBER_HASH:
        notify(db.engine, NOTIFY_HASH, b"hexpired", key, nk, db.id)
    elif m.form == MEMBER_SET:
        notify(db.engine, NOTIFY_SET, b"sexpired", key, nk, db.id)
    else:
        notify(db.engine, NOTIFY_ZSET, b"zexpired", key, nk, db.id)
    signal_modified(NULL, db, key, nk, hash)


cdef void _remove(db_t* db, members_t* m, const arg_t* name) noexcept nogil:
    cdef void* word = members_take(m, name.ptr, name.len, members_hash(m, name.ptr, name.len))
    cf_assert(word != NULL)
    if m.order != NULL:  # whose elements begin with their score
        bt_remove(<btree_t*>m.order, <char*>word_member(word) + 8)
    members_drop(db.engine.heap, m, word)


cdef bint _expire_batch(db_t* db, entry_t* entry, members_t* m, uint64_t hash) noexcept nogil:
    """Some members whose time is over; the key with the last one, and then it is False."""
    cdef engine_t* e = db.engine
    cdef void* due[MEMBER_BATCH]
    cdef arg_t argv[MEMBER_BATCH + 2]
    cdef size_t nk, i
    cdef size_t n = expiring_due(m, e.now_ms, due, MEMBER_BATCH)
    cdef const char* key = entry_key(entry, &nk)
    db_will_change(db, hash)
    argv[0] = journal_arg(_removal(m.form), 4)
    argv[1] = journal_arg(key, nk)
    for i in range(n):
        argv[2 + i].ptr = member_key(due[i], m.form | MEMBER_TTL, &argv[2 + i].len)
        argv[2 + i].hash = 0
    if n:
        journal_command(e, db.id, <int>n + 2, argv)
        for i in range(n):
            _remove(db, m, &argv[2 + i])
        e.stats.expired_fields += n
        _tell(db, m, key, nk, hash)
    if members_len(m):
        members_settle(db, entry, hash)
        return True
    notify(e, NOTIFY_GENERIC, b"del", key, nk, db.id)
    entry_free(e, db_unlink(db, key, nk, hash))  # an empty table
    return False


cdef entry_t* members_purge(db_t* db, entry_t* entry, uint64_t hash) noexcept nogil:
    cdef members_t* m = members_of(entry)
    while expiring_due(m, db.engine.now_ms, NULL, 1):
        if not _expire_batch(db, entry, m, hash):
            return NULL
    return entry


cdef bint members_expire(db_t* db, int64_t deadline_us) noexcept nogil:
    cdef members_t* m
    cdef entry_t* entry
    cdef uint64_t hash
    while db.timed_count and db.timed[0].at_ms < db.engine.now_ms:
        m = <members_t*>db.timed[0].members
        hash = members_expiring(m).key_hash
        entry = _entry_of(db, m, hash)
        cf_assert(entry != NULL)
        _expire_batch(db, entry, m, hash)
        if cf_monotonic_us() > deadline_us:
            return db.timed_count == 0 or db.timed[0].at_ms >= db.engine.now_ms
    return True

# ---- check -------------------------------------------------------------------------------------------

cdef int members_heap_check(db_t* db) noexcept nogil:
    cdef members_t* m
    cdef expiring_t* x
    cdef size_t own = 0
    cdef size_t i
    for i in range(db.timed_count):
        m = <members_t*>db.timed[i].members
        own += m.form != MEMBER_HASH
        x = members_expiring(m)
        if i and db.timed[(i - 1) / 2].at_ms > db.timed[i].at_ms:
            return 1
        if x == NULL or x.place != i + 1:
            return 2
        if _entry_of(db, m, x.key_hash) == NULL:
            return 3
        if x.count and expiring_first_ms(x) < db.timed[i].at_ms:
            return 4
    return 5 if own != db.timed_own else 0
